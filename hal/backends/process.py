"""``process:``: the board code as a child process on a pseudo-terminal, opened with pyserial exactly like a port."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

import serial

from hal import icd
from hal.backends.terminal import TerminalLine, open_port
from hal.errors import LinkError
from hal.link import Board, Link, Url

PROGRAM = Path(__file__).parents[1] / "bin" / "dawnline-board"
KINDS = {icd.BoardKind.POWER_BOARD: "power_board", icd.BoardKind.COMPUTE_NODE: "compute_node"}
END_GUARD_S = 5.0


class ProcessLine(TerminalLine):
    """The line to a child process; closing it ends the child."""

    def __init__(self, url: str, port: serial.Serial, child: subprocess.Popen[bytes]) -> None:
        super().__init__(url, port, lossy=False)
        self.pid = child.pid
        self._child = child

    def close(self) -> None:
        super().close()
        self._child.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(END_GUARD_S)


def open_link(url: Url, board: Board) -> Link:
    """Start the child and open its terminal. Raises `LinkError` when the program is not built or does not start."""
    if not PROGRAM.exists():
        raise LinkError(f"{url.text} {PROGRAM} is not built, expected it from `make` or `pip install`")
    if board.nvm is None:
        raise LinkError(f"{url.text} ({board.role}): no file for its persistent memory")
    ours, its = os.openpty()
    try:
        # Opened (and set raw) before the child starts, so that no byte of its HELLO can be lost or echoed.
        port = open_port(os.ttyname(its), 1_000_000, f"{url.text} ({board.role})")
    except LinkError:
        os.close(ours)
        raise
    finally:
        os.close(its)
    kind = KINDS[icd.BoardKind(board.kind)]
    arguments = [str(PROGRAM), kind, str(board.address), board.hardware_id.hex(), str(board.nvm), str(board.cause)]
    try:
        child = subprocess.Popen(arguments, stdin=ours, stdout=ours, close_fds=True)
    except OSError as error:
        port.close()
        raise LinkError(f"{url.text} ({board.role}): cannot start {PROGRAM}: {error.strerror}") from None
    finally:
        os.close(ours)
    return ProcessLine(url.text, port, child)
