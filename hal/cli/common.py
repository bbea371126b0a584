"""What the commands of `hal` share: how one is added, options, and how a score is printed."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from hal.pacing import parse_speed

RAW = argparse.RawDescriptionHelpFormatter


class Parser(argparse.ArgumentParser):
    """Wrong usage is one line, as every other error."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"hal: {message} (see `{self.prog} --help`)\n")


def speed(text: str) -> float | None:
    """An argument for simulated over real time; None for max."""
    try:
        return parse_speed(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], text: str, example: str
) -> argparse.ArgumentParser:
    """A command with its help, an example, and --json."""
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=text, epilog=f"example:\n  {example}", formatter_class=RAW
    )
    command.set_defaults(run=run)
    command.add_argument("--json", action="store_true", help="print results as JSON")
    return command


def socket_option(parser: argparse.ArgumentParser) -> None:
    """--socket of a served world."""
    parser.add_argument("--socket", type=Path, metavar="PATH", help="socket of the world; default by the rig's name")


def ask(arguments: argparse.Namespace, request: dict[str, Any]) -> dict[str, Any]:
    """One request to the served world that --rig or --socket names. Raises `WorldError` with its reason."""
    from hal import icd, wire
    from hal.rig import load_rig

    path = arguments.socket or wire.default_socket(load_rig(arguments.rig).name)
    return wire.ask(path, request, icd.ICD_HASH)


def print_score(score: dict[str, Any], as_json: bool) -> None:
    """The score of a world, for people or for scripts."""
    if as_json:
        print(json.dumps(score), flush=True)
        return
    errors = {name: count for name, count in score["link_errors"].items() if count}
    faults = [
        " ".join(str(f[key]) for key in ("kind", "board", "sensor", "index") if f[key] is not None) + f" ({f['hits']})"
        for f in score["faults"]
    ]
    for name, value in (
        ("simulated", f"{score['sim_s']:.1f} s in {score['ticks']} ticks, {score['late_ticks']} late"),
        ("eclipse", f"{score['eclipse_s']:.1f} s"),
        ("violations", ", ".join(f"{name} {count}" for name, count in score["violations"].items())),
        ("link errors", errors or "none"),
        ("faults (hits)", ", ".join(faults) or "none"),
        ("compute", f"{score['compute']['work']:.0f} work units, {score['compute']['gpu_hours']:.2f} GPU h"),
        ("least charge", f"{score['energy']['soc_min']:.1%}"),
        ("bus hash", score["bus_sha256"]),
    ):
        print(f"{name:13} {value}")
    for role, why in score["absent_because"].items():
        print(f"{'absent':13} {role}: {why}")
