"""The job queue: who runs what, from which checkpoint, and how much work is done.

    queued -> assigned -> running -> done
      ^          |           |
      +------ stopping <-----+          cancelled, failed: from any of them

A job of several nodes is a gang: its work is shared equally, all its members start at once or none does, and it is done
when all are. A job leaves its nodes through `stopping`: they are told to checkpoint, and each is free once it has.
So leaves a job that gives way to one of higher priority, that ground moves, or that lost one of its nodes.

Work is credited by checkpoint: each member has one that never goes back, and whatever a node says counts only as far as
it is beyond. A node gets a job only when it does not show its number any more, so no other share is taken for it.
"""

from __future__ import annotations

import heapq
from bisect import insort
from collections.abc import Callable, Iterable

from flight.icd import BoardStatus, Event, JobState, NodeFlag, NodeState
from flight.job import ACTIVE, ENDED, NO_NODE, Job, Member
from flight.placement import Cooling, Placement
from flight.room import Nodes, NodeView, Room
from flight.weight import weigh

RESTARTS_MAX = 20
QUEUE_MAX = 4096
TAKE_WITHIN_US = 10_000_000  # a node that does not show its job by then gives it back; so long may a checkpoint take
SILENT_US = 30_000_000  # a board that was not heard since the start of this session
_I32 = 0x7FFFFFFF
_READY, _LOST, _REFUSED = int(BoardStatus.READY), int(BoardStatus.LOST), int(BoardStatus.REFUSED)
_RUNS = int(NodeState.ACTIVE)
_DONE = int(NodeFlag.JOB_DONE)


class JobQueue:
    """`changed` collects the ids of jobs that storage must learn of; whoever stores them clears it. `commanded`: jobs
    were submitted, cancelled or moved since the last update."""

    def __init__(
        self, nodes: Nodes, tell: Callable[[Event, int, int, int], None], cooling: Cooling | None = None
    ) -> None:
        self.jobs: dict[int, Job] = {}
        self.changed: set[int] = set()
        self.commanded = False
        self.counts = dict.fromkeys(JobState, 0)
        self._nodes = nodes
        self._tell = tell
        self._cooling = cooling or Cooling.none(nodes.count)
        self._queue: list[Job] = []  # by rank
        self._at: dict[int, tuple[Job, Member]] = {}  # by node
        self._left: dict[int, tuple[Job, Member]] = {}  # by a node that went away with more than is known
        self._moves: dict[int, Job] = {}
        self._deadlines: list[tuple[int, int]] = []  # a heap of deadline_us, job_id
        self._ended: list[Job] = []  # whose end housekeeping has not shown
        self._credit_mu = 0

    # ------------------------------------------------------------ commands
    def submit(
        self,
        job_id: int,
        workload: int,
        priority: int,
        total_mu: int,
        checkpoint_s: int,
        *,
        nodes: int = 1,
        deadline_us: int = 0,
        checkpoint_cost_s: int = 0,
        phases: tuple[tuple[int, int], ...] = (),
    ) -> bool:
        """Queue a new job; False when there is one of this id."""
        if job_id in self.jobs:
            return False
        job = Job(
            job_id, workload, priority, total_mu, checkpoint_s, len(self.jobs), nodes, deadline_us, checkpoint_cost_s,
            phases,
        )  # fmt: skip
        self.jobs[job_id] = job
        self.counts[JobState.QUEUED] += 1
        self._enqueue(job)
        self._watch_deadline(job)
        self.changed.add(job_id)
        self.commanded = True
        return True

    @property
    def full(self) -> bool:
        """No more jobs can be queued."""
        return len(self._queue) >= QUEUE_MAX

    def cancel(self, job_id: int) -> bool:
        """End a job that has not ended; False when there is none. Its checkpoints stay credited."""
        job = self.jobs.get(job_id)
        if job is None or job.state in ENDED:
            return False
        for member in job.placed():
            self._release(member)
        self._end(job, JobState.CANCELLED)
        self.commanded = True
        return True

    def move(self, job_id: int, node: int) -> None:
        """A job of one node that has not ended shall run on this node: it and what runs there leave their nodes by
        checkpoint as soon as the node is up. Ground goes before priorities. Until then it stays where it is."""
        job = self.jobs[job_id]
        if job.node != node or job.state is JobState.STOPPING:
            job.target = node
            self._moves[job_id] = job
            self.commanded = True

    def forget_move(self, job_id: int) -> None:
        """The job goes where there is room again."""
        job = self._moves.pop(job_id, None)
        if job is not None:
            job.target = NO_NODE

    def restore(self, jobs: Iterable[Job], t_us: int) -> None:
        """Take what storage knew; active jobs are left on their nodes until these say otherwise. A node that this
        satellite does not have is lost to its job."""
        for job in jobs:
            self.jobs[job.job_id] = job
            self.counts[job.state] += 1
            self._credit_mu += job.credit_mu
            self._watch_deadline(job)
            if job.state is JobState.QUEUED:
                self._enqueue(job)
            elif job.state in ACTIVE:
                self._adopt(job, t_us)
        for node in range(self._nodes.count):
            if node not in self._at:
                self._nodes.take(node)

    def _adopt(self, job: Job, t_us: int) -> None:
        weigh(job, t_us)
        for member in job.placed():
            if member.node >= self._nodes.count or member.node in self._at:
                member.node = NO_NODE
                continue
            member.since_us = t_us
            member.progress_mu = member.checkpoint_mu
            self._at[member.node] = (job, member)
            self._give(job, [member])
        if job.waiting() or job.state is JobState.STOPPING:
            self._stop(job, t_us)
            self._settle(job, NO_NODE, t_us)

    # ------------------------------------------------------------ what housekeeping shows
    @property
    def work_mu(self) -> int:
        """All work credited since the first boot."""
        return self._credit_mu

    def open_jobs(self) -> list[Job]:
        """Jobs that have not ended, those on nodes first."""
        return self._active() + self._queue

    def take_ended(self) -> list[Job]:
        """Jobs that ended since the last call."""
        ended, self._ended = self._ended, []
        return ended

    def _active(self) -> list[Job]:
        return list({job.job_id: job for job, _ in self._at.values()}.values())

    # ------------------------------------------------------------ every cycle
    def update(self, t_us: int) -> None:
        """Follow the nodes, then give free ones the next jobs, and weigh those that run."""
        self._find_left(t_us)
        for job in self._active():
            for member in job.placed():
                self._follow(job, member, self._nodes.view(member.node), t_us)
        while self._deadlines and self._deadlines[0][0] <= t_us:
            self._miss(self.jobs[heapq.heappop(self._deadlines)[1]], t_us)
        if self._queue or self._moves:
            self._assign(t_us)
        for job in self._active():
            if job.state is not JobState.STOPPING and weigh(job, t_us):
                self._give(job, job.placed())
        self.commanded = False

    def _find_left(self, t_us: int) -> None:
        """A node that was lost is back, and still has the checkpoint of a job that has not gone on elsewhere."""
        for node, (job, member) in list(self._left.items()):
            view = self._nodes.view(node)
            if member.node != NO_NODE or job.state in ENDED:
                del self._left[node]
            elif view.status == _READY and view.heard:
                del self._left[node]
                if view.job_id == job.job_id:
                    self._credit(job, member, view.checkpoint_mu)
                    self._settle(job, node, t_us)

    def _follow(self, job: Job, member: Member, view: NodeView, t_us: int) -> None:
        waited_us = t_us - member.since_us
        if view.status in (_LOST, _REFUSED):
            return self._leave(job, member, t_us, lost=True)
        if view.status != _READY or not view.heard:
            if waited_us > SILENT_US:
                self._leave(job, member, t_us, lost=True)
            return None
        shows = view.job_id == job.job_id
        if shows:
            self._progress(job, member, view, t_us)
            if member.node == NO_NODE:
                return None
        if not view.up or job.state is JobState.STOPPING:
            at_work = shows and view.state == _RUNS  # and its last checkpoint is yet to come
            if not at_work or waited_us > TAKE_WITHIN_US:
                self._leave(job, member, t_us, lost=not view.up and not view.rests)
        elif not shows and waited_us > TAKE_WITHIN_US:
            self._leave(job, member, t_us, lost=True)
        return None

    def _progress(self, job: Job, member: Member, view: NodeView, t_us: int) -> None:
        done = bool(view.flags & _DONE)
        member.progress_mu = min(view.progress_mu, member.total_mu)
        member.runs = view.state == _RUNS
        self._credit(job, member, member.total_mu if done else view.checkpoint_mu)
        if done:
            self._finish(job, member, t_us)
        elif member.runs and view.up and job.state is not JobState.STOPPING:
            member.since_us = t_us
            if job.state is JobState.ASSIGNED and all(m.runs or m.done for m in job.members):
                self._enter(job, JobState.RUNNING)
                self._tell(Event.JOB_STARTED, t_us, job.job_id, job.node)

    def _credit(self, job: Job, member: Member, checkpoint_mu: int) -> None:
        checkpoint_mu = min(checkpoint_mu, member.total_mu)
        if checkpoint_mu <= member.checkpoint_mu:
            return
        self._credit_mu += checkpoint_mu - member.checkpoint_mu
        member.checkpoint_mu = checkpoint_mu
        member.progress_mu = max(member.progress_mu, checkpoint_mu)
        self.changed.add(job.job_id)
        if member.node != NO_NODE and job.state is not JobState.STOPPING:
            self._give(job, [member])

    def _finish(self, job: Job, member: Member, t_us: int) -> None:
        node = member.node
        self._release(member)
        self._settle(job, node, t_us)

    def _settle(self, job: Job, node: int, t_us: int) -> None:
        """Something happened to it on this node: it may be done, or free to be queued again."""
        self.changed.add(job.job_id)
        if all(m.done and m.node == NO_NODE for m in job.members):
            self._end(job, JobState.DONE)
            self._tell(Event.JOB_FINISHED, t_us, job.job_id, node)
        elif job.state is JobState.STOPPING and not job.placed():
            self._requeue(job, t_us)

    # ------------------------------------------------------------ leaving nodes
    def _stop(self, job: Job, t_us: int) -> None:
        """Its nodes shall checkpoint it and be free."""
        if job.state is not JobState.STOPPING:
            self._enter(job, JobState.STOPPING)
        for member in job.placed():
            member.since_us = t_us
            self._nodes.stop(member.node, job)

    def _leave(self, job: Job, member: Member, t_us: int, *, lost: bool) -> None:
        node = member.node
        self._release(member)
        if lost:
            self._left[node] = (job, member)
        if job.state is not JobState.STOPPING:
            job.restarts += lost
            self._stop(job, t_us)
        self._settle(job, node, t_us)

    def _requeue(self, job: Job, t_us: int) -> None:
        if job.restarts > RESTARTS_MAX:
            self._end(job, JobState.FAILED)
            return
        self._enter(job, JobState.QUEUED)
        self._enqueue(job)
        self._tell(Event.JOB_REQUEUED, t_us, job.job_id, min(job.credit_mu, _I32))

    def _miss(self, job: Job, t_us: int) -> None:
        if job.state not in ENDED:
            job.late = True
            self.changed.add(job.job_id)
            self._tell(Event.JOB_LATE, t_us, job.job_id, min(job.total_mu - job.credit_mu, _I32))

    # ------------------------------------------------------------ assignment
    def _assign(self, t_us: int) -> None:
        room = Room(self._nodes, self._at)
        if not room.capacity:
            return
        self._make_moves(room, t_us)
        placement = Placement(self._cooling, [(node, job.workload) for node, (job, _) in self._at.items()])
        at = 0
        queue = [job for job in self._queue if job.target == NO_NODE] if self._moves else list(self._queue)
        while at < len(queue):
            equals = self._equals(queue, at, len(room.idle) + len(room.booting))
            if equals:
                self._start_singles(equals, room, placement, t_us)
                at += len(equals)
                if room.booting or room.idle:
                    continue
            if at >= len(queue) or not self._start_or_wait(queue[at], room, placement, t_us):
                return
            at += 1

    def _make_moves(self, room: Room, t_us: int) -> None:
        for job in list(self._moves.values()):
            node = job.target
            holder = self._at.get(node)
            free = node in room.idle and room.may_take(node, job)
            if free or (holder is not None and room.up(node)):
                for other in (job, holder[0] if holder else job):
                    if other.state in (JobState.ASSIGNED, JobState.RUNNING):
                        self._stop(other, t_us)
            if free and job.state is JobState.QUEUED:
                self._start(job, [node], t_us)
            room.reserve(node)

    @staticmethod
    def _equals(queue: list[Job], at: int, most: int) -> list[Job]:
        """The jobs of one node from here on that have the same priority and deadline, as many as there is room for."""
        rank, to = queue[at].rank()[:2], at
        while to < len(queue) and to - at < most and queue[to].rank()[:2] == rank and len(queue[to].waiting()) == 1:
            to += 1
        return queue[at:to]

    def _start_singles(self, jobs: list[Job], room: Room, placement: Placement, t_us: int) -> None:
        nodes = placement.share([job.workload for job in jobs], room.idle, room.booting)
        for job, node in zip(jobs, nodes, strict=True):
            if node in room.idle and room.may_take(node, job):
                self._start(job, [node], t_us)
            room.reserve(node)

    def _start_or_wait(self, job: Job, room: Room, placement: Placement, t_us: int) -> bool:
        """Start a job for which nodes are free, or have others make way for it. False: it waits for nodes that have to
        be kept for it, so nobody behind it may start."""
        needs = len(job.waiting())
        idle = [node for node in room.idle if room.may_take(node, job)]
        if len(idle) >= needs:
            nodes = placement.share([job.workload] * needs, idle, [])
            self._start(job, nodes, t_us)
            for node in nodes:
                room.reserve(node)
            return True
        if needs > room.capacity:
            return True  # it waits for nodes that are away, and nobody waits for it
        lacks = needs - len(room.idle) - room.coming - len(room.booting)
        if lacks > 0:
            victims = self._victims(job.priority, lacks)
            if not victims:
                return False
            for victim in victims:
                room.coming += len(victim.placed())
                self._stop(victim, t_us)
        room.claim(needs)
        return True

    def _victims(self, priority: int, nodes: int) -> list[Job]:
        """Whom to stop for so many nodes: the least first, and nobody in vain."""
        victims, freed = [], 0
        for job in sorted((j for j in self._active() if j.priority < priority), key=Job.worth):
            if job.state is JobState.STOPPING:
                continue
            if freed >= nodes:
                break
            victims.append(job)
            freed += len(job.placed())
        if freed < nodes:
            return []
        for job in victims[::-1]:
            if freed - len(job.placed()) >= nodes:
                victims.remove(job)
                freed -= len(job.placed())
        return victims

    def _start(self, job: Job, nodes: list[int], t_us: int) -> None:
        self._queue.remove(job)
        self.forget_move(job.job_id)
        self._enter(job, JobState.ASSIGNED)
        weigh(job, t_us)
        for member, node in zip(job.waiting(), nodes, strict=True):
            member.node, member.since_us, member.runs = node, t_us, False
            self._at[node] = (job, member)
            self._give(job, [member])

    def _give(self, job: Job, members: Iterable[Member]) -> None:
        """Tell nodes what they run; one that runs it already only learns where to go on, and the weight."""
        for member in members:
            self._nodes.give(member.node, job, member)

    # ------------------------------------------------------------ bookkeeping
    def _enter(self, job: Job, state: JobState) -> None:
        self.counts[job.state] -= 1
        self.counts[state] += 1
        job.state = state
        self.changed.add(job.job_id)

    def _end(self, job: Job, state: JobState) -> None:
        if job.state is JobState.QUEUED:
            self._queue.remove(job)
        self.forget_move(job.job_id)
        self._enter(job, state)
        self._ended.append(job)

    def _enqueue(self, job: Job) -> None:
        insort(self._queue, job, key=Job.rank)

    def _watch_deadline(self, job: Job) -> None:
        if job.deadline_us and not job.late and job.state not in ENDED:
            heapq.heappush(self._deadlines, (job.deadline_us, job.job_id))

    def _release(self, member: Member) -> None:
        """Take a member from its node."""
        del self._at[member.node]
        self._nodes.take(member.node)
        member.node, member.runs = NO_NODE, False
        member.progress_mu = member.checkpoint_mu
