"""`hal update`: a new image for a board, over the board bus."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hal.cli.common import add_command
from hal.errors import RigError
from hal.rig import load_rig

if TYPE_CHECKING:
    from hal.update import Progress

TEXT = """Bring a new image onto a board over its line, start it, and confirm it when it has proven itself. Until then
the board goes back to the image it had. Interrupted, the same command goes on where it stopped."""
BAR = 30


def add(commands: Any) -> None:
    """Add the command to a parser."""
    command = add_command(commands, "update", _update, TEXT, "hal update node3 --rig bench.toml")
    command.add_argument("role", metavar="ROLE", help="power, node0, node1, ...")
    command.add_argument("--rig", required=True, metavar="RIG", help="the rig that names the board")
    command.add_argument(
        "--image",
        type=Path,
        metavar="FILE",
        action="append",
        default=[],
        help="an .elf or .bin linked for a slot, instead of the rig's; may be given for each slot",
    )
    command.add_argument(
        "--confirm", action="store_true", help="only confirm the image that runs, whatever it is; nothing is sent"
    )


class Bar:
    """A line on the terminal while bytes go out."""

    def __init__(self, shown: bool) -> None:
        self._shown = shown

    def show(self, progress: Progress) -> None:
        """Draw it."""
        if self._shown:
            done = BAR * progress.offset // max(progress.size, 1)
            bar = "#" * done + "." * (BAR - done)
            sys.stderr.write(f"\r{progress.stage:9} {bar} {progress.offset:6} of {progress.size} bytes ")
            sys.stderr.flush()

    def clear(self) -> None:
        """Take it away again."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def _update(arguments: argparse.Namespace) -> int:
    from hal import updating

    rig, role = load_rig(arguments.rig), arguments.role
    if arguments.confirm:
        if arguments.image:
            raise RigError("--confirm sends no image, expected either --confirm or --image")
        hello = updating.confirm(rig, role)
        done = {"role": role, "image_crc": f"{hello.image_crc:08x}", "hardware_id": hello.hardware_id.hex()}
        print(json.dumps(done) if arguments.json else f"{role}: image {done['image_crc']} is confirmed")
        return 0
    bar = Bar(sys.stderr.isatty() and not arguments.json)
    try:
        result, hello = updating.update(rig, role, arguments.image, bar.show)
    finally:
        bar.clear()
    if arguments.json:
        facts = {
            "role": role,
            "changed": result.changed,
            "image": str(result.image.path),
            "image_crc": f"{result.image.crc:08x}",
            "version": result.image.version,
            "bytes": len(result.image.data),
            "slot": result.slot,
            "resumed_at": result.resumed_at,
            "messages": result.messages,
            "repeated": result.repeated,
            "hardware_id": hello.hardware_id.hex(),
        }
        print(json.dumps(facts))
        return 0
    image = f"{result.image.path} (version {result.image.version}, CRC {result.image.crc:08x}) in slot {result.slot}"
    kept = f", {result.resumed_at} bytes were there already" if result.changed and result.resumed_at else ""
    print(f"{role}: board {hello.hardware_id.hex()} runs {image}{kept if result.changed else ', as before'}")
    return 0
