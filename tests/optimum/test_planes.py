"""Planes above the speed of nodes that share watts, against allocations that know nothing of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flight.optimum.planes import hull_of, planes_of, speed_table

WORKLOADS = (1, 2, 3)


@pytest.mark.parametrize("workload", WORKLOADS)
def test_the_hull_is_concave_rises_and_lies_above_the_speed(workload: int):
    y, speed = hull_of(workload)
    slopes = np.diff(speed) / np.diff(y)
    assert (y[0], y[-1]) == (0, 1)
    assert np.all(np.diff(slopes) < 0)
    assert np.all(slopes > 0)
    at, real = speed_table(workload)
    hull = np.interp(at, y, speed)
    assert np.all(hull >= real - 1e-12)
    assert np.isclose(hull, real).any(axis=0)


@settings(max_examples=60)
@given(
    st.sampled_from(WORKLOADS),
    st.lists(st.tuples(st.floats(50, 900), st.floats(0, 1), st.booleans()), min_size=1, max_size=6),
)
def test_no_allocation_is_above_a_plane(workload, nodes):
    """Shares of power at random; nodes that are off draw and do nothing."""
    span = np.array([s for s, _, _ in nodes])
    on = np.array([o for _, _, o in nodes])
    share = np.array([y for _, y, _ in nodes]) * on
    table = speed_table(workload)
    work = float(np.interp(share, *table)[on].sum())
    watts = float((share * span).sum())
    planes = planes_of(workload, span.reshape(1, 1, -1), np.ones((1, len(nodes))))
    assert work <= min(p * watts + w * on.sum() + rest[0] for p, w, rest in planes) + 1e-9


@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_planes_touch_what_the_best_allocation_does(workload: int, count: int):
    """V(X, n) of equal nodes by brute force over shares; time-shared between two where the curve is not concave."""
    span = 600.0
    planes = list(planes_of(workload, np.full((1, 1, 3), span), np.ones((1, 3))))
    y, speed = speed_table(workload)
    for watts in np.linspace(0.05, 1, 12) * span * count:
        each = watts / count / span
        lower, upper = y[y <= each], y[y >= each]
        a, b = np.meshgrid(np.arange(len(lower)), np.arange(len(y) - len(upper), len(y)))
        gap = np.maximum(y[b] - y[a], 1e-12)
        mixed = speed[a] + (speed[b] - speed[a]) * np.clip((each - y[a]) / gap, 0, 1)
        best = count * float(mixed.max())
        above = min(p * watts + w * count + rest[0] for p, w, rest in planes)
        assert best - 1e-9 <= above <= best + 0.02 * count
