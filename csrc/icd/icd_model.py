"""An interface control document as immutable data, and its hash: what the generators print from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

INTEGER_BITS = {
    "u8": 8,
    "u16": 16,
    "u24": 24,
    "u32": 32,
    "u48": 48,
    "u64": 64,
    "i8": 8,
    "i16": 16,
    "i32": 32,
    "i64": 64,
}
TYPE_BYTES = {name: bits // 8 for name, bits in INTEGER_BITS.items()} | {"f32": 4, "f64": 8}

# Sizes of the text in the C table of parameters, the closing zero included.
PARAMETER_NAME_BYTES, PARAMETER_UNIT_BYTES = 24, 8

Number = int | float


class IcdError(Exception):
    """A TOML file that is not an ICD; the message is one line: file, entry, what is wrong, what was expected."""


@dataclass(frozen=True)
class Enum:
    name: str
    values: dict[str, int]
    open: bool = False  # other values are legal on the wire
    bits: bool = False  # a field holds any union of the values
    doc: str = ""
    prefix: str = ""  # of its C constants; the enum's own name unless it was made from a list of entries

    def mask(self) -> int:
        """Every bit that a value of a bit set may hold."""
        union = 0
        for value in self.values.values():
            union |= value
        return union


@dataclass(frozen=True)
class Field:
    name: str
    type: str  # a scalar type, "bytes" or the name of a record
    unit: str = ""
    min: Number | None = None
    max: Number | None = None
    enum: Enum | None = None
    doc: str = ""
    fixed: int = 0  # bytes[N]: N, else 0
    tail: int = 0  # T[<=N]: N, else 0
    count: str = ""  # the field that holds the number of tail elements
    record: Record | None = None
    default: int | None = None  # what an argument of a command is where it is left out

    @property
    def element_bytes(self) -> int:
        """Wire bytes of one value (of one element when this is a tail)."""
        if self.record is not None:
            return self.record.size
        return self.fixed or TYPE_BYTES[self.type]

    @property
    def is_float(self) -> bool:
        return self.type in ("f32", "f64")

    def limits(self) -> tuple[Number, Number]:
        """Least and greatest value that the type itself can carry."""
        if self.is_float:
            return float("-inf"), float("inf")
        bits = INTEGER_BITS[self.type]
        return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if self.type[0] == "i" else (0, (1 << bits) - 1)


@dataclass(frozen=True)
class Record:
    name: str
    fields: tuple[Field, ...]
    doc: str = ""

    @property
    def size(self) -> int:
        return sum(f.element_bytes for f in self.fields)


@dataclass(frozen=True)
class Message:
    """A bus message, a telemetry packet or a telecommand."""

    name: str
    kind: str  # "message", "packet" or "command"
    fields: tuple[Field, ...]
    doc: str = ""
    # board bus
    type: int = 0
    senders: tuple[str, ...] = ()
    command: bool = False
    hashed: bool = True
    # space link
    apid: str = ""
    service: int = 0
    subtype: int = 0
    subtype_enum: str = ""
    selector: int | None = None  # structure id of a housekeeping packet, function id of a command: the first data byte
    period: str = ""

    @property
    def tail(self) -> Field | None:
        return self.fields[-1] if self.fields and self.fields[-1].tail else None

    @property
    def selector_bytes(self) -> int:
        return 0 if self.selector is None else 1

    @property
    def fixed_size(self) -> int:
        return self.selector_bytes + sum(f.element_bytes for f in self.fields if not f.tail)

    @property
    def max_size(self) -> int:
        tail = self.tail
        return self.fixed_size + (tail.tail * tail.element_bytes if tail else 0)

    @property
    def closed(self) -> bool:
        """Commands refuse numbers that their enums do not name; telemetry shows what it got."""
        return self.command or self.kind == "command"


@dataclass(frozen=True)
class Event:
    name: str
    code: int
    severity: str
    args: tuple[str, str]
    doc: str = ""


@dataclass(frozen=True)
class Parameter:
    name: str
    id: int
    unit: str
    min: float
    max: float
    default: float
    doc: str = ""


@dataclass(frozen=True)
class Icd:
    name: str
    version: int
    title: str
    byte_order: str
    max_payload: int
    source: str  # file name, for the "generated from" lines
    header: tuple[Field, ...] = ()
    enums: dict[str, Enum] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)
    messages: tuple[Message, ...] = ()
    events: tuple[Event, ...] = ()
    parameters: tuple[Parameter, ...] = ()

    def canonical(self) -> str:
        """The wire-relevant content as canonical JSON: no titles, no comments, keys sorted, lists in ICD order."""
        return json.dumps(_canonical(self), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)

    def digest(self) -> str:
        return hashlib.sha256(self.canonical().encode("ascii")).hexdigest()

    @property
    def hash(self) -> int:
        """The first 8 bytes of the SHA-256 as a big-endian number: what HELLO and housekeeping carry."""
        return int(self.digest()[:16], 16)


COMMAND_HEAD = (
    Field("session", "u32", doc="bus session of the flight computer"),
    Field("command_seq", "u32", doc="counts the commands of a session"),
)


def _canonical(icd: Icd) -> dict[str, Any]:
    def fields(items: Iterable[Field]) -> list[dict[str, Any]]:
        rows = []
        for f in items:
            row = {"name": f.name, "type": f.type, "unit": f.unit, "min": f.min, "max": f.max, "fixed": f.fixed}
            rows.append(row | {"tail": f.tail, "count": f.count, "enum": f.enum.name if f.enum else ""})
        return rows

    def message(m: Message) -> dict[str, Any]:
        row = {"name": m.name, "kind": m.kind, "fields": fields(m.fields), "type": m.type, "from": m.senders}
        row |= {"command": m.command, "apid": m.apid, "service": m.service, "subtype": m.subtype}
        return row | {"subtype_enum": m.subtype_enum, "selector": m.selector}

    enums = {e.name: {"values": e.values, "open": e.open, "bits": e.bits} for e in icd.enums.values()}
    return {
        "icd": {"name": icd.name, "version": icd.version, "byte_order": icd.byte_order, "max_payload": icd.max_payload},
        "header": fields(icd.header),
        "enums": enums,
        "records": {r.name: fields(r.fields) for r in icd.records.values()},
        "messages": [message(m) for m in icd.messages],
        "events": [[e.name, e.code, e.severity, e.args] for e in icd.events],
        "parameters": [[p.name, p.id, p.unit, p.min, p.max, p.default] for p in icd.parameters],
    }
