"""The power board's step on the real physics: an orbit of the demo satellite, from sunlight through eclipse and out."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from hal._native import ffi, lib
from hal.plant import Plant
from hal.rig import load_rig
from hal.satellite import Satellite
from tests.boards.harness import POWER_CONFIG

ECLIPSE_ENDS_S = 4912
Change = Callable[[Satellite], Satellite]


def thirsty(satellite: Satellite) -> Satellite:
    """A satellite whose load takes all that the array gives, and whose battery does not mind."""
    battery = dataclasses.replace(satellite.battery, capacity_ah=2000.0, cell_r0_ohm=0.0001, soc_initial=0.5)
    return dataclasses.replace(satellite, battery=battery, bus=dataclasses.replace(satellite.bus, hotel_w=25_000.0))


class Flown:
    """A power board's pure step and the plant, tick by tick."""

    def __init__(
        self, dt_us: int, start_s: float = 0.0, change: Callable[[Satellite], Satellite] = lambda s: s
    ) -> None:
        rig = load_rig("demo")
        self.satellite = change(rig.satellite)
        self.plant = Plant(self.satellite, dataclasses.replace(rig.orbit, start_s=start_s), 1)
        self.dt_us, self.t_us = dt_us, 0
        self.c = ffi.new("struct power_board *")
        lib.power_board_init(self.c)
        array, battery = self.satellite.array, self.satellite.battery
        capacity_mah = round(battery.capacity_ah * 1000)
        config: dict[str, Any] = POWER_CONFIG | {
            "channels": 0,
            "capacity_mah": capacity_mah,
            "charge_ma": round(battery.charge_c_rate * capacity_mah),
            "charge_mv": round(battery.charge_cell_v * battery.series_cells * 1000),
            "uvlo_mv": 50_000,
            "silence_ms": 3_600_000,
            "array_voc_mv": round(array.series_cells * (array.cell_voc_v - array.voc_temp_v_per_k * 100) * 1000),
            "array_vmp_mv": round(array.series_cells * array.cell_vmp_v * 1000),
        }
        assert lib.power_board_configure(self.c, ffi.new("struct bus_power_config *", config)) == 0
        curve = [round(volts * battery.series_cells * 1000) for volts in battery.ocv_cell_v]
        message = ffi.new("struct bus_battery_curve *", {"count": 11, "ocv_mv": curve})
        assert lib.power_board_curve(self.c, message) == 0
        self.sensors = ffi.new("struct bus_tick_power *", {"dt_us": dt_us})
        self.settings = ffi.new("struct bus_done_power *")

    def step(self) -> None:
        self.plant.step(self.dt_us)
        self.t_us += self.dt_us
        out, s = self.plant.power_out, self.sensors
        for name in ("bus_mv", "bus_min_mv", "bus_max_mv", "batt_ma", "array_mv", "array_ma", "hotel_ma"):
            setattr(s, name, round(getattr(out, name)))
        s.batt_cdeg, s.array_cdeg, s.flags = round(out.batt_c * 100), round(out.array_c * 100), out.flags
        lib.power_board_step(self.c, self.t_us, s)
        self.c.events.count = 0
        lib.power_board_settings(self.c, self.settings)
        actuators, told = self.plant.power_in, self.settings
        actuators.array_v, actuators.uvlo_v = told.array_mv / 1000, told.uvlo_mv / 1000
        actuators.charge_a, actuators.charge_v = told.charge_ma / 1000, told.charge_mv / 1000
        actuators.heater = told.heater

    def run(self, seconds: float) -> float:
        """Runs; returns the share of the available array energy that was used in that time."""
        truth = self.plant.truth
        used, available = truth.array_used_j, truth.array_available_j
        for _ in range(round(seconds * 1e6 / self.dt_us)):
            self.step()
        return (truth.array_used_j - used) / max(truth.array_available_j - available, 1e-9)


@pytest.mark.parametrize("dt_us", [20_000, 100_000, 1_000_000])
def test_tracks_through_sunlight_and_sunrise(dt_us: int):
    flown = Flown(dt_us, start_s=ECLIPSE_ENDS_S - 20, change=thirsty)
    flown.run(20)
    assert flown.plant.truth.array_available_w < 5000
    assert flown.run(60) >= 0.97, "sunrise on a cold array, with the penumbra"
    assert flown.run(240) >= 0.97
    assert flown.run(300) >= 0.99, "steady"


def test_state_of_charge_follows_the_truth_over_an_orbit():
    flown = Flown(100_000)
    flown.run(10)
    worst = 0.0
    for _ in range(590):
        flown.run(10)
        worst = max(worst, abs(lib.soc_cpct(ffi.addressof(flown.c.soc)) / 10_000 - flown.plant.truth.soc))
    assert worst < 0.01


def test_charging_keeps_its_limits_on_the_plant():
    """From 30 % on: never above the current limit or the voltage limit, and the charge ends held."""

    def empty(satellite: Satellite) -> Satellite:
        return dataclasses.replace(satellite, battery=dataclasses.replace(satellite.battery, soc_initial=0.3))

    flown = Flown(100_000, change=empty)
    limit_a = flown.satellite.battery.charge_c_rate * flown.satellite.battery.capacity_ah
    limit_v = flown.satellite.battery.charge_cell_v * flown.satellite.battery.series_cells
    for _ in range(3800):
        flown.run(1)
        truth = flown.plant.truth
        assert truth.batt_a <= limit_a * 1.001
        assert truth.bus_v <= limit_v * 1.001
    assert flown.plant.truth.soc > 0.6
