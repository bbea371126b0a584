"""Watts go where they are worth most: curves, shares at one price, rest through an eclipse, and the way back."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flight.boards import HOLLOW, hull_of
from flight.executive import Executive
from flight.icd import JobState, NodeState
from flight.optimum.cases import find
from flight.storage import Storage
from hal._native import lib
from hal.satellite import Workload, load_satellite
from hal.world import World

SATELLITE = load_satellite("demo")


def _curves() -> st.SearchStrategy[Workload]:
    inner = st.lists(st.integers(1, 999), min_size=0, max_size=10, unique=True).map(sorted)

    def of(xs: list[int], ys: list[int]) -> Workload:
        n = min(len(xs), len(ys))
        rising = [(0.0, *(v / 1000 for v in values[:n]), 1.0) for values in (xs, ys)]
        return Workload("training", (100.0, 200.0), *rising, clock=rising[0])

    return st.builds(of, inner, inner)


@given(_curves())
def test_a_hull_is_concave_and_the_least_above_the_curve(workload: Workload):
    pieces = hull_of(workload)
    slopes = [speed / width for width, speed, _ in pieces]
    assert all(a > b for a, b in itertools.pairwise(slopes))
    x = np.cumsum([0.0, *(width for width, _, _ in pieces)])
    y = np.cumsum([0.0, *(speed for _, speed, _ in pieces)])
    assert (x[-1], y[-1]) == pytest.approx((1, 1))
    curve = dict(zip(workload.share, workload.speed, strict=True))
    above = np.interp(workload.share, x, y) - np.array(workload.speed)
    assert above.min() > -1e-9
    assert all(min(abs(curve[c] - v) for c in curve if abs(c - u) < 1e-9) < 1e-9 for u, v in zip(x, y, strict=True))
    for (a, b), (_, _, hollow) in zip(itertools.pairwise(x), pieces, strict=True):
        inside = [d for c, d in zip(workload.share, above, strict=True) if a <= c <= b]
        assert hollow == (max(inside) > HOLLOW)


def test_the_curves_that_ship_are_those_of_the_workloads():
    hollow = {w.name: [h for _, _, h in hull_of(w)] for w in SATELLITE.workload}
    assert not any(hollow["training"])
    assert hollow["prefill"][0]
    assert hollow["decode"][0]
    assert not any(hollow["prefill"][1:] + hollow["decode"][1:])


@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_clocks_that_ship_hold_the_shares_that_they_stand_for(number: int):
    workload = SATELLITE.workload[number - 1]
    held = [(clock, share) for clock, share in zip(workload.clock, workload.share, strict=True) if clock > 0]
    assert len(held) >= 4
    for clock, share in held:
        assert lib.plant_clock_power(number, clock) == pytest.approx(share, abs=0.002)


class _Flown:
    def __init__(self, folder: Path, name: str) -> None:
        self.rig = find(name).rig(16, 1)
        self.world = World(self.rig)
        self.executive = Executive(self.world, Storage(folder), timeline=self.rig.timeline)

    def until(self, seconds: float) -> None:
        self.executive.run(round(seconds * 1e6))

    @property
    def nodes(self):
        return [self.executive.loop.nodes[i] for i in range(16)]

    def rate(self, seconds: float = 20.0) -> float:
        before = self.world.truth_now.work_total
        self.until(self.world.t_us / 1e6 + seconds)
        return float(self.world.truth_now.work_total - before) / seconds

    def close(self) -> None:
        self.executive.close()
        self.world.close()


@pytest.fixture
def flown(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[_Flown]:
    flying = _Flown(tmp_path, request.param)
    yield flying
    flying.close()


@pytest.mark.parametrize("flown", ["dawn-dusk-600-worst-eclipse"], indirect=True)
def test_some_nodes_rest_through_an_eclipse_and_all_work_again_behind_it(flown: _Flown):
    flown.until(3600)
    assert all(n.tlm.state == NodeState.ACTIVE for n in flown.nodes)
    flown.until(3900)  # the eclipse began at 3,730 s
    rest = [i for i, n in enumerate(flown.nodes) if n.rest]
    assert 4 <= len(rest) <= 12
    assert all(flown.nodes[i].tlm.state == NodeState.OFF for i in rest)
    jobs = flown.executive.jobs
    queued = [job for job in jobs.jobs.values() if job.state is JobState.QUEUED]
    assert len(queued) == len(rest)
    assert all(job.restarts == 0 for job in queued), "a planned rest is no restart"
    working = [n for n in flown.nodes if n.tlm.state == NodeState.ACTIVE]
    assert {n.tlm.workload for n in working} >= {3}, "what decode does for a watt comes first"
    equal_share_rate = 6.4  # of sixteen nodes on 190 W each, flown before the allocator knew curves
    assert flown.rate() > equal_share_rate
    flown.until(5200)  # the Sun is back since 4,970 s
    assert all(n.tlm.state == NodeState.ACTIVE and not n.rest for n in flown.nodes)
    assert all(job.state is JobState.RUNNING for job in jobs.jobs.values())
    assert flown.rate() > 15.5
    assert sum(flown.world.score()["violations"].values()) == 0


@pytest.mark.parametrize("flown", ["half-budget"], indirect=True)
def test_a_budget_that_binds_is_used_up_and_not_overdrawn(flown: _Flown):
    """Shares follow the curves: decode nearly free, training on a share of its power."""
    flown.until(6600)
    status = flown.executive.loop.status()
    drawn = sum(n.tlm.power_mw for n in flown.nodes)
    assert 0.97 * status.budget_mw < drawn < 1.03 * status.budget_mw
    power = {w: [n.tlm.power_mw for n in flown.nodes if n.tlm.workload == w] for w in (1, 2, 3)}
    assert max(power[3]) < min(power[1]) < max(power[1]) < 700_000
    targets = [n.target_mw for n in flown.nodes]
    flown.until(6605)
    moved = [abs(n.target_mw - t) for n, t in zip(flown.nodes, targets, strict=True)]
    assert sum(moved) < 0.15 * sum(targets), "shares are steady"


@pytest.mark.parametrize("flown", ["half-budget"], indirect=True)
def test_a_clock_holds_a_share_that_a_cap_cannot_know(flown: _Flown):
    """What decode draws changes fivefold with the data; its clock holds it where a watt is worth as much as elsewhere,
    under a cap that does not bind, and what it would draw at full speed stays known."""
    flown.until(6600)
    locked = [i for i in range(16) if flown.nodes[i].lock.mhz and flown.nodes[i].tlm.workload == 3]
    assert len(locked) >= 2
    drawn, bound, away = [], [], []
    for second in range(6601, 6661):
        flown.until(second)
        nodes = [flown.nodes[i] for i in locked]
        drawn.append([n.tlm.power_mw - n.idle_mw for n in nodes])
        for n in nodes:
            if n.lock.mhz and n.lock.mhz == n.sent.mhz:
                bound.append(n.tlm.power_mw > 0.99 * n.tlm.cap_mw)
                away.append(n.dynamic_mw * n.lock.share / (n.tlm.power_mw - n.idle_mw) - 1)
    assert len(away) > 60
    assert np.mean(bound) < 0.03, "but for moments in which the lock changes"
    assert np.quantile(np.abs(away), 0.9) < 0.05
    swings = np.ptp(np.array(drawn), axis=0) / np.mean(drawn, axis=0)
    assert swings.max() > 0.5, "the data did change"


@pytest.mark.parametrize("flown", ["half-budget"], indirect=True)
def test_a_sweep_of_the_array_moves_no_cap(flown: _Flown):
    """The tracker sweeps at 6,603 s: for half a second the array gives nothing, a step after its mode says so."""
    flown.until(6600)
    least = min(flown.rate(1.0) for _ in range(8))
    assert least > 0.9 * flown.rate(10.0)


@pytest.mark.parametrize("flown", ["hot-radiator"], indirect=True)
def test_a_node_settles_just_below_its_limit(flown: _Flown):
    flown.until(3400)
    die, hbm = (round(limit_c * 100) for limit_c in (SATELLITE.node.die_limit_c, SATELLITE.node.hbm_limit_c))
    below = [min(die - n.tlm.die_cdeg, hbm - n.tlm.hbm_cdeg) for n in flown.nodes if n.tlm.workload == 1]
    assert 50 < min(below) <= max(below) < 200
    score = flown.world.score()
    assert score["violations"]["overtemperature"] == 0
