"""Shedding by table: dwell, hysteresis, one tier at a time on the way back."""

from hypothesis import given
from hypothesis import strategies as st

from hal._native import ffi, lib

TIERS = [(3000, 4000, 78_000), (2500, 3500, 76_000)]
STEP_US = 100_000
ENTER = lib.SHED_ENTER_US // STEP_US
LEAVE = lib.SHED_LEAVE_US // STEP_US


def table(tiers: list[tuple[int, int, int]]) -> tuple[int, ffi.CData]:
    s = ffi.new("struct shed *")
    rows = [dict(zip(("enter_cpct", "leave_cpct", "enter_mv"), tier, strict=True)) for tier in tiers]
    return lib.shed_load(s, ffi.new("struct bus_shed_tier[]", rows), len(rows)), s


def run(s: ffi.CData, steps: int, soc: int, bus_mv: int = 90_000, known: int = 1) -> int:
    tier = 0
    for _ in range(steps):
        tier = lib.shed_step(s, STEP_US, known, soc, bus_mv)
    return tier


def test_enters_by_charge_after_the_dwell_and_recovers_by_hysteresis():
    _, s = table(TIERS)
    assert run(s, ENTER - 1, 2999) == 0
    assert run(s, 1, 2999) == 1
    assert run(s, 10 * LEAVE, 3999) == 1, "below where it leaves"
    assert run(s, LEAVE - 1, 4000) == 1
    assert run(s, 1, 4000) == 0


def test_enters_by_voltage_also_without_a_known_charge():
    _, s = table(TIERS)
    assert run(s, ENTER, 9000, 77_999, known=0) == 1
    assert run(s, ENTER, 9000, 75_000) == 2
    assert run(s, 10 * LEAVE, 9000, 76_500) == 2, "above enter_mv, but not by the margin"
    assert run(s, LEAVE, 9000, 90_000) == 1
    assert run(s, LEAVE, 9000, 90_000) == 0


def test_a_short_dip_sheds_nothing():
    _, s = table(TIERS)
    for _ in range(50):
        assert run(s, ENTER - 1, 9000, 60_000) == 0
        assert run(s, 1, 9000) == 0


def test_both_thresholds_at_once_enter_the_deeper_tier():
    _, s = table(TIERS)
    assert run(s, ENTER, 1000) == 2


def test_what_a_tier_sheds():
    _, s = table(TIERS)
    assert [lib.shed_hits(s, tier) for tier in (1, 2, 3, 255)] == [0, 0, 0, 0]
    run(s, ENTER, 2999)
    assert [lib.shed_hits(s, tier) for tier in (1, 2, 3, 255)] == [1, 0, 0, 0]
    run(s, ENTER, 1000)
    assert [lib.shed_hits(s, tier) for tier in (1, 2, 3, 255)] == [1, 1, 1, 0], "the last tier sheds all but `never`"


def test_an_unsound_table_is_refused_and_changes_nothing():
    _, s = table(TIERS)
    run(s, ENTER, 2999)
    for wrong in ([(3000, 3000, 0)], [(3000, 4000, 70_000), (3100, 4000, 60_000)], [(3000, 4000, 1), (2000, 4000, 2)]):
        assert table(wrong)[0] == -1
        rows = [dict(zip(("enter_cpct", "leave_cpct", "enter_mv"), tier, strict=True)) for tier in wrong]
        assert lib.shed_load(s, ffi.new("struct bus_shed_tier[]", rows), len(rows)) == -1
    assert (s.count, s.tier) == (2, 1)
    assert run(s, LEAVE, 9000) == 0


LEVELS = st.lists(st.tuples(st.integers(0, 10_000), st.integers(60_000, 100_000), st.integers(1, 400)), max_size=20)


@given(LEVELS)
def test_never_flaps(levels: list[tuple[int, int, int]]):
    """Between entering and leaving one tier lie at least the dwell of leaving; on the way back one tier at a time."""
    _, s = table(TIERS)
    tier, since = 0, 10**9
    for soc, bus_mv, steps in levels:
        for _ in range(steps):
            now = lib.shed_step(s, STEP_US, 1, soc, bus_mv)
            since += 1
            if now < tier:
                assert tier - now == 1
                assert since >= LEAVE
            if now != tier:
                since = 0
            tier = now


def test_a_tier_that_is_none_is_the_deepest_and_is_left_as_any():
    _, s = table(TIERS)
    s.tier = 255
    assert run(s, 1, 9000) == len(TIERS)
    assert run(s, 2 * LEAVE, 9000) == 0
