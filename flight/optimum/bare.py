"""A satellite without boards, lines and frames: ideal sensors, and a policy that is asked for caps once a second.

What a board would do stays: the charger's limits, the heater, staggered power-on, the thermal throttle. Leases are the
caps themselves: their sum never stands above the guarantee (docs/design.md) when they are given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from flight.icd import PARAMETERS
from hal._native import ffi
from hal.fault_kinds import PLANT as PLANT_FAULT
from hal.fault_kinds import Fault, kind_of
from hal.icd import NodeState
from hal.plant import Plant
from hal.rig import Rig

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

STEPS_PER_S = 4
DARK = 1.0
"""the array gives less than this share of what the battery may: it is dark"""
_OFF, _BOOT, _RUN, _RESET = 0, 1, 3, 4  # accel_command
THROTTLE_K, HYSTERESIS_K, HALT_K, RESUME_K = 1.5, 2.0, 8.0, 10.0  # csrc/boards/throttle.h
COLD_C, COOL_C, WARM_C, HOT_C = 0.5, 10.0, 40.0, 44.5  # csrc/boards/charger.h
RESERVE_SLACK = 0.02
RESERVE, TARGET, CHARGE_SHARE = (PARAMETERS[name].default for name in ("soc_reserve", "soc_target", "charge_share"))


@dataclass(frozen=True, slots=True)
class Now:
    """What a policy sees. W at the bus; by node: draw_w, up (booted and able to work), span (floor to greatest cap).

    available_w: of the array; guarantee_w: what caps of nodes that are up may add up to; budget_w: what they may draw
    so that the battery charges in the sun and keeps its reserve in the dark.
    """

    t_s: float
    available_w: float
    guarantee_w: float
    budget_w: float
    soc: float
    dark: bool
    draw_w: Floats
    up: Bools
    cap_w: Floats
    floor_w: float
    max_w: float
    soc_floor: float


Policy = Callable[[Now], Floats]
"""-> caps of all nodes in W; what stands for a node that is not up does not matter"""


@dataclass(frozen=True, slots=True)
class BareFlight:
    """work: units; soc, soc_min: at the end, least; lease_over: decisions whose caps stood above the guarantee."""

    work: float
    soc: float
    soc_min: float
    stored_j: float
    lease_over: int


def _view(pointer: Any, count: int) -> npt.NDArray[Any]:
    """An array of C structs as a numpy one on the same memory."""
    kind = ffi.typeof(pointer).item
    names = [(n, f) for n, f in kind.fields if f.type.kind == "primitive"]
    codes = {"double": "f8", "int": "i4", "uint32_t": "u4", "uint16_t": "u2", "uint8_t": "u1"}
    layout = {
        "names": [n for n, _ in names],
        "formats": [codes[f.type.cname] for _, f in names],
        "offsets": [f.offset for _, f in names],
        "itemsize": ffi.sizeof(kind),
    }
    return np.frombuffer(ffi.buffer(pointer, count * ffi.sizeof(kind)), np.dtype(layout))  # type: ignore[call-overload]


class Bare:
    """One flight of a rig under one policy. workload_of: by node."""

    def __init__(self, rig: Rig, workload_of: npt.NDArray[np.int64], policy: Policy) -> None:
        self._rig, self._s, self._policy = rig, rig.satellite, policy
        self.plant = plant = Plant(rig.satellite, rig.orbit, rig.seed)
        n = rig.nodes
        self._in, self._out = _view(plant.node_in, n), _view(plant.node_out, n)
        self._channel = _view(plant.power_in.channel + 0, n)
        self._draw_w = np.frombuffer(ffi.buffer(plant.truth.draw_w), np.float64)[:n]
        self._in["workload"] = workload_of
        self._channel["limit_a"] = self._s.bus.lcl_class_a
        self._channel["trip_s"] = self._s.bus.lcl_trip_ms * 1e-3
        self._wanted, self._dead = np.zeros(n, bool), np.zeros(n, bool)
        self._latched, self._hot = np.zeros((2, n), bool), np.zeros((2, n), bool)  # by die, by HBM
        self._cap_w = np.zeros(n)
        self._faults = sorted(rig.faults, key=lambda f: f.at_s)
        self._low = False
        self._power_on()

    def _power_on(self) -> None:
        p, s = self.plant.power_in, self._s
        p.charge_v = s.battery.charge_cell_v * s.battery.series_cells
        p.uvlo_v = s.bus.uvlo_v

    def fly(self, seconds: float) -> BareFlight:
        """Fly that long."""
        least, over = 1.0, 0
        for _ in range(round(seconds)):
            self._strike()
            self._battery()
            now = self._look()
            self._switch(now)
            self._cap_w[:] = self._policy(now)
            over += self._lease(now)
            for _ in range(STEPS_PER_S):
                self._throttle()
                self.plant.step(1_000_000 // STEPS_PER_S)
            least = min(least, self.plant.truth.soc)
        truth = self.plant.truth
        return BareFlight(float(truth.work_total), truth.soc, least, truth.batt_stored_j, over)

    # ------------------------------------------------------------------ once a second
    def _strike(self) -> None:
        while self._faults and self._faults[0].at_s <= self.plant.truth.t_s:
            fault = self._faults.pop(0)
            if _is_of_plant(fault):
                self.plant.fault(fault.kind, fault.index or 0, fault.value or 1.0)
            elif fault.kind == "off" and fault.board is not None and fault.board.startswith("node"):
                self._dead[self._rig.index_of(fault.board) - 1] = True

    def _battery(self) -> None:
        """Array voltage, charge current and heater as the power board sets them."""
        p, truth, b, a = self.plant.power_in, self.plant.truth, self._s.battery, self._s.array
        p.array_v = a.vmp_v + a.series_cells * a.voc_temp_v_per_k * (truth.array_c - 28.0)
        t = truth.batt_c
        share = min((t - COLD_C) / (COOL_C - COLD_C), (HOT_C - t) / (HOT_C - WARM_C), 1.0)
        blocked = share <= 0 or truth.soc >= b.soc_limit
        p.charge_a = 0.0 if blocked else b.capacity_ah * b.charge_c_rate * (0.25 + 0.75 * share)
        p.heater = int(t < b.heater_on_c or (p.heater and t < b.heater_off_c))

    def _look(self) -> Now:
        s, truth = self._s, self.plant.truth
        eta, battery, node = s.array.converter_efficiency, s.battery, s.node
        available = truth.array_available_w * eta
        given = battery.discharge_w_allowed if truth.soc > battery.soc_floor else 0.0
        guarantee = available - truth.largest_string_w * eta + given - truth.hotel_w
        self._low = truth.soc < RESERVE + (RESERVE_SLACK if self._low else 0.0)
        dark = available < DARK * battery.discharge_w_allowed
        taken = min(self.plant.power_in.charge_a * truth.bus_v, CHARGE_SHARE * available)
        fade = min(max((TARGET + 0.01 - truth.soc) * 50, 0.0), 1.0)
        budget = available - truth.hotel_w - taken * fade
        if dark:
            budget = available - truth.hotel_w + (0.0 if self._low else battery.discharge_w_allowed)
        state = self._out["accel_state"]
        up = ((state == NodeState.IDLE) | (state == NodeState.ACTIVE)) & self._wanted
        booting = node.boot_w * float((self._wanted & ~up).sum())
        return Now(truth.t_s, available, guarantee - booting, budget - booting, truth.soc, dark,
                   self._draw_w, up, self._cap_w.copy(), node.floor_w, node.max_w, battery.soc_floor)  # fmt: skip

    def _switch(self, now: Now) -> None:
        """Boot nodes while there is power for it, switch off what cannot even have its floor."""
        node, halted = self._s.node, self._hot.any(axis=0)
        self._wanted &= ~self._dead
        room = min(now.guarantee_w, now.budget_w) - node.floor_w * float(now.up.sum())
        if room < 0:
            off = np.flatnonzero(self._wanted)[::-1][: int(np.ceil(-room / node.floor_w))]
            self._wanted[off] = False
        else:
            count = min(int(room / node.boot_w), int(1 / self._s.bus.stagger_s))
            self._wanted[np.flatnonzero(~self._wanted & ~self._dead & ~halted)[:count]] = True
        now.up[:] &= self._wanted
        self._channel["on"] = self._wanted
        up_or_booting = np.where(now.up, _RUN, _BOOT)
        self._in["command"] = np.where(halted, _RESET, np.where(self._wanted, up_or_booting, _OFF))

    def _lease(self, now: Now) -> int:
        """No cap above what a node takes, their sum not above the guarantee: all lose the same share."""
        self._cap_w[:] = np.where(now.up, np.clip(self._cap_w, 0, now.max_w), 0)
        total = float(self._cap_w.sum())
        if total > now.guarantee_w:
            self._cap_w *= max(now.guarantee_w, 0) / total
        return int(float(self._cap_w.sum()) > max(now.guarantee_w, 0) * (1 + 1e-9))

    # ------------------------------------------------------------------ every step
    def _throttle(self) -> None:
        """A board's: the cap falls over the last kelvins below the limit, to the floor, which is latched there."""
        node = self._s.node
        allowed = np.full(len(self._cap_w), node.max_w)
        for k, (name, limit_c) in enumerate((("die_c", node.die_limit_c), ("hbm_c", node.hbm_limit_c))):
            below = limit_c - self._out[name]
            self._latched[k] = (below <= 0) | (self._latched[k] & (below < HYSTERESIS_K))
            share = np.where(self._latched[k], 0, np.clip(below / THROTTLE_K, 0, 1))
            allowed = np.minimum(allowed, node.floor_w + (node.max_w - node.floor_w) * share)
            self._hot[k] = (below <= -HALT_K) | (self._hot[k] & (below < RESUME_K))
        self._in["cap_w"] = np.minimum(self._cap_w, allowed)


def _is_of_plant(fault: Fault) -> bool:
    kind = kind_of(fault)
    return kind is not None and kind.on == PLANT_FAULT
