"""Accelerators: states, power-performance curves, caps and clocks, settling, chance that repeats."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal._native import lib
from tests.plant.support import (
    ACTIVE,
    BOOT,
    DECODE,
    HALTED,
    IDLE,
    OFF,
    PREFILL,
    RESET,
    RUN,
    TRAINING,
    Bench,
    in_sun,
    satellite,
)

CALM = {"power_spread": 0.0, "transient_period_s": 0.0}


def running(workload: int = TRAINING, cap_w: float | None = None, nodes: int = 1, **node: float) -> Bench:
    bench = Bench(satellite("demo", node=CALM | node))
    in_sun(bench)
    bench.start(workload, cap_w, nodes)
    bench.run(30)
    return bench


def mean_rate(bench: Bench, seconds: float = 200) -> tuple[float, float]:
    """Work per second and mean draw of node 0."""
    work, energy = bench.truth.work[0], bench.truth.node_j[0]
    bench.run(seconds)
    return (bench.truth.work[0] - work) / seconds, (bench.truth.node_j[0] - energy) / seconds


# ------------------------------------------------------------------ states


def test_boot_takes_its_time_and_its_power():
    bench = Bench(satellite("demo", node=CALM))
    in_sun(bench)
    bench.channel(0)
    bench.run(1)
    assert bench.truth.draw_w[0] == pytest.approx(bench.sat.node.standby_w)
    bench.nodes[0].command = BOOT
    bench.run(60)
    assert bench.node_sensors[0].accel_state == BOOT
    assert bench.node_sensors[0].heartbeat == 0
    assert bench.truth.draw_w[0] == pytest.approx(bench.sat.node.boot_w)
    bench.run(bench.sat.node.boot_s * 0.95 - 60.5)
    assert bench.node_sensors[0].accel_state == BOOT
    bench.run(bench.sat.node.boot_s * 0.1 + 1)
    assert bench.node_sensors[0].accel_state == IDLE
    beat = bench.node_sensors[0].heartbeat
    bench.run(1)
    assert bench.node_sensors[0].heartbeat - beat == 100


def test_every_command_leads_where_the_interface_says():
    bench = running()
    node, seen = bench.nodes[0], bench.node_sensors[0]
    assert seen.accel_state == ACTIVE
    node.command = IDLE
    bench.run(1)
    assert seen.accel_state == IDLE
    node.command = BOOT
    bench.run(1)
    assert seen.accel_state == IDLE  # already up
    node.command = RESET
    bench.run(1)
    assert seen.accel_state == HALTED
    node.command = RUN
    bench.run(1)
    assert seen.accel_state == HALTED  # only a boot leads out
    node.command = BOOT
    bench.run(1)
    assert seen.accel_state == BOOT
    node.command = OFF
    bench.run(1)
    assert seen.accel_state == OFF
    node.command = RUN
    bench.run(1)
    assert seen.accel_state == OFF
    bench.channel(0, on=False)
    bench.run(1)
    assert (seen.bus_mv, seen.mean_ma, bench.truth.draw_w[0]) == (0, 0, 0)


def test_work_restarts_with_a_boot_and_the_truth_does_not():
    bench = running(nodes=1, boot_s=10.0)
    bench.run(20)
    assert bench.node_sensors[0].work_mu == pytest.approx(1_000 * bench.truth.work[0], rel=1e-3)
    done = bench.truth.work[0]
    bench.nodes[0].command = RESET
    bench.run(1)
    bench.nodes[0].command = BOOT
    bench.run(12)
    assert bench.node_sensors[0].work_mu == 0
    assert bench.truth.work[0] == pytest.approx(done, abs=1.0)


def test_a_hang_freezes_everything_but_the_draw():
    bench = running(cap_w=500.0)
    bench.plant.fault("hang", 0, 1)
    bench.run(1)
    beat, work, draw = bench.node_sensors[0].heartbeat, bench.node_sensors[0].work_mu, bench.truth.draw_w[0]
    bench.run(10)
    seen = bench.node_sensors[0]
    assert (seen.heartbeat, seen.work_mu, seen.accel_state) == (beat, work, ACTIVE)
    assert bench.truth.draw_w[0] == pytest.approx(draw, rel=0.05)
    bench.nodes[0].command = RESET
    bench.run(1)
    assert seen.accel_state == HALTED


def test_a_deep_hang_needs_a_power_cycle():
    bench = running()
    bench.plant.fault("hang", 0, 2)
    bench.nodes[0].command = RESET
    bench.run(2)
    assert bench.node_sensors[0].accel_state == ACTIVE
    bench.channel(0, on=False)
    bench.run(1)
    bench.channel(0)
    bench.nodes[0].command = BOOT
    bench.run(1)
    assert bench.node_sensors[0].accel_state == BOOT


# ------------------------------------------------------------------ power and speed


def test_full_speed_training_is_one_unit_a_second():
    rate, draw_w = mean_rate(running())
    assert rate == pytest.approx(1, abs=0.02)
    assert draw_w == pytest.approx(785, rel=0.02)


def test_training_is_concave_in_power():
    rates = [mean_rate(running(cap_w=c))[0] for c in (200.0, 350.0, 500.0, 650.0, 800.0)]
    gains = np.diff(rates)
    assert all(gains > 0)
    assert all(np.diff(gains[1:]) < 0.01)  # above the knee
    assert 1 - mean_rate(running(cap_w=0.86 * 800))[0] == pytest.approx(0.10, abs=0.04)  # published -10 to -15 %


@pytest.mark.parametrize(("y", "speed"), [(0.375, 0.26), (0.531, 0.60), (0.687, 0.85), (0.844, 0.94), (1.0, 1.0)])
def test_prefill_is_an_s_with_a_cliff_near_the_floor(y, speed):
    assert lib.plant_speed(PREFILL, y) == pytest.approx(speed, abs=1e-9)


def test_decode_draws_far_below_its_cap_and_caps_do_not_bind():
    """137 to 300 of 700 W, and as fast at a cap of 350 W as without one."""
    bench = running(DECODE)
    draws = []
    for _ in range(600):
        bench.run(1)
        draws.append(bench.truth.draw_w[0] / bench.sat.node.max_w * 700)
    assert 105 < min(draws) < 180  # a cold chip leaks less than the published one
    assert 260 < max(draws) < 310
    assert mean_rate(running(DECODE, cap_w=350.0))[0] > 0.98


def test_a_clock_lock_saves_power_in_decode_at_little_cost():
    free, locked = running(DECODE), running(DECODE)
    locked.work(0, DECODE, 800.0, clock_mhz=0.3 * 1980)
    rate, draw_w = mean_rate(free)
    slow, low_w = mean_rate(locked)
    assert 0.12 < 1 - low_w / draw_w < 0.35
    assert 0 < 1 - slow / rate < 0.10


def test_a_clock_lock_holds_training_down():
    bench = running()
    bench.work(0, TRAINING, 800.0, clock_mhz=990.0)
    rate, draw_w = mean_rate(bench)
    assert rate == pytest.approx(0.5, abs=0.02)
    assert draw_w < 450


def test_a_cap_below_idle_cannot_be_held():
    rate, draw_w = mean_rate(running(cap_w=20.0))
    assert rate < 1e-4
    assert 60 < draw_w < bench_idle_w() * 1.1


def bench_idle_w() -> float:
    return satellite().node.idle_w


@pytest.mark.parametrize("cap_w", [150.0, 300.0, 600.0])
def test_draw_stays_just_below_the_cap(cap_w):
    bench = running(cap_w=cap_w)
    assert cap_w * 0.985 < bench.truth.draw_w[0] <= cap_w
    bench.plant.fault("overdraw", 0, 0.25)
    bench.run(2)
    assert bench.truth.draw_w[0] == pytest.approx(cap_w * 1.25, rel=0.02)


def test_the_draw_settles_after_a_change_of_cap():
    bench = running(cap_w=700.0)
    bench.nodes[0].cap_w = 300.0
    after = []
    for _ in range(60):
        bench.run(0.01, dt_s=0.01)
        after.append(bench.truth.draw_w[0])
    settled = next(k for k, w in enumerate(after) if w < 300 + 0.05 * 400) * 0.01
    assert 0.2 <= settled <= 0.5


def test_hot_chips_leak():
    bench = running(cap_w=0.0)
    cold = bench.truth.draw_w[0]
    warm = Bench(satellite("demo", node=CALM, thermal={"initial_c": 70.0, "capacity_j_per_m2_k": 90_000.0}))
    in_sun(warm)
    warm.start(cap_w=0.0, nodes=1)
    warm.run(10)
    kelvin = warm.node_sensors[0].die_c - bench.node_sensors[0].die_c
    assert 0.004 < (warm.truth.draw_w[0] / cold - 1) / kelvin < 0.010


@given(st.sampled_from([TRAINING, PREFILL, DECODE]), st.floats(0, 1), st.floats(0, 1))
def test_curves_rise(workload, a, b):
    lo, hi = sorted((a, b))
    assert 0 <= lib.plant_speed(workload, lo) <= lib.plant_speed(workload, hi) + 1e-12 <= 1 + 1e-9
    assert lib.plant_clock_power(workload, lo) <= lib.plant_clock_power(workload, hi) + 1e-12


def test_transients_reach_their_factor_and_keep_the_mean():
    bench = running(cap_w=600.0, transient_period_s=2.0, transient_factor=1.3, transient_ms=8.0)
    peak = 0.0
    work, energy = bench.truth.work[0], bench.truth.node_j[0]
    for _ in range(1_000):
        bench.run(0.1)
        peak = max(peak, bench.node_sensors[0].max_ma * bench.sensors.bus_min_mv * 1e-6)
    assert peak == pytest.approx(1.3 * 600, rel=0.03)
    assert (bench.truth.node_j[0] - energy) / 100 == pytest.approx(597, rel=5e-3)
    assert (bench.truth.work[0] - work) / 100 < 0.9


# ------------------------------------------------------------------ chance


def test_the_same_seed_gives_the_same_flight_to_the_last_bit():
    flights = []
    for seed in (7, 7, 8):
        bench = Bench(satellite("demo", node={"boot_s": 5.0}), seed=seed)
        bench.start()
        bench.run(30)
        flights.append([bench.truth.soc, bench.truth.work_total, *(bench.truth.draw_w[i] for i in range(16))])
    assert flights[0] == flights[1]
    assert flights[0] != flights[2]


def test_nodes_differ_within_the_spread():
    bench = Bench()
    in_sun(bench)
    bench.start(cap_w=0.0)
    bench.run(60)
    draws = [bench.truth.draw_w[i] for i in range(16)]
    assert 0.01 < (max(draws) - min(draws)) / np.mean(draws) < 0.08


def test_memory_errors_come_at_their_rate():
    bench = Bench(satellite("ai1", node={"boot_s": 1.0, "ecc_corrected_per_h": 60.0, "ecc_uncorrected_per_h": 6.0}))
    in_sun(bench)
    for i in range(bench.count):
        bench.channel(i)
        bench.nodes[i].command = BOOT
    bench.run(5)
    bench.run(600, dt_s=1)
    corrected = sum(bench.node_sensors[i].ecc_corrected for i in range(bench.count))
    uncorrected = sum(bench.node_sensors[i].ecc_uncorrected for i in range(bench.count))
    assert corrected == pytest.approx(60 * 160 / 6, rel=0.1)
    assert uncorrected == pytest.approx(6 * 160 / 6, rel=0.3)


def test_upsets_are_more_frequent_in_the_south_atlantic_anomaly():
    bench = Bench(satellite("desk"))
    inside = total = 0
    for _ in range(8_640):
        bench.plant.step(10_000_000)
        inside += bench.truth.in_saa
        total += 1
    assert 0.03 < inside / total < 0.08


def test_hangs_come_at_their_rate():
    bench = Bench(satellite("ai1", node={"boot_s": 1.0, "hang_per_day": 864.0}))
    in_sun(bench)
    for i in range(bench.count):
        bench.channel(i)
        bench.nodes[i].command = BOOT
    bench.run(5)
    for i in range(bench.count):
        bench.nodes[i].command = IDLE
    beats = [0] * bench.count
    bench.run(30)
    hung = 0
    for i in range(bench.count):
        beats[i] = bench.node_sensors[i].heartbeat
    bench.run(0.1)
    hung = sum(bench.node_sensors[i].heartbeat == beats[i] for i in range(bench.count))
    assert hung == pytest.approx(160 * (1 - np.exp(-0.01 * 34)), abs=18)
