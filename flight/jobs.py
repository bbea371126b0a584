"""The job queue: who runs what, from which checkpoint, and how much work is done.

A job is `queued`, then `assigned` to a node, `running` once its node says so, and ends as `done`, `cancelled` or
`failed`. A node that is lost, reset or switched off gives its job back to the queue, from the last checkpoint. Work is
credited by job and never goes back: a job counts with its checkpoint until it is done, then with its whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from flight.icd import BoardStatus, Event, JobState, NodeFlag, NodeState

NO_NODE = 65535
RESTARTS_MAX = 20
QUEUE_MAX = 4096
TAKE_WITHIN_US = 10_000_000  # a node that does not show its job by then gives it back
SILENT_US = 30_000_000  # a board that was not heard since the start of this session
ACTIVE = (JobState.ASSIGNED, JobState.RUNNING)
ENDED = (JobState.DONE, JobState.CANCELLED, JobState.FAILED)
_READY, _LOST, _REFUSED = int(BoardStatus.READY), int(BoardStatus.LOST), int(BoardStatus.REFUSED)
_IDLE, _RUNS = int(NodeState.IDLE), int(NodeState.ACTIVE)
_DONE = int(NodeFlag.JOB_DONE)


@dataclass(slots=True)
class Job:
    """One job. Work in 0.001 work units."""

    job_id: int
    workload: int
    priority: int
    total_mu: int
    checkpoint_s: int
    order: int
    state: JobState = JobState.QUEUED
    node: int = NO_NODE
    progress_mu: int = 0
    checkpoint_mu: int = 0
    restarts: int = 0
    since_us: int = 0  # in this state, in this session

    @property
    def credit_mu(self) -> int:
        """Work that counts as done."""
        return self.total_mu if self.state is JobState.DONE else self.checkpoint_mu


class NodeView(NamedTuple):
    """What the queue must know of a node."""

    status: int  # BoardStatus
    heard: bool  # telemetry since it was identified
    up: bool  # accelerator up, and wanted so
    state: int  # NodeState
    flags: int
    job_id: int
    progress_mu: int
    checkpoint_mu: int
    rests: bool = False  # off by plan


class Nodes(Protocol):
    """The nodes as the queue commands them; flight.loop behind it."""

    count: int

    def view(self, node: int) -> NodeView: ...
    def give(self, node: int, job: Job) -> None:
        """The node shall run this job from its checkpoint."""

    def take(self, node: int) -> None:
        """The node shall run nothing."""


class JobQueue:
    """`changed` collects the ids of jobs that storage must learn of; whoever stores them clears it. `commanded`: jobs
    were submitted or cancelled since the last update."""

    def __init__(self, nodes: Nodes, tell: Callable[[Event, int, int, int], None]) -> None:
        self.jobs: dict[int, Job] = {}
        self.changed: set[int] = set()
        self.commanded = False
        self.counts = dict.fromkeys(JobState, 0)
        self._nodes = nodes
        self._tell = tell
        self._queue: list[Job] = []  # in the order of assignment
        self._at: dict[int, Job] = {}  # active job by node
        self._ended: list[Job] = []  # whose end housekeeping has not shown
        self._credit_mu = 0

    # ------------------------------------------------------------ commands
    def submit(self, job_id: int, workload: int, priority: int, total_mu: int, checkpoint_s: int) -> bool:
        """Queue a new job; False when there is one of this id."""
        if job_id in self.jobs:
            return False
        job = Job(job_id, workload, priority, total_mu, checkpoint_s, order=len(self.jobs))
        self.jobs[job_id] = job
        self.counts[JobState.QUEUED] += 1
        self._enqueue(job)
        self.changed.add(job_id)
        self.commanded = True
        return True

    @property
    def full(self) -> bool:
        """No more jobs can be queued."""
        return len(self._queue) >= QUEUE_MAX

    def cancel(self, job_id: int, t_us: int) -> bool:
        """End a job that has not ended; False when there is none. Its checkpoint stays credited."""
        job = self.jobs.get(job_id)
        if job is None or job.state in ENDED:
            return False
        self._release(job)
        self._enter(job, JobState.CANCELLED, t_us)
        self._ended.append(job)
        self.commanded = True
        return True

    def restore(self, jobs: Iterable[Job], t_us: int) -> None:
        """Take what storage knew; active jobs are left on their nodes until these say otherwise. A job on a node that
        this satellite does not have goes back to the queue."""
        for job in jobs:
            job.since_us = t_us
            if job.state in ACTIVE and job.node >= self._nodes.count:
                job.state, job.node = JobState.QUEUED, NO_NODE
                self.changed.add(job.job_id)
            self.jobs[job.job_id] = job
            self.counts[job.state] += 1
            self._credit_mu += job.credit_mu
            if job.state is JobState.QUEUED:
                self._enqueue(job)
            elif job.state in ACTIVE:
                self._at[job.node] = job
                job.progress_mu = job.checkpoint_mu
        for node in range(self._nodes.count):
            if node in self._at:
                self._nodes.give(node, self._at[node])
            else:
                self._nodes.take(node)

    # ------------------------------------------------------------ what housekeeping shows
    @property
    def work_mu(self) -> int:
        """All work credited since the first boot."""
        return self._credit_mu

    def open_jobs(self) -> list[Job]:
        """Jobs that have not ended, those on nodes first."""
        return list(self._at.values()) + self._queue

    def take_ended(self) -> list[Job]:
        """Jobs that ended since the last call."""
        ended, self._ended = self._ended, []
        return ended

    # ------------------------------------------------------------ every cycle
    def update(self, t_us: int) -> None:
        """Follow the nodes, then give free ones the next jobs."""
        for job in list(self._at.values()):
            self._follow(job, self._nodes.view(job.node), t_us)
        if self._queue:
            self._assign(t_us)
        self.commanded = False

    def _follow(self, job: Job, view: NodeView, t_us: int) -> None:
        waited_us = t_us - job.since_us
        if view.status in (_LOST, _REFUSED):
            self._requeue(job, t_us)
        elif view.status != _READY or not view.heard:
            if waited_us > SILENT_US:
                self._requeue(job, t_us)
        elif view.job_id == job.job_id:
            self._progress(job, view, t_us)
            if job.state in ACTIVE and not view.up:
                self._requeue(job, t_us, planned=view.rests)
        elif not view.up or waited_us > TAKE_WITHIN_US:
            self._requeue(job, t_us, planned=view.rests)

    def _progress(self, job: Job, view: NodeView, t_us: int) -> None:
        job.progress_mu = view.progress_mu
        self._credit(job, view.checkpoint_mu)
        if view.flags & _DONE:
            self._finish(job, t_us)
        elif view.state == _RUNS and job.state is JobState.ASSIGNED:
            self._enter(job, JobState.RUNNING, t_us)
            self._tell(Event.JOB_STARTED, t_us, job.job_id, job.node)
        elif view.state == _RUNS:
            job.since_us = t_us

    def _credit(self, job: Job, checkpoint_mu: int) -> None:
        checkpoint_mu = min(checkpoint_mu, job.total_mu)
        if checkpoint_mu > job.checkpoint_mu:
            self._credit_mu += checkpoint_mu - job.checkpoint_mu
            job.checkpoint_mu = checkpoint_mu
            self.changed.add(job.job_id)
            if job.node != NO_NODE:
                self._nodes.give(job.node, job)

    def _finish(self, job: Job, t_us: int) -> None:
        node = job.node
        self._release(job)
        self._credit_mu += job.total_mu - job.checkpoint_mu
        job.progress_mu = job.checkpoint_mu = job.total_mu
        self._enter(job, JobState.DONE, t_us)
        self._ended.append(job)
        self._tell(Event.JOB_FINISHED, t_us, job.job_id, node)

    def _requeue(self, job: Job, t_us: int, *, planned: bool = False) -> None:
        self._release(job)
        job.restarts += not planned
        job.progress_mu = job.checkpoint_mu
        if job.restarts > RESTARTS_MAX:
            self._enter(job, JobState.FAILED, t_us)
            self._ended.append(job)
            return
        self._enter(job, JobState.QUEUED, t_us)
        self._enqueue(job)
        self._tell(Event.JOB_REQUEUED, t_us, job.job_id, job.checkpoint_mu)

    def _assign(self, t_us: int) -> None:
        for node in range(self._nodes.count):
            if not self._queue:
                return
            if node in self._at:
                continue
            view = self._nodes.view(node)
            if view.status != _READY or not view.heard or not view.up or view.state != _IDLE:
                continue
            if view.job_id == self._queue[0].job_id and not self._queue[0].restarts:
                continue  # what it shows under this id is another's work, and is being cleared
            job = self._queue.pop(0)
            job.node = node
            self._at[node] = job
            self._enter(job, JobState.ASSIGNED, t_us)
            self._nodes.give(node, job)

    # ------------------------------------------------------------ bookkeeping
    def _enter(self, job: Job, state: JobState, t_us: int) -> None:
        self.counts[job.state] -= 1
        self.counts[state] += 1
        job.state = state
        job.since_us = t_us
        self.changed.add(job.job_id)

    def _enqueue(self, job: Job) -> None:
        self._queue.append(job)
        self._queue.sort(key=lambda j: (-j.priority, j.order))

    def _release(self, job: Job) -> None:
        """Take a job from its node or from the queue."""
        if job.state is JobState.QUEUED:
            self._queue.remove(job)
        elif job.node != NO_NODE:
            del self._at[job.node]
            self._nodes.take(job.node)
            job.node = NO_NODE
