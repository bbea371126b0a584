"""Planes above what nodes can do: speed over power of one node, and of any number of nodes that share watts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from hal._native import lib

Floats = npt.NDArray[np.float64]

PRICES = 12  # of a watt
CURVE_STEPS = 64  # of the plant's table of speeds, between which it is linear (csrc/plant/node.h)


def speed_table(workload: int) -> tuple[Floats, Floats]:
    """Share of dynamic power, and the plant's speed at it."""
    y = np.linspace(0, 1, CURVE_STEPS + 1)
    return y, np.array([lib.plant_speed(workload, float(v)) for v in y])


def hull_of(workload: int) -> tuple[Floats, Floats]:
    """Corners (share of dynamic power, speed) of the least concave function above a workload's speed."""
    corners: list[tuple[float, float]] = []
    for x, s in zip(*speed_table(workload), strict=True):
        while len(corners) > 1:
            (x0, s0), (x1, s1) = corners[-2:]
            if (s1 - s0) * (x - x1) > (s - s1) * (x1 - x0):
                break
            corners.pop()
        corners.append((float(x), float(s)))
    return np.array([c[0] for c in corners]), np.array([c[1] for c in corners])


def planes_of(workload: int, span_w: Floats, alive: Floats) -> Iterator[tuple[float, float, Floats]]:
    """(price, worth, rest (K)) with: work <= price x watts + worth x on + rest, means over each of K steps.

    span_w: (K, samples, n) dynamic power at full speed of each node; alive: (K, n) share of the step in which it can
    work. A node that is on works at most along its hull: speed <= price x its watts + gain, for any price, with gain
    the most of hull less price x watts; what its gain is above `worth` can be won at most once. Sums and means of such
    inequalities hold as well, whichever nodes are on and however the watts are shared.
    """
    y, speed = hull_of(workload)
    slopes = np.diff(speed) / np.diff(y)
    chosen = np.unique(slopes[np.linspace(0, len(slopes) - 1, min(PRICES, len(slopes))).astype(int)])
    typical = float(span_w.mean())
    for slope in [*chosen, 0.0]:
        price = float(slope) / typical
        gain = np.max(speed - price * span_w[..., None] * y, axis=-1)
        for worth in sorted({0.0, float(gain.mean())}):
            rest = (np.maximum(gain - worth, 0).mean(axis=1) * alive).sum(axis=-1)
            yield price, worth, rest
