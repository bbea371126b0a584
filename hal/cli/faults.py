"""`hal faults`, `hal fault`: what can be broken, and breaking it in a served world."""

from __future__ import annotations

import argparse
import json
from typing import Any

from hal.cli.common import add_command, ask, socket_option
from hal.fault_kinds import DIRECTIONS, FIELD, KINDS, SENSOR, Kind
from hal.sensors import SENSORS

CHOICES = ("board", "sensor", "index", "value", "rate", "direction", "for_s")


def add(commands: Any) -> None:
    """Add the commands to a parser."""
    add_command(commands, "faults", _list, "List every kind of fault, its numbers and where it can be.", "hal faults")
    fault = add_command(
        commands,
        "fault",
        _fault,
        "Break something in a served world, or restore it (--lift).",
        "hal fault stuck --board node3 --sensor die_cdeg --for 60 --rig demo",
    )
    fault.add_argument("kind", metavar="KIND", help="a kind of `hal faults`")
    fault.add_argument("--rig", default="demo", metavar="RIG", help="the rig that is served; default demo")
    fault.add_argument("--board", metavar="ROLE", help="power, node0, node1, ...")
    fault.add_argument("--sensor", metavar="NAME", help="a sensor of that board")
    fault.add_argument("--index", type=int, metavar="N", help="channel, string, loop or node; default 0")
    fault.add_argument("--value", type=float, metavar="X", help="what the kind says")
    fault.add_argument("--rate", type=float, metavar="P", help="chance, 0 to 1")
    fault.add_argument("--direction", choices=DIRECTIONS, help="of a link; default both")
    fault.add_argument(
        "--for", dest="for_s", type=float, metavar="SECONDS", help="lift it after so much simulated time"
    )
    fault.add_argument("--lift", action="store_true", help="lift the one that is in force")
    socket_option(fault)


def _fault(arguments: argparse.Namespace) -> int:
    given = {name: getattr(arguments, name) for name in CHOICES if getattr(arguments, name) is not None}
    do = "lift" if arguments.lift else "fault"
    result = ask(arguments, {"do": do, "kind": arguments.kind, **given})
    if arguments.json:
        print(json.dumps(result))
    return 0


def facts() -> dict[str, Any]:
    """Every kind and every sensor, as JSON can hold them."""
    return {
        "faults": [
            {
                "kind": kind.name,
                "on": kind.on,
                "text": kind.text,
                "value": _value(kind),
                "rate": kind.rate,
                "index": kind.index or None,
                "for_s": kind.lasts,
                "backends": list(kind.backends),
            }
            for kind in KINDS
        ],
        "sensors": {
            board.name.lower(): [
                {"sensor": s.name, "unit": s.unit, "index": s.index or None, "low": s.low, "high": s.high}
                for s in sensors.values()
            ]
            for board, sensors in SENSORS.items()
        },
    }


def _value(kind: Kind) -> dict[str, Any] | None:
    v = kind.value
    if v is None:
        return None
    return {"what": v.what, "unit": v.unit, "low": v.low, "high": v.high, "default": v.default, "whole": v.whole}


def value_text(kind: Kind) -> str:
    """What `value` is, in a few words: meaning, unit, default."""
    v = kind.value
    if v is None:
        return ""
    unit = "" if v.unit in ("", FIELD) else f", in {v.unit}"
    unit = ", in the sensor's unit" if v.unit == FIELD else unit
    return f"{v.what}{unit}" + ("" if v.default is None else f" (default {v.default:g})")


def rate_text(kind: Kind) -> str:
    """What `rate` counts, and its default."""
    if kind.rate is None:
        return ""
    what = "byte" if kind.name == "flip" else "reading" if kind.on == SENSOR else "frame"
    return f"per {what} (default {kind.rate:g})"


def _list(arguments: argparse.Namespace) -> int:
    if arguments.json:
        print(json.dumps(facts()))
        return 0
    for kind in KINDS:
        more = "; ".join(
            part
            for part in (
                f"index: {kind.index}" if kind.index else "",
                f"value: {value_text(kind)}" if kind.value else "",
                f"rate {rate_text(kind)}" if kind.rate is not None else "",
            )
            if part
        )
        print(f"{kind.on:7} {kind.name:14} {kind.text}{f' [{more}]' if more else ''}  {', '.join(kind.backends)}")
    for board, sensors in SENSORS.items():
        print(f"\nsensors of a {board.name.lower()}:")
        for s in sensors.values():
            print(f"  {s.name:16} {s.unit:16} {f'per {s.index}' if s.index else ''}".rstrip())
    return 0
