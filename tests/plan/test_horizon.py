"""The plan of energy against a linear program that sees the same two orbits at once, and what many nodes do for watts
against every way to share them."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from cffi import FFI
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from flight._native import ffi as flight_ffi
from flight.boards import configuration, hull_of
from hal.rig import load_rig
from hal.satellite import Satellite
from tests.c_library import ROOT, load, struct_of

Floats = npt.NDArray[np.float64]

RIG = load_rig("demo")
STEP_S = 60.0
RESERVE, TARGET = 0.31, 0.95
SLACK = 0.01  # that flight stays above its reserve


ffi = FFI()
_text = (ROOT / "tests/plan/plan.c").read_text(encoding="utf-8").replace("CTL_WORKLOADS", "4")
ffi.cdef("\n".join(struct_of(_text, name) for name in ("situation", "answer")))
ffi.cdef("void plan_horizon(const void *config, const struct situation *s, struct answer *out);")
ffi.cdef("float plan_speed(const void *config, const struct situation *s, const uint16_t *on, float watts_mw);")


@functools.cache
def library() -> Any:
    """The planner, built once for each process."""
    return load(ffi, [ROOT / "tests/plan/plan.c"], ("bus", "control", "space"))


@dataclass(frozen=True)
class Sky:
    """Two eclipses ahead. s, W; working: nodes by workload."""

    first_s: float
    dark_s: float
    period_s: float
    array_w: float
    soc: float
    working: tuple[int, int, int]

    def is_dark(self, t_s: float) -> bool:
        return (t_s - self.first_s) % self.period_s < self.dark_s and t_s >= self.first_s

    @property
    def end_s(self) -> float:
        return self.first_s + self.period_s + self.dark_s


def flat(satellite: Satellite) -> Satellite:
    """A battery whose voltage hardly moves, without resistance: energy is linear in charge."""
    cell_v = tuple(3.9 + 0.001 * k for k in range(len(satellite.battery.ocv_cell_v)))
    battery = replace(satellite.battery, ocv_cell_v=cell_v, cell_r0_ohm=1e-6)
    return replace(satellite, battery=battery)


SATELLITE = flat(RIG.satellite)
BATTERY_V = 3.905 * SATELLITE.battery.series_cells
CAPACITY_J = SATELLITE.battery.capacity_ah * 3600 * BATTERY_V
CHARGE_W = SATELLITE.battery.capacity_ah * SATELLITE.battery.charge_c_rate * BATTERY_V
CONFIG = configuration(replace(RIG, satellite=SATELLITE), 1, False)
FLOOR_W, IDLE_W = SATELLITE.node.floor_w, SATELLITE.node.idle_w
HOTEL_W = SATELLITE.bus.hotel_w
LEASE_W = SATELLITE.battery.discharge_w_allowed - HOTEL_W


def planned(sky: Sky, t_s: float, soc: float) -> tuple[float, float]:
    """(W in the sun, W in the dark) that nodes shall draw."""
    passed = max(0, int((t_s - sky.first_s - sky.dark_s) // sky.period_s) + 1) if t_s > sky.first_s + sky.dark_s else 0
    entry_s = sky.first_s + passed * sky.period_s
    situation = ffi.new("struct situation *", {
        "t_us": round(t_s * 1e6), "entry_us": round(entry_s * 1e6), "exit_us": round((entry_s + sky.dark_s) * 1e6),
        "period_us": round(sky.period_s * 1e6), "array_mw": round(sky.array_w * 1e3), "hotel_mw": round(HOTEL_W * 1e3),
        "soc_cpct": round(soc * 1e4), "reserve_cpct": round(RESERVE * 1e4), "target_cpct": round(TARGET * 1e4),
        "working": [0, *sky.working]})  # fmt: skip
    answer = ffi.new("struct answer *")
    library().plan_horizon(ffi.cast("void *", int(flight_ffi.cast("uintptr_t", CONFIG))), situation, answer)
    return answer.sun_mw / 1e3, answer.dark_mw / 1e3


def pieces(sky: Sky, dark: bool) -> list[tuple[float, float]]:
    """(W, speed per W) of all nodes together, best first; in the dark each begins with the rest that it gives up."""
    found = []
    for number, nodes in enumerate(sky.working):
        workload = SATELLITE.workload[number]
        dynamic = sum(workload.dynamic_w) / 2
        corners = [(0.0, 0.0)]
        for width, speed, _ in hull_of(workload):
            corners.append((corners[-1][0] + width * dynamic, corners[-1][1] + speed))
        if dark:
            x, y = max(((x, y) for x, y in corners[1:]), key=lambda c: c[1] / (c[0] + IDLE_W))
            found.append((nodes * (x + IDLE_W), y / (x + IDLE_W)))
            corners = [c for c in corners if c[0] >= x]
        found += [(nodes * (b[0] - a[0]), (b[1] - a[1]) / (b[0] - a[0])) for a, b in itertools.pairwise(corners)]
    return sorted((p for p in found if p[0] > 0), key=lambda p: -p[1])


def speed(sky: Sky, dark: bool, watts: float) -> float:
    total, left = 0.0, watts - (0 if dark else sum(sky.working) * IDLE_W)
    for width, slope in pieces(sky, dark):
        total += slope * max(0.0, min(width, left))
        left -= width
    return total


def flown(sky: Sky) -> tuple[float, float, float]:
    """(work, least charge, charge at the end) of flying the first leg of each plan."""
    t, soc, work, least = 0.0, sky.soc, 0.0, 1.0
    most = sum(w for w, _ in pieces(sky, False)) + sum(sky.working) * IDLE_W
    while t < sky.end_s:
        sun_w, dark_w = planned(sky, t, soc)
        dark = sky.is_dark(t)
        if dark:
            room_w = max(0.0, (soc - RESERVE - SLACK) * CAPACITY_J / STEP_S - HOTEL_W)
            drawn = min(dark_w, LEASE_W, room_w)
            flow = -drawn - HOTEL_W
        else:
            taken = min(CHARGE_W, (TARGET - soc) * CAPACITY_J / STEP_S)
            drawn = min(most, max(sun_w, sky.array_w - HOTEL_W - taken))
            flow = min(sky.array_w - HOTEL_W - drawn, taken)
        work += speed(sky, dark, drawn) * STEP_S
        soc += flow * STEP_S / CAPACITY_J
        least = min(least, soc)
        t += STEP_S
    return work, least, soc


def best(sky: Sky, end: float) -> float:
    """The most work that anyone does who knows the same and leaves as much charge."""
    steps = int(np.ceil(sky.end_s / STEP_S))
    columns: list[tuple[int, float, float]] = []  # (step, most W, speed per W)
    for k in range(steps):
        columns += [(k, width, slope) for width, slope in pieces(sky, sky.is_dark(k * STEP_S))]
    n = len(columns)
    gain = np.array([-slope * STEP_S for _, _, slope in columns] + [0.0] * steps)
    bounds = [(0.0, width) for _, width, _ in columns]
    rows, right = [], []
    for k in range(steps):
        dark = sky.is_dark(k * STEP_S)
        base = 0.0 if dark else sum(sky.working) * IDLE_W
        given = (0.0 if dark else sky.array_w) - HOTEL_W - base
        row = np.zeros(n + steps)  # what flows into the battery is at most what is left
        row[[i for i, c in enumerate(columns) if c[0] == k]] = 1
        row[n + k] = 1
        rows.append(row)
        right.append(given)
        bounds.append((-np.inf, CHARGE_W))
        if dark:
            lease = np.where(np.arange(n + steps) < n, row, 0)
            rows.append(lease)
            right.append(LEASE_W)
        stored = np.zeros(n + steps)
        stored[n : n + k + 1] = STEP_S / CAPACITY_J
        rows += [stored, -stored]
        right += [TARGET - sky.soc, sky.soc - (end if k == steps - 1 else RESERVE + SLACK)]
    solved = linprog(gain, A_ub=np.array(rows), b_ub=np.array(right), bounds=bounds)
    return float(-solved.fun) if solved.success else np.nan


SKIES = st.builds(
    Sky,
    first_s=st.integers(5, 55).map(lambda m: m * 60.0),
    dark_s=st.integers(8, 35).map(lambda m: m * 60.0),
    period_s=st.integers(92, 105).map(lambda m: m * 60.0),
    array_w=st.floats(4000, 14000),
    soc=st.floats(0.4, 0.93),
    working=st.tuples(st.integers(2, 8), st.integers(0, 4), st.integers(0, 4)),
)


@settings(max_examples=40, deadline=None)
@example(Sky(first_s=300, dark_s=1380, period_s=5520, array_w=4000, soc=0.4023, working=(2, 0, 3)))
@given(SKIES)
def test_the_plan_is_near_the_best_and_keeps_the_reserve(sky: Sky):
    work, least, end = flown(sky)
    assert least > RESERVE
    most = best(sky, end)
    if not np.isnan(most):  # else the floors alone are more than there is
        assert work > 0.985 * most


def test_energy_that_is_left_over_is_not_saved():
    sky = Sky(1200, 600, 5700, 20000, 0.9, (8, 4, 4))
    sun_w, dark_w = planned(sky, 0, 0.9)
    assert sun_w > 9000
    assert dark_w > LEASE_W


@pytest.mark.parametrize("soc", [0.5, 0.7])
def test_less_energy_is_a_higher_price(soc: float):
    arrays = [4000, 5000, 6000, 7000, 8000]
    draws = [planned(Sky(2400, 2000, 5700, a, soc, (8, 4, 4)), 0, soc) for a in arrays]
    assert all(a[0] <= b[0] + 1 and a[1] <= b[1] + 1 for a, b in itertools.pairwise(draws))
    assert draws[0][0] < 0.8 * draws[-1][0]


def fleet_speed(working: tuple[int, int, int], on: tuple[int, int, int], watts: float) -> float:
    situation = ffi.new("struct situation *", {"working": [0, *working], "target_cpct": 9500, "reserve_cpct": 3100})
    config = ffi.cast("void *", int(flight_ffi.cast("uintptr_t", CONFIG)))
    return float(library().plan_speed(config, situation, [0, *on], watts * 1e3))


def most_speed(on: tuple[int, int, int], watts: float) -> float:
    """Of so many working nodes, when pieces may be had in parts: what a floor gives above idle is worth something where
    a piece may, and only makes a whole one narrower where it may not."""
    held, total, bought = FLOOR_W - IDLE_W, 0.0, []
    for workload, nodes in zip(SATELLITE.workload, on, strict=True):
        dynamic = sum(workload.dynamic_w) / 2
        for k, (width, gain, whole) in enumerate(hull_of(workload)):
            left, free = width * dynamic, held if k == 0 else 0.0
            total += 0 if whole else nodes * gain * free / left
            bought.append((nodes * (left - free), gain if whole else gain * (left - free) / left, left - free))
    left = watts - sum(on) * FLOOR_W
    for width, gain, one in sorted(bought, key=lambda b: -b[1] / b[2]):
        total += gain / one * min(width, left)
        left -= min(width, left)
    return total


@given(st.tuples(*[st.integers(0, 3)] * 3), st.floats(0, 6000))
@example((0, 3, 3), 720.0)
def test_many_nodes_do_what_the_best_sharing_of_whole_pieces_does_nearly(on: tuple[int, int, int], watts: float):
    got = fleet_speed((3, 3, 3), on, watts)
    if watts < sum(on) * FLOOR_W:
        assert got == -1
        return
    most = most_speed(on, watts)
    assert 0 <= got <= most + 1e-3
    assert got >= most - 1.0  # what is not whole is missing, of one node
