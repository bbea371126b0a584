"""An upper bound on the work of one flight: a linear program with perfect foresight (docs/optimum.md: why it is one).

Each inequality below holds for what any controller can do in this plant, so the best work under them is not below any
flight's. What would lower the work is left out: integrality of nodes, ramps, what a draw's swing
around its mean costs, differences between nodes of a class in temperature.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flight.errors import FlightError
from flight.optimum.battery import Pack, add_battery
from flight.optimum.environment import BOOT_LEAST, SIGMA, ZERO_C, Environment
from flight.optimum.fly import Flown
from flight.optimum.heat import BAND_K, LEAK_C, LEAK_PER_K, REGULATION, Ranges, limits_of, per_watt, ranges_of
from flight.optimum.planes import planes_of
from flight.optimum.program import Floats, Index, Program, Term
from hal.satellite import Satellite

CLASSES = (1, 2, 3)
TANGENT_K = 0.01
NEAR_K = 0.5  # of what a pack was, in the reference
FEE = 1e-5  # of a node's work that its greatest power costs: so the plan draws nothing that gives nothing


@dataclass(frozen=True, slots=True)
class Tight:
    """What the reference takes as known. panel_c: (K) around which emission is linear; pack: as it flew."""

    panel_c: Floats
    pack: Pack


@dataclass(frozen=True, slots=True)
class Bound:
    """work: units, of any flight that ends with no less than end_j in its battery; series: name -> (K) what the program
    did, for the report; price: units that a joule left at the end costs, on the margin."""

    work: float
    series: dict[str, Floats]
    end_j: float
    price: float

    def work_at(self, end_j: float) -> float:
        """The bound on flights that end with that much: the optimum of a linear program is concave in its right-hand
        sides, so what it costs on the margin bounds it from above on either side."""
        return self.work + self.price * (self.end_j - end_j)


def bound_of(flown: Flown, env: Environment) -> Bound:
    """The bound on a flight's work, for the same start, the same faults, and no less charge at the end."""
    s = flown.rig.satellite
    return solve(env, s, flown.workload_of, flown.stored_j, flown.rig.name)


def reference_of(flown: Flown, env: Environment, bound: Bound) -> float:
    """Work of the same program without what is loose in it: panels emit by the tangent where the bound's solution has
    them, which is less than what they emit, not by the chord over all that they could be; and the pack is as warm as it
    flew within half a kelvin, not as cold or as warm as any could be. How far the bound is above it says how much of a
    missing percent may be the bound's."""
    s = flown.rig.satellite
    ends_s = np.arange(len(env.available_w) + 1) * env.step_s
    pack_c = np.interp(ends_s, flown.samples["t_s"], flown.samples["batt_c"])
    tight = Tight(_panel_c(bound, s), Pack.between(pack_c - NEAR_K, pack_c + NEAR_K))
    return solve(env, s, flown.workload_of, flown.stored_j, flown.rig.name, tight).work


def _panel_c(bound: Bound, s: Satellite) -> Floats:
    """(K) panels in the bound's solution."""
    t, held = s.thermal, bound.series["held_c"]
    share = t.coolant_j_per_k * t.loops / (t.coolant_j_per_k * t.loops + t.capacity_j_per_m2_k * t.radiator_m2)
    return np.asarray(0.5 * (held[1:] + held[:-1]) - share * bound.series["apart_k"])


def solve(
    env: Environment, s: Satellite, workload_of: npt.NDArray[np.int64], stored_j: float, title: str,
    tight: Tight | None = None,
) -> Bound:  # fmt: skip
    """The bound for nodes with these workloads; stored_j is at the end. Raises `FlightError`.

    tight: for the reference alone.
    """
    p = Program(len(env.available_w))
    ranges = ranges_of(env, s, workload_of)
    boot = _Boot(p, env, s)
    p.variable("nodes_w")
    p.variable("source_w", 0, env.available_w)
    _panels(p, env, s, ranges, tight.panel_c if tight else None)
    classes = [_Class(p, env, s, c, workload_of == c, ranges, boot) for c in CLASSES if (workload_of == c).any()]
    _leakage(p, env, s, classes)
    _draw(p, env, classes, boot)
    pack = tight.pack if tight else Pack.of_anybody(s, p.steps, env.step_s)
    add_battery(p, env, s, pack, stored_j)
    fee = FEE / s.node.max_w
    x, costs = p.best(title, [c.name("work") for c in classes], (fee, "nodes_w"))
    series = {name: x[index] for name, index in p.at.items()}
    unpaid = (
        1.1 * len(workload_of) * FEE - fee * series["nodes_w"]
    )  # no best plan pays more: all nodes at their most, and hot
    work = float(sum(series[c.name("work")].sum() for c in classes) + np.maximum(unpaid, 0).sum()) * env.step_s
    end = p.at["stored_j"][-1]
    return Bound(work, series, float(p.low()[end]), float(costs[end]) * env.step_s)


# ------------------------------------------------------------------ nodes
class _Boot:
    """How long a boot takes, in whole steps (not more than it does), and what it draws."""

    def __init__(self, p: Program, env: Environment, s: Satellite) -> None:
        self.steps = int(BOOT_LEAST * s.node.boot_s / env.step_s * (1 + 1e-9))
        if self.steps < 1:
            raise FlightError(f"steps of {env.step_s:g} s: expected no longer than a boot")
        self.watts, self.floor = s.node.boot_w, s.node.floor_w


class _Class:
    """The nodes of one workload: numbers, not which. on: up; boot: begun (mean
    number begun within a step's length before each moment of a step); watts: above idle; total: of those that are up;
    warm: on x coolant; like: on x efficiency; work: speeds."""

    def __init__(
        self, p: Program, env: Environment, s: Satellite, workload: int, mine: npt.NDArray[np.bool_],
        ranges: Ranges, boot: _Boot,
    ) -> None:  # fmt: skip
        self.workload, self.s = workload, s
        self.alive = env.alive[:, mine]
        self.count = self.alive.sum(axis=1)
        steps = np.arange(p.steps)
        self.on = p.variable(self.name("on"), 0, np.where(steps < boot.steps, 0.0, self.count))  # off at the start
        self.boot = p.variable(self.name("boot"))
        self.watts = p.variable(self.name("watts"))
        self.total = p.variable(self.name("total"))
        self.work = p.variable(self.name("work"), 0, self.count)
        self.warm = p.variable(self.name("warm"), -np.inf)
        self.like = p.variable(self.name("like"))
        self.efficiency = env.efficiency[mine]
        after = boot.steps
        p.row(0, (1, self.on[after:]), (-1, self.on[after - 1 : -1]), (-1, self.boot[: p.steps - after]))
        for price, worth, rest in planes_of(workload, env.dynamic_w[:, :, mine], self.alive):
            p.row(rest, (1, self.work), (-price, self.watts), (-worth, self.on))
        self._warm(p, ranges)
        self._like(p)
        self._limits(p, ranges)

    def name(self, what: str) -> str:
        """Of one of its variables."""
        return f"{what}{self.workload}"

    def _warm(self, p: Program, ranges: Ranges) -> None:
        """McCormick's two lower planes of a product: the coolant's mean is between its bounds, on between 0 and all."""
        self.low_c, self.high_c = _ends(ranges.coolant_low, np.minimum), _ends(ranges.coolant_high, np.maximum)
        p.row(0, (self.low_c, self.on), (-1, self.warm))
        p.row(self.count * self.high_c, (self.count, p.at["coolant_c"]), (self.high_c, self.on), (-1, self.warm))

    def _like(self, p: Program) -> None:
        """The sum of efficiencies of nodes that are on is not below that of the best ones: planes below a convex
        function of their number."""
        e = self.efficiency
        for level in (float(e.min()), float(e.mean()), float(e.max())):
            p.row((np.maximum(level - e, 0) * self.alive).sum(axis=1), (level, self.on), (-1, self.like))

    def _limits(self, p: Program, ranges: Ranges) -> None:
        """Die and HBM of the mean node. The boards' throttle lets a node draw floor + slope x what it is below its
        limit; that an idle node draws more than this above the limit cannot be where even the hottest coolant is
        cooler than that."""
        n = self.s.node
        slope = (n.max_w - n.floor_w) / BAND_K
        for limit_c, rise in limits_of(self.s, self.workload):
            if float(self.high_c.max()) + rise * n.floor_w * 1.2 < limit_c:
                line = REGULATION * slope
                p.row(0, (1 + line * rise, self.total), (line, self.warm),
                      (-REGULATION * (n.floor_w + slope * limit_c), self.on))  # fmt: skip
            else:
                p.row(0, (1, self.warm), (rise, self.total), (-limit_c, self.on))


def _ends(values: Floats, pick: np.ufunc) -> Floats:
    """Of the two ends of each step."""
    picked: Floats = pick(values[1:], values[:-1])
    return picked


def _booting(p: Program, classes: list[_Class], k: int) -> list[Index]:
    """From step k on: boots that were begun in the step itself and in the k steps before it."""
    return [c.boot[k - j : p.steps - j] for c in classes for j in range(k + 1)]


def _leakage(p: Program, env: Environment, s: Satellite, classes: list[_Class]) -> None:
    """Idle power: idle_w x efficiency x (1 + LEAK_PER_K (die - LEAK_C)), the die over the coolant by the group's heat
    (that of the node itself at least), and by its own."""
    n = s.node
    r = per_watt(s)
    for c in classes:
        best = float(c.efficiency.min())
        p.row(0, (n.idle_w * (1 - LEAK_PER_K * LEAK_C), c.like), (n.idle_w * LEAK_PER_K * best, c.warm),
              (n.idle_w * LEAK_PER_K * best * r - 1, c.total), (1, c.watts))  # fmt: skip


def _draw(p: Program, env: Environment, classes: list[_Class], boot: _Boot) -> None:
    """What nodes draw, boots included; and what leases have to allow: the cap of each node that is up, which it exceeds
    only where it idles and that takes more than the floor; and the floor of each that boots."""
    nodes = p.at["nodes_w"]
    terms: list[Term] = [(1, c.total) for c in classes]
    for k in range(boot.steps):
        p.row(0, *((a, v[k:]) for a, v in terms), *((boot.watts, v) for v in _booting(p, classes, k)), (-1, nodes[k:]))
    lease: list[Term] = []
    for c in classes:
        hottest = c.high_c + per_watt(c.s) * c.s.node.floor_w * 1.2
        idle = c.s.node.idle_w * float(c.efficiency.max()) * (1 + LEAK_PER_K * np.clip(hottest - LEAK_C, -60, 60))
        free = np.maximum(idle / REGULATION - c.s.node.floor_w, 0)
        lease += [(1 / REGULATION, c.total), (-free, c.on)]
    for k in range(boot.steps):
        p.row(np.maximum(env.guarantee_w, 0)[k:], *((np.broadcast_to(a, p.steps)[k:], v[k:]) for a, v in lease),
              *((boot.floor, v) for v in _booting(p, classes, k)))  # fmt: skip


# ------------------------------------------------------------------ coolant and panels
def _panels(p: Program, env: Environment, s: Satellite, ranges: Ranges, around: Floats | None) -> None:
    """held_c: of coolant and panels together, by heat capacity, at the ends of steps; apart_k: coolant over panels,
    coolant_c: both means over a step. Panels emit at most the chord of the fourth power over their range."""
    t, eta = s.thermal, s.array.converter_efficiency
    cool, panel = t.coolant_j_per_k * t.loops, t.capacity_j_per_m2_k * t.radiator_m2
    both, emit = cool + panel, t.emissivity * SIGMA * t.radiator_m2
    low, high = _ends(ranges.panel_low, np.minimum) + ZERO_C, _ends(ranges.panel_high, np.maximum) + ZERO_C
    if around is not None:
        low, high = around + ZERO_C - TANGENT_K, around + ZERO_C + TANGENT_K
    held = p.variable("held_c", ranges.panel_low, ranges.coolant_high, extra=1)
    end = p.variable("end_c", ranges.coolant_low, ranges.coolant_high, extra=1)
    p.equal(np.array([t.initial_c]), (1, held[:1]))
    p.equal(np.array([t.initial_c]), (1, end[:1]))
    apart, coolant = p.variable("apart_k", -np.inf), p.variable("coolant_c", -np.inf)
    nodes, source = p.at["nodes_w"], p.at["source_w"]
    # The mean over a step is not further from the mean of its ends than this: the slope jumps at most by all heat.
    bend_k = env.step_s * (s.node.max_w * len(env.efficiency) + float(env.hotel_w.max())) / (8 * both)
    heat0 = env.hotel_w
    slope = (high**4 - low**4) / (high - low)
    at_zero = low**4 - slope * (low - ZERO_C)  # of the chord, at 0 degC
    # both dT/dt >= heat + absorbed - emission, emission <= chord at (held - cool / both x apart)
    c1 = emit * env.area * slope
    mass = both * env.area / env.step_s
    p.row(-heat0 - env.absorbed_w * env.area + emit * env.area * at_zero + c1 * bend_k,
          (1.0, nodes), (1 / eta - 1, source), (-mass - c1 / 2, held[1:]), (mass - c1 / 2, held[:-1]),
          (c1 * cool / both, apart))  # fmt: skip
    # cool dT/dt = heat - ua apart, T at the ends of steps
    ua = t.radiator_w_per_k * env.area
    cooling = cool * env.area / env.step_s
    p.equal(heat0, (cooling, end[1:]), (-cooling, end[:-1]), (ua, apart), (-1.0, nodes), (-(1 / eta - 1), source))
    p.equal(-bend_k, (1, coolant), (-0.5, held[1:]), (-0.5, held[:-1]), (-panel / both, apart))
