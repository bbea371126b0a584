"""Who is at the end of a line: what a HELLO has to prove, and why a board is refused. The one place that judges."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hal import icd
from hal._native import lib
from hal.errors import BoardRefusedError, ImageError
from hal.firmware import firmware_hash, read_image
from hal.images import image_of, slots_like
from hal.link import BACKENDS, Board, parse_url
from hal.rig import Rig
from hal.rig_boards import BoardSpec


@dataclass(frozen=True, slots=True)
class Hello:
    """What a board says of itself. kind 0: a HELLO that could not be decoded, which is one of another ICD."""

    kind: int
    role: int
    hardware_id: bytes
    firmware_hash: bytes
    image_crc: int
    icd_hash: int
    boot_count: int
    reset_cause: int
    capabilities: int

    @property
    def bench(self) -> bool:
        """Its firmware answers TICK."""
        return bool(self.capabilities & icd.Capability.BENCH)


UNREADABLE = Hello(0, 0, b"", b"", 0, 0, 0, 0, 0)


def from_native(hello: Any) -> Hello:
    """From a ``struct bus_hello``."""
    return Hello(
        kind=int(hello.kind),
        role=int(hello.role),
        hardware_id=bytes(hello.hardware_id),
        firmware_hash=bytes(hello.firmware_hash),
        image_crc=int(hello.image_crc),
        icd_hash=int(hello.icd_hash),
        boot_count=int(hello.boot_count),
        reset_cause=int(hello.reset_cause),
        capabilities=int(hello.capabilities),
    )


def from_payload(payload: bytes) -> Hello:
    """From the payload of a HELLO frame."""
    try:
        return Hello(**icd.decode("hello", payload))
    except ValueError:
        return UNREADABLE


def role_name(address: int) -> str:
    """The role that has this address on the bus, as rigs name it."""
    index = int(lib.bus_index_of(address))
    return "none" if index < 0 else f"node{index - 1}" if index else "power"


def kind_name(kind: int) -> str:
    """Name of a kind of board, or its number."""
    return icd.BoardKind(kind).name.lower() if kind in set(icd.BoardKind) else str(kind)


def describe(hello: Hello) -> str:
    """What a board says of itself, in a few words."""
    if hello.kind == 0:
        return "a board of another ICD"
    where = f"address {hello.role} ({role_name(hello.role)})" if hello.role else "no address yet"
    flavour = "bench" if hello.bench else "flight"
    return f"{kind_name(hello.kind)}, {where}, {flavour} firmware {hello.firmware_hash.hex()}, boot {hello.boot_count}"


def expected_board(rig: Rig, spec: BoardSpec, nvm: Path | None = None) -> Board:
    """Who is expected in this role. A board that the world makes gets a hardware id from the rig's seed."""
    kind = icd.BoardKind.COMPUTE_NODE if spec.index else icd.BoardKind.POWER_BOARD
    made_id = hashlib.sha256(f"{rig.seed}:{spec.role}".encode()).digest()[:12] if spec.made else b""
    image = None
    if BACKENDS[spec.backend].image and not spec.no_image:
        image = spec.image or parse_url(spec.link).image or image_of(kind)
    return Board(
        role=spec.role,
        kind=kind,
        address=int(lib.bus_address_of(spec.index)),
        hardware_id=spec.hardware_id or made_id,
        nvm=nvm,
        image=image,
        made=spec.made,
        rig=rig.asked,
    )


def check(hello: Hello, board: Board, url: str, others: Mapping[bytes, str]) -> None:
    """Raises `BoardRefusedError`, with what to do, unless the HELLO proves that this is `board`.

    others: hardware id -> role of the boards that are there already.
    """
    reason = refusal(hello, board, others)
    if reason is not None:
        raise BoardRefusedError(f"board {board.role} on {url} refused: {reason}")


def refusal(hello: Hello, board: Board, others: Mapping[bytes, str]) -> str | None:
    """Why this is not the board that is expected, and what to do; None when it is."""
    return firmware_fault(hello, board) or place_fault(hello, board, others)


def firmware_fault(hello: Hello, board: Board) -> str | None:
    """What is wrong with what it runs: flashing cures it (but for the kind)."""
    renew = _renewal(board)
    if hello.kind == 0:
        return f"its HELLO is of another ICD and cannot be read, expected ICD {icd.ICD_HASH:016x}; {renew}"
    if hello.icd_hash != icd.ICD_HASH:
        return f"its ICD hash is {hello.icd_hash:016x}, expected {icd.ICD_HASH:016x}; {renew}"
    if hello.kind != board.kind:
        what = f"it is a {kind_name(hello.kind)}, expected a {kind_name(board.kind)}"
        return f"{what}; swap the cables, or correct boards.{board.role} of the rig"
    if not hello.bench:
        return f"its firmware takes no TICK (a flight build), expected one for the bench; {renew}"
    if hello.firmware_hash != firmware_hash():
        return f"its firmware hash is {hello.firmware_hash.hex()}, expected {firmware_hash().hex()}; {renew}"
    return _of_image(hello, board, renew)


def _renewal(board: Board) -> str:
    """How a board gets this version's firmware."""
    if board.made:
        return f"run `{'make firmware' if board.image else 'make'}`"
    if board.image is None:
        return "start this version's program there"
    return f"`hal flash {board.role} --rig {board.rig}` puts the right image on it"


def _of_image(hello: Hello, board: Board, renew: str) -> str | None:
    if board.image is None:
        return f"its image CRC is {hello.image_crc:08x}, expected 0 (no image)" if hello.image_crc else None
    try:
        image = read_image(board.image)
    except ImageError as error:
        return f"what it runs cannot be proved: {error}"
    # A board that takes updates runs from one slot or the other.
    twins = (read_image(path) for path in slots_like(board.image) if path.exists())
    if hello.image_crc == image.crc or any(hello.image_crc == twin.crc for twin in twins):
        return None
    return f"its image CRC is {hello.image_crc:08x}, expected {image.crc:08x} of {image.path}; {renew}"


def place_fault(hello: Hello, board: Board, others: Mapping[bytes, str]) -> str | None:
    """What is wrong with where it is: hands or `hal assign` cure it."""
    own = hello.hardware_id.hex()
    assign = f"`hal assign {board.role} --rig {board.rig}`"
    if hello.role == icd.Address.NONE:
        return f"it has no address yet, expected {board.address or 'one'}; give it one with {assign}"
    if hello.role != board.address:
        what = f"its address is {hello.role} ({role_name(hello.role)}), expected {board.address}"
        return f"{what}; swap the cables, or give it this role with {assign}"
    if board.hardware_id and hello.hardware_id != board.hardware_id:
        what = f"its hardware id is {own}, expected {board.hardware_id.hex()}"
        return f"{what}; plug in the right board, or correct boards.{board.role} of the rig"
    twin = others.get(hello.hardware_id)
    if twin is not None and twin != board.role:
        what = f"its hardware id {own} is that of {twin}"
        return f"{what}, expected one board for each role; take one of the two links away"
    return None
