"""Channels, trip timers, inrush, under-voltage latch and the bus in 1 ms sub-steps."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.plant.support import BOOT, IDLE, OFF, Bench, balance, in_shadow, in_sun, satellite

ON, LIMITING, TRIPPED = 1, 2, 4
UVLO = 1


def status(bench: Bench, i: int) -> int:
    return bench.sensors.channel[i].status


def test_input_capacitance_charges_at_the_limit():
    """C V / I: 900 uF to the bus at 14 A."""
    bench = Bench()
    in_shadow(bench)
    bench.channel(0)
    expected_ms = 900e-6 * bench.truth.bus_v / 14 * 1e3
    limited = 0
    for _ in range(30):
        bench.plant.step(1_000)
        limited += bool(status(bench, 0) & LIMITING)
        assert bench.sensors.channel[0].max_ma <= 14_000 * (1 + 1e-9)
    assert limited == pytest.approx(expected_ms, abs=1.1)
    assert status(bench, 0) == ON
    assert bench.node_sensors[0].bus_mv == pytest.approx(bench.sensors.bus_mv, rel=1e-3)
    charge = 900e-6 * bench.truth.bus_v
    assert bench.truth.inrush_j == pytest.approx(charge * bench.truth.bus_v, rel=0.03)


@pytest.mark.parametrize("trip_ms", [5, 15, 50])
@pytest.mark.parametrize("dt_ms", [1, 10, 100])
def test_an_overload_trips_after_the_set_time(trip_ms, dt_ms):
    bench = Bench()
    in_shadow(bench)
    bench.start(nodes=1, cap_w=700)
    bench.run(2)
    draw_a = bench.node_sensors[0].mean_ma / 1e3  # a little over the limit, so that the node's own converter stays up
    bench.channel(0, limit_a=0.999 * draw_a, trip_s=trip_ms * 1e-3)
    waited = 0
    while not status(bench, 0) & TRIPPED:
        bench.plant.step(dt_ms * 1_000)
        waited += dt_ms
        assert waited <= 200
    assert waited == pytest.approx(max(trip_ms, dt_ms * math.ceil(trip_ms / dt_ms)), abs=1)
    assert bench.truth.lcl_trips == 1
    bench.run(0.2)
    assert status(bench, 0) == TRIPPED
    assert bench.node_sensors[0].accel_state == OFF
    assert bench.node_sensors[0].bus_mv == 0
    bench.channel(0, on=False)
    bench.run(0.1)
    bench.channel(0)
    bench.run(0.1)
    assert status(bench, 0) == ON | LIMITING  # armed anew: it charges
    bench.run(0.1)
    assert status(bench, 0) == ON


def test_a_short_peak_limits_and_does_not_trip():
    bench = Bench(satellite("demo", node={"transient_factor": 1.8, "transient_ms": 8.0, "transient_period_s": 2.0}))
    in_shadow(bench)
    bench.start(nodes=1)
    seen = 0
    for _ in range(600):
        bench.run(0.1)
        seen |= status(bench, 0)
    assert seen & LIMITING
    assert bench.truth.lcl_trips == 0
    assert bench.truth.brown_outs == 0


def test_a_hard_latch_up_trips_and_a_power_cycle_clears_it():
    bench = Bench()
    in_sun(bench)
    bench.start(nodes=2)
    bench.run(1)
    bench.plant.fault("latch_up", 0, 40.0)
    bench.run(0.1)
    assert status(bench, 0) & TRIPPED
    assert status(bench, 1) & ON
    bench.nodes[0].command = OFF
    bench.channel(0, on=False)
    bench.run(1)
    bench.channel(0)
    bench.run(0.5)
    bench.nodes[0].command = BOOT
    bench.run(bench.sat.node.boot_s * 1.06)
    assert bench.node_sensors[0].accel_state == IDLE
    assert bench.truth.lcl_trips == 1


def test_a_soft_latch_up_is_seen_as_current_and_silence():
    bench = Bench()
    in_sun(bench)
    bench.start(nodes=1, cap_w=400)
    bench.run(1)
    before_ma, beat = bench.node_sensors[0].mean_ma, bench.node_sensors[0].heartbeat
    bench.plant.fault("latch_up", 0, 8.0)
    bench.run(1)
    assert bench.node_sensors[0].mean_ma - before_ma == pytest.approx(8_000, rel=0.02)
    assert bench.node_sensors[0].heartbeat == beat
    assert bench.sat.node.latch_up_a * 1e3 == pytest.approx(bench.node_sensors[0].mean_ma, rel=0.1)
    assert not status(bench, 0) & TRIPPED


def stack(together: bool) -> Bench:
    """A cold, low battery in eclipse; every channel switched on at once, or half a second apart."""
    bench = Bench(satellite("demo", battery={"soc_initial": 0.3, "temp_initial_c": -5.0}))
    in_shadow(bench)
    bench.run(1)
    for i in range(bench.count):
        bench.channel(i)
        if not together:
            bench.run(0.5)
    bench.run(1)
    return bench


def test_staggered_inrush_passes():
    bench = stack(together=False)
    assert (bench.truth.lcl_trips, bench.truth.uvlo_trips) == (0, 0)
    assert all(status(bench, i) == ON for i in range(bench.count))


def test_stacked_inrush_beyond_the_battery_trips_the_bus():
    bench = stack(together=True)
    assert bench.truth.bus_min_v < bench.sat.bus.uvlo_v
    assert bench.truth.uvlo_trips >= 1
    assert bench.sensors.flags & UVLO
    assert all(not status(bench, i) & ON for i in range(bench.count))


def test_under_voltage_latch_holds_until_cleared():
    bench = stack(together=True)
    bench.run(60)
    assert bench.truth.bus_v > bench.sat.bus.uvlo_v
    assert bench.sensors.flags & UVLO
    for i in range(bench.count):
        bench.channel(i, on=False)
    bench.power.clear_latches = 1
    bench.run(0.1)
    bench.power.clear_latches = 0
    assert not bench.sensors.flags & UVLO
    bench.channel(0)
    bench.run(0.3)
    assert status(bench, 0) == ON


def test_under_voltage_latch_waits_two_milliseconds():
    bench = Bench(satellite("demo", battery={"soc_initial": 0.5}))
    in_shadow(bench)
    bench.run(1)
    bench.power.uvlo_v = bench.truth.bus_v + 0.5
    bench.plant.step(1_000)
    assert not bench.sensors.flags & UVLO
    bench.plant.step(1_000)
    assert bench.sensors.flags & UVLO


def test_a_node_browns_out_below_its_input_limit():
    bench = Bench(satellite("demo", battery={"soc_initial": 0.5}))
    in_shadow(bench)
    bench.start(nodes=1, cap_w=300)
    bench.run(1)
    bench.channel(0, limit_a=1.0, trip_s=1.0)
    bench.run(0.5)
    assert bench.truth.brown_outs >= 1
    assert bench.node_sensors[0].accel_state == OFF


def scenario(dt_s: float) -> Bench:
    """Staggered starts, boots, all classes, changes of caps, an overload: 160 s, settings at whole seconds."""
    bench = Bench(satellite("demo", node={"boot_s": 30.0}))
    caps = (800.0, 300.0, 650.0, 150.0)
    for second in range(160):
        if second < bench.count:
            bench.channel(second)
            bench.nodes[second].command = BOOT
        if second >= 50 and second % 10 == 0:
            for i in range(bench.count):
                bench.work(i, 1 + i % 3, caps[(i + second // 10) % 4])
        if second == 120:
            bench.channel(5, limit_a=1.0)
        bench.run(1, dt_s=dt_s)
    return bench


@pytest.fixture(scope="module")
def reference() -> Bench:
    return scenario(0.001)


@pytest.mark.parametrize("dt_s", [0.0005, 0.01, 0.05, 0.1])
def test_results_do_not_depend_on_the_step(reference, dt_s):
    a, b = reference.truth, scenario(dt_s).truth
    for name in ("nodes_j", "hotel_j", "array_used_j", "batt_in_j", "batt_out_j", "work_total"):
        assert getattr(b, name) == pytest.approx(getattr(a, name), rel=3e-3), name
    assert b.soc == pytest.approx(a.soc, abs=1e-4)
    assert b.lcl_trips == a.lcl_trips == 1
    assert b.die_max_c == pytest.approx(a.die_max_c, abs=0.3)
    assert b.radiator_c[0] == pytest.approx(a.radiator_c[0], abs=0.05)
    assert b.inrush_j == pytest.approx(a.inrush_j, rel=0.05)


@given(
    st.floats(20, 120),
    st.floats(0.001, 0.5),
    st.floats(0, 15_000),
    st.floats(0, 20_000),
    st.floats(0, 100),
    st.floats(60, 110),
)
def test_the_bus_balances_wherever_it_stands(emf_soc, r_scale, hotel_w, cap_w, charge_a, charge_v):
    bench = Bench(
        satellite(
            "demo", battery={"soc_initial": emf_soc / 120, "cell_r0_ohm": r_scale * 0.01}, bus={"hotel_w": hotel_w}
        )
    )
    in_sun(bench)
    bench.power.charge_a, bench.power.charge_v = charge_a, charge_v
    for i in range(4):
        bench.channel(i)
        bench.nodes[i].command = BOOT
        bench.nodes[i].cap_w = cap_w
    bench.run(2)
    assert balance(bench.truth) < 1e-9
    assert bench.truth.bus_min_v > 0


def test_currents_report_mean_least_and_greatest():
    bench = Bench(satellite("demo", node={"transient_factor": 1.25, "transient_period_s": 1.0}))
    in_shadow(bench)
    bench.start(nodes=1)
    spread = []
    for _ in range(100):
        bench.run(0.1)
        s = bench.node_sensors[0]
        assert s.min_ma <= s.mean_ma * (1 + 1e-9)
        assert s.mean_ma <= s.max_ma * (1 + 1e-9)
        spread.append(s.max_ma / s.mean_ma)
    assert max(spread) == pytest.approx(1.25, abs=0.06)
    assert min(spread) < 1.01
