"""The timeout of a line: RFC 6298, with bounds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hal.round_trip import LEAST_S, MOST_S, RoundTrip

TRIPS = st.lists(st.floats(0.0, 2.0), min_size=1, max_size=50)


def measure(trip: RoundTrip, took_s: float) -> None:
    trip.sent(100.0)
    trip.answered(100.0 + took_s)


@given(TRIPS)
def test_follows_the_rfc_within_its_bounds(trips: list[float]) -> None:
    trip = RoundTrip()
    assert trip.timeout_s == MOST_S
    smooth = spread = None
    for took in trips:
        measure(trip, took)
        took = (100.0 + took) - 100.0
        if smooth is None or spread is None:
            smooth, spread = took, took / 2
        else:
            spread = 0.75 * spread + 0.25 * abs(smooth - took)
            smooth = 0.875 * smooth + 0.125 * took
        expected = min(max(smooth + 4 * spread, LEAST_S), MOST_S)
        assert abs(trip.timeout_s - expected) < 1e-9


def test_what_was_asked_twice_measures_nothing_and_takes_longer_next_time() -> None:
    trip = RoundTrip()
    for _ in range(50):
        measure(trip, 0.03)
    steady = trip.timeout_s
    assert 0.03 < steady < 0.06
    trip.sent(0.0)
    trip.back_off()
    trip.answered(99.0)
    assert trip.timeout_s == 2 * steady
    for _ in range(9):
        trip.back_off()
    assert trip.timeout_s == MOST_S
    measure(trip, 0.03)
    assert abs(trip.timeout_s - steady) < 0.01, "one clean answer, and it is what it was"


def test_an_answer_that_takes_its_own_time_measures_nothing() -> None:
    trip = RoundTrip()
    measure(trip, 0.04)
    before = trip.timeout_s
    trip.sent(0.0)
    trip.void()
    trip.answered(5.0)
    trip.answered(6.0)
    assert trip.timeout_s == before
