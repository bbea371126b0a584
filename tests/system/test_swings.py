"""Synchronous swings: a gang of all nodes whose phases take them from little to much at the same moment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from flight.executive import Executive
from flight.icd import PARAMETERS
from flight.optimum.cases import NO_ECLIPSE
from flight.pacing import Pacing
from flight.storage import Storage
from hal.icd import Workload
from hal.rig import load_rig
from hal.world import World
from tests.flight.conftest import command

WARM_S, WATCHED_S, TICK_S = 700, 120, 0.1
LIMIT = PARAMETERS["cap_rise"].default
NEVER_BINDS = 20.0


@contextmanager
def gang(rig_name: str, folder: Path, phases: list[tuple[Workload, int]], cap_rise: float) -> Iterator[Executive]:
    """All nodes of a rig in full sun, warm, at one job of such phases (work in 0.001 units)."""
    rig = replace(load_rig(rig_name), orbit=NO_ECLIPSE, timeline=(), faults=())
    with World(rig) as world:
        executive = Executive(world, Storage(folder), pacing=Pacing(clock=False))
        executive.run(10_000_000)
        values = [{"parameter": PARAMETERS["cap_rise"].id, "value": cap_rise}]
        executive.commands.handle(command("parameter_set", 1, values=values), world.t_us)
        executive.commands.handle(command("node_on", 2, node=65535), world.t_us)
        job = {
            "job_id": 7, "workload": Workload.PREFILL, "priority": 9, "work_mu": 4_000_000_000, "checkpoint_s": 60,
            "nodes": rig.nodes, "deadline_s": 0, "checkpoint_cost_s": 0,
            "phases": [{"workload": int(of), "work_mu": mu} for of, mu in phases],
        }  # fmt: skip
        executive.commands.handle(command("job_submit", 3, **job), world.t_us)
        executive.run(round(WARM_S * 1e6))
        try:
            yield executive
        finally:
            executive.close()


def draws_w(executive: Executive, seconds: float) -> list[float]:
    """What all nodes draw, tick by tick."""
    world, drawn = executive.port, []
    for _ in range(round(seconds / TICK_S)):
        executive.run(world.t_us + round(TICK_S * 1e6))
        drawn.append(float(world.truth_now.nodes_w))
    return drawn


def rise_w(drawn: list[float]) -> float:
    """The greatest rise within a second."""
    ticks = round(1 / TICK_S)
    return max(max(drawn[k : k + ticks + 1]) - w for k, w in enumerate(drawn))


@pytest.mark.parametrize("rig", ["desk", "demo"])
def test_the_draw_of_a_gang_does_not_leap(rig: str, tmp_path: Path):
    phases = [(Workload.PREFILL, 5_000), (Workload.DECODE, 5_000)]
    rises = {}
    for cap_rise in (LIMIT, NEVER_BINDS):
        with gang(rig, tmp_path / str(cap_rise), phases, cap_rise) as executive:
            rises[cap_rise] = rise_w(draws_w(executive, WATCHED_S))
    satellite = load_rig(rig).satellite.node
    limit_w = LIMIT * satellite.count * satellite.max_w
    print(rig, rises)
    assert rises[LIMIT] < 1.05 * limit_w
    assert rises[NEVER_BINDS] > 1.35 * limit_w, "there is something to hold"
