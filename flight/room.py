"""The nodes as the job queue sees and commands them, and which of them jobs may be given now."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from flight.icd import BoardStatus, JobState, NodeState
from flight.job import Job, Member

_READY = int(BoardStatus.READY)
_IDLE, _RUNS = int(NodeState.IDLE), int(NodeState.ACTIVE)


class NodeView(NamedTuple):
    """What the queue must know of a node."""

    status: int  # BoardStatus
    heard: bool  # telemetry since it was identified
    up: bool  # accelerator up or booting, and wanted so
    state: int  # NodeState
    flags: int
    job_id: int
    progress_mu: int
    checkpoint_mu: int
    rests: bool = False  # flight switched it off, by plan or to cool: it may checkpoint first


class Nodes(Protocol):
    """The nodes as the queue commands them; flight.loop behind it."""

    count: int

    def view(self, node: int) -> NodeView: ...
    def give(self, node: int, job: Job, member: Member) -> None:
        """The node shall run this share of a job from its checkpoint."""

    def stop(self, node: int, job: Job) -> None:
        """The node shall checkpoint this job, run nothing, and keep it in its telemetry."""

    def take(self, node: int) -> None:
        """The node shall run nothing, and forget what it ran."""


class Room:
    """The nodes that jobs may be given now."""

    def __init__(self, nodes: Nodes, at: dict[int, tuple[Job, Member]]) -> None:
        self._views = [nodes.view(node) for node in range(nodes.count)]
        good = [node for node in range(nodes.count) if self.up(node)]
        self.capacity = len(good)
        self.idle = [node for node in good if node not in at and self._views[node].state == _IDLE]
        self.booting = [node for node in good if node not in at and self._views[node].state not in (_IDLE, _RUNS)]
        self._leaving = {node for node in good if node in at and at[node][0].state is JobState.STOPPING}
        self.coming = len(self._leaving)

    def up(self, node: int) -> bool:
        """It runs, idles or boots."""
        view = self._views[node]
        return view.status == _READY and view.heard and view.up

    def may_take(self, node: int, job: Job) -> bool:
        """What a node shows under this number is another share, or another flight's, and is being cleared."""
        return self._views[node].job_id != job.job_id

    def reserve(self, node: int) -> None:
        """It is nobody else's any more."""
        for nodes in (self.idle, self.booting):
            if node in nodes:
                nodes.remove(node)
        if node in self._leaving:
            self._leaving.remove(node)
            self.coming -= 1

    def claim(self, nodes: int) -> None:
        """Keep so many for a job that waits: what idles, then what others leave, then what boots."""
        idle = min(nodes, len(self.idle))
        coming = min(nodes - idle, self.coming)
        del self.idle[:idle], self.booting[: nodes - idle - coming]
        self.coming -= coming
