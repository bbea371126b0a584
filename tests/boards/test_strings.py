"""Strings of the array: the largest, and the lost."""

from hal._native import ffi, lib
from hal.icd import BoardEvent


def page(s: ffi.CData, currents: list[int], at_peak: int = 1) -> list[tuple[int, int]]:
    events = ffi.new("struct events *")
    lib.strings_page(s, 0, len(currents), ffi.new("uint16_t[]", currents), at_peak, events)
    listed = [events.list[i] for i in range(events.count)]
    assert all(entry.code == BoardEvent.POWER_STRING_LOST for entry in listed)
    return [(entry.arg0, entry.arg1) for entry in listed]


def test_a_lost_string_is_said_once_and_comes_back():
    s = ffi.new("struct strings *", {"count": 4})
    assert page(s, [7000, 7100, 6900, 7000]) == []
    assert page(s, [7000, 7100, 0, 7000]) == [], "one page may be a glitch"
    assert page(s, [7000, 7100, 0, 7000]) == [(2, 3)]
    assert page(s, [7000, 7100, 0, 7000]) == []
    assert lib.strings_live(s) == 3
    assert page(s, [7000, 7100, 3000, 7000]) == []
    assert lib.strings_live(s) == 4


def test_currents_away_from_the_peak_or_in_the_dark_say_nothing():
    s = ffi.new("struct strings *", {"count": 3})
    for _ in range(5):
        assert page(s, [7000, 0, 7000], at_peak=0) == []
        assert page(s, [80, 0, 80]) == []
    assert lib.strings_live(s) == 3


def test_the_largest_strings_share():
    s = ffi.new("struct strings *", {"count": 4})
    assert lib.strings_largest_mw(s, 1000) == 250
    page(s, [1000, 3000, 0, 2000])
    assert lib.strings_largest_mw(s, 12_000_000) == 6_000_000
    assert lib.strings_largest_mw(s, 0) == 0


def test_all_strings_of_a_page_lost_at_once_are_all_said():
    s = ffi.new("struct strings *", {"count": 64})
    said: list[tuple[int, int]] = []
    for _ in range(8):
        said += page(s, [7000] + [0] * 63)
    assert sorted(string for string, _ in said) == list(range(1, 64))
    assert lib.strings_live(s) == 1
