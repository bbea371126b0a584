"""What flight sees of the boards: a port that runs lock-step ticks.

A world in this process, a world behind a socket and a bench of real boards all look like this to flight.
"""

from __future__ import annotations

from typing import Protocol

from hal.rig import Rig


class BusPort(Protocol):
    """The board bus, one tick at a time. Every tick calls flight's C participant (csrc/bus/batch.h) exactly once."""

    @property
    def rig(self) -> Rig:
        """What the satellite is made of, as far as its own flight computer may know: names, numbers, ranges."""
        ...

    @property
    def tick_us(self) -> int:
        """Length of one tick, in simulated us."""
        ...

    @property
    def t_us(self) -> int:
        """Simulated time of the last tick that was run; 0 before the first."""
        ...

    @property
    def late_ticks(self) -> int:
        """Ticks that a world that paces itself began late; 0 for one that does not."""
        ...

    @property
    def waited_ns(self) -> int:
        """Wall-clock ns that `run` has spent waiting for a world that paces itself; 0 for one that does not."""
        ...

    def run(self, max_ticks: int, step: int, ctx: int) -> int:
        """Run up to `max_ticks` ticks.

        `step` is the address of a C ``bus_participant``, `ctx` its context pointer, both as integers. Returns the
        number of ticks done: fewer than asked when the participant asked to stop (its attention is needed) or for
        housekeeping of the port itself; 0 only when the world has ended. Raises `hal.errors.HalError` when it fails.
        """
        ...

    def close(self) -> None:
        """Let go of every board, process and socket. May be called twice."""
        ...
