"""Single bit flips into emulated boards at work: what became of them, by what was hit.

`hal seu` with 10,000 flips; the numbers are shares of the flips into what is alive (docs/seu.md).
"""

from __future__ import annotations

import time

from benchmarks.report import Row
from hal.seu.campaign import run
from hal.seu.report import broken, describe, rows
from hal.seu.verdict import Outcome

TRIALS, QUICK_TRIALS = 10_000, 15


def measure(quick: bool) -> list[Row]:
    """Outcomes in percent; quick: one flip in each phase."""
    start = time.perf_counter()
    campaign = run(QUICK_TRIALS if quick else TRIALS, seed=1)
    seconds = time.perf_counter() - start
    found = []
    for name, outcomes in rows(campaign):
        total = sum(outcomes.values())
        note = ", ".join(f"{outcome} {n}" for outcome, n in outcomes.items() if n)
        harmless = sum(n for outcome, n in outcomes.items() if outcome not in (Outcome.SILENT, Outcome.LOST))
        found.append(
            Row(f"{name}: masked, told of, or reset", 100 * harmless / max(total, 1), "%", note, name == "all")
        )
    found.append(Row("boards lost", sum(t.verdict.outcome == Outcome.LOST for t in campaign.trials), "boards"))
    found.append(Row("rules broken for longer than a tick", len(broken(campaign)), "flips"))
    found += [Row(f"  rule {', '.join(t.verdict.broken)}", 1, "flip", describe(t)) for t in broken(campaign)]
    lost = [t for t in campaign.trials if t.verdict.outcome == Outcome.LOST and not t.verdict.broken]
    found += [Row("  a lost board", 1, "board", describe(t)) for t in lost]
    found.append(Row("time of a flip, preparation included", 1e3 * seconds / len(campaign.trials), "ms"))
    return found
