"""The energy balance of whole orbits, and that the satellites as shipped make sense on them."""

from __future__ import annotations

import pytest

from tests.plant.support import DECODE, PREFILL, TRAINING, Bench, balance, satellite


def fly(name: str, period_s: float | None = None, dt_s: float = 0.1) -> Bench:
    """One orbit of an operator who knows: full power in the Sun, what the battery allows in the shadow."""
    bench = Bench(satellite(name))
    sat, truth = bench.sat, bench.truth
    kinds = (TRAINING, PREFILL, DECODE)
    eclipse_w = (sat.battery.discharge_w_allowed - sat.bus.hotel_w) / bench.count * 0.95
    end_s = period_s or bench.plant.elements.period_s
    tick = 0
    while truth.t_s < end_s:
        if tick < bench.count:
            bench.channel(tick)
        if tick % 10 == 0:
            cap_w = sat.node.max_w if truth.sun_fraction == 1 else eclipse_w
            for i in range(bench.count):
                if bench.node_sensors[i].accel_state < 2:
                    bench.nodes[i].command = 1
                else:
                    bench.work(i, kinds[i % 3], cap_w)
        bench.track()
        bench.plant.step(round(dt_s * 1e6))
        tick += 1
    return bench


@pytest.fixture(scope="module", params=["demo", "desk", "ai1"])
def orbit(request) -> Bench:
    return fly(request.param)


def test_the_bus_balances(orbit):
    assert balance(orbit.truth) < 1e-9


def test_the_orbit_closes_to_a_thousandth(orbit):
    """Array used + what the battery gave of its charge = loads + every loss, each integrated for itself."""
    t, b = orbit.truth, orbit.sat.battery
    fresh = Bench(orbit.sat)
    given = fresh.truth.batt_stored_j - t.batt_stored_j - t.batt_rc_j
    losses = t.converter_loss_j + t.batt_loss_j + t.inrush_j
    loads = t.nodes_j + t.hotel_j + t.heater_j
    assert t.array_used_j + given == pytest.approx(loads + losses, rel=1e-3)
    assert t.batt_loss_j > 0
    assert b.soc_floor < t.soc < 1


def test_the_battery_recovers_within_the_orbit(orbit):
    assert orbit.truth.soc > orbit.sat.battery.soc_initial - 0.12  # it ends 1,000 s after the shadow, half recharged
    assert orbit.truth.batt_in_j > 0.5 * orbit.truth.batt_out_j


def test_nothing_leaves_its_limits(orbit):
    t, sat = orbit.truth, orbit.sat
    assert t.bus_min_v > sat.bus.undervoltage_v
    assert t.die_peak_c < sat.node.die_limit_c
    assert t.hbm_peak_c < sat.node.hbm_limit_c
    assert (t.uvlo_trips, t.lcl_trips, t.brown_outs) == (0, 0, 0)
    assert t.array_used_j <= t.array_available_j
    assert t.eclipse_s == pytest.approx(1_033.5, abs=1)


def test_the_second_orbit_ends_as_the_first():
    """Steady from orbit to orbit: full power in the Sun does not eat the battery."""
    bench = fly("desk", period_s=2 * 5_921)
    first = fly("desk", period_s=5_921)
    assert bench.truth.soc >= first.truth.soc - 0.03


def test_work_is_the_sum_over_nodes(orbit):
    t = orbit.truth
    assert sum(t.work[i] for i in range(orbit.count)) == pytest.approx(t.work_total, rel=1e-9)
    assert sum(t.node_j[i] for i in range(orbit.count)) == pytest.approx(t.nodes_j, rel=1e-6)
    assert t.work_total <= t.active_s_total
