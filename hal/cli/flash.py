"""`hal flash`: put an image on a board."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from hal.cli.common import add_command
from hal.rig import load_rig

TEXT = """Put an image on the board of ROLE with the program that its entry of the rig names (flash = "..."),
then prove by its HELLO that it runs there, and give it its address if it has none.
The file is checked first; what the program says is passed on to stderr."""


def add(commands: Any) -> None:
    """Add the command to a parser."""
    command = add_command(commands, "flash", _flash, TEXT, "hal flash node3 --rig bench.toml")
    command.add_argument("role", metavar="ROLE", help="power, node0, node1, ...")
    command.add_argument("--rig", required=True, metavar="RIG", help="the rig that names the board")
    command.add_argument("--image", type=Path, metavar="FILE", help="an .elf or .bin instead of the rig's image")
    command.add_argument(
        "--tool", metavar="TOOL", help="as a rig's flash entry: openocd:066DFF54, st-flash:..., dfu:..."
    )


def _show(chunk: bytes) -> None:
    sys.stderr.write(chunk.decode(errors="replace"))
    sys.stderr.flush()


def _flash(arguments: argparse.Namespace) -> int:
    from hal.flashing import flash

    done = flash(load_rig(arguments.rig), arguments.role, arguments.image, arguments.tool, _show)
    if arguments.json:
        result = {
            "role": done.role,
            "image": str(done.image.path),
            "bytes": len(done.image.data),
            "image_crc": f"{done.image.crc:08x}",
            "flavour": done.image.flavour,
            "tool": done.tool,
            "hardware_id": done.hello.hardware_id.hex(),
            "address": done.hello.role,
        }
        print(json.dumps(result))
    else:
        what = f"{len(done.image.data)} bytes, CRC {done.image.crc:08x}, {done.image.flavour} flavour"
        print(f"{done.role}: board {done.hello.hardware_id.hex()} runs {done.image.path} ({what})")
    return 0
