"""`flight run`: fly a rig, in this process or against a world that is served by another one."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flight.cli.progress import Progress
from flight.errors import FlightError
from flight.executive import Executive
from flight.forecast import Forecast
from flight.icd import Event
from flight.loop import LoopEvent
from flight.pacing import Pacing
from flight.radio import Radio, parse_address
from flight.replay.recorder import RecordedPacing, RecordedRadio, RecordedStorage, Recorder
from flight.storage import Storage
from ground.recorder import Recorder as Downlink
from hal.link import MADE
from hal.pacing import parse_speed
from hal.port import BusPort
from hal.remote import RemoteWorld
from hal.rig import Rig, load_rig
from hal.tape import Tape, header_of
from hal.world import World

EXAMPLE = """examples:
  flight run --rig demo --orbits 1 --json
  flight run --rig desk --backend process --for 600
  flight run --rig demo --speed 100 --radio tcp:127.0.0.1:10025
  flight run --rig desk --for 600 --record desk.rec
  flight run --world /run/user/1000/dawnline/demo.sock --storage flight-state
"""


def _number(text: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number") from None
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"{text} is out of range, expected {low:g} to {high:g}")
    return value


def _seconds(text: str) -> float:
    return _number(text, 1e-3, 1e9)


def _tick(text: str) -> float:
    return _number(text, 0.01, 10)


def _speed(text: str) -> float:
    """Infinity for max."""
    try:
        return parse_speed(text) or math.inf
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 1 << 63:
        raise argparse.ArgumentTypeError(f"'{text}' is not a seed, expected a whole number from 0 to 2^63 - 1")
    return int(text)


def add(commands: Any) -> None:
    """Add the command to a parser."""
    p = commands.add_parser(
        "run",
        help="fly a rig",
        description="Fly a rig: one that ships (demo, ai1, desk) or a file.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    where = p.add_mutually_exclusive_group(required=True)
    where.add_argument("--rig", help="name of a rig that ships, or a .toml file")
    where.add_argument("--world", metavar="SOCKET", help="fly the world that `hal serve` has at this socket")
    p.add_argument("--backend", choices=MADE, help="put every board on this back end")
    length = p.add_mutually_exclusive_group()
    length.add_argument("--orbits", type=_seconds, metavar="N", help="fly so many orbits")
    length.add_argument("--for", type=_seconds, dest="seconds", metavar="SECONDS", help="fly so long (simulated)")
    p.add_argument("--tick", type=_tick, metavar="SECONDS", help="length of a tick instead of the rig's")
    p.add_argument(
        "--speed", type=_speed, metavar="max|X",
        help="simulated seconds per second (default: 1 with a real board, else max)",
    )  # fmt: skip
    p.add_argument("--seed", type=_seed, help="seed of the world instead of the rig's")
    p.add_argument("--radio", metavar="tcp:HOST:PORT", help="listen for ground stations here")
    p.add_argument(
        "--await-ground", type=_seconds, metavar="SECONDS", help="stand still until a ground station has connected"
    )
    p.add_argument("--no-timeline", action="store_true", help="do not fly the rig's timeline")
    p.add_argument("--storage", type=Path, metavar="DIR", help="what survives a restart (default: a temporary folder)")
    p.add_argument("--record", type=Path, metavar="FILE", help="record the flight, for `flight replay`")
    p.add_argument("--report", type=Path, metavar="FILE", help="write an HTML report of the flight")
    p.add_argument("--json", action="store_true", help="print the result as JSON")
    p.set_defaults(function=command)


@dataclass(slots=True)
class _Flight:
    """What one run is made of."""

    port: World | RemoteWorld
    executive: Executive
    pacing: Pacing
    downlink: Downlink | None
    recorder: Recorder | None
    tape: Tape | None
    losses: int = 0


def command(args: argparse.Namespace) -> int:
    """Run it; the result goes to stdout, everything else to stderr."""
    _check(args)
    rig = _rig(args) if args.rig is not None else None
    with contextlib.ExitStack() as stack:
        flight = _build(args, rig, stack)
        until_us = _until(args, flight)
        begun_us = flight.port.t_us
        stop = _stop_on_signals(stack)
        if args.await_ground:
            _await_ground(flight, args.await_ground, stop)
        started = time.monotonic()
        with Progress(flight.executive, begun_us, until_us, quiet=args.json) as progress:
            flight.executive.run(until_us, lambda: stop() or progress.tick())
        wall_s = time.monotonic() - started
        _end(flight)
        result = _result(flight, begun_us, wall_s)
        print(json.dumps(result, indent=2) if args.json else _text(result), flush=True)  # before a report that may fail
        if flight.downlink is not None:
            from ground.report import write_report

            truth = flight.port.truth() if isinstance(flight.port, World) else None
            write_report(args.report, flight.downlink, truth, result)
    return int(flight.tape is not None and flight.tape.failed is not None)


def _end(flight: _Flight) -> None:
    """In order: what was not stored or sent yet, then the recording's end."""
    flight.executive.close()
    if flight.recorder is not None and flight.tape is not None:
        flight.recorder.finish()
        flight.tape.close()


def _check(args: argparse.Namespace) -> None:
    """What argparse cannot say: which options go together, and what would fail only after the flight."""
    if args.world:
        for name in ("backend", "tick", "seed", "speed"):
            if getattr(args, name) not in (None, math.inf):
                raise FlightError(f"--{name} is the world's to choose: give it to `hal serve`")
    if args.await_ground and not args.radio:
        raise FlightError("--await-ground needs --radio")
    if args.report is not None:
        from ground.report import check_writable  # only when asked: a flight does not wait for a page's modules

        check_writable(args.report)


def _rig(args: argparse.Namespace) -> Rig:
    rig = load_rig(args.rig).with_backend(args.backend)
    if args.tick is not None:
        rig = rig.with_tick(args.tick)
    return rig if args.seed is None else replace(rig, seed=args.seed)


def _build(args: argparse.Namespace, rig: Rig | None, stack: contextlib.ExitStack) -> _Flight:
    """Everything that can be refused is opened before the first tick."""
    recorder = Recorder() if args.record else None
    radio = _radio(args, recorder)
    if radio is not None:
        stack.callback(radio.close)
    directory = args.storage or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dawnline-")))
    storage = Storage(directory) if recorder is None else RecordedStorage(directory, recorder)
    stack.callback(storage.close)
    world, tape = _world(args, rig, stack)
    pace = _pace(args, world.rig)
    downlink = Downlink() if args.report is not None else None
    taps = [downlink.feed] if downlink else []
    port: BusPort = world
    if recorder is not None and tape is not None:
        port = recorder.start(tape, world, storage, timeline=not args.no_timeline)
        taps.append(recorder.packets)
    pacing = Pacing(pace) if recorder is None else RecordedPacing(pace, recorder)
    executive = Executive(
        port, storage, radio=radio, pacing=pacing, timeline=() if args.no_timeline else port.rig.timeline,
        tap=_tee(taps) if taps else None,
    )  # fmt: skip
    stack.callback(executive.close)
    if recorder is not None:
        recorder.follow(executive)
    flight = _Flight(world, executive, pacing, downlink, recorder, tape)

    def count(event: LoopEvent) -> None:
        flight.losses += event.code == Event.BOARD_LOST

    executive.events.listeners.append(count)
    return flight


def _tee(taps: Sequence[Callable[[bytes], None]]) -> Callable[[bytes], None]:
    def tee(data: bytes) -> None:
        for tap in taps:
            tap(data)

    return tee


def _radio(args: argparse.Namespace, recorder: Recorder | None) -> Radio | None:
    if not args.radio:
        return None
    host, port = parse_address(args.radio)
    return Radio(host, port) if recorder is None else RecordedRadio(host, port, recorder)


def _world(
    args: argparse.Namespace, rig: Rig | None, stack: contextlib.ExitStack
) -> tuple[World | RemoteWorld, Tape | None]:
    """The world to fly, and the tape that keeps it: its lines as well, when it is in this process."""

    def tape(rig: Rig) -> Tape | None:
        if args.record is None:
            return None
        made = Tape(args.record, header_of(rig, {}), lambda line: print(f"flight: {line}", file=sys.stderr))
        stack.callback(made.close)
        return made

    if rig is None:
        remote = RemoteWorld(args.world)
        stack.callback(remote.close)
        return remote, tape(remote.rig)
    kept = tape(rig)
    world = World(rig, tape=kept)
    stack.callback(world.close)
    return world, kept


def _pace(args: argparse.Namespace, rig: Rig) -> float | None:
    """A served world paces itself."""
    if args.world:
        return None
    if args.speed is not None:
        return None if math.isinf(args.speed) else float(args.speed)
    return None if all(b.made for b in rig.boards) else 1.0


def _until(args: argparse.Namespace, flight: _Flight) -> int | None:
    """Until when to fly, in us; None: for good."""
    if args.seconds is not None:
        return int(flight.port.t_us + round(args.seconds * 1e6))
    if args.orbits is not None:
        return int(flight.port.t_us + round(args.orbits * Forecast(flight.port.rig.orbit).period_s * 1e6))
    return None


def _stop_on_signals(stack: contextlib.ExitStack) -> Callable[[], bool]:
    """SIGINT and SIGTERM end the flight after the run of ticks that is under way, with its result."""
    asked: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        before = signal.signal(number, lambda got, _: asked.append(got))
        stack.callback(signal.signal, number, before)
    return lambda: bool(asked)


def _await_ground(flight: _Flight, seconds: float, stop: Callable[[], bool]) -> None:
    if not flight.executive.await_ground(max(1, round(seconds)), stop=stop) and not stop():
        raise FlightError(f"no ground station connected within {seconds:g} s")


# ------------------------------------------------------------------ the result
def _result(flight: _Flight, begun_us: int, wall_s: float) -> dict[str, Any]:
    """The object that `--json` prints. What only a world knows is null without one."""
    port, status = flight.port, flight.executive.loop.status()
    sim_s = (port.t_us - begun_us) / 1e6
    result: dict[str, Any] = {
        "rig": port.rig.name,
        "boards": len(port.rig.boards),
        "orbits": sim_s / Forecast(port.rig.orbit).period_s,
        "ticks": (port.t_us - begun_us) // port.tick_us,
        "sim_s": sim_s,
        "wall_s": wall_s,
        "speed": sim_s / wall_s if wall_s > 0 else None,
    }
    if isinstance(port, World):
        port.late_ticks = flight.pacing.late_ticks
        result |= _truth(port)
    else:
        result |= _seen(status) | {"late_ticks": port.late_ticks}
    jobs = flight.executive.jobs
    return result | {
        "lost_boards": int(status.boards_lost),
        "board_losses": flight.losses,
        "work_credited": jobs.work_mu / 1000,
        "jobs": {state.name.lower(): count for state, count in jobs.counts.items()},
        "mode": int(status.mode),
        "slips": flight.pacing.slips,
        "jitter_us": _jitter(flight.pacing),
        "recording": flight.tape and {"file": str(flight.tape.path), "bytes": flight.tape.size},
    }


def _jitter(pacing: Pacing) -> dict[str, int] | None:
    """How long after their moments ticks began; None when flight did not pace them."""
    lateness = pacing.lateness
    if lateness.count == 0:
        return None
    return {f"p{percent}": lateness.percentile(percent) for percent in (50, 95, 99)} | {"max": lateness.worst_us}


def _truth(world: World) -> dict[str, Any]:
    score = world.score()
    renamed = {"frames_to_boards": "frames_sent", "frames_from_boards": "frames_received"}
    skipped = ("rig", "boards", "ticks", "sim_s")
    return {renamed.get(key, key): value for key, value in score.items() if key not in skipped}


def _seen(status: Any) -> dict[str, Any]:
    """What flight itself has counted."""
    errors = ("crc_errors", "cobs_errors", "length_errors", "sequence_gaps", "stale_frames", "bad_payloads")
    return {
        "frames_sent": int(status.frames_sent),
        "frames_received": int(status.frames_received),
        "bytes": int(status.bytes_sent + status.bytes_received),
        "link_errors": {name: int(getattr(status, name)) for name in (*errors, "unknown_frames", "retransmissions")},
        "violations": None,
        "energy": None,
        "compute": None,
        "eclipse_s": None,
        "bus_sha256": None,
    }


def _lines(result: dict[str, Any]) -> Iterator[str]:
    yield (
        f"{result['rig']}: {result['boards']} boards, {result['ticks']} ticks, {result['sim_s']:.0f} s "
        f"({result['orbits']:.2f} orbits) in {result['wall_s']:.1f} s, {result['speed'] or 0:.0f} x real time"
    )
    errors = sum(result["link_errors"].values())
    yield f"bus: {result['frames_sent']} frames sent, {result['frames_received']} received, {errors} link errors"
    if result["energy"] is not None:
        energy, compute = result["energy"], result["compute"]
        yield (
            f"energy: {energy['pv_available_j'] / 3.6e6:.2f} kWh available, {energy['pv_used_j'] / 3.6e6:.2f} used, "
            f"{energy['nodes_j'] / 3.6e6:.2f} in nodes; least charge {100 * energy['soc_min']:.1f} %"
        )
        yield f"compute: {compute['work']:.1f} work units, {compute['gpu_hours']:.2f} accelerator hours"
        violations = ", ".join(f"{name} {count}" for name, count in result["violations"].items())
        yield f"eclipse {result['eclipse_s']:.0f} s; violations: {violations}"
    yield f"late ticks {result['late_ticks']}, boards lost {result['lost_boards']}"
    if result["jitter_us"] is not None:
        times = ", ".join(f"{name} {us}" for name, us in result["jitter_us"].items())
        yield f"ticks began after their moments by (us): {times}"
    yield from (f"{role} is absent: {why}" for role, why in result.get("absent_because", {}).items())
    if result["bus_sha256"]:
        yield f"bus hash {result['bus_sha256']}"


def _text(result: dict[str, Any]) -> str:
    return "\n".join(_lines(result))


__all__ = ["add", "command"]
