"""The serial ports that are plugged in, and who else wants them: what Linux says in /sys, /proc, /dev and /run.

`HOST` is this machine. Everything is read below `System.root`, so that a test can build a machine of its own.
"""

from __future__ import annotations

import contextlib
import grp
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ADAPTERS = {
    (0x0483, 0x374B): "ST-Link V2-1",
    (0x0483, 0x3752): "ST-Link V2-1",
    (0x0483, 0x374E): "ST-Link V3",
    (0x0483, 0x374F): "ST-Link V3",
    (0x0403, 0x6001): "FT232R",
    (0x0403, 0x6010): "FT2232",
    (0x0403, 0x6011): "FT4232",
    (0x0403, 0x6014): "FT232H",
    (0x0403, 0x6015): "FT-X",
    (0x10C4, 0xEA60): "CP210x",
    (0x1A86, 0x7523): "CH340",
    (0x1A86, 0x55D4): "CH9102",
    (0x067B, 0x2303): "PL2303",
}
"""Adapters that boards are often behind. A match only puts a port earlier in the order of asking."""

BRLTTY_TAKES = {(0x10C4, 0xEA60), (0x1A86, 0x7523), (0x0403, 0x6001)}
"""Adapters that brltty (braille displays) takes for its own on some distributions."""


@dataclass(frozen=True, slots=True)
class Port:
    """A serial port on USB."""

    device: str
    """path of its device file"""
    name: str
    """as the kernel calls it, such as ttyACM0"""
    vendor: int
    product: int
    serial_number: str
    """of the USB device; "" when it has none"""
    interface: int
    """number of the USB interface: which of the ports of one adapter"""
    description: str
    driver: str

    @property
    def usb_id(self) -> tuple[int, int]:
        """Vendor and product id."""
        return self.vendor, self.product

    def __str__(self) -> str:
        return f"{self.device} ({self.description}, {self.vendor:04x}:{self.product:04x}, {self.driver})"


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that has a port open."""

    pid: int
    program: str

    def __str__(self) -> str:
        return f"process {self.pid} ({self.program})"


class System:
    """A machine. root: the folder in which its /sys, /proc, /dev and /run are."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    def ports(self) -> list[Port]:
        """Every serial port on USB that is plugged in, in the order of their names."""
        folder = self.root / "sys/class/tty"
        names = sorted(os.listdir(folder), key=_natural) if folder.is_dir() else []
        return [port for name in names if (port := self._port(name)) is not None]

    def _port(self, name: str) -> Port | None:
        link = self.root / "sys/class/tty" / name / "device"
        if not link.exists():
            return None  # a virtual terminal
        place = link.resolve()
        usb = _above(place, "idVendor")
        if usb is None:
            return None
        interface = _above(place, "bInterfaceNumber") or place
        driver = place / "driver"
        return Port(
            device=str(self.root / "dev" / name),
            name=name,
            vendor=int(_text(usb / "idVendor"), 16),
            product=int(_text(usb / "idProduct"), 16),
            serial_number=_text(usb / "serial"),
            interface=int(_text(interface / "bInterfaceNumber") or "0", 16),
            description=_text(usb / "product") or _text(usb / "manufacturer") or "USB serial port",
            driver=driver.resolve().name if driver.exists() else "no driver",
        )

    def port_of(self, device: str) -> Port | None:
        """The port that a device file (or a link to one) belongs to; None when it is not on USB."""
        name = Path(os.path.realpath(device)).name
        return next((port for port in self.ports() if port.name == name or port.device == device), None)

    # ------------------------------------------------------------ who else
    def holders(self, device: str) -> list[Holder]:
        """Other processes that have the device open, as far as this user may see that."""
        try:
            wanted = _same(os.stat(device))
        except OSError:
            return []
        own = os.getpid()
        return [
            Holder(pid, self._program(pid)) for pid in self._processes() if pid != own and self._has_open(pid, wanted)
        ]

    def running(self, program: str) -> Holder | None:
        """A process of this name."""
        found = (Holder(pid, program) for pid in self._processes() if self._program(pid) == program)
        return next(found, None)

    def _processes(self) -> Iterator[int]:
        with contextlib.suppress(OSError):
            yield from sorted(int(name) for name in os.listdir(self.root / "proc") if name.isdecimal())

    def _program(self, pid: int) -> str:
        return _text(self.root / "proc" / str(pid) / "comm") or "unknown"

    def _has_open(self, pid: int, wanted: tuple[int, ...]) -> bool:
        folder = self.root / "proc" / str(pid) / "fd"
        try:
            names = os.listdir(folder)
        except OSError:
            return False
        for name in names:
            with contextlib.suppress(OSError):
                if "/dev/" in os.readlink(folder / name) and _same(os.stat(folder / name)) == wanted:
                    return True
        return False

    # ------------------------------------------------------------ what is set
    def latency_ms(self, port: Port) -> int | None:
        """For how long the adapter keeps bytes to itself; None for one that does not."""
        text = _text(self.root / "sys/bus/usb-serial/devices" / port.name / "latency_timer")
        return int(text) if text.isdecimal() else None

    def modem_manager_ignores(self, device: str) -> bool:
        """A udev rule keeps ModemManager away from this port."""
        try:
            number = os.stat(device).st_rdev
        except OSError:
            return False
        facts = _text(self.root / "run/udev/data" / f"c{os.major(number)}:{os.minor(number)}")
        return re.search(r"^E:ID_MM_(DEVICE|PORT)_IGNORE=1$", facts, re.MULTILINE) is not None


HOST = System()


def group_of(device: str) -> str:
    """Name of the group that owns a device file."""
    number = os.stat(device).st_gid
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _same(facts: os.stat_result) -> tuple[int, ...]:
    """Equal for two names of one device."""
    if stat.S_ISCHR(facts.st_mode):
        return (facts.st_rdev,)
    return facts.st_dev, facts.st_ino


def _above(place: Path, name: str) -> Path | None:
    """The nearest folder, from `place` upwards, that has a file of this name."""
    return next((folder for folder in (place, *place.parents) if (folder / name).is_file()), None)


def _text(path: Path) -> str:
    """Content of a small file; "" when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _natural(name: str) -> list[int | str]:
    """ttyUSB10 comes after ttyUSB9."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]
