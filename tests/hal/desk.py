"""A desk with boards on it: a machine of a test's making (its /sys, /proc, /dev), and boards on pseudo-terminals that
say what they are told to say."""

from __future__ import annotations

import contextlib
import os
import select
import stat
import subprocess
import termios
import threading
import tty
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import serial

from hal import icd
from hal._native import ffi, lib
from hal.backends.process import PROGRAM
from hal.link import Board
from hal.ports import System
from tests.hal.talker import frame, hello_of

BAUD = {termios.B115200: 115_200, termios.B1000000: 1_000_000, termios.B460800: 460_800, termios.B9600: 9600}


def node(index: int, **more: Any) -> Board:
    """The board that a node of this index has to be."""
    return Board(f"node{index}", icd.BoardKind.COMPUTE_NODE, 256 + index, b"", **more)


def forbid(monkeypatch: pytest.MonkeyPatch, path: str) -> Callable[[], None]:
    """Make a port one that this user may not open, root or not. Returns what lifts that."""
    mode = os.stat(path).st_mode
    opened = serial.Serial.open

    def as_nobody(self: serial.Serial) -> None:
        own = os.geteuid()
        if own == 0:
            os.seteuid(65534)
        try:
            opened(self)
        finally:
            os.seteuid(own)

    os.chmod(path, 0)
    monkeypatch.setattr(serial.Serial, "open", as_nobody)
    return lambda: os.chmod(path, stat.S_IMODE(mode))


class Terminal:
    """The far end of a pseudo-terminal, served by a thread. Nobody has the near end open, as with a real port."""

    def __init__(self) -> None:
        self.ours, its = os.openpty()
        tty.setraw(its)
        self.path = os.ttyname(its)
        os.close(its)
        os.set_blocking(self.ours, False)
        self._stop, self._stopped = os.pipe()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """The cable is pulled out."""
        os.write(self._stopped, b"x")
        if self._thread.ident is not None:
            self._thread.join()
        for fd in (self.ours, self._stop, self._stopped):
            with contextlib.suppress(OSError):
                os.close(fd)

    def hang_up(self) -> None:
        """The line ends, for good."""
        fd, self.ours = self.ours, -1
        os.close(fd)

    @property
    def baud(self) -> int:
        """As the near end is set."""
        return BAUD.get(termios.tcgetattr(self.ours)[5], 0)

    def _serve(self) -> None:
        # Edge-triggered: a near end that nobody has open is a state, not a stream of events.
        poll = select.epoll()
        poll.register(self.ours, select.EPOLLIN | select.EPOLLET)
        poll.register(self._stop, select.EPOLLIN)
        for fd in self.extra():
            poll.register(fd, select.EPOLLIN)
        with poll:
            while True:
                ready = {fd for fd, _ in poll.poll()}
                if self._stop in ready:
                    return
                if ready & set(self.extra()):
                    self.on_extra()
                while (data := self._read()) != b"":
                    self.receive(data)

    def _read(self) -> bytes:
        try:
            return os.read(self.ours, 4096)
        except OSError:
            return b""  # nothing more, or nobody has the near end open

    def extra(self) -> list[int]:
        """More to wait for."""
        return []

    def on_extra(self) -> None:
        """One of them is readable."""

    def receive(self, data: bytes) -> None:
        """Bytes from the host."""

    def say(self, data: bytes) -> None:
        """Bytes to the host."""
        with contextlib.suppress(OSError):
            os.write(self.ours, data)


class FakeBoard(Terminal):
    """A board that answers HELLO_REQ with what a test says, at one baud rate; `spoil` changes what it sends."""

    def __init__(self, board: Board | None, baud: int | None = None, assignable: bool = False, **hello: Any) -> None:
        super().__init__()
        self.hello = hello_of(board, **hello) if board is not None else None
        self.baud_wanted = baud
        self.assignable = assignable
        self.silent = False
        self.spoil: Callable[[bytes], bytes] = bytes
        self.heard: list[str] = []
        self.bytes_heard = b""
        self._receiver, self._frame = ffi.new("struct bus_receiver *"), ffi.new("struct bus_frame *")
        lib.bus_receiver_init(self._receiver)
        self._names = {message.type: name for name, message in icd.MESSAGES.items()}
        self.start()

    def receive(self, data: bytes) -> None:
        self.bytes_heard += data
        if self.baud_wanted is not None and self.baud != self.baud_wanted:
            self.say(bytes((i * 37 + 11) & 255 for i in range(len(data))))  # what a UART makes of another rate
            return
        raw = ffi.from_buffer("uint8_t[]", data)
        at, end = ffi.new("const uint8_t **", raw), raw + len(data)
        while lib.bus_receiver_next(self._receiver, at, end, self._frame):
            self._take(self._names.get(self._frame.header.type, "none"), self._frame)

    def _take(self, name: str, f: Any) -> None:
        self.heard.append(name)
        if self.hello is None or self.silent or name not in ("hello_req", "assign"):
            return
        if name == "assign":
            asked = icd.decode("assign", bytes(ffi.buffer(f.payload, f.header.length)))
            if asked["hardware_id"] != self.hello["hardware_id"]:
                return
            if self.assignable:
                self.hello["role"] = asked["role"]
        self.say(self.spoil(frame("hello", f.header.src, 0, 0, self.hello["role"], **self.hello)))


class RealBoard:
    """The code of a board as a child process whose line stays plugged in; its address is the one assigned to it."""

    def __init__(self, nvm: Path, hardware_id: bytes, kind: str = "compute_node") -> None:
        self._ours, self._its = os.openpty()
        tty.setraw(self._its)
        self.path = os.ttyname(self._its)
        arguments = [str(PROGRAM), kind, "0", hardware_id.hex(), str(nvm), "1"]
        self._board = subprocess.Popen(arguments, stdin=self._ours, stdout=self._ours)

    def close(self) -> None:
        """Pull it out."""
        self._board.kill()
        self._board.wait()
        os.close(self._ours)
        os.close(self._its)


@dataclass
class Desk:
    """A machine below `root`, with ports on it."""

    root: Path
    boards: list[Terminal | RealBoard] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.system = System(self.root)
        for folder in ("sys/class/tty", "sys/bus/usb-serial/devices", "proc", "dev", "run/udev/data"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)

    def close(self) -> None:
        """Unplug everything."""
        for board in {id(board): board for board in self.boards}.values():
            board.close()

    def plug(
        self,
        board: Terminal | RealBoard | None,
        name: str = "ttyACM0",
        *,
        serial: str = "066DFF54",
        usb_id: tuple[int, int] = (0x0483, 0x374B),
        product: str = "STM32 STLink",
        interface: int = 2,
        latency_ms: int | None = None,
    ) -> str:
        """Plug a board in (None: a port with nothing behind it that can be opened). Returns the path of its port."""
        usb = self.root / "sys/devices/pci0000:00/usb1" / f"1-{name}"
        place = usb / f"1-{name}:1.{interface}"
        driver = "cdc_acm" if name.startswith("ttyACM") else "ftdi_sio"
        if driver != "cdc_acm":
            place = place / name
        (place / "tty" / name).mkdir(parents=True)
        for file, text in (("idVendor", f"{usb_id[0]:04x}"), ("idProduct", f"{usb_id[1]:04x}"), ("product", product)):
            (usb / file).write_text(text + "\n")
        if serial:
            (usb / "serial").write_text(serial + "\n")
        (usb / f"1-{name}:1.{interface}" / "bInterfaceNumber").write_text(f"{interface:02x}\n")
        drivers = self.root / "sys/bus/drivers" / driver
        drivers.mkdir(parents=True, exist_ok=True)
        (place / "driver").symlink_to(drivers)
        (place / "tty" / name / "device").symlink_to(place)
        (self.root / "sys/class/tty" / name).symlink_to(place / "tty" / name)
        if latency_ms is not None:
            timer = self.root / "sys/bus/usb-serial/devices" / name
            timer.mkdir()
            (timer / "latency_timer").write_text(f"{latency_ms}\n")
        device = self.root / "dev" / name
        if board is not None:
            device.symlink_to(board.path)
            self.boards.append(board)
        else:
            device.write_text("")
        return str(device)

    def unplug(self, name: str) -> None:
        """Take the port away; what is behind it lives on."""
        (self.root / "sys/class/tty" / name).unlink()
        (self.root / "dev" / name).unlink()

    def run(self, program: str, pid: int, holds: str | None = None) -> None:
        """A process that has a device open, or none."""
        fds = self.root / "proc" / str(pid) / "fd"
        fds.mkdir(parents=True)
        (fds.parent / "comm").write_text(program + "\n")
        (fds / "0").symlink_to("/dev/null")
        if holds is not None:
            (fds / "3").symlink_to(holds)
