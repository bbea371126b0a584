"""What each kind of fault does to a world, and how it is undone."""

from __future__ import annotations

import hashlib
from typing import Any, Protocol

from hal._native import ffi, lib
from hal.errors import WorldError
from hal.fault_kinds import Fault
from hal.icd import ResetCause
from hal.plant import Plant
from hal.sensors import Sensor

HOLD_BYTES = 65_536
"""What a link that delays or stalls holds in one direction; more is lost."""
ONE = 1 << 32
"""A chance of 1, as C takes it."""


class Boards(Protocol):
    """What a fault of a board does to it. Everything raises `WorldError` when that is not possible now."""

    def kill(self, role: str) -> None: ...

    def start(self, role: str, cause: int = ...) -> None: ...

    def reboot(self, role: str, cause: int) -> None: ...

    def hang(self, role: str, on: bool) -> None: ...

    def inject(self, role: str, kind: str, value: float, seed: int) -> None: ...

    def mock(self, role: str) -> Any: ...


class Effect:
    """One fault at work; `begin` and `end` are called between two ticks."""

    @property
    def hits(self) -> int:
        """How often it acted: frames, readings, resets, bits; 1 for what simply is so."""
        return 1

    bytes_lost = bytes_added = 0

    def begin(self) -> None:
        """Break it."""

    def end(self) -> None:
        """Restore it."""

    def again_us(self) -> int:
        """How much later `begin` is to be called again; 0: not."""
        return 0


class LinkEffect(Effect):
    """csrc/world/link_fault.c"""

    def __init__(self, pointer: Any, board: int, fault: Fault, seed: int) -> None:
        self._world, self._board = pointer, board
        self._fault = f = ffi.new("struct link_fault *")
        f.kind = getattr(lib, f"LINK_FAULT_{fault.kind.upper()}")
        f.rate = round((1.0 if fault.rate is None else fault.rate) * ONE)
        f.delay_us = round((fault.value or 0) * 1e6) if fault.kind == "delay" else 0
        f.bytes = round(fault.value or 0) if fault.kind == "insert" else 0
        self._memory = []
        for direction, name in ((lib.LINK_TO_BOARD, "to_board"), (lib.LINK_FROM_BOARD, "from_board")):
            way = f.way[direction]
            way.on = fault.direction in (name, "both")
            way.random, way.random_beside = seed ^ direction, seed ^ 2 ^ direction
            if fault.kind in ("delay", "stall"):
                self._memory.append(ffi.new("uint8_t[]", HOLD_BYTES))
                way.hold, way.capacity = self._memory[-1], HOLD_BYTES

    def _sum(self, name: str) -> int:
        return sum(int(getattr(self._fault.way[i], name)) for i in (0, 1))

    @property
    def hits(self) -> int:
        return self._sum("hits")

    @property
    def bytes_lost(self) -> int:  # type: ignore[override]
        return self._sum("bytes_lost")

    @property
    def bytes_added(self) -> int:  # type: ignore[override]
        return self._sum("bytes_added")

    def begin(self) -> None:
        _check(lib.world_link_fault(self._world, self._board, self._fault))

    def end(self) -> None:
        _check(lib.world_lift_link_fault(self._world, self._board, self._fault))


class SensorEffect(Effect):
    """csrc/world/sensor_fault.c"""

    def __init__(self, pointer: Any, board: int, sensor: Sensor, fault: Fault, tick_us: int, seed: int) -> None:
        self._world, self._board = pointer, board
        self._fault = f = ffi.new("struct sensor_fault *")
        f.kind = getattr(lib, f"SENSOR_FAULT_{_sensor_word(fault)}")
        f.message, f.offset, f.stride = sensor.message, sensor.offset, sensor.stride
        f.width, f.is_signed, f.index = sensor.width, sensor.signed, fault.index or 0
        f.low, f.high = sensor.low, sensor.high
        f.value = fault.value or 0.0
        f.rate = round((fault.rate or 0) * ONE)
        f.random = seed
        if fault.kind in ("slow", "delayed"):
            f.period_us = round(f.value * 1e6)
        f.capacity = f.period_us // tick_us + 2
        self._history = ffi.new("struct sensor_sample[]", f.capacity if fault.kind == "delayed" else 1)
        f.history = self._history

    @property
    def hits(self) -> int:
        return int(self._fault.hits)

    def begin(self) -> None:
        _check(lib.world_sensor_fault(self._world, self._board, self._fault))

    def end(self) -> None:
        _check(lib.world_lift_sensor_fault(self._world, self._board, self._fault))


def _sensor_word(fault: Fault) -> str:
    if fault.kind == "wrong":
        return "NEGATED" if fault.value is None else "FIXED"
    return fault.kind.upper()


class PlantEffect(Effect):
    """csrc/plant/fault.c"""

    def __init__(self, plant: Plant, fault: Fault) -> None:
        self._plant, self._fault = plant, fault

    def begin(self) -> None:
        assert self._fault.value is not None
        self._plant.fault(self._fault.kind, self._fault.index or 0, self._fault.value)

    def end(self) -> None:
        self._plant.fault(self._fault.kind, self._fault.index or 0, 0.0)


class BoardEffect(Effect):
    """The base of those of boards."""

    def __init__(self, boards: Boards, fault: Fault, seed: int) -> None:
        assert fault.board is not None
        self.boards, self.role, self.value, self.seed = boards, fault.board, fault.value or 0.0, seed


class Off(BoardEffect):
    """Off, or without its 3.3 V: `cause` is that of the boot at the end."""

    cause = ResetCause.POWER_ON

    def begin(self) -> None:
        self.boards.kill(self.role)

    def end(self) -> None:
        self.boards.start(self.role, self.cause)


class BrownOut(Off):
    """As off, for another reason."""

    cause = ResetCause.BROWN_OUT


class Reset(BoardEffect):
    """The controller alone."""

    def begin(self) -> None:
        self.boards.reboot(self.role, ResetCause.BENCH)


class Hang(BoardEffect):
    """value 1: a watchdog ends it."""

    def begin(self) -> None:
        self.boards.hang(self.role, True)

    def end(self) -> None:
        self.boards.hang(self.role, False)
        if self.value:
            self.boards.reboot(self.role, ResetCause.WATCHDOG)


class BootLoop(BoardEffect):
    """A reset at the beginning and every `value` s."""

    _resets = 0

    @property
    def hits(self) -> int:
        return self._resets

    def begin(self) -> None:
        self.boards.reboot(self.role, ResetCause.WATCHDOG)
        self._resets += 1

    def again_us(self) -> int:
        return round(self.value * 1e6)


class NvmCut(BoardEffect):
    """Armed until it has struck once."""

    _mock: Any = None
    _before = 0

    @property
    def hits(self) -> int:
        return int(lib.mock_cuts(self._mock)) - self._before

    def begin(self) -> None:
        self._mock = self.boards.mock(self.role)
        self._before = int(lib.mock_cuts(self._mock))
        lib.mock_cut_nvm(self._mock, int(self.value))

    def end(self) -> None:
        lib.mock_lift_cut(self._mock)


class BitFlip(BoardEffect):
    """What is flipped stays so until the board writes it."""

    @property
    def hits(self) -> int:
        return int(self.value)

    def begin(self) -> None:
        self.boards.inject(self.role, "bit_flip", self.value, self.seed)


OF_BOARDS: dict[str, type[BoardEffect]] = {
    "off": Off,
    "reset": Reset,
    "hang": Hang,
    "brown_out": BrownOut,
    "boot_loop": BootLoop,
    "nvm_cut": NvmCut,
    "bit_flip": BitFlip,
}


def seed_of(seed: int, fault: Fault) -> int:
    """64 bit: of the rig's seed, the fault, where and when; nothing else decides what happens by chance."""
    text = f"{seed}:{fault.kind}:{fault.board}:{fault.sensor}:{fault.index}:{fault.at_s!r}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def _check(result: int) -> None:
    if result < 0:
        raise WorldError("a fault can be set and lifted between two ticks only, and on a board of the rig")
