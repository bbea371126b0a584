"""A campaign as tables: outcomes by what was hit, what is alive, and every flip that broke a rule."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from statistics import fmean
from typing import Any

from hal.seu.campaign import Campaign, Coverage, Trial
from hal.seu.rules import RULES
from hal.seu.verdict import MEANING, Outcome

ORDER = (Outcome.MASKED, Outcome.DETECTED, Outcome.CRASHED, Outcome.HUNG, Outcome.SILENT, Outcome.LOST)
AT_REST = ("between", "receiving")
"""Points at which the core sleeps."""


def by_outcome(trials: Iterable[Trial]) -> dict[Outcome, int]:
    """How many trials ended how."""
    found = Counter(trial.verdict.outcome for trial in trials)
    return {outcome: found[outcome] for outcome in ORDER}


def rows(campaign: Campaign) -> list[tuple[str, dict[Outcome, int]]]:
    """Name and outcomes: by kind and stratum, then by kind and whether the core slept, then all."""
    found = []
    for kind in campaign.coverage:
        of_kind = [t for t in campaign.trials if t.kind == kind]
        for stratum in dict.fromkeys(t.stratum for t in sorted(of_kind, key=lambda t: t.stratum)):
            found.append((f"{kind}: {stratum}", by_outcome(t for t in of_kind if t.stratum == stratum)))
        found.append((f"{kind}: asleep", by_outcome(t for t in of_kind if t.point in AT_REST)))
        found.append((f"{kind}: at work", by_outcome(t for t in of_kind if t.point not in AT_REST)))
    return [*found, ("all", by_outcome(campaign.trials))]


def broken(campaign: Campaign) -> list[Trial]:
    """Trials that broke a rule."""
    return [t for t in campaign.trials if t.verdict.broken]


def describe(trial: Trial) -> str:
    """One trial in a line."""
    rules = ", ".join(f"{rule} from tick {tick}" for rule, tick in trial.verdict.broken.items())
    told = ", ".join(trial.verdict.told) or "nothing"
    where = f"{trial.kind}, {trial.phase}, {trial.point} ({trial.function}): {trial.where}"
    return f"{where} -> {trial.verdict.outcome}, told {told}{f'; broke {rules}' if rules else ''}"


def _alive(entry: Coverage) -> str:
    return f"{fmean(entry.live):8.1f} of {entry.total:6}"


def table(campaign: Campaign) -> list[str]:
    """The lines of the report for people."""
    width = 24
    lines = [f"{'':{width}}" + "".join(f"{outcome:>10}" for outcome in ORDER)]
    for name, outcomes in rows(campaign):
        lines.append(f"{name:{width}}" + "".join(f"{n:10}" for n in outcomes.values()))
    lines += ["", *(f"{outcome:10} {MEANING[outcome]}" for outcome in ORDER)]
    for kind, groups in campaign.coverage.items():
        lines += ["", f"{kind}: bytes alive, on average over {len(next(iter(groups.values())).live)} instants"]
        lines += [f"  {group:{width}}{_alive(entry)}" for group, entry in sorted(groups.items()) if any(entry.live)]
    lines += ["", f"rules broken for longer than a tick: {len(broken(campaign))}"]
    lines += [f"  {describe(trial)}" for trial in broken(campaign)]
    return lines


def trial_line(trial: Trial) -> str:
    """One trial as JSON."""
    return json.dumps(asdict(trial))


def as_json(campaign: Campaign) -> dict[str, Any]:
    """The report for scripts."""
    return {
        "seed": campaign.seed,
        "trials": len(campaign.trials),
        "outcomes": {name: {str(o): n for o, n in outcomes.items()} for name, outcomes in rows(campaign)},
        "alive": {
            kind: {group: {"bytes": e.total, "alive": fmean(e.live)} for group, e in groups.items()}
            for kind, groups in campaign.coverage.items()
        },
        "rules": RULES,
        "broken": [asdict(trial) for trial in broken(campaign)],
    }
