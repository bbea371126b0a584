"""`hal scan`: what is plugged in."""

from __future__ import annotations

import argparse
import json
from typing import Any

from hal.cli.common import add_command


def add(commands: Any) -> None:
    """Add the command to a parser."""
    text = "List the serial ports that are plugged in, as links for a rig."
    add_command(commands, "scan", _scan, text, "hal scan --json")


def _scan(arguments: argparse.Namespace) -> int:
    from serial.tools import list_ports

    ports = [
        {
            "device": port.device,
            "serial_number": port.serial_number,
            "description": port.description,
            "link": f"serial:{port.serial_number or port.device}?baud=1000000",
        }
        for port in sorted(list_ports.comports())
    ]
    if arguments.json:
        print(json.dumps(ports))
        return 0
    for entry in ports:
        print(f"{entry['device']:16} {entry['link']}  ({entry['description']})")
    if not ports:
        print("no serial port is plugged in")
    return 0
