"""The subset of the cases that every change flies: how much of the bound is delivered, with and without a fault."""

import numpy as np
import pytest

from flight.optimum.battery import Pack
from flight.optimum.bound import bound_of
from flight.optimum.cases import find
from flight.optimum.environment import environment_of
from flight.optimum.fly import fly
from flight.optimum.ledger import CAUSES, losses_of, phases_of

ORBITS = 2.0
LEAST = {
    "dawn-dusk-600-worst-eclipse": 0.965,
    "half-budget": 0.94,
    "inclined-30": 0.945,
    "hot-radiator": 0.94,
    "pump-loop-loss": 0.93,
    "node-deaths": 0.96,
}
"""Over two orbits a start from cold weighs more than over the three that are published."""


@pytest.mark.parametrize("name", LEAST)
def test_delivered_of_the_bound(name: str):
    flown = fly(find(name), 16, 1, ORBITS)
    env = environment_of(flown.rig, flown.seconds, flown.workload_of)
    bound = bound_of(flown, env)
    assert LEAST[name] < flown.work / bound.work <= 1
    assert flown.violations == 0
    losses = losses_of(flown, env, bound)
    assert list(losses) == list(CAUSES)
    pack, steps = (
        Pack.of_anybody(flown.rig.satellite, len(env.available_w), env.step_s),
        np.arange(len(env.available_w)),
    )
    flown_c = np.interp((steps + 0.5) * env.step_s, flown.samples["t_s"], flown.samples["batt_c"])
    assert (pack.coldest_c < flown_c).all()
    assert (flown_c < pack.warmest_c).all()
    lost = sum(float(loss.sum()) for loss in losses.values())
    assert lost == pytest.approx(1 - flown.work / bound.work, abs=0.002)  # but for the last samples of the truth
    assert sum(steps.sum() for steps in phases_of(env).values()) == len(env.available_w)
