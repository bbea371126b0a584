"""A case as a page: the flight against the bound's plan over time, and where the lost percent went.

Data alone, in the shape of ground's report; who may know both packages writes the page (flight/cli/optimum.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from flight.optimum.battery import energy_j
from flight.optimum.bound import CLASSES, Bound
from flight.optimum.environment import Environment
from flight.optimum.fly import Flown
from flight.optimum.ledger import CAUSES, losses_of, on_grid, phases_of, speed_bound, speed_flown
from hal.icd import Workload

Floats = npt.NDArray[np.float64]

_COLOURS = ("load", "lease", "accent", "die", "battery", "guaranteed")
FOOTER = (
    "Solid: the flight, as it was. Dashed: the bound's plan, a linear program with perfect foresight over fractions of "
    "nodes; no controller delivers more, and none may reach it"
)


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
    plan, mine = bound.series, {n: on_grid(flown, env, n) for n in flown.samples if n != "t_s"}
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
            _series("nodes up", "lease", mine["nodes_up"], off=True),
            _series("plan: nodes on", "lease", count_on, truth=True, off=True)]),
        ("lost", "Lost against the plan", "work units per second", [
            _series(cause, colour, bound.work / env.step_s * loss)
            for (cause, loss), colour in zip(losses_of(flown, env, bound).items(), _COLOURS, strict=True)]),
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
        "charts": [{"id": i, "title": title, "unit": unit, "zero": i not in ("temperature", "lost"), "series": series}
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
    losses = losses_of(flown, env, bound)
    for cause, text in CAUSES.items():
        tiles.append(tile(f"Lost: {cause}", f"{100 * losses[cause].sum():.2f} %", text))
    for phase, steps in phases_of(env).items():
        lost = {cause: 100 * float(loss[steps].sum()) for cause, loss in losses.items()}
        most = ", ".join(f"{cause} {lost[cause]:.2f}" for cause in sorted(lost, key=lambda c: -abs(lost[c]))[:3])
        tiles.append(tile(f"Lost: {phase}", f"{sum(lost.values()):.2f} %", f"of it {most}"))
    for name, share in class_losses(flown, env, bound).items():
        tiles.append(tile(f"Lost by {name}", f"{100 * share:.2f} %", "of the bound, over the whole flight"))
    return tiles
