"""The command ``hal``: serve a world, look at it, list ports."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from hal.errors import HalError, RigError
from hal.pacing import parse_speed
from hal.rig import Rig, load_rig

RAW = argparse.RawDescriptionHelpFormatter


class _Parser(argparse.ArgumentParser):
    """Wrong usage is one line, as every other error."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"hal: {message} (see `{self.prog} --help`)\n")


def _speed(text: str) -> float | None:
    try:
        return parse_speed(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="hal", description="The hardware side of a satellite.", formatter_class=RAW)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[argparse.Namespace], int], text: str, example: str) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name, help=text, description=text, epilog=f"example:\n  {example}", formatter_class=RAW
        )
        command.set_defaults(run=run)
        command.add_argument("--json", action="store_true", help="print results as JSON")
        return command

    serve = add(
        "serve",
        _serve,
        "Run the world as a process of its own; a flight computer joins over its socket.",
        "hal serve demo --speed max --json",
    )
    serve.add_argument("rig", metavar="RIG", help="a rig that ships (demo, ai1, desk) or a .toml path")
    serve.add_argument("--backend", choices=("mock", "process"), help="put every board on this back end")
    serve.add_argument("--tick", type=float, metavar="SECONDS", help="length of a tick; default as the rig says")
    serve.add_argument(
        "--speed",
        type=_speed,
        default=argparse.SUPPRESS,
        metavar="max|X",
        help="simulated over real time; default 1 with a real board, else max",
    )
    serve.add_argument(
        "--absent-speed",
        type=_speed,
        default=1.0,
        metavar="max|X",
        help="the same while no flight computer is there; default 1",
    )
    serve.add_argument(
        "--absent-for", type=float, metavar="SECONDS", help="simulated time that the world runs on alone"
    )
    serve.add_argument("--for", dest="for_s", type=float, metavar="SECONDS", help="end after so much simulated time")
    _socket_option(serve)

    score = add("score", _score, "Print the truth about a served world so far.", "hal score demo --json")
    score.add_argument("rig", metavar="RIG", help="the rig that is served")
    _socket_option(score)

    board = add("board", _board, "Switch a board of a served world off or on.", "hal board off node3 --rig demo")
    board.add_argument("action", choices=("off", "on"))
    board.add_argument("role", metavar="ROLE", help="power, node0, node1, ...")
    board.add_argument("--rig", default="demo", metavar="RIG", help="the rig that is served; default demo")
    _socket_option(board)

    add("scan", _scan, "List the serial ports that are plugged in, as links for a rig.", "hal scan --json")
    return parser


def _socket_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--socket", type=Path, metavar="PATH", help="socket of the world; default by the rig's name")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point. Returns the exit code: 0, 1 for a failure (one line on stderr); argparse exits with 2."""
    arguments = _parser().parse_args(argv)
    try:
        code: int = arguments.run(arguments)
    except HalError as error:
        print(f"hal: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return code


# ---------------------------------------------------------------- serve
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
    real = any(board.backend == "serial" for board in rig.boards)
    speed = getattr(arguments, "speed", 1.0 if real else None)
    with World(rig) as world:
        server = Server(world, arguments.socket or default_socket(rig.name), speed, arguments.absent_speed)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: server.stop())
        print(f"hal: serving {rig.name} ({len(rig.boards)} boards) at {server.path}", file=sys.stderr, flush=True)
        try:
            server.serve(arguments.for_s)
        finally:
            server.close()
        _print_score(world.score(), arguments.json)
    return 0


def _print_score(score: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(score), flush=True)
        return
    errors = {name: count for name, count in score["link_errors"].items() if count}
    for name, value in (
        ("simulated", f"{score['sim_s']:.1f} s in {score['ticks']} ticks, {score['late_ticks']} late"),
        ("eclipse", f"{score['eclipse_s']:.1f} s"),
        ("violations", ", ".join(f"{name} {count}" for name, count in score["violations"].items())),
        ("link errors", errors or "none"),
        ("compute", f"{score['compute']['work']:.0f} work units, {score['compute']['gpu_hours']:.2f} GPU h"),
        ("least charge", f"{score['energy']['soc_min']:.1%}"),
        ("bus hash", score["bus_sha256"]),
    ):
        print(f"{name:13} {value}")


# ---------------------------------------------------------------- a served world
def _ask(arguments: argparse.Namespace, request: dict[str, Any]) -> dict[str, Any]:
    from hal import icd
    from hal.wire import ask, default_socket

    path = arguments.socket or default_socket(load_rig(arguments.rig).name)
    return ask(path, request, icd.ICD_HASH)


def _score(arguments: argparse.Namespace) -> int:
    _print_score(_ask(arguments, {"do": "score"}), arguments.json)
    return 0


def _board(arguments: argparse.Namespace) -> int:
    result = _ask(arguments, {"do": arguments.action, "board": arguments.role})
    if arguments.json:
        print(json.dumps(result))
    return 0


# ---------------------------------------------------------------- ports
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


if __name__ == "__main__":
    sys.exit(main())
