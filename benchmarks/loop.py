"""The fast loop of flight (csrc/control): time of one step, every board's telemetry decoded, leases shared and sent.

The bytes are those of a real flight: boards and plant fly for three simulated minutes until nodes work, then a number
of ticks is recorded; the same ticks are stepped again and again from the same state, and timed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.report import Row, best_seconds
from flight._native import ffi, lib
from flight.loop import Loop
from flight.parameters import Parameters
from hal.rig import BoardSpec, Rig, load_rig
from hal.world import World

SIZES = (16, 64, 160)
WARM_S, TICKS, ROUNDS = 180, 100, 20
BOOT_PARALLEL, HOLD_S = 40, 41
JOB = {"workload": 1, "total_mu": 4_000_000_000, "start_mu": 0, "checkpoint_ms": 30_000}


def sized(nodes: int) -> Rig:
    """The demo, or ai1 above its size, with so many nodes."""
    rig = load_rig("demo" if nodes <= 16 else "ai1")
    satellite = replace(rig.satellite, node=replace(rig.satellite.node, count=nodes))
    boards = [BoardSpec("power", 0, "mock:"), *(BoardSpec(f"node{i}", 1 + i, "mock:") for i in range(nodes))]
    return replace(rig, satellite=satellite, boards=tuple(boards), faults=())


def record(nodes: int, warm_s: float, ticks: int) -> tuple[Loop, bytes, list[tuple[int, bytes]]]:
    """A loop in the middle of a flight, its memory at that moment, and what the boards then sent tick by tick."""
    rig = sized(nodes)
    loop = Loop(rig, 1, adopt=False)
    loop.set_parameters(Parameters().values | {BOOT_PARALLEL: 64.0, HOLD_S: 1.0})
    for i in range(nodes):
        loop.want(i, True)
        loop.set_job(i, 1 + i, **JOB)
    tx = ffi.new("struct bus_batch *")
    memory = ffi.new("uint8_t[]", 1 << 20)
    lib.bus_batch_init(tx, memory, 1 << 20)
    received: list[tuple[int, bytes]] = []

    def participant(t_us: int, records: memoryview) -> bytes:
        received.append((t_us, bytes(records)))
        rx = _batch(received[-1][1])
        lib.bus_batch_clear(tx)
        lib.ctl_step(loop.pointer, t_us, rx[0], tx)
        return bytes(ffi.buffer(tx.data, tx.used))

    with World(rig) as world:
        end_us = round(warm_s * 1e6)
        while world.t_us < end_us:
            world.run(10, loop.step, loop.ctx)
        state = ffi.buffer(loop.pointer, lib.ctl_bytes(nodes))[:]
        for _ in range(ticks):
            world.step(participant)
    return loop, state, received


def _batch(data: bytes) -> tuple[Any, Any]:
    """A batch over these bytes, with what keeps them alive."""
    buffer = ffi.from_buffer("uint8_t[]", data)
    return ffi.new("struct bus_batch *", {"data": buffer, "used": len(data), "capacity": len(data)}), buffer


def step_us(nodes: int, quick: bool) -> tuple[float, float]:
    """Time of one step in us, and the frames that it receives."""
    loop, state, received = record(nodes, 20 if quick else WARM_S, 10 if quick else TICKS)
    tx, memory = ffi.new("struct bus_batch *"), ffi.new("uint8_t[]", 1 << 20)
    lib.bus_batch_init(tx, memory, 1 << 20)
    batches = [(t_us, _batch(data)) for t_us, data in received]
    before = loop.status().frames_received

    def run() -> None:
        ffi.memmove(loop.pointer, state, len(state))
        for t_us, (rx, _) in batches:
            lib.bus_batch_clear(tx)
            lib.ctl_step(loop.pointer, t_us, rx, tx)

    seconds = best_seconds(run, 2 if quick else ROUNDS)
    ffi.memmove(loop.pointer, state, len(state))
    frames = before - loop.status().frames_received
    return seconds / len(batches) * 1e6, frames / len(batches)


def measure(quick: bool) -> list[Row]:
    """One row a size."""
    rows = []
    for nodes in SIZES:
        us, frames = step_us(nodes, quick)
        note = f"{frames:.1f} frames received in it"
        rows.append(Row(f"flight's loop, {nodes} nodes", us, "us a step", note, headline=nodes != 64))
    return rows
