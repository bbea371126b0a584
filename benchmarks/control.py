"""Layers of flight's loop alone: sharing watts (L2) and planning (L3), against scipy and cvxpy on the same step.

All nodes work, on three kinds of load in turn, with draws that differ by a tenth, and there are watts for half of what
they would take above idle. The solvers get that step as the linear program that it is, ready built: pieces of the
curves, their widths, one bound on the sum. Times are medians of single calls. A share of the optimum below 1 is what
ours leaves: its draws are rounded to a 32nd, and pieces that a workload has little of unless whole are given whole.
"""

from __future__ import annotations

import re
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from cffi import FFI
from numpy.typing import NDArray
from scipy.optimize import linprog

from benchmarks.loop import sized
from benchmarks.report import ROOT, Row, build_c, step
from flight._native import ffi as flight_ffi
from flight.boards import configuration, hull_of

SIZES = (16, 64, 160, 512, 1024)
SOLVED = (160, 1024)
ASKED = 160
HEADROOM, HEADROOM_MW = 0.03, 1000  # that the allocator adds to what it shares
SHARE = 0.5

ffi = FFI()
_SOURCE = ROOT / "benchmarks/control.c"
_DECLARED = re.findall(r"^.*\bbench_\w+\(.*\);$", _SOURCE.read_text(encoding="utf-8"), re.MULTILINE)
ffi.cdef("\n".join(["struct ctl;", "struct ctl_config;", *_DECLARED]))
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Step:
    """The step as a linear program: for every piece of every node its width in mW and what a mW of it is worth."""

    widths: Floats
    worths: Floats
    budget: float
    base: float
    """mW that a node has anyway"""

    def speed(self, above: Floats) -> float:
        """Of all nodes with so many mW above their base, the best pieces first."""
        taken = np.clip(above[:, None] - np.cumsum(self.widths, axis=1) + self.widths, 0, self.widths)
        return float((taken * self.worths).sum())


class Bench:
    """The control of so many nodes at that step."""

    def __init__(self, lib: Any, nodes: int) -> None:
        rig = sized(nodes)
        self._lib = lib
        self._nodes = nodes
        self._config = configuration(rig, 1, False)
        node = rig.satellite.node
        self.base = max(node.idle_w, node.floor_w) * 1000
        held = self.base - node.idle_w * 1000
        self._c = lib.bench_open(ffi.cast("struct ctl_config *", int(flight_ffi.cast("uintptr_t", self._config))))
        chance, widths, worths = Random(nodes), [], []
        hulls = [hull_of(workload) for workload in rig.satellite.workload]
        room = node.max_w * 1000 - self.base
        for i in range(nodes):
            kind = i % len(hulls)
            middle = sum(rig.satellite.workload[kind].dynamic_w) / 2
            dynamic = round(middle * 1000 * chance.uniform(0.95, 1.05))
            lib.bench_node(self._c, i, 1 + kind, dynamic)
            edges = np.clip(np.cumsum([0, *(width * dynamic for width, _, _ in hulls[kind])]) - held, 0, room)
            worth = [speed / (width * dynamic) for width, speed, _ in hulls[kind]]
            widths.append(np.pad(np.diff(edges), (0, 8 - len(worth))))
            worths.append(np.pad(worth, (0, 8 - len(worth))))
        budget = SHARE * float(np.sum(widths))
        self.step = Step(np.array(widths), np.array(worths), budget, self.base)
        lib.bench_budget(self._c, round(budget + nodes * self.base))

    def close(self) -> None:
        self._lib.bench_close(self._c)

    def us(self, name: str, times: int) -> list[float]:
        """Times of single calls."""
        out = ffi.new("double[]", times)
        getattr(self._lib, f"bench_{name}")(self._c, times, out)
        return list(out)

    def above(self) -> Floats:
        """What each node was given above its base, without headroom."""
        targets = np.array([self._lib.bench_target_mw(self._c, i) for i in range(self._nodes)], dtype=np.float64)
        return np.clip((targets - self.base - HEADROOM_MW) / (1 + HEADROOM), 0, None)


def _median_us(function: Callable[[], Any], times: int) -> float:
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        function()
        taken.append((time.perf_counter() - start) * 1e6)
    return statistics.median(taken)


def with_scipy(s: Step, times: int) -> tuple[float, float]:
    """Median us of a call, and the optimum."""
    cost, bounds = -s.worths.ravel(), np.column_stack([np.zeros(s.widths.size), s.widths.ravel()])
    row = np.ones((1, s.widths.size))
    found: list[float] = []

    def solve() -> None:
        found[:] = [-linprog(cost, A_ub=row, b_ub=[s.budget], bounds=bounds, method="highs").fun]

    return _median_us(solve, times), found[0]


def with_cvxpy(s: Step, times: int) -> tuple[float, float]:
    """Median us of solving the problem, built once, for another budget, by cvxpy's default solver; and the optimum."""
    import cvxpy

    x, budget = cvxpy.Variable(s.widths.shape), cvxpy.Parameter(nonneg=True)
    goal = cvxpy.Maximize(cvxpy.sum(cvxpy.multiply(s.worths * 1e3, x)))
    problem = cvxpy.Problem(goal, [x >= 0, x <= s.widths / 1e3, cvxpy.sum(x) <= budget])
    budget.value = s.budget / 1e3

    def solve() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            problem.solve()

    solve()  # compiles it
    return _median_us(solve, times), float(problem.value)


def _build(folder: Path) -> Any:
    modules = [path for name in ("bus", "space", "control") for path in sorted((ROOT / "csrc" / name).glob("*.c"))]
    built = build_c(folder / "control.so", [_SOURCE, *modules], shared=True)
    return ffi.dlopen(str(built))


def _rows(bench: Bench, nodes: int, quick: bool) -> list[Row]:
    times = 20 if quick else 2000
    l2 = statistics.median(bench.us("allocate", times))
    ours = bench.step.speed(bench.above())
    solved = []
    if nodes in SOLVED[: 1 if quick else None]:
        for name, solver in (("scipy's HiGHS", with_scipy), ("cvxpy", with_cvxpy)):
            us, optimum = solver(bench.step, 2 if quick else 20)
            solved.append(Row(f"the same step by {name}, {nodes} nodes", us, "us", f"{us / l2:.0f} times as long"))
    note = f"{l2 / nodes * 1000:.0f} ns a node" + (f", {ours / optimum:.4f} of the optimum" if solved else "")
    rows = [Row(f"sharing of watts (L2), {nodes} nodes", l2, "us", note, nodes == ASKED), *solved]
    if nodes in SOLVED:
        plans = {"price of a watt over two eclipses": "horizon", "which nodes rest": "rest"}
        for what, name in plans.items():
            taken = bench.us(name, max(1, times // 50))
            worst = f"{max(taken):.0f} us at most, interruptions included"
            rows.append(Row(f"plan (L3), {what}, {nodes} nodes", statistics.median(taken), "us", worst, nodes == ASKED))
    return rows


def measure(quick: bool) -> list[Row]:
    """Rows of every size. quick: the fewest calls, and the solvers for one size."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        lib = _build(Path(folder))
        for nodes in SIZES:
            step(f"{nodes} nodes")
            bench = Bench(lib, nodes)
            rows += _rows(bench, nodes, quick)
            bench.close()
    return rows
