"""The part of the generated Python modules that does not depend on the ICD; gen_python.py copies it around the tables.

The names up to the first mark are what the generated part provides.
"""

from __future__ import annotations

import math
import struct
from enum import IntEnum, IntFlag
from typing import Any, NamedTuple

import numpy as np

ENUMS: dict[str, type[IntEnum] | type[IntFlag]] = {}
OPEN_ENUMS: frozenset[str] = frozenset()
RECORDS: dict[str, tuple[Field, ...]] = {}
MESSAGES: dict[str, Message] = {}


class Message(NamedTuple):
    """Stands for the generated class."""

    name: str
    closed: bool
    selector: int | None
    fields: tuple[Field, ...]


# ---- the module starts here ----
class IcdError(ValueError):
    """A message that the ICD does not allow; the message says which field and what was expected."""


class Field(NamedTuple):
    """One field: type is a scalar type, "bytes" (of `fixed`) or a record; a tail holds up to `tail` of it."""

    name: str
    type: str
    unit: str = ""
    min: float | None = None
    max: float | None = None
    enum: str = ""
    fixed: int = 0
    tail: int = 0
    count_field: str = ""
    doc: str = ""
    default: int | None = None  # of a command's argument that may be left out


class EventInfo(NamedTuple):
    """One event with the names of its two arguments."""

    name: str
    code: int
    severity: int
    args: tuple[str, str]


class ParameterInfo(NamedTuple):
    """One parameter; all are f64 on the link."""

    name: str
    id: int
    unit: str
    min: float
    max: float
    default: float
    doc: str


# ---- the tables of the ICD stand here ----
_ORDER = "BYTE_ORDER"
_STRUCT = {"u8": "B", "u16": "H", "u24": "3s", "u32": "I", "u48": "6s", "u64": "Q"}
_STRUCT |= {"i8": "b", "i16": "h", "i32": "i", "i64": "q", "f32": "f", "f64": "d"}
_DTYPE = {"u8": "u1", "u16": "u2", "u32": "u4", "u64": "u8", "i8": "i1", "i16": "i2", "i32": "i4", "i64": "i8"}
_DTYPE |= {"f32": "f4", "f64": "f8"}
_WIDE = {"u24": 3, "u48": 6}  # integers that struct and numpy do not know
_ENDIAN: Any = "little" if _ORDER == "<" else "big"


def _format(fields: tuple[Field, ...]) -> struct.Struct:
    return struct.Struct(_ORDER + "".join(f"{f.fixed}s" if f.type == "bytes" else _STRUCT[f.type] for f in fields))


def _dtype(fields: tuple[Field, ...], selector: int | None = None) -> np.dtype[Any]:
    """Packed dtype of fixed fields in wire byte order; u24 and u48 are rows of bytes."""
    columns: list[Any] = [("selector", "u1")] if selector is not None else []
    for f in fields:
        wide = f.fixed or _WIDE.get(f.type, 0)
        columns.append((f.name, "u1", (wide,)) if wide else (f.name, _ORDER + _DTYPE[f.type]))
    return np.dtype(columns)


def _fixed(message: Message) -> tuple[Field, ...]:
    return tuple(f for f in message.fields if not f.tail)


_FIXED = {name: _format(_fixed(m)) for name, m in MESSAGES.items()}
_ROWS = {name: _format(fields) for name, fields in RECORDS.items()}
DTYPES = {name: _dtype(_fixed(m), m.selector) for name, m in MESSAGES.items()}  # without the variable tail
RECORD_DTYPES = {name: _dtype(fields) for name, fields in RECORDS.items()}
_TYPE_LIMITS = {f"u{bits}": (0, (1 << bits) - 1) for bits in (8, 16, 24, 32, 48, 64)}
_TYPE_LIMITS |= {f"i{bits}": (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) for bits in (8, 16, 32, 64)}


def _checked(where: str, f: Field, value: Any, closed: bool) -> Any:
    """The value as it goes to struct; IcdError when the ICD does not allow it."""
    if f.type == "bytes":
        if not isinstance(value, bytes | bytearray) or len(value) != f.fixed:
            raise IcdError(f"{where}.{f.name}: {value!r}, expected {f.fixed} bytes")
        return bytes(value)
    if f.type in _TYPE_LIMITS:
        try:
            number: Any = value.__index__()
        except AttributeError:
            raise IcdError(f"{where}.{f.name}: {value!r}, expected a whole number") from None
        limits: tuple[float, float] = _TYPE_LIMITS[f.type]
    else:
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise IcdError(f"{where}.{f.name}: {value!r}, expected a number") from None
        limits = (-math.inf, math.inf)
    low, high = (limits[0] if f.min is None else f.min), (limits[1] if f.max is None else f.max)
    ranged = f.type in _TYPE_LIMITS or f.min is not None or f.max is not None
    if ranged and not low <= number <= high:
        raise IcdError(f"{where}.{f.name}: {value!r} is out of range, expected {low}..{high}")
    if closed and f.enum and f.enum not in OPEN_ENUMS:
        _check_enum(where, f, number)
    return number.to_bytes(_WIDE[f.type], _ENDIAN) if f.type in _WIDE else number


def _check_enum(where: str, f: Field, number: int) -> None:
    kind = ENUMS[f.enum]
    if issubclass(kind, IntFlag):
        legal = number & ~sum(kind) == 0
    else:
        legal = number in kind._value2member_map_
    if not legal:
        names = ", ".join(f"{m.name.lower() if m.name else ''} = {int(m)}" for m in kind)
        raise IcdError(f"{where}.{f.name}: {number} is not in enum {f.enum}, expected {names}")


def _pack(where: str, fields: tuple[Field, ...], form: struct.Struct, values: dict[str, Any], closed: bool) -> bytes:
    for name in values:
        if all(f.name != name for f in fields):
            raise IcdError(f"{where}: no field '{name}', expected {', '.join(f.name for f in fields) or 'none'}")
    values = {f.name: f.default for f in fields if f.default is not None} | values
    for f in fields:
        if f.name not in values:
            raise IcdError(f"{where}: field '{f.name}' is missing")
    return form.pack(*(_checked(where, f, values[f.name], closed) for f in fields))


def _unpack(where: str, fields: tuple[Field, ...], row: tuple[Any, ...], closed: bool) -> dict[str, Any]:
    values = dict(zip((f.name for f in fields), row, strict=True))
    for f in fields:
        if f.type in _WIDE:
            values[f.name] = int.from_bytes(values[f.name], _ENDIAN)
        if f.min is not None or f.max is not None or (closed and f.enum):
            _checked(where, f, values[f.name], closed)
    return values


def _message(name: str) -> Message:
    if name not in MESSAGES:
        raise IcdError(f"unknown message '{name}'")
    return MESSAGES[name]


def _element(f: Field) -> Field:
    return f._replace(tail=0, count_field="")


def _is_any_u8(f: Field) -> bool:
    return f.type == "u8" and not f.enum and f.min is None and f.max is None


def encode(name: str, **values: Any) -> bytes:
    """Payload (source data) of a message from one value per field; one that has a default may be left out.

    The tail's count field may be left out: it is the number of elements then. Elements of a record are dicts; a tail of
    any u8 may be given as bytes.
    Raises IcdError: unknown message or field, a field missing, a value that the ICD does not allow.
    """
    message = _message(name)
    tail = message.fields[-1] if message.fields and message.fields[-1].tail else None
    elements: Any = []
    if tail is not None:
        elements = values.pop(tail.name, ())
        elements = elements if isinstance(elements, bytes) else list(elements)
        if values.setdefault(tail.count_field, len(elements)) != len(elements):
            raise IcdError(
                f"{name}.{tail.count_field}: {values[tail.count_field]!r}, but {tail.name} has {len(elements)} elements"
            )
    head = bytes([message.selector]) if message.selector is not None else b""
    out = [head, _pack(name, _fixed(message), _FIXED[name], values, message.closed)]
    if tail is not None and tail.type in RECORDS:
        fields, form = RECORDS[tail.type], _ROWS[tail.type]
        out += [_pack(f"{name}.{tail.name}[{i}]", fields, form, e, message.closed) for i, e in enumerate(elements)]
    elif tail is not None and isinstance(elements, bytes) and _is_any_u8(tail):
        out.append(elements)
    elif tail is not None:
        one = (_element(tail),)
        form = _format(one)
        out += [form.pack(_checked(f"{name}[{i}]", one[0], e, message.closed)) for i, e in enumerate(elements)]
    return b"".join(out)


def decode(name: str, data: bytes) -> dict[str, Any]:
    """Values of a message's payload (source data); enums as plain numbers, a tail as a list.

    Raises IcdError: unknown message, wrong length, a count or value that the ICD does not allow.
    """
    message = _message(name)
    form, skip = _FIXED[name], 0 if message.selector is None else 1
    fixed = skip + form.size
    tail = message.fields[-1] if message.fields and message.fields[-1].tail else None
    if len(data) < fixed or (tail is None and len(data) != fixed):
        raise IcdError(f"{name}: {len(data)} bytes, expected {fixed}{' or more' if tail else ''}")
    if skip and data[0] != message.selector:
        raise IcdError(f"{name}: selector {data[0]}, expected {message.selector}")
    values = _unpack(name, _fixed(message), form.unpack_from(data, skip), message.closed)
    if tail is None:
        return values
    one = (_element(tail),)
    fields = RECORDS.get(tail.type, one)
    row = _ROWS[tail.type] if tail.type in RECORDS else _format(one)
    if len(data) != fixed + values[tail.count_field] * row.size:
        raise IcdError(f"{name}: {len(data)} bytes, expected {fixed} + {values[tail.count_field]} x {row.size}")
    rows = [
        _unpack(f"{name}.{tail.name}[{i}]", fields, r, message.closed)
        for i, r in enumerate(row.iter_unpack(data[fixed:]))
    ]
    values[tail.name] = rows if tail.type in RECORDS else [r[tail.name] for r in rows]
    return values
