"""The sensors that a bench feeds to boards: every integer of the TICK frames, by the name of its ICD field.

Those that come in pages, one for each channel or string, have an index: ``channel_mean_ma``, ``string_ma``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntFlag

from hal import icd
from hal.icd import MESSAGES, RECORDS, BoardKind, Field

CODES = {"u8": "B", "u16": "H", "u32": "I", "i16": "h", "i32": "i"}
NOT_SENSORS = ("dt_us", "pages", "base", "count")


@dataclass(frozen=True, slots=True)
class Sensor:
    """Where an integer stands in the payload of its message, in bytes, and what it may be."""

    name: str
    unit: str
    index: str
    """what its index counts ("channel", "string"); "" without one"""
    message: int
    offset: int
    """of the payload; with an index, of its entry"""
    stride: int
    """between two entries; 0 without an index"""
    width: int
    signed: bool
    low: int
    high: int


def _bounds(field: Field) -> tuple[int, int]:
    """The range of its type; of its enum, when it has one."""
    if field.enum:
        members = list(getattr(icd, "".join(word.title() for word in field.enum.split("_"))))
        return 0, int(sum(members) if isinstance(members[0], IntFlag) else max(members))
    bits = 8 * struct.calcsize(CODES[field.type])
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if field.type[0] == "i" else (0, (1 << bits) - 1)


def _of(message: str, fields: tuple[Field, ...], prefix: str = "", index: str = "") -> Iterator[Sensor]:
    stride = sum(struct.calcsize(CODES[field.type]) for field in fields) if index else 0
    offset = 0
    for field in fields:
        width = struct.calcsize(CODES[field.type])
        if field.name not in NOT_SENSORS:
            signed, number = field.type[0] == "i", MESSAGES[message].type
            name = prefix + field.name
            yield Sensor(name, field.unit, index, number, offset, stride, width, signed, *_bounds(field))
        offset += width


def _strings() -> tuple[Field, ...]:
    return tuple(field for field in MESSAGES["tick_strings"].fields if field.tail)


SENSORS: dict[BoardKind, dict[str, Sensor]] = {
    BoardKind.COMPUTE_NODE: {s.name: s for s in _of("tick_node", MESSAGES["tick_node"].fields)},
    BoardKind.POWER_BOARD: {
        s.name: s
        for s in (
            *_of("tick_power", MESSAGES["tick_power"].fields),
            *_of("tick_channels", RECORDS["channel_sensor"], "channel_", "channel"),
            *_of("tick_strings", _strings(), "", "string"),
        )
    },
}
"""Kind of board -> name -> sensor."""
