"""Pacing with a clock of its own: absolute deadlines, late ticks counted, time never stretched."""

from __future__ import annotations

import pytest

from hal.pacing import Pacer, parse_speed


class Clock:
    """A clock that only passes when somebody sleeps or works."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


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
    assert paced.worst_late_us == pytest.approx(250_000, abs=1)


def test_jitter_is_not_lateness_but_is_made_up_for() -> None:
    clock = Clock()
    paced = pacer(400.0, clock)
    for tick in range(1, 101):
        clock.now += 0.002 if tick % 10 == 0 else 0.00005  # every tenth tick takes eight times its share
        assert paced.wait_until(tick * 100_000) < 10_000
    assert clock.now == pytest.approx(100 + 100 * 0.1 / 400, abs=0.002)
    assert paced.late_ticks == 0
    assert 0 < paced.worst_late_us < 2000


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
