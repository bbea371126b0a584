"""One case at one size and one seed: flown, bounded, and flown under the baselines."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context, parent_process
from statistics import fmean
from typing import Any

from flight.optimum.bare import Bare, BareFlight
from flight.optimum.baselines import BASELINES
from flight.optimum.bound import Bound, bound_of, reference_of
from flight.optimum.cases import Case
from flight.optimum.environment import environment_of
from flight.optimum.fly import Flown, fly
from flight.optimum.page import page_of, tiles_of

PROCESSES = 2


@dataclass(frozen=True, slots=True)
class Task:
    """What one process does in one go."""

    case: Case
    nodes: int
    seed: int
    orbits: float
    page: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """One seed of one case. work, bound, reference (see `reference_of`): units; fractions: of the bound for the charge
    that the flight ended with; page: what its page shows, if that was asked for."""

    seed: int
    work: float
    bound: float
    reference: float
    fraction: float
    soc: float
    soc_min: float
    violations: dict[str, int]
    baselines: dict[str, float]
    page: dict[str, Any] | None = None


def fly_baselines(flown: Flown) -> dict[str, BareFlight]:
    """The same flight under every baseline."""
    return {
        name: Bare(flown.rig, flown.workload_of, make(flown.rig.seed)).fly(flown.seconds)
        for name, make in BASELINES.items()
    }


def judged(flown: Flown, bound: Bound, reference: float, baselines: dict[str, BareFlight]) -> Outcome:
    """The fractions. A flight that left more charge behind is held to a bound that has to leave it as well."""
    energy = flown.score["energy"]
    return Outcome(
        flown.rig.seed,
        flown.work,
        bound.work,
        reference,
        flown.work / bound.work,
        float(energy["soc"]),
        float(energy["soc_min"]),
        dict(flown.score["violations"]),
        {name: b.work / bound.work_at(b.stored_j) for name, b in baselines.items()},
    )


def run(task: Task) -> Outcome:
    """Do all of it. Raises `HalError`, `FlightError`."""
    flown = fly(task.case, task.nodes, task.seed, task.orbits)
    environment = environment_of(flown.rig, flown.seconds, flown.workload_of)
    bound = bound_of(flown, environment)
    reference = reference_of(flown, environment, bound)
    outcome = judged(flown, bound, reference, fly_baselines(flown))
    if not task.page:
        return outcome
    best = max(outcome.baselines.items(), key=lambda b: b[1])
    tiles = tiles_of(flown, environment, bound, reference, best)
    return replace(outcome, page=page_of(flown, environment, bound, tiles))


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for ever, or work on for nobody."""
    parent = parent_process()
    if parent is None:
        return

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def pool(processes: int) -> ProcessPoolExecutor:
    """Workers that start anew, and end with this process however it ends."""
    return ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_end_with_parent)


def run_all(tasks: Sequence[Task], done: Callable[[Task, Outcome], None]) -> list[Outcome]:
    """Every task, two at a time; outcomes in the order of the tasks. Raises what the first failing one raises."""
    if len(tasks) == 1:
        outcome = run(tasks[0])
        done(tasks[0], outcome)
        return [outcome]
    with pool(min(PROCESSES, len(tasks))) as workers:
        futures: dict[Future[Outcome], int] = {workers.submit(run, task): k for k, task in enumerate(tasks)}
        try:
            for future in as_completed(futures):
                done(tasks[futures[future]], future.result())
        except BaseException:
            workers.shutdown(wait=False, cancel_futures=True)
            raise
        return [future.result() for future in futures]


# ------------------------------------------------------------------ results
def result_of(tasks: Iterable[Task], outcomes: Iterable[Outcome]) -> dict[str, Any]:
    """The object that `flight optimum --json` prints: one entry for each case and size, its worst seed first of all."""
    groups: dict[tuple[str, int], list[tuple[Task, Outcome]]] = {}
    for task, outcome in zip(tasks, outcomes, strict=True):
        groups.setdefault((task.case.name, task.nodes), []).append((task, outcome))
    return {"cases": [_entry(group) for group in groups.values()]}


def _entry(group: list[tuple[Task, Outcome]]) -> dict[str, Any]:
    case, nodes = group[0][0].case, group[0][0].nodes
    outcomes = [outcome for _, outcome in group]
    worst = min(outcomes, key=lambda o: o.fraction)
    violations = {name: sum(o.violations[name] for o in outcomes) for name in worst.violations}
    return {
        "name": case.name,
        "nodes": nodes,
        "fault": case.fault,
        "fraction": worst.fraction,
        "fraction_of_reference": worst.work / worst.reference,
        "fraction_mean": fmean(o.fraction for o in outcomes),
        "soc_min": min(o.soc_min for o in outcomes),
        "violations": sum(violations.values()),
        "violations_by_kind": violations,
        "baselines": {name: max(o.baselines[name] for o in outcomes) for name in worst.baselines},
        "lead": min(o.fraction - max(o.baselines.values()) for o in outcomes),
        "seeds": [
            {"seed": o.seed, "work": o.work, "bound": o.bound, "reference": o.reference, "fraction": o.fraction,
             "soc": o.soc, "soc_min": o.soc_min, "baselines": o.baselines}
            for o in outcomes
        ],
    }  # fmt: skip


def lines(result: dict[str, Any]) -> Iterator[str]:
    """The result as a table."""
    names = list(result["cases"][0]["baselines"])
    short = "  ".join(f"{name[:12]:>12}" for name in names)
    yield f"{'case':<28} {'nodes':>5} {'flown':>7} {'of ref.':>7} {'least SoC':>9} {'viol.':>5}  {short}"
    for case in result["cases"]:
        shares = "  ".join(f"{case['baselines'][name]:12.4f}" for name in names)
        yield (
            f"{case['name']:<28} {case['nodes']:>5} {case['fraction']:7.4f} {case['fraction_of_reference']:7.4f} "
            f"{case['soc_min']:9.3f} {case['violations']:>5}  {shares}"
        )


def text(result: dict[str, Any], as_json: bool) -> str:
    """The result as it is printed."""
    return json.dumps(result, indent=2) if as_json else "\n".join(lines(result))
