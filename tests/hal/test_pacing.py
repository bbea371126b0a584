"""Pacing with a clock of its own: absolute deadlines, late ticks counted, time never stretched."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flight.pacing import Pacing
from hal.pacing import Lateness, Pacer, parse_speed


class Clock:
    """A clock that only passes when somebody sleeps or works. over_s: by which sleeps last too long."""

    def __init__(self, over_s: float = 0.0) -> None:
        self.now = 100.0
        self.over_s = over_s
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds + self.over_s


def pacer(speed: float | None, clock: Clock) -> Pacer:
    paced = Pacer(speed, clock, clock.sleep)
    paced.restart(0)
    return paced


def test_ticks_come_at_absolute_deadlines() -> None:
    clock = Clock()
    paced = pacer(2.0, clock)
    for tick in range(1, 101):
        clock.now += 0.01  # the work of a tick
        assert paced.wait_until(tick * 100_000) == 0
        assert clock.now == pytest.approx(100 + tick * 0.05)
    assert paced.late_ticks == 0


def test_a_late_tick_is_counted_and_made_up_for() -> None:
    clock = Clock()
    paced = pacer(1.0, clock)
    clock.now += 0.35
    assert paced.wait_until(100_000) == pytest.approx(250_000, abs=1)
    assert paced.wait_until(200_000) == pytest.approx(150_000, abs=1)
    assert paced.wait_until(300_000) == pytest.approx(50_000, abs=1)
    assert paced.wait_until(400_000) == 0
    assert clock.now == pytest.approx(100.4), "back in step with absolute time"
    assert paced.late_ticks == 3
    assert paced.lateness.worst_us == pytest.approx(250_000, abs=1)


def test_jitter_is_not_lateness_but_is_made_up_for() -> None:
    clock = Clock()
    paced = pacer(400.0, clock)
    for tick in range(1, 101):
        clock.now += 0.002 if tick % 10 == 0 else 0.00005  # every tenth tick takes eight times its share
        assert paced.wait_until(tick * 100_000) < 10_000
    assert clock.now == pytest.approx(100 + 100 * 0.1 / 400, abs=0.002)
    assert paced.late_ticks == 0
    assert 0 < paced.lateness.worst_us < 2000


@pytest.mark.parametrize(("over_s", "late"), [(0.002, 0), (0.015, 100)])
def test_a_sleep_that_ends_late_is_seen_and_does_not_add_up(over_s: float, late: int) -> None:
    clock = Clock(over_s)
    paced = pacer(1.0, clock)
    for tick in range(1, 101):
        assert paced.wait_until(tick * 100_000) == pytest.approx(over_s * 1e6, abs=1)
    assert clock.now == pytest.approx(110 + over_s)
    assert (paced.late_ticks, paced.lateness.count) == (late, 100)
    assert paced.lateness.percentile(50) == pytest.approx(over_s * 1e6, abs=1)


@given(st.lists(st.integers(0, 5_000_000_000), min_size=1), st.floats(0, 100))
def test_percentiles_are_those_of_the_times_to_three_percent(times: list[int], percent: float) -> None:
    lateness = Lateness()
    for us in times:
        lateness.add(us)
    kept = sorted(min(us, 2**32 - 1) for us in times)
    exact = kept[max(1, math.ceil(len(kept) * percent / 100)) - 1]
    assert exact <= lateness.percentile(percent) <= exact * 1.032
    assert (lateness.count, lateness.worst_us) == (len(kept), kept[-1])


def test_nothing_has_no_percentile() -> None:
    assert Lateness().percentile(99) == 0


@pytest.mark.parametrize(("speed", "tick_us", "ticks"), [(1, 10_000, 1), (1, 100_000, 1), (400, 100_000, 40)])
def test_a_hundred_ticks_a_second_are_paced_one_by_one(speed: float, tick_us: int, ticks: int) -> None:
    assert Pacing(speed).batch(tick_us) == ticks


def test_max_speed_never_waits() -> None:
    clock = Clock()
    paced = pacer(None, clock)
    clock.now += 1000
    assert paced.wait_until(1) == 0
    assert clock.slept == []
    assert paced.late_ticks == 0


def test_holding_is_no_lateness() -> None:
    clock = Clock()
    paced = pacer(1.0, clock)
    clock.now += 3600
    paced.restart(100_000)
    assert paced.wait_until(200_000) == 0
    assert clock.slept == [pytest.approx(0.1)]


def test_speed_on_the_command_line() -> None:
    assert parse_speed("max") is None
    assert parse_speed("400") == 400
    for text in ("0", "-1", "nan", "1e9"):
        with pytest.raises(ValueError, match="out of range"):
            parse_speed(text)
    with pytest.raises(ValueError, match="speed 'fast' is not a number"):
        parse_speed("fast")
    with pytest.raises(ValueError, match="out of range"):
        Pacer(0)
