"""Whole ticks of the world: plant, boards, bus, bench, barrier and bus hash, against the number of nodes.

Every byte is framed, checked and hashed, all boards are mocks, the tick is 100 ms. "Alone" has nobody in flight's place
and every node off; "flown" has the flight computer, all nodes on and a job on each. The satellite is the demo's scaled
to the number of nodes (above 64 nodes AI1's). "Behind a socket" is the demo's world in a process of its own.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks.report import ROOT, Row, best_seconds
from flight.executive import Executive
from flight.storage import Storage
from hal._native import ffi
from hal.remote import RemoteWorld
from hal.rig import BoardSpec, Entry, Rig, load_rig
from hal.world import World

ALONE = (1, 4, 16, 64, 160, 512, 1024)
FLOWN = (4, 16, 64, 160)
HEADLINES = (16, 160)
ORBIT_S = 5921.0


def scaled(nodes: int) -> Rig:
    """A rig of so many nodes with array, battery and radiator in proportion."""
    rig = load_rig("demo" if nodes <= 64 else "ai1")
    s, k = rig.satellite, nodes / rig.nodes
    satellite = replace(
        s,
        array=replace(s.array, string_isc_a=s.array.string_isc_a * k, area_m2=s.array.area_m2 * k),
        battery=replace(
            s.battery,
            capacity_ah=s.battery.capacity_ah * k,
            cell_r0_ohm=s.battery.cell_r0_ohm / k,
            discharge_w_allowed=s.battery.discharge_w_allowed * k,
            heat_capacity_j_per_k=s.battery.heat_capacity_j_per_k * k,
        ),
        bus=replace(s.bus, hotel_w=s.bus.hotel_w * k),
        thermal=replace(s.thermal, radiator_m2=s.thermal.radiator_m2 * k),
        node=replace(s.node, count=nodes, boot_s=10.0),
    )
    boards = (BoardSpec("power", 0, "mock:"), *(BoardSpec(f"node{i}", 1 + i, "mock:") for i in range(nodes)))
    return replace(rig, satellite=satellite, boards=boards, timeline=())


def work(nodes: int) -> tuple[Entry, ...]:
    """All nodes on, and a job for each."""
    job = {"workload": "training", "priority": 1, "work_mu": 1_000_000_000, "checkpoint_s": 60}
    return (
        Entry(2.0, "node_on", {"node": 65535}),
        *(Entry(3.0, "job_submit", {"job_id": 1 + i, **job}) for i in range(nodes)),
    )


def alone_us(nodes: int, ticks: int, repeats: int) -> float:
    """us of a tick with nobody in flight's place."""
    with World(scaled(nodes)) as world:
        world.run(20)
        return best_seconds(lambda: world.run(ticks), repeats) / ticks * 1e6


def flown_us(nodes: int, warm_s: float, seconds: float) -> float:
    """us of a tick with the flight computer, after the nodes have booted."""
    rig = scaled(nodes)
    with tempfile.TemporaryDirectory() as folder, World(rig) as world, contextlib.ExitStack() as stack:
        storage = Storage(Path(folder))
        stack.callback(storage.close)
        executive = Executive(world, storage, timeline=work(nodes))
        stack.callback(executive.close)
        executive.run(round(warm_s * 1e6), lambda: False)
        before, start = world.tick, time.perf_counter()
        executive.run(world.t_us + round(seconds * 1e6), lambda: False)
        return (time.perf_counter() - start) / (world.tick - before) * 1e6


@contextlib.contextmanager
def served(folder: Path) -> Iterator[Path]:
    """The demo's world in a process of its own; its socket."""
    path = folder / "world.sock"
    command = [sys.executable, "-m", "hal.cli", "serve", "demo", "--socket", str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        process.stderr.readline()  # it is ready
        yield path
        process.terminate()


def socket_us(ticks: int) -> float:
    """us of a tick with an idle flight computer behind the socket of a served world."""
    step = ffi.callback("int(void *, uint64_t, const struct bus_batch *, struct bus_batch *)", lambda *_: 0)
    address = int(ffi.cast("uintptr_t", step))
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as path, RemoteWorld(path) as world:
        world.run(20, address, 0)
        return best_seconds(lambda: world.run(ticks, address, 0), 3) / ticks * 1e6


def run_speed(rig: str, seconds: float) -> float:
    """Simulated over real seconds of `flight run` on its own, start excluded, with the rig's timeline."""
    program = [sys.executable, "-m", "flight.cli", "run", "--speed", "max", "--json"]
    done = subprocess.run(
        [*program, "--rig", rig, "--for", str(seconds)], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return float(json.loads(done.stdout)["speed"])


def row(name: str, us: float, headline: bool) -> Row:
    return Row(name, 1e6 / us, "ticks/s", f"{us:.1f} us a tick, {1e5 / us:.0f} times real time", headline)


def measure(quick: bool) -> list[Row]:
    """Rows of ticks per second. quick: the shortest run through everything."""
    rows = []
    for nodes in ALONE[:3] if quick else ALONE:
        us = alone_us(nodes, 20 if quick else max(100, 20_000 // nodes), 1 if quick else 5)
        rows.append(row(f"alone, {nodes} nodes", us, False))
    for nodes in FLOWN[:1] if quick else FLOWN:
        us = flown_us(nodes, 5, 5) if quick else flown_us(nodes, 120, 400)
        rows.append(row(f"flown, {nodes} nodes", us, nodes in HEADLINES))
    for rig in ("demo", "ai1"):
        speed = run_speed(rig, 10) if quick else max(run_speed(rig, ORBIT_S) for _ in range(3))
        rows.append(Row(f"flight run --rig {rig}, one orbit", speed, "times real time", "its timeline flown", True))
    rows.append(row("behind a socket, 16 nodes, idle flight", socket_us(20 if quick else 2000), False))
    return rows
