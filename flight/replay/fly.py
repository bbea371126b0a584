"""Flying a recording again, and what came of it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from flight import icd
from flight.errors import ReplayError
from flight.executive import Executive
from flight.replay.compare import Diverged, packet_difference, state_difference
from flight.replay.notes import state
from flight.replay.replayed import ReplayedPacing, ReplayedPort, ReplayedRadio, ReplayedStorage, Stage
from flight.replay.script import Script, TapeEnd, split_packets
from hal import icd as bus_icd
from hal.differences import Difference
from hal.errors import RecordingError
from hal.recording import Recording
from hal.tape import rig_of


class Outcome(NamedTuple):
    """What a replay found."""

    rig: str
    ticks: int
    sim_s: float
    packets: int
    """of telemetry that are the same"""
    bytes_to_boards: int
    ended: bool
    """the flight ended in order; else it was killed, or the recording cut"""
    cut_bytes: int
    """behind the last whole block"""
    difference: Difference | None
    damage: str | None
    """why the recording cannot be read to its end"""


class _Telemetry:
    """Compares packets as they come; takes nothing that was not recorded for a difference before the end."""

    def __init__(self, script: Script, stage: Stage) -> None:
        self.same = 0
        self.more: bytes | None = None
        """The first packet behind the last one recorded."""
        self._script, self._stage = script, stage

    def __call__(self, data: bytes) -> None:
        for packet in split_packets(data):
            recorded = self._script.packet()
            if recorded is None:
                self.more = self.more or packet
            elif recorded != packet:
                raise Diverged(packet_difference(self._stage.t_us, self._stage.tick_us, recorded, packet))
            else:
                self.same += 1


def replay(path: Path, tick: Callable[[int], None] = lambda t_us: None) -> Outcome:
    """Replay the flight in a recording. tick: called now and then with the simulated time.

    Raises `RecordingError` or `ReplayError` when there is nothing that could be replayed.
    """
    with Recording(path) as recording, tempfile.TemporaryDirectory(prefix="dawnline-") as folder:
        _check_header(recording)
        script = Script(recording)
        if script.start.values.get("icd_hash") != f"{icd.ICD_HASH:016x}":
            raise _other(recording, "space-link ICD", script.start.values.get("icd_hash"), icd.ICD_HASH)
        return _fly(recording, script, Path(folder), tick)


def _check_header(recording: Recording) -> None:
    board_bus = recording.header.get("board_bus", {})
    if board_bus.get("icd_hash") != f"{bus_icd.ICD_HASH:016x}":
        raise _other(recording, "board-bus ICD", board_bus.get("icd_hash"), bus_icd.ICD_HASH)


def _other(recording: Recording, what: str, theirs: object, ours: int) -> ReplayError:
    version = recording.header.get("software", {}).get("version") or "unknown"
    return ReplayError(
        f"{recording.path}: recorded with {what} {theirs}, this program has {ours:016x}: "
        f"replay it with the version that recorded it ({version})"
    )


def _fly(recording: Recording, script: Script, folder: Path, tick: Callable[[int], None]) -> Outcome:
    rig = rig_of(recording.header, folder)
    stage = Stage(script, rig.tick_us)
    port = ReplayedPort(rig, stage)
    begun_us = stage.t_us
    telemetry = _Telemetry(script, stage)
    difference: Difference | None = None
    damage: str | None = None
    storage = ReplayedStorage(folder, stage)
    try:
        executive = _executive(port, storage, stage, script, telemetry)
        try:
            _run(executive, stage, tick)
        except TapeEnd:
            executive.telemetry.flush()
        except Diverged as diverged:
            difference = _earlier(executive, diverged.difference)
        except RecordingError as error:
            damage = str(error)
        if difference is None and damage is None:
            difference = _leftovers(executive, script, stage, telemetry)
    except Diverged as diverged:
        difference = diverged.difference
    finally:
        storage.close()
    sim_s = (stage.t_us - begun_us) * 1e-6
    return Outcome(
        rig.name, port.ticks, sim_s, telemetry.same, port.sent_bytes, script.end is not None, recording.cut, difference,
        damage,
    )  # fmt: skip


def _executive(
    port: ReplayedPort, storage: ReplayedStorage, stage: Stage, script: Script, telemetry: _Telemetry
) -> Executive:
    flush: list[Callable[[], None]] = []
    radio = ReplayedRadio(stage, lambda: flush[0]())
    pacing = ReplayedPacing(stage)
    pacing.radio = radio
    timeline = port.rig.timeline if script.start.values.get("timeline") else ()
    executive = Executive(port, storage, radio=radio, pacing=pacing, timeline=timeline, tap=telemetry)
    flush.append(executive.telemetry.flush)
    stage.executive = executive
    return executive


def _run(executive: Executive, stage: Stage, tick: Callable[[int], None]) -> None:
    def watch() -> bool:
        tick(stage.t_us)
        return stage.script.stopped()

    executive.run(None, watch)
    executive.close()


def _earlier(executive: Executive, difference: Difference) -> Difference:
    """Telemetry that has not left yet may differ before this."""
    try:
        executive.telemetry.flush()
    except Diverged as diverged:
        if diverged.difference.t_us < difference.t_us:
            return diverged.difference
    except RecordingError:
        pass
    return difference


def _leftovers(executive: Executive, script: Script, stage: Stage, telemetry: _Telemetry) -> Difference | None:
    """What one of the two has and the other has not."""
    left = script.head()
    if left is not None or script.step() is not None:
        what = left.kind.name.lower() if left is not None else "tick"
        return stage.diverged(what, "there", "not taken").difference
    missing = script.packet()
    if missing is not None:
        return packet_difference(stage.t_us, stage.tick_us, missing, None)
    if script.end is None:
        return None
    if (script.end["t_us"], script.end["slow"]) != (stage.t_us, stage.slow):
        return stage.diverged("end", f"{script.end['t_us']} us", f"{stage.t_us} us").difference
    if telemetry.more is not None:
        return packet_difference(stage.t_us, stage.tick_us, None, telemetry.more)
    here = state(executive)
    if here != script.end["state"]:
        return state_difference(stage.t_us, stage.tick_us, script.end["state"], here)
    return None
