"""The job queue against a model: whatever nodes do, no job is lost, none counts twice."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from flight.icd import BoardStatus, JobState, NodeFlag, NodeState
from flight.jobs import ENDED, NO_NODE, RESTARTS_MAX, Job, JobQueue, NodeView

NODES = 3
STEP_US = 1_000_000
nodes = st.integers(0, NODES - 1)


class Node:
    """A node as it should behave: runs what it is given, forgets all but its checkpoint when it is reset."""

    def __init__(self) -> None:
        self.status, self.up = BoardStatus.READY, True
        self.given: Job | None = None
        self.job_id = 0
        self.total = self.progress = self.checkpoint = 0

    def view(self) -> NodeView:
        done = self.job_id != 0 and self.progress >= self.total
        runs = self.up and self.job_id != 0 and not done
        state = NodeState.ACTIVE if runs else NodeState.IDLE if self.up else NodeState.OFF
        return NodeView(
            self.status, True, self.up, state, NodeFlag.JOB_DONE if done else 0, self.job_id, self.progress,
            self.checkpoint,
        )  # fmt: skip


class Nodes:
    count = NODES

    def __init__(self) -> None:
        self.all = [Node() for _ in range(NODES)]

    def view(self, node: int) -> NodeView:
        return self.all[node].view()

    def give(self, node: int, job: Job) -> None:
        self.all[node].given = job

    def take(self, node: int) -> None:
        self.all[node].given = None


class Queue(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.nodes = Nodes()
        self.t_us = 0
        self.queue = JobQueue(self.nodes, lambda *_: None)
        self.queue.restore([], 0)
        self.submitted: dict[int, int] = {}
        self.best_credit: dict[int, int] = {}
        self.ended: list[int] = []

    @rule(job_id=st.integers(1, 12), priority=st.integers(0, 3), work=st.integers(1, 50))
    def submit(self, job_id: int, priority: int, work: int) -> None:
        new = self.queue.submit(job_id, 1, priority, work, 5)
        assert new == (job_id not in self.submitted)
        if new:
            self.submitted[job_id] = work

    @rule(job_id=st.integers(1, 12))
    def cancel(self, job_id: int) -> None:
        known = job_id in self.submitted and self.queue.jobs[job_id].state not in ENDED
        assert self.queue.cancel(job_id, self.t_us) == known

    @rule(node=nodes, share=st.integers(1, 100))
    def work(self, node: int, share: int) -> None:
        """The node takes what it was given, and gets on with it."""
        n = self.nodes.all[node]
        if n.status != BoardStatus.READY or not n.up:
            return
        wanted = n.given.job_id if n.given else 0
        if wanted != n.job_id:
            n.job_id = wanted
            if n.given is not None:
                n.total, n.progress = n.given.total_mu, n.given.checkpoint_mu
                n.checkpoint = n.progress
        elif n.job_id:
            n.progress = min(n.total, n.progress + max(1, n.total * share // 100))
            if share % 3 == 0 or n.progress == n.total:
                n.checkpoint = n.progress

    @rule(node=nodes, status=st.sampled_from([BoardStatus.LOST, BoardStatus.READY, BoardStatus.CONFIGURING]))
    def line(self, node: int, status: BoardStatus) -> None:
        self.nodes.all[node].status = status

    @rule(node=nodes, up=st.booleans())
    def power(self, node: int, up: bool) -> None:
        self.nodes.all[node].up = up

    @rule(node=nodes)
    def reset(self, node: int) -> None:
        n = self.nodes.all[node]
        n.job_id = n.progress = n.checkpoint = 0

    @rule(seconds=st.integers(0, 12))
    def update(self, seconds: int) -> None:
        self.t_us += seconds * STEP_US
        self.queue.update(self.t_us)
        self.ended += [j.job_id for j in self.queue.take_ended()]

    @precondition(lambda self: self.submitted)
    @rule()
    def restart(self) -> None:
        """The flight computer dies; a copy of what was stored goes on."""
        self.queue.update(self.t_us)
        self.ended += [j.job_id for j in self.queue.take_ended()]
        jobs = [
            Job(j.job_id, j.workload, j.priority, j.total_mu, j.checkpoint_s, j.order, j.state, j.node, 0,
                j.checkpoint_mu, j.restarts)
            for j in self.queue.jobs.values()
        ]  # fmt: skip
        self.queue = JobQueue(self.nodes, lambda *_: None)
        self.queue.restore(jobs, self.t_us)

    @invariant()
    def nothing_is_lost_and_nothing_counts_twice(self) -> None:
        jobs = self.queue.jobs
        assert set(jobs) == set(self.submitted)
        assert self.queue.work_mu == sum(j.credit_mu for j in jobs.values())
        for job in jobs.values():
            assert job.credit_mu <= self.submitted[job.job_id]
            assert job.credit_mu >= self.best_credit.get(job.job_id, 0)
            assert job.restarts <= RESTARTS_MAX + 1
            if job.state is JobState.DONE:
                assert job.credit_mu == self.submitted[job.job_id]
            self.best_credit[job.job_id] = job.credit_mu
        assert len(self.ended) == len(set(self.ended))

    @invariant()
    def a_node_has_one_job_and_a_job_one_node(self) -> None:
        active = [j for j in self.queue.jobs.values() if j.state in (JobState.ASSIGNED, JobState.RUNNING)]
        assert len({j.node for j in active}) == len(active)
        for job in self.queue.jobs.values():
            assert (job.node != NO_NODE) == (job in active)
        for i, node in enumerate(self.nodes.all):
            assert node.given is next((j for j in active if j.node == i), None)

    @invariant()
    def counts_are_right(self) -> None:
        for state in JobState:
            assert self.queue.counts[state] == sum(j.state is state for j in self.queue.jobs.values())


TestQueue = Queue.TestCase
TestQueue.settings = settings(max_examples=60, stateful_step_count=40)


def test_higher_priority_first_and_older_first_within_one():
    queue = JobQueue(Nodes(), lambda *_: None)
    for job_id, priority in ((1, 1), (2, 5), (3, 5), (4, 9)):
        queue.submit(job_id, 1, priority, 100, 5)
    queue.update(0)
    assert [queue.jobs[j].node for j in (4, 2, 3, 1)] == [0, 1, 2, NO_NODE]


def test_a_job_on_a_node_that_this_satellite_does_not_have_is_queued_again():
    """As when storage was written with a larger satellite."""
    queue = JobQueue(Nodes(), lambda *_: None)
    queue.restore([Job(7, 1, 1, 100, 5, 0, JobState.RUNNING, node=NODES + 100, checkpoint_mu=40)], 0)
    assert (queue.jobs[7].state, queue.counts[JobState.QUEUED], queue.changed) == (JobState.QUEUED, 1, {7})
    queue.update(0)
    assert (queue.jobs[7].node, queue.jobs[7].checkpoint_mu) == (0, 40)


def test_work_that_a_node_did_under_the_same_id_for_another_flight_is_not_credited():
    """As when storage was lost and the world was not."""
    nodes = Nodes()
    stale = nodes.all[0]
    stale.job_id, stale.total, stale.progress, stale.checkpoint = 7, 50, 50, 50
    queue = JobQueue(nodes, lambda *_: None)
    queue.restore([], 0)
    queue.submit(7, 1, 1, 100, 5)
    queue.update(0)
    assert queue.jobs[7].node == 1
    queue.update(1_000_000)
    assert (queue.work_mu, queue.jobs[7].state) == (0, JobState.ASSIGNED)
