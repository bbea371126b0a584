"""Putting an image on a board, and proving by its HELLO that it runs there."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from hal import icd
from hal.assign import ASSIGN_S, on_a_port
from hal.errors import FlashError, HalError, LinkDownError, PortError, RigError
from hal.firmware import FLASH_BASE, Image, firmware_hash, read_image
from hal.flash_tools import TOOLS, FlashUrl, command_line, parse_flash
from hal.identity import Hello, expected_board, kind_name, role_name
from hal.link import Board, open_link
from hal.probe import Probe
from hal.rig import Rig

BEFORE_S = 1.0
"""A board that says nothing for so long before it is flashed is taken as blank."""
AFTER_S = 15.0
AGAIN_S = 0.5
TOOL_GUARD_S = 600.0
FLASH_END = 0x0810_0000
TAIL_BYTES = 4096
ERROR = re.compile(r"error|fail|nack|unable|could ?n.t|cannot|can't|no .*device", re.IGNORECASE)

Progress = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class Flashed:
    """What was done: the image, the program that did it, and the board's HELLO afterwards."""

    role: str
    image: Image
    tool: str
    hello: Hello


def flash(rig: Rig, role: str, image: Path | None, tool: str | None, progress: Progress) -> Flashed:
    """Put an image (None: the one of the rig) on a board with a program (None: the rig's), verify it, and give the
    board its address when it has none.

    progress: gets what the program says, as it comes. Everything that can be refused is refused before anything is
    written: `RigError`, `ImageError`, `LinkError`, `FlashError`. Afterwards `FlashError` says what is not as it should
    be.
    """
    spec = on_a_port(rig, role)
    if spec.flash is None and tool is None:
        what = ", ".join(f"{name}:{t.target}" for name, t in TOOLS.items())
        raise RigError(f"{rig.path}: boards.{role}.flash: missing, expected one of {what}; or give --tool")
    url = parse_flash(tool) if tool is not None else spec.flash
    assert url is not None
    board = expected_board(rig, spec)
    made = check_image(image or board.image, board)
    board = replace(board, image=made.path)
    _look_before(board, spec.link)
    with tempfile.TemporaryDirectory(prefix="dawnline-") as folder:
        file = Path(folder) / "image.bin"
        file.write_bytes(made.data)
        run_tool(command_line(url, file, made.base), url, progress)
    return Flashed(role, made, url.tool, _prove(board, made, spec.link))


def check_image(path: Path | None, board: Board) -> Image:
    """The image, when it may be put on this board. Raises `ImageError`, `FlashError`."""
    if path is None:
        raise FlashError(f"board {board.role} runs no image, expected one in the rig, or --image")
    image = read_image(path)
    if image.kind != board.kind:
        raise FlashError(
            f"{path}: is for a {kind_name(image.kind)}, expected one for {board.role}, a {kind_name(board.kind)}"
        )
    if image.firmware_hash != firmware_hash():
        what = f"is of firmware {image.firmware_hash.hex()}, expected {firmware_hash().hex()}"
        raise FlashError(f"{path}: {what}; build it again with `make firmware`")
    if not FLASH_BASE <= image.base < FLASH_END:
        raise FlashError(f"{path}: is linked for 0x{image.base:08x}, expected an address in flash (0x{FLASH_BASE:08x})")
    return image


def run_tool(command: list[str], url: FlashUrl, progress: Progress) -> None:
    """Run a program to its end. Raises `FlashError` with the last line that it said."""
    name = TOOLS[url.tool].program
    try:
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as program:
            tail = _follow(program, progress)
    except OSError as error:
        raise FlashError(f"{url.text}: cannot start {name}: {error.strerror}") from None
    if program.returncode != 0:
        raise FlashError(f"{url.text}: {name} failed with exit code {program.returncode}{_last_words(tail)}")


def _last_words(tail: bytes) -> str:
    """The last line that tells of an error, or else the last one."""
    lines = [line.strip() for line in tail.decode(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if ERROR.search(line)]
    return f": {(errors or lines)[-1]}" if lines else ""


def _follow(program: subprocess.Popen[bytes], progress: Progress) -> bytes:
    """What the program said last; it is ended with this process."""
    assert program.stdout is not None
    guard = threading.Timer(TOOL_GUARD_S, program.kill)
    guard.start()
    tail = b""
    try:
        while chunk := os.read(program.stdout.fileno(), TAIL_BYTES):
            progress(chunk)
            tail = (tail + chunk)[-TAIL_BYTES:]
        program.wait()
    finally:
        guard.cancel()
        program.kill()
    return tail


# ---------------------------------------------------------------- before and after
def _look_before(board: Board, link: str) -> None:
    """Whoever answers on the link must not be another board: a cable may be in the wrong place."""
    hello = None
    try:
        with contextlib.closing(open_link(link, board)) as line:
            hello = Probe(line).hello(BEFORE_S)
    except PortError as error:
        if error.why != "absent" or not link.startswith("hardware:"):
            raise  # a blank board cannot be found by what it says
    if hello is None or hello.icd_hash != icd.ICD_HASH:
        return  # blank, or too old to say who it is in words of today
    where = f"{board.role} on {link} is not flashed"
    if hello.kind != board.kind:
        raise FlashError(f"{where}: the board there is a {kind_name(hello.kind)}, expected a {kind_name(board.kind)}")
    _same_place(hello, board, where)


def _same_place(hello: Hello, board: Board, where: str) -> None:
    if board.hardware_id and hello.hardware_id != board.hardware_id:
        raise FlashError(f"{where}: hardware id {hello.hardware_id.hex()}, expected {board.hardware_id.hex()}")
    if hello.role not in (icd.Address.NONE, board.address):
        cure = f"swap the cables, or make it that with `hal assign {board.role} --rig {board.rig}`"
        raise FlashError(f"{where}: the board there is {role_name(hello.role)}, expected {board.role}; {cure}")


def _prove(board: Board, image: Image, link: str) -> Hello:
    """The HELLO of the board that runs the image now, under its address. Raises `FlashError`."""
    until = time.monotonic() + AFTER_S
    last: Hello | None = None
    why = "it says no HELLO"
    while (left := until - time.monotonic()) > 0:
        try:
            with contextlib.closing(open_link(link, board)) as line:
                probe = Probe(line)
                last = probe.hello(min(left, AGAIN_S)) or last
                if last is not None and last.image_crc == image.crc:
                    return _with_address(probe, last, board, link)
        except (FlashError, RigError):
            raise
        except HalError as error:  # the port may go and come back with the board
            why = str(error)
            time.sleep(min(left, AGAIN_S))
    where = f"board {board.role} on {link} was flashed, but"
    if last is None:
        raise FlashError(f"{where} {why} within {AFTER_S:g} s; set BOOT0 low, reset it, and try `hal doctor`")
    what = f"it runs the image with CRC {last.image_crc:08x}, expected {image.crc:08x} of {image.path}"
    raise FlashError(f"{where} {what}; reset it, or look whether the program wrote to another board")


def _with_address(probe: Probe, hello: Hello, board: Board, link: str) -> Hello:
    where = f"board {board.role} on {link} was flashed, but it is another"
    _same_place(hello, board, where)
    if hello.role == board.address:
        return hello
    answer = None
    with contextlib.suppress(LinkDownError):
        answer = probe.assign(hello.hardware_id, board.address, ASSIGN_S)
    if answer is None or answer.role != board.address:
        cure = f"try `hal assign {board.role} --rig {board.rig}`"
        raise FlashError(f"board {board.role} on {link} was flashed, but took no address; {cure}")
    return answer
