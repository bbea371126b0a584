"""`flight optimum`: delivered compute against the offline optimum, case by case (docs/optimum.md)."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flight.errors import FlightError

if TYPE_CHECKING:
    from flight.optimum.study import Outcome, Task

EXAMPLE = """examples:
  flight optimum --nodes 16 --json --out optimum.json
  flight optimum --case half-budget --case string-loss --nodes 16 --seeds 3
  flight optimum --case hot-radiator --nodes 16 --report pages
"""


def _whole(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"'{text}', expected a whole number from 1 to 100")
    return int(text)


def _orbits(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number") from None
    if not 0.1 <= value <= 100:
        raise argparse.ArgumentTypeError(f"{text} is out of range, expected 0.1 to 100")
    return value


def add(commands: Any) -> None:
    """Add the command to a parser."""
    p: argparse.ArgumentParser = commands.add_parser(
        "optimum",
        help="delivered compute against the offline optimum, per case",
        description="Fly cases, bound what any controller could have delivered, and fly what a team would use instead.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--case", action="append", nargs="+", metavar="NAME", help="these cases only; default: all of them")
    p.add_argument("--nodes", action="append", type=int, metavar="N", help="this size only: 16 or 160; default: both")
    p.add_argument("--seeds", type=_whole, default=1, metavar="N", help="seeds 1 to N; the worst one counts")
    p.add_argument("--orbits", type=_orbits, default=3.0, metavar="N", help="length of each flight, default 3")
    p.add_argument("--json", action="store_true", help="print the result as JSON")
    p.add_argument("--out", type=Path, metavar="FILE", help="write the result as JSON into this file as well")
    p.add_argument("--report", type=Path, metavar="DIR", help="write a page for each case into this folder")
    p.set_defaults(function=command)


class _Progress:
    """A line on stderr when that is a terminal."""

    def __init__(self, total: int) -> None:
        self._total, self._done = total, 0
        self._shown, self._started = sys.stderr.isatty(), time.monotonic()
        self._draw("")

    def __call__(self, task: Task, outcome: Outcome) -> None:
        self._done += 1
        self._draw(f"{task.case.name} {task.nodes}: {outcome.fraction:.4f}")

    def _draw(self, last: str) -> None:
        if self._shown:
            spent = time.monotonic() - self._started
            sys.stderr.write(f"\r\x1b[K{self._done} of {self._total} flights, {spent:.0f} s  {last}")
            sys.stderr.flush()

    def close(self) -> None:
        """Clear the line."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def command(args: argparse.Namespace) -> int:
    """Run it. 0: no flight violated anything."""
    if importlib.util.find_spec("scipy") is None:
        raise FlightError("flight optimum needs scipy: pip install 'dawnline[optimum]'")
    from flight.optimum import study  # only now: it needs scipy

    tasks = _tasks(args)
    if args.out is not None:
        _check_writable(args.out)
    progress = _Progress(len(tasks))
    try:
        outcomes = study.run_all(tasks, progress)
    finally:
        progress.close()
    if args.report is not None:
        _write_pages(args.report, tasks, outcomes)
    result = study.result_of(tasks, outcomes)
    if args.out is not None:
        args.out.write_text(study.text(result, as_json=True) + "\n", encoding="utf-8")
    print(study.text(result, as_json=args.json), flush=True)
    return int(any(case["violations"] for case in result["cases"]))


def _tasks(args: argparse.Namespace) -> list[Task]:
    from flight.optimum.cases import CASES, SIZES, find
    from flight.optimum.study import Task

    cases = [find(name) for names in args.case for name in names] if args.case else list(CASES)
    sizes = args.nodes or list(SIZES)
    for nodes in sizes:
        if nodes not in SIZES:
            raise FlightError(f"--nodes {nodes}: expected one of {', '.join(map(str, SIZES))}")
    if args.report is not None:
        _make_folder(args.report)
    return [
        Task(case, nodes, seed, args.orbits, args.report is not None and seed == 1)
        for nodes in sizes
        for case in cases
        for seed in range(1, args.seeds + 1)
    ]


def _write_pages(folder: Path, tasks: Sequence[Task], outcomes: Sequence[Outcome]) -> None:
    from flight.optimum.page import FOOTER
    from ground.report import page

    for task, outcome in zip(tasks, outcomes, strict=True):
        if outcome.page is not None:
            title = f"Dawnline optimum: {task.case.name}, {task.nodes} nodes"
            text = page(title, task.case.text, outcome.page, FOOTER)
            (folder / f"{task.case.name}-{task.nodes}.html").write_text(text, encoding="utf-8")


def _check_writable(path: Path) -> None:
    """Before the flights, not after."""
    if path.is_dir():
        raise FlightError(f"--out {path}: is a folder, expected a file")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise FlightError(f"--out {path}: not writable")


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FlightError(f"--report {path}: {(error.strerror or str(error)).lower()}") from None


__all__ = ["add", "command"]
