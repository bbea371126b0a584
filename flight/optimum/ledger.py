"""Where the lost work went: every step's gap between the bound's plan and the flight, by cause.

A step's work is what it does with its dynamic energy: what nodes draw less what they draw to be on and to boot. So

    gap = w (boots + idle + not drawn) + shares,    w = the plan's work per joule of dynamic energy in that step,

where boots and idle are what the flight spent on them beyond the plan, not drawn is what nodes drew less than in the
plan, and shares is the rest: what the flight made of its dynamic energy less than the plan. Not drawn is the boots' in
the start and behind a dawn, a ramp's before a dusk, the derate's where a die or HBM stands at its limit, and the
forecast's elsewhere: the flight kept energy that the plan, which knows the future, spent. All add up to the gap.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from flight.optimum.bound import CLASSES, Bound
from flight.optimum.environment import BOOT_STEPS, Environment
from flight.optimum.fly import Flown

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

START_S, DAWN_S, DUSK_S = 480.0, 300.0, 180.0
NEAR_K = 2.5  # below its limit: a node is derated
CAUSES = {
    "boots": "energy of boots beyond the plan's, and watts not drawn while nodes boot at the start and behind a dawn",
    "idle floors": "what nodes draw only to be on, beyond the plan's",
    "ramps": "watts not drawn before an eclipse begins",
    "derates": "watts not drawn where a die or HBM is at its limit",
    "forecast": "watts not drawn elsewhere: energy kept that the plan, which knows the future, spends",
    "shares": "the rest: what was made of the same watts; whole nodes instead of fractions, leases, swings of the draw",
}


def on_grid(flown: Flown, env: Environment, name: str) -> Floats:
    """(K) mean of a sampled truth over the steps."""
    samples = flown.samples
    ends = np.arange(len(env.available_w) + 1) * env.step_s
    total = np.concatenate([[0.0], np.cumsum(samples[name] * np.diff(samples["t_s"], prepend=0.0))])
    means: Floats = np.diff(np.interp(ends, np.concatenate([[0.0], samples["t_s"]]), total)) / env.step_s
    return means


def speed_flown(flown: Flown, env: Environment) -> Floats:
    """(K) work per second of all nodes together."""
    ends = np.arange(len(env.available_w) + 1) * env.step_s
    work = np.interp(
        ends, np.concatenate([[0.0], flown.samples["t_s"]]), np.concatenate([[0.0], flown.samples["work"]])
    )
    return np.asarray(np.diff(work) / env.step_s)


def _sum(bound: Bound, name: str) -> Floats:
    """(K) of all workloads."""
    return np.asarray(np.sum([bound.series[f"{name}{c}"] for c in CLASSES if f"{name}{c}" in bound.series], axis=0))


def speed_bound(bound: Bound) -> Floats:
    """(K) work per second of the bound's plan."""
    return _sum(bound, "work")


def phases_of(env: Environment) -> dict[str, Bools]:
    """Every step in one phase."""
    k = len(env.available_w)
    t = (np.arange(k) + 0.5) * env.step_s
    dark = env.available_w < 0.3 * env.available_w.max()
    phases = {"start": t < START_S}
    phases["eclipse"] = dark & ~phases["start"]
    after, before = (max(1, round(s / env.step_s)) for s in (DAWN_S, DUSK_S))
    came = np.convolve(dark, np.ones(after + 1))[:k] > 0
    comes = np.convolve(dark[::-1], np.ones(before + 1))[:k][::-1] > 0
    left = ~phases["start"] & ~dark
    phases["dawn"] = left & came
    phases["dusk"] = left & comes & ~came
    phases["sun"] = left & ~came & ~comes
    return {name: steps for name, steps in phases.items() if steps.any()}


def _hot(flown: Flown, env: Environment) -> Bools:
    n = flown.rig.satellite.node
    die, hbm = on_grid(flown, env, "die_max_c"), on_grid(flown, env, "hbm_max_c")
    return np.asarray((die > n.die_limit_c - NEAR_K) | (hbm > n.hbm_limit_c - NEAR_K))


def losses_of(flown: Flown, env: Environment, bound: Bound) -> dict[str, Floats]:
    """Cause -> (K) shares of the bound lost in each step; the keys are those of CAUSES."""
    node = flown.rig.satellite.node
    up, booting, drawn = (on_grid(flown, env, n) for n in ("nodes_up", "nodes_booting", "nodes_w"))
    begun = _sum(bound, "boot")
    boots_w = node.boot_w * sum(np.concatenate([np.zeros(j), begun[: len(begun) - j]]) for j in range(BOOT_STEPS))
    on, dynamic_w = _sum(bound, "on"), _sum(bound, "watts")
    idle_w = _sum(bound, "total") - dynamic_w
    of_one_w = np.where(on > 0.5, idle_w / np.maximum(on, 0.5), node.idle_w)
    worth = speed_bound(bound) / np.maximum(dynamic_w, node.idle_w)
    share = env.step_s / bound.work
    not_drawn = worth * (bound.series["nodes_w"] - drawn) * share
    losses = {cause: np.zeros(len(up)) for cause in CAUSES}
    losses["boots"] = worth * (node.boot_w * booting - boots_w) * share
    losses["idle floors"] = worth * (of_one_w * up - idle_w) * share
    hot = _hot(flown, env)
    for phase, steps in phases_of(env).items():
        cause = {"start": "boots", "dawn": "boots", "dusk": "ramps"}.get(phase)
        for where, name in ((steps & ~hot, cause or "forecast"), (steps & hot, cause or "derates")):
            losses[name] = losses[name] + np.where(where, not_drawn, 0)
    gap = (speed_bound(bound) - speed_flown(flown, env)) * share
    losses["shares"] = gap - sum(losses[cause] for cause in CAUSES if cause != "shares")
    return losses
