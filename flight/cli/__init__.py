"""The command `flight`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from flight.cli import optimum, replay, run
from flight.errors import FlightError
from ground.errors import GroundError
from hal.errors import HalError


class _Parser(argparse.ArgumentParser):
    """Wrong usage is one line, as every other error."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"flight: {message} (see `{self.prog} --help`)\n")


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = _Parser(
        prog="flight",
        description="The flight computer of an AI data-centre satellite.",
        epilog="example: flight run --rig demo --orbits 1 --json",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run.add(commands)
    replay.add(commands)
    optimum.add(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point. Returns the exit code: 0 good, 1 a failure in one line on stderr, 2 wrong usage."""
    args = parser().parse_args(argv)
    try:
        code: int = args.function(args)
    except (FlightError, HalError, GroundError) as error:
        print(f"flight: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("flight: interrupted", file=sys.stderr)
        return 130
    return code
