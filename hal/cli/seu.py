"""`hal seu`: bit flips into boards at work, and what becomes of each."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hal.cli.common import add_command
from hal.errors import HalError

TRIALS = 1000
TEXT = """Flip single bits in the memory and registers of emulated boards at work, each from a snapshot of a flown
scenario, and compare what the board does with what it did undisturbed. Exit code 1 when a board was lost."""


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"'{text}', expected a whole number from 1 to 1000000")
    return int(text)


def add(commands: Any) -> None:
    """Add the command to a parser."""
    p = add_command(commands, "seu", _seu, TEXT, "hal seu --trials 200 --seed 7")
    p.add_argument("--trials", type=_count, default=TRIALS, metavar="N", help=f"how many flips; default {TRIALS}")
    p.add_argument("--seed", type=_count, default=1, metavar="S", help="of what is drawn by chance; default 1")
    p.add_argument("--kind", choices=("node", "power", "both"), default="both", help="which boards; default both")
    p.add_argument("--out", type=Path, metavar="FILE", help="every trial, as JSON lines")


def _progress(trials: int) -> Callable[[int], None]:
    """A line that counts, on a terminal."""
    if not sys.stderr.isatty():
        return lambda done: None

    def show(done: int) -> None:
        if done % 10 == 0 or done == trials:
            end = "\r\x1b[K" if done == trials else ""
            print(f"\rflip {done} of {trials}", end=end, file=sys.stderr, flush=True)

    return show


def _seu(arguments: argparse.Namespace) -> int:
    from hal.seu.campaign import KINDS, run
    from hal.seu.report import as_json, table, trial_line
    from hal.seu.verdict import Outcome

    kinds = KINDS if arguments.kind == "both" else (arguments.kind,)
    out = None
    if arguments.out is not None:
        try:
            out = arguments.out.open("w", encoding="utf-8")
        except OSError as error:
            raise HalError(f"{arguments.out}: cannot be written: {error.strerror}") from None
    campaign = run(arguments.trials, arguments.seed, kinds, _progress(arguments.trials))
    if out is not None:
        with out:
            out.writelines(trial_line(trial) + "\n" for trial in campaign.trials)
    print(json.dumps(as_json(campaign)) if arguments.json else "\n".join(table(campaign)))
    return int(any(trial.verdict.outcome == Outcome.LOST for trial in campaign.trials))
