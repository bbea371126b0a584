"""What the satellite's file says, in the units of the board bus: the configuration that flight gives its boards."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from flight._native import ffi
from hal.rig import Rig
from hal.satellite import Satellite, Workload

BOOT_MIN_MS = 1000  # of the ICD
HOLLOW = 0.02  # of full speed: a curve that lies so far below its hull is not used in between
COLD_K = 128  # below the 28 degC of the file
SIGMA = 5.670374e-8
EARTH_W_M2 = 57.0  # infrared on a face that stands edge-on, 600 km up: .241 of 237 W/m2
POLARISED = (25 + 12 + 4) / 25  # all resistance of a 3 Ah cell over that which acts at once (docs/physics.md)


def _milli(value: float) -> int:
    return round(value * 1000)


def _centi(value: float) -> int:
    return round(value * 100)


def _node(config: Any, s: Satellite) -> None:
    n = s.node
    config.floor_mw = _milli(n.floor_w)
    config.max_mw = _milli(n.max_w)
    config.boot_ms = max(BOOT_MIN_MS, _milli(n.boot_s))
    config.clock_max_mhz = n.clock_max_mhz
    config.die_limit_cdeg = _centi(n.die_limit_c)
    config.hbm_limit_cdeg = _centi(n.hbm_limit_c)
    config.bus_min_mv = _milli(n.input_min_v)
    config.latch_up_ma = _milli(n.latch_up_a)
    config.hang_ms = _milli(n.hang_s)


def _power(config: Any, s: Satellite) -> None:
    config.channels = s.node.count
    config.strings = s.array.strings
    config.capacity_mah = _milli(s.battery.capacity_ah)
    config.charge_ma = _milli(s.battery.capacity_ah * s.battery.charge_c_rate)
    config.charge_mv = _milli(s.battery.charge_cell_v * s.battery.series_cells)
    config.soc_limit_cpct = round(s.battery.soc_limit * 10_000)
    config.uvlo_mv = _milli(s.bus.uvlo_v)
    config.limit_ma = _milli(s.bus.lcl_class_a)
    config.trip_ms = s.bus.lcl_trip_ms
    config.retries = s.bus.lcl_retries
    config.retry_ms = _milli(s.bus.lcl_retry_s)
    config.stagger_ms = _milli(s.bus.stagger_s)
    config.silence_ms = _milli(s.bus.silence_s)
    config.heater_on_cdeg = _centi(s.battery.heater_on_c)
    config.heater_off_cdeg = _centi(s.battery.heater_off_c)
    # A string at -100 degC, colder than any eclipse makes it: the sweep must reach its open circuit.
    cold_v = s.array.voc_v - COLD_K * s.array.voc_temp_v_per_k * s.array.series_cells
    config.array_voc_mv = _milli(cold_v)
    config.array_vmp_mv = _milli(s.array.vmp_v)


def hull_of(workload: Workload) -> list[tuple[float, float, bool]]:
    """Pieces of the least concave curve above a workload's: width in shares of its dynamic draw, speed that it adds,
    and whether the curve itself lies below it there (half of such a piece is worth less than half)."""
    points = list(zip(workload.share, workload.speed, strict=True))
    corners = [0]
    for k in range(1, len(points)):
        while len(corners) > 1 and _slope(points, corners[-2], corners[-1]) <= _slope(points, corners[-2], k):
            corners.pop()
        corners.append(k)
    pieces = []
    for a, b in itertools.pairwise(corners):
        (x0, y0), slope = points[a], _slope(points, a, b)
        below = max((y0 + slope * (x - x0) - y for x, y in points[a:b]), default=0.0)
        pieces.append((points[b][0] - x0, points[b][1] - y0, below > HOLLOW))
    return pieces


def _slope(points: list[tuple[float, float]], a: int, b: int) -> float:
    return (points[b][1] - points[a][1]) / (points[b][0] - points[a][0])


def _workloads(config: Any, s: Satellite) -> None:
    config.idle_mw = _milli(s.node.idle_w)
    unknown = config.curves[0]  # of a node that does not say what it runs
    unknown.most_mw, unknown.count = _milli(s.node.max_w - s.node.idle_w), 1
    unknown.pieces[0].width = unknown.pieces[0].slope = 1.0
    for number, workload in enumerate(s.workload, 1):
        curve = config.curves[number]
        curve.least_mw, curve.most_mw = map(_milli, workload.dynamic_w)
        _pieces(curve, workload, s.node.clock_max_mhz)


def _pieces(curve: Any, workload: Workload, clock_max_mhz: int) -> None:
    pieces = hull_of(workload)
    curve.count = len(pieces)
    end = 0.0
    for piece, (width, speed, whole) in zip(curve.pieces, pieces, strict=False):
        end += width
        clock = float(np.interp(end, workload.share, workload.clock))
        piece.width, piece.slope, piece.whole = width, speed / width, whole
        piece.clock_mhz = round(clock * clock_max_mhz) if clock < 1 else 0


def _shed(config: Any, s: Satellite) -> None:
    config.tiers.count = len(s.shed)
    for row, tier in zip(config.tiers.tiers, s.shed, strict=False):
        row.enter_cpct = round(tier.soc_enter * 10_000)
        row.leave_cpct = round(tier.soc_leave * 10_000)
        row.enter_mv = _milli(tier.bus_enter_v)
    for i in range(s.node.count):
        config.shed_tier[i] = s.shed_tier_of(i)


def _cooling(config: Any, s: Satellite) -> None:
    t, n, c = s.thermal, s.node, config.cooling
    area_m2 = t.radiator_m2 / t.loops
    c.loops, c.groups = t.loops, t.groups
    c.emitted_w_per_k4 = t.emissivity * SIGMA * area_m2
    c.absorbed_w = t.emissivity * EARTH_W_M2 * area_m2
    c.radiator_w_per_k, c.flow_w_per_k = t.radiator_w_per_k / t.loops, t.flow_w_per_k / t.loops
    c.panel_j_per_k, c.loop_j_per_k = t.capacity_j_per_m2_k * area_m2, t.coolant_j_per_k
    c.die_k_per_w = n.plate_r_k_per_w + n.die_r_k_per_w
    c.hbm_k_per_w = n.plate_r_k_per_w + n.hbm_r_k_per_w


def configuration(rig: Rig, session: int, adopt: bool) -> Any:
    """A `struct ctl_config *`. session: of the bus, above every earlier one; adopt: see csrc/control/control.h."""
    config = ffi.new("struct ctl_config *")
    s = rig.satellite
    config.nodes = s.node.count
    config.session = session
    config.tick_us = rig.tick_us
    config.firmware_hash = rig.firmware_hash
    config.adopt = adopt
    _node(config.node, s)
    _power(config.power, s)
    _shed(config, s)
    _workloads(config, s)
    _cooling(config, s)
    config.curve.count = len(s.battery.ocv_cell_v)
    for i, cell_v in enumerate(s.battery.ocv_cell_v):
        config.curve.ocv_mv[i] = _milli(cell_v * s.battery.series_cells)
    config.boot_mw = _milli(s.node.boot_w)
    config.discharge_mw = _milli(s.battery.discharge_w_allowed)
    config.converter_permille = round(s.array.converter_efficiency * 1000)
    a = s.array
    config.array_mw = _milli(a.strings * a.vmp_v * a.string_isc_a * a.imp_ratio)
    config.soc_floor_cpct = round(s.battery.soc_floor * 10_000)
    config.hotel_mw, config.heater_mw = _milli(s.bus.hotel_w), _milli(s.battery.heater_w)
    config.resistance_uohm = round(s.battery.series_cells * s.battery.cell_r0_ohm * POLARISED * 1e6)
    config.array_ppm_per_k = round((a.voc_temp_v_per_k / a.cell_vmp_v + a.isc_temp_per_k) * 1e6)
    return config
