"""A day of jobs on the desk's four nodes: eclipses, resets, lost boards, hangs, restarts of flight, pre-emption, gangs.

The boards' own account of the work is kept beside flight's: what they saved, share by share. At the end both are the
same, and what the accelerators did beyond it was lost with a reset, which is counted too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from flight.executive import Executive
from flight.icd import BoardStatus, Event, JobState
from flight.job import NO_NODE
from flight.loop import LoopEvent
from flight.pacing import Pacing
from flight.storage import Storage
from hal.rig import load_rig
from hal.world import World
from tests.flight.conftest import command

HOUR = 3600
DAY = 24 * HOUR
NODES = 4
PRIORITIES = (2, 3, 4, 5, 6, 8)
BATCH_MU = 4_400_000  # of a job of each priority every two hours: together more than all nodes do in that time
WINDOW_S = 2 * HOUR
CHECKPOINT_S = 60
LOST_S = 120  # a board's line is cut for so long
RATE_MU_PER_S = 1000  # of a node without limits


class Day:
    """Flight on its world, and what the boards' telemetry says of work, second by second."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.world = World(load_rig("desk").with_tick(1.0))
        self.late: list[int] = []
        self.stopped = self.restarts = self.gang_s = 0
        self.pieces: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
        self.rolled_back_mu = 0
        self.requests = 0
        self._was: dict[int, tuple[tuple[int, int], int, int]] = {}
        self._share: dict[int, tuple[int, int]] = {}
        self._fly()

    def _fly(self) -> None:
        self.executive = Executive(self.world, Storage(self.folder), pacing=Pacing(clock=False))
        self.executive.events.listeners.append(self._heard)

    def _heard(self, event: LoopEvent) -> None:
        if event.code == Event.JOB_LATE:
            self.late.append(event.arg0)
        self.stopped += event.code == Event.JOB_REQUEUED

    def restart(self) -> None:
        self.executive.close()
        self.restarts += 1
        self._fly()

    def send(self, name: str, **args: int) -> None:
        self.requests += 1
        accepted = self.executive.commands.accepted
        self.executive.commands.handle(command(name, self.requests, **args), self.world.t_us)
        assert self.executive.commands.accepted == accepted + 1, (name, args)

    def job(self, job_id: int, workload: int, priority: int, work_mu: int, **more: int) -> None:
        self.send(
            "job_submit",
            job_id=job_id,
            workload=workload,
            priority=priority,
            work_mu=work_mu,
            checkpoint_s=CHECKPOINT_S,
            **more,
        )

    def until(self, t_s: int) -> None:
        while self.world.t_us < t_s * 1_000_000:
            self.executive.run(self.world.t_us + 1_000_000)
            self._look()

    def _look(self) -> None:
        given = {}
        for job in self.executive.jobs.open_jobs():
            given |= {m.node: (job.job_id, i) for i, m in enumerate(job.members) if m.node != NO_NODE}
            if job.state in (JobState.ASSIGNED, JobState.RUNNING):
                assert not job.waiting()
                self.gang_s += len(job.placed()) > 1 and job.state is JobState.RUNNING
        for node in range(NODES):
            n = self.executive.loop.nodes[node]
            if n.tlm_us == 0 or self.executive.loop.board_status(1 + node) != BoardStatus.READY:
                continue  # not heard yet by this flight
            t = n.tlm
            # What a board shows may still be what it ended a moment ago, while it has been given something else.
            if node in given and t.job_id == given[node][0]:
                self._share[node] = given[node]
            share = self._share.get(node, (0, 0))
            if t.job_id == 0 or t.job_id != share[0]:
                _, saved_mu, done_mu = self._was.pop(node, (share, 0, 0))
                self.rolled_back_mu += done_mu - saved_mu
                continue
            was = self._was.get(node)
            if was is None or was[0] != share:
                # The first look at a share comes a second after its start: that began at what was safe before.
                was = (share, min(self.safe(share), t.checkpoint_mu), t.progress_mu)
            _, checkpoint_mu, progress_mu = was
            if t.checkpoint_mu > checkpoint_mu:
                self.pieces[share].append((checkpoint_mu, t.checkpoint_mu))
            self.rolled_back_mu += max(0, progress_mu - t.progress_mu)
            self._was[node] = (share, t.checkpoint_mu, t.progress_mu)

    def safe(self, share: tuple[int, int]) -> int:
        """How much of a share boards have saved, without a gap."""
        end = 0
        for start, to in sorted(self.pieces[share]):
            assert start <= end, (share, start, end)
            end = max(end, to)
        return end

    def twice_mu(self) -> int:
        """Work that boards saved although it was safe already."""
        return sum(sum(to - start for start, to in pieces) - self.safe(s) for s, pieces in list(self.pieces.items()))


@pytest.fixture
def day(tmp_path: Path) -> Iterator[Day]:
    flown = Day(tmp_path / "storage")
    yield flown
    flown.executive.close()
    flown.world.close()


def test_a_day_of_jobs(day: Day) -> None:
    day.until(5)
    day.send("node_on", node=65535)
    breaks = 0
    for hour in range(24):
        day.until(hour * HOUR + 60)
        if hour % 2 == 0:
            for i, priority in enumerate(PRIORITIES):
                day.job(100 * hour + priority, 1 + i % 3, priority, BATCH_MU, deadline_s=WINDOW_S)
        if hour % 3 == 1:
            day.job(100 * hour + 50, 1, 7, 900_000, nodes=3)
        day.until(hour * HOUR + 600)
        if hour % 5 == 1:
            day.world.fault("reset", board=f"node{hour % 4}")
            breaks += 1
        day.until(hour * HOUR + 1200)
        if hour % 5 == 2:
            day.world.fault("hang", hour % 4, 1.0, for_s=30)
            breaks += 1
        day.until(hour * HOUR + 1900)
        if hour % 4 == 3:
            day.restart()
        if hour % 6 == 4:
            day.world.fault("disconnect", board=f"node{hour % 4}", for_s=LOST_S)
            breaks += 1
        day.until(hour * HOUR + 2500)
        day.job(100 * hour + 70, 2, 12, 60_000, deadline_s=1200)
        if hour % 6 == 0:
            movable = [j for j in day.executive.jobs.open_jobs() if j.nodes == 1 and j.state is JobState.RUNNING]
            day.send("job_move", job_id=movable[-1].job_id, node=hour % 4)
    day.until(DAY)
    _work_accounted_is_work_done(day, breaks)
    _deadlines_are_met_in_the_order_of_priority(day)
    states = day.executive.jobs.counts
    assert (states[JobState.FAILED], states[JobState.CANCELLED]) == (0, 0)
    assert states[JobState.DONE] >= 90
    assert (day.restarts, day.stopped >= 50, day.gang_s >= 1000) == (6, True, True)


def _work_accounted_is_work_done(day: Day, breaks: int) -> None:
    queue = day.executive.jobs
    queue.update(day.world.t_us)  # with the telemetry of the last second
    for job in queue.jobs.values():
        for index, member in enumerate(job.members):
            assert member.checkpoint_mu == day.safe((job.job_id, index)), job
        assert job.credit_mu == sum(member.checkpoint_mu for member in job.members)
    assert queue.work_mu == sum(job.credit_mu for job in queue.jobs.values())
    # Lost, by the boards' account: what a break rolled back, and what two nodes did. At most what two checkpoints and
    # the silence of a lost board may hold.
    lost_mu = day.rolled_back_mu + day.twice_mu()
    assert 0 < lost_mu <= breaks * (CHECKPOINT_S + LOST_S) * RATE_MU_PER_S
    # All else that accelerators did is in the account, but for the step in which a board ends a job.
    unsaved_mu = sum(job.progress_mu - job.credit_mu for job in queue.open_jobs())
    unaccounted_mu = day.world.truth_now.work_total * 1000 - queue.work_mu - unsaved_mu - lost_mu
    ends = day.stopped + queue.counts[JobState.DONE] + breaks
    assert -1 <= unaccounted_mu <= ends * RATE_MU_PER_S
    assert unaccounted_mu < queue.work_mu / 1000


def _deadlines_are_met_in_the_order_of_priority(day: Day) -> None:
    assert len(day.late) == len(set(day.late))
    for hour in range(0, 22, 2):
        late = [priority for priority in PRIORITIES if 100 * hour + priority in day.late]
        assert late == list(PRIORITIES[: len(late)]), "a job was late, and one of a lower priority was not"
        assert late, "there was room for all of them, so their order was not tried"
        assert len(late) < len(PRIORITIES) / 2
    assert not [job_id for job_id in day.late if job_id % 100 == 70], "the most urgent were late"
