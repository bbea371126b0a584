"""`hal export`: a recording's frames as CSV or pcapng."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from hal.cli.common import add_command
from hal.errors import RecordingError


def add(commands: Any) -> None:
    """Add the command to a parser."""
    text = "Write every frame of a recording as CSV, a file per message, or as pcapng, an interface per board."
    command = add_command(commands, "export", _export, text, "hal export desk.rec --csv frames --pcapng desk.pcapng")
    command.add_argument("file", type=Path, metavar="FILE", help="what --record wrote")
    command.add_argument("--csv", type=Path, metavar="DIR", help="folder for MESSAGE.csv; made when it is not there")
    command.add_argument("--pcapng", type=Path, metavar="FILE", help="for Wireshark and its like")


def _export(arguments: argparse.Namespace) -> int:
    from hal.export import to_csv, to_pcapng
    from hal.recording import Recording

    if arguments.csv is None and arguments.pcapng is None:
        raise RecordingError("export: nothing to write, expected --csv DIR or --pcapng FILE")
    result: dict[str, Any] = {}
    cut = 0
    for name, target, write in (("csv", arguments.csv, to_csv), ("pcapng", arguments.pcapng, to_pcapng)):
        if target is not None:
            with Recording(arguments.file) as recording:
                result[name] = write(recording, target)
                cut = recording.cut
    if arguments.json:
        print(json.dumps(result | {"cut_bytes": cut}))
        return 0
    for name, rows in result.get("csv", {}).items():
        print(f"{rows:9} {arguments.csv / name}.csv")
    if "pcapng" in result:
        print(f"{result['pcapng']:9} {arguments.pcapng}")
    if cut:
        print(f"hal: {arguments.file}: {cut} bytes of a cut block are left out", file=sys.stderr)
    return 0
