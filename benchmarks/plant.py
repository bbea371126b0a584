"""Time of one step of the physics, by what is simulated.

A step is one tick of 100 ms with everything that moves in it. The last rows time what simulators of spacecraft time:
an orbit, an eclipse, a panel and a battery, with neither nodes nor heat loads (Basilisk 2 is quoted at 55,000 steps a
second for them on a like machine).
"""

from __future__ import annotations

from dataclasses import replace

from benchmarks.report import Row, best_seconds
from hal._native import lib
from hal.plant import Plant
from hal.rig import ORBITS, Orbit
from hal.satellite import load_satellite

TICK_US = 100_000
SENTINEL = Orbit(tle=str(ORBITS / "sentinel-1a.tle"))
PEER_STEPS_S = 55_000


def _flying(name: str, nodes: int) -> Plant:
    """A plant in full Sun, `nodes` accelerators training at full power."""
    satellite = load_satellite(name)
    satellite = replace(satellite, node=replace(satellite.node, boot_s=1.0))
    plant = Plant(satellite, SENTINEL, seed=1)
    battery = satellite.battery
    plant.power_in.array_v = 0.9 * satellite.array.vmp_v
    plant.power_in.charge_a = battery.capacity_ah * battery.charge_c_rate
    plant.power_in.charge_v = battery.charge_cell_v * battery.series_cells
    plant.power_in.uvlo_v = satellite.bus.uvlo_v
    for i in range(nodes):
        channel, node = plant.power_in.channel[i], plant.node_in[i]
        channel.on, channel.limit_a, channel.trip_s = 1, satellite.bus.lcl_class_a, satellite.bus.lcl_trip_ms * 1e-3
        node.command, node.workload, node.cap_w = 1, 1 + i % 3, satellite.node.max_w
        plant.step(TICK_US)
    for _ in range(20):
        plant.step(TICK_US)
    for i in range(nodes):
        plant.node_in[i].command = 3
    return plant


def _step_us(plant: Plant, steps: int, dt_us: int = TICK_US) -> float:
    """Microseconds of one step; the call from Python is in it (about 0.2 us)."""
    pointer, step = plant.pointer, lib.plant_step
    repeats = 5
    plant.ensure(plant.truth.t_s + (repeats + 1) * steps * dt_us * 1e-6)

    def run() -> None:
        for _ in range(steps):
            step(pointer, dt_us)

    return best_seconds(run, repeats) / steps * 1e6


def measure(quick: bool) -> list[Row]:
    steps = 300 if quick else 5_000
    rows = []
    for name, nodes in (("demo", 16), ("ai1", 160)):
        us = _step_us(_flying(name, nodes), steps)
        rows.append(Row(f"step of {nodes} nodes, all computing", us, "us", "100 ms, transients in 1 ms", headline=True))
    us = _step_us(_flying("desk", 0), steps)
    rows.append(Row("orbit, eclipse, panel, battery", us, "us", "no node powered"))
    rows.append(Row("orbit, eclipse, panel, battery", 1e6 / us, "steps/s"))
    rows.append(Row("the same over a peer's 55,000 steps/s", 1e6 / us / PEER_STEPS_S, "x", "peer quoted, not run here"))
    return rows
