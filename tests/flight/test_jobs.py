"""The job queue against boards that hold their own truth: no work is lost that was safe, none counts twice."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from flight.icd import BoardStatus, Event, JobState
from flight.job import ACTIVE, ENDED, NO_NODE, Job
from flight.jobs import RESTARTS_MAX, JobQueue
from flight.placement import Cooling
from tests.flight.queue_model import Fleet

NODES = 4
STEP_US = 1_000_000
nodes = st.integers(0, NODES - 1)
ids = st.integers(1, 12)


def copied(job: Job) -> Job:
    """As it comes back from storage."""
    other = Job(
        job.job_id, job.workload, job.priority, job.total_mu, job.checkpoint_s, job.order, job.nodes, job.deadline_us,
        job.checkpoint_cost_s, job.phases, job.state, job.restarts, job.late,
    )  # fmt: skip
    for mine, theirs in zip(other.members, job.members, strict=True):
        mine.node, mine.checkpoint_mu, mine.progress_mu = theirs.node, theirs.checkpoint_mu, theirs.checkpoint_mu
    return other


class Queue(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.fleet = Fleet(NODES)
        self.t_us = 0
        self.told: list[tuple[Event, int]] = []
        self.queue = self.new_queue()
        self.queue.restore([], 0)
        self.submitted: dict[int, tuple[int, int]] = {}
        self.best: dict[tuple[int, int], int] = {}
        self.ended: list[int] = []

    def new_queue(self) -> JobQueue:
        cooling = Cooling([0, 1, 0, 1], [0, 1, 0, 1], {1: 700.0, 2: 600.0, 3: 200.0})
        return JobQueue(self.fleet, lambda e, _t, a, _b: self.told.append((e, a)), cooling)

    @rule(
        job_id=ids,
        workload=st.integers(1, 3),
        priority=st.integers(0, 3),
        work=st.integers(NODES, 60),
        size=st.sampled_from([1, 1, 1, 2, 3, 4]),
        deadline=st.integers(0, 60),
    )
    def submit(self, job_id: int, workload: int, priority: int, work: int, size: int, deadline: int) -> None:
        due_us = self.t_us + deadline * STEP_US if deadline else 0
        new = self.queue.submit(job_id, workload, priority, work, 5, nodes=size, deadline_us=due_us)
        assert new == (job_id not in self.submitted)
        if new:
            self.submitted[job_id] = (work, size)

    @rule(job_id=ids)
    def cancel(self, job_id: int) -> None:
        known = job_id in self.submitted and self.queue.jobs[job_id].state not in ENDED
        assert self.queue.cancel(job_id) == known

    @rule(job_id=ids, node=nodes)
    def move(self, job_id: int, node: int) -> None:
        job = self.queue.jobs.get(job_id)
        if job is not None and job.nodes == 1 and job.state not in ENDED:
            self.queue.move(job_id, node)

    @rule(job_id=ids)
    def give_move_up(self, job_id: int) -> None:
        self.queue.forget_move(job_id)

    @rule(amounts=st.lists(st.integers(0, 20), min_size=NODES, max_size=NODES), saves=st.booleans())
    def work(self, amounts: list[int], saves: bool) -> None:
        """Boards take what they were told, and get on with it."""
        for board, amount in zip(self.fleet.all, amounts, strict=True):
            if amount % 4 != 3:
                board.obey()
            board.work(amount, saves)

    @rule(node=nodes, status=st.sampled_from([BoardStatus.LOST, BoardStatus.READY, BoardStatus.CONFIGURING]))
    def line(self, node: int, status: BoardStatus) -> None:
        self.fleet.all[node].status = status

    @rule(node=nodes, up=st.booleans(), rests=st.booleans())
    def power(self, node: int, up: bool, rests: bool) -> None:
        self.fleet.all[node].up, self.fleet.all[node].rests = up, rests and not up

    @rule(node=nodes, boot_s=st.integers(0, 2))
    def reset(self, node: int, boot_s: int) -> None:
        self.fleet.all[node].roll_back()
        self.fleet.all[node].boot_s = boot_s

    @rule(node=nodes)
    def wipe(self, node: int) -> None:
        """A board is swapped for another one, which knows nothing."""
        board = self.fleet.all[node]
        board.roll_back()
        board.job_id = board.member = board.total = board.progress = board.checkpoint = 0

    @rule(seconds=st.integers(0, 12))
    def update(self, seconds: int) -> None:
        self.t_us += seconds * STEP_US
        for board in self.fleet.all:
            board.boot_s = max(0, board.boot_s - seconds)
        self.queue.update(self.t_us)
        self.ended += [j.job_id for j in self.queue.take_ended()]

    @precondition(lambda self: self.submitted)
    @rule()
    def restart(self) -> None:
        """The flight computer dies; a copy of what was stored goes on."""
        self.ended += [j.job_id for j in self.queue.take_ended()]
        jobs = [copied(j) for j in self.queue.jobs.values()]
        self.queue = self.new_queue()
        self.queue.restore(jobs, self.t_us)

    @rule()
    def everything_works_for_a_while(self) -> None:
        """With good nodes and time, whatever is queued is done: nothing starves, whatever its size."""
        for board in self.fleet.all:
            board.status, board.up, board.rests, board.boot_s = BoardStatus.READY, True, False, 0
        for _ in range(120):
            if not self.queue.open_jobs():
                break
            for board in self.fleet.all:
                board.obey()
                board.work(9, saves=True)
            self.update(1)
        assert self.queue.open_jobs() == []

    @invariant()
    def work_accounted_is_work_done(self) -> None:
        jobs = self.queue.jobs
        assert set(jobs) == set(self.submitted)
        assert self.queue.work_mu == sum(j.credit_mu for j in jobs.values())
        for job in jobs.values():
            work, size = self.submitted[job.job_id]
            assert sum(m.total_mu for m in job.members) == work
            assert len(job.members) == size
            for i, member in enumerate(job.members):
                assert self.best.get((job.job_id, i), 0) <= member.checkpoint_mu
                assert member.checkpoint_mu <= self.fleet.saved(job.job_id, i)
                self.best[job.job_id, i] = member.checkpoint_mu
            assert job.restarts <= RESTARTS_MAX + 1
            assert (job.state is JobState.DONE) == (job.credit_mu == work) or job.state in ACTIVE or job.state in ENDED
            if job.state is JobState.DONE:
                assert job.credit_mu == work
        assert len(self.ended) == len(set(self.ended))

    @invariant()
    def a_node_has_one_share_and_a_share_one_node(self) -> None:
        held = [(m.node, j, i) for j in self.queue.jobs.values() for i, m in enumerate(j.members) if m.node != NO_NODE]
        assert len({node for node, _, _ in held}) == len(held)
        by_node = {node: (job, i) for node, job, i in held}
        for node, board in enumerate(self.fleet.all):
            given = board.given
            assert (given is None) == (node not in by_node)
            if given is not None:
                assert (given.job, given.member) == by_node[node]
                assert given.stop == (given.job.state is JobState.STOPPING)

    @invariant()
    def a_gang_is_all_or_none(self) -> None:
        for job in self.queue.jobs.values():
            if job.state in (JobState.ASSIGNED, JobState.RUNNING):
                assert not job.waiting()
            elif job.state is not JobState.STOPPING:
                assert not job.placed()

    @invariant()
    def counts_are_right(self) -> None:
        for state in JobState:
            assert self.queue.counts[state] == sum(j.state is state for j in self.queue.jobs.values())


TestQueue = Queue.TestCase
TestQueue.settings = settings(max_examples=150, stateful_step_count=50)


class Flown:
    """A queue on boards that obey and work, a second a step."""

    def __init__(self, count: int = NODES, cooling: Cooling | None = None) -> None:
        self.fleet = Fleet(count)
        self.told: list[tuple[Event, int, int]] = []
        self.queue = JobQueue(self.fleet, lambda e, _t, a, b: self.told.append((e, a, b)), cooling)
        self.queue.restore([], 0)
        self.t_us = 0

    def step(self, seconds: int = 1, rate: int = 10, saves: bool = False) -> None:
        for _ in range(seconds):
            for board in self.fleet.all:
                board.obey()
                board.work(rate, saves)
            self.t_us += STEP_US
            self.queue.update(self.t_us)

    def where(self, job_id: int) -> list[int]:
        return [m.node for m in self.queue.jobs[job_id].members]

    def state(self, job_id: int) -> JobState:
        return self.queue.jobs[job_id].state


def test_priority_first_then_the_earliest_deadline_then_age():
    flown = Flown(6)
    for job_id, priority, deadline_s in ((1, 1, 0), (2, 5, 0), (3, 5, 900), (4, 5, 300), (5, 9, 0), (6, 5, 0)):
        flown.queue.submit(job_id, 1, priority, 100, 5, deadline_us=deadline_s * STEP_US)
    flown.queue.update(0)
    assert [flown.queue.jobs[j].node for j in (5, 4, 3, 2, 6, 1)] == [0, 1, 2, 3, 4, 5]


def test_a_late_job_is_told_once_and_goes_on():
    flown = Flown()
    flown.queue.submit(1, 1, 1, 200, 5, deadline_us=5 * STEP_US)
    flown.queue.submit(2, 1, 1, 20, 5, deadline_us=9 * STEP_US)
    flown.step(12)
    assert [(e, a) for e, a, _ in flown.told if e is Event.JOB_LATE] == [(Event.JOB_LATE, 1)]
    jobs = [copied(j) for j in flown.queue.jobs.values()]
    flown.queue = JobQueue(flown.fleet, lambda e, _t, a, b: flown.told.append((e, a, b)))
    flown.queue.restore(jobs, flown.t_us)
    flown.step(20)
    assert flown.state(1) is JobState.DONE
    assert sum(e is Event.JOB_LATE for e, _, _ in flown.told) == 1


def test_a_higher_priority_takes_the_node_of_the_lowest_after_its_checkpoint():
    flown = Flown()
    for job_id, priority, cost_s in ((1, 3, 0), (2, 2, 90), (3, 2, 10), (4, 4, 0)):
        flown.queue.submit(job_id, 1, priority, 10_000, 5, checkpoint_cost_s=cost_s)
    flown.step(20)
    flown.queue.submit(5, 1, 3, 50, 5)
    node = flown.queue.jobs[3].node
    done = flown.fleet.all[node].progress
    flown.queue.update(flown.t_us)
    assert (flown.state(3), flown.state(5)) == (JobState.STOPPING, JobState.QUEUED)
    flown.step(1)
    job = flown.queue.jobs[3]
    assert (job.state, job.restarts, job.credit_mu) == (JobState.QUEUED, 0, done)
    assert flown.where(5) == [node]
    assert [flown.state(j) for j in (1, 2, 4)] == [JobState.RUNNING] * 3
    flown.step(30)
    assert flown.state(5) is JobState.DONE
    assert flown.state(3) is JobState.RUNNING
    assert flown.queue.jobs[3].progress_mu >= done


def test_equal_priorities_do_not_stop_each_other():
    flown = Flown(1)
    flown.queue.submit(1, 1, 3, 1000, 5)
    flown.step(5)
    flown.queue.submit(2, 1, 3, 10, 5, deadline_us=30 * STEP_US)
    flown.step(20)
    assert (flown.state(1), flown.state(2)) == (JobState.RUNNING, JobState.QUEUED)


def test_a_gang_waits_for_all_its_nodes_and_those_are_kept_for_it():
    flown = Flown()
    for job_id, work in ((1, 100), (2, 300), (3, 200)):
        flown.queue.submit(job_id, 1, 1, work, 5)
    flown.step(3)
    flown.queue.submit(10, 1, 1, 400, 5, nodes=3)
    for job_id in range(20, 30):
        flown.queue.submit(job_id, 1, 1, 1000, 5)
    flown.step(10)
    assert flown.where(10) == [NO_NODE] * 3
    flown.step(20)
    assert flown.state(10) is JobState.RUNNING
    assert len(set(flown.where(10))) == 3
    flown.step(30)
    assert (flown.state(10), flown.queue.jobs[10].credit_mu) == (JobState.DONE, 400)


def test_nodes_that_idle_are_kept_while_others_make_way():
    flown = Flown()
    for job_id in (1, 2, 3):
        flown.queue.submit(job_id, 1, 1, 10_000, 5)
    flown.step(5)
    flown.queue.submit(10, 1, 3, 10_000, 5, nodes=2)
    flown.queue.submit(20, 1, 1, 10_000, 5)
    flown.queue.update(flown.t_us)
    assert [flown.state(j) for j in (1, 2, 3)] == [JobState.RUNNING, JobState.RUNNING, JobState.STOPPING]
    flown.queue.update(flown.t_us)
    assert [flown.state(j) for j in (10, 20)] == [JobState.QUEUED] * 2
    flown.step(3)
    assert [flown.state(j) for j in (1, 2, 3, 10, 20)] == [
        JobState.RUNNING, JobState.RUNNING, JobState.QUEUED, JobState.RUNNING, JobState.QUEUED,
    ]  # fmt: skip


def test_a_cancelled_job_is_credited_no_further():
    flown = Flown(1)
    flown.queue.submit(1, 1, 1, 1000, 5)
    flown.step(5, saves=True)
    flown.fleet.all[0].status = BoardStatus.LOST
    flown.queue.update(flown.t_us)
    credit_mu = flown.queue.work_mu
    flown.queue.cancel(1)
    flown.fleet.all[0].work(100, saves=True)
    flown.fleet.all[0].status, flown.fleet.all[0].seen = BoardStatus.READY, None
    flown.step(3)
    assert (flown.queue.work_mu, flown.state(1)) == (credit_mu, JobState.CANCELLED)


def test_a_gang_that_no_node_is_there_for_keeps_nobody_waiting():
    flown = Flown()
    flown.fleet.all[3].status = BoardStatus.LOST
    flown.queue.submit(1, 1, 9, 400, 5, nodes=4)
    flown.queue.submit(2, 1, 1, 100, 5)
    flown.step(30)
    assert (flown.state(1), flown.state(2)) == (JobState.QUEUED, JobState.DONE)


def test_no_job_is_stopped_in_vain_for_a_gang():
    flown = Flown()
    for job_id, priority in ((1, 5), (2, 1), (3, 5), (4, 5)):
        flown.queue.submit(job_id, 1, priority, 10_000, 5)
    flown.step(5)
    flown.queue.submit(10, 1, 3, 100, 5, nodes=2)
    flown.step(5)
    assert [flown.state(j) for j in (1, 2, 3, 4)] == [JobState.RUNNING] * 4


def test_a_lost_member_stops_the_gang_and_each_goes_on_from_its_own_checkpoint():
    flown = Flown()
    flown.queue.submit(1, 1, 1, 3000, 5, nodes=3)
    flown.step(10, saves=True)
    job = flown.queue.jobs[1]
    lost = job.members[1]
    safe = lost.checkpoint_mu
    board = flown.fleet.all[lost.node]
    flown.step(4)
    board.status = BoardStatus.LOST
    flown.queue.update(flown.t_us)
    assert job.state is JobState.STOPPING
    flown.step(1)
    assert job.members[0].checkpoint_mu > safe
    assert lost.checkpoint_mu == safe
    flown.step(3)
    assert (job.state, job.restarts) == (JobState.RUNNING, 1)
    flown.step(150)
    assert (job.state, flown.queue.work_mu) == (JobState.DONE, 3000)


def test_what_a_lost_node_had_saved_counts_when_it_is_back():
    flown = Flown(1)
    flown.queue.submit(1, 1, 1, 1000, 5)
    flown.step(5, saves=True)
    board = flown.fleet.all[0]
    board.status = BoardStatus.LOST
    flown.queue.update(flown.t_us)
    board.work(100, saves=True)
    saved = board.checkpoint
    board.roll_back()
    board.status, board.seen = BoardStatus.READY, None
    flown.queue.update(flown.t_us)
    assert flown.queue.work_mu == saved
    flown.step(3)
    assert board.progress >= saved


def test_a_planned_rest_waits_for_the_last_checkpoint():
    flown = Flown(1)
    flown.queue.submit(1, 1, 1, 1000, 5)
    flown.step(5)
    board = flown.fleet.all[0]
    board.up, board.rests = False, True
    done = board.progress
    flown.queue.update(flown.t_us)
    assert flown.state(1) is JobState.RUNNING
    flown.step(1)
    job = flown.queue.jobs[1]
    assert (job.state, job.restarts, job.credit_mu) == (JobState.QUEUED, 0, done)


def test_a_moved_job_goes_on_there_and_what_ran_there_makes_way():
    flown = Flown(2)
    flown.queue.submit(1, 1, 1, 10_000, 5)
    flown.queue.submit(2, 1, 9, 10_000, 5)
    flown.step(5)
    assert (flown.where(1), flown.where(2)) == ([1], [0])
    done = flown.fleet.all[1].progress
    flown.queue.move(1, 0)
    flown.step(8)
    assert (flown.where(1), flown.where(2)) == ([0], [1])
    assert [flown.queue.jobs[j].restarts for j in (1, 2)] == [0, 0]
    assert flown.fleet.all[0].progress > done


def test_a_job_stays_where_it_is_until_the_node_it_is_moved_to_is_up():
    flown = Flown(2)
    flown.fleet.all[1].up = False
    flown.queue.submit(1, 1, 1, 10_000, 5)
    flown.step(5)
    flown.queue.move(1, 1)
    flown.step(5)
    assert (flown.where(1), flown.state(1)) == ([0], JobState.RUNNING)
    flown.fleet.all[1].up = True
    flown.step(5)
    assert flown.where(1) == [1]


def test_the_heat_of_equal_jobs_is_spread_over_the_loops_while_nodes_boot():
    """Nodes come up one by one, 0 to 3; nodes 0 and 1 are on one loop."""
    cooling = Cooling([0, 1, 2, 3], [0, 0, 1, 1], {1: 700.0, 3: 200.0})
    flown = Flown(4, cooling)
    for node, board in enumerate(flown.fleet.all):
        board.boot_s = 1 + node
    for job_id, workload in ((1, 1), (2, 1), (3, 3), (4, 3)):
        flown.queue.submit(job_id, workload, 5, 10_000, 5)
    for _ in range(8):
        flown.step()
        for board in flown.fleet.all:
            board.boot_s = max(0, board.boot_s - 1)
    heat_w = [sum(cooling.heat_w(b.given.job.workload) for b in flown.fleet.all[i : i + 2] if b.given) for i in (0, 2)]
    assert heat_w == [900.0, 900.0]


def test_a_job_on_a_node_that_this_satellite_does_not_have_is_queued_again():
    """As when storage was written with a larger satellite."""
    queue = JobQueue(Fleet(NODES), lambda *_: None)
    job = Job(7, 1, 1, 100, 5, 0, state=JobState.RUNNING)
    job.members[0].node, job.members[0].checkpoint_mu = NODES + 100, 40
    queue.restore([job], 0)
    assert (queue.jobs[7].state, queue.counts[JobState.QUEUED], queue.changed) == (JobState.QUEUED, 1, {7})
    queue.update(0)
    assert (queue.jobs[7].node, queue.jobs[7].credit_mu) == (0, 40)


def test_work_that_a_node_did_under_the_same_id_for_another_flight_is_not_credited():
    """As when storage was lost and the world was not."""
    fleet = Fleet(NODES)
    stale = fleet.all[0]
    stale.job_id, stale.total, stale.progress, stale.checkpoint = 7, 50, 50, 50
    queue = JobQueue(fleet, lambda *_: None)
    queue.restore([], 0)
    queue.submit(7, 1, 1, 100, 5)
    queue.update(0)
    assert queue.work_mu == 0
    fleet.all[0].obey()
    queue.update(1_000_000)
    assert (queue.work_mu, queue.jobs[7].state, queue.jobs[7].node) == (0, JobState.ASSIGNED, 0)
