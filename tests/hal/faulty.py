"""What the tests of faults share: a flight of the talker under them, and one fault of each kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from hal.fault_kinds import PLANT, SENSOR, Fault, Kind
from hal.link import Board, Link
from hal.rig import Rig
from hal.world import World
from tests.hal.talker import Talker

TICKS = 320  # reports of both ends every 10 s, the last well behind the end of every fault
NODE1 = 2
AT_S, FOR_S = 1.0, 9.0
VALUES = {"delay": 0.45, "slow": 0.7, "delayed": 0.7, "bias": 250, "scale": -1.5, "noise": 300, "boot_loop": 1.7}


@dataclass
class Flown:
    """What a run left behind."""

    sha256: str
    heard: list[dict[int, bytes]]
    score: dict[str, Any]
    links: dict[str, dict[str, int]]

    def heard_of(self, board: int) -> int:
        return sum(len(heard.get(board, b"")) for heard in self.heard)


def fly(rig: Rig, backend: str | None = None, opener: Callable[[str, Board], Link] | None = None) -> Flown:
    talker = Talker(rig.nodes)
    with World(rig, backend, opener=opener) as world:
        for _ in range(TICKS):
            world.step(talker)
        links = {b.role: world.link(b.role) for b in rig.boards}
        return Flown(world.bus_sha256(), talker.heard, world.score(), links)


def a_fault(kind: Kind, **more: Any) -> Fault:
    """One of this kind on node1, with a value where it needs one."""
    sensor = "die_cdeg" if kind.on == SENSOR else None
    value = VALUES.get(kind.name) if kind.value else None
    board = None if kind.on == PLANT else "node1"
    at_s = 0.2 if kind.name == "nvm_cut" else AT_S  # the talker lets it write in tick 3
    whole = Fault(kind.name, at_s, FOR_S if kind.lasts else 0.0, board=board, sensor=sensor, value=value)
    return replace(whole, **more)


def with_faults(rig: Rig, *faults: Fault) -> Rig:
    return replace(rig, faults=faults)


def ids(kinds: list[Kind]) -> list[str]:
    return [f"{kind.on} {kind.name}" for kind in kinds]
