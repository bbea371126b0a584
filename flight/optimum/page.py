"""A case as a page: the flight against the bound's plan over time, and where the lost percent went.

Data alone, in the shape of ground's report; who may know both packages writes the page (flight/cli/optimum.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from flight.optimum.battery import energy_j
from flight.optimum.bound import CLASSES, Bound
from flight.optimum.environment import Environment
from flight.optimum.fly import Flown
from hal.icd import Workload

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

START_S, DAWN_S, DUSK_S = 480.0, 300.0, 180.0
FOOTER = (
    "Solid: the flight, as it was. Dashed: the bound's plan, a linear program with perfect foresight over fractions of "
    "nodes; no controller delivers more, and none may reach it"
)
_KWH = 3.6e6


@dataclass(frozen=True, slots=True)
class Loss:
    """Of one phase, as shares of the bound: lost in all; of it what the energy would have given that was not drawn, and
    what was lost by how it was used. Energies of nodes in kWh."""

    phase: str
    lost: float
    not_drawn: float
    drawn_worse: float
    flown_kwh: float
    bound_kwh: float


def _on_grid(flown: Flown, env: Environment, name: str) -> Floats:
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


def speed_bound(bound: Bound) -> Floats:
    """(K) the same of the bound's plan."""
    return np.asarray(np.sum([bound.series[f"work{c}"] for c in CLASSES if f"work{c}" in bound.series], axis=0))


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
    return phases


def losses_of(flown: Flown, env: Environment, bound: Bound) -> list[Loss]:
    """What each phase lost against the bound."""
    gap = speed_bound(bound) - speed_flown(flown, env)
    drawn, planned = _on_grid(flown, env, "nodes_w"), bound.series["nodes_w"]
    found = []
    for phase, steps in phases_of(env).items():
        if not steps.any():
            continue
        lost = float(gap[steps].sum()) * env.step_s / bound.work
        mine, plan = (float(w[steps].sum()) * env.step_s for w in (drawn, planned))
        worth = float(speed_bound(bound)[steps].sum()) * env.step_s / max(plan, 1.0)
        not_drawn = (plan - mine) * worth / bound.work
        found.append(Loss(phase, lost, not_drawn, lost - not_drawn, mine / _KWH, plan / _KWH))
    return found


def _charge(bound: Bound, flown: Flown) -> Floats:
    """(K + 1) the plan's energy as the state of charge that it would be at 20 degC."""
    soc = np.linspace(0, 1, 101)
    table = np.array([energy_j(flown.rig.satellite, float(x), 0.9644) for x in soc])
    return np.interp(bound.series["stored_j"], table, soc)


def _series(label: str, colour: str, values: Floats, **options: Any) -> dict[str, Any]:
    return {"label": label, "colour": colour, "values": values, **options}


def page_of(flown: Flown, env: Environment, bound: Bound, tiles: list[dict[str, str]]) -> dict[str, Any]:
    """The page's data."""
    t = (np.arange(len(env.available_w)) + 0.5) * env.step_s
    plan, mine = bound.series, {n: _on_grid(flown, env, n) for n in flown.samples if n != "t_s"}
    count_on = np.sum([plan[f"on{c}"] for c in CLASSES if f"on{c}" in plan], axis=0)
    charge = _charge(bound, flown)
    held = plan["held_c"]
    charts = [
        ("power", "Power of the nodes", "kW", [
            _series("array could give", "sun", env.available_w / 1e3, fill=True),
            _series("nodes draw", "load", mine["nodes_w"] / 1e3),
            _series("plan: nodes draw", "accent", plan["nodes_w"] / 1e3, truth=True),
            _series("guaranteed", "guaranteed", env.guarantee_w / 1e3, off=True)]),
        ("speed", "Compute", "work units per second", [
            _series("flown", "work", speed_flown(flown, env)),
            _series("plan", "accent", speed_bound(bound), truth=True),
            _series("plan: nodes on", "lease", count_on, truth=True, off=True)]),
        ("soc", "State of charge", "%", [
            _series("flown", "battery", 100 * mine["soc"], fill=True),
            _series("plan", "accent", 50 * (charge[1:] + charge[:-1]), truth=True)]),
        ("temperature", "Temperatures", "°C", [
            _series("hottest die", "die", mine["die_max_c"]),
            _series("hottest HBM", "hbm", mine["hbm_max_c"]),
            _series("hottest coolant", "coolant", mine["coolant_max_c"]),
            _series("radiator", "guaranteed", mine["radiator_c"]),
            _series("plan: coolant and radiator", "accent", 0.5 * (held[1:] + held[:-1]), truth=True)]),
    ]  # fmt: skip
    dark = np.flatnonzero(np.diff(np.concatenate([[False], env.available_w < 0.3 * env.available_w.max(), [False]])))
    return {
        "t": t,
        "eclipses": [[float(a) * env.step_s, float(b) * env.step_s] for a, b in dark.reshape(-1, 2)],
        "tiles": tiles,
        "charts": [{"id": i, "title": title, "unit": unit, "zero": i != "temperature", "series": series}
                   for i, title, unit, series in charts],
        "truth": False,
        "heat": None,
        "jobs": [],
        "events": [],
    }  # fmt: skip


def class_losses(flown: Flown, env: Environment, bound: Bound) -> dict[str, float]:
    """Lost by each workload, as a share of the bound."""
    lost = {}
    for c in CLASSES:
        mine = flown.workload_of == c
        if mine.any():
            planned = float(bound.series[f"work{c}"].sum()) * env.step_s
            lost[Workload(c).name.lower()] = (planned - float(flown.work_of[mine].sum())) / bound.work
    return lost


def tiles_of(
    flown: Flown, env: Environment, bound: Bound, reference: float, best: tuple[str, float]
) -> list[dict[str, str]]:
    """The numbers in front of the plots."""

    def tile(label: str, value: str, note: str, tone: str = "plain") -> dict[str, str]:
        return {"label": label, "value": value, "note": note, "tone": tone}

    energy = flown.score["energy"]
    count = flown.violations
    tiles = [
        tile("Delivered of the bound", f"{100 * flown.work / bound.work:.2f} %",
             f"{flown.work:,.0f} of {bound.work:,.0f} units; {100 * (bound.work - reference) / bound.work:.2f} % may "
             "be the bound's own slack"),
        tile("Best baseline", f"{100 * best[1]:.2f} %", best[0]),
        tile("Least charge", f"{100 * energy['soc_min']:.1f} %", f"{100 * energy['soc']:.1f} % at the end"),
        tile("Violations", str(count), "none" if count == 0 else str(flown.score["violations"]),
             "bad" if count else "good"),
    ]  # fmt: skip
    for loss in losses_of(flown, env, bound):
        tiles.append(
            tile(f"Lost: {loss.phase}", f"{100 * loss.lost:.2f} %",
                 f"{100 * loss.not_drawn:.2f} % by energy not drawn ({loss.flown_kwh:.2f} of {loss.bound_kwh:.2f} "
                 f"kWh), {100 * loss.drawn_worse:.2f} % by how it was used")
        )  # fmt: skip
    for name, lost in class_losses(flown, env, bound).items():
        tiles.append(tile(f"Lost by {name}", f"{100 * lost:.2f} %", "of the bound, over the whole flight"))
    return tiles
