"""`hal scan`: what is plugged in, as entries for a rig."""

from __future__ import annotations

import argparse
import json
from typing import Any

from hal.cli.common import add_command
from hal.rig import load_rig

TEXT = """List the serial ports on USB as entries ready to paste into a rig, with who answers there.
Ports that another program has open are listed and not touched."""


def add(commands: Any) -> None:
    """Add the command to a parser."""
    command = add_command(commands, "scan", _scan, TEXT, "hal scan --rig desk")
    command.add_argument("--rig", metavar="RIG", help="check the boards against this rig, at its baud rates")


def _scan(arguments: argparse.Namespace) -> int:
    from hal.scan import scan

    found = scan(load_rig(arguments.rig) if arguments.rig is not None else None)
    if arguments.json:
        print(json.dumps([entry.facts for entry in found]))
    elif found:
        print("\n\n".join("\n".join(entry.lines()) for entry in found))
    else:
        print("no serial port is plugged in")
    return 0
