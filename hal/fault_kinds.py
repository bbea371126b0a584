"""Which faults there are, as data: what each acts on, what its numbers mean, and what a rig file may say of it.

A kind is found by its word and by what the fault names: a `sensor` of a board, a `board`, or an `index` of the plant.
So `off` is a board that is off or a sensor that reads 0, and `hang` a controller or an accelerator that hangs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated

from hal.errors import RigError
from hal.icd import BoardKind
from hal.link import BACKENDS
from hal.satellite import Satellite
from hal.sensors import SENSORS, Sensor
from hal.strict import Range

Seconds = Annotated[float, Range(0, 1e9, "s")]

LINK, SENSOR, BOARD, PLANT = "link", "sensor", "board", "plant"
FIELD = "of the sensor"
"""The unit of a value that is in the unit of the sensor's own field."""
DIRECTIONS = ("to_board", "from_board", "both")
GROUPS = {"all": 0, "nodes": 1}
"""Words for several boards -> index of the first of them."""


@dataclass(frozen=True, slots=True)
class Value:
    """What the `value` of a kind is. default None: it must be given, unless it is `optional`."""

    what: str
    unit: str
    low: float
    high: float
    default: float | None = None
    whole: bool = False
    optional: bool = False

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        return f"{kind} from {self.low:g} to {self.high:g}" + (f" {self.unit}" if self.unit not in ("", FIELD) else "")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault."""

    name: str
    on: str
    """LINK, SENSOR, BOARD or PLANT"""
    text: str
    value: Value | None = None
    rate: float | None = None
    """default chance that it acts on a frame (`flip`: on a byte; a sensor: on a reading); None: it takes no rate"""
    index: str = ""
    """plant: what its index counts"""
    lasts: bool = True
    """False: it is over at once and takes no for_s"""

    @property
    def backends(self) -> tuple[str, ...]:
        """Schemes of the back ends that can do it. What acts in the world itself works on all of them."""
        return tuple(s for s, back_end in BACKENDS.items() if self.on != BOARD or self.name in back_end.faults)


@dataclass(frozen=True, slots=True)
class Fault:
    """From `at_s` on, for `for_s` seconds (0: for good). What the rest means depends on the kind (`KINDS`)."""

    kind: str
    at_s: Seconds
    for_s: Seconds = 0.0
    board: str | None = None
    index: Annotated[int, Range(0, 16_383)] | None = None
    value: Annotated[float, Range(-1e12, 1e12)] | None = None
    sensor: str | None = None
    rate: Annotated[float, Range(0, 1)] | None = None
    direction: str | None = None


_AMOUNT = 4.3e9  # covers every field


def _link(name: str, text: str, value: Value | None = None, rate: float | None = None) -> Kind:
    return Kind(name, LINK, text, value, rate)


def _sensor(name: str, text: str, value: Value | None = None, rate: float | None = None) -> Kind:
    return Kind(name, SENSOR, text, value, rate)


def _plant(name: str, index: str, text: str, value: Value) -> Kind:
    return Kind(name, PLANT, text, value, index=index)


def _seconds(what: str, low: float = 0.001, default: float | None = None) -> Value:
    return Value(what, "s", low, 3600, default)


def _count(what: str, unit: str, low: float, high: float, default: float) -> Value:
    return Value(what, unit, low, high, default, whole=True)


def _amount(what: str, low: float = -_AMOUNT, optional: bool = False) -> Value:
    return Value(what, FIELD, low, _AMOUNT, optional=optional)


def _share(what: str, high: float = 1, default: float | None = 1) -> Value:
    return Value(what, "", 0.001, high, default)


KINDS: tuple[Kind, ...] = (
    Kind("off", BOARD, "it is off; then it boots and has to prove who it is"),
    Kind("reset", BOARD, "its controller resets, cause bench", lasts=False),
    Kind(
        "hang",
        BOARD,
        "its controller stands still and hears nothing",
        _count("0: it goes on where it stood; 1: its watchdog resets it at the end", "", 0, 1, 0),
    ),
    Kind("brown_out", BOARD, "its 3.3 V is away; then it boots, cause brown_out"),
    Kind("boot_loop", BOARD, "its controller resets again and again, cause watchdog", _seconds("between", 0.01, 1)),
    Kind(
        "nvm_cut",
        BOARD,
        "its power fails once while it writes persistent memory, cause brown_out",
        _count("how much is written before", "byte", 0, 4096, 0),
    ),
    Kind("bit_flip", BOARD, "bits of its live state flip", _count("how many", "bit", 1, 10_000, 1), lasts=False),
    _link("drop", "a frame is lost", rate=1),
    _link("duplicate", "a frame comes twice", rate=1),
    _link("delay", "frames come later, in their order", _seconds("how much")),
    _link("flip", "one bit of a byte flips", rate=0.001),
    _link("truncate", "a frame ends early", rate=1),
    _link("insert", "random bytes come before a frame", _count("how many", "byte", 1, 256, 8), rate=1),
    _link("stall", "nothing comes; at the end all of it at once"),
    _link("disconnect", "nothing comes; all is lost"),
    _sensor("off", "it reads 0"),
    _sensor("stuck", "it stays at the first reading"),
    _sensor("garbage", "it reads anything that its field can hold"),
    _sensor("wrong", "it reads a value of its own", _amount("which; without one its sign is wrong", optional=True)),
    _sensor("slow", "it is read anew only now and then", _seconds("between")),
    _sensor("delayed", "it shows what it read earlier", _seconds("how much")),
    _sensor("intermittent", "it reads 0 now and then", rate=0.5),
    _sensor("bias", "something is added", _amount("how much")),
    _sensor("scale", "it reads in proportion", Value("factor", "", -1e6, 1e6)),
    _sensor("noise", "it is noisy", _amount("standard deviation", low=0)),
    _plant("string_open", "string", "the string is open", _count("1: open", "", 1, 1, 1)),
    _plant("string_shadow", "string", "it is shadowed; bypass diodes carry", _share("share of its cells")),
    _plant("string_factor", "string", "it has less light", _share("share that is lost")),
    _plant("loop_lost", "loop", "its coolant flows less", _share("share that is lost; 1: the pump stopped")),
    _plant("latch_up", "node", "a current until its power is cut", Value("on top of the load", "A", 0.001, 1e4, 1)),
    _plant("hang", "node", "its accelerator hangs", _count("1: a reset clears it; 2: a power cycle", "", 1, 2, 1)),
    _plant("overdraw", "node", "it draws above its cap", Value("by this share", "", 0.001, 1e4, 1)),
    _plant("cell_short", "", "cells of the pack are shorted", _count("how many", "cell", 1, 1000, 1)),
    _plant("capacity", "", "the pack holds less", _share("share that is lost", high=0.999, default=None)),
)
"""Every kind, in the order of docs/rigs.md."""

_BY = {(kind.on, kind.name): kind for kind in KINDS}


def names(*on: str) -> tuple[str, ...]:
    """Words of the kinds that act on one of these, each once."""
    return tuple(dict.fromkeys(kind.name for kind in KINDS if kind.on in on))


def kind_of(fault: Fault) -> Kind | None:
    """What a fault is, by its word and what it names; None when there is no such kind."""
    if fault.sensor is not None:
        return _BY.get((SENSOR, fault.kind))
    if fault.board is not None:
        return _BY.get((LINK, fault.kind)) or _BY.get((BOARD, fault.kind))
    return _BY.get((PLANT, fault.kind))


@dataclass(frozen=True, slots=True)
class Target:
    """What of a rig decides whether a fault can be injected."""

    links: dict[str, str]
    """role -> link URL, in index order"""
    satellite: Satellite

    def roles(self, board: str) -> tuple[str, ...]:
        """The roles that `board` names: itself, or those of a group; () when there is no such board."""
        if board in GROUPS:
            return tuple(self.links)[GROUPS[board] :]
        return (board,) if board in self.links else ()

    def sensors(self, role: str) -> dict[str, Sensor]:
        """Sensors of a board."""
        power = role == next(iter(self.links))
        return SENSORS[BoardKind.POWER_BOARD if power else BoardKind.COMPUTE_NODE]


def expand(faults: tuple[Fault, ...], target: Target, file: str) -> tuple[Fault, ...]:
    """Faults as a rig file says them -> one for each board, complete and possible, by their time. Raises `RigError`."""
    found = [one for i, f in enumerate(faults) for one in complete(f, target, f"{file}: fault[{i}]")]
    found.sort(key=lambda f: f.at_s)
    _check_apart(found, file)
    return tuple(found)


def complete(fault: Fault, target: Target, where: str) -> Iterator[Fault]:
    """The fault for each board that it names, with every default filled in. Refuses (`RigError`, beginning with
    `where`) what makes no sense or what a back end cannot do."""
    kind = kind_of(fault)
    if kind is None:
        raise RigError(_unknown(fault, target, where))
    filled = replace(fault, value=_value(kind, fault, where), rate=_rate(kind, fault, where))
    filled = replace(filled, direction=_direction(kind, fault, where))
    if fault.for_s and not kind.lasts:
        raise RigError(f"{where}.for_s: {kind.name} is over at once, expected none")
    if kind.on == PLANT:
        yield replace(filled, index=_plant_index(kind, fault, target.satellite, where))
        return
    assert fault.board is not None
    roles = target.roles(fault.board)
    if not roles:
        raise RigError(f"{where}.board: no board '{fault.board}', expected {_boards(target)}")
    for role in roles:
        if kind.on == BOARD:
            _check_backend(kind, filled, target.links[role], where)
        if kind.on == SENSOR:
            yield replace(filled, board=role, index=_sensor_index(filled, role, target, where))
        else:
            _no_index(kind, fault, where)
            yield replace(filled, board=role)


def _unknown(fault: Fault, target: Target, where: str) -> str:
    on = [kind.on for kind in KINDS if kind.name == fault.kind]
    if not on:
        everything = ", ".join(names(BOARD, LINK, SENSOR, PLANT))
        return f"{where}.kind: '{fault.kind}' cannot be injected, expected one of {everything}"
    if on == [PLANT]:
        word = "board" if fault.board is not None else "sensor"
        return f"{where}.{word}: a fault of the plant has an index, expected no {word}"
    if fault.board is None:
        return f"{where}.board: missing, expected {_boards(target)}"
    if SENSOR in on:
        return f"{where}.sensor: missing, expected a sensor of {fault.board} (`hal faults` lists them)"
    return f"{where}.sensor: {fault.kind} acts on a {on[0]}, expected no sensor"


def _boards(target: Target) -> str:
    return f"power, node0 .. node{len(target.links) - 2}, nodes or all"


def _value(kind: Kind, fault: Fault, where: str) -> float | None:
    asked, value = kind.value, fault.value
    if asked is None:
        if value is not None:
            raise RigError(f"{where}.value: {kind.name} takes none")
        return None
    if value is None:
        if asked.default is None and not asked.optional:
            raise RigError(f"{where}.value: missing, expected {asked}: {asked.what}")
        return asked.default
    if not asked.low <= value <= asked.high or (asked.whole and value != math.floor(value)):
        raise RigError(f"{where}.value: {value:g} is out of range, expected {asked}: {asked.what}")
    return value


def _rate(kind: Kind, fault: Fault, where: str) -> float | None:
    if kind.rate is None and fault.rate is not None:
        raise RigError(f"{where}.rate: {kind.name} takes none")
    return kind.rate if fault.rate is None else fault.rate


def _direction(kind: Kind, fault: Fault, where: str) -> str | None:
    if kind.on != LINK:
        if fault.direction is not None:
            raise RigError(f"{where}.direction: {kind.name} takes none")
        return None
    if fault.direction not in (None, *DIRECTIONS):
        raise RigError(f"{where}.direction: '{fault.direction}' is not known, expected {', '.join(DIRECTIONS)}")
    return fault.direction or "both"


def _no_index(kind: Kind, fault: Fault, where: str) -> None:
    if fault.index:
        raise RigError(f"{where}.index: {kind.name} takes none")


def _plant_index(kind: Kind, fault: Fault, satellite: Satellite, where: str) -> int | None:
    if not kind.index:
        _no_index(kind, fault, where)
        return None
    counts = {"string": satellite.array.strings, "loop": satellite.thermal.loops, "node": satellite.node.count}
    return _in_range(fault.index or 0, counts[kind.index], where)


def _in_range(index: int, count: int, where: str) -> int:
    if index >= count:
        raise RigError(f"{where}.index: {index} is out of range, expected 0 to {count - 1}")
    return index


def _sensor_index(fault: Fault, role: str, target: Target, where: str) -> int | None:
    assert fault.sensor is not None
    sensors = target.sensors(role)
    sensor = sensors.get(fault.sensor)
    if sensor is None:
        raise RigError(f"{where}.sensor: {role} has no '{fault.sensor}', expected one of {', '.join(sensors)}")
    if fault.kind == "wrong" and fault.value is None and not sensor.signed:
        raise RigError(f"{where}.value: missing, {sensor.name} has no sign that could be wrong")
    if not sensor.index:
        if fault.index is not None:
            raise RigError(f"{where}.index: {sensor.name} takes none")
        return None
    satellite = target.satellite
    counts = {"channel": satellite.node.count, "string": satellite.array.strings}
    return _in_range(fault.index or 0, counts[sensor.index], where)


def _check_backend(kind: Kind, fault: Fault, link: str, where: str) -> None:
    able = BACKENDS[link.partition(":")[0]].faults
    needed = {kind.name} | ({"reset"} if kind.name == "hang" and fault.value else set())
    if not needed <= able:
        can = ", ".join(name for name in names(BOARD) if name in able) or "none"
        what = kind.name if kind.name not in able else "hang with a watchdog (value 1)"
        raise RigError(f"{where}.kind: a board on {link} cannot do {what}, expected one of {can}")


def place(fault: Fault) -> tuple[str | int | None, ...]:
    """Where a complete fault is: of two at one place only one can be in force. A board has one fault of its own."""
    kind = kind_of(fault)
    assert kind is not None
    if kind.on == BOARD:
        return (BOARD, fault.board)
    return (kind.on, kind.name, fault.board, fault.sensor, fault.index)


def place_text(fault: Fault) -> str:
    """The same for a message."""
    return " ".join(str(part) for part in (fault.board, fault.sensor, fault.index) if part is not None)


def _check_apart(faults: list[Fault], file: str) -> None:
    """Each fault at one place ends before the next begins."""
    until: dict[tuple[str | int | None, ...], tuple[Fault, float]] = {}
    for fault in faults:
        at = place(fault)
        other, end = until.get(at, (fault, -1.0))
        if fault.at_s <= end:
            what = f"{place_text(fault)} is {other.kind} already at {fault.at_s:g} s".lstrip()
            raise RigError(f"{file}: fault: {what}, expected apart in time")
        kind = kind_of(fault)
        lasts = kind is not None and kind.lasts
        until[at] = (fault, fault.at_s + fault.for_s if fault.for_s or not lasts else math.inf)
