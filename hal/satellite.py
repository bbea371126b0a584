"""A satellite as data: the TOML files in hal/satellites, or one of the user's own.

Units stand in the names, ranges at the fields. Every number here may be known on board (flight configures the boards
from it); what only the plant uses (initial values, heat capacities) is in the same file, because it describes the same
hardware.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from hal.errors import RigError
from hal.strict import Choice, Length, Range, build, read_toml

Fraction = Annotated[float, Range(0, 1)]
Celsius = Annotated[float, Range(-150, 200, "degC")]

WORKLOADS = ("training", "prefill", "decode")
SHIPPED = Path(__file__).parent / "satellites"


@dataclass(frozen=True, slots=True)
class Array:
    """Solar array: equal strings of cells in series, single-diode model at 28 degC and 1,361 W/m2."""

    strings: Annotated[int, Range(1, 64)]
    series_cells: Annotated[int, Range(1, 1000)]
    string_isc_a: Annotated[float, Range(0.01, 60, "A")]
    cell_voc_v: Annotated[float, Range(0.3, 6, "V")]
    cell_vmp_v: Annotated[float, Range(0.2, 6, "V")]
    imp_ratio: Annotated[float, Range(0.5, 0.999)]
    voc_temp_v_per_k: Annotated[float, Range(-0.05, 0, "V/K")]
    isc_temp_per_k: Annotated[float, Range(-0.01, 0.01, "1/K")]
    area_m2: Annotated[float, Range(0.001, 100_000, "m2")]
    mass_capacity_j_per_m2_k: Annotated[float, Range(10, 100_000, "J/(m2 K)")]
    absorptance: Fraction
    emittance_front: Fraction
    emittance_back: Fraction
    converter_efficiency: Annotated[float, Range(0.1, 1)]

    @property
    def voc_v(self) -> float:
        """Open-circuit voltage of a string at 28 degC."""
        return self.series_cells * self.cell_voc_v

    @property
    def vmp_v(self) -> float:
        """Maximum-power voltage of a string at 28 degC."""
        return self.series_cells * self.cell_vmp_v


@dataclass(frozen=True, slots=True)
class Battery:
    """Li-ion pack on the unregulated bus: the bus voltage is the pack's."""

    series_cells: Annotated[int, Range(1, 400)]
    capacity_ah: Annotated[float, Range(0.1, 10_000, "Ah")]
    cell_r0_ohm: Annotated[float, Range(1e-6, 1, "ohm")]
    ocv_cell_v: Annotated[tuple[Annotated[float, Range(2, 5, "V")], ...], Length(11, 11)]
    coulombic_efficiency: Annotated[float, Range(0.5, 1)]
    discharge_w_allowed: Annotated[float, Range(0, 1_000_000, "W")]
    charge_c_rate: Annotated[float, Range(0.01, 2, "1/h")]
    charge_cell_v: Annotated[float, Range(3.0, 4.3, "V")]
    soc_limit: Annotated[float, Range(0.1, 1)]
    soc_floor: Fraction
    soc_initial: Fraction
    temp_initial_c: Annotated[float, Range(-40, 70, "degC")]
    heat_capacity_j_per_k: Annotated[float, Range(1, 1e8, "J/K")]
    sink_w_per_k: Annotated[float, Range(0, 10_000, "W/K")]
    sink_c: Annotated[float, Range(-100, 60, "degC")]
    heater_w: Annotated[float, Range(0, 10_000, "W")]
    heater_on_c: Annotated[float, Range(-40, 40, "degC")]
    heater_off_c: Annotated[float, Range(-40, 50, "degC")]


@dataclass(frozen=True, slots=True)
class Bus:
    """The power bus and its switched channels (latching current limiters), one per node."""

    uvlo_v: Annotated[float, Range(1, 2000, "V")]
    undervoltage_v: Annotated[float, Range(1, 2000, "V")]
    hotel_w: Annotated[float, Range(0, 100_000, "W")]
    stagger_s: Annotated[float, Range(0.05, 10, "s")]
    silence_s: Annotated[float, Range(1, 3600, "s")]
    lcl_class_a: Annotated[float, Range(0.1, 65.5, "A")]
    lcl_trip_ms: Annotated[int, Range(5, 50, "ms")]
    lcl_retries: Annotated[int, Range(0, 10)]
    lcl_retry_s: Annotated[float, Range(1, 600, "s")]


@dataclass(frozen=True, slots=True)
class ShedTier:
    """One row of the under-voltage table; the first tier sheds first."""

    soc_enter: Fraction
    soc_leave: Fraction
    bus_enter_v: Annotated[float, Range(1, 2000, "V")]


@dataclass(frozen=True, slots=True)
class Thermal:
    """Two-sided radiator and its coolant loops."""

    loops: Annotated[int, Range(1, 2)]
    groups: Annotated[int, Range(1, 8)]
    radiator_m2: Annotated[float, Range(0.001, 100_000, "m2")]
    emissivity: Annotated[float, Range(0.01, 1)]
    absorptance_solar: Fraction
    capacity_j_per_m2_k: Annotated[float, Range(10, 100_000, "J/(m2 K)")]
    coolant_j_per_k: Annotated[float, Range(1, 1e8, "J/K")]
    radiator_w_per_k: Annotated[float, Range(0.1, 1e7, "W/K")]
    flow_w_per_k: Annotated[float, Range(0.1, 1e7, "W/K")]
    initial_c: Annotated[float, Range(-100, 90, "degC")]


@dataclass(frozen=True, slots=True)
class Node:
    """One compute node: its controller and its accelerator. All nodes of a satellite are equal."""

    count: Annotated[int, Range(1, 1024)]
    standby_w: Annotated[float, Range(0, 10_000, "W")]
    idle_w: Annotated[float, Range(0, 10_000, "W")]
    floor_w: Annotated[float, Range(0, 10_000, "W")]
    max_w: Annotated[float, Range(0.1, 10_000, "W")]
    boot_w: Annotated[float, Range(0, 10_000, "W")]
    boot_s: Annotated[float, Range(1, 600, "s")]
    clock_max_mhz: Annotated[int, Range(1, 65_535, "MHz")]
    die_limit_c: Annotated[float, Range(0, 110, "degC")]
    hbm_limit_c: Annotated[float, Range(0, 110, "degC")]
    over_temperature_c: Celsius
    hbm_over_temperature_c: Celsius
    die_r_k_per_w: Annotated[float, Range(1e-4, 10, "K/W")]
    hbm_r_k_per_w: Annotated[float, Range(1e-4, 10, "K/W")]
    plate_r_k_per_w: Annotated[float, Range(1e-4, 10, "K/W")]
    heat_capacity_j_per_k: Annotated[float, Range(1, 1e6, "J/K")]
    input_capacitance_uf: Annotated[float, Range(0, 1e6, "uF")]
    input_min_v: Annotated[float, Range(1, 2000, "V")]
    settle_s: Annotated[float, Range(0.001, 10, "s")]
    transient_factor: Annotated[float, Range(1, 3)]
    transient_ms: Annotated[float, Range(0, 400, "ms")]
    transient_period_s: Annotated[float, Range(0, 1e6, "s")]
    power_spread: Annotated[float, Range(0, 0.5)]
    ecc_corrected_per_h: Annotated[float, Range(0, 3600, "1/h")]
    ecc_uncorrected_per_h: Annotated[float, Range(0, 3600, "1/h")]
    hang_per_day: Annotated[float, Range(0, 10_000, "1/d")]
    latch_up_per_day: Annotated[float, Range(0, 10_000, "1/d")]
    latch_up_a: Annotated[float, Range(0.1, 65.5, "A")]
    hang_s: Annotated[float, Range(0.1, 60, "s")]
    shed_tiers: Annotated[tuple[Annotated[int, Range(1, 255)], ...], Length(1, 1024)]


@dataclass(frozen=True, slots=True)
class Workload:
    """How fast a node works on a workload: speed (1: unlimited) over its share of the draw above idle, as measured.

    dynamic_w: least and greatest draw above idle at full speed, by what the data makes of it and by the chip.
    clock: share of the greatest clock that, locked, holds a node at each share; 0: no clock does.
    """

    name: Annotated[str, Choice(WORKLOADS)]
    dynamic_w: Annotated[tuple[Annotated[float, Range(1, 10_000, "W")], ...], Length(2, 2)]
    share: Annotated[tuple[Fraction, ...], Length(2, 16)]
    speed: Annotated[tuple[Fraction, ...], Length(2, 16)]
    clock: Annotated[tuple[Fraction, ...], Length(2, 16)]


@dataclass(frozen=True, slots=True)
class Satellite:
    """Everything that the file says of one satellite."""

    name: str
    title: str
    array: Array
    battery: Battery
    bus: Bus
    shed: Annotated[tuple[ShedTier, ...], Length(1, 4)]
    thermal: Thermal
    node: Node
    workload: Annotated[tuple[Workload, ...], Length(3, 3)]

    def shed_tier_of(self, node: int) -> int:
        """Tier (from 1) in which the power board sheds node `node`; 255 never."""
        return self.node.shed_tiers[node % len(self.node.shed_tiers)]


def load_satellite(name_or_path: str, beside: Path | None = None) -> Satellite:
    """The satellite that ships under this name, or a .toml path (relative paths: to the folder `beside` first).

    Raises `RigError` for a missing or malformed file, an unknown key, or a value out of range.
    """
    path = find(name_or_path, SHIPPED, beside, "satellite")
    satellite = build(Satellite, read_toml(path, "satellite"), str(path))
    _check(satellite, str(path))
    return satellite


def find(name_or_path: str, shipped: Path, beside: Path | None, what: str) -> Path:
    """Path of a file given by the name it ships under, or by its path."""
    if not name_or_path.endswith(".toml") and "/" not in name_or_path:
        path = shipped / f"{name_or_path}.toml"
        if name_or_path not in {p.stem for p in shipped.glob("*.toml")}:
            names = ", ".join(sorted(p.stem for p in shipped.glob("*.toml")))
            raise RigError(
                f"{what} '{name_or_path}': none of that name ships, expected one of {names}, or a .toml path"
            )
        return path
    path = Path(name_or_path).expanduser()
    if beside is not None and not path.is_absolute() and (beside / path).is_file():
        return beside / path
    return path


def _check(s: Satellite, file: str) -> None:
    """Relations between values; each failure is a `RigError`."""
    rules = (
        (s.array.cell_vmp_v < s.array.cell_voc_v, "array.cell_vmp_v", "below array.cell_voc_v"),
        (
            all(a < b for a, b in itertools.pairwise(s.battery.ocv_cell_v)),
            "battery.ocv_cell_v",
            "a rising open-circuit voltage at 0, 10, ... 100 %",
        ),
        (s.battery.heater_on_c < s.battery.heater_off_c, "battery.heater_on_c", "below battery.heater_off_c"),
        (s.battery.soc_floor < s.battery.soc_limit, "battery.soc_floor", "below battery.soc_limit"),
        (s.bus.uvlo_v <= s.bus.undervoltage_v, "bus.uvlo_v", "not above bus.undervoltage_v"),
        (s.node.standby_w <= s.node.idle_w, "node.standby_w", "not above node.idle_w"),
        (s.node.input_min_v < s.bus.uvlo_v, "node.input_min_v", "below bus.uvlo_v"),
        (s.node.idle_w <= s.node.floor_w, "node.floor_w", "not below node.idle_w"),
        (s.node.floor_w < s.node.max_w, "node.max_w", "above node.floor_w"),
    )
    for good, key, expected in rules:
        if not good:
            raise RigError(f"{file}: {key}: inconsistent, expected {expected}")
    for i, tier in enumerate(s.shed):
        if tier.soc_leave <= tier.soc_enter:
            raise RigError(
                f"{file}: shed[{i}].soc_leave: {tier.soc_leave:g}, expected above soc_enter {tier.soc_enter:g}"
            )
        if i and tier.soc_enter > s.shed[i - 1].soc_enter:
            raise RigError(f"{file}: shed[{i}].soc_enter: {tier.soc_enter:g}, expected not above the tier before it")
    if tuple(w.name for w in s.workload) != WORKLOADS:
        raise RigError(f"{file}: workload: expected one each of {', '.join(WORKLOADS)}, in this order")
    for i, w in enumerate(s.workload):
        if w.dynamic_w[0] > w.dynamic_w[1]:
            raise RigError(f"{file}: workload[{i}].dynamic_w: expected the least, then the greatest")
        if len(w.share) != len(w.speed) or not _is_curve(w.share) or not _is_curve(w.speed):
            raise RigError(f"{file}: workload[{i}]: expected share and speed of one length, each rising from 0 to 1")
        if len(w.clock) != len(w.share) or not _is_curve((0.0, *(clock for clock in w.clock if clock > 0))):
            raise RigError(f"{file}: workload[{i}].clock: expected one for each share, 0 or rising to 1")
    for i, t in enumerate(s.node.shed_tiers):
        if t > len(s.shed) and t != 255:
            raise RigError(f"{file}: node.shed_tiers[{i}]: {t} is out of range, expected 1 to {len(s.shed)}, or 255")


def _is_curve(values: tuple[float, ...]) -> bool:
    return values[0] == 0 and values[-1] == 1 and all(a < b for a, b in itertools.pairwise(values))
