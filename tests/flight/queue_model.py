"""Nodes for tests of the job queue: boards that hold their own truth about the work they did."""

from __future__ import annotations

from dataclasses import dataclass

from flight.icd import BoardStatus, NodeFlag, NodeState
from flight.job import Job, Member
from flight.room import NodeView


@dataclass
class Given:
    """What the queue told a node: a share of a job from a checkpoint on, or to stop it."""

    job: Job
    member: int
    total: int
    start: int
    stop: bool = False


class Board:
    """A node: runs what it is given, checkpoints, and forgets all but its checkpoint when it is reset."""

    def __init__(self, work: dict[tuple[int, int], list[tuple[int, int]]]) -> None:
        self.status, self.heard, self.up, self.rests = BoardStatus.READY, True, True, False
        self.boot_s = 0
        self.given: Given | None = None
        self.job_id = self.member = 0
        self.total = self.progress = self.checkpoint = 0
        self.running = False
        self.seen: NodeView | None = None
        self._work = work  # by job and member: the pieces (from, to) that boards have done and saved

    @property
    def at_work(self) -> bool:
        return self.up and self.boot_s == 0 and self.running

    def view(self) -> NodeView:
        """Its last telemetry: stale while it is lost."""
        if self.seen is None or self.status == BoardStatus.READY:
            done = self.job_id != 0 and self.progress >= self.total
            state = NodeState.OFF if not self.up and not self.running else NodeState.IDLE
            state = NodeState.BOOT if self.boot_s else NodeState.ACTIVE if self.running else state
            self.seen = NodeView(
                self.status, self.heard, self.up, state, NodeFlag.JOB_DONE if done else 0, self.job_id, self.progress,
                self.checkpoint, self.rests,
            )  # fmt: skip
        return self.seen._replace(status=self.status, up=self.up, rests=self.rests)

    def save(self) -> None:
        """What was done since the last checkpoint is safe."""
        if self.progress > self.checkpoint:
            self._work.setdefault((self.job_id, self.member), []).append((self.checkpoint, self.progress))
        self.checkpoint = self.progress

    def _halt(self) -> None:
        self.running = False
        self.save()

    def roll_back(self) -> None:
        """Its accelerator, or the board, is reset: what was not saved is gone."""
        self.running, self.progress = False, self.checkpoint

    def obey(self) -> None:
        """Take the command that the loop would send next."""
        g = self.given
        if self.status != BoardStatus.READY or self.boot_s:
            return
        if not self.up:
            self._halt()
        elif g is None or g.stop:
            if self.running and (g is None or self.job_id == g.job.job_id):
                self._halt()
            elif g is None:
                self.job_id = self.member = self.total = self.progress = self.checkpoint = 0
        elif self.job_id != g.job.job_id:
            if self.running:
                self._halt()
            self.job_id, self.member, self.total = g.job.job_id, g.member, g.total
            self.progress = self.checkpoint = g.start
            self.running = True
        elif not self.running and self.progress < self.total:
            self.progress = self.checkpoint = max(self.checkpoint, g.start)
            self.running = True

    def work(self, amount: int, saves: bool) -> None:
        """Get on with its job."""
        if not self.at_work:
            return
        self.progress = min(self.total, self.progress + amount)
        if saves or self.progress == self.total:
            self.save()
        if self.progress == self.total:
            self.running = False


class Fleet:
    """The nodes as the queue commands them. `work`: what boards did and saved, by job and member."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.work: dict[tuple[int, int], list[tuple[int, int]]] = {}
        self.all = [Board(self.work) for _ in range(count)]

    def view(self, node: int) -> NodeView:
        return self.all[node].view()

    def give(self, node: int, job: Job, member: Member) -> None:
        index = next(i for i, m in enumerate(job.members) if m is member)
        self.all[node].given = Given(job, index, member.total_mu, member.checkpoint_mu)

    def stop(self, node: int, job: Job) -> None:
        given = self.all[node].given
        member, total = (given.member, given.total) if given else (0, 0)
        self.all[node].given = Given(job, member, total, 0, stop=True)

    def take(self, node: int) -> None:
        self.all[node].given = None

    def saved(self, job_id: int, member: int) -> int:
        """How much of a share is safe on any board, by the boards' own account: the union of their pieces."""
        end = 0
        for start, to in sorted(self.work.get((job_id, member), [])):
            assert start <= end, "a board went on from work that nobody has done"
            end = max(end, to)
        return end
