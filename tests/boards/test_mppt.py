"""The tracker against a small array model: steady light, sunrise, local maxima, a charger that limits, a dark array."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from hal._native import ffi, lib

STRINGS, CELLS = 16, 62
VOC_MV, VMP_MV = 205_000, 149_500
FLOOR_MV = 70_000
DTS = [10_000, 100_000, 1_000_000]


class Array:
    """Parallel strings; of `shadowed` of them a `share` of the cells is bypassed, or gives `dim` of its current."""

    def __init__(self) -> None:
        self.light, self.cdeg = 1.0, 2800
        self.shadowed, self.share, self.dim = 0, 0.0, 0.2

    def string(self, volts: float, light: float) -> float:
        scale = 0.052 * CELLS  # exponent of the junctions, V
        voc = CELLS * (2.70 - 0.0062 * (self.cdeg / 100 - 28))
        if light <= 0:
            return 0.0
        return max(7.4 * light * (1 - math.exp((volts - voc) / scale) / light), 0.0)

    def current(self, volts: float) -> float:
        whole = (STRINGS - self.shadowed) * self.string(volts, self.light)
        if not self.shadowed:
            return whole
        bypassed = self.string(volts / (1 - self.share), self.light)
        return whole + self.shadowed * max(bypassed, self.string(volts, self.light * self.dim))

    def best_w(self) -> float:
        return max(volts * self.current(volts) for volts in (FLOOR_MV / 1000 + 0.5 * k for k in range(280)))


class Tracker:
    """A tracker on an array; counts what it took of what there was."""

    def __init__(self, array: Array, dt_us: int) -> None:
        self.array, self.dt_us = array, dt_us
        self.c = ffi.new("struct mppt *")
        self.inputs = ffi.new(
            "struct mppt_inputs *", {"dt_us": dt_us, "floor_mv": FLOOR_MV, "voc_mv": VOC_MV, "vmp_mv": VMP_MV}
        )
        self.taken = self.there = 0.0
        self.sweeps: list[tuple[int, int]] = []
        self.away_us = self.longest_away_us = 0

    def step(self, limited_w: float | None = None) -> None:
        volts = max(self.c.command_mv, FLOOR_MV) / 1000
        amps = self.array.current(volts)
        if limited_w is not None and volts * amps > limited_w:  # towards open circuit, on the falling side
            while volts * amps > limited_w:
                volts += 0.5
                amps = self.array.current(volts)
        self.taken += volts * amps
        i = self.inputs
        i.array_mv, i.array_ma = round(volts * 1000), round(amps * 1000)
        i.array_cdeg, i.present = round(self.array.cdeg), self.array.light > 0
        i.limiting = limited_w is not None
        if lib.mppt_step(self.c, i) == lib.MPPT_SWEPT:
            self.sweeps.append((self.c.from_mv, self.c.track_mv))
        away = self.c.phase == lib.MPPT_PROBE
        self.away_us = self.away_us + self.dt_us if away else 0
        self.longest_away_us = max(self.longest_away_us, self.away_us)

    def run(self, seconds: float, change: Callable[[float], Any] = lambda _t: None) -> float:
        """Runs and returns the share taken of what was there in that time."""
        self.taken = self.there = 0.0
        steps = round(seconds * 1e6 / self.dt_us)
        every = max(steps // 400, 1)  # the true maximum is searched now and then only
        best = self.array.best_w()
        for k in range(steps):
            change(k * self.dt_us / 1e6)
            if k % every == 0:
                best = self.array.best_w()
            self.step()
            self.there += best
        return self.taken / self.there if self.there > 0 else 1.0


@pytest.mark.parametrize("dt_us", DTS)
def test_steady_light(dt_us: int):
    tracker = Tracker(Array(), dt_us)
    tracker.run(120)
    assert tracker.run(400) >= 0.99


@pytest.mark.parametrize("dt_us", DTS)
def test_sunrise_on_a_cold_array(dt_us: int):
    """Penumbra of 12 s, then an array that warms by 130 K and takes its voltage along."""
    array = Array()
    array.light = 0.0
    tracker = Tracker(array, dt_us)
    tracker.run(5)

    def rise(t: float) -> None:
        x = min((t + 0.5) / 12, 1.0)
        array.light = x * x * (3 - 2 * x)
        array.cdeg = 5500 - 13_000 * math.exp(-t / 180)

    assert tracker.run(60, rise) >= 0.97
    assert tracker.run(440, lambda t: rise(t + 60)) >= 0.97
    assert tracker.sweeps, "a sweep follows every sunrise"


@pytest.mark.parametrize("dt_us", DTS)
def test_light_that_rises_or_falls_for_minutes_leads_nobody_astray(dt_us: int):
    array = Array()
    tracker = Tracker(array, dt_us)
    tracker.run(120)
    for start, end in ((1.0, 0.3), (0.3, 1.0)):

        def ramp(t: float, start: float = start, end: float = end) -> None:
            array.light = start + (end - start) * t / 180

        assert tracker.run(180, ramp) >= 0.97


@pytest.mark.parametrize("dt_us", DTS)
def test_leaves_a_local_maximum(dt_us: int):
    """A shadow over 45 % of most strings: the old hill keeps 6 parts in 9. It leaves it for the new one, and back."""
    array = Array()
    tracker = Tracker(array, dt_us)
    tracker.run(120)
    array.shadowed, array.share = 12, 0.45
    local = VMP_MV / 1000 * array.current(VMP_MV / 1000)
    assert array.best_w() > 1.2 * local
    tracker.run(400)
    assert tracker.run(60) >= 0.96
    assert tracker.c.track_mv < 0.7 * VMP_MV
    array.shadowed = 0
    tracker.run(400)
    assert tracker.run(60) >= 0.96


def test_a_creeping_shadow_is_found_by_the_periodic_sweep():
    array = Array()
    tracker = Tracker(array, 100_000)
    tracker.run(120)
    array.shadowed, array.share = 12, 0.45

    def creep(t: float) -> None:
        array.dim = 1 - 0.8 * min(t / 600, 1)

    tracker.run(1000, creep)
    assert tracker.run(60) >= 0.96


@pytest.mark.parametrize("dt_us", DTS)
def test_no_dip_lasts_longer_than_a_burst(dt_us: int):
    tracker = Tracker(Array(), dt_us)
    tracker.run(1000)
    assert tracker.sweeps
    assert tracker.longest_away_us <= max(700_000, dt_us)


def test_does_not_perturb_while_the_charger_limits():
    array = Array()
    tracker = Tracker(array, 100_000)
    tracker.run(120)
    commands = set()
    for _ in range(600):
        tracker.step(limited_w=4000.0)
        commands.add(tracker.c.command_mv)
    assert len(commands) == 1, "at one temperature it stands still"
    assert tracker.c.phase == lib.MPPT_LIMITED
    assert tracker.run(60) >= 0.98, "and goes on from there"


def test_while_limited_it_follows_the_temperature():
    array = Array()
    tracker = Tracker(array, 100_000)
    tracker.run(120)
    for k in range(3000):
        array.cdeg = 2800 - 2 * k
        tracker.step(limited_w=2000.0)
    assert tracker.run(1.5) >= 0.99


def test_starts_again_after_the_dark():
    array = Array()
    tracker = Tracker(array, 100_000)
    tracker.run(60)
    array.light = 0.0
    tracker.run(60)
    assert tracker.c.phase == lib.MPPT_DARK
    array.light, array.cdeg = 1.0, -7000
    tracker.run(4)
    assert tracker.run(20) >= 0.97


def test_a_command_above_open_circuit_is_left_at_once():
    array = Array()
    array.cdeg = 9000  # its open circuit is below the first guess of a tracker that is told 28 degC
    tracker = Tracker(array, 100_000)
    tracker.inputs.vmp_mv = 190_000
    tracker.run(5)
    assert tracker.run(30) >= 0.97


def test_no_array_no_configuration():
    tracker = Tracker(Array(), 100_000)
    tracker.inputs.vmp_mv = tracker.inputs.voc_mv = 0
    for _ in range(100):
        tracker.step()
    assert tracker.c.command_mv == 0
