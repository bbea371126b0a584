"""What no controller can change, on a time grid: what the array could give, what the sky radiates, who may work."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from flight.optimum.planes import speed_table
from hal._native import lib
from hal.fault_kinds import PLANT as PLANT_FAULT
from hal.fault_kinds import Fault, kind_of
from hal.plant import Plant
from hal.rig import Rig

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

STEP_US = 2_000_000
SAMPLE_S = 4.0  # of what the data makes of a node's draw
BOOT_LEAST = 0.95  # of boot_s (csrc/plant/node.c)
BOOT_STEPS = 2
SIGMA = 5.670374419e-8
ZERO_C = 273.15
_REFERENCE_C = 28.0
STANDING = 0.25  # of a loop's heat capacity that is in its groups (csrc/plant/thermal.c)
COLD_START_C = 0.0
COLDEST = 1.0002  # the array as it is flown here is drawn at 0.998 of its maximum, and is 0.05 K warmer for it
IDLE_LEAST = 0.7  # of idle_w, at a die of 0 degC


@dataclass(frozen=True, slots=True)
class Environment:
    """Means over the K steps of a grid, `step_s` long.

    available_w: (K) at the bus: the array's maximum-power point when all of it is always drawn (cells are then coldest,
    and give most); guarantee_w: (K) what leases may add up to; hotel_w: (K); absorbed_w: (K) by the radiator from Earth
    and Sun; alive: (K, nodes) share of the step in which a node can work; area: (K) share of the radiator that coolant
    reaches; dynamic_w: (K, samples, nodes) above idle at full speed; efficiency: (nodes) of their power.
    """

    step_s: float
    available_w: Floats
    guarantee_w: Floats
    hotel_w: Floats
    absorbed_w: Floats
    alive: Floats
    area: Floats
    dynamic_w: Floats
    efficiency: Floats


def steps_of(seconds: float, boot_s: float) -> int:
    """A grid for a flight: two of its steps are just shorter than the shortest boot."""
    return int(np.ceil(seconds / (BOOT_LEAST * boot_s / BOOT_STEPS)))


def environment_of(rig: Rig, seconds: float, workload_of: Ints, steps: int | None = None) -> Environment:
    """The environment of a flight: its orbit, its faults, its workloads by node; on the grid of `steps_of`, or so many
    equal steps."""
    battery = rig.satellite.battery
    k = steps or steps_of(seconds, rig.satellite.node.boot_s)
    step_s = seconds / k
    plant = _insatiable(rig)
    dynamic_w = _dynamic_w(plant, workload_of, k, step_s)
    efficiency = np.array([lib.plant_efficiency(plant.pointer, i) for i in range(rig.nodes)])
    available, string, hotel, absorbed = _sunlight(plant, rig, seconds).T
    available = available * COLDEST
    guarantee = available - string + battery.discharge_w_allowed - hotel
    around = np.maximum(guarantee, np.concatenate([guarantee[:1], guarantee[:-1]]))  # a second's grace after a drop
    alive, area = _alive(rig, workload_of, dynamic_w.mean(axis=(0, 1)), k, step_s)
    return Environment(step_s, _means(available, k), _means(around, k), _means(hotel, k), _means(absorbed, k),
                       alive, area, dynamic_w, efficiency)  # fmt: skip


def _means(rows: Floats, steps: int) -> Floats:
    """Means over equal steps of what is constant between equal, shorter samples."""
    total = np.concatenate([[0.0], np.cumsum(rows)])
    ends = np.interp(np.linspace(0, len(rows), steps + 1), np.arange(len(rows) + 1), total)
    return np.asarray(np.diff(ends) * steps / len(rows))


def _insatiable(rig: Rig) -> Plant:
    """The satellite with a battery that takes everything."""
    battery = replace(rig.satellite.battery, capacity_ah=1e4, cell_r0_ohm=1e-6, soc_initial=0.5)
    return Plant(replace(rig.satellite, battery=battery), rig.orbit, rig.seed)


def _sunlight(plant: Plant, rig: Rig, seconds: float) -> Floats:
    """(steps of STEP_US, 4): available, strongest string, hotel, absorbed by the radiator."""
    s, truth = rig.satellite, plant.truth
    emit = s.thermal.emissivity * SIGMA * s.thermal.radiator_m2 / s.thermal.loops
    plant.power_in.charge_a, plant.power_in.charge_v = 1e6, 1e5
    agenda = sorted((f for f in rig.faults if _is_of_plant(f)), key=lambda f: f.at_s)
    rows = np.empty((round(seconds * 1e6 / STEP_US), 4))
    radiated_j = 0.0
    for k in range(len(rows)):
        while agenda and agenda[0].at_s <= truth.t_s:
            fault = agenda.pop(0)
            plant.fault(fault.kind, fault.index or 0, fault.value or 1.0)
        drift_v = s.array.series_cells * s.array.voc_temp_v_per_k * (truth.array_c - _REFERENCE_C)
        plant.power_in.array_v = s.array.vmp_v + drift_v
        plant.step(STEP_US)
        out_w = sum(emit * (truth.radiator_c[i] + ZERO_C) ** 4 for i in range(s.thermal.loops))
        absorbed_w = out_w - (truth.radiated_j - radiated_j) / (STEP_US * 1e-6)
        radiated_j = truth.radiated_j
        eta = s.array.converter_efficiency
        rows[k] = truth.array_available_w * eta, truth.largest_string_w * eta, truth.hotel_w, absorbed_w
    return rows


def _is_of_plant(fault: Fault) -> bool:
    kind = kind_of(fault)
    return kind is not None and kind.on == PLANT_FAULT and fault.kind != "loop_lost"


def _dynamic_w(plant: Plant, workload_of: Ints, steps: int, step_s: float) -> Floats:
    """(steps, samples, nodes), at the middle of equal parts of each step."""
    per_step = max(1, round(step_s / SAMPLE_S))
    t_us = (np.arange(steps * per_step) + 0.5) * (step_s / per_step) * 1e6
    span = [[lib.plant_dynamic_w(plant.pointer, i, int(w), int(t)) for i, w in enumerate(workload_of)] for t in t_us]
    return np.array(span).reshape(steps, per_step, -1)


def _alive(rig: Rig, workload_of: Ints, span_w: Floats, steps: int, step_s: float) -> tuple[Floats, Floats]:
    """Who can work, and how much of the radiator is reached."""
    alive, area = np.ones((steps, rig.nodes)), np.ones(steps)
    ends_s = (np.arange(steps) + 1) * step_s
    thermal = rig.satellite.thermal
    for fault in rig.faults:
        left = np.clip((ends_s - fault.at_s) / step_s, 0, 1)  # share of the step behind the fault
        if fault.kind == "off" and fault.board is not None and fault.board.startswith("node"):
            alive[:, rig.index_of(fault.board) - 1] -= left
        elif fault.kind == "loop_lost":
            area -= left * (fault.value or 1.0) / thermal.loops
            groups = np.arange(rig.nodes) % thermal.groups
            for i in np.flatnonzero(groups * thermal.loops // thermal.groups == (fault.index or 0)):
                seconds = _adiabatic_s(rig, int(workload_of[i]), float(span_w[i]))
                alive[:, i] -= _late(left, int(np.ceil(seconds / step_s)))
    return np.clip(alive, 0, 1), area


def _adiabatic_s(rig: Rig, workload: int, span_w: float) -> float:
    """Time of full speed for which a node without flow can take up its own heat: its plate's, and its share of the
    coolant that stands still, from as cold as they may have been up to the limit; at its best speed over power."""
    thermal, node = rig.satellite.thermal, rig.satellite.node
    room_j_per_k = node.heat_capacity_j_per_k + STANDING * thermal.coolant_j_per_k / (rig.nodes / thermal.loops)
    y, speed = speed_table(workload)
    least_j = float(np.min((IDLE_LEAST * node.idle_w + y[1:] * span_w) / speed[1:]))
    return room_j_per_k * (node.die_limit_c - COLD_START_C) / least_j


def _late(left: Floats, steps: int) -> Floats:
    """The same so many steps later."""
    return np.concatenate([np.zeros(min(steps, len(left))), left[: max(0, len(left) - steps)]])
