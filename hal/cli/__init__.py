"""The command ``hal``: serve a world, look at it, break it; find boards, give them addresses."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from hal.cli import (
    assign,
    doctor,
    export,
    faults,
    flash,
    parity,
    replay,
    scan,
    serve,
    served,
    seu,
    update,
)
from hal.cli.common import RAW, Parser
from hal.errors import HalError


def parser() -> Parser:
    """All commands and their options."""
    top = Parser(prog="hal", description="The hardware side of a satellite.", formatter_class=RAW)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in (
        serve,
        served,
        faults,
        scan,
        doctor,
        assign,
        flash,
        update,
        parity,
        replay,
        export,
        seu,
    ):
        module.add(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point. Returns the exit code: 0, 1 for a failure (one line on stderr); argparse exits with 2."""
    arguments = parser().parse_args(argv)
    try:
        code: int = arguments.run(arguments)
    except HalError as error:
        print(f"hal: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return code
