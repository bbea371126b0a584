"""Both coolant loops stop for ten minutes: accelerators are switched off before they are harmed, and come back."""

from dataclasses import replace
from pathlib import Path

from flight.executive import Executive
from flight.icd import Mode, NodeState
from flight.storage import Storage
from hal.fault_kinds import Fault
from hal.rig import load_rig
from hal.world import World

S = 1_000_000
LOST_S, FOR_S = 900, 600


def test_no_accelerator_is_harmed_without_coolant(tmp_path: Path):
    lost = tuple(Fault("loop_lost", LOST_S, FOR_S, index=loop) for loop in (0, 1))
    rig = replace(load_rig("demo"), faults=lost)
    with World(rig) as world:
        flight = Executive(world, Storage(tmp_path), timeline=rig.timeline)
        flight.run(LOST_S * S)
        assert sum(n.tlm.state == NodeState.ACTIVE for n in flight.loop.nodes[0 : rig.nodes]) == rig.nodes
        flight.run((LOST_S + FOR_S) * S)
        assert world.truth_now.nodes_w < 100
        assert not any(job.restarts > 2 for job in flight.jobs.jobs.values())
        flight.run((LOST_S + FOR_S + 600) * S)
        assert sum(n.tlm.state == NodeState.ACTIVE for n in flight.loop.nodes[0 : rig.nodes]) == rig.nodes
        assert flight.loop.status().mode == Mode.NOMINAL
        assert not any(world.score()["violations"].values()), world.score()["violations"]
        flight.close()
