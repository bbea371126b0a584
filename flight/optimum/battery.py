"""The bound's battery: chemical energy at the ends of steps, and what goes in and out at the terminals."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from flight.optimum.environment import ZERO_C, Environment
from flight.optimum.program import Floats, Program
from hal.satellite import Satellite

WARMEST_C = 30.0  # of the pack: more than any flight of these cases warms it
ACTIVATION_K, REFERENCE_K = 19000 / 8.314462618, 298.0  # of the resistance (csrc/plant/battery.c)
PAIRS = ((12.0 / 25.0, 0.012 * 280), (4.0 / 25.0, 0.004 * 1900))  # R over R0, time constant (csrc/plant/battery.c)
ALL_R = 1 + sum(ratio for ratio, _ in PAIRS)  # over R0
CAPACITY_C = 25.0  # where the capacity is greatest (csrc/plant/battery.c)
MOST_DISCHARGE = 1.5  # over what leases may count on: nodes that boot draw more than the floor that leases count
SEGMENTS = 6  # tangents of a loss
CORNERS = 12  # of the open circuit's hulls over energy


@dataclass(frozen=True, slots=True)
class Pack:
    """Between what a pack may be during each of K steps, each (K): temperatures, and capacity over the file's."""

    coldest_c: Floats
    warmest_c: Floats
    least: Floats
    most: Floats

    @classmethod
    def between(cls, coldest_c: Floats, warmest_c: Floats) -> Self:
        """From temperatures at the ends of steps, each (K + 1)."""
        cold = np.minimum(coldest_c[1:], coldest_c[:-1])
        warm = np.maximum(warmest_c[1:], warmest_c[:-1])
        ends = np.array([[capacity_factor(float(t)) for t in v] for v in (cold, warm)])
        most = np.where((cold <= CAPACITY_C) & (warm >= CAPACITY_C), 1.0, ends.max(axis=0))
        return cls(cold, warm, ends.min(axis=0), most)

    @classmethod
    def of_anybody(cls, s: Satellite, steps: int, step_s: float) -> Self:
        """Whatever a controller does: from the start on the coldest pack is never used, and cools to its cold plate;
        the warmest always gives the most that it may. Both follow the plant's equation, whose slope rises with the loss
        and falls with the temperature, so that no other pack crosses them."""
        b = s.battery
        amps = MOST_DISCHARGE * b.discharge_w_allowed / (ocv_v(s, b.soc_floor) * 0.9)
        charging_w = (1 - b.coulombic_efficiency) * b.capacity_ah * b.charge_c_rate * b.charge_cell_v * b.series_cells
        cold, warm = [b.temp_initial_c], [b.temp_initial_c]
        for _ in range(steps):
            loss_w = amps**2 * resistance_ohm(s, warm[-1]) * ALL_R + charging_w
            for temps, heat_w in ((cold, 0.0), (warm, loss_w)):
                rate = (heat_w - b.sink_w_per_k * (temps[-1] - b.sink_c)) / b.heat_capacity_j_per_k
                temps.append(temps[-1] + step_s * rate)
        return cls.between(np.array(cold), np.minimum(warm, WARMEST_C))


def capacity_factor(temp_c: float) -> float:
    """Of the file's (csrc/plant/battery.c)."""
    return 1 - (25 - temp_c) * (0.32 / 45) if temp_c < 25 else 1 - (temp_c - 25) * (0.03 / 20)


def ocv_v(s: Satellite, soc: float) -> float:
    """Of the pack, open circuit."""
    b = s.battery
    return float(np.interp(soc, np.linspace(0, 1, len(b.ocv_cell_v)), b.ocv_cell_v)) * b.series_cells


def energy_j(s: Satellite, soc: float, factor: float) -> float:
    """Chemical energy at a state of charge, 0 at empty."""
    x = np.linspace(0, soc, 401)
    ocv = np.interp(x, np.linspace(0, 1, len(s.battery.ocv_cell_v)), s.battery.ocv_cell_v) * s.battery.series_cells
    return float(np.trapezoid(ocv, x)) * s.battery.capacity_ah * 3600 * factor


def _drift_w(s: Satellite, pack: Pack) -> Floats:
    """Most that a pack that cools gives without being discharged: the same charge then stands at a higher voltage."""
    b = s.battery
    per_capacity = max(soc * ocv_v(s, soc) - energy_j(s, soc, 1.0) / (b.capacity_ah * 3600) for soc in (0.3, 0.6, 1.0))
    cooling_k_per_s = b.sink_w_per_k * np.maximum(pack.warmest_c - b.sink_c, 0) / b.heat_capacity_j_per_k
    return per_capacity * b.capacity_ah * 3600 * (0.32 / 45) * cooling_k_per_s


def full_soc(s: Satellite) -> float:
    """Where the open circuit stands at the charger's voltage, or the limit, or the start."""
    b = s.battery
    at_voltage = float(np.interp(b.charge_cell_v, b.ocv_cell_v, np.linspace(0, 1, len(b.ocv_cell_v))))
    return max(min(b.soc_limit, at_voltage), b.soc_initial)


def add_battery(p: Program, env: Environment, s: Satellite, pack: Pack, end_j: float) -> None:
    """stored_j at the ends of steps; charge_w into, discharge_w out of the terminals. The bus balances."""
    b = s.battery
    start = energy_j(s, b.soc_initial, capacity_factor(b.temp_initial_c))
    low = np.append(start, energy_j(s, b.soc_floor, 1.0) * pack.least)
    high = np.append(start, energy_j(s, full_soc(s), 1.0) * pack.most)
    low[-1] = min(max(low[-1], min(start, end_j)), high[-1])
    stored = p.variable("stored_j", low, high, extra=1)
    charge = p.variable("charge_w", 0, b.charge_cell_v * b.series_cells * b.capacity_ah * b.charge_c_rate)
    discharge, loss = p.variable("discharge_w"), p.variable("loss_w")
    _losses(p, env, s, pack)
    gain, h = b.coulombic_efficiency, env.step_s
    p.row(
        _drift_w(s, pack) * h, (1, stored[1:]), (-1, stored[:-1]), (-gain * h, charge), (h, discharge), (gain * h, loss)
    )
    p.equal(-env.hotel_w, (1, p.at["nodes_w"]), (1, charge), (-1, discharge), (-1, p.at["source_w"]))
    _charging(p, env, s, pack)


def _lines(x: Floats, y: Floats, sign: float) -> list[tuple[float, float]]:
    """(slope, value at 0) of the lines whose least (sign 1) is the least concave function above the points, or whose
    greatest (sign -1) is the greatest convex one below them."""
    hull = [0]
    for k in range(1, len(x)):
        while len(hull) > 1:
            a, b = hull[-2], hull[-1]
            if sign * ((y[b] - y[a]) * (x[k] - x[a]) - (y[k] - y[a]) * (x[b] - x[a])) > 0:
                break
            hull.pop()
        hull.append(k)
    lines = []
    for a, b in itertools.pairwise(hull):
        slope = float((y[b] - y[a]) / (x[b] - x[a]))
        lines.append((slope, float(y[a] - slope * x[a])))
    return lines


def resistance_ohm(s: Satellite, temp_c: float) -> float:
    """Of the pack, the pairs apart (csrc/plant/battery.c)."""
    warmth = math.exp(ACTIVATION_K * (1 / (temp_c + ZERO_C) - 1 / REFERENCE_K))
    return s.battery.cell_r0_ohm * s.battery.series_cells * warmth


def _resistances(s: Satellite, temps_c: Floats) -> Floats:
    return np.array([resistance_ohm(s, float(t)) for t in temps_c])


def _charging(p: Program, env: Environment, s: Satellite, pack: Pack) -> None:
    """What the pack takes. Its current is the charger's at most, at a voltage that the coldest pack, which stands
    highest for its energy, has at that current at most; and the terminals stand at the charger's voltage at most, above
    an open circuit that is least for the warmest pack. Over a step the mean energy is not above that at its start plus
    half of what the charger gives in it, and not below that at its end less the same; hulls of the open circuit over
    energy keep the inequality for means."""
    b = s.battery
    most_a, top_v = b.capacity_ah * b.charge_c_rate, b.charge_cell_v * b.series_cells
    half_j = 0.5 * env.step_s * most_a * top_v
    soc = np.linspace(0, full_soc(s), CORNERS * 4)
    open_v = np.array([ocv_v(s, float(x)) for x in soc])
    high_r = _resistances(s, pack.coldest_c) * ALL_R
    unit_j = np.array([energy_j(s, float(x), 1.0) for x in soc])  # of a pack with the file's capacity
    charge, stored = p.at["charge_w"], p.at["stored_j"]
    for unit_slope, at_zero in _lines(unit_j, open_v, 1.0):
        slope = unit_slope / pack.least
        # charge <= most_a x (hull(stored + half_j) + most_a x high_r)
        p.row(most_a * (at_zero + slope * half_j + most_a * high_r), (1, charge), (-most_a * slope, stored[:-1]))
    r0 = _resistances(s, pack.warmest_c)
    pairs_r, lag_vs = r0 * (ALL_R - 1), r0 * sum(ratio * tau for ratio, tau in PAIRS)
    span_a = MOST_DISCHARGE * b.discharge_w_allowed / float(open_v[-1]) + most_a
    lag_v, least_v = lag_vs * span_a / env.step_s, ocv_v(s, b.soc_floor) * 0.9
    for unit_slope, at_zero in _lines(unit_j, open_v, -1.0):
        slope = unit_slope / pack.most
        # (r0 + pairs_r) charge / top_v - pairs_r discharge / least_v <= top_v + lag_v - hull(stored' - half_j)
        p.row(top_v + lag_v - at_zero + slope * half_j, ((r0 + pairs_r) / top_v, charge),
              (-pairs_r / least_v, p.at["discharge_w"]), (slope, stored[1:]))  # fmt: skip


def _losses(p: Program, env: Environment, s: Satellite, pack: Pack) -> None:
    """Resistances of the pack at its warmest (they are least), the current least at the highest voltage. A pair's
    voltage follows its current: over a step its loss is not below that of the mean current, less what its end may lag.
    """
    b = s.battery
    r0 = _resistances(s, pack.warmest_c)
    all_r = r0 * ALL_R
    lag_vs = r0 * sum(ratio * tau for ratio, tau in PAIRS)
    top_v, open_v = b.charge_cell_v * b.series_cells, ocv_v(s, full_soc(s))
    most_a = MOST_DISCHARGE * b.discharge_w_allowed / open_v
    span_a = most_a + b.capacity_ah * b.charge_c_rate
    terms: list[tuple[str, list[tuple[Floats, Floats]]]] = [("out_loss_w", []), ("in_loss_w", [])]
    for a in np.linspace(most_a / SEGMENTS, most_a, SEGMENTS):
        lag = 2 * a * lag_vs * span_a / env.step_s
        out_w, slope = open_v * a - all_r * a * a, 2 * all_r * a / (open_v - 2 * all_r * a)
        terms[0][1].append((slope, all_r * a * a - slope * out_w - lag))
        terms[1][1].append((2 * all_r * a / top_v, -all_r * a * a - lag))
    for (name, tangents), flow in zip(terms, ("discharge_w", "charge_w"), strict=True):
        loss = p.variable(name)
        for slope, at_zero in tangents:
            p.row(-at_zero, (slope, p.at[flow]), (-1, loss))
    p.row(0, (1, p.at["out_loss_w"]), (1, p.at["in_loss_w"]), (-1, p.at["loss_w"]))
