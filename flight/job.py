"""A job and its members: what is to be done, where, and how much of it is safe."""

from __future__ import annotations

from dataclasses import dataclass, field

from flight.icd import JobState

NO_NODE = 65535
ACTIVE = (JobState.ASSIGNED, JobState.RUNNING, JobState.STOPPING)
ENDED = (JobState.DONE, JobState.CANCELLED, JobState.FAILED)
_NEVER_US = 1 << 63


@dataclass(slots=True)
class Member:
    """One node's share of a job. Work in 0.001 work units."""

    total_mu: int
    node: int = NO_NODE
    checkpoint_mu: int = 0
    progress_mu: int = 0
    runs: bool = False  # its node says so
    since_us: int = 0  # given to its node, told to stop, or last seen at work; in this session

    @property
    def done(self) -> bool:
        """All of it is safe."""
        return self.checkpoint_mu >= self.total_mu


@dataclass(slots=True)
class Job:
    """One job. Work in 0.001 work units; deadline_us: mission time, 0: none."""

    job_id: int
    workload: int
    priority: int
    total_mu: int
    checkpoint_s: int
    order: int
    nodes: int = 1
    deadline_us: int = 0
    checkpoint_cost_s: int = 0
    phases: tuple[tuple[int, int], ...] = ()  # workload and work, over and over in place of workload
    state: JobState = JobState.QUEUED
    restarts: int = 0
    late: bool = False  # its deadline passed before it was done, and this was told
    target: int = NO_NODE  # that ground moves it to
    urgency: int = 0  # this and the following: as last weighed (flight.weight); derived, so not stored
    weight_permille: int = 1000
    members: list[Member] = field(default_factory=list)

    def __post_init__(self) -> None:
        share, more = divmod(self.total_mu, self.nodes)
        self.members = [Member(share + (i < more)) for i in range(self.nodes)]

    @property
    def credit_mu(self) -> int:
        """Work that counts as done: what is safe."""
        return sum(m.checkpoint_mu for m in self.members)

    @property
    def progress_mu(self) -> int:
        """Work done, of which that since the last checkpoints may yet be lost."""
        return sum(m.progress_mu for m in self.members)

    @property
    def node(self) -> int:
        """The first node that it is on."""
        return next((m.node for m in self.members if m.node != NO_NODE), NO_NODE)

    def placed(self) -> list[Member]:
        """Members that are on a node."""
        return [m for m in self.members if m.node != NO_NODE]

    def waiting(self) -> list[Member]:
        """Members that need a node for the job to go on."""
        return [m for m in self.members if m.node == NO_NODE and not m.done]

    def rank(self) -> tuple[int, int, int]:
        """Place in the queue: by priority, then the earliest deadline, then age."""
        return (-self.priority, self.deadline_us or _NEVER_US, self.order)

    def worth(self) -> tuple[int, int, int, int]:
        """Who gives way first: the lowest priority, then whose checkpoint costs least, then the last in the queue."""
        return (self.priority, self.checkpoint_cost_s, -(self.deadline_us or _NEVER_US), -self.order)
