"""What a team would use instead: five ways to share power among nodes, as their authors describe them.

Sources are those of docs/optimum.md. All of them know the true array power and the guarantee, and keep what `bare`
keeps for everybody: the lease rule, the reserve of the battery, throttles, and power for boots.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from flight.optimum.bare import RESERVE, Floats, Now, Policy


def _shared(now: Now, watts: float) -> Floats:
    """The same cap for every node that is up."""
    return np.full(len(now.up), np.clip(watts / max(int(now.up.sum()), 1), now.floor_w, now.max_w))


def equal_share(_: int) -> Policy:
    """What there is, divided by the nodes that are up."""
    return lambda now: _shared(now, min(now.budget_w, now.guarantee_w))


def static_cap(_: int) -> Policy:
    """One cap for the sun and one for the dark, fixed: nine tenths of the best share that either has had so far (a
    string may be lost, cells warm up), whatever there is now."""
    cap: dict[bool, float] = {}
    margin = 0.9

    def policy(now: Now) -> Floats:
        watts = min(now.budget_w, now.guarantee_w) / len(now.up)
        cap[now.dark] = max(cap.get(now.dark, 0.0), margin * watts)
        return np.full(len(now.up), np.clip(cap[now.dark], now.floor_w, now.max_w))

    return policy


def proportional_to_charge(_: int) -> Policy:
    """Caps rise with the state of charge, from the floor at the reserve to the greatest at full charge."""

    def policy(now: Now) -> Floats:
        share = min(max((now.soc - RESERVE) / (1 - RESERVE), 0.0), 1.0)
        return np.full(len(now.up), now.floor_w + share * (now.max_w - now.floor_w))

    return policy


class ThreeBands:
    """Dynamo (ISCA 2016): every 3 s, above 99 % of the limit cap down to 95 %, below 90 % uncap, in between hold. The
    cut is taken from those that draw most (high bucket first), down to the floor."""

    CAP, TARGET, UNCAP, PERIOD_S, BUCKET_W = 0.99, 0.95, 0.90, 3.0, 20.0

    def __init__(self) -> None:
        self._cap_w: Floats | None = None
        self._next_s = 0.0

    def __call__(self, now: Now) -> Floats:
        limit_w = min(now.budget_w, now.guarantee_w)
        if self._cap_w is None:
            self._cap_w = np.full(len(now.up), now.max_w)
        if now.t_s >= self._next_s:
            self._next_s = now.t_s + self.PERIOD_S
            drawn = np.where(now.up, now.draw_w, 0.0)
            if drawn.sum() > self.CAP * limit_w:
                self._cap_w = self._cut(drawn, float(drawn.sum()) - self.TARGET * limit_w, now)
            elif drawn.sum() < self.UNCAP * limit_w:
                self._cap_w = np.full(len(now.up), now.max_w)
        return self._cap_w.copy()

    def _cut(self, drawn: Floats, cut_w: float, now: Now) -> Floats:
        """Lowers the buckets from the top until the cut is made."""
        level = float(drawn.max())
        while level > now.floor_w and np.maximum(drawn - level, 0).sum() < cut_w:
            level -= self.BUCKET_W
        assert self._cap_w is not None
        level = max(level, now.floor_w)
        return np.where(drawn > level, level, np.minimum(self._cap_w, np.maximum(drawn, now.floor_w)))


class MultiplicativeDecrease:
    """Thunderbolt (OSDI 2020): once a second, above 98 % of the limit what is over the floor is cut to a hundredth,
    above 96 % to three quarters. Un-throttling is at random times for each node; here it takes one soft cut back at a
    time (set free at once, a few large nodes would jump over both thresholds)."""

    HARD, SOFT = (0.98, 0.01), (0.96, 0.75)
    FREE_S = 15.0, 45.0

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._share: Floats | None = None
        self._free_s: Floats | None = None

    def __call__(self, now: Now) -> Floats:
        n = len(now.up)
        if self._share is None or self._free_s is None:
            self._share, self._free_s = np.ones(n), np.zeros(n)
        freed = now.t_s >= self._free_s
        self._share = np.where(freed, np.minimum(np.maximum(self._share, 0.05) / self.SOFT[1], 1.0), self._share)
        self._free_s = np.where(freed, now.t_s + self._random.uniform(*self.FREE_S, n), self._free_s)
        self._watch(now)
        return np.asarray(now.floor_w + self._share * (now.max_w - now.floor_w))

    def _watch(self, now: Now) -> None:
        assert self._share is not None
        drawn = float(np.where(now.up, now.draw_w, 0.0).sum())
        limit_w = max(min(now.budget_w, now.guarantee_w), 1.0)
        for threshold, factor in (self.HARD, self.SOFT):
            if drawn > threshold * limit_w:
                over = np.maximum(now.draw_w - now.floor_w, 0) / (now.max_w - now.floor_w)
                self._share = np.minimum(self._share, over) * factor
                self._free_s = now.t_s + self._random.uniform(*self.FREE_S, len(now.up))
                return


BASELINES: dict[str, Callable[[int], Policy]] = {
    "equal-share": equal_share,
    "static-cap": static_cap,
    "proportional-to-soc": proportional_to_charge,
    "three-band": lambda _: ThreeBands(),
    "multiplicative-decrease": MultiplicativeDecrease,
}
"""name -> from a seed, a policy for one flight"""
