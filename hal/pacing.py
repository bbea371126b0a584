"""Real-time pacing: the one place that reads a clock to decide when a tick may run.

Deadlines are absolute (start + simulated time / speed), so that delays do not add up. A tick that is late is counted
and made up for by running the next ones without a pause; simulated time is never stretched. How late each one began,
by the work before it or by a sleep that ended late, is kept as a histogram.
"""

from __future__ import annotations

import time
from collections.abc import Callable

LATE_S = 0.010
"""A tick that begins so much after its moment is late. Less is the jitter of a desktop kernel, or of a fast run."""


class Lateness:
    """Times in us, up to an hour, in steps of 3 % at most: a histogram that does not grow with what goes in."""

    _MOST_US = 2**32 - 1

    def __init__(self) -> None:
        self.count = 0
        self.worst_us = 0
        self._counts = [0] * (_step(self._MOST_US) + 1)

    def add(self, us: int) -> None:
        """us: 0 or more."""
        us = min(us, self._MOST_US)
        self._counts[_step(us)] += 1
        self.count += 1
        self.worst_us = max(self.worst_us, us)

    def percentile(self, percent: float) -> int:
        """So many percent of all times are at most this, in us; 0 when there are none."""
        wanted = self.count * percent / 100
        passed = 0
        for step, count in enumerate(self._counts):
            passed += count
            if count and passed >= wanted:
                return min(_upper(step), self.worst_us)
        return 0


def _step(us: int) -> int:
    """32 steps for every power of 2, one for every us below 64."""
    shift = max(0, us.bit_length() - 6)
    return 32 * shift + (us >> shift)


def _upper(step: int) -> int:
    """The longest time that belongs to this step."""
    shift = max(0, step // 32 - 1)
    return ((step - 32 * shift + 1) << shift) - 1


class Pacer:
    """Holds simulated time to `speed` times the monotonic clock; None runs as fast as it goes.

    `late_ticks` counts the ticks that began more than `LATE_S` after their moment, `lateness` has all of them.
    """

    def __init__(
        self,
        speed: float | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        if speed is not None and not 0 < speed <= 1e6:
            raise ValueError(f"speed {speed:g} is out of range, expected above 0 and at most 1e6, or max")
        self.speed = speed
        self.late_ticks = 0
        self.lateness = Lateness()
        self._clock = clock
        self._sleep = sleep
        self._origin: tuple[float, int] | None = None

    def restart(self, t_us: int) -> None:
        """Take now as the moment of `t_us`: at the start, and after simulated time was held on purpose."""
        self._origin = (self._clock(), t_us)

    def wait_until(self, t_us: int) -> int:
        """Sleep until the moment of `t_us`. Returns how long after it this returns, in us; 0 when it does not pace."""
        if self.speed is None:
            return 0
        if self._origin is None:
            self.restart(t_us)
            return 0
        start, start_us = self._origin
        moment = start + (t_us - start_us) * 1e-6 / self.speed
        now = self._clock()
        if now < moment:
            self._sleep(moment - now)
            now = self._clock()
        late_us = max(0, round((now - moment) * 1e6))
        self.late_ticks += late_us > LATE_S * 1e6
        self.lateness.add(late_us)
        return late_us


def parse_speed(text: str) -> float | None:
    """`max` (None) or a positive number. Raises ValueError with a message for the command line."""
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        raise ValueError(f"speed '{text}' is not a number, expected max or a number above 0") from None
    if not 1e-6 <= speed <= 1e6:
        raise ValueError(f"speed {text} is out of range, expected 1e-6 to 1e6, or max")
    return speed
