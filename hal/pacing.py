"""Real-time pacing: the one place that reads a clock to decide when a tick may run.

Deadlines are absolute (start + simulated time / speed), so that delays do not add up. A tick that is late is counted
and made up for by running the next ones without a pause; simulated time is never stretched.
"""

from __future__ import annotations

import time
from collections.abc import Callable

LATE_S = 0.010
"""A tick that begins so much after its moment is late. Less is the jitter of a desktop kernel, or of a fast run."""


class Pacer:
    """Holds simulated time to `speed` times the monotonic clock; None runs as fast as it goes.

    `late_ticks` counts the waits that ended more than `LATE_S` after their deadline, `worst_late_us` is the largest
    lateness of all.
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
        self.worst_late_us = 0
        self._clock = clock
        self._sleep = sleep
        self._origin: tuple[float, int] | None = None

    def restart(self, t_us: int) -> None:
        """Take now as the moment of `t_us`: at the start, and after simulated time was held on purpose."""
        self._origin = (self._clock(), t_us)

    def wait_until(self, t_us: int) -> int:
        """Sleep until the moment of `t_us`. Returns how late it is in us: 0 when it slept or does not pace."""
        if self.speed is None:
            return 0
        if self._origin is None:
            self.restart(t_us)
            return 0
        start, start_us = self._origin
        remaining = start + (t_us - start_us) * 1e-6 / self.speed - self._clock()
        if remaining >= 0:
            if remaining > 0:
                self._sleep(remaining)
            return 0
        late_us = round(-remaining * 1e6)
        self.late_ticks += late_us > LATE_S * 1e6
        self.worst_late_us = max(self.worst_late_us, late_us)
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
