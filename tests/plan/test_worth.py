"""Watts by what they are worth: the allocator's shares among jobs of different weights, and nodes of different speeds,
against the linear program of the weighted optimum."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from cffi import FFI
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.optimize import linprog

from flight._native import ffi as flight_ffi
from flight.boards import configuration, hull_of
from hal.rig import load_rig
from tests.c_library import ROOT, load, struct_of

RIG = load_rig("demo")
SATELLITE = RIG.satellite
NODES = SATELLITE.node.count
FLOOR_W, IDLE_W = SATELLITE.node.floor_w, SATELLITE.node.idle_w
COARSE = 0.07  # bids are rounded by up to a sixteenth
CONFIG = configuration(RIG, 1, False)

ffi = FFI()
ffi.cdef(struct_of((ROOT / "tests/plan/plan.c").read_text(encoding="utf-8"), "bidder"))
ffi.cdef(
    "void plan_share(const void *config, const struct bidder *bidders, uint16_t count, int64_t mw, uint32_t *out);"
)


@functools.cache
def library() -> Any:
    """The allocator, built once for each process."""
    return load(ffi, [ROOT / "tests/plan/plan.c"], ("bus", "control", "space"))


@dataclass(frozen=True)
class Bidder:
    workload: int
    weight: float = 1.0
    speed: float = 1.0

    @property
    def worth(self) -> float:
        return self.weight * self.speed

    @property
    def dynamic_w(self) -> float:
        return sum(SATELLITE.workload[self.workload - 1].dynamic_w) / 2


def shared(bidders: Sequence[Bidder], watts: float) -> list[float]:
    """What each draws of so many W: its cap, or all it wants."""
    rows = [
        {"workload": b.workload, "dynamic_mw": round(b.dynamic_w * 1e3), "weight_permille": round(b.weight * 1e3),
         "speed": b.speed}
        for b in bidders
    ]  # fmt: skip
    out = ffi.new("uint32_t[]", len(rows))
    config = ffi.cast("void *", int(flight_ffi.cast("uintptr_t", CONFIG)))
    library().plan_share(config, ffi.new("struct bidder[]", rows), len(rows), round(watts * 1e3), out)
    return [min(mw / 1e3, IDLE_W + b.dynamic_w) for b, mw in zip(bidders, out, strict=True)]


def speed(b: Bidder, watts: float) -> float:
    """What the workload does on so many W, by the curve itself."""
    curve = SATELLITE.workload[b.workload - 1]
    return float(np.interp((watts - IDLE_W) / b.dynamic_w, curve.share, curve.speed))


def worth(bidders: Sequence[Bidder], watts: Sequence[float]) -> float:
    return sum(b.worth * speed(b, w) for b, w in zip(bidders, watts, strict=True))


def best(bidders: Sequence[Bidder], watts: float) -> float:
    """No sharing of so many W is worth more: on the curves' concave hulls, each node on its floor at least."""
    gains, bounds, rows = [], [], []
    for k, b in enumerate(bidders):
        pieces = [(width * b.dynamic_w, gain) for width, gain, _ in hull_of(SATELLITE.workload[b.workload - 1])]
        gains += [-b.worth * gain / width for width, gain in pieces]
        bounds += [(0.0, width) for width, _ in pieces]
        rows += [k] * len(pieces)
    floors = -(np.array(rows)[None, :] == np.arange(len(bidders))[:, None]).astype(float)
    solved = linprog(
        gains,
        A_ub=np.vstack([np.ones(len(gains)), floors]),
        b_ub=[watts - len(bidders) * IDLE_W, *[IDLE_W - FLOOR_W] * len(bidders)],
        bounds=bounds,
    )
    assert solved.success
    return float(-solved.fun)


def unweighted(bidders: Sequence[Bidder]) -> list[Bidder]:
    return [replace(b, weight=1.0, speed=1.0) for b in bidders]


@pytest.mark.parametrize(
    ("heavy", "light", "weight"),
    [(1, 1, 2.0), (1, 1, 8.0), (2, 1, 2.0), (1, 2, 4.0), (2, 2, 1.5), (1, 3, 8.0), (2, 3, 5.0)],
)
@pytest.mark.parametrize("per_node_w", [220.0, 300.0, 400.0, 500.0])
def test_two_classes_of_different_weight_are_shared_as_the_weighted_optimum_says(
    heavy: int, light: int, weight: float, per_node_w: float
):
    bidders = [Bidder(heavy, weight)] * (NODES // 2) + [Bidder(light)] * (NODES // 2)
    watts = per_node_w * NODES
    got = shared(bidders, watts)
    assert sum(got) <= watts + 1e-2 * NODES
    most, whole = best(bidders, watts), weight  # of one node, a piece that cannot be had in parts
    assert worth(bidders, got) >= most - max(0.03 * most, whole)
    plain = shared(unweighted(bidders), watts)
    assert worth(bidders, got) >= worth(bidders, plain) - 0.01 * most  # what is left over is nobody's


def test_weights_are_worth_something():
    bidders = [Bidder(1, 4.0)] * 4 + [Bidder(1)] * 12
    got, plain = (worth(bidders, shared(b, 16 * 350.0)) for b in (bidders, unweighted(bidders)))
    assert got > 1.1 * plain


BIDDERS = st.lists(
    st.builds(
        Bidder,
        workload=st.integers(1, 3),
        weight=st.sampled_from([round(2 ** (k / 4), 3) for k in range(-12, 21)]),
        speed=st.floats(0.5, 1.25, width=32),
    ),
    min_size=1,
    max_size=NODES,
)


@given(BIDDERS, st.floats(120, 900))
def test_shares_are_near_the_best_and_no_more_than_there_is(bidders: list[Bidder], per_node_w: float):
    watts = per_node_w * len(bidders)
    got = shared(bidders, watts)
    assert sum(got) <= watts + 1e-2 * len(bidders)
    most, whole = best(bidders, watts), max(b.worth for b in bidders)
    assert worth(bidders, got) >= (1 - COARSE) * most - whole


@example([*[Bidder(1, 0.125)] * 7, Bidder(1, 1.682), Bidder(2, 1.414), Bidder(2, 4.757), Bidder(3, 0.125)], 233.0, 0.25)
@given(BIDDERS, st.floats(120, 900), st.sampled_from([0.25, 0.5, 2.0, 4.0]))
def test_only_the_ratio_of_weights_counts(bidders: list[Bidder], per_node_w: float, factor: float):
    watts = per_node_w * len(bidders)
    rounded = [replace(b, weight=min(16.0, round(b.weight * 2) / 2 or 0.5)) for b in bidders]  # whole permille, scaled
    scaled = [replace(b, weight=b.weight * factor) for b in rounded]
    for a, b in zip(shared(rounded, watts), shared(scaled, watts), strict=True):
        assert a == pytest.approx(b, abs=0.1)


@given(BIDDERS, st.floats(120, 900), st.data())
def test_a_node_that_does_half_for_its_watts_bids_as_one_of_half_the_weight(
    bidders: list[Bidder], per_node_w: float, data: st.DataObject
):
    slow = data.draw(st.integers(0, len(bidders) - 1))
    known = [
        replace(b, weight=round(b.weight * 500) / 500, speed=1.0) for b in bidders
    ]  # halves of a permille fit none
    watts = per_node_w * len(bidders)
    by_speed = [replace(b, speed=0.5) if k == slow else b for k, b in enumerate(known)]
    by_weight = [replace(b, weight=b.weight / 2) if k == slow else b for k, b in enumerate(known)]
    assert shared(by_speed, watts) == pytest.approx(shared(by_weight, watts), abs=0.1)


def test_a_slow_node_gets_less():
    bidders = [Bidder(1, speed=0.6), *[Bidder(1)] * 7]
    slow, *others = shared(bidders, 8 * 400.0)
    assert slow < 0.85 * min(others)


def test_equal_weights_change_nothing():
    for watts, weight in itertools.product((2500.0, 5000.0, 9000.0), (0.125, 0.354, 32.0)):
        bidders = [Bidder(1 + k % 3, weight) for k in range(NODES)]
        assert shared(bidders, watts) == shared(unweighted(bidders), watts)
        assert shared([replace(b, weight=0.0) for b in bidders], watts) == shared(unweighted(bidders), watts)
