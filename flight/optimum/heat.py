"""How hot and how cold coolant and panels can be at the ends of steps, whatever a controller does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flight.optimum.environment import SIGMA, ZERO_C, Environment
from hal.satellite import Satellite

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SUBSTEP_S = 1.0
FOLLOW_S = 8.0  # plates, dies, HBM and throttles follow the coolant within that
ROUNDING_K = 0.3  # of an explicit step of that length
BAND_K = 1.5  # of the boards' throttle below a limit (csrc/boards/throttle.h)
REGULATION = 0.995  # of its cap that a node draws at most (csrc/plant/node.c)
LEAK_PER_K, LEAK_C = 0.006, 50.0  # of idle power, over the die's temperature (csrc/plant/node.c)
HBM = {1: 1.0, 2: 0.85, 3: 2.0}  # heat of the HBM per watt of the node (csrc/plant/node.c)


@dataclass(frozen=True, slots=True)
class Ranges:
    """degC at the K + 1 ends of steps; all nodes as hot as throttles let them be, and all nodes off."""

    coolant_low: Floats
    coolant_high: Floats
    panel_low: Floats
    panel_high: Floats


def per_watt(s: Satellite) -> float:
    """K/W of a die over the loop's coolant by the node's own draw: its share of the group's stream, plate and die."""
    return s.node.plate_r_k_per_w + s.node.die_r_k_per_w + s.thermal.groups / s.thermal.flow_w_per_k


def limits_of(s: Satellite, workload: int) -> tuple[tuple[float, float], ...]:
    """(limit in degC, K/W over the loop's coolant) of die and HBM."""
    n = s.node
    own = per_watt(s) - n.die_r_k_per_w
    return (n.die_limit_c, own + n.die_r_k_per_w), (n.hbm_limit_c, own + n.hbm_r_k_per_w * HBM[workload])


def throttled_w(s: Satellite, workload: int, coolant_c: float) -> float:
    """The most that a node draws for more than a moment at a coolant temperature, by its board's throttle. Leakage may
    lift the idle draw above the floor."""
    n = s.node
    slope, most = (n.max_w - n.floor_w) / BAND_K * REGULATION, REGULATION * n.max_w
    for limit_c, r in limits_of(s, workload):
        most = min(most, (REGULATION * n.floor_w + slope * (limit_c - coolant_c)) / (1 + slope * r))
    hot_idle_w = n.idle_w * (1 + n.power_spread) * (1 + LEAK_PER_K * (n.die_limit_c + BAND_K - LEAK_C))
    return max(most, hot_idle_w, n.floor_w)


def _appetite(env: Environment, s: Satellite, workload_of: Ints, workload: int) -> Floats:
    """(K) what the nodes of a workload would draw together at full speed, with dies at their limit."""
    mine = workload_of == workload
    n = s.node
    idle_w = n.idle_w * env.efficiency[mine] * (1 + LEAK_PER_K * (n.die_limit_c + BAND_K - LEAK_C))
    full: Floats = np.maximum((env.dynamic_w[:, :, mine] + idle_w).sum(axis=-1).max(axis=1), mine.sum() * n.boot_w)
    return full


def _heat(env: Environment, s: Satellite, workload_of: Ints, lag_k: float) -> Callable[[int, float], float]:
    """Most heat of all nodes in step k at a coolant temperature."""
    classes = [(c, int((workload_of == c).sum()), _appetite(env, s, workload_of, c)) for c in np.unique(workload_of)]
    n = s.node  # leases hold the draw, but for nodes that boot, of which they count the floor
    leased = REGULATION * np.maximum(env.guarantee_w, 0) + len(workload_of) * max(
        0.0, n.boot_w - REGULATION * n.floor_w
    )

    def heat(k: int, coolant_c: float) -> float:
        free = sum(min(n * throttled_w(s, int(c), coolant_c - lag_k), float(full[k])) for c, n, full in classes)
        return min(free, float(leased[k]))

    return heat


def _trajectory(env: Environment, s: Satellite, nodes_w: Callable[[int, float], float] | None) -> tuple[Floats, Floats]:
    """Coolant and panels, in K. Both equations rise with the other's temperature, so more heat at every moment means
    higher temperatures at every moment; the same holds when the heat falls with the coolant's temperature."""
    t, eta = s.thermal, s.array.converter_efficiency
    emit, capacity = t.emissivity * SIGMA * t.radiator_m2, t.capacity_j_per_m2_k * t.radiator_m2
    coolant = panel = t.initial_c + ZERO_C
    coolants, panels = [coolant], [panel]
    substeps = max(1, round(env.step_s / SUBSTEP_S))
    h = env.step_s / substeps
    for k in range(len(env.available_w)):
        rest = env.hotel_w[k] + (env.available_w[k] * (1 / eta - 1) if nodes_w else 0.0)
        ua, cool = t.radiator_w_per_k * env.area[k], t.coolant_j_per_k * t.loops * env.area[k]
        for _ in range(substeps):
            heat = rest + (nodes_w(k, coolant - ZERO_C) if nodes_w else 0.0)
            flow = ua * (coolant - panel)
            coolant += h * (heat - flow) / cool
            panel += h * (flow + env.area[k] * (env.absorbed_w[k] - emit * panel**4)) / (capacity * env.area[k])
        coolants.append(coolant)
        panels.append(panel)
    return np.array(coolants) - ZERO_C, np.array(panels) - ZERO_C


def ranges_of(env: Environment, s: Satellite, workload_of: Ints) -> Ranges:
    """The ranges of a flight."""
    t = s.thermal
    held = t.coolant_j_per_k * t.loops + t.capacity_j_per_m2_k * t.radiator_m2
    lag_k = FOLLOW_S * (s.node.max_w * len(workload_of) + float(env.hotel_w.max())) / held
    hot = _trajectory(env, s, _heat(env, s, workload_of, lag_k))
    cold = _trajectory(env, s, None)
    return Ranges(cold[0] - ROUNDING_K, hot[0] + ROUNDING_K, cold[1] - ROUNDING_K, hot[1] + ROUNDING_K)
