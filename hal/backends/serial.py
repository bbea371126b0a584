"""``serial:``: a real port, found by the USB serial number of its adapter (never by the order of enumeration)."""

from __future__ import annotations

from pathlib import Path

from serial.tools import list_ports

from hal.backends.terminal import TerminalLine, open_port
from hal.errors import LinkError
from hal.link import Board, Link, Url

DEFAULT_BAUD = 1_000_000
BY_ID = Path("/dev/serial/by-id")


def open_link(url: Url, board: Board) -> Link:
    """Open the port. Raises `LinkError`: no such port, several such ports, busy, no permission."""
    baud = url.number("baud", DEFAULT_BAUD, 1200, 12_000_000)
    path = resolve(url.target)
    port = open_port(path, baud, f"{url.text} ({board.role})")
    port.reset_input_buffer()  # what an adapter kept from before is not ours
    return TerminalLine(url.text, port, lossy=True)


def resolve(target: str) -> str:
    """Path of the port whose adapter has this USB serial number; a /dev path stands for itself."""
    if target.startswith("/"):
        return target
    found = {p.device for p in list_ports.comports() if p.serial_number == target}
    if not found and BY_ID.is_dir():
        found = {str(p) for p in BY_ID.iterdir() if target in p.name}
    if len(found) == 1:
        return found.pop()
    seen = sorted(str(p.serial_number) for p in list_ports.comports() if p.serial_number)
    if found:
        raise LinkError(f"serial:{target}: {len(found)} ports have this serial number, expected one")
    there = ", ".join(seen) or "none"
    raise LinkError(f"serial:{target}: no port with this USB serial number is plugged in (there are: {there})")
