"""`hal serve`: the world as a process of its own."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hal.cli.common import add_command, print_score, socket_option, speed
from hal.errors import RigError
from hal.link import MADE
from hal.rig import Rig, load_rig

if TYPE_CHECKING:
    from hal.tape import Tape


def add(commands: Any) -> None:
    """Add the command to a parser."""
    serve = add_command(
        commands,
        "serve",
        _serve,
        "Run the world as a process of its own; a flight computer joins over its socket.",
        "hal serve demo --speed max --json",
    )
    serve.add_argument("rig", metavar="RIG", help="a rig that ships (demo, ai1, desk) or a .toml path")
    serve.add_argument("--backend", choices=MADE, help="put every board on this back end")
    serve.add_argument("--tick", type=float, metavar="SECONDS", help="length of a tick; default as the rig says")
    serve.add_argument(
        "--speed",
        type=speed,
        default=argparse.SUPPRESS,
        metavar="max|X",
        help="simulated over real time; default 1 with a real board, else max",
    )
    serve.add_argument(
        "--absent-speed",
        type=speed,
        default=1.0,
        metavar="max|X",
        help="the same while no flight computer is there; default 1",
    )
    serve.add_argument(
        "--absent-for", type=float, metavar="SECONDS", help="simulated time that the world runs on alone"
    )
    serve.add_argument("--record", type=Path, metavar="FILE", help="record the lines of all boards, for `hal replay`")
    serve.add_argument("--for", dest="for_s", type=float, metavar="SECONDS", help="end after so much simulated time")
    socket_option(serve)


def _rig(arguments: argparse.Namespace) -> Rig:
    rig = load_rig(arguments.rig).with_backend(arguments.backend)
    if arguments.tick is not None:
        rig = rig.with_tick(arguments.tick)
    for name in ("absent_for", "for_s"):
        value = getattr(arguments, name)
        if value is not None and not 0 <= value <= 1e9:
            raise RigError(
                f"--{name.removesuffix('_s').replace('_', '-')}: {value:g} is out of range, expected 0 to 1e9 s"
            )
    if arguments.absent_for is not None:
        rig = replace(rig, flight_absent_s=arguments.absent_for)
    return rig


def _serve(arguments: argparse.Namespace) -> int:
    from hal.server import Server
    from hal.wire import default_socket
    from hal.world import World

    rig = _rig(arguments)
    real = not all(board.made for board in rig.boards)
    pace = getattr(arguments, "speed", 1.0 if real else None)
    with contextlib.ExitStack() as stack:
        tape = _tape(arguments, rig)
        if tape is not None:
            stack.callback(tape.close)
        world = stack.enter_context(World(rig, tape=tape))
        server = Server(world, arguments.socket or default_socket(rig.name), pace, arguments.absent_speed)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: server.stop())
        print(f"hal: serving {rig.name} ({len(rig.boards)} boards) at {server.path}", file=sys.stderr, flush=True)
        try:
            server.serve(arguments.for_s)
        finally:
            server.close()
        print_score(world.score(), arguments.json)
    return int(tape is not None and tape.failed is not None)


def _tape(arguments: argparse.Namespace, rig: Rig) -> Tape | None:
    from hal.tape import Tape, header_of

    if arguments.record is None:
        return None
    return Tape(arguments.record, header_of(rig, {}), lambda line: print(f"hal: {line}", file=sys.stderr, flush=True))
