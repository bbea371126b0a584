"""The baselines do what their authors say, and keep the rules that everybody keeps."""

from dataclasses import replace

import numpy as np
import pytest

from flight.optimum.bare import RESERVE, Bare, Now
from flight.optimum.baselines import BASELINES, MultiplicativeDecrease, ThreeBands
from hal.fault_kinds import Fault
from hal.rig import load_rig

WORKLOAD_OF = np.array([1, 2, 3, 1])
NOW = Now(
    10.0, 2600.0, 2000.0, 1500.0, 0.8, False, np.full(4, 400.0), np.ones(4, bool), np.full(4, 800.0), 120.0, 800.0, 0.2
)


def desk(**changes):
    return replace(load_rig("desk"), faults=(), timeline=(), **changes)


@pytest.mark.parametrize("name", BASELINES)
def test_a_flight_into_the_dark_keeps_leases_reserve_and_limits(name: str):
    """From the last minutes of sunlight through the eclipse."""
    shipped = load_rig("desk")
    rig = desk(orbit=replace(shipped.orbit, start_s=shipped.orbit.start_s + 3300))
    bare, seconds = Bare(rig, WORKLOAD_OF, BASELINES[name](1)), 2100.0
    flight = bare.fly(seconds)
    truth = bare.plant.truth
    assert flight.lease_over == 0
    assert flight.work > 0.3 * 4 * seconds
    assert truth.eclipse_s > 300
    assert flight.soc_min >= RESERVE - 0.05
    assert truth.uvlo_trips == 0
    assert truth.lcl_trips == 0
    assert truth.die_peak_c < rig.satellite.node.over_temperature_c


def test_dead_nodes_and_lost_loops_deliver_nothing_more():
    """By node: node 2 dies, and the second loop with nodes 2 and 3 stands still, at 600 s."""
    faults = (Fault("off", 600.0, board="node2"), Fault("loop_lost", 600.0, index=1, value=1.0))
    work = {}
    for title, these in (("whole", ()), ("broken", faults)):
        bare = Bare(replace(desk(), faults=these), WORKLOAD_OF, BASELINES["equal-share"](1))
        bare.fly(1500.0)
        work[title] = np.array(list(bare.plant.truth.work[0:4]))
    assert work["broken"][2] < 0.5 * work["whole"][2]
    assert work["broken"][3] < 0.7 * work["whole"][3]
    assert work["broken"][0] == pytest.approx(work["whole"][0], rel=0.05)


def test_equal_share_divides_the_budget():
    assert BASELINES["equal-share"](1)(NOW) == pytest.approx([375.0] * 4)
    half = replace(NOW, up=np.array([True, True, False, False]))
    assert BASELINES["equal-share"](1)(half) == pytest.approx([750.0] * 4)
    assert BASELINES["equal-share"](1)(replace(NOW, budget_w=-50.0)) == pytest.approx([120.0] * 4)


def test_a_static_cap_does_not_follow_the_budget_down():
    policy = BASELINES["static-cap"](1)
    first = policy(NOW)
    assert first == pytest.approx([0.9 * 375.0] * 4)
    assert policy(replace(NOW, budget_w=900.0)) == pytest.approx(first)
    assert policy(replace(NOW, dark=True, budget_w=800.0)) == pytest.approx([0.9 * 200.0] * 4)


def test_caps_in_proportion_to_the_charge():
    policy = BASELINES["proportional-to-soc"](1)
    assert policy(replace(NOW, soc=1.0)) == pytest.approx([800.0] * 4)
    assert policy(replace(NOW, soc=RESERVE)) == pytest.approx([120.0] * 4)
    assert policy(replace(NOW, soc=(1 + RESERVE) / 2)) == pytest.approx([460.0] * 4)


def test_three_bands_cap_hold_and_uncap():
    policy, draw = ThreeBands(), np.array([600.0, 400.0, 300.0, 200.0])
    capped = policy(replace(NOW, draw_w=draw))
    assert draw[0] - capped[0] == pytest.approx(1500 - 0.95 * 1500, abs=ThreeBands.BUCKET_W)
    assert policy(replace(NOW, draw_w=np.full(4, 100.0), t_s=11.0)) == pytest.approx(capped)  # every 3 s
    assert np.all(np.minimum(draw, capped)[1:] == draw[1:])  # the high bucket alone is cut
    held = policy(replace(NOW, draw_w=np.full(4, 0.23 * 1500), t_s=14.0))
    assert held == pytest.approx(capped)  # 92 %: between the bands
    assert policy(replace(NOW, draw_w=np.full(4, 300.0), t_s=17.0)) == pytest.approx([800.0] * 4)


def test_multiplicative_decrease_by_two_thresholds():
    soft, hard = MultiplicativeDecrease(1), MultiplicativeDecrease(1)
    draw = np.full(4, 0.97 * 1500 / 4)
    assert soft(replace(NOW, draw_w=draw)) == pytest.approx(120 + 0.75 * (draw - 120))
    draw = np.full(4, 0.99 * 1500 / 4)
    caps = hard(replace(NOW, draw_w=draw))
    assert caps == pytest.approx(120 + 0.01 * (draw - 120))
    quiet = replace(NOW, draw_w=caps, t_s=NOW.t_s + MultiplicativeDecrease.FREE_S[1] + 1)
    assert np.all(hard(quiet) > caps)  # set free by then, a step at a time
    assert np.all(hard(quiet) < 800)
