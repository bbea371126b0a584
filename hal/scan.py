"""What is plugged in: every serial port on USB, who answers on it, and the entry of a rig that names it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from hal import icd, ports
from hal._native import lib
from hal.backends.hardware import ANSWER_S, THREADS
from hal.backends.serial import open_device
from hal.errors import LinkDownError, PortError
from hal.identity import Hello, describe, expected_board, kind_name, refusal, role_name
from hal.images import image_of
from hal.link import Board, parse_url
from hal.ports import Port
from hal.probe import Probe
from hal.rig import Rig

BAUDS = (1_000_000, 115_200)
"""Rates at which a port is asked, unless a rig says another."""


@dataclass(frozen=True, slots=True)
class Found:
    """One port: who answered, at which rate, and what is wrong (None: nothing)."""

    port: Port
    link: str
    role: str | None
    hello: Hello | None
    problem: str | None

    @property
    def facts(self) -> dict[str, Any]:
        """As JSON shows it."""
        p, hello = self.port, self.hello
        usb = {"device": p.device, "usb_id": f"{p.vendor:04x}:{p.product:04x}", "serial_number": p.serial_number}
        said = None
        if hello is not None:
            said = {
                "kind": kind_name(hello.kind),
                "address": hello.role,
                "hardware_id": hello.hardware_id.hex(),
                "firmware_hash": hello.firmware_hash.hex(),
                "image_crc": f"{hello.image_crc:08x}",
                "icd_hash": f"{hello.icd_hash:016x}",
                "flavour": "bench" if hello.bench else "flight",
                "boot_count": hello.boot_count,
            }
        more = {"interface": p.interface, "description": p.description, "driver": p.driver}
        return {**usb, **more, "link": self.link, "role": self.role, "board": said, "problem": self.problem}

    def lines(self) -> list[str]:
        """The entry of a rig, below a comment that says what is there. All of it is a comment when nobody answered."""
        entry = [f"[boards.{self.role or 'nodeN'}]", f'link = "{self.link}"']
        said = describe(self.hello) if self.hello is not None else self.problem
        problem = [f"# {self.problem}"] if self.problem and self.hello is not None else []
        if self.role is None:
            return [f"# {self.port}: {said}", *problem, *(f"# {line}" for line in entry)]
        if self.hello is not None and not self.link.startswith("hardware:"):
            entry.append(f'hardware_id = "{self.hello.hardware_id.hex()}"')
        return [f"# {self.port}: {said}", *problem, *entry]


def scan(rig: Rig | None = None) -> list[Found]:
    """Ask every port that no other process has. rig: what its entries say of rates and roles is used and checked."""
    plugged = ports.HOST.ports()
    bauds = {port.device: _bauds_of(port, rig) for port in plugged}
    with ThreadPoolExecutor(THREADS) as pool:
        answers = list(pool.map(lambda port: _ask(port, bauds[port.device]), plugged))
    found: list[Found] = []
    for port, (hello, baud, problem) in zip(plugged, answers, strict=True):
        link = _link_of(port, baud, hello, plugged)
        role = _role_of(port, hello, rig, found)
        if hello is not None and hello.kind != 0:
            problem = _clash(hello, role, found)
            role = None if problem else role
        if hello is not None and role is not None:
            problem = _problem(hello, role, rig, found)
        found.append(Found(port, link, role, hello, problem))
    return found


def _ask(port: Port, bauds: Sequence[int]) -> tuple[Hello | None, int, str | None]:
    """(who answers, at which rate, what is wrong)."""
    heard = 0
    for baud in bauds:
        url = parse_url(f"serial:{port.device}?baud={baud}")
        try:
            line = open_device(url, port.device, "not asked")
        except PortError as error:
            return None, bauds[0], str(error)
        with contextlib.closing(line), contextlib.suppress(LinkDownError):
            probe = Probe(line)
            hello = probe.hello(ANSWER_S)
            if hello is not None:
                return hello, baud, None
            heard += probe.bytes_received
    rates = " and ".join(str(baud) for baud in bauds)
    what = f"{heard} bytes and no HELLO" if heard else "silent"
    return None, bauds[0], f"{what} at {rates} baud; another baud rate, no power, or not one of our boards"


def _bauds_of(port: Port, rig: Rig | None) -> tuple[int, ...]:
    """The rate that the rig names for this port, or those that are usual."""
    for spec in rig.boards if rig is not None else ():
        url = parse_url(spec.link)
        named = spec.backend == "serial" and url.target in (port.serial_number, port.device)
        if named and "baud" in url.options:
            return (url.number("baud", 0, 1, 100_000_000),)
    return BAUDS


def _link_of(port: Port, baud: int, hello: Hello | None, plugged: list[Port]) -> str:
    """The link that finds this port again: by a serial number of its own, else by the board's id, else by path."""
    same = [p for p in plugged if port.serial_number and p.serial_number == port.serial_number]
    if len(same) == 1:
        return f"serial:{port.serial_number}?baud={baud}"
    if same and len({p.interface for p in same}) == len(same):
        return f"serial:{port.serial_number}?baud={baud}&interface={port.interface}"
    if hello is not None and hello.hardware_id:
        return f"hardware:{hello.hardware_id.hex()}?baud={baud}"
    return f"serial:{port.device}?baud={baud}"


def _role_of(port: Port, hello: Hello | None, rig: Rig | None, found: list[Found]) -> str | None:
    """The role in a rig: as the rig says already, as the board says, or the next that is free."""
    for spec in rig.boards if rig is not None else ():
        target = parse_url(spec.link).target
        by_port = spec.backend == "serial" and target in (port.serial_number, port.device)
        by_board = hello is not None and spec.hardware_id and spec.hardware_id == hello.hardware_id
        if by_board or (by_port and not spec.hardware_id):
            return spec.role
    if hello is None or hello.kind == 0:
        return None
    if hello.kind == icd.BoardKind.POWER_BOARD:
        return "power"
    if hello.role:
        return role_name(hello.role)
    taken = {f.role for f in found} | ({b.role for b in rig.boards if not b.made} if rig is not None else set())
    return next(f"node{i}" for i in range(len(taken) + 1) if f"node{i}" not in taken)


def _clash(hello: Hello, role: str | None, found: list[Found]) -> str | None:
    """Why it can have no entry of its own."""
    if role == "none":
        return f"its address {hello.role} is no role of a rig, expected that of the power board or of a node"
    twin = next((f for f in found if f.role == role), None)
    if role is None or twin is None:
        return None
    return f"{twin.port.device} is {role} already; give one of the two another role with `hal assign`"


def _problem(hello: Hello, role: str, rig: Rig | None, found: list[Found]) -> str | None:
    """Why a world would not take it in this role."""
    index = 0 if role == "power" else 1 + int(role.removeprefix("node"))
    spec = rig.boards[index] if rig is not None and index < len(rig.boards) else None
    if rig is not None and spec is not None and not spec.made:
        board = expected_board(rig, spec)
    else:
        kind = icd.BoardKind.COMPUTE_NODE if index else icd.BoardKind.POWER_BOARD
        image = image_of(kind) if hello.image_crc else None
        asked = rig.asked if rig is not None else "RIG"
        board = Board(role, kind, int(lib.bus_address_of(index)), b"", image=image, made=False, rig=asked)
    others = {f.hello.hardware_id: f.port.device for f in found if f.hello is not None}
    return refusal(hello, board, others)
