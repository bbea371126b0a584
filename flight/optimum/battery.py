"""The bound's battery: chemical energy at the ends of steps, and what goes in and out at the terminals."""

from __future__ import annotations

import numpy as np

from flight.optimum.environment import Environment
from flight.optimum.program import Program
from hal.satellite import Satellite

COLDEST_C, WARMEST_C = 8.0, 25.0
"""of the pack: its cold plate; more than its losses at both limits, all the time of an orbit, make of it"""
PAIRS = ((12.0 / 25.0, 0.012 * 280), (4.0 / 25.0, 0.004 * 1900))  # R over R0, time constant (csrc/plant/battery.c)
SEGMENTS = 6  # tangents of a loss


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


def _drift_w(s: Satellite) -> float:
    """Most that a pack that cools gives without being discharged: the same charge then stands at a higher voltage."""
    b = s.battery
    per_capacity = max(soc * ocv_v(s, soc) - energy_j(s, soc, 1.0) / (b.capacity_ah * 3600) for soc in (0.3, 0.6, 1.0))
    cooling_k_per_s = b.sink_w_per_k * (WARMEST_C - COLDEST_C) / b.heat_capacity_j_per_k
    return per_capacity * b.capacity_ah * 3600 * (0.32 / 45) * cooling_k_per_s


def full_soc(s: Satellite) -> float:
    """Where the open circuit stands at the charger's voltage, or the limit, or the start."""
    b = s.battery
    at_voltage = float(np.interp(b.charge_cell_v, b.ocv_cell_v, np.linspace(0, 1, len(b.ocv_cell_v))))
    return max(min(b.soc_limit, at_voltage), b.soc_initial)


def add_battery(p: Program, env: Environment, s: Satellite, end_j: float) -> None:
    """stored_j at the ends of steps; charge_w into, discharge_w out of the terminals. The bus balances."""
    b = s.battery
    start = energy_j(s, b.soc_initial, capacity_factor(b.temp_initial_c))
    low = np.full(p.steps + 1, energy_j(s, b.soc_floor, capacity_factor(COLDEST_C)))
    high = np.full(p.steps + 1, energy_j(s, full_soc(s), capacity_factor(WARMEST_C)))
    low[0] = high[0] = start
    low[-1] = max(low[-1], min(start, end_j))
    stored = p.variable("stored_j", low, high, extra=1)
    charge = p.variable("charge_w", 0, b.charge_cell_v * b.series_cells * b.capacity_ah * b.charge_c_rate)
    discharge, loss = p.variable("discharge_w"), p.variable("loss_w")
    _losses(p, env, s)
    gain, h = b.coulombic_efficiency, env.step_s
    p.row(_drift_w(s) * h, (1, stored[1:]), (-1, stored[:-1]), (-gain * h, charge), (h, discharge), (gain * h, loss))
    p.equal(-env.hotel_w, (1, p.at["nodes_w"]), (1, charge), (-1, discharge), (-1, p.at["source_w"]))


def _losses(p: Program, env: Environment, s: Satellite) -> None:
    """Resistances of the pack at its warmest (they are least), the current least at the highest voltage. A pair's
    voltage follows its current: over a step its loss is not below that of the mean current, less what its end may lag.
    """
    b = s.battery
    r0 = b.cell_r0_ohm * b.series_cells
    all_r = r0 * (1 + sum(ratio for ratio, _ in PAIRS))
    lag_vs = r0 * sum(ratio * tau for ratio, tau in PAIRS)
    top_v, open_v = b.charge_cell_v * b.series_cells, ocv_v(s, full_soc(s))
    most_a = 1.5 * b.discharge_w_allowed / open_v
    span_a = most_a + b.capacity_ah * b.charge_c_rate
    terms: list[tuple[str, list[tuple[float, float]]]] = [("out_loss_w", []), ("in_loss_w", [])]
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
