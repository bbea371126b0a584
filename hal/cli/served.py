"""`hal score`, `hal board`: ask a served world, or switch its boards."""

from __future__ import annotations

import argparse
import json
from typing import Any

from hal.cli.common import add_command, ask, print_score, socket_option


def add(commands: Any) -> None:
    """Add the commands to a parser."""
    score = add_command(
        commands, "score", _score, "Print the truth about a served world so far.", "hal score demo --json"
    )
    score.add_argument("rig", metavar="RIG", help="the rig that is served")
    socket_option(score)

    board = add_command(
        commands, "board", _board, "Switch a board of a served world off or on.", "hal board off node3 --rig demo"
    )
    board.add_argument("action", choices=("off", "on"))
    board.add_argument("role", metavar="ROLE", help="power, node0, node1, ...")
    board.add_argument("--rig", default="demo", metavar="RIG", help="the rig that is served; default demo")
    socket_option(board)


def _score(arguments: argparse.Namespace) -> int:
    print_score(ask(arguments, {"do": "score"}), arguments.json)
    return 0


def _board(arguments: argparse.Namespace) -> int:
    result = ask(arguments, {"do": arguments.action, "board": arguments.role})
    if arguments.json:
        print(json.dumps(result))
    return 0
