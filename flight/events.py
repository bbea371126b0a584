"""Events as packets: those of the loop, of the boards, and of flight itself."""

from __future__ import annotations

from collections.abc import Callable

from flight import icd
from flight._native import ffi, lib
from flight.loop import LoopEvent
from flight.telemetry import Telemetry

SERVICE = icd.PACKETS["event_report"].service
FLIGHT = 1  # bus address of the flight computer
_I32 = (-(1 << 31), (1 << 31) - 1)


class Events:
    """Counts and emits. `listeners` hear of every event as it is emitted."""

    def __init__(self, telemetry: Telemetry) -> None:
        self.sent = 0
        self.listeners: list[Callable[[LoopEvent], None]] = []
        self._telemetry = telemetry
        self._report = ffi.new("struct space_event_report *")

    def emit(self, event: LoopEvent) -> None:
        """One event with the severity that the ICD gives it (an event that it does not know: low)."""
        r = self._report
        r.event, r.source, r.arg0, r.arg1 = event.code, event.source, event.arg0, event.arg1
        n = lib.space_event_report_encode(r, self._telemetry.data)
        severity = lib.space_event_severity(event.code) or int(icd.Severity.LOW)
        self._telemetry.emit_data(SERVICE, severity, event.t_us, self._telemetry.data, n)
        self.sent += 1
        for listener in self.listeners:
            listener(event)

    def tell(self, code: icd.Event, t_us: int, arg0: int = 0, arg1: int = 0) -> None:
        """One event of flight itself."""
        low, high = _I32
        self.emit(LoopEvent(t_us, int(code), FLIGHT, min(max(arg0, low), high), min(max(arg1, low), high)))
