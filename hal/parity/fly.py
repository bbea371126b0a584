"""Flying the scenario on one back end, and comparing two flights."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from hal import frames
from hal.errors import ImageError, RigError
from hal.fault_kinds import Fault
from hal.lines import Opener
from hal.link import MADE
from hal.parity.script import Script
from hal.rig import Rig
from hal.world import World

MIXED = "mixed"
TICK_S = 0.5
ECLIPSE_S = 3893.0
"""After the epoch of the element set that ships: where its first eclipse begins."""


class Record(NamedTuple):
    """One frame of the bus hash's log."""

    tick: int
    board: int
    direction: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Flown:
    """One flight: its hash, the log behind it, and how long it took."""

    backend: str
    bus_sha256: str
    log: bytes
    link_errors: dict[str, int]
    wall_s: float


def scenario(rig: Rig, ticks: int) -> Rig:
    """The rig with its orbit moved so that the eclipse begins a quarter into the flight, and with faults."""
    length_s = ticks * TICK_S
    last = rig.nodes - 1

    def fault(kind: str, begin: float, end: float, index: int = 0, value: float = 1.0) -> Fault:
        return Fault(kind, begin * length_s, (end - begin) * length_s, None, index, value)

    faults = (
        fault("string_open", 0.15, 0.2),
        fault("latch_up", 0.55, 0.58, min(1, last), 20.0),
        fault("hang", 0.65, 0.68, min(2, last)),
        fault("overdraw", 0.72, 0.78, last, 0.3),
        Fault("off", 0.8 * length_s, 0.02 * length_s, f"node{last}"),
        Fault("flip", 0.22 * length_s, 0.02 * length_s, "power", rate=1e-3, direction="both"),
        Fault("drop", 0.45 * length_s, 0.03 * length_s, "node0", rate=0.1, direction="both"),
        Fault("stuck", 0.25 * length_s, 0.03 * length_s, "node0", sensor="die_cdeg"),
        Fault("noise", 0.26 * length_s, 0.03 * length_s, "power", value=300, sensor="bus_mv"),
        Fault("reset", 0.62 * length_s, board="node0"),
        Fault("hang", 0.84 * length_s, 0.01 * length_s, "node0", value=1),
    )
    orbit = replace(rig.orbit, start_s=ECLIPSE_S - 0.25 * length_s)
    return replace(rig, orbit=orbit, faults=faults, timeline=()).with_tick(TICK_S)


def on_backend(rig: Rig, backend: str, images: Path | None) -> Rig:
    """The rig with every board on this back end (a name, or a link's URL), or each on another one (`mixed`).

    images: folder of the ELFs that emulated boards run.
    """
    urls = (
        [f"{name}:" for name in reversed(MADE)] if backend == MIXED else [backend if ":" in backend else f"{backend}:"]
    )
    moved = replace(rig, boards=tuple(replace(b, link=urls[i % len(urls)]) for i, b in enumerate(rig.boards)))
    if images is None:
        return moved
    names = ["dawnline-power_board.elf", *["dawnline-compute_node.elf"] * rig.nodes]
    for name in set(names):
        if not (images / name).exists():
            raise ImageError(f"{images / name}: no such image, expected it from csrc/firmware/build.py")
    boards = tuple(replace(b, image=images / n) for b, n in zip(moved.boards, names, strict=True))
    return replace(moved, boards=boards)


def fly(
    rig: Rig,
    backend: str,
    ticks: int,
    images: Path | None,
    progress: Callable[[int], None],
    opener: Opener | None = None,
) -> Flown:
    """Fly the scenario. opener: as for `World`. Raises `HalError`."""
    if rig.orbit.tle is None:
        raise RigError(f"rig {rig.name}: has a computed orbit, expected one with the element set that ships")
    log = bytearray()
    started = time.monotonic()
    with World(on_backend(scenario(rig, ticks), backend, images), opener=opener) as world:
        world.on_log = log.extend
        script = Script(world.rig, ticks * world.tick_us)
        for tick in range(ticks):
            world.step(script)
            progress(tick + 1)
        sha256, errors = world.bus_sha256(), world.score()["link_errors"]
    assert hashlib.sha256(log).hexdigest() == sha256
    return Flown(backend, sha256, bytes(log), errors, time.monotonic() - started)


def records(log: bytes) -> Iterator[Record]:
    """The records of a log (csrc/world/world.cdef.h, world_take_log)."""
    at = 0
    while at < len(log):
        n = int.from_bytes(log[at + 11 : at + 13], "little")
        tick, board = int.from_bytes(log[at : at + 8], "little"), int.from_bytes(log[at + 8 : at + 10], "little")
        yield Record(tick, board, log[at + 10], log[at + 13 : at + 13 + n])
        at += 13 + n


def first_difference(ours: bytes, theirs: bytes, roles: list[str]) -> str:
    """Where two logs part: tick, board, direction, frame and field; "" where they do not."""
    a, b = records(ours), records(theirs)
    while True:
        mine, other = next(a, None), next(b, None)
        if mine == other:
            if mine is None:
                return ""
            continue
        first = min((r for r in (mine, other) if r is not None), key=lambda r: (r.tick, r.board))
        where = f"tick {first.tick}, {roles[first.board]}, {'from' if first.direction else 'to'} the board"
        if mine is None or other is None or mine[:3] != other[:3]:
            said = next(frames.decode(first.data), None)
            return f"{where}: {said.name if said else 'damaged bytes'} on one side only"
        return f"{where}: {frames.difference(mine.data, other.data)}"
