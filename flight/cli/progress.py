"""A line on the terminal while a flight goes on."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from flight.executive import Executive

EVERY_S = 0.2
WIDTH = 30


class Progress:
    """Draws on stderr when that is a terminal; `tick` costs a look at the clock."""

    def __init__(self, executive: Executive, begun_us: int, until_us: int | None, *, quiet: bool) -> None:
        self._executive = executive
        self._begun_us, self._until_us = begun_us, until_us
        self._shown = sys.stderr.isatty() and not quiet
        self._started = time.monotonic()
        self._next = self._started

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def tick(self) -> bool:
        """Draw when it is time. Always False: the flight goes on."""
        if self._shown and time.monotonic() >= self._next:
            self._draw()
        return False

    def _draw(self) -> None:
        now = time.monotonic()
        self._next = now + EVERY_S
        t_us = self._executive.port.t_us
        status = self._executive.loop.status()
        flown_s = (t_us - self._begun_us) * 1e-6
        speed = flown_s / max(now - self._started, 1e-3)
        bar = ""
        if self._until_us is not None:
            share = min(1.0, (t_us - self._begun_us) / max(1, self._until_us - self._begun_us))
            full = round(share * WIDTH)
            bar = f"[{'#' * full}{'.' * (WIDTH - full)}] {100 * share:3.0f} % "
        sky = "sun" if status.sunlit else "eclipse"
        mode = "NOMINAL" if status.mode else "SAFE"
        sys.stderr.write(
            f"\r\x1b[K{bar}{t_us * 1e-6:7.0f} s  {mode}  {sky}  charge {status.soc_cpct / 100:.1f} %  "
            f"leases {status.lease_sum_mw / 1e6:.2f} kW  {speed:.0f} x"
        )
        sys.stderr.flush()
