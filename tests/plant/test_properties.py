"""What holds whatever the boards do: every number finite, nothing created, faults refused or lifted."""

from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hal.errors import WorldError
from hal.plant import FAULTS
from tests.plant.support import SENTINEL, Bench, balance, every_number, in_shadow, in_sun, satellite

WILD = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True), st.floats(0, 1_000), st.sampled_from([0.0, -1.0, 1e308, 5e-324])
)
WORD = st.one_of(st.integers(-(2**31), 2**31 - 1), st.integers(0, 5))
TICK_US = st.sampled_from([1, 333, 1_000, 10_000, 100_000, 1_000_000, 10_000_000])


def finite(bench: Bench) -> None:
    for struct in (bench.truth[0], bench.sensors[0], *(bench.node_sensors[i] for i in range(bench.count))):
        assert all(math.isfinite(x) for x in every_number(struct))


@given(st.data())
@settings(max_examples=60)
def test_no_actuator_value_makes_nonsense(data):
    bench = Bench(satellite("desk", node={"boot_s": 1.0}, battery={"soc_initial": data.draw(st.floats(0, 1))}))
    data.draw(st.sampled_from([in_sun, in_shadow]))(bench)
    for _ in range(6):
        for name in ("array_v", "charge_a", "charge_v", "uvlo_v"):
            setattr(bench.power, name, data.draw(WILD))
        bench.power.heater, bench.power.clear_latches = data.draw(WORD), data.draw(WORD)
        for i in range(bench.count):
            channel, node = bench.power.channel[i], bench.nodes[i]
            channel.on, channel.limit_a, channel.trip_s = data.draw(st.booleans()), data.draw(WILD), data.draw(WILD)
            node.cap_w, node.clock_mhz = data.draw(WILD), data.draw(WILD)
            node.command, node.workload = data.draw(WORD), data.draw(WORD)
        dt_us = data.draw(TICK_US)
        for _ in range(3):
            bench.plant.step(dt_us)
            finite(bench)
    assert balance(bench.truth) < 1e-6
    assert bench.truth.bus_min_v > 0
    assert -0.2 <= bench.truth.soc <= 1.2


@given(st.sampled_from(sorted(FAULTS)), st.integers(0, 60), st.floats(allow_nan=True, allow_infinity=True))
@settings(max_examples=200)
def test_a_fault_is_refused_or_flown(kind, index, value):
    bench = Bench(satellite("desk", node={"boot_s": 0.5}))
    in_sun(bench)
    bench.start(nodes=2)
    with contextlib.suppress(WorldError):
        bench.plant.fault(kind, index, value)
    bench.run(1)
    finite(bench)


@pytest.mark.parametrize(
    ("kind", "index", "value"),
    [
        ("string_open", 16, 1),
        ("string_shadow", 0, 1.5),
        ("loop_lost", 2, 1),
        ("loop_lost", 0, -0.1),
        ("latch_up", 16, 5),
        ("hang", 0, 3),
        ("hang", 0, 0.5),
        ("cell_short", 0, 24),
        ("cell_short", 0, 1.5),
        ("capacity", 0, 1.0),
        ("no_such_fault", 0, 1),
    ],
)
def test_a_fault_out_of_range_is_refused(kind, index, value):
    bench = Bench()
    with pytest.raises(WorldError, match=kind):
        bench.plant.fault(kind, index, value)


def test_a_lost_loop_heats_its_groups_and_only_those():
    bench = Bench()
    in_sun(bench)
    bench.start()
    bench.run(600)
    before = [bench.node_sensors[i].die_c for i in range(bench.count)]
    bench.plant.fault("loop_lost", 0, 1)
    bench.run(20)
    risen = [bench.node_sensors[i].die_c - before[i] for i in range(bench.count)]
    lost = [i for i in range(bench.count) if i % 8 < 4]
    assert all(risen[i] > 10 for i in lost)
    assert all(risen[i] < 3 for i in range(bench.count) if i not in lost)
    bench.plant.fault("loop_lost", 0, 0)
    bench.run(60)
    assert max(bench.node_sensors[i].die_c - before[i] for i in range(bench.count)) < 5


def test_nothing_is_commanded_and_nothing_happens():
    """All actuators at zero, as before the boards' first word: the battery feeds the hotel."""
    for name in ("demo", "ai1", "desk"):
        bench = Bench(satellite(name))
        for field in ("array_v", "charge_a", "charge_v", "uvlo_v"):
            setattr(bench.power, field, 0.0)
        bench.run(10)
        hotel_a = bench.sat.bus.hotel_w / bench.truth.bus_v
        assert bench.truth.batt_a == pytest.approx(-hotel_a, rel=1e-6)
        assert bench.truth.bus_min_v > 0.9 * bench.truth.bus_v


def test_sensors_are_there_before_the_first_step():
    bench = Bench(satellite("desk"), SENTINEL)
    assert bench.sensors.bus_mv == pytest.approx(1_000 * bench.truth.bus_v)
    assert bench.sensors.batt_c == pytest.approx(20)
    assert bench.node_sensors[0].die_c == pytest.approx(20)
    assert bench.truth.sun_fraction == 1
    finite(bench)


def test_the_largest_satellite_flies():
    bench = Bench(satellite("ai1", node={"count": 1024, "boot_s": 1.0}))
    in_sun(bench)
    for i in range(bench.count):
        bench.channel(i)
        bench.nodes[i].command = 1
        if i % 64 == 63:
            bench.run(0.1)
    bench.run(3)
    for i in range(bench.count):
        bench.work(i, 1 + i % 3, 300.0)
    bench.run(5)
    finite(bench)
    assert balance(bench.truth) < 1e-9
    assert bench.truth.work[1023] > 0
    assert bench.sensors.channel[1023].mean_ma > 0


def test_a_part_keeps_its_plant_alive():
    truth = Bench(satellite("desk")).truth
    before = [Bench(satellite("desk"), seed=s).truth.soc for s in range(20)]
    assert truth.soc == before[0]
