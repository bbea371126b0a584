"""A board dies in mid-flight and comes back: lost after two seconds, its watts go to the others, no violation."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from flight.executive import Executive
from flight.icd import BoardStatus, JobState, NodeState
from flight.storage import Storage
from hal.rig import load_rig
from hal.world import World

VICTIM = 2
S = 1_000_000


class Bench:
    """The desk with every board a child process; two of its four strings will be open, so that watts are scarce."""

    def __init__(self, directory: Path) -> None:
        rig = load_rig("desk")
        self.world = World(rig, "process")
        self.flight = Executive(self.world, Storage(directory), timeline=rig.timeline)

    def run_until(self, t_s: float) -> None:
        self.flight.run(round(t_s * S))

    @property
    def t_s(self) -> float:
        return self.world.t_us / S

    def status(self, node: int) -> int:
        return self.flight.loop.board_status(1 + node)

    def others_lease_mw(self) -> int:
        return sum(self.flight.loop.nodes[i].lease_mw for i in range(4) if i != VICTIM)

    def close(self) -> None:
        self.flight.close()
        self.world.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def test_killed_and_started_again(bench: Bench):
    bench.run_until(300)
    for string in range(2):
        bench.world.fault("string_open", string)
    bench.run_until(330)
    loop = bench.flight.loop
    assert [loop.nodes[i].tlm.state for i in range(4)] == [NodeState.ACTIVE] * 4
    shared_mw = bench.others_lease_mw()
    job_id = loop.nodes[VICTIM].tlm.job_id
    progress_mu = loop.nodes[VICTIM].tlm.progress_mu

    pid = bench.world.pid(f"node{VICTIM}")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    killed_s = bench.t_s
    while bench.status(VICTIM) != BoardStatus.LOST:
        bench.run_until(bench.t_s + 0.1)
        assert bench.t_s < killed_s + 5, "never LOST"
    assert bench.t_s - killed_s == pytest.approx(2.0, abs=0.35)  # telemetry is at most 0.2 s old when it dies

    bench.run_until(killed_s + 20)
    assert bench.others_lease_mw() > shared_mw + 50_000
    job = bench.flight.jobs.jobs[job_id]
    assert job.state in (JobState.QUEUED, JobState.ASSIGNED, JobState.RUNNING)
    assert job.node != VICTIM

    bench.world.start(f"node{VICTIM}")
    returned_s = bench.t_s
    bench.run_until(returned_s + 10)
    assert bench.status(VICTIM) == BoardStatus.READY
    bench.run_until(returned_s + 200)
    assert loop.nodes[VICTIM].tlm.state in (NodeState.IDLE, NodeState.ACTIVE)
    assert 0 < job.credit_mu >= min(progress_mu - 60_000, job.total_mu)

    score = bench.world.score()
    assert not any(score["violations"].values()), score["violations"]
    assert score["absences"] == 1
