"""The six housekeeping structures: when they are due, and what is in them."""

from __future__ import annotations

from typing import Any

import numpy as np

from flight import icd
from flight._native import lib
from flight.commands import Commands
from flight.events import Events
from flight.icd import JobState
from flight.job import ACTIVE, Job
from flight.jobs import JobQueue
from flight.loop import Loop
from flight.pacing import Pacing
from flight.parameters import Parameters
from flight.radio import GroundLink
from flight.telemetry import Telemetry
from hal.port import BusPort

FLIGHT, POWER, NODES, JOBS, HEALTH, ESTIMATE = (
    int(icd.PACKETS[name].selector or 0)
    for name in ("hk_flight", "hk_power", "hk_nodes", "hk_jobs", "hk_health", "hk_estimate")
)
_SERVICE, _SUBTYPE = icd.PACKETS["hk_flight"].service, icd.PACKETS["hk_flight"].subtype
_NODE_ROWS = icd.PACKETS["hk_nodes"].fields[-1].tail
_HEALTH_ROWS = icd.PACKETS["hk_health"].fields[-1].tail
_JOB_ROWS = icd.PACKETS["hk_jobs"].fields[-1].tail
_FLIGHT = icd.DTYPES["hk_flight"]
_JOBS_HEAD = icd.DTYPES["hk_jobs"]
_JOB_ROW = icd.RECORD_DTYPES["job_row"]
_U32 = 0xFFFFFFFF


class Housekeeping:
    """Emits what is due at the end of a slow cycle. `commands` is set once it exists."""

    commands: Commands

    def __init__(
        self,
        loop: Loop,
        jobs: JobQueue,
        parameters: Parameters,
        telemetry: Telemetry,
        events: Events,
        pacing: Pacing,
        radio: GroundLink | None,
        boot_count: int,
        port: BusPort,
    ) -> None:
        self._loop, self._jobs, self._parameters = loop, jobs, parameters
        self._telemetry, self._events, self._pacing, self._radio = telemetry, events, pacing, radio
        self._boot_count, self._port = boot_count, port
        self._due_us = {FLIGHT: 0, POWER: 0, NODES: 0, JOBS: 0, HEALTH: 0, ESTIMATE: 0}
        self._periods: dict[int, int] = {}
        self.retune()

    def retune(self) -> None:
        """Take changed periods."""
        period_us = round(self._parameters.get("hk_period_s") * 1e6)
        self._periods = {
            FLIGHT: period_us,
            POWER: period_us,
            NODES: round(self._parameters.get("hk_nodes_period_s") * 1e6),
            JOBS: round(self._parameters.get("hk_jobs_period_s") * 1e6),
            HEALTH: round(self._parameters.get("hk_health_period_s") * 1e6),
            ESTIMATE: round(self._parameters.get("hk_estimate_period_s") * 1e6),
        }

    def cycle(self, t_us: int) -> None:
        """Emit the structures whose period is over."""
        for structure, due_us in self._due_us.items():
            if t_us >= due_us:
                self.report(structure, t_us)
                period_us = self._periods[structure]
                self._due_us[structure] = (t_us // period_us + 1) * period_us

    def report(self, structure: int, t_us: int) -> None:
        """Emit one structure now, all its pages."""
        if structure == FLIGHT:
            self._flight(t_us)
        elif structure == POWER:
            self._emit(t_us, self._telemetry.data, lib.ctl_hk_power(self._loop.pointer, self._telemetry.data))
        elif structure == ESTIMATE:
            self._emit(t_us, self._telemetry.data, lib.ctl_hk_estimate(self._loop.pointer, self._telemetry.data))
        elif structure == NODES:
            for base in range(0, self._loop.count, _NODE_ROWS):
                size = lib.ctl_hk_nodes(self._loop.pointer, base, self._telemetry.data)
                self._emit(t_us, self._telemetry.data, size)
        elif structure == HEALTH:
            for base in range(0, self._loop.count + 1, _HEALTH_ROWS):
                size = lib.ctl_hk_health(self._loop.pointer, base, self._telemetry.data)
                self._emit(t_us, self._telemetry.data, size)
        else:
            self._pages_of_jobs(t_us)

    def _emit(self, t_us: int, data: Any, size: int) -> None:
        self._telemetry.emit_data(_SERVICE, _SUBTYPE, t_us, data, size)

    def _flight(self, t_us: int) -> None:
        s = self._loop.status()
        fast_us, slow_us = self._pacing.take_worst()
        damaged = s.crc_errors + s.cobs_errors + s.length_errors + s.sequence_gaps
        errors = damaged + s.stale_frames + s.bad_payloads + s.unknown_frames + s.batch_dropped + s.command_timeouts
        row = (
            FLIGHT,
            icd.ICD_HASH,
            self._boot_count,
            s.session,
            s.mode,
            s.boards_ready,
            s.boards_lost,
            s.boards_refused,
            self._port.tick_us,
            min(fast_us, _U32),
            min(slow_us, _U32),
            self._pacing.slips,
            self._pacing.late_ticks + self._port.late_ticks,  # one of the two paces
            s.frames_received,
            s.frames_sent,
            errors,
            self.commands.accepted,
            self.commands.rejected,
            self._telemetry.packets & _U32,
            (self._radio.dropped if self._radio else 0) + s.events_dropped,
            self._events.sent,
        )
        data = np.array(row, _FLIGHT).tobytes()
        self._emit(t_us, data, len(data))

    def _pages_of_jobs(self, t_us: int) -> None:
        jobs = self._jobs.open_jobs() + self._jobs.take_ended()
        counts = self._jobs.counts
        queued, running = counts[JobState.QUEUED], sum(counts[state] for state in ACTIVE)
        for at in range(0, max(1, len(jobs)), _JOB_ROWS):
            page = jobs[at : at + _JOB_ROWS]
            head = (JOBS, min(queued, 0xFFFF), running, counts[JobState.DONE], self._jobs.work_mu, len(page))
            rows = np.array([_job_row(j) for j in page], _JOB_ROW)
            data = np.array(head, _JOBS_HEAD).tobytes() + rows.tobytes()
            self._emit(t_us, data, len(data))


def _job_row(j: Job) -> tuple[int, ...]:
    return (
        j.job_id,
        int(j.state),
        j.workload,
        j.priority,
        j.node,
        j.total_mu,
        min(j.progress_mu, _U32),
        j.credit_mu,
        min(j.restarts, 0xFFFF),
        j.nodes,
        min(j.deadline_us // 1_000_000, _U32),
    )
