"""A plant so small that every decision can be tried: a few coarse steps, one or two nodes, constant in each step.

Written for these tests alone, from docs/physics.md: it shares no formula with flight.optimum but the nodes' speeds.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations_with_replacement

import numpy as np

from flight.optimum.environment import Environment
from hal._native import lib
from hal.satellite import Satellite, load_satellite

STEP_S = 85.5  # the shortest boot of 90 s
SUBSTEPS = 8
SIGMA = 5.670374419e-8


@dataclass(frozen=True)
class Tiny:
    """available_w by step; workload of all nodes."""

    satellite: Satellite
    available_w: tuple[float, ...]
    nodes: int
    workload: int
    string_w: float = 100.0
    hotel_w: float = 50.0
    absorbed_w: float = 200.0
    span_w: float = 600.0
    levels: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)  # shares of dynamic power

    @property
    def guarantee_w(self) -> tuple[float, ...]:
        allowed = self.satellite.battery.discharge_w_allowed
        return tuple(a - self.string_w + allowed - self.hotel_w for a in self.available_w)

    @property
    def workload_of(self) -> np.ndarray:
        return np.full(self.nodes, self.workload)

    def environment(self) -> Environment:
        k = len(self.available_w)
        return Environment(
            STEP_S,
            np.array(self.available_w),
            np.array(self.guarantee_w),
            np.full(k, self.hotel_w),
            np.full(k, self.absorbed_w),
            np.ones((k, self.nodes)),
            np.ones(k),
            np.full((k, 2, self.nodes), self.span_w),
            np.ones(self.nodes),
        )


def satellite(capacity_ah: float = 0.6, radiator_m2: float = 1.5, allowed_w: float = 600.0) -> Satellite:
    """A bench satellite, scaled down to one or two nodes."""
    s = load_satellite("desk")
    battery = replace(s.battery, capacity_ah=capacity_ah, cell_r0_ohm=0.05, discharge_w_allowed=allowed_w)
    thermal = replace(
        s.thermal, radiator_m2=radiator_m2, coolant_j_per_k=1500.0, radiator_w_per_k=400.0, flow_w_per_k=400.0, groups=2
    )
    return replace(s, battery=battery, thermal=thermal)


@lru_cache(maxsize=4096)
def speed(workload: int, share: float) -> float:
    return float(lib.plant_speed(workload, share))


def ocv_v(s: Satellite, soc: float) -> float:
    return float(np.interp(soc, np.linspace(0, 1, 11), s.battery.ocv_cell_v)) * s.battery.series_cells


@dataclass(frozen=True)
class State:
    """Temperatures in degC, charge in ampere seconds, who is up."""

    coolant: float
    panel: float
    charge_as: float
    up: tuple[bool, ...]


class Oracle:
    """The most work of any sequence of decisions out of a few levels, on, off and boot, for every node and step."""

    def __init__(self, tiny: Tiny) -> None:
        self.tiny, self.s = tiny, tiny.satellite
        self.capacity_as = 3600 * self.s.battery.capacity_ah * (1 - 5 * 0.32 / 45)  # at 20 degC
        self.choices = [*("off", "boot", "idle"), *tiny.levels]

    def best(self) -> float:
        start = State(self.s.thermal.initial_c, self.s.thermal.initial_c, self.capacity_as * self.s.battery.soc_initial,
                      (False,) * self.tiny.nodes)  # fmt: skip
        return self._best(start, 0)

    def _best(self, state: State, k: int) -> float:
        if k == len(self.tiny.available_w):
            return 0.0
        best = 0.0
        for actions in combinations_with_replacement(self.choices, self.tiny.nodes):
            for order in {actions, actions[::-1]}:
                after = self._step(state, k, order)
                if after is not None:
                    best = max(best, after[1] + self._best(after[0], k + 1))
        return best

    def _step(self, state: State, k: int, actions: tuple) -> tuple[State, float] | None:
        """What a step makes of it, or None where it breaks a rule."""
        if any(a not in ("off", "boot") and not up for a, up in zip(actions, state.up, strict=True)):
            return None
        work, charge = 0.0, state.charge_as
        coolant, panel = state.coolant, state.panel
        die = [coolant] * self.tiny.nodes
        h = STEP_S / SUBSTEPS
        for _ in range(SUBSTEPS):
            watts, caps, speeds = self._nodes(actions, coolant, die)
            if caps > self.tiny.guarantee_w[k]:
                return None
            work += speeds * h
            moved = self._battery(self.tiny.available_w[k], sum(watts), charge, h)
            if moved is None:
                return None
            charge, source = moved
            rest = self.tiny.hotel_w + source * (1 / self.s.array.converter_efficiency - 1)
            coolant, panel = self._heat(coolant, panel, sum(watts) + rest, h)
            die = [coolant + w * self._rise() for w in watts]
        up = tuple(a == "boot" or (a != "off" and was) for a, was in zip(actions, state.up, strict=True))
        return State(coolant, panel, charge, up), work

    def _rise(self) -> float:
        n = self.s.node
        return n.die_r_k_per_w + n.plate_r_k_per_w + self.s.thermal.groups / self.s.thermal.flow_w_per_k

    def _nodes(self, actions: tuple, coolant: float, die: list[float]) -> tuple[list[float], float, float]:
        n, watts, caps, speeds = self.s.node, [], 0.0, 0.0
        for action, die_c in zip(actions, die, strict=True):
            idle = n.idle_w * (1 + 0.006 * min(max(die_c - 50, -60), 60))
            if action in ("off", "boot"):
                watts.append(n.boot_w if action == "boot" else 0.0)
                caps += n.floor_w if action == "boot" else 0.0
                continue
            share = 0.0 if action == "idle" else float(action)
            throttle = n.floor_w + (n.max_w - n.floor_w) * min(max((n.die_limit_c - die_c) / 5, 0), 1)
            most = (0.995 * min(throttle, n.max_w) - idle) / self.tiny.span_w
            share = max(0.0, min(share, most))
            watts.append(idle + share * self.tiny.span_w)
            caps += max(n.floor_w, watts[-1] / 0.995 if share > 0 else 0.0)
            speeds += speed(self.tiny.workload, round(share, 6))
        return watts, caps, speeds

    def _battery(self, available: float, nodes_w: float, charge: float, h: float) -> tuple[float, float] | None:
        """(charge, source): a surplus charges within the limits, a deficit discharges above the floor."""
        b = self.s.battery
        load, soc = nodes_w + self.tiny.hotel_w, charge / self.capacity_as
        v, r = ocv_v(self.s, soc), b.cell_r0_ohm * b.series_cells * (1 + 12 / 25 + 4 / 25)
        if load > available:
            root = v * v - 4 * r * (load - available)
            if root < 0:
                return None
            charge -= (v - root**0.5) / (2 * r) * h
            return (charge, available) if charge >= b.soc_floor * self.capacity_as else None
        top = b.charge_cell_v * b.series_cells
        most = min(b.capacity_ah * b.charge_c_rate, max((top - v) / r, 0.0))
        spare = available - load
        amps = min(most, (-v + (v * v + 4 * r * spare) ** 0.5) / (2 * r))
        return charge + b.coulombic_efficiency * amps * h, load + amps * (v + r * amps)

    def _heat(self, coolant: float, panel: float, heat_w: float, h: float) -> tuple[float, float]:
        t = self.s.thermal
        steps = 6
        for _ in range(steps):
            flow = t.radiator_w_per_k * (coolant - panel)
            out = t.emissivity * SIGMA * t.radiator_m2 * (panel + 273.15) ** 4
            coolant += h / steps * (heat_w - flow) / (t.coolant_j_per_k * t.loops)
            panel += h / steps * (flow + self.tiny.absorbed_w - out) / (t.capacity_j_per_m2_k * t.radiator_m2)
        return coolant, panel
