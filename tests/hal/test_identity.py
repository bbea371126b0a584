"""A board is what its HELLO proves: each wrong thing has its own message, and nothing is let pass."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal import icd, identity, lines
from hal._native import lib
from hal.errors import BoardRefusedError
from hal.firmware import firmware_hash
from hal.identity import UNREADABLE, Hello, from_payload, refusal
from hal.link import Board, Link
from hal.world import World
from tests.hal.images import crc_of, image_bytes, write_image
from tests.hal.puppet import Puppet, compute_node, power_board
from tests.hal.talker import hello_of, small_rig

OWN_ID, OTHER_ID = bytes(range(12)), bytes(range(1, 13))
NODE3 = Board("node3", icd.BoardKind.COMPUTE_NODE, 259, OWN_ID, rig="desk")


def said(board: Board = NODE3, **changes: Any) -> Hello:
    return Hello(**hello_of(board, **changes))  # type: ignore[arg-type]


WRONG: list[tuple[Hello, str]] = [
    (UNREADABLE, "its HELLO is of another ICD and cannot be read"),
    (said(icd_hash=0xDEADBEEF), "its ICD hash is 00000000deadbeef"),
    (said(kind=1), "it is a power_board, expected a compute_node; swap the cables"),
    (said(kind=77), "it is a 77, expected a compute_node"),
    (said(capabilities=0), r"its firmware takes no TICK \(a flight build\)"),
    (said(firmware_hash=bytes(8)), "its firmware hash is 0000000000000000, expected [0-9a-f]{16}; run `make`"),
    (said(image_crc=5), r"its image CRC is 00000005, expected 0 \(no image\)"),
    (said(role=0), "it has no address yet, expected 259; give it one with `hal assign node3 --rig desk`"),
    (
        said(role=261),
        r"its address is 261 \(node5\), expected 259; swap the cables, or .* `hal assign node3 --rig desk`",
    ),
    (said(role=16), r"its address is 16 \(power\), expected 259"),
    (said(role=17), r"its address is 17 \(none\), expected 259"),
    (said(hardware_id=OTHER_ID), f"its hardware id is {OTHER_ID.hex()}, expected {OWN_ID.hex()}"),
]


@pytest.mark.parametrize(("hello", "message"), WRONG)
def test_each_wrong_thing_has_its_own_message(hello: Hello, message: str) -> None:
    with pytest.raises(BoardRefusedError, match=f"^board node3 on mock: refused: {message}") as error:
        identity.check(hello, NODE3, "mock:", {})
    assert "\n" not in str(error.value)


def test_two_boards_with_one_id() -> None:
    reason = refusal(said(), NODE3, {OWN_ID: "node1"})
    assert reason is not None
    assert reason.startswith(f"its hardware id {OWN_ID.hex()} is that of node1")
    assert refusal(said(), NODE3, {OWN_ID: "node3"}) is None, "it is the same board, which has come back"


@given(
    kind=st.integers(0, 3),
    role=st.sampled_from([0, 16, 258, 259, 260]),
    hardware_id=st.sampled_from([OWN_ID, OTHER_ID]),
    firmware=st.sampled_from([firmware_hash(), bytes(8)]),
    image_crc=st.sampled_from([0, 1]),
    icd_hash=st.sampled_from([icd.ICD_HASH, 0]),
    capabilities=st.integers(0, 3),
    any_id=st.booleans(),
    twin=st.booleans(),
)
def test_a_board_is_taken_only_when_all_of_it_is_right(
    kind: int, role: int, hardware_id: bytes, firmware: bytes, image_crc: int, icd_hash: int, capabilities: int,
    any_id: bool, twin: bool,
) -> None:  # fmt: skip
    hello = Hello(kind, role, hardware_id, firmware, image_crc, icd_hash, 1, 1, capabilities)
    board = replace(NODE3, hardware_id=b"") if any_id else NODE3
    right = (
        (kind, role, image_crc) == (2, 259, 0)
        and (any_id or hardware_id == OWN_ID)
        and firmware == firmware_hash()
        and icd_hash == icd.ICD_HASH
        and capabilities & 1 == 1
        and not (twin and hardware_id == OTHER_ID)
    )
    assert (refusal(hello, board, {OTHER_ID: "node7"} if twin else {}) is None) == right


# ---------------------------------------------------------------- images
def test_the_image_has_to_be_that_of_the_rig(tmp_path: Path) -> None:
    path = write_image(tmp_path / "node.elf", image_bytes())
    board = replace(NODE3, image=path, made=False)
    assert refusal(said(board), board, {}) is None
    reason = refusal(said(board, image_crc=1), board, {})
    crc = crc_of(image_bytes())
    assert reason is not None
    assert reason.startswith(f"its image CRC is 00000001, expected {crc:08x} of {path}; `hal flash node3 --rig desk`")


def test_a_board_whose_image_is_not_known_is_not_flown(tmp_path: Path) -> None:
    board = replace(NODE3, image=tmp_path / "none.elf")
    reason = refusal(said(image_crc=1), board, {})
    assert reason is not None
    assert "cannot be proved" in reason
    assert "make firmware" in reason


# ---------------------------------------------------------------- decoding
@given(st.binary(max_size=60))
def test_any_payload_is_a_hello_or_one_of_another_icd(payload: bytes) -> None:
    hello = from_payload(payload)
    assert hello == UNREADABLE or len(payload) == len(icd.encode("hello", **hello_of(NODE3)))


# ---------------------------------------------------------------- in a running world
def test_a_cable_that_is_swapped_while_the_world_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its line never ended: only the HELLO of the other board's boot tells."""
    monkeypatch.setattr(lines, "RECONNECT_S", (0.0,))
    monkeypatch.setattr(lines, "HELLO_REQUEST_S", 0.0)
    puppets: dict[str, Puppet] = {}

    def opener(url: str, board: Board) -> Link:
        puppet = power_board(board, 3) if board.role == "power" else compute_node(board)
        puppet.lossy = True
        return puppets.setdefault(board.role, puppet)

    rig = small_rig(tmp_path)
    with World(rig, opener=opener) as world:
        world.run(5)
        puppets["node1"].boot(role=258, hardware_id=OTHER_ID)
        world.run(2)
        assert world.link("node1")["state"] != lib.WORLD_BOARD_PRESENT
        assert world.score()["absent_boards"] == ["node1"]
        why = world.score()["absent_because"]["node1"]
        assert why.startswith("board node1 on mock: refused: its address is 258 (node2), expected 257")
        world.run(5)
        assert world.score()["absent_boards"] == ["node1"], "it stays out"
        puppets["node1"].boot()
        world.run(5)
        assert world.score()["absent_boards"] == []
        assert world.score()["absent_because"] == {}


def test_two_boards_with_one_id_are_not_flown(tmp_path: Path) -> None:
    def opener(url: str, board: Board) -> Link:
        puppet = power_board(board, 3) if board.role == "power" else compute_node(board)
        if board.role in ("node0", "node2"):
            puppet.boot(hardware_id=OWN_ID)
        return puppet

    rig = small_rig(tmp_path)
    boards = tuple(replace(b, link=f"serial:{b.role}", no_image=True) for b in rig.boards)
    with pytest.raises(BoardRefusedError, match=f"its hardware id {OWN_ID.hex()} is that of node0, expected one"):
        World(replace(rig, boards=boards), opener=opener)
