"""In the dark, where few watts are left: what flight makes of them against the best that whole nodes can."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flight.executive import Executive
from flight.icd import Event
from flight.loop import LoopEvent
from flight.optimum.cases import find
from flight.storage import Storage
from hal.satellite import Satellite, load_satellite
from hal.world import World

NODES, WATCHED_S, GRID_W, LEVELS = 16, 120, 4.0, 61
REGULATION = 0.995


def best(s: Satellite, watts: float, nodes: list[tuple[int, float, float]]) -> float:
    """The most speed of nodes (workload, W idle, W above that at full speed) on so many watts: each off, or on at one
    of many shares, its floor at least. Tried one node after the other, over what is left (dynamic programming)."""
    cells = int(watts / GRID_W) + 1
    most = np.zeros(cells)
    for number, idle_w, dynamic_w in nodes:
        curve = s.workload[number - 1]
        share = np.linspace(0, 1, LEVELS)
        drawn = np.maximum(idle_w + share * dynamic_w, s.node.floor_w * REGULATION)
        speed = np.interp(np.minimum((drawn - idle_w) / dynamic_w, 1), curve.share, curve.speed)
        then = most.copy()
        for taken, gained in zip((drawn / GRID_W).round().astype(int), speed, strict=True):
            if taken < cells:
                then[taken:] = np.maximum(then[taken:], most[: cells - taken] + gained)
        most = then
    return float(most[-1])


def typical_w(s: Satellite, number: int) -> float:
    return sum(s.workload[number - 1].dynamic_w) / 2


@pytest.mark.parametrize(
    ("case", "dark_s", "least"),
    [("decode-heavy", 4300, 0.94), ("inclined-30", 1500, 0.94), ("mixed-classes", 4300, 0.94)],
)
def test_flight_is_near_the_best_that_whole_nodes_do(case: str, dark_s: int, least: float, tmp_path: Path):
    rig = find(case).rig(NODES, 1)
    workload = [0] * NODES
    with World(rig) as world:
        executive = Executive(world, Storage(tmp_path), timeline=rig.timeline)

        def watch(event: LoopEvent) -> None:
            if event.code == Event.JOB_STARTED:
                workload[event.arg1] = executive.jobs.jobs[event.arg0].workload

        executive.events.listeners.append(watch)
        executive.run(dark_s * 1_000_000)
        before = world.truth_now.work_total
        drawn, seen = [], []
        for second in range(WATCHED_S):
            executive.run((dark_s + second + 1) * 1_000_000)
            nodes = [executive.loop.nodes[i] for i in range(NODES)]
            drawn.append(world.truth_now.nodes_w)
            seen.append([(n.idle_mw / 1e3, n.dynamic_mw / 1e3) for n in nodes])
        speed = (world.truth_now.work_total - before) / WATCHED_S
        assert world.truth_now.sun_fraction < 0.01
        executive.close()
    idle_w, dynamic_w = np.mean(seen, axis=0).T
    on = [n.rest == 0 for n in nodes]
    everybody = [
        (number, idle_w[i], dynamic_w[i] if on[i] else typical_w(rig.satellite, number))
        for i, number in enumerate(workload)
    ]
    most = best(rig.satellite, float(np.mean(drawn)), everybody)
    print(f"{case}: {np.mean(drawn):.0f} W, {sum(on)} nodes on, speed {speed:.2f}, at best {most:.2f}")
    assert least * most < speed


def test_the_oracle_finds_what_can_be_counted_by_hand():
    s = load_satellite("demo")
    floor_w = s.node.floor_w
    assert best(s, floor_w - 2 * GRID_W, [(1, 50.0, 600.0)]) == 0
    assert best(s, 50.0 + 600.0 + GRID_W, [(1, 50.0, 600.0)]) == pytest.approx(1, abs=0.01)
    decode = (3, 80.0, 150.0)
    two = best(s, 2 * (80 + 0.65 * 150) + 2 * GRID_W, [decode, decode])
    assert two == pytest.approx(2 * 0.94, rel=0.01)
