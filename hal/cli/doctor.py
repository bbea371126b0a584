"""`hal doctor`: why a link does not work."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from hal.cli.common import add_command
from hal.errors import RigError
from hal.rig import load_rig

if TYPE_CHECKING:
    from hal.link import Board

TEXT = """Check one link, or every board of a rig, from the cable to the image: one line for each check,
with what to do. Exits with 0 only when all is well."""
MAX_PROBES = 100_000


def add(commands: Any) -> None:
    """Add the command to a parser."""
    command = add_command(commands, "doctor", _doctor, TEXT, "hal doctor serial:066DFF54?baud=1000000")
    command.add_argument("target", nargs="?", metavar="URL", help="a link, or with --rig the role of one board")
    command.add_argument("--rig", metavar="RIG", help="check the boards of this rig")
    command.add_argument("--probes", type=int, default=100, metavar="N", help="round trips to measure; default 100")


def _boards(arguments: argparse.Namespace) -> Iterator[tuple[str, str, Board | None]]:
    """(name, link, who is expected there) of everything that was asked for."""
    from hal.identity import expected_board

    if arguments.rig is None:
        if arguments.target is None:
            raise RigError("what to look at? expected a link (`hal scan` lists them), or --rig RIG")
        yield "link", arguments.target, None
        return
    rig = load_rig(arguments.rig)
    wanted = [b for b in rig.boards if arguments.target in (None, b.role, b.link)]
    if not wanted:
        raise RigError(f"{arguments.target}: expected a role or a link of rig {rig.name}")
    for spec in wanted:
        yield spec.role, spec.link, expected_board(rig, spec)


def _doctor(arguments: argparse.Namespace) -> int:
    from hal.doctor import Check, diagnose, facts

    if not 1 <= arguments.probes <= MAX_PROBES:
        raise RigError(f"--probes: {arguments.probes} is out of range, expected 1 to {MAX_PROBES}")
    seen: dict[bytes, str] = {}
    results: list[dict[str, Any]] = []
    every: list[Check] = []
    for name, link, board in _boards(arguments):
        if not arguments.json:
            print(f"{name} on {link}")
        checks = []
        for check in diagnose(link, board, seen, arguments.probes):
            checks.append(check)
            if not arguments.json:
                print(f"  {check}", flush=True)
        every += checks
        results.append({"board": name, "link": link, "ok": all(c.ok for c in checks), "checks": facts(checks)})
    if arguments.json:
        print(json.dumps(results))
    failed = sum(not check.ok for check in every)
    if failed:
        print(f"hal: {failed} of {len(every)} checks failed", file=sys.stderr)
    return 1 if failed else 0
