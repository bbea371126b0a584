"""What the tests of the plant share: satellites with other numbers, orbits that stand still, a fair operator."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from hal import orbit as orbits
from hal._native import ffi
from hal.plant import Plant
from hal.rig import ORBITS, Orbit
from hal.satellite import Satellite, load_satellite

SENTINEL = Orbit(tle=str(ORBITS / "sentinel-1a.tle"))
OFF, BOOT, IDLE, ACTIVE, HALTED = range(5)
RUN, RESET = 3, 4
TRAINING, PREFILL, DECODE = 1, 2, 3


def satellite(name: str = "demo", **sections: dict[str, Any]) -> Satellite:
    """A shipped satellite with some numbers changed: satellite("demo", node={"max_w": 700.0})."""
    base = load_satellite(name)
    return replace(base, **{key: replace(getattr(base, key), **values) for key, values in sections.items()})


def dawn_dusk(altitude_km: float, epoch: str, **more: Any) -> Orbit:
    return Orbit(altitude_km=altitude_km, sun_synchronous=True, ltan_h=18.0, epoch=epoch, **more)


class Bench:
    """A plant with its orbit's Sun fixed or flown, and short words for its actuators."""

    def __init__(self, sat: Satellite | None = None, orbit: Orbit = SENTINEL, seed: int = 1) -> None:
        self.sat = sat or satellite()
        self.plant = Plant(self.sat, orbit, seed)
        self.truth = self.plant.truth
        self.power = self.plant.power_in
        self.sensors = self.plant.power_out
        self.nodes = self.plant.node_in
        self.node_sensors = self.plant.node_out
        self.count = self.sat.node.count
        self.power.charge_a = self.sat.battery.capacity_ah * self.sat.battery.charge_c_rate
        self.power.charge_v = self.sat.battery.charge_cell_v * self.sat.battery.series_cells
        self.power.uvlo_v = self.sat.bus.uvlo_v
        self.power.array_v = self.sat.array.vmp_v

    def channel(self, i: int, on: bool = True, limit_a: float | None = None, trip_s: float | None = None) -> None:
        c = self.power.channel[i]
        c.on = on
        c.limit_a = self.sat.bus.lcl_class_a if limit_a is None else limit_a
        c.trip_s = self.sat.bus.lcl_trip_ms * 1e-3 if trip_s is None else trip_s

    def track(self) -> None:
        """The array at its data sheet's maximum-power voltage for its temperature."""
        a = self.sat.array
        slope = a.voc_temp_v_per_k * 1.13  # the diode's own kT adds to the coefficient of Voc
        self.power.array_v = a.series_cells * (a.cell_vmp_v + slope * (self.truth.array_c - 28))

    def run(self, seconds: float, dt_s: float = 0.1, track: bool = False) -> None:
        dt_us = round(dt_s * 1e6)
        for _ in range(round(seconds / dt_s)):
            if track:
                self.track()
            self.plant.step(dt_us)

    def start(self, workload: int = TRAINING, cap_w: float | None = None, nodes: int | None = None) -> None:
        """Every node running, as if each had been switched on and booted one after the other."""
        count = self.count if nodes is None else nodes
        for i in range(count):
            self.channel(i)
            self.run(0.1)
        for i in range(count):
            self.nodes[i].command = BOOT
        self.run(self.sat.node.boot_s * 1.06)
        for i in range(count):
            self.work(i, workload, self.sat.node.max_w if cap_w is None else cap_w)

    def work(self, i: int, workload: int, cap_w: float, clock_mhz: float = 0.0) -> None:
        n = self.nodes[i]
        n.command, n.workload, n.cap_w, n.clock_mhz = RUN, workload, cap_w, clock_mhz


def freeze(
    bench: Bench, r_km: tuple[float, float, float], sun_au: tuple[float, float, float], hours: float = 100
) -> None:
    """Replaces the orbit by a point that stands still under a Sun that stands still."""
    table = np.zeros((2, 9))
    table[:, 0:3] = r_km
    table[:, 6:9] = np.array(sun_au) * orbits.AU_KM
    plant: Any = bench.plant
    plant._rows = ffi.from_buffer("struct plant_orbit_row[]", table)
    plant._orbit.t0_s, plant._orbit.step_s = -1.0, hours * 3600
    plant._orbit.rows, plant._orbit.row = 2, plant._rows
    plant._end_s = hours * 3600 - 10


def in_sun(bench: Bench, altitude_km: float = 600.0, distance_au: float = 1.0) -> None:
    """Over the terminator: full Sun, no sunlight from below."""
    freeze(bench, (0.0, 0.0, orbits.EARTH_KM + altitude_km), (distance_au, 0.0, 0.0))
    bench.power.array_v = 0.8 * bench.sat.array.vmp_v  # left of the maximum at any temperature: power is there


def in_shadow(bench: Bench, altitude_km: float = 600.0) -> None:
    freeze(bench, (-(orbits.EARTH_KM + altitude_km), 0.0, 0.0), (1.0, 0.0, 0.0))


def every_number(struct: Any) -> list[float]:
    """All scalars of a C struct, arrays (their first eight places) and structs inside it included."""
    kind = ffi.typeof(struct)
    if kind.kind in ("primitive", "enum"):
        return [struct]
    if kind.kind == "array":
        return [x for i in range(min(len(struct), 8)) for x in numbers_of(struct[i])]
    return [x for name, _ in kind.fields for x in numbers_of(getattr(struct, name))]


def numbers_of(value: Any) -> list[float]:
    return [value] if isinstance(value, int | float) else every_number(value)


def balance(truth: Any) -> float:
    """Share by which the bus does not balance: array used less losses, loads and the battery's terminals."""
    loads = truth.nodes_j + truth.hotel_j + truth.heater_j + truth.inrush_j
    out = truth.converter_loss_j + loads + truth.batt_in_j - truth.batt_out_j
    return abs(truth.array_used_j - out) / max(truth.array_used_j, loads, 1.0)


def half_disc_spans(t_s: Any, r_km: Any, sun_km: Any) -> list[tuple[float, float]]:
    """(begin, duration) of every shadow passage in which less than half of the disc shows: the Sun's centre is behind
    the sphere. Crossings by linear interpolation; independent of the plant's formula."""
    to_sun = sun_km - r_km
    r = np.linalg.norm(r_km, axis=1)
    cosine = -(r_km * to_sun).sum(axis=1) / r / np.linalg.norm(to_sun, axis=1)
    clear = np.arccos(cosine) - np.arcsin(orbits.EARTH_KM / r)
    edges = np.nonzero(np.diff(np.sign(clear)))[0]
    at = t_s[edges] - clear[edges] * (t_s[edges + 1] - t_s[edges]) / (clear[edges + 1] - clear[edges])
    if len(edges) and clear[edges[0]] < 0:
        at = at[1:]
    return [(float(a), float(b - a)) for a, b in zip(at[::2], at[1::2], strict=False)]
