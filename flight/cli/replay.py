"""`flight replay`: fly a recording again."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from flight.replay.fly import Outcome, replay

EXAMPLE = """example:
  flight replay desk.rec --json
"""


def add(commands: Any) -> None:
    """Add the command to a parser."""
    p = commands.add_parser(
        "replay",
        help="replay a recording",
        description="Fly a recording again. Exit code 0 only if flight sends every byte that it sent then.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("file", type=Path, metavar="FILE", help="what `flight run --record` wrote")
    p.add_argument("--json", action="store_true", help="print the result as JSON")
    p.set_defaults(function=command)


def command(args: argparse.Namespace) -> int:
    """Replay it; the result goes to stdout, a difference in one line to stderr as well."""
    started = time.monotonic()
    outcome = replay(args.file)
    result = _result(args.file, outcome, time.monotonic() - started)
    print(json.dumps(result, indent=2) if args.json else _text(result, outcome), flush=True)
    if outcome.difference is not None:
        print(f"flight: {args.file}: {outcome.difference.line()}", file=sys.stderr)
    elif outcome.damage is not None:
        print(f"flight: {outcome.damage}", file=sys.stderr)
    return 0 if result["same"] else 1


def _result(file: Path, outcome: Outcome, wall_s: float) -> dict[str, Any]:
    return {
        "file": str(file),
        "rig": outcome.rig,
        "same": outcome.difference is None and outcome.damage is None,
        "ticks": outcome.ticks,
        "sim_s": outcome.sim_s,
        "packets": outcome.packets,
        "bytes_to_boards": outcome.bytes_to_boards,
        "ended": outcome.ended,
        "cut_bytes": outcome.cut_bytes,
        "difference": outcome.difference and outcome.difference._asdict(),
        "damage": outcome.damage,
        "wall_s": wall_s,
        "speed": outcome.sim_s / wall_s if wall_s > 0 else None,
    }


def _text(result: dict[str, Any], outcome: Outcome) -> str:
    same = "the same" if result["same"] else "the same up to there"
    end = "" if outcome.ended else "; the recording ends before the flight does"
    if outcome.cut_bytes:
        end += f" ({outcome.cut_bytes} bytes of a cut block are left out)"
    return (
        f"{outcome.rig}: {outcome.ticks} ticks, {outcome.sim_s:.1f} s, {outcome.bytes_to_boards} bytes to boards and "
        f"{outcome.packets} packets replayed, all {same}{end}"
    )
