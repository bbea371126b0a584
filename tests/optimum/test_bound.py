"""The bound is one: above the best of all decisions where they can all be tried, and above whatever was flown."""

import re
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flight.errors import FlightError
from flight.optimum import bare, heat
from flight.optimum.bare import Bare, Now
from flight.optimum.baselines import BASELINES
from flight.optimum.battery import Pack, capacity_factor
from flight.optimum.bound import FEE, solve
from flight.optimum.environment import environment_of
from hal.rig import Orbit, Rig, load_rig
from tests.optimum.tiny import Oracle, Tiny, satellite
from tests.repo import tree

SUN, DARK = 1200.0, 0.0


def bound_of(tiny: Tiny) -> float:
    return solve(tiny.environment(), tiny.satellite, tiny.workload_of, 0.0, "tiny").work


CASES = {
    "sun": Tiny(satellite(), (SUN,) * 5, 1, 1),
    "dark in the middle": Tiny(satellite(), (SUN, SUN, DARK, DARK, SUN), 1, 1),
    "a battery too small": Tiny(satellite(capacity_ah=0.25), (SUN, 300.0, DARK, DARK, SUN), 1, 1),
    "a radiator too small": Tiny(satellite(radiator_m2=0.4), (2 * SUN,) * 5, 1, 1),
    "prefill's cliff": Tiny(satellite(), (700.0, 500.0, 300.0, 500.0, 700.0), 1, 2),
    "decode": Tiny(satellite(), (700.0, 400.0, 200.0, 400.0, 700.0), 1, 3),
    "a lease": Tiny(satellite(allowed_w=100.0), (800.0, 700.0, 500.0, 800.0), 1, 1, levels=(0.3, 0.5, 0.7, 0.9, 1.0)),
    "two nodes on one's power": Tiny(satellite(capacity_ah=0.4), (900.0, 300.0, 900.0), 2, 1, levels=(0.5, 0.7, 1.0)),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_above_the_best_of_all_decisions_and_not_far(name: str):
    tiny = CASES[name]
    best, bound = Oracle(tiny).best(), bound_of(tiny)
    assert best > 0
    assert best <= bound * (1 + 1e-6)
    assert bound <= 1.20 * best  # a few levels of power, whole nodes


def test_a_step_longer_than_a_boot_is_refused():
    environment = replace(CASES["sun"].environment(), step_s=100.0)
    with pytest.raises(FlightError, match="no longer than a boot"):
        solve(environment, CASES["sun"].satellite, np.array([1]), 0.0, "tiny")


powers = st.lists(st.floats(0, 2500), min_size=6, max_size=10).map(tuple)


@settings(max_examples=25)
@given(powers, st.integers(1, 3), st.integers(1, 3), st.floats(0, 400))
def test_more_of_anything_is_never_less_work(available, nodes, workload, more):
    """Exactly so while its approximations stay: the ranges whose chords emission lies under, the tangents of losses."""
    tiny = Tiny(satellite(), available, nodes, workload)
    least = bound_of(tiny)
    fee = 1.1 * nodes * FEE * len(available) * tiny.environment().step_s  # the most that the fee on draw may hide
    ranges = heat.ranges_of(tiny.environment(), tiny.satellite, tiny.workload_of)
    brighter = replace(tiny, available_w=tuple(a + more for a in available))
    stronger = replace(tiny, string_w=tiny.string_w * (1 - more / 400))  # leases may count on more
    with patch("flight.optimum.bound.ranges_of", return_value=ranges):
        assert bound_of(brighter) >= least * (1 - 1e-6) - fee
        assert bound_of(stronger) >= least * (1 - 1e-6) - fee
    assert bound_of(brighter) >= least * (1 - 1e-3)  # other ranges, other chords
    allowed = replace(tiny, satellite=satellite(allowed_w=600 + more))
    assert bound_of(allowed) >= least * (1 - 1e-3)  # losses by other tangents
    bigger = replace(tiny, satellite=satellite(capacity_ah=0.6 * (1 + more / 400)))
    assert bound_of(bigger) >= least * (1 - 1e-3)  # a bigger pack has finer losses, by other tangents
    cooler = replace(tiny, satellite=satellite(radiator_m2=1.5 * (1 + more / 400)))
    assert bound_of(cooler) >= least * (1 - 1e-3)  # other ranges, other chords


@settings(max_examples=25)
@given(powers, st.integers(1, 3), st.floats(0.2, 0.85), st.floats(0.2, 0.85))
def test_the_price_of_charge_bounds_other_ends(available, workload, soc, other):
    tiny = Tiny(satellite(), available, 2, workload)
    environment, s = tiny.environment(), tiny.satellite
    full_j = 3600 * s.battery.capacity_ah * s.battery.series_cells * 3.6
    at = [_solved(tiny, environment, full_j * x) for x in (soc, other)]
    if None not in at:
        assert at[0].price >= -1e-12
        assert at[1].work <= at[0].work_at(at[1].end_j) + 1e-6 * (1 + at[1].work)


def _solved(tiny: Tiny, environment, end_j: float):
    """None where not even a satellite that does nothing ends with so much."""
    try:
        return solve(environment, tiny.satellite, tiny.workload_of, end_j, "tiny")
    except FlightError:
        return None


def small_rig(seed: int, start_s: float) -> Rig:
    rig = load_rig("desk")
    orbit = Orbit(altitude_km=550, inclination_deg=30, ltan_h=18.0, epoch="2027-03-21T00:00:00", start_s=start_s)
    return replace(rig, orbit=orbit, seed=seed, faults=(), timeline=())


class Erratic:
    """Caps without sense, that change every half minute."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._caps = np.zeros(0)

    def __call__(self, now: Now) -> np.ndarray:
        if not len(self._caps) or round(now.t_s) % 30 == 0:
            self._caps = self._random.uniform(now.floor_w, now.max_w, len(now.up))
        return self._caps.copy()


@settings(max_examples=3)
@given(st.integers(1, 1000), st.sampled_from([0.0, 1500.0, 2400.0, 4000.0]), st.integers(0, 3))
def test_nothing_that_flies_is_above_it(seed, start_s, shift):
    rig = small_rig(seed, start_s)
    workload_of = np.roll(np.array([1, 2, 3, 1]), shift)
    seconds = 1710.0
    environment = environment_of(rig, seconds, workload_of)
    for policy in [Erratic(seed), *(make(seed) for make in BASELINES.values())]:
        flight = Bare(rig, workload_of, policy).fly(seconds)
        bound = solve(environment, rig.satellite, workload_of, flight.stored_j, "desk")
        assert 0 < flight.work <= bound.work


TEMPS_C = st.lists(st.floats(-5, 40), min_size=2, max_size=20).map(np.array)


@given(TEMPS_C, st.integers(0, 10), st.floats(0, 1))
def test_no_capacity_between_two_temperatures_is_beyond_that_of_a_pack_between_them(cold_c, warmer_k, where):
    pack = Pack.between(cold_c, cold_c + warmer_k)
    for k in range(len(cold_c) - 1):
        at_c = pack.coldest_c[k] + where * (pack.warmest_c[k] - pack.coldest_c[k])
        assert pack.least[k] - 1e-12 <= capacity_factor(at_c) <= pack.most[k] + 1e-12


def test_the_throttle_is_that_of_the_boards():
    header = (tree.ROOT / "csrc/boards/throttle.h").read_text()
    found = {name: int(value) / 100 for name, value in re.findall(r"#define THROTTLE_(\w+)_CDEG (\d+)", header)}
    assert found["BAND"] == heat.BAND_K == bare.THROTTLE_K
    assert (found["HYSTERESIS"], found["HALT"], found["RESUME"]) == (bare.HYSTERESIS_K, bare.HALT_K, bare.RESUME_K)
