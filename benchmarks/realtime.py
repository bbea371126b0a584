"""Real time: how long after its moment a tick begins, against a bare loop with absolute deadlines in C beside it.

The rig `desk` is paced by the clock, with mocks at 10 and at 100 Hz and on five QEMU boards at 10 Hz. The bare loop
(clock_nanosleep with TIMER_ABSTIME, nothing else) runs in the same time at the same rate, on the idle machine and next
to as many busy processes as it has cores. A tick that begins more than 10 ms late is counted as late.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.report import ROOT, Row, build_c, need, step
from flight.executive import Executive
from flight.pacing import Pacing
from flight.storage import Storage
from hal.rig import load_rig
from hal.world import World

PACES = (("mock", 10, 60.0), ("mock", 100, 20.0), ("qemu", 10, 60.0))
"""back end, Hz, seconds"""


def deadlines(folder: Path) -> Path:
    """benchmarks/deadlines.c, built."""
    return build_c(folder / "deadlines", [ROOT / "benchmarks/deadlines.c"])


def paced(backend: str, hz: int, seconds: float, program: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """How long after their moments ticks began in us (percentiles, late), flight's and the bare loop's."""
    rig = load_rig("desk").with_tick(1 / hz).with_backend(backend)
    pacing = Pacing(1.0)
    command = [str(program), str(round(seconds * hz)), str(round(1e6 / hz))]
    with tempfile.TemporaryDirectory() as folder, World(rig) as world:
        executive = Executive(world, Storage(Path(folder)), pacing=pacing, timeline=rig.timeline)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as bare:
            executive.run(round(seconds * 1e6))
            figures = json.loads(bare.communicate()[0])
        executive.close()
    ours = {f"p{percent}": pacing.lateness.percentile(percent) for percent in (50, 95, 99)}
    return {**ours, "max": pacing.lateness.worst_us, "late": pacing.late_ticks}, figures


@contextlib.contextmanager
def hogs() -> Iterator[None]:
    """As many busy processes as there are cores."""
    command = [sys.executable, "-c", "while True: pass"]
    started = [subprocess.Popen(command) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def rows(what: str, load: str, ticks: int, ours: dict[str, Any], bare: dict[str, Any]) -> list[Row]:
    def note(figures: dict[str, Any]) -> str:
        return f"p50 {figures['p50']}, p95 {figures['p95']}, max {figures['max']}, {figures['late']} of {ticks} late"

    beside = f"; the bare loop's p99 {bare['p99']}"
    return [
        Row(f"tick on {what}, {load}: p99", ours["p99"], "us after its moment", note(ours) + beside, load == "idle"),
        Row(f"bare loop beside {what}, {load}: p99", bare["p99"], "us after its moment", note(bare)),
    ]


def measure(quick: bool) -> list[Row]:
    """Two rows for each back end, rate and load."""
    need("qemu-system-arm", "qemu-system-arm")
    found = []
    with tempfile.TemporaryDirectory() as folder:
        program = deadlines(Path(folder))
        for load in ("idle", "loaded"):
            with hogs() if load == "loaded" else contextlib.nullcontext():
                for backend, hz, seconds in PACES:
                    seconds = 0.5 if quick else seconds
                    step(f"{backend} at {hz} Hz for {seconds:g} s, {load}")
                    ours, bare = paced(backend, hz, seconds, program)
                    found += rows(f"{backend}, {hz} Hz", load, round(seconds * hz), ours, bare)
    return found
