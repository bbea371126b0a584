"""`hal replay`: boards of a recording against the board code in this process."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from hal.cli.common import add_command


def add(commands: Any) -> None:
    """Add the command to a parser."""
    text = (
        "Feed a mock what each board of a recording was sent, and compare what it says with what the board said. "
        "Exit code 0 only if all of it is the same."
    )
    command = add_command(commands, "replay", _replay, text, "hal replay desk.rec --board node2 --json")
    command.add_argument("file", type=Path, metavar="FILE", help="what --record wrote")
    command.add_argument("--board", metavar="ROLE", help="this board alone: power, node0, node1, ...")


def _replay(arguments: argparse.Namespace) -> int:
    from hal.board_replay import replay_boards

    outcome = replay_boards(arguments.file, arguments.board)
    same = outcome.difference is None and outcome.damage is None
    boards = {role: board.report() for role, board in outcome.boards.items()}
    if arguments.json:
        result = outcome._asdict() | {"file": str(arguments.file), "same": same, "boards": boards}
        result["difference"] = outcome.difference and outcome.difference._asdict()
        print(json.dumps(result))
    else:
        for role, board in boards.items():
            notes = [f"{count} {name} left out" for name, count in board["left_out"].items()] + board["notes"]
            if board["firmware"] not in ("", outcome.firmware):
                notes.append(f"it ran firmware {board['firmware']}, the replay {outcome.firmware}")
            more = "".join(f"; {note}" for note in notes)
            print(f"{role:8} {board['frames']} frames the same, {board['boots']} boots{more}")
    if outcome.difference is not None:
        print(f"hal: {arguments.file}: {outcome.difference.line()}", file=sys.stderr)
    elif outcome.damage is not None:
        print(f"hal: {outcome.damage}", file=sys.stderr)
    elif outcome.cut_bytes:
        print(f"hal: {arguments.file}: {outcome.cut_bytes} bytes of a cut block are left out", file=sys.stderr)
    return 0 if same else 1
