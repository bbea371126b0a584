"""``hardware:``: a board found by its own hardware id, whatever port it is on: every free port is asked who is there.

The ports are this process's alone while they are asked, and vendor and product id only say which to ask first. Where a
board was found before is asked before all others, so that a cable that comes back costs no search.
"""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor

from hal import ports
from hal.backends.serial import open_device
from hal.backends.terminal import TerminalLine
from hal.errors import LinkDownError, PortError
from hal.identity import Hello
from hal.link import Board, Link, Url, parse_hardware_id
from hal.probe import Probe

ANSWER_S = 0.5
THREADS = 8

_found_at: dict[bytes, str] = {}


def open_link(url: Url, board: Board) -> Link:
    """Search and open it. Raises `PortError`: no port, none that answers so, with what each of them said."""
    wanted = parse_hardware_id(url.target)
    candidates = sorted((p.device for p in ports.HOST.ports()), key=_rank)
    known = _found_at.get(wanted)
    first = [known] if known in candidates else []
    said: dict[str, str] = {}
    for group in (first, [device for device in candidates if device != known]):
        link = _ask_all(url, board, wanted, group, said)
        if link is not None:
            return link
    tried = ", ".join(f"{device}: {what}" for device, what in said.items()) or "none is plugged in"
    raise PortError(f"{url.text} ({board.role}): no port has a board with this hardware id ({tried})", "absent")


def _rank(device: str) -> bool:
    """Known adapters first; the rest in the order of their names."""
    port = ports.HOST.port_of(device)
    return port is None or port.usb_id not in ports.ADAPTERS


def _ask_all(url: Url, board: Board, wanted: bytes, devices: list[str], said: dict[str, str]) -> TerminalLine | None:
    """The line of the one that is wanted; all others are closed again. Fills in what each of them said."""
    with ThreadPoolExecutor(THREADS) as pool:
        answers = list(pool.map(lambda device: _ask(url, device, board.role), devices))
    matching: dict[str, TerminalLine] = {}
    for device, (link, hello, why) in zip(devices, answers, strict=True):
        said[device] = f"is {hello.hardware_id.hex()}" if hello is not None else why
        if link is not None and hello is not None and hello.hardware_id == wanted:
            matching[device] = link
        elif link is not None:
            link.close()
    if len(matching) > 1:
        for link in matching.values():
            link.close()
        where = " and ".join(matching)
        raise PortError(f"{url.text} ({board.role}): {where} both have this hardware id, expected one board", "other")
    for device in matching:
        _found_at[wanted] = device
    return next(iter(matching.values()), None)


def _ask(url: Url, device: str, role: str) -> tuple[TerminalLine | None, Hello | None, str]:
    """(open line, its HELLO, why there is none) of one port."""
    try:
        link = open_device(url, device, f"{url.text} ({role})")
    except PortError as error:
        return None, None, error.why
    with contextlib.suppress(LinkDownError):
        return link, Probe(link).hello(ANSWER_S), "silent"
    return None, None, "gone"
