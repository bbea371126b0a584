"""A job with phases and a costly checkpoint, from ground's words to the accelerator and over a restart of flight."""

from pathlib import Path

import pytest

from flight.executive import Executive
from flight.pacing import Pacing
from flight.storage import Storage
from flight.telecommand import Telecommand
from ground.commanding import encode
from ground.errors import UsageError
from hal.icd import Workload
from hal.rig import load_rig
from hal.world import World
from tests.flight.conftest import command

JOB = {"job_id": 7, "workload": "training", "priority": 9, "work_mu": 4_000_000, "checkpoint_s": 10}
CYCLE = {"phases": "prefill:20000,decode:30000", "checkpoint_cost_s": 2}


def test_phases_follow_the_progress_and_outlive_flight(tmp_path: Path):
    message, data = encode("job_submit", JOB | CYCLE)
    world = World(load_rig("desk").with_tick(1.0))

    def fly() -> Executive:
        return Executive(world, Storage(tmp_path), pacing=Pacing(clock=False))

    executive = fly()
    executive.run(60_000_000)
    executive.commands.handle(command("node_on", node=65535), world.t_us)
    executive.commands.handle(Telecommand(2, 100, message.service, message.subtype, 0, data), world.t_us)
    executive.run(300_000_000)
    executive.close()
    executive = fly()
    seen: dict[int, int] = {}
    for second in range(301, 600):
        executive.run(second * 1_000_000)
        node = executive.jobs.jobs[7].node
        if node < 4:
            tlm = executive.loop.nodes[node].tlm
            if tlm.job_id == 7 and tlm.workload:
                expected = Workload.PREFILL if tlm.progress_mu % 50_000 < 20_000 else Workload.DECODE
                seen[int(tlm.workload)] = seen.get(int(tlm.workload), 0) + 1
                assert tlm.workload == expected
    health = executive.loop.nodes[executive.jobs.jobs[7].node].health
    assert health.writing_mu > 5 * 1000, "two seconds of every ten are no progress"
    executive.close()
    world.close()
    assert set(seen) == {Workload.PREFILL, Workload.DECODE}
    assert min(seen.values()) > 50


@pytest.mark.parametrize("phases", ["decode", "decode:", "sleep:5", "decode:-4", "decode:0", "decode:1," * 5])
def test_phases_that_are_none_are_refused(phases: str):
    with pytest.raises(UsageError, match="phase"):
        encode("job_submit", JOB | {"phases": phases})
