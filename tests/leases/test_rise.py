"""How fast all caps together rise: never faster than the parameter cap_rise says, and nobody is left behind.

The ledger of csrc/control by itself, with targets that leap as no allocator's do.
"""

from __future__ import annotations

import functools
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from cffi import FFI
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.c_library import ROOT, load, struct_of

Milliwatts = npt.NDArray[np.int64]

ffi = FFI()
_text = (ROOT / "tests/leases/rise.c").read_text(encoding="utf-8")
ffi.cdef(struct_of(_text, "rise"))
ffi.cdef("int rise_fly(const struct rise *r, const uint32_t *targets_mw, uint32_t *caps_mw);")


@functools.cache
def library() -> Any:
    """Built once for each process."""
    return load(ffi, [ROOT / "tests/leases/rise.c"], ("bus", "control", "space"))


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    library()


@dataclass(frozen=True)
class Fleet:
    """So many equal nodes, and how fast their caps may rise (share of all in a second)."""

    nodes: int
    per_s: float
    tick_us: int = 100_000
    floor_mw: int = 120_000
    max_mw: int = 800_000

    @property
    def step_mw(self) -> int:
        """A rise that is worth a frame."""
        return self.max_mw // 100 + 1

    @property
    def rise_mw(self) -> float:
        """Of all caps, in a second."""
        return self.per_s * self.nodes * self.max_mw

    def ticks(self, seconds: float) -> int:
        return round(seconds * 1e6 / self.tick_us)

    def fly(self, targets_mw: Milliwatts) -> Milliwatts:
        """Caps of each tick and node, for targets of each tick and node."""
        targets = np.ascontiguousarray(targets_mw, np.uint32)
        caps = np.empty_like(targets)
        scenario = ffi.new("struct rise *", asdict(self) | {"ticks": len(targets)})
        wanted, given_mw = (ffi.cast("uint32_t *", ffi.from_buffer(a)) for a in (targets, caps))
        assert library().rise_fly(scenario, wanted, given_mw) == 0
        return caps.astype(np.int64)


fleets = st.builds(
    Fleet,
    nodes=st.integers(1, 40),
    per_s=st.sampled_from([0.01, 0.05, 0.25, 1.0, 3.0]),
    tick_us=st.sampled_from([50_000, 100_000, 1_000_000]),
)


def _leaps(fleet: Fleet, seed: int, hold: int) -> Milliwatts:
    """Targets that leap, together or each by itself, every so many ticks; the last ones stay."""
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(12):
        together = random.random() < 0.5
        row = random.integers(fleet.floor_mw, fleet.max_mw, 1 if together else fleet.nodes, endpoint=True)
        rows += [np.broadcast_to(row, fleet.nodes)] * int(random.integers(1, hold, endpoint=True))
    return np.array(rows)


@settings(max_examples=200)
@given(fleets, st.integers(0, 2**32), st.sampled_from([1, 5, 40]))
def test_caps_together_rise_no_faster(fleet: Fleet, seed: int, hold: int):
    targets = _leaps(fleet, seed, hold)
    caps = fleet.fly(targets)
    total = np.vstack([np.full(fleet.nodes, fleet.floor_mw), caps]).sum(axis=1)
    second = fleet.ticks(1.0)
    rises = [(total[k : k + second + 1] - total[k]).max() for k in range(len(total))]
    assert max(rises) <= fleet.rise_mw + fleet.step_mw
    assert (caps <= np.maximum.accumulate(targets)).all()


@settings(max_examples=200)
@given(fleets, st.integers(0, 2**32), st.sampled_from([1, 5, 40]))
def test_nobody_is_left_behind(fleet: Fleet, seed: int, hold: int):
    """When targets stay, all have theirs after what is missing can have been given, and no later."""
    targets = _leaps(fleet, seed, hold)
    span_mw = fleet.nodes * (fleet.max_mw - fleet.floor_mw)
    rest = fleet.ticks(span_mw / fleet.rise_mw + 2)
    caps = fleet.fly(np.vstack([targets, *[targets[-1:]] * rest]))
    assert (targets[-1] - caps[-1] < fleet.step_mw).all()
    falls = np.diff(targets, axis=0) < 0
    assert (caps[1 : len(targets)][falls] <= targets[1:][falls] + fleet.step_mw).all(), "falls are never limited"


@settings(max_examples=100)
@given(st.integers(2, 40), st.sampled_from([0.05, 0.25, 1.0]))
def test_those_who_want_the_same_have_the_same(nodes: int, per_s: float):
    """A leap of all: they rise side by side, none ahead by more than a round of steps."""
    fleet = Fleet(nodes, per_s)
    caps = fleet.fly(np.full((fleet.ticks(0.8 / per_s), nodes), fleet.max_mw))
    piece_mw = max(fleet.step_mw, fleet.rise_mw * fleet.tick_us * 1e-6 / nodes)
    assert (np.ptp(caps, axis=1) <= 2 * piece_mw + fleet.step_mw).all()
    whole_mw = nodes * (fleet.max_mw - fleet.floor_mw)
    spent = min(whole_mw, fleet.rise_mw * 0.8 / per_s)
    assert caps[-1].sum() - nodes * fleet.floor_mw > 0.9 * spent, "what may be given is given"
