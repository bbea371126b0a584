"""Charging within limits of current, voltage, temperature and charge."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hal._native import ffi, lib
from hal.icd import ChargeMode

MAX_MA, MAX_MV = 22_000, 98_400
CALM: dict[str, Any] = {
    "bus_mv": 90_000,
    "array_mv": 150_000,
    "wanted_mv": 150_000,
    "batt_ma": 5_000,
    "batt_cdeg": 2000,
    "array_present": 1,
    "soc_known": 1,
    "soc_cpct": 5000,
    "max_ma": MAX_MA,
    "max_mv": MAX_MV,
    "soc_limit_cpct": 10_000,
}


def step(c: Any, **values: Any) -> int:
    return int(lib.charger_step(c, ffi.new("struct charger_inputs *", CALM | values)))


@given(st.lists(st.integers(-4000, 8000), min_size=1, max_size=80))
def test_never_charges_outside_0_to_45_degrees(temperatures: list[int]):
    c = ffi.new("struct charger *")
    for cdeg in temperatures:
        step(c, batt_cdeg=cdeg)
        if cdeg <= 0 or cdeg >= 4500:
            assert c.charge_ma == 0
        if 1000 <= cdeg <= 4000:
            assert c.charge_ma == MAX_MA
        assert c.charge_ma <= MAX_MA
        assert c.charge_mv == MAX_MV


def test_hysteresis_of_the_temperatures_and_one_event_each():
    c = ffi.new("struct charger *")
    assert step(c, batt_cdeg=40) == ChargeMode.TOO_COLD
    assert step(c, batt_cdeg=40) == 0
    assert step(c, batt_cdeg=199) == 0
    assert (c.charge_ma, c.mode) == (0, ChargeMode.TOO_COLD)
    step(c, batt_cdeg=200)
    assert c.charge_ma > 0
    assert step(c, batt_cdeg=4450) == ChargeMode.TOO_HOT
    step(c, batt_cdeg=4300)
    assert (c.charge_ma, c.mode) == (0, ChargeMode.TOO_HOT)
    step(c, batt_cdeg=4250)
    assert c.charge_ma > 0


def test_less_current_near_the_ends():
    c = ffi.new("struct charger *")
    currents = []
    for cdeg in range(200, 1001, 50):
        step(c, batt_cdeg=cdeg)
        currents.append(c.charge_ma)
    assert currents == sorted(currents)
    assert MAX_MA // 4 < currents[0] < MAX_MA // 2
    assert currents[-1] == MAX_MA


def test_held_at_the_limit_until_two_percent_below():
    c = ffi.new("struct charger *")
    held = []
    for soc in [7900, 7990, 8000, 7990, 7801, 7800, 7900, 7999, 8000]:
        step(c, soc_cpct=soc, soc_limit_cpct=8000)
        held.append(c.mode == ChargeMode.HELD)
        assert (c.charge_ma == 0) == held[-1]
    assert held == [False, False, True, True, True, False, False, False, True]


def test_full_is_held_whatever_the_limit():
    c = ffi.new("struct charger *")
    step(c, full=1, soc_cpct=9100)
    assert (c.mode, c.charge_ma) == (ChargeMode.HELD, 0)
    step(c, full=0, soc_cpct=8900)
    assert c.charge_ma == MAX_MA


def test_tells_which_limit_binds():
    c = ffi.new("struct charger *")
    step(c)
    assert (c.mode, c.limiting) == (ChargeMode.MPPT, 0)
    step(c, batt_ma=21_900)
    assert c.mode == ChargeMode.CONSTANT_CURRENT
    step(c, bus_mv=98_390, batt_ma=9_000)
    assert c.mode == ChargeMode.CONSTANT_VOLTAGE
    step(c, array_mv=170_000)
    assert c.mode == ChargeMode.CONSTANT_CURRENT, "the array stands above what it was told"
    for _ in range(3):
        step(c)
    assert c.mode == ChargeMode.MPPT
    step(c, array_present=0)
    assert (c.mode, c.limiting) != (ChargeMode.MPPT, 1)
    assert c.mode == ChargeMode.OFF


def test_a_battery_that_is_not_charged_and_not_drained_limits_the_array():
    c = ffi.new("struct charger *")
    step(c, full=1)
    step(c, full=1, batt_ma=0)
    assert c.limiting
    for _ in range(4):
        step(c, full=1, batt_ma=-3000)
    assert not c.limiting, "the load takes all there is: track the peak"


def test_blocks_on_bad_sensor_over_voltage_and_rest():
    for reason in ("temperature_bad", "over_voltage", "rest"):
        c = ffi.new("struct charger *")
        step(c, **{reason: 1})
        assert c.charge_ma == 0, reason
