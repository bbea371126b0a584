"""``serial:``: a real port, found by the USB serial number of its adapter (never by the order of enumeration)."""

from __future__ import annotations

from hal import ports
from hal.backends.terminal import TerminalLine, open_free_port
from hal.errors import PortError
from hal.link import Board, Link, Url

DEFAULT_BAUD = 1_000_000
BAUD_RANGE = (1200, 12_000_000)


def open_link(url: Url, board: Board) -> Link:
    """Open the port. Raises `PortError`: no such port, several such ports, busy, no permission."""
    interface = url.number("interface", 0, 0, 255) if "interface" in url.options else None
    return open_device(url, resolve(url.target, interface), f"{url.text} ({board.role})")


def open_device(url: Url, device: str, what: str) -> TerminalLine:
    """Open a port by its path, at the baud rate of the URL. Raises `PortError` naming `what`."""
    port = open_free_port(device, url.number("baud", DEFAULT_BAUD, *BAUD_RANGE), what)
    port.reset_input_buffer()  # what an adapter kept from before is not ours
    return TerminalLine(url.text, port, lossy=True)


def resolve(target: str, interface: int | None = None) -> str:
    """Path of the port whose adapter has this USB serial number; a /dev path stands for itself.

    interface: which one of several ports of that adapter. Raises `PortError`.
    """
    if target.startswith("/"):
        return target
    plugged = ports.HOST.ports()
    found = [p for p in plugged if p.serial_number == target and interface in (None, p.interface)]
    if len(found) == 1:
        return found[0].device
    if found:
        which = " or ".join(f"interface={p.interface}" for p in found)
        options = f"expected one: add {which}" if len({p.interface for p in found}) == len(found) else "expected one"
        raise PortError(f"serial:{target}: {len(found)} ports have this serial number, {options}", "other")
    there = ", ".join(sorted({p.serial_number for p in plugged if p.serial_number})) or "none"
    of_it = f" and interface {interface}" if interface is not None else ""
    what = f"no port with this USB serial number{of_it} is plugged in (there are: {there})"
    raise PortError(f"serial:{target}: {what}, expected one; `hal scan` lists them", "absent")
