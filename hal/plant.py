"""The plant for Python: a satellite's description as the C configuration, the orbit's table, faults by name."""

from __future__ import annotations

import math
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from hal import orbit as orbits
from hal._native import ffi, lib
from hal.errors import WorldError
from hal.rig import Orbit
from hal.satellite import Satellite

FAULTS: dict[str, int] = {
    name.removeprefix("PLANT_FAULT_").lower(): getattr(lib, name)
    for name in dir(lib)
    if name.startswith("PLANT_FAULT_")
}
ERRORS = {
    lib.PLANT_ERR_ORBIT: "the orbit's table does not cover the step",
    lib.PLANT_ERR_DT: f"a step takes 1 us to {lib.PLANT_MAX_DT_US} us",
}
AHEAD_S = 7200.0  # how far past what is asked for the table is made
_ALIVE: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
SECTIONS = ("array", "battery", "bus", "thermal", "node")


def config_of(satellite: Satellite, seed: int) -> Any:
    """`struct plant_config` of a satellite: every field of the C struct is the TOML key of that name."""
    config = ffi.new("struct plant_config *")
    config.seed = seed
    for section in SECTIONS:
        source, target = getattr(satellite, section), getattr(config, section)
        for name, _ in ffi.typeof(target).fields:
            setattr(target, name, getattr(source, name))
    return config


class Plant:
    """One plant and all the memory that it stands on. `pointer` is what C takes."""

    def __init__(self, satellite: Satellite, orbit: Orbit, seed: int) -> None:
        """Ready at flight time 0. Raises `RigError` when the orbit makes no sense."""
        self.elements = orbits.elements_of(orbit)
        self._rows: Any = None
        self._end_s = -math.inf
        self._orbit = ffi.new("struct plant_orbit *")
        self._memory = ffi.new("double[]", (lib.plant_bytes() + 7) // 8)
        self.pointer = ffi.cast("struct plant *", self._memory)
        self._config = config_of(satellite, seed)
        self._table(0.0, AHEAD_S)
        self._check(lib.plant_init(self.pointer, self._config, self._orbit, 0))
        self.truth = lib.plant_truth_of(self.pointer)
        self.power_in = lib.plant_power_in(self.pointer)
        self.power_out = lib.plant_power_out(self.pointer)
        self.node_in = lib.plant_node_in(self.pointer)
        self.node_out = lib.plant_node_out(self.pointer)
        for part in (self.truth, self.power_in, self.power_out, self.node_in, self.node_out):
            _ALIVE[part] = self._memory  # who holds a part holds the memory that it points into

    def step(self, dt_us: int) -> None:
        """One step of the physics; actuators in, sensors and truth out."""
        self.ensure(self.truth.t_s + dt_us * 1e-6)
        self._check(lib.plant_step(self.pointer, dt_us))

    def ensure(self, until_s: float) -> None:
        """Makes the orbit's table cover everything from now to `until_s`; cheap when it does."""
        if until_s > self._end_s:
            self._table(self.truth.t_s, until_s + AHEAD_S)

    def fault(self, kind: str, index: int, value: float) -> None:
        """Sets a fault, or lifts it (value 0). Raises `WorldError` for an unknown kind, index or value."""
        if kind not in FAULTS:
            raise WorldError(f"plant fault '{kind}' is not known, expected one of {', '.join(sorted(FAULTS))}")
        if lib.plant_fault(self.pointer, FAULTS[kind], index, value) != lib.PLANT_OK:
            raise WorldError(f"plant fault {kind}: index {index} or value {value:g} is out of range")

    def truth_dict(self) -> dict[str, Any]:
        """The scalars of the truth by name (for tests and reports)."""
        truth = self.truth[0]
        simple = (name for name, field in ffi.typeof(truth).fields if field.type.kind == "primitive")
        return {name: getattr(truth, name) for name in simple}

    def _table(self, from_s: float, until_s: float) -> None:
        first = math.floor(from_s / orbits.STEP_S) - 1
        last = math.ceil(until_s / orbits.STEP_S) + 1
        table = self.elements.rows(np.arange(first, last + 1, dtype=np.float64) * orbits.STEP_S)
        self._rows = ffi.from_buffer("struct plant_orbit_row[]", table)
        self._orbit.t0_s = first * orbits.STEP_S
        self._orbit.step_s = orbits.STEP_S
        self._orbit.rows = len(table)
        self._orbit.gmst0_rad = self.elements.sidereal_rad
        self._orbit.row = self._rows
        self._end_s = last * orbits.STEP_S

    def _check(self, code: int) -> None:
        if code != lib.PLANT_OK:
            raise WorldError(f"plant: {ERRORS.get(code, code)}")
