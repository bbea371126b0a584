"""The one on-board module that reads the clock: it holds real time, and measures what goes into telemetry."""

from __future__ import annotations

import time

from hal.pacing import Lateness, Pacer

MOMENT_S = 0.01  # of wall-clock time: the shortest tick that is paced by itself


class Pacing:
    """Paces ticks and measures the rate groups. Times in us of the monotonic clock.

    speed: simulated seconds per second, None: as fast as it goes. clock False: measures nothing (every time is 0), so
    that two flights of the same inputs give the same telemetry.
    """

    def __init__(self, speed: float | None = None, *, clock: bool = True) -> None:
        self._pacer = Pacer(speed)
        self._clock = clock
        self.fast_us = 0  # worst of the fast rate group since `take_worst`, per tick, the bus included
        self.slow_us = 0  # worst of the slow rate group since `take_worst`
        self.slips = 0
        self._from = 0

    def batch(self, tick_us: int) -> int | None:
        """Ticks to run at one moment: one at real time, at high speeds as many as fill `MOMENT_S`. None: no pacing."""
        speed = self._pacer.speed
        return None if speed is None else max(1, int(MOMENT_S * 1e6 * speed / tick_us))

    @property
    def late_ticks(self) -> int:
        """Ticks that began after their moment."""
        return self._pacer.late_ticks

    @property
    def lateness(self) -> Lateness:
        """How long after their moments ticks began."""
        return self._pacer.lateness

    def restart(self, t_us: int) -> None:
        """Now is the moment of t_us: at the start, and after time was held."""
        self._pacer.restart(t_us)

    def wait_until(self, t_us: int) -> None:
        """Sleep until the moment of t_us."""
        self._pacer.wait_until(t_us)

    def begin_fast(self) -> None:
        """The fast group begins to run."""
        self._begin()

    def begin_slow(self) -> None:
        """The slow group begins to run."""
        self._begin()

    def _begin(self) -> None:
        if self._clock:
            self._from = time.perf_counter_ns()

    def end_fast(self, ticks: int, period_us: int, waited_ns: int) -> int:
        """The fast group has run so many ticks, and waited so long for a world that paces itself. Returns its mean time
        per tick when that is a slip, else 0."""
        if not self._clock:
            return 0
        us = (time.perf_counter_ns() - self._from - waited_ns) // (1000 * max(1, ticks))
        self.fast_us = max(self.fast_us, us)
        self.slips += us > period_us
        return us if us > period_us else 0

    def end_slow(self, period_us: int) -> int:
        """The slow group has run. Returns its time when that is a slip, else 0."""
        if not self._clock:
            return 0
        us = (time.perf_counter_ns() - self._from) // 1000
        self.slow_us = max(self.slow_us, us)
        self.slips += us > period_us
        return us if us > period_us else 0

    def take_worst(self) -> tuple[int, int]:
        """Worst times of the fast and the slow group since the last call."""
        worst = (self.fast_us, self.slow_us)
        self.fast_us = self.slow_us = 0
        return worst
