"""Faults in force: when each begins and is lifted, by simulated time, and what it has done so far."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from functools import partial
from typing import Any

from hal.errors import WorldError
from hal.fault_effects import (
    OF_BOARDS,
    Boards,
    Effect,
    LinkEffect,
    PlantEffect,
    SensorEffect,
    seed_of,
)
from hal.fault_kinds import BOARD, LINK, SENSOR, Fault, Kind, kind_of, place, place_text
from hal.plant import Plant
from hal.rig import Rig

ENDS, BEGINS = 0, 1
"""An end comes before a beginning of the same moment."""


class ActiveFault:
    """A fault that has begun."""

    def __init__(self, fault: Fault, kind: Kind, effect: Effect, begun_us: int) -> None:
        self.fault = fault
        self.kind = kind
        self.effect = effect
        self.begun_us = begun_us
        self.lifted_us: int | None = None

    def report(self) -> dict[str, Any]:
        """As the score tells of it: times in s; what does not apply is None."""
        f, is_link = self.fault, self.kind.on == LINK
        return {
            "kind": f.kind,
            "on": self.kind.on,
            "board": f.board,
            "sensor": f.sensor,
            "index": f.index,
            "begun_s": self.begun_us / 1e6,
            "lifted_s": None if self.lifted_us is None else self.lifted_us / 1e6,
            "hits": self.effect.hits,
            "bytes_lost": self.effect.bytes_lost if is_link else None,
            "bytes_added": self.effect.bytes_added if is_link else None,
        }


class Faults:
    """The faults of one world: those of its rig, and what is added while it runs.

    All times are those of tick boundaries, in us; faults are complete (`hal.fault_kinds.complete`).
    """

    def __init__(self, rig: Rig, pointer: Any, plant: Plant, boards: Boards) -> None:
        self._rig, self._pointer, self._plant, self._boards = rig, pointer, plant, boards
        self._begun: list[ActiveFault] = []
        self._agenda: list[tuple[int, int, int, Callable[[int], object]]] = []
        self._planned = 0
        for fault in rig.faults:
            self._plan(round(fault.at_s * 1e6), BEGINS, partial(self.begin, fault))

    @property
    def next_us(self) -> int | None:
        """When something is due next; None: never."""
        return self._agenda[0][0] if self._agenda else None

    def due(self, t_us: int) -> None:
        """Do what is due by now."""
        while self._agenda and self._agenda[0][0] <= t_us:
            heapq.heappop(self._agenda)[3](t_us)

    def begin(self, fault: Fault, t_us: int) -> ActiveFault:
        """Break it now, for `fault.for_s` from `fault.at_s` on. Raises `WorldError` when it cannot be."""
        kind = kind_of(fault)
        assert kind is not None
        other = self._at(fault)
        if other is not None:
            raise WorldError(f"{place_text(fault)} is {other.fault.kind} already".lstrip())
        active = ActiveFault(fault, kind, self._effect(fault, kind), t_us)
        active.effect.begin()
        self._begun.append(active)
        at_us = round(fault.at_s * 1e6)
        if not kind.lasts:
            active.lifted_us = t_us
        elif fault.for_s > 0:
            self._plan(at_us + round(fault.for_s * 1e6), ENDS, lambda now_us: self.lift(active, now_us))
        self._repeat(active, at_us)
        return active

    def lift(self, active: ActiveFault, t_us: int) -> None:
        """Restore what it broke; nothing when that was done before."""
        if active.lifted_us is None:
            active.lifted_us = t_us
            active.effect.end()

    def find(self, kind: str, board: str | None, sensor: str | None, index: int | None) -> ActiveFault:
        """The one in force. Raises `WorldError` when there is none."""
        for active in self._begun:
            f = active.fault
            there = (f.kind, f.board, f.sensor, f.index or 0) == (kind, board, sensor, index or 0)
            if there and active.lifted_us is None:
                return active
        where = " ".join(str(part) for part in (board, sensor, index) if part is not None)
        raise WorldError(f"no fault {kind} {where}".rstrip() + " is in force")

    def close(self, t_us: int) -> None:
        """The world ends: lift all. A board that is off or hangs has nothing left to come back to."""
        self._agenda.clear()
        for active in self._begun:
            if active.kind.on != BOARD:
                self.lift(active, t_us)
            elif active.lifted_us is None:
                active.lifted_us = t_us

    def report(self) -> list[dict[str, Any]]:
        """Everything that has begun, in its order."""
        return [active.report() for active in self._begun]

    def _at(self, fault: Fault) -> ActiveFault | None:
        here = place(fault)
        return next((a for a in self._begun if a.lifted_us is None and place(a.fault) == here), None)

    def _plan(self, at_us: int, order: int, action: Callable[[int], object]) -> None:
        self._planned += 1
        heapq.heappush(self._agenda, (at_us, order, self._planned, action))

    def _repeat(self, active: ActiveFault, at_us: int) -> None:
        again_us = active.effect.again_us()
        if again_us == 0:
            return

        def again(_: int) -> None:
            if active.lifted_us is None:
                active.effect.begin()
                self._repeat(active, at_us + again_us)

        self._plan(at_us + again_us, BEGINS, again)

    def _effect(self, fault: Fault, kind: Kind) -> Effect:
        seed = seed_of(self._rig.seed, fault)
        if fault.board is None:
            return PlantEffect(self._plant, fault)
        if kind.on == BOARD:
            return OF_BOARDS[kind.name](self._boards, fault, seed)
        board = self._rig.index_of(fault.board)
        if kind.on == LINK:
            return LinkEffect(self._pointer, board, fault, seed)
        assert kind.on == SENSOR
        assert fault.sensor is not None
        sensor = self._rig.target.sensors(fault.board)[fault.sensor]
        return SensorEffect(self._pointer, board, sensor, fault, self._rig.tick_us, seed)
