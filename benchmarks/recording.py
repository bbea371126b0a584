"""What recording a flight costs: bytes an orbit, and CPU and time against the same flight without.

A recording holds every byte on every line, flight's inputs and its telemetry. The two flights take turns in one run,
and the best of each counts; CPU time is that of all threads, the recording's own among them.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from pathlib import Path

from benchmarks.report import Row
from flight.executive import Executive
from flight.pacing import Pacing
from flight.replay.fly import replay
from flight.replay.recorder import RecordedPacing, RecordedStorage, Recorder
from flight.storage import Storage
from hal.recording import Recording
from hal.rig import load_rig
from hal.tape import Tape, header_of
from hal.world import World

ORBIT_S = 5921.0


def flown(name: str, seconds: float, record: Path | None) -> tuple[float, float]:
    """Wall and CPU time of a flight of a rig, its timeline flown, closing its recording included; both in s."""
    rig = load_rig(name)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        tape = Tape(record, header_of(rig, {})) if record is not None else None
        world = stack.enter_context(World(rig, tape=tape))
        recorder = Recorder()
        if tape is None:
            executive = Executive(world, Storage(Path(folder)), pacing=Pacing(), timeline=rig.timeline)
        else:
            storage = RecordedStorage(Path(folder), recorder)
            port = recorder.start(tape, world, storage, timeline=True)
            pacing = RecordedPacing(None, recorder)
            executive = Executive(port, storage, pacing=pacing, timeline=rig.timeline, tap=recorder.packets)
            recorder.follow(executive)
        wall, cpu = time.perf_counter(), time.process_time()
        executive.run(round(seconds * 1e6))
        executive.close()
        if tape is not None:
            recorder.finish()
            tape.close()
        return time.perf_counter() - wall, time.process_time() - cpu


def raw_bytes(path: Path) -> int:
    """What is in a recording, before packing and compressing."""
    with Recording(path) as recording:
        return sum(len(block) for block in recording.blocks())


def measure(quick: bool) -> list[Row]:
    """Size, cost and speed of replay, per rig."""
    rows = []
    for name in ("demo", "ai1"):
        seconds, rounds = (20.0, 1) if quick else (ORBIT_S, 3 if name == "demo" else 2)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "flight.rec"
            without, with_it = [], []
            for _ in range(rounds):
                without.append(flown(name, seconds, None))
                with_it.append(flown(name, seconds, path))
            size, raw = path.stat().st_size, raw_bytes(path)
            started = time.perf_counter()
            assert replay(path).difference is None
            replayed_s = time.perf_counter() - started
        wall, cpu = (min(w[i] for w in with_it) / min(w[i] for w in without) for i in (0, 1))
        scale = ORBIT_S / seconds / 1e6
        note = f"{raw * scale:,.0f} MB on the lines and to flight, {raw / size:.0f} times as much"
        rows += [
            Row(f"recording of an orbit of {name}", size * scale, "MB", note, headline=True),
            Row(f"flight of {name}, recorded against not, time", wall, "x", "packed in a thread of its own"),
            Row(f"flight of {name}, recorded against not, CPU time", cpu, "x", "of all threads"),
            Row(f"replay of {name}", seconds / replayed_s, "times real time", "every byte of flight compared"),
        ]
    return rows
