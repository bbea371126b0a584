"""One orbit of boards on emulated microcontrollers, with `flight run`: simulated time over real time.

Every board runs the image that `make firmware` makes, every byte goes through its UART; the tick is 1 s. `desk` has a
power board and four nodes. The power board in QEMU with fifteen mock nodes flies the demo's orbit and timeline.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.report import ROOT, Row, need, step

MOCK_NODES = 15


def mixed_rig(folder: Path) -> Path:
    """The demo with fifteen nodes on mocks and its power board in QEMU, as files in this folder; the rig's path."""
    satellite = (ROOT / "hal/satellites/demo.toml").read_text().replace("\ncount = 16\n", f"\ncount = {MOCK_NODES}\n")
    (folder / "fifteen.toml").write_text(satellite)
    rig = (ROOT / "hal/rigs/demo.toml").read_text()
    for old, new in (
        ('satellite = "demo"', 'satellite = "fifteen.toml"'),
        ('[boards.power]\nlink = "mock:"', '[boards.power]\nlink = "qemu:"'),
    ):
        assert rig.count(old) == 1, old
        rig = rig.replace(old, new)
    (folder / "mixed.toml").write_text(rig)
    return folder / "mixed.toml"


def fly(*arguments: object) -> dict[str, Any]:
    """The result of `flight run --tick 1` with these arguments. Raises CalledProcessError."""
    command = [sys.executable, "-m", "flight.cli", "run", "--tick", "1", "--json", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def row(name: str, result: dict[str, Any]) -> Row:
    """Its speed, with what went wrong on the way."""
    violations = sum(result["violations"].values())
    errors = sum(result["link_errors"].values())
    again = result["link_errors"]["retransmissions"]
    ms = result["wall_s"] / result["ticks"] * 1e3
    note = f"{ms:.1f} ms a tick; {violations} violations, {again} retransmissions, {errors} link errors"
    return Row(name, result["speed"], "times real time", note, headline=True)


def measure(quick: bool) -> list[Row]:
    """One row a way."""
    need("qemu-system-arm", "qemu-system-arm")
    length = ("--for", 5) if quick else ("--orbits", 1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        mixed = mixed_rig(Path(folder))
        for name, arguments in (
            ("desk on five QEMU boards", ("--rig", "desk", "--backend", "qemu")),
            ("power board in QEMU, fifteen mock nodes", ("--rig", mixed)),
            ("desk on five boards in Unicorn", ("--rig", "desk", "--backend", "unicorn")),
        ):
            step(name)
            rows.append(row(name, fly(*arguments, *length)))
    return rows
