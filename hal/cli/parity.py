"""`hal parity`: the same scenario on several back ends, compared byte for byte."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hal.cli.common import add_command
from hal.errors import HalError
from hal.link import MADE
from hal.rig import load_rig

TICKS = 3000


def _ticks(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"'{text}', expected a whole number from 1 to 1000000")
    return int(text)


def _backends(text: str) -> list[str]:
    from hal.parity.fly import MIXED

    names = text.split(",")
    for name in names:
        if name.partition(":")[0] not in (*MADE, MIXED):
            raise argparse.ArgumentTypeError(f"back end '{name}', expected one of {', '.join((*MADE, MIXED))}")
    return names


def add(commands: Any) -> None:
    """Add the command to a parser."""
    p = add_command(
        commands,
        "parity",
        _parity,
        "Fly one scenario (eclipse, faults, commands, resets, jobs) on several back ends and compare every byte.",
        "hal parity --backends mock,process,unicorn,qemu --ticks 3000",
    )
    p.add_argument(
        "--backends", type=_backends, default=list(MADE), metavar="LIST",
        help=f"comma-separated, of {', '.join(MADE)}, mixed, or a link such as qemu:microbit; "
        "the first is what the others are compared with",
    )  # fmt: skip
    p.add_argument(
        "--ticks", type=_ticks, default=TICKS, metavar="N", help=f"length, half a second each; default {TICKS}"
    )
    p.add_argument("--rig", default="desk", metavar="RIG", help="satellite and number of boards; default desk")
    p.add_argument("--images", type=Path, metavar="DIR", help="folder of the images that emulated boards run")


def _progress(backend: str, ticks: int) -> Callable[[int], None]:
    """A line that counts, on a terminal."""
    if not sys.stderr.isatty():
        return lambda done: None

    def show(done: int) -> None:
        if done % 100 == 0 or done == ticks:
            end = "\r\x1b[K" if done == ticks else ""
            print(f"\r{backend}: tick {done} of {ticks}", end=end, file=sys.stderr, flush=True)

    return show


def _parity(arguments: argparse.Namespace) -> int:
    from hal.parity.fly import Flown, first_difference, fly

    rig = load_rig(arguments.rig)
    reference: Flown | None = None
    rows: list[dict[str, Any]] = []
    for backend in arguments.backends:
        try:
            flown = fly(rig, backend, arguments.ticks, arguments.images, _progress(backend, arguments.ticks))
        except HalError as error:
            raise type(error)(f"{backend}: {error}") from None
        reference = reference or flown
        same = flown.bus_sha256 == reference.bus_sha256
        where = "" if same else first_difference(reference.log, flown.log, [b.role for b in rig.boards])
        counted = {name: count for name, count in flown.link_errors.items() if count != reference.link_errors[name]}
        rows.append(
            {"backend": backend, "bus_sha256": flown.bus_sha256, "same": same, "difference": where,
             "other_counts": counted, "ticks_per_s": arguments.ticks / flown.wall_s}
        )  # fmt: skip
        if not arguments.json:
            print(
                f"{backend:9} {flown.bus_sha256}  {where or 'same'}{f'  counts differ: {counted}' if counted else ''}"
            )
    if arguments.json:
        print(json.dumps({"ticks": arguments.ticks, "backends": rows}, indent=2))
    return 0 if all(row["same"] and not row["other_counts"] for row in rows) else 1
