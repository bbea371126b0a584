"""The executive: runs the fast rate group in C and, once a simulated second, the slow one here.

Everything that flight puts out depends on ticks and uplink bytes alone (and on the measured times that the pacing
module gives it), whatever number of ticks is run at once. Between two slow cycles Python acts only at ticks at which
the loop asked for attention, at which a timeline entry is due, or at which a ground station let time go on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flight import icd
from flight.commands import Commands
from flight.errors import FlightError
from flight.events import Events
from flight.forecast import Forecast
from flight.housekeeping import Housekeeping
from flight.icd import Event, Failure, NodeFlag
from flight.job import Job, Member
from flight.jobs import JobQueue
from flight.loop import ATTENTION_SESSION, PHASE_OFF, PHASE_STOP, Loop
from flight.pacing import Pacing
from flight.parameters import Parameters
from flight.placement import Cooling
from flight.radio import WAIT_S, GroundLink
from flight.room import NodeView
from flight.storage import Storage
from flight.telecommand import Telecommand, from_timeline
from flight.telemetry import Telemetry
from hal.port import BusPort
from hal.rig import Entry

SLOW_US = 1_000_000
JOBS_US = 5_000_000  # progress and checkpoints, when nothing asks for attention
FORECAST_AGAIN_US = 600_000_000


class _LoopNodes:
    """The nodes as the job queue sees them."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.count = loop.count

    def view(self, node: int) -> NodeView:
        n = self._loop.nodes[node]
        t = n.tlm
        up = n.phase not in (PHASE_OFF, PHASE_STOP)
        cools = not up and bool(t.flags & NodeFlag.OVER_TEMPERATURE)
        return NodeView(
            self._loop.board_status(1 + node), n.tlm_us != 0, up, t.state, t.flags, t.job_id, t.progress_mu,
            t.checkpoint_mu, bool(n.rest) or cools,
        )  # fmt: skip

    def give(self, node: int, job: Job, member: Member) -> None:
        self._loop.set_job(
            node, job.job_id, job.workload, member.total_mu, member.checkpoint_mu, job.checkpoint_s * 1000,
            job.checkpoint_cost_s * 1000, job.phases, job.weight_permille,
        )  # fmt: skip

    def stop(self, node: int, job: Job) -> None:
        self._loop.stop_job(node, job.job_id)

    def take(self, node: int) -> None:
        self._loop.clear_job(node)


@dataclass(frozen=True, slots=True)
class Planned:
    """A telecommand of the timeline and the time at which it enters."""

    t_us: int
    telecommand: Telecommand


def plan(timeline: Sequence[Entry], after_us: int = -1) -> list[Planned]:
    """A rig's timeline as telecommands, without what entered up to after_us. Raises `FlightError`."""
    planned = []
    for count, entry in enumerate(timeline):
        try:
            telecommand = from_timeline(entry.command, entry.args, count)
        except icd.IcdError as error:
            raise FlightError(f"timeline[{count}] at {entry.at_s:g} s: {error}") from None
        t_us = round(entry.at_s * 1e6)
        if t_us > after_us:
            planned.append(Planned(t_us, telecommand))
    return sorted(planned, key=lambda p: p.t_us)


class Executive:
    """One flight computer on one port.

    timeline: telecommands that enter by themselves. tap: called with all telemetry, as the radio is. batch: at most so
    many ticks at once (for tests; None: as many as fit). forecast: another than that of the rig's orbit. Raises
    `FlightError` for a timeline or a storage that cannot be flown.
    """

    def __init__(
        self,
        port: BusPort,
        storage: Storage,
        *,
        radio: GroundLink | None = None,
        pacing: Pacing | None = None,
        timeline: Sequence[Entry] = (),
        tap: Callable[[bytes], None] | None = None,
        batch: int | None = None,
        forecast: Forecast | None = None,
    ) -> None:
        self.port, self.storage, self.radio = port, storage, radio
        self.pacing = pacing or Pacing()
        self.boot_count = storage.meta("boot_count") + 1
        self.session = storage.meta("session") + 1
        sinks: list[Callable[[bytes, int], None]] = [radio.send] if radio else []
        self.telemetry = Telemetry([*sinks, lambda packets, _: tap(packets)] if tap else sinks)
        self.events = Events(self.telemetry)
        self.parameters = Parameters()
        self.loop = Loop(port.rig, self.session, adopt=self.boot_count == 1)
        self.jobs = JobQueue(
            _LoopNodes(self.loop), lambda code, t, a, b: self.events.tell(code, t, a, b),
            Cooling.of(port.rig.satellite),
        )  # fmt: skip
        self.housekeeping = Housekeeping(
            self.loop, self.jobs, self.parameters, self.telemetry, self.events, self.pacing, radio, self.boot_count,
            port,
        )  # fmt: skip
        self.commands = Commands(
            self.loop, self.jobs, self.parameters, storage, self.telemetry, self.events, self._retune,
            self.housekeeping.report,
        )  # fmt: skip
        self.housekeeping.commands = self.commands
        self._timeline = plan(timeline, storage.meta("timeline_us", -1))
        self._forecast = forecast or Forecast(port.rig.orbit)
        self._forecast_us = 0
        self._batch = batch
        self._slow_us = 0
        self._jobs_us = 0
        self._skipped_bytes = 0
        self._storage_failed = 0
        self._ended = self._closed = False
        self._start(port.t_us)

    # ------------------------------------------------------------ start
    def _start(self, t_us: int) -> None:
        self.storage.set_meta("boot_count", self.boot_count)
        self.storage.set_meta("session", self.session)
        dropped = self.parameters.restore(self.storage.parameters())
        self._retune()
        self.jobs.restore(self.storage.jobs(), t_us)
        self.commands.wanted = {n for n in self.storage.wanted() if n < self.loop.count}
        for node in self.commands.wanted:
            self.loop.want(node, True)
        if self.storage.meta("commanded_safe"):
            self.loop.set_mode(icd.Mode.SAFE)
        if not self.storage.commit():
            raise FlightError(f"storage {self.storage.path}: cannot be written (errno {self.storage.failed})")
        self.events.tell(Event.FLIGHT_STARTED, t_us, self.boot_count, self.session)
        for number in dropped:  # the default stands, if there is still such a parameter
            self.events.tell(Event.PARAMETER_CHANGED, t_us, number, round(self.parameters.values.get(number, 0) * 1000))
        self.commands.recover(t_us)
        self._slow_us = (t_us // SLOW_US + 1) * SLOW_US

    def _retune(self) -> None:
        self.loop.set_parameters(self.parameters.values)
        self.housekeeping.retune()

    # ------------------------------------------------------------ running
    def await_ground(self, polls: int, *, held: bool = False, stop: Callable[[], bool] = lambda: False) -> bool:
        """Stand before the first tick until a station is there (held: until it holds time). Polls once a second at
        most, so many times, or until `stop` says so; False when none came."""
        assert self.radio is not None
        for _ in range(polls):
            if stop():
                return False
            self._take(self.radio.poll(WAIT_S))
            if self.radio.held or (self.radio.stations and not held):
                self._take(self.radio.poll(WAIT_S / 2))  # its first bytes may say that it holds time
                return True
        return False

    def run(self, until_us: int | None, stop: Callable[[], bool] = lambda: False) -> None:
        """Fly until `until_us` (None: for good), until the world ends, or until `stop` says so (asked between runs)."""
        self.pacing.restart(self.port.t_us)
        while not self._ended and not stop() and (until_us is None or self.port.t_us < until_us):
            if not self._may_go():
                self._stand()
                continue
            self._enter_timeline()
            self._run_ticks(self._next_stop(until_us))
        self._end_of_run()

    def _may_go(self) -> bool:
        return self.radio is None or not self.radio.held or self.radio.go_us > self.port.t_us

    def _stand(self) -> None:
        """Time is held: send what there is, then wait for the holder."""
        assert self.radio is not None
        self._end_of_run()
        self.radio.tell_time(self.port.t_us)
        self._take(self.radio.poll(WAIT_S))
        if self._may_go():
            self.pacing.restart(self.port.t_us)

    def _next_stop(self, until_us: int | None) -> int:
        """Time of the next tick at which Python has something to do whatever the loop says."""
        stop_us = self._slow_us
        if until_us is not None:
            stop_us = min(stop_us, until_us)
        if self._timeline:
            stop_us = min(stop_us, max(self._timeline[0].t_us, self.port.t_us + 1))
        if self.radio is not None and self.radio.held:
            stop_us = min(stop_us, self.radio.go_us)
        return stop_us

    def _run_ticks(self, stop_us: int) -> None:
        port, pacing = self.port, self.pacing
        ticks = -((port.t_us - stop_us) // port.tick_us)
        paced = pacing.batch(port.tick_us)
        if paced is not None:
            ticks = min(ticks, paced)
            pacing.wait_until(port.t_us + ticks * port.tick_us)
        if self._batch is not None:
            ticks = min(ticks, self._batch)
        pacing.begin_fast()
        waited_ns = port.waited_ns
        done = port.run(ticks, self.loop.step, self.loop.ctx)
        slip_us = pacing.end_fast(done, port.tick_us, port.waited_ns - waited_ns)
        if slip_us:
            self.events.tell(Event.CYCLE_SLIP, port.t_us, slip_us, port.tick_us)
        if done == 0:
            self._ended = True
            return
        attention = self.loop.take_attention()
        if port.t_us >= self._slow_us:
            self._slow(attention)
        elif attention:
            self._attend(attention)
        elif paced is not None and self.radio is not None:
            self._take(self.radio.poll())
            self._end_of_run()

    def _enter_timeline(self) -> None:
        while self._timeline and self._timeline[0].t_us <= self.port.t_us:
            planned = self._timeline.pop(0)
            self.commands.handle(planned.telecommand, self.port.t_us)
            self.storage.set_meta("timeline_us", planned.t_us)

    def _take(self, telecommands: list[Telecommand]) -> None:
        for telecommand in telecommands:
            self.commands.handle(telecommand, self.port.t_us)

    # ------------------------------------------------------------ the slow group
    def _attend(self, attention: int) -> None:
        """Follow boards and jobs at the very tick at which the loop saw something happen to them."""
        t_us = self.port.t_us
        if attention & ATTENTION_SESSION:
            self.session = int(self.loop.status().session)
            self.storage.set_meta("session", self.session)
        for event in self.loop.events():
            self.events.emit(event)
        if attention or self.jobs.commanded or t_us >= self._jobs_us:
            self.jobs.update(t_us)
            self._adopt()
            self._jobs_us = t_us + JOBS_US

    def _adopt(self) -> None:
        """On a first flight, nodes that were found running are wanted: keep that as if commanded."""
        if self.boot_count > 1:
            return
        for node in range(self.loop.count):
            if self.loop.nodes[node].wanted and node not in self.commands.wanted:
                self.commands.wanted.add(node)
                self.storage.set_wanted(node, True)

    def _slow(self, attention: int) -> None:
        t_us = self.port.t_us
        self.pacing.begin_slow()
        self._slow_us = (t_us // SLOW_US + 1) * SLOW_US
        if t_us >= self._forecast_us:
            self._look_ahead(t_us)
        if self.radio is not None:
            self._take(self.radio.poll())
            self._count_garbage(t_us)
        self.commands.update(t_us)
        self._attend(attention)
        self.housekeeping.cycle(t_us)
        self._end_of_run()
        slip_us = self.pacing.end_slow(SLOW_US)
        if slip_us:
            self.events.tell(Event.CYCLE_SLIP, t_us, slip_us, SLOW_US)

    def _look_ahead(self, t_us: int) -> None:
        eclipse = self._forecast.next_eclipse(t_us * 1e-6)
        if eclipse is None:
            self.loop.set_forecast(0, 0, 0)
            self._forecast_us = t_us + FORECAST_AGAIN_US
            return
        entry_us, exit_us = (round(s * 1e6) for s in eclipse)
        self.loop.set_forecast(entry_us, exit_us, round(self._forecast.period_s * 1e6))
        self._forecast_us = exit_us + SLOW_US

    def _count_garbage(self, t_us: int) -> None:
        assert self.radio is not None
        skipped = self.radio.skipped_bytes
        if skipped != self._skipped_bytes:
            self.commands.rejected += 1
            self.events.tell(Event.COMMAND_REJECTED, t_us, int(Failure.BAD_CRC), skipped - self._skipped_bytes)
            self._skipped_bytes = skipped

    def _end_of_run(self) -> None:
        """Store first, then let the reports go."""
        for job_id in self.jobs.changed:
            self.storage.set_job(self.jobs.jobs[job_id])
        self.jobs.changed.clear()
        if not self.storage.commit() and self.storage.failed != self._storage_failed:
            self.events.tell(Event.STORAGE_FAILED, self.port.t_us, self.storage.failed)
        self._storage_failed = self.storage.failed
        self.telemetry.flush()

    def close(self) -> None:
        """Store what is left and let go of radio and storage; the port is its owner's. May be called twice."""
        if self._closed:
            return
        self._closed = True
        self._end_of_run()
        if self.radio is not None:
            self.radio.close()
        self.storage.close()
