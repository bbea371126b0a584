"""Where watts are scarce, a job of higher priority is done earlier, and one whose deadline needs it in time; without
weights they would not be. Half an array, and training on sixteen nodes that all want more than there is."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from flight.executive import Executive
from flight.icd import JobState, NodeState
from flight.job import Job
from flight.optimum.cases import find
from flight.pacing import Pacing
from flight.storage import Storage
from hal.rig import Entry
from hal.world import World

NODES = 16
TRAINING, PREFILL, DECODE = 1, 2, 3
ENDLESS_MU = 4_000_000_000
SUBMITTED_S = 6.0


def job(job_id: int, workload: int = TRAINING, priority: int = 5, work_mu: int = ENDLESS_MU, **more: int) -> Entry:
    args = {"job_id": job_id, "workload": workload, "priority": priority, "work_mu": work_mu, "checkpoint_s": 60}
    return Entry(SUBMITTED_S, "job_submit", args | more)


class Flown:
    def __init__(self, folder: Path, case: str, jobs: list[Entry]) -> None:
        rig = replace(find(case).rig(NODES, 1), timeline=(Entry(5.0, "node_on", {"node": 65535}), *jobs))
        self.world = World(rig)
        self.executive = Executive(self.world, Storage(folder), timeline=rig.timeline, pacing=Pacing(clock=False))

    def until(self, t_s: float) -> None:
        self.executive.run(round(t_s * 1e6))

    def job(self, job_id: int) -> Job:
        return self.executive.jobs.jobs[job_id]

    def node(self, node: int):
        return self.executive.loop.nodes[node]

    def close(self) -> None:
        assert sum(self.world.score()["violations"].values()) == 0
        self.executive.close()
        self.world.close()


Fly = Callable[..., Flown]


@pytest.fixture
def fly(tmp_path: Path) -> Iterator[Fly]:
    flying: list[Flown] = []

    def start(case: str, jobs: list[Entry]) -> Flown:
        flying.append(Flown(tmp_path / str(len(flying)), case, jobs))
        return flying[-1]

    yield start
    for flown in flying:
        flown.close()


def nothing_weighs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flight.jobs.weigh", lambda _job, _t_us: False)


def done_s(flown: Flown, until_s: int) -> int:
    """When the first job is done, to a minute."""
    for t_s in range(60, until_s, 60):
        flown.until(t_s)
        if flown.job(1).state is JobState.DONE:
            return t_s
    raise AssertionError("it is not done")


def test_a_job_of_higher_priority_is_done_earlier(fly: Fly, monkeypatch: pytest.MonkeyPatch):
    jobs = [job(1, priority=9, work_mu=2_400_000), *map(job, range(2, NODES + 1))]
    weighted = done_s(fly("half-budget", jobs), 4500)
    nothing_weighs(monkeypatch)
    plain = done_s(fly("half-budget", jobs), 4500)
    assert weighted < 0.75 * plain


def test_a_deadline_that_needs_more_than_an_equal_share_is_met(fly: Fly, monkeypatch: pytest.MonkeyPatch):
    jobs = [job(1, work_mu=2_900_000, deadline_s=3600), *map(job, range(2, NODES + 1))]
    flown = fly("half-budget", jobs)
    weights = []
    for t_s in range(120, 3600, 20):
        flown.until(t_s)
        weights.append(flown.job(1).weight_permille)
    assert flown.job(1).state is JobState.DONE
    assert not flown.job(1).late
    moves = [a for a, b in itertools.pairwise(weights) if a != b]
    assert 2 <= len(moves) <= 10, "it fades as the job gets ahead, and does not go to and fro"
    nothing_weighs(monkeypatch)
    plain = fly("half-budget", jobs)
    plain.until(3700)
    assert plain.job(1).late
    assert plain.job(1).progress_mu < 0.9 * plain.job(1).total_mu


def test_through_an_eclipse_the_least_weight_rests_first(fly: Fly):
    kinds = [TRAINING] * 8 + [PREFILL] * 4 + [DECODE] * 4
    jobs = [job(1 + i, kind, 5 + (i % 2)) for i, kind in enumerate(kinds)]
    flown = fly("dawn-dusk-600-worst-eclipse", jobs)
    flown.until(3600)
    weights = {i: flown.node(i).weight_permille for i in range(NODES)}
    kind_of = [flown.node(i).tlm.workload for i in range(NODES)]
    assert set(weights.values()) == {1000, 1414}
    flown.until(3800)  # the eclipse began at 3,730 s
    rest = [i for i in range(NODES) if flown.node(i).rest]
    assert 4 <= len(rest) <= 12
    split = 0
    for kind in (TRAINING, PREFILL, DECODE):
        of = [i for i in range(NODES) if kind_of[i] == kind]
        at_rest, at_work = ([weights[i] for i in of if (i in rest) == resting] for resting in (True, False))
        split += bool(at_rest and at_work)
        assert max(at_rest, default=0) <= min(at_work, default=1 << 16)
    assert split, "of one workload some rest and some work"
    flown.until(5200)  # the Sun is back since 4,970 s
    assert all(flown.node(i).tlm.state == NodeState.ACTIVE for i in range(NODES))


def test_watts_go_where_they_make_progress_and_stay_there(fly: Fly):
    """A third of the jobs writes checkpoints for 3 s of each 13: what they do for a watt is learned, and they bid less,
    all of them within two orbits, and not in turns."""
    costly = {"checkpoint_s": 10, "checkpoint_cost_s": 3}
    flown = fly("half-budget", [job(i, PREFILL, **(costly if i % 3 == 0 else {})) for i in range(1, NODES + 1)])
    speeds: dict[tuple[int, int], list[float]] = {}
    for t_s in range(600, 12_000, 60):
        flown.until(t_s)
        for i in range(NODES):
            n = flown.node(i)
            if n.tlm.state == NodeState.ACTIVE:
                speeds.setdefault((i, n.tlm.job_id), []).append(float(n.speed))
    moves = {key: sum(a != b for a, b in itertools.pairwise(seen)) for key, seen in speeds.items()}
    assert max(moves.values()) <= 3
    slow = {job_id for (_, job_id), seen in speeds.items() if min(seen) < 1}
    assert slow == {i for i in range(1, NODES + 1) if i % 3 == 0}
    assert flown.executive.jobs.work_mu > 98_000_000, "without, it was 96,894,384"
