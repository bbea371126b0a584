"""A link to one board: bytes out, bytes in. Opened by URL; what is behind it makes no difference to the world.

=========================================  ======================================================
``mock:``                                  the board code in this process
``process:``                               the board code as a child process on a pseudo-terminal
``unicorn:ELF``                            the board's firmware on a microcontroller emulated in this process
``qemu:MACHINE?elf=ELF``                   the board's firmware in a QEMU process (default: netduinoplus2, built image)
``serial:USB-SERIAL-NUMBER?baud=1000000``  a port, found by its USB serial number
``serial:/dev/ttyACM0?baud=1000000``       a port, by its path
``hardware:24-HEX-DIGITS?baud=1000000``    a port, found by asking every one for the board with this hardware id
=========================================  ======================================================
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable
from urllib.parse import parse_qsl

from hal.errors import LinkError


@dataclass(frozen=True, slots=True)
class BackEnd:
    """What a scheme of link URLs stands for."""

    target: str
    """what stands behind the colon, for messages; "" when nothing may"""
    options: tuple[str, ...] = ()
    made: bool = True
    """the world makes the board itself: it keeps its persistent memory and can switch it off and on"""
    needs_target: bool = False
    image: bool = False
    """the board runs a firmware image, whose CRC it has to name"""
    faults: frozenset[str] = frozenset({"hang"})
    """faults of a board (`hal.fault_kinds`) that can be injected into one behind it; the bench does a hang by itself"""


MADE_FAULTS = frozenset({"off", "reset", "hang", "brown_out", "boot_loop"})
"""What anybody can do to a board that it makes: end it, and make it again with a reset cause."""

BACKENDS: dict[str, BackEnd] = {
    "mock": BackEnd("", faults=MADE_FAULTS | {"nvm_cut", "bit_flip"}),
    "process": BackEnd("", faults=MADE_FAULTS),
    "unicorn": BackEnd("ELF", image=True, faults=MADE_FAULTS | {"bit_flip"}),
    "qemu": BackEnd("MACHINE", ("elf",), image=True, faults=MADE_FAULTS),
    "serial": BackEnd("USB-SERIAL-NUMBER", ("baud", "interface"), made=False, needs_target=True, image=True),
    "hardware": BackEnd("HARDWARE-ID", ("baud",), made=False, needs_target=True, image=True),
}
"""Scheme -> back end; each is a module of its own in hal/backends."""

MADE = tuple(scheme for scheme, back_end in BACKENDS.items() if back_end.made)
"""Back ends that every board of a rig can be put on."""


@dataclass(frozen=True, slots=True)
class Board:
    """Who is expected behind a link. A back end that makes its own board (mock, process) makes this one."""

    role: str
    kind: int
    """enum board_kind of the board bus"""
    address: int
    """bus address"""
    hardware_id: bytes
    """12 bytes; b"" where any will do, because the world does not make the board"""
    nvm: Path | None = None
    """file that keeps the board's persistent memory; None: memory that lives as long as the world"""
    image: Path | None = None
    """the firmware image that it runs; None: a program of this host, which has none"""
    made: bool = True
    """the world makes it; it is not one that is plugged in"""
    rig: str = "RIG"
    """how a command names the rig, for messages that say what to do"""
    cause: int = 1
    """enum reset_cause of its first boot; power_on unless a fault says otherwise"""


class Link(Protocol):
    """One open line to one board."""

    url: str
    lossy: bool
    """True when bytes may get lost on the way, so that a silent board is asked again before it is given up."""

    def fileno(self) -> int:
        """File descriptor to wait on for reading; -1 when an answer is there as soon as `send` returns."""
        ...

    def send(self, data: bytes) -> None:
        """Send all of `data`. Raises `LinkDownError` when the line has ended."""
        ...

    def recv(self) -> bytes:
        """What has arrived, at most 64 KiB, without waiting; b"" when nothing. Raises `LinkDownError` at its end."""
        ...

    def close(self) -> None:
        """Let go of the line at once. May be called twice."""
        ...


@runtime_checkable
class Injectable(Protocol):
    """A link that reaches into its board: what `BackEnd.faults` names beyond `MADE_FAULTS` is done by it."""

    def inject(self, kind: str, value: float, seed: int) -> None:
        """Do it now, with that `value` (`hal.fault_kinds`); chance comes from `seed` alone (64 bit)."""
        ...


@dataclass(frozen=True, slots=True)
class Url:
    """A parsed link URL: ``scheme:target?key=value&...``."""

    scheme: str
    target: str
    options: dict[str, str]
    text: str

    @property
    def image(self) -> Path | None:
        """The firmware image that the URL names, if it does."""
        if "elf" in self.options:
            return Path(self.options["elf"])
        return Path(self.target) if self.target and BACKENDS[self.scheme].target == "ELF" else None

    def number(self, key: str, default: int, low: int, high: int) -> int:
        """An integer option. Raises `LinkError` when it is malformed or out of range."""
        text = self.options.get(key, str(default))
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise LinkError(f"{self.text}: {key}={text} is out of range, expected an integer from {low} to {high}")
        return value


def parse_url(text: str) -> Url:
    """Split a link URL. Raises `LinkError` for an unknown back end or option, or a target that does not fit."""
    scheme, colon, rest = text.partition(":")
    if not colon or scheme not in BACKENDS:
        raise LinkError(f"link '{text}': unknown back end, expected one of {', '.join(f'{s}:' for s in BACKENDS)}")
    back_end = BACKENDS[scheme]
    target, _, query = rest.partition("?")
    if target and not back_end.target:
        raise LinkError(f"link '{text}': expected {scheme}: alone, which makes its own board")
    if not target and back_end.needs_target:
        raise LinkError(f"link '{text}': names no {back_end.target}, expected {scheme}:{back_end.target}")
    options = dict(parse_qsl(query, keep_blank_values=True))
    for key in options:
        if key not in back_end.options:
            expected = ", ".join(back_end.options) or "none"
            raise LinkError(f"link '{text}': unknown option '{key}', expected {expected}")
    return Url(scheme, target, options, text)


def parse_hardware_id(text: str) -> bytes:
    """12 bytes from 24 hexadecimal digits. Raises `LinkError`."""
    if len(text) != 24 or not set(text.lower()) <= set("0123456789abcdef"):
        raise LinkError(f"hardware id '{text}', expected 24 hexadecimal digits")
    return bytes.fromhex(text)


def open_link(url: str, board: Board) -> Link:
    """Open the line to `board`. Raises `LinkError` with one line: absent port, busy port, no permission, bad URL."""
    parsed = parse_url(url)
    backend = importlib.import_module(f"hal.backends.{parsed.scheme}")
    link: Link = backend.open_link(parsed, board)
    return link
