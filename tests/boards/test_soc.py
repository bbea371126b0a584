"""State of charge: the count against an exact integral, anchors, and the whole against the plant's truth."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from hal._native import ffi, lib
from tests.boards.harness import CURVE_MV

CAPACITY_MAH = 44_000
CURRENTS = st.lists(st.tuples(st.integers(-40_000, 40_000), st.integers(1_000, 1_000_000)), min_size=1, max_size=200)
SMALL_MA = 100


def battery(soc_cpct: int | None = None, curve: bool = True) -> ffi.CData:
    s = ffi.new("struct soc *")
    lib.soc_set_temperature(s, 2500)
    lib.soc_set_capacity(s, CAPACITY_MAH)
    if curve:
        s.ocv_mv, s.has_curve = CURVE_MV, 1
    if soc_cpct is not None:
        lib.soc_set(s, soc_cpct, lib.SOC_ESTIMATED)
    return s


@given(CURRENTS)
def test_counts_exactly(currents: list[tuple[int, int]]):
    s = battery(5000)
    charge = Fraction(s.charge_ma_us)
    for milliamps, dt_us in currents:
        lib.soc_step(s, dt_us, 90_000, milliamps, 0)
        charge = min(max(charge + milliamps * dt_us, 0), s.usable_ma_us)
        assert s.charge_ma_us == charge
        assert lib.soc_cpct(s) == charge * 10_000 // s.usable_ma_us


def test_a_year_of_orbits_drifts_by_nothing():
    """The same orbit over and over, in steps of a hundred milliseconds, in both directions."""
    s = battery(5000)
    start = s.charge_ma_us
    for _ in range(5500):
        for milliamps in (7_777, -3_333, -4_444):
            lib.soc_step(s, 333_333, 90_000, milliamps, 0)
    assert s.charge_ma_us == start


@given(st.integers(60_000, 110_000))
def test_curve_is_piecewise_linear_and_monotonic(millivolts: int):
    curve = ffi.new("uint32_t[]", CURVE_MV)
    soc = lib.soc_from_voltage(curve, millivolts)
    assert soc <= lib.soc_from_voltage(curve, millivolts + 50) <= 10_000
    inside = min(max(millivolts, CURVE_MV[0]), CURVE_MV[-1])
    k = max(i for i in range(11) if CURVE_MV[i] <= inside)
    part = Fraction(inside - CURVE_MV[k], CURVE_MV[k + 1] - CURVE_MV[k]) if k < 10 else Fraction(0)
    assert abs(soc - (k * 1000 + part * 1000)) < 1


def test_first_estimate_waits_for_two_seconds_of_rest():
    s = battery()
    assert lib.soc_wants_rest(s)
    for _ in range(30):
        lib.soc_step(s, 100_000, 97_000, 20_000, 0)
    assert s.trust == lib.SOC_UNKNOWN
    for _ in range(20):
        assert lib.soc_wants_rest(s)
        lib.soc_step(s, 100_000, CURVE_MV[8], 0, 0)
    assert (s.trust, lib.soc_cpct(s)) == (lib.SOC_ESTIMATED, 8000)
    assert not lib.soc_wants_rest(s)


def test_without_rest_the_estimate_comes_anyway():
    s = battery()
    for _ in range(lib.SOC_FIRST_WAIT_US // 100_000):
        assert s.trust == lib.SOC_UNKNOWN
        lib.soc_step(s, 100_000, CURVE_MV[5], -9_000, 0)
    assert (s.trust, lib.soc_cpct(s)) == (lib.SOC_ESTIMATED, 5000)


def test_an_unconfigured_board_does_not_keep_the_battery_from_charging_for_ever():
    s = ffi.new("struct soc *")
    for _ in range(lib.SOC_FIRST_WAIT_US // 100_000 + 1):
        lib.soc_step(s, 100_000, 90_000, 0, 0)
    assert not lib.soc_wants_rest(s)


def test_anchors_after_a_rest_once():
    s = battery(3000)
    news = [lib.soc_step(s, 1_000_000, CURVE_MV[6], SMALL_MA, 0) for _ in range(600)]
    assert news.index(lib.SOC_ANCHORED_NOW) == 299
    assert news.count(lib.SOC_ANCHORED_NOW) == 1
    assert s.trust == lib.SOC_ANCHORED
    assert 6000 <= lib.soc_cpct(s) <= 6030


def test_current_during_the_rest_starts_it_anew():
    s = battery(3000)
    for k in range(590):
        current = 5000 if k == 295 else SMALL_MA
        assert lib.soc_step(s, 1_000_000, CURVE_MV[6], current, 0) == lib.SOC_NOTHING


def test_end_of_constant_voltage_is_full_until_two_percent_are_gone():
    s = battery(9000)
    for _ in range(29):
        assert lib.soc_step(s, 1_000_000, CURVE_MV[10], 2_000, 1) == lib.SOC_NOTHING
    assert lib.soc_step(s, 1_000_000, CURVE_MV[10], 2_000, 1) == lib.SOC_ANCHORED_NOW
    assert (lib.soc_cpct(s), s.full) == (10_000, 1)
    while lib.soc_cpct(s) >= 9800:
        assert s.full
        lib.soc_step(s, 1_000_000, CURVE_MV[10], -20_000, 0)
    lib.soc_step(s, 1_000_000, CURVE_MV[10], -20_000, 0)
    assert not s.full


def test_a_large_current_at_the_limit_is_not_the_end():
    s = battery(9000)
    for _ in range(600):
        assert lib.soc_step(s, 1_000_000, 98_400, 2_300, 1) == lib.SOC_NOTHING


def test_cold_moves_the_share_not_the_charge():
    s = battery(5000)
    charge = s.charge_ma_us
    lib.soc_set_temperature(s, -2000)
    assert s.charge_ma_us == charge
    assert abs(lib.soc_cpct(s) - 5000 / 0.68) < 2
    lib.soc_set_temperature(s, 4500)
    assert abs(lib.soc_cpct(s) - 5000 / 0.97) < 2
    lib.soc_set_temperature(s, 2500)
    assert lib.soc_cpct(s) == 5000
