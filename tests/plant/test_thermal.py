"""Radiator, coolant loops and chips against the Stefan-Boltzmann law and the published points."""

from __future__ import annotations

import math

import pytest

from hal._native import lib
from tests.plant.support import DECODE, Bench, in_sun, satellite

RADIATOR = {
    "radiator_m2": 220.0,
    "emissivity": 0.91,
    "absorptance_solar": 0.0,
    "radiator_w_per_k": 1e6,
    "flow_w_per_k": 1e6,
}


def heated(heat_w: float, **thermal: float) -> Bench:
    """AI1 with nothing but a hotel load of heat_w, in the Sun on an array that can feed it without loss."""
    sat = satellite(
        "ai1",
        bus={"hotel_w": heat_w},
        array={"string_isc_a": 20.0, "converter_efficiency": 1.0, "area_m2": 3_000.0},
        thermal=RADIATOR | thermal,
        node={"heat_capacity_j_per_k": 1.0},
    )
    bench = Bench(sat)
    in_sun(bench)
    return bench


@pytest.mark.parametrize(("heat_kw", "kelvin"), [(20, 230), (60, 282), (120, 328), (150, 345), (165, 353)])
def test_radiator_equilibrium(heat_kw, kelvin):
    bench = heated(heat_kw * 1e3)
    bench.run(25_000, dt_s=5)
    assert bench.truth.hotel_w == pytest.approx(heat_kw * 1e3, rel=1e-9)
    assert bench.truth.radiator_c[0] + 273.15 == pytest.approx(kelvin, abs=3)
    infrared = lib.plant_edge_view_factor(6_978.137) * 237
    law = ((heat_kw * 1e3 / 220 / 0.91 + infrared) / 5.670374e-8) ** 0.25
    assert bench.truth.radiator_c[0] + 273.15 == pytest.approx(law, abs=0.3)


def test_sensitivity_at_120_kw():
    temps = []
    for heat_w in (118e3, 122e3):
        bench = heated(heat_w)
        bench.run(8_000, dt_s=2)
        temps.append(bench.truth.radiator_c[0])
    assert (temps[1] - temps[0]) / 4 == pytest.approx(0.62, abs=0.03)


@pytest.mark.parametrize(("kg_per_m2", "kelvin"), [(4, 240), (6, 250), (8, 258)])
def test_panel_at_the_end_of_the_longest_eclipse(kg_per_m2, kelvin):
    """From 120 kW to 15 kW for 20.7 min: the published panel temperatures, coolant not counted."""
    per_m2 = {4: 0.49e6, 6: 0.69e6, 8: 0.88e6}[kg_per_m2] / 220
    hot = heated(120e3, capacity_j_per_m2_k=per_m2, coolant_j_per_k=1e3)
    hot.run(8_000, dt_s=2)
    cold = heated(15e3, capacity_j_per_m2_k=per_m2, coolant_j_per_k=1e3, initial_c=hot.truth.radiator_c[0])
    cold.run(1_242, dt_s=1)
    assert cold.truth.radiator_c[0] + 273.15 == pytest.approx(kelvin, abs=3)


def test_panel_time_constant():
    """C dT/dt = -4 eps sigma A T^3 (T - T_end) close to the equilibrium."""
    bench = heated(120e3, coolant_j_per_k=1e3)
    bench.run(8_000, dt_s=2)
    start = bench.truth.radiator_c[0]
    changed = heated(119e3, coolant_j_per_k=1e3, initial_c=start)
    tau = 3136 / (4 * 0.91 * 5.670374e-8 * (start + 273.15) ** 3)
    changed.run(round(tau), dt_s=1)
    moved = changed.truth.radiator_c[0] - start
    changed.run(8_000, dt_s=2)
    assert moved / (changed.truth.radiator_c[0] - start) == pytest.approx(1 - math.exp(-1), abs=0.02)


def test_one_loop_of_two_holds_75_kw_at_353_k():
    bench = heated(75e3)
    bench.plant.fault("loop_lost", 1, 1)
    bench.run(12_000, dt_s=2)
    assert bench.truth.radiator_c[0] + 273.15 == pytest.approx(345.5, abs=10)
    assert bench.truth.radiator_c[1] + 273.15 < 210  # the lost loop's panel gets nothing


@pytest.mark.parametrize(("capacity", "published"), [(400, 1.75), (800, 0.88), (1_500, 0.47)])
def test_total_flow_loss_heats_a_node_of_700_w(capacity, published):
    bench = Bench(
        satellite("demo", node={"heat_capacity_j_per_k": float(capacity), "power_spread": 0.0, "boot_w": 700.0})
    )
    in_sun(bench)
    bench.channel(0)
    bench.run(0.2)
    bench.nodes[0].command = 1
    bench.run(30)
    for loop in (0, 1):
        bench.plant.fault("loop_lost", loop, 1)
    bench.run(5)
    before = bench.node_sensors[0].die_c
    bench.run(10)
    assert bench.truth.draw_w[0] == pytest.approx(700, rel=1e-3)
    assert (bench.node_sensors[0].die_c - before) / 10 == pytest.approx(published, rel=0.05)


def test_heat_comes_out_where_it_goes_in():
    """At equilibrium the panels radiate what the loads and the losses put in."""
    bench = Bench()
    in_sun(bench)
    bench.start()
    bench.run(15_000, dt_s=1, track=True)
    before, loads = bench.truth.radiated_j, bench.truth.nodes_j + bench.truth.hotel_j + bench.truth.converter_loss_j
    bench.run(1_000, track=True)
    loads = bench.truth.nodes_j + bench.truth.hotel_j + bench.truth.converter_loss_j - loads
    assert bench.truth.radiated_j - before == pytest.approx(loads, rel=2e-3)


@pytest.mark.parametrize("name", ["demo", "ai1", "desk"])
def test_full_power_stays_a_few_kelvin_below_the_limits(name):
    bench = Bench(satellite(name))
    in_sun(bench)
    bench.start(nodes=bench.count)
    bench.run(5_000, dt_s=1, track=True)
    node = bench.sat.node
    assert 2 < node.die_limit_c - bench.truth.die_max_c < 12
    assert 2 < node.hbm_limit_c - bench.truth.hbm_max_c < 15
    assert bench.truth.nodes_w > 0.96 * bench.count * node.max_w


def test_die_and_hbm_above_the_plate():
    bench = Bench(satellite("demo", node={"power_spread": 0.0}))
    in_sun(bench)
    bench.start()
    bench.run(600, track=True)
    node = bench.sat.node
    for i in range(bench.count):
        s, draw_w = bench.node_sensors[i], bench.truth.draw_w[i]
        plate_c = s.coolant_c + draw_w * node.plate_r_k_per_w
        assert s.die_c - plate_c == pytest.approx(draw_w * node.die_r_k_per_w, abs=0.6)
        assert s.hbm_c - plate_c == pytest.approx(draw_w * node.hbm_r_k_per_w, abs=0.6)


def test_decode_heats_the_hbm_more_than_the_core():
    bench = Bench()
    in_sun(bench)
    bench.start(workload=DECODE)
    bench.run(60)
    assert max(bench.node_sensors[i].hbm_c - bench.node_sensors[i].die_c for i in range(bench.count)) > 5
    assert bench.truth.die_max_c < 60
