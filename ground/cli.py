"""The operator's verbs: ground status | watch | send | run."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from ground import commanding, icd, words
from ground.errors import CommandFailed, GroundError, LinkError, UsageError
from ground.link import DEFAULT_URL
from ground.station import Station
from ground.telemetry import address_name

ASKED_WITHIN_S = 5.0  # simulated
_JOB_LINE = "{:>10} {:9} {:8} {:>4} {:>5} {:>5} {:>6} {:>6} {:>8}  {}"
HARM = {  # counters of hk_health that tell of damage, and how one and many of it are called
    "hangs": ("hang", "hangs"),
    "latch_ups": ("latch-up", "latch-ups"),
    "accel_resets": ("accelerator reset", "accelerator resets"),
    "ecc_uncorrected": ("ecc uncorrected", "ecc uncorrected"),
    "ecc_corrected": ("ecc corrected", "ecc corrected"),
    "lease_expiries": ("lease expired", "leases expired"),
    "leases_rejected": ("lease rejected", "leases rejected"),
    "commands_rejected": ("command rejected", "commands rejected"),
    "crc_errors": ("crc error", "crc errors"),
    "cobs_errors": ("cobs error", "cobs errors"),
    "length_errors": ("length error", "length errors"),
    "sequence_gaps": ("frame missing", "frames missing"),
    "unknown_frames": ("unknown frame", "unknown frames"),
    "rx_lost": ("byte lost by its receiver", "bytes lost by its receiver"),
    "overruns": ("overrun", "overruns"),
    "framing_errors": ("framing error", "framing errors"),
    "noise_errors": ("noise error", "noise errors"),
}

EXAMPLES = """examples:
  ground status --json
  ground watch
  ground jobs
  ground send node_on node=3
  ground send job_submit job_id=7 workload=training priority=5 work_mu=900000 checkpoint_s=30
  ground send parameter_set soc_reserve=0.4
  ground run demo --watch --report out/demo.html"""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code: 0, 1 when something failed, 2 for wrong usage."""
    arguments = _parser().parse_args(argv)
    try:
        result: int = arguments.verb(arguments)
        return result
    except UsageError as error:
        print(f"ground: {error}", file=sys.stderr)
        return 2
    except GroundError as error:
        print(f"ground: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="ground",
        description="The ground station: status, live view, commands and scripts over a satellite's radio.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    status = _verb(verbs, "status", _status, "print the latest housekeeping", "ground status --json")
    status.add_argument("--json", action="store_true", help="print one JSON object")

    watch = _verb(verbs, "watch", _watch, "show the satellite live in the terminal", "ground watch --once")
    watch.add_argument("--once", action="store_true", help="print one frame and end")
    watch.add_argument("--size", metavar="WxH", type=_size, help="of the frame of --once (default: the terminal's)")
    watch.add_argument(
        "--reconnect-within", type=_seconds, default=3.0, metavar="S", help="wall-clock time of a lost link (3)"
    )

    jobs = _verb(verbs, "jobs", _jobs, "list the jobs that have not ended, and how each stands", "ground jobs --json")
    jobs.add_argument("--json", action="store_true", help="print one JSON object")

    send = _verb(
        verbs, "send", _send, "send one command and wait until it is done", "ground send node_on node=3", _commands()
    )
    send.add_argument("name", metavar="NAME", help="the command")
    send.add_argument("arguments", metavar="KEY=VALUE", nargs="*", help="its arguments")
    send.add_argument("--stage", choices=["sent", "accepted", "started", "completed"], default="completed")
    send.add_argument("--within", type=_seconds, default=120.0, metavar="S", help="simulated time it may take (120)")
    send.add_argument("--json", action="store_true", help="print one JSON object")

    run = _verb(
        verbs, "run", _run, "run a script: a Python file with main(station, arguments)", "ground run demo --watch"
    )
    run.add_argument("script", metavar="SCRIPT", help="a file, or the name of a script that ships: demo")
    run.add_argument("arguments", metavar="ARG", nargs="*", help="handed to the script")
    run.add_argument("--report", metavar="FILE", help="write an HTML report of the flight")
    run.add_argument("--watch", action="store_true", help="show the live view meanwhile")
    time = run.add_mutually_exclusive_group()
    time.add_argument("--hold", action="store_true", default=None, help="the satellite waits for the script (default)")
    time.add_argument("--no-hold", dest="hold", action="store_false", help="it flies on (default with --watch)")
    return parser


class _Parser(argparse.ArgumentParser):
    """argparse whose errors are one line."""

    def error(self, message: str) -> Any:
        self.exit(2, f"ground: {message} (see {self.prog} --help)\n")


def _verb(verbs: Any, name: str, function: Any, text: str, example: str, more: str = "") -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=f"example:\n  {example}{more}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(verb=function)
    parser.add_argument(
        "--station", "--radio", metavar="URL", default=DEFAULT_URL, help=f"the radio (default {DEFAULT_URL})"
    )
    parser.add_argument("--connect-within", type=_seconds, metavar="S", help="wall-clock time to wait for the radio")
    return parser


def _commands() -> str:
    names = [name for name, message in icd.COMMANDS.items() if message.apid != "radio"]
    return "\n\ncommands:\n" + "\n".join(f"  {commanding.describe(name)}" for name in names)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1e9:
        raise argparse.ArgumentTypeError(f"{text!r}: expected seconds, from 0 to 1e9")
    return value


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal()) or not (int(width) and int(height)):
        raise argparse.ArgumentTypeError(f"{text!r}: expected WIDTHxHEIGHT, like 80x24")
    return int(width), int(height)


def _connect(arguments: argparse.Namespace, within_s: float, *, hold: bool = False, reconnect: bool = False) -> Station:
    chosen = arguments.connect_within
    return Station.connect(
        arguments.station, hold=hold, within_s=within_s if chosen is None else chosen, reconnect=reconnect
    )


def _await_telemetry(station: Station, *names: str) -> None:
    for name in names:
        if name not in station.telemetry:
            station.wait(name, within=3600.0)


# ---------------------------------------------------------------------- status
def _status(arguments: argparse.Namespace) -> int:
    with _connect(arguments, 2.0) as station:
        _await_telemetry(station, "hk_flight", "hk_power", "hk_nodes")
        if not station.health:
            _ask(station, "hk_health")
        if "hk_estimate" not in station.telemetry:
            _ask(station, "hk_estimate")
        if arguments.json:
            print(json.dumps(status(station)))
        else:
            print("\n".join(_status_lines(status(station))))
    return 0


def _ask(station: Station, seldom: str) -> None:
    """What comes too seldom to wait for is asked for; a status without it is a status still."""
    if station.telemetry["hk_flight"].icd_hash == icd.ICD_HASH:
        with contextlib.suppress(CommandFailed):
            station.send("hk_request", structure=icd.PACKETS[seldom].selector).completed(within=ASKED_WITHIN_S)


def status(station: Station) -> dict[str, Any]:
    """The latest housekeeping by packet, with the names of enum values, as plain data."""
    out: dict[str, Any] = {"station": station.url, "t_s": station.t_s}
    for name in ("hk_flight", "hk_power"):
        out[name] = _named(icd.PACKETS[name].fields, station.telemetry[name])
    out["hk_flight"]["icd_hash"] = f"{station.telemetry['hk_flight'].icd_hash:016x}"
    estimate = station.telemetry.get("hk_estimate")
    out["hk_estimate"] = _named(icd.PACKETS["hk_estimate"].fields, estimate) if estimate else None
    out["icd_match"] = station.telemetry["hk_flight"].icd_hash == icd.ICD_HASH
    out["nodes"] = [_named(icd.RECORDS["node_row"], row) for row in station.nodes]
    out["health"] = [
        {**_named(icd.RECORDS["health_row"], row), "address": address_name(row["address"])} for row in station.health
    ]
    out["jobs"] = [_named(icd.RECORDS["job_row"], row) for row in station.jobs.values()]
    return out


def _jobs(arguments: argparse.Namespace) -> int:
    """Ask for the queue, and print what comes: a page may hold jobs that ended since the last one."""
    with _connect(arguments, 2.0) as station:
        _await_telemetry(station, "hk_flight")
        station.send("hk_request", structure=icd.PACKETS["hk_jobs"].selector).completed(within=ASKED_WITHIN_S)
        head = {name: station.telemetry["hk_jobs"][name] for name in ("queued", "running", "done", "work_mu")}
        rows = [_named(icd.RECORDS["job_row"], row) for row in station.jobs.values()]
        t_s = station.t_s
    if arguments.json:
        print(json.dumps({"t_s": t_s, **head, "jobs": rows}))
        return 0
    counts = f"{head['running']} on nodes, {head['queued']} queued, {head['done']} done"
    print(f"{counts}; {head['work_mu'] / 1e3:.1f} units credited")
    print(_JOB_LINE.format("job", "state", "workload", "prio", "nodes", "on", "done", "safe", "restarts", "due"))
    for j in rows:
        on = "-" if j["node"] == commanding.ALL else j["node"]
        done, safe = (f"{100 * j[name] / max(j['total_mu'], 1):.0f} %" for name in ("progress_mu", "checkpoint_mu"))
        due = words.clock(j["deadline_s"]) if j["deadline_s"] else "-"
        print(
            _JOB_LINE.format(
                j["job_id"], j["state"], j["workload"], j["priority"], j["nodes"], on, done, safe, j["restarts"], due
            )
        )
    return 0


def _named(fields: Sequence[icd.Field], values: dict[str, Any]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for field in fields:
        value = values.get(field.name)
        if field.enum.endswith("_flag") and value is not None:
            named[field.name] = words.flag_names(field.enum, value)
        elif field.enum and value is not None:
            named[field.name] = words.enum_name(field.enum, value)
        else:
            named[field.name] = value
    return named


def _status_lines(now: dict[str, Any]) -> list[str]:
    flight, power = now["hk_flight"], now["hk_power"]
    states = [node["state"] for node in now["nodes"]]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    sun = "sunlit" if power["sunlit"] else "in eclipse"
    battery = words.watts(power["bus_mv"] * power["batt_ma"] / 1e6)
    array, nodes, leases = (words.watts(power[name] / 1e3) for name in ("array_mw", "load_mw", "lease_sum_mw"))
    lines = [
        f"{now['station']}  {words.clock(now['t_s'])}  mode {flight['mode']}, {sun}",
        f"boards   {flight['boards_ready']} ready, {flight['boards_lost']} lost, {flight['boards_refused']} refused",
        f"power    array {array} of {words.watts(power['available_mw'] / 1e3)}, nodes {nodes}, battery {battery}",
        f"battery  {power['soc_cpct'] / 100:.1f} %, bus {power['bus_mv'] / 1e3:.2f} V, {power['charge_mode']}",
        f"nodes    {counts}; leases {leases} of {words.watts(power['guaranteed_mw'] / 1e3)} guaranteed",
    ]
    if ill := "; ".join(filter(None, map(_health_text, now["health"]))):
        lines.append(f"health   {ill}")
    if now["hk_estimate"]:
        lines += _estimate_lines(now["hk_estimate"])
    for job in now["jobs"]:
        share = 100 * job["progress_mu"] / max(job["total_mu"], 1)
        lines.append(f"job {job['job_id']:<4d} {job['workload']} {job['state']} {share:.0f} %")
    if not now["icd_match"]:
        lines.append(f"ICD      {flight['icd_hash']}: not ours ({icd.ICD_HASH:016x}), so ground will not command")
    return lines


def _estimate_lines(estimate: dict[str, Any]) -> Iterator[str]:
    """What was learned of the satellite; which sensors are not trusted, if any."""
    radiators = " and ".join(f"{loop['radiator_permille'] / 10:.0f} %" for loop in estimate["loops"])
    yield (
        f"learned  battery {estimate['capacity_mah'] / 1e3:.1f} Ah, {estimate['resistance_uohm'] / 1e3:.1f} mohm; "
        f"array {estimate['array_permille'] / 10:.0f} %, radiators {radiators} of what the file says"
    )
    fields = [f for f in icd.PACKETS["hk_estimate"].fields if f.enum == "sensor_state"]
    out = [f"{f.name} {estimate[f.name]}" for f in fields if estimate[f.name] != "trusted"]
    if estimate["nodes_out"]:
        out.append(f"of {estimate['nodes_out']} node{'s' if estimate['nodes_out'] > 1 else ''}")
    if out:
        yield f"sensors  not trusted: {', '.join(out)}"


def _health_text(board: dict[str, Any]) -> str:
    """node 3: 1 hang, 2 ecc uncorrected. Empty when nothing has happened to the board."""
    counts = [f"{board[name]} {one if board[name] == 1 else many}" for name, (one, many) in HARM.items() if board[name]]
    return f"{board['address']}: {', '.join(counts)}" if counts else ""


# ---------------------------------------------------------------------- send
def _send(arguments: argparse.Namespace) -> int:
    values = commanding.parse_words(arguments.name, arguments.arguments)
    commanding.encode(arguments.name, dict(values))
    with _connect(arguments, 2.0) as station:
        command = station.send(arguments.name, **values)
        error: CommandFailed | None = None
        if arguments.stage != "sent":
            try:
                getattr(command, arguments.stage)(within=arguments.within)
            except CommandFailed as failure:
                error = failure
        if arguments.json:
            print(json.dumps(_command_object(station, command)))
        else:
            for state, t_us in command.times_us.items():
                print(f"{words.clock(t_us / 1e6)} {state.value:9s} {command.text}")
            for name, value in _report_values(station, command).items():
                print(f"{name} = {value:g}")
        if error is not None:
            raise error
    return 0


def _command_object(station: Station, command: commanding.Command) -> dict[str, Any]:
    out: dict[str, Any] = {
        "command": command.name,
        "arguments": command.arguments,
        "state": command.state.value,
        "reason": command.reason,
        "detail": command.detail,
        "times_s": {state.value: t_us / 1e6 for state, t_us in command.times_us.items()},
    }
    values = _report_values(station, command)
    return {**out, "values": values} if values else out


def _report_values(station: Station, command: commanding.Command) -> dict[str, float]:
    report = station.telemetry.get("parameter_report")
    if command.name != "parameter_get" or report is None:
        return {}
    names = {p.id: p.name for p in icd.PARAMETERS.values()}
    return {names[row["parameter"]]: row["value"] for row in report["values"]}


# ---------------------------------------------------------------------- watch and run
def _display() -> tuple[Any, Any, Any]:
    try:
        from rich.console import Console

        from ground.view import LiveView, draw_once
    except ModuleNotFoundError as error:
        raise UsageError(f"the live view needs {error.name}: pip install 'dawnline[ground]'") from None
    return Console(), LiveView, draw_once


def _watch(arguments: argparse.Namespace) -> int:
    console, live_view, draw_once = _display()
    with _connect(arguments, 2.0, reconnect=not arguments.once) as station:
        if arguments.once:
            _await_telemetry(station, "hk_flight", "hk_power", "hk_nodes")
            draw_once(station, console, *(arguments.size or console.size))
            return 0
        station.reconnect_within_s = arguments.reconnect_within
        try:
            with live_view(station, console):
                while True:
                    station.pump(0.1)
        except LinkError:
            print(f"ground: the satellite at {station.url} is gone ({words.clock(station.t_s)})")
        except KeyboardInterrupt:
            print(f"ground: left the satellite at {station.url} ({words.clock(station.t_s)})")
    return 0


def _run(arguments: argparse.Namespace) -> int:
    from ground.procedure import run

    if arguments.watch:
        _display()
    hold = arguments.hold if arguments.hold is not None else not arguments.watch
    return run(
        arguments.script,
        arguments.arguments,
        lambda: _connect(arguments, 60.0, hold=hold),
        report=arguments.report,
        watch=arguments.watch,
    )


if __name__ == "__main__":
    sys.exit(main())
