"""When to ask again what has not been answered: the smoothed round trip of one line, as RFC 6298 has it."""

from __future__ import annotations

LEAST_S = 0.02
"""Longer than the hiccups of a host: what is asked twice without need changes the counts that both ends report."""
MOST_S = 0.25
"""Also the first timeout, before anything was measured."""


class RoundTrip:
    """Timeout of one line, in s. All times are given: it reads no clock."""

    def __init__(self) -> None:
        self.timeout_s = MOST_S
        self._smooth_s: float | None = None
        self._spread_s = 0.0
        self._sent: float | None = None

    def sent(self, now: float) -> None:
        """A question went out, for the first time."""
        self._sent = now

    def void(self) -> None:
        """This question's answer measures nothing: it was asked twice, or the answer takes its own time."""
        self._sent = None

    def back_off(self) -> None:
        """The timeout ran out: twice as long from now on, until the next answer that measures something."""
        self.void()
        self.timeout_s = min(2 * self.timeout_s, MOST_S)

    def answered(self, now: float) -> None:
        """The answer is there."""
        if self._sent is None:
            return
        took_s = now - self._sent
        if self._smooth_s is None:
            self._smooth_s, self._spread_s = took_s, took_s / 2
        else:
            self._spread_s += (abs(took_s - self._smooth_s) - self._spread_s) / 4
            self._smooth_s += (took_s - self._smooth_s) / 8
        self.timeout_s = min(max(self._smooth_s + 4 * self._spread_s, LEAST_S), MOST_S)
