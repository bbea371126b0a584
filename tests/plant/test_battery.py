"""The battery against its analytic solution and the points of its table."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.plant.support import Bench, in_shadow, in_sun, satellite

R0 = 24 * 0.0017
PAIRS = ((12 / 25, 0.012 * 280), (4 / 25, 0.004 * 1900))  # R over R0, time constant in s


def resistance(temp_c: float) -> float:
    return R0 * math.exp(19_000 / 8.314462618 * (1 / (temp_c + 273.15) - 1 / 298))


def ocv(bench: Bench, soc: float) -> float:
    b = bench.sat.battery
    return b.series_cells * float(np.interp(soc, np.linspace(0, 1, 11), b.ocv_cell_v))


@pytest.mark.parametrize("dt_s", [0.01, 0.1, 0.5])
def test_a_charge_step_follows_the_analytic_solution(dt_s):
    """Constant current from rest: V = OCV + I (R0 + sum Rk (1 - exp(-t / tau_k)))."""
    bench = Bench(satellite("demo", battery={"soc_initial": 0.5, "sink_w_per_k": 0.0}))
    in_sun(bench)
    bench.power.charge_a = 20.0
    r0, charge = resistance(20), 0.5 * 44 * (1 - 5 * 0.32 / 45)
    for n in range(1, round(60 / dt_s) + 1):
        before = bench.truth.soc
        bench.plant.step(round(dt_s * 1e6))
        assert bench.truth.batt_a == pytest.approx(20.0, rel=1e-9)
        t = (n - 1) * dt_s  # the step's voltage is that of its begin
        rc = sum(ratio * (1 - math.exp(-t / tau)) for ratio, tau in PAIRS)
        expected = ocv(bench, before) + 20.0 * r0 * (1 + rc)
        assert bench.truth.bus_v == pytest.approx(expected, rel=2e-4)
    charge += 20.0 * 0.997 * 60 / 3600
    assert bench.truth.soc == pytest.approx(charge / (44 * (1 - 5 * 0.32 / 45)), rel=2e-3)


def test_rest_voltage_is_the_table():
    for soc in (0.05, 0.1, 0.33, 0.5, 0.95, 1.0):
        bench = Bench(satellite("demo", battery={"soc_initial": soc}, bus={"hotel_w": 0.0}))
        in_shadow(bench)
        bench.run(0.1)
        assert bench.truth.bus_v == pytest.approx(ocv(bench, soc), rel=1e-9)


def test_resistance_doubles_in_the_cold():
    drops = []
    for temp_c in (0.0, 25.0):
        bench = Bench(satellite("demo", battery={"temp_initial_c": temp_c}, bus={"hotel_w": 2_000.0}))
        in_shadow(bench)
        bench.plant.step(1_000)
        drops.append((ocv(bench, 0.85) - bench.truth.bus_v) / -bench.truth.batt_a)
    assert drops[0] / drops[1] == pytest.approx(resistance(0) / resistance(25), rel=1e-3)
    assert drops[1] == pytest.approx(R0, rel=5e-3)


def test_charge_current_and_voltage_limits_hold():
    bench = Bench(satellite("demo", battery={"soc_initial": 0.7}))
    in_sun(bench)
    bench.power.charge_a = 15.0
    bench.run(60)
    assert bench.truth.batt_a == pytest.approx(15.0, rel=1e-9)
    bench.power.charge_v = 94.4
    bench.run(60)
    assert bench.sensors.bus_max_mv <= 94_400 * (1 + 1e-12)
    assert 0 < bench.truth.batt_a < 15
    bench.power.charge_a = 0.0
    bench.run(1)
    assert abs(bench.truth.batt_a) < 1e-9
    assert bench.truth.array_used_w * 0.95 == pytest.approx(bench.truth.hotel_w, rel=1e-6)


def test_the_hardware_stops_what_the_board_does_not():
    bench = Bench(satellite("demo", battery={"soc_initial": 0.97}))
    in_sun(bench)
    bench.power.charge_a, bench.power.charge_v = 1e5, 1e5
    bench.run(600)
    assert bench.sensors.bus_max_mv <= 24 * 4_250 * (1 + 1e-12)
    assert bench.sensors.flags & 4


def test_an_empty_battery_lets_the_bus_fall_and_stays_finite():
    bench = Bench(satellite("demo", battery={"soc_initial": 0.01}))
    in_shadow(bench)
    bench.run(3_000, dt_s=1)
    assert bench.truth.bus_v < 24 * 2.6
    assert math.isfinite(bench.truth.soc)
    in_sun(bench)
    bench.run(3_000, dt_s=1)
    assert bench.truth.soc > 0.1


def test_coulombic_efficiency_and_round_trip():
    bench = Bench(
        satellite(
            "demo",
            battery={"soc_initial": 0.5, "temp_initial_c": 25.0, "heat_capacity_j_per_k": 1e8},
            bus={"hotel_w": 1_300.0},
        )
    )
    in_sun(bench)
    bench.power.charge_a = 44.0 / 3
    bench.run(1_800)
    bench.power.array_v = 1e3
    in_shadow(bench)
    while bench.truth.soc > 0.5:
        bench.run(1)
    trip = bench.truth.batt_out_j / bench.truth.batt_in_j
    drop_v = 44 / 3 * resistance(25) * (1 + sum(ratio for ratio, _ in PAIRS))
    middle_v = ocv(bench, 0.58)
    assert trip == pytest.approx(0.997 * (middle_v - drop_v) / (middle_v + drop_v), abs=2e-3)


def test_heater_and_sink():
    bench = Bench(satellite("demo", battery={"sink_c": -20.0, "temp_initial_c": 5.0}))
    in_sun(bench)
    bench.run(600, dt_s=1)
    cooling = bench.truth.batt_c
    bench.power.heater = 1
    bench.run(600, dt_s=1)
    assert cooling < 5
    assert bench.truth.batt_c > cooling - 600 * 3.0 * (cooling + 20) / 25_000
    assert bench.truth.heater_j == pytest.approx(600 * 60, rel=1e-6)


def test_faults_of_the_pack():
    bench = Bench()
    in_shadow(bench)
    bench.run(1)
    whole = bench.truth.bus_v
    bench.plant.fault("cell_short", 0, 1)
    bench.run(0.1)
    assert whole - bench.truth.bus_v == pytest.approx(whole / 24, rel=0.02)
    bench.plant.fault("cell_short", 0, 0)
    bench.plant.fault("capacity", 0, 0.3)
    soc = bench.truth.soc
    bench.run(600)
    faded = soc - bench.truth.soc
    bench.plant.fault("capacity", 0, 0)
    soc = bench.truth.soc
    bench.run(600)
    assert faded / (soc - bench.truth.soc) == pytest.approx(1 / 0.7, rel=0.02)
