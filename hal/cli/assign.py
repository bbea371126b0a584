"""`hal assign`: give a board on a port its address."""

from __future__ import annotations

import argparse
import json
from typing import Any

from hal.cli.common import add_command
from hal.rig import load_rig

TEXT = """Give the board on the link of ROLE that role's address. It keeps it in its persistent memory,
so this is needed once for each board (`hal flash` does it too)."""


def add(commands: Any) -> None:
    """Add the command to a parser."""
    command = add_command(commands, "assign", _assign, TEXT, "hal assign node3 --rig bench.toml")
    command.add_argument("role", metavar="ROLE", help="power, node0, node1, ...")
    command.add_argument("--rig", required=True, metavar="RIG", help="the rig that names the board's link")


def _assign(arguments: argparse.Namespace) -> int:
    from hal.assign import assign

    hello = assign(load_rig(arguments.rig), arguments.role)
    if arguments.json:
        print(json.dumps({"role": arguments.role, "address": hello.role, "hardware_id": hello.hardware_id.hex()}))
    else:
        print(f"{arguments.role}: board {hello.hardware_id.hex()} has address {hello.role}")
    return 0
