"""``qemu:MACHINE?elf=ELF``: the firmware of a board on an emulated microcontroller, in a QEMU process of its own.

The line is a Unix socket at which the host listens before QEMU starts, so that no byte of the first HELLO is lost (a
pseudo-terminal keeps stale bytes over a reconnection). The board learns who it is, and reaches its persistent memory (a
file), by semihosting; a reset goes over QMP.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hal.backends.stream import StreamLine
from hal.errors import LinkDownError, LinkError
from hal.firmware import read_image
from hal.link import Board, Link, Url

PROGRAM = "qemu-system-arm"
MACHINE = "netduinoplus2"
UARTS = {MACHINE: 1, "netduino2": 1, "olimex-stm32-h405": 1, "microbit": 0}
"""Machine -> which of its UARTs is the board's line."""
START_GUARD_S = 10.0
END_GUARD_S = 5.0
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


class QemuLine(StreamLine):
    """The line to a board in QEMU; closing it ends QEMU."""

    def __init__(self, url: str, sock: socket.socket, child: subprocess.Popen[bytes], folder: Any) -> None:
        super().__init__(url, sock.fileno(), lossy=False)
        self.pid = child.pid
        self._sock = sock
        self._child = child
        self._folder = folder

    def reset(self) -> None:
        """Pull the board's reset line, by QMP. Raises `LinkDownError`."""
        try:
            qmp(Path(self._folder.name) / "qmp", "system_reset")
        except OSError as error:
            self._down(f"QMP does not answer: {error.strerror or error}")

    def close(self) -> None:
        if self._fd < 0:
            return
        self._fd = -1
        self._sock.close()
        self._child.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(END_GUARD_S)
        self._folder.cleanup()

    def _down(self, why: str) -> Any:
        why = f"{why}; {ending(self._child, Path(self._folder.name))}"
        return super()._down(why)


def ending(child: subprocess.Popen[bytes], folder: Path) -> str:
    """Why QEMU has ended, in words."""
    try:
        code = child.wait(0.5)
    except subprocess.TimeoutExpired:
        return "QEMU runs on"
    said = (folder / "stderr").read_text(errors="replace").strip()
    first = said.splitlines()[0] if said else "nothing on stderr"
    if code == -signal.SIGABRT and "ockup" in said:
        return f"the firmware locked up: {first}"
    if code < 0:
        return f"QEMU was ended by {signal.Signals(-code).name}"
    return f"QEMU ended with {code}: {first}"


def qmp(path: Path, command: str) -> dict[str, Any]:
    """One command of the QEMU machine protocol. Raises OSError when nobody answers or it is refused."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(START_GUARD_S)
        sock.connect(str(path))
        lines = sock.makefile("rw", encoding="utf-8")
        lines.readline()  # the greeting
        for name in ("qmp_capabilities", command):
            lines.write(json.dumps({"execute": name}) + "\n")
            lines.flush()
            answer = json.loads(lines.readline())
            while "event" in answer:
                answer = json.loads(lines.readline())
            if "return" not in answer:
                raise OSError(f"{name}: {answer}")
    result: dict[str, Any] = answer
    return result


@functools.cache
def machines(program: str) -> str:
    """What `-M help` prints: the machines that this QEMU has."""
    done = subprocess.run([program, "-M", "help"], capture_output=True, text=True, check=False)
    return done.stdout


def open_link(url: Url, board: Board) -> Link:
    """Start QEMU with the board's firmware. Raises `LinkError`, `ImageError`: no QEMU, no such machine, no image."""
    what = f"{url.text} ({board.role})"
    program = shutil.which(PROGRAM)
    if program is None:
        raise LinkError(f"{what}: {PROGRAM} is not installed, expected the package qemu-system-arm")
    machine = url.target or MACHINE
    if machine not in UARTS or machine not in machines(program).split():
        known = ", ".join(name for name in UARTS if name in machines(program).split())
        raise LinkError(f"{what}: no machine '{machine}' that a board's firmware runs on, expected one of {known}")
    if board.nvm is None or board.image is None:
        raise LinkError(f"{what}: no file for its persistent memory, or no image")
    read_image(board.image)
    folder = tempfile.TemporaryDirectory(prefix="dl-")  # a short path: a socket's has 107 bytes
    try:
        return _start(url, board, machine, [program, "-M", machine, "-kernel", str(board.image)], folder)
    except BaseException:
        folder.cleanup()
        raise


def _start(url: Url, board: Board, machine: str, command: list[str], folder: Any) -> QemuLine:
    where = Path(folder.name)
    assert board.nvm is not None
    arguments = (board.address, board.hardware_id.hex(), board.cause, str(board.nvm.resolve()).replace(",", ",,"))
    command += ["-display", "none", "-monitor", "none", *["-serial", "null"] * UARTS[machine]]
    command += ["-chardev", f"socket,id=line,path={where / 'line'}", "-serial", "chardev:line"]
    command += ["-qmp", f"unix:{where / 'qmp'},server=on,wait=off"]
    command += ["-semihosting-config", ",".join(("enable=on,target=native", *(f"arg={a}" for a in arguments)))]
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener, (where / "stderr").open("wb") as said:
        listener.bind(str(where / "line"))
        listener.listen(1)
        listener.settimeout(START_GUARD_S)
        prepare = functools.partial(_in_child, _core_for(board.address))
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, preexec_fn=prepare)
        try:
            sock, _ = listener.accept()
        except OSError:
            child.kill()
            why = ending(child, where)
            raise LinkError(f"{url.text} ({board.role}): QEMU did not connect its line: {why}") from None
    return QemuLine(url.text, sock, child, folder)


def _core_for(address: int) -> int:
    """The processor core for a board: boards of a rig are spread over those that this process may use."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[(os.getpid() + address) % len(cores)]


def _in_child(core: int) -> None:
    """In the child: end when the process that started it ends, however that is killed. Stay on one core: QEMU's two
    threads take turns, several times for every byte, and to wake one on another core costs more than it gains."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.sched_setaffinity(0, {core})


__all__ = ["LinkDownError", "QemuLine", "open_link"]
