"""What flight learns of the satellite, and which sensors it finds broken: against the plant's truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flight import icd
from flight._native import ffi, lib
from flight.executive import Executive
from flight.icd import Event, Sensor, SensorState
from flight.loop import LoopEvent
from flight.optimum.cases import CASES, find
from flight.storage import Storage
from hal.fault_kinds import Fault
from hal.rig import Rig, load_rig
from hal.world import World

ORBIT_S = 5800
FOUND_S, BACK_S = 8.0, 36.0
CHECKS = (Event.SENSOR_EXCLUDED, Event.SENSOR_READMITTED)


class _Believing:
    """A world of which flight believes another satellite's file."""

    def __init__(self, world: World, rig: Rig) -> None:
        self._world, self.rig = world, rig

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world, name)


class Flown:
    def __init__(self, folder: Path, rig: Rig, believed: Rig | None = None) -> None:
        self.world = World(rig)
        port: Any = _Believing(self.world, believed) if believed else self.world
        self.executive = Executive(port, Storage(folder), timeline=rig.timeline)
        self.told: list[LoopEvent] = []
        self.executive.events.listeners.append(self._hear)
        self._data = ffi.new("uint8_t[]", 1024)

    def _hear(self, event: LoopEvent) -> None:
        if event.code in CHECKS:
            self.told.append(event)

    def until(self, seconds: float) -> Flown:
        self.executive.run(round(seconds * 1e6))
        return self

    @property
    def estimate(self) -> dict[str, Any]:
        size = lib.ctl_hk_estimate(self.executive.loop.pointer, self._data)
        return icd.decode("hk_estimate", ffi.buffer(self._data, size)[:])

    @property
    def violations(self) -> dict[str, int]:
        return {name: count for name, count in self.world.score()["violations"].items() if count}

    def out(self, code: Event = Event.SENSOR_EXCLUDED) -> list[tuple[Sensor, float]]:
        return [(Sensor(e.arg0), e.t_us / 1e6) for e in self.told if e.code == code]

    def close(self) -> None:
        self.executive.close()
        self.world.close()


@pytest.fixture
def fly(tmp_path: Path) -> Iterator[Callable[..., Flown]]:
    flown: list[Flown] = []

    def start(*args: Any) -> Flown:
        flown.append(Flown(tmp_path / str(len(flown)), *args))
        return flown[-1]

    yield start
    for f in flown:
        f.close()


# ------------------------------------------------------------------ what is learned
def _changed(rig: Rig, section: str, **fields: Any) -> Rig:
    satellite = rig.satellite
    return replace(rig, satellite=replace(satellite, **{section: replace(getattr(satellite, section), **fields)}))


@pytest.mark.parametrize(("capacity", "resistance"), [(1.0, 1.0), (0.7, 1.0), (1.0, 2.0), (0.7, 2.0), (0.85, 1.5)])
def test_an_aged_battery_is_learned_in_an_orbit_and_a_half(fly, capacity: float, resistance: float):
    new = find("dawn-dusk-600-worst-eclipse").rig(16, 1)
    battery = new.satellite.battery
    aged = _changed(
        new, "battery", capacity_ah=battery.capacity_ah * capacity, cell_r0_ohm=battery.cell_r0_ohm * resistance
    )
    flown = fly(aged, new).until(1.5 * ORBIT_S)
    e = flown.estimate
    assert e["capacity_known"] >= 2
    assert e["capacity_mah"] == pytest.approx(44_000 * capacity, rel=0.03)
    assert e["resistance_known"] >= 100
    assert e["resistance_uohm"] == pytest.approx(24 * 1700 * 1.64 * resistance, rel=0.05)
    assert flown.told == []
    truth = flown.world.truth_now.soc
    used = flown.executive.loop.status().soc_cpct / 1e4
    assert used < truth + 0.02
    assert flown.violations == {}


def test_half_an_array_is_known_from_the_time_it_is_all_wanted(fly):
    """0.967 of the light at 1 AU in July, 0.99 of the maximum found by the tracker."""
    whole = find("dawn-dusk-600-worst-eclipse").rig(16, 1)
    flown = fly(find("half-budget").rig(16, 1), whole).until(1500)
    assert flown.estimate["array_known"] > 60
    assert flown.estimate["array_permille"] == pytest.approx(500 * 0.967 * 0.99, abs=15)
    assert flown.told == []


@pytest.mark.parametrize("part", [1.0, 0.8, 0.6])
def test_what_a_radiator_emits_is_learned(fly, part: float):
    whole = find("dawn-dusk-600-worst-eclipse").rig(16, 1)
    area_m2 = whole.satellite.thermal.radiator_m2 * part
    flown = fly(_changed(whole, "thermal", radiator_m2=area_m2), whole).until(2400)
    loops = flown.estimate["loops"]
    assert len(loops) == 2
    for loop in loops:
        assert loop["known"] > 60
        assert loop["radiator_permille"] == pytest.approx(1000 * part, rel=0.05)
    assert flown.told == []


def test_how_hot_dies_get_is_learned(fly):
    new = find("dawn-dusk-600-worst-eclipse").rig(16, 1)
    worse = _changed(new, "node", die_r_k_per_w=new.satellite.node.die_r_k_per_w * 1.15)
    flown = fly(worse, new).until(2400)
    assert flown.estimate["die_uk_per_w"] == pytest.approx(1e6 * (0.006 + 0.022 * 1.15), rel=0.03)
    assert flown.told == []


@pytest.mark.parametrize("speed", [0.733, 0.70, 0.66, 0.63])
def test_speed_is_held_against_the_curves_of_the_file(fly, speed: float):
    """Training does .733 of its speed on .6 of its power, where half an array holds it; the file says otherwise."""
    rig = find("half-budget").rig(16, 1)
    training = replace(rig.satellite.workload[0], share=(0.0, 0.6, 1.0), speed=(0.0, speed, 1.0), clock=(0.0,) * 3)
    believed = replace(rig, satellite=replace(rig.satellite, workload=(training, *rig.satellite.workload[1:])))
    flown = fly(rig, believed).until(2400)
    e = flown.estimate
    assert e["training_permille"] == pytest.approx(733 / speed, abs=35)
    assert e["prefill_permille"] == pytest.approx(1000, abs=20)
    assert flown.told == []


# ------------------------------------------------------------------ no false alarm
@pytest.mark.parametrize("case", [c for c in CASES if c.name != "stuck-sensor"], ids=lambda c: c.name)
def test_nothing_is_found_where_every_sensor_is_right(fly, case):
    flown = fly(case.rig(16, 1))
    uncertain = 0
    for minute in range(1, 2 + ORBIT_S // 60):
        flown.until(60 * minute)
        uncertain = max(uncertain, flown.estimate["uncertain_mw"])
    assert flown.told == []
    assert uncertain == 0


@pytest.mark.parametrize("name", ["demo", "desk"])
def test_nothing_is_found_on_the_rigs_that_ship(fly, name: str):
    assert fly(load_rig(name)).until(1.1 * ORBIT_S).told == []


# ------------------------------------------------------------------ sensors of the power board
# In the Sun with half an array the tracker is at the maximum; in the dark the battery feeds all.
SUN, DARK = ("half-budget", 2000), ("dawn-dusk-600-worst-eclipse", 4000)
POWER = [
    (*SUN, "batt_ma", Sensor.BATT_MA, "garbage", None),
    (*SUN, "batt_ma", Sensor.BATT_MA, "bias", 10_000),
    (*SUN, "batt_ma", Sensor.BATT_MA, "bias", -10_000),
    (*DARK, "batt_ma", Sensor.BATT_MA, "intermittent", None),
    (*DARK, "batt_ma", Sensor.BATT_MA, "off", None),
    (*DARK, "batt_ma", Sensor.BATT_MA, "wrong", None),
    (*DARK, "batt_ma", Sensor.BATT_MA, "scale", 1.5),
    (*DARK, "batt_ma", Sensor.BATT_MA, "bias", -10_000),
    (*DARK, "batt_ma", Sensor.BATT_MA, "garbage", None),
    (*SUN, "array_ma", Sensor.ARRAY_MW, "off", None),
    (*SUN, "array_ma", Sensor.ARRAY_MW, "stuck", None),
    (*SUN, "array_ma", Sensor.ARRAY_MW, "garbage", None),
    (*SUN, "array_ma", Sensor.ARRAY_MW, "bias", 10_000),
    (*SUN, "array_ma", Sensor.ARRAY_MW, "bias", -10_000),
    (*SUN, "array_ma", Sensor.ARRAY_MW, "scale", 0.7),
    (*DARK, "array_ma", Sensor.ARRAY_MW, "bias", 10_000),
    (*SUN, "hotel_ma", Sensor.HOTEL_MW, "off", None),
    (*DARK, "hotel_ma", Sensor.HOTEL_MW, "garbage", None),
    (*SUN, "hotel_ma", Sensor.HOTEL_MW, "bias", 8000),
    (*DARK, "hotel_ma", Sensor.HOTEL_MW, "bias", -8000),
    (*SUN, "bus_mv", Sensor.BUS_MV, "garbage", None),
    (*SUN, "bus_mv", Sensor.BUS_MV, "bias", 8000),
    (*DARK, "bus_mv", Sensor.BUS_MV, "bias", -8000),
]


@pytest.mark.parametrize(("case", "begin", "sensor", "which", "kind", "value"), POWER)
def test_a_broken_sensor_of_the_power_board_is_found_and_taken_back(fly, case, begin, sensor, which, kind, value):
    flown = fly(find(case).rig(16, 1)).until(begin)
    assert flown.told == []
    flown.world.fault(kind, board="power", sensor=sensor, value=value, for_s=60)
    flown.until(begin + 60)
    found = [(s, t) for s, t in flown.out() if s != Sensor.SOC_CPCT]
    assert [s for s, _ in found] == [which]
    assert found[0][1] <= begin + FOUND_S
    assert flown.estimate[which.name.lower()] != SensorState.TRUSTED
    flown.until(begin + 60 + BACK_S)
    if (case, sensor) != (DARK[0], "array_ma"):  # nothing there moves, which might show that it is right
        assert which in [s for s, _ in flown.out(Event.SENSOR_READMITTED)]
    assert len(flown.out()) == len(found) + (which == Sensor.BATT_MA)
    assert flown.violations == {}


def test_a_current_sensor_that_is_stuck_shows_at_the_next_eclipse_and_its_count_is_not_gone_by(fly):
    flown = fly(find("stuck-sensor").rig(16, 1)).until(3700)
    assert flown.told == []
    dark_s = 3725.0  # the entry is at 3,722 s; the current follows the penumbra
    flown.until(dark_s + FOUND_S)
    assert [s for s, _ in flown.out()] == [Sensor.BATT_MA, Sensor.SOC_CPCT]
    assert flown.estimate["batt_ma"] in (SensorState.STUCK, SensorState.ABSENT)  # it stood at 0 by chance
    worst = 0.0
    for seconds in range(4000, 3 * ORBIT_S, 200):
        flown.until(seconds)
        used = flown.executive.loop.status().soc_cpct / 1e4
        worst = max(worst, abs(used - flown.world.truth_now.soc))
    assert worst < 0.025
    assert len(flown.out()) == 2
    assert flown.violations == {}


def test_a_battery_that_counts_garbage_sheds_nothing(fly):
    """The power board does not count what no battery gives."""
    flown = fly(
        replace(find("half-budget").rig(16, 1), faults=(Fault("garbage", 2000, board="power", sensor="batt_ma"),))
    )
    flown.until(2600)
    assert flown.executive.loop.status().mode == icd.Mode.NOMINAL
    assert flown.world.truth_now.soc == pytest.approx(flown.executive.loop.status().soc_cpct / 1e4, abs=0.03)
    assert all(flown.executive.loop.nodes[i].tlm.state == icd.NodeState.ACTIVE for i in range(16))
    assert flown.violations == {}


# ------------------------------------------------------------------ sensors of nodes
# node1 prefills, node9 trains, node12 decodes; each shares its stream of coolant with another node
NODE = [
    ("node1", "mean_ma", Sensor.POWER_MW, "off", None),
    ("node9", "mean_ma", Sensor.POWER_MW, "bias", -2000),
    ("node12", "mean_ma", Sensor.POWER_MW, "scale", 0.5),
    ("node1", "die_cdeg", Sensor.DIE_CDEG, "off", None),
    ("node9", "die_cdeg", Sensor.DIE_CDEG, "bias", -1500),
    ("node12", "die_cdeg", Sensor.DIE_CDEG, "bias", 1500),
    ("node1", "hbm_cdeg", Sensor.HBM_CDEG, "bias", -1800),
    ("node9", "hbm_cdeg", Sensor.HBM_CDEG, "off", None),
    ("node12", "hbm_cdeg", Sensor.HBM_CDEG, "scale", 0.5),
    ("node1", "coolant_cdeg", Sensor.COOLANT_CDEG, "bias", 1500),
    ("node9", "coolant_cdeg", Sensor.COOLANT_CDEG, "off", None),
    ("node12", "coolant_cdeg", Sensor.COOLANT_CDEG, "bias", -1500),
    ("node12", "coolant_cdeg", Sensor.COOLANT_CDEG, "garbage", None),
]
HEAT_FOUND_S = 13.0


@pytest.mark.parametrize(("board", "sensor", "which", "kind", "value"), NODE)
def test_a_broken_sensor_of_a_node_is_found_and_taken_back(fly, board, sensor, which, kind, value):
    flown = fly(find("dawn-dusk-600-worst-eclipse").rig(16, 1)).until(2000)
    assert flown.told == []
    flown.world.fault(kind, board=board, sensor=sensor, value=value, for_s=60)
    flown.until(2060)
    assert [s for s, _ in flown.out()] == [which]
    assert flown.told[0].source == 0x100 + int(board.removeprefix("node"))
    assert flown.out()[0][1] <= 2000 + HEAT_FOUND_S
    assert flown.estimate["nodes_out"] == 1
    n = flown.executive.loop.nodes[int(board.removeprefix("node"))]
    used, read = getattr(n.tlm, which.name.lower()), getattr(n.heard, which.name.lower())
    flown.until(2160)
    true = getattr(n.heard, which.name.lower())
    if which in (Sensor.DIE_CDEG, Sensor.HBM_CDEG):
        assert true - 300 < used < max(read + 1, true + 800)  # the hotter of both
    else:
        assert used == pytest.approx(true, abs=600 if which == Sensor.COOLANT_CDEG else 80_000)
    assert [s for s, _ in flown.out(Event.SENSOR_READMITTED)] == [which]
    assert len(flown.told) == 2
    assert flown.estimate["nodes_out"] == 0
    assert flown.violations == {}


def test_a_channel_that_is_told_wrong_is_told_from_a_node_that_is(fly):
    flown = fly(find("dawn-dusk-600-worst-eclipse").rig(16, 1)).until(2000)
    with_both = flown.executive.loop.nodes[3].tlm.power_mw
    flown.world.fault("scale", board="power", sensor="channel_mean_ma", index=3, value=0.4, for_s=60)
    flown.until(2060)
    assert [(s, e.source) for (s, _), e in zip(flown.out(), flown.told, strict=True)] == [(Sensor.CHANNEL_MA, 0x103)]
    assert flown.executive.loop.nodes[3].tlm.power_mw == pytest.approx(with_both, rel=0.1)
    flown.until(2160)
    assert flown.estimate["nodes_out"] == 0


def test_a_node_whose_die_reads_too_low_is_held_by_what_it_must_be(fly):
    """Where the radiator binds, by 15 K on a node in training: neither flight nor its board would slow it."""
    flown = fly(find("hot-radiator").rig(16, 1)).until(600)
    flown.world.fault("bias", board="node1", sensor="die_cdeg", value=-1500)
    flown.until(3400)
    assert (Sensor.DIE_CDEG, 0x101) in [(Sensor(e.arg0), e.source) for e in flown.told]
    limit_c = flown.world.rig.satellite.node.die_limit_c
    assert flown.world.truth_now.die_peak_c < limit_c + 1
    assert flown.violations == {}
