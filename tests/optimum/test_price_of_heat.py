"""What a price of heat on each loop would give over holding each node at its own limit (docs/estimation.md)."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq, linprog

from flight.boards import EARTH_W_M2, SIGMA, hull_of
from flight.optimum.cases import find

SATELLITE = find("hot-radiator").rig(16, 1).satellite
NODE, THERMAL = SATELLITE.node, SATELLITE.thermal
HBM = {"training": 1.0, "prefill": 0.85, "decode": 2.0}  # docs/physics.md
WORKLOAD = {w.name: w for w in SATELLITE.workload}
IDLE_W = NODE.idle_w * 1.15  # a hot die leaks
REST_W = SATELLITE.bus.hotel_w / 2 + 320  # and half of the converter's loss
PLATE, DIE, HBM_R = NODE.plate_r_k_per_w, NODE.die_r_k_per_w, NODE.hbm_r_k_per_w


def _coolant_c(nodes_w: float) -> float:
    area_m2, loops = THERMAL.radiator_m2 / THERMAL.loops, THERMAL.loops
    out_w = nodes_w + REST_W
    panel_k = ((out_w / area_m2 + THERMAL.emissivity * EARTH_W_M2) / (THERMAL.emissivity * SIGMA)) ** 0.25
    return panel_k - 273.15 + out_w / (THERMAL.radiator_w_per_k / loops) + nodes_w / (THERMAL.flow_w_per_k / loops)


def _pieces(name: str) -> list[tuple[float, float]]:
    """Widths in W and the speed that each adds."""
    w = WORKLOAD[name]
    return [(width * sum(w.dynamic_w) / 2, speed) for width, speed, _ in hull_of(w)]


def _most_w(name: str) -> float:
    return min(0.995 * NODE.max_w, IDLE_W + sum(WORKLOAD[name].dynamic_w) / 2)


def _limits(name: str, guard_k: float) -> list[tuple[float, float]]:
    """K/W over the coolant, and the temperature to hold."""
    return [(PLATE + DIE, NODE.die_limit_c - guard_k), (PLATE + HBM_R * HBM[name], NODE.hbm_limit_c - guard_k)]


def _each_at_its_limit(names: list[str], guard_k: float) -> float:
    def draws(coolant_c: float) -> list[float]:
        held = [min((limit - coolant_c) / r for r, limit in _limits(name, guard_k)) for name in names]
        return [min(_most_w(name), max(NODE.floor_w, h)) for name, h in zip(names, held, strict=True)]

    coolant_c = brentq(lambda t: _coolant_c(sum(draws(t))) - t, -20, 90)
    work = 0.0
    for name, draw in zip(names, draws(coolant_c), strict=True):
        left = draw - IDLE_W
        for width, speed in _pieces(name):
            work += speed * min(max(left, 0.0), width) / width
            left -= width
    return work


def _best(names: list[str], guard_k: float) -> float:
    """Shares at one price for a watt in the loop; the coolant linear around where it settles."""
    pieces = [(i, *piece) for i, name in enumerate(names) for piece in _pieces(name)]
    of = np.array([[float(i == at) for at, _, _ in pieces] for i in range(len(names))])
    slopes = np.array([speed / width for _, width, speed in pieces])
    total_w = 500.0 * len(names)
    for _ in range(60):
        base_c, k = _coolant_c(total_w), _coolant_c(total_w + 1) - _coolant_c(total_w)
        rows, limits = list(of), [_most_w(name) - IDLE_W for name in names]
        for i, name in enumerate(names):
            for r, limit in _limits(name, guard_k):
                rows.append(k * of.sum(axis=0) + r * of[i])
                limits.append(limit - base_c - k * (len(names) * IDLE_W - total_w) - r * IDLE_W)
        found = linprog(-slopes, np.array(rows), np.array(limits), bounds=[(0, width) for _, width, _ in pieces])
        drawn_w = IDLE_W * len(names) + float(found.x.sum())
        if abs(drawn_w - total_w) < 0.1:
            return -float(found.fun)
        total_w = (total_w + drawn_w) / 2
    raise AssertionError("the coolant does not settle")


@pytest.mark.parametrize("mix", [(4, 2, 2), (6, 1, 1), (2, 3, 3), (8, 0, 0), (5, 3, 0), (4, 0, 4)])
def test_each_node_at_its_own_limit_is_as_good_as_a_price_of_heat(mix: tuple[int, int, int]):
    names = [name for name, count in zip(HBM, mix, strict=True) for _ in range(count)]
    held, best = _each_at_its_limit(names, 1.0), _best(names, 1.0)
    assert held <= best + 1e-3
    assert best < 1.002 * held
    kelvin = _each_at_its_limit(names, 0.0) / held - 1
    assert kelvin > 4 * (best / held - 1)
