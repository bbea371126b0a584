"""The interface control documents as checked data: TOML in, one immutable Icd out.

Everything that the generators print comes from here, so every mistake that a TOML can hold is found here. An error is
one line that names the file, the entry and what was expected.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

INTEGER_BITS = {"u8": 8, "u16": 16, "u24": 24, "u32": 32, "u48": 48, "u64": 64, "i8": 8, "i16": 16, "i32": 32, "i64": 64}
TYPE_BYTES = {name: bits // 8 for name, bits in INTEGER_BITS.items()} | {"f32": 4, "f64": 8}

_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
_BYTES = re.compile(r"bytes\[(\d+)\]\Z")
_TAIL = re.compile(r"([a-z][a-z0-9_]*)\[<=(\d+)\]\Z")

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


# ------------------------------------------------------------------ reading

_TOP = {"icd", "import", "header", "enum", "record", "message", "packet", "command", "event", "parameter"}
_ICD = {"name": str, "version": int, "byte_order": str, "title": str, "max_payload": int}
_ENUM = {"name": str, "values": dict, "open": bool, "bits": bool, "doc": str}
_FIELD = {"name": str, "type": str, "unit": str, "min": (int, float), "max": (int, float), "enum": str, "doc": str, "count": str}
_RECORD = {"name": str, "fields": list, "doc": str}
_MESSAGE = {"name": str, "type": int, "from": list, "command": bool, "hashed": bool, "fields": list, "doc": str}
_PACKET = {"name": str, "apid": str, "service": int, "subtype": (int, str), "structure": int, "period": str, "fields": list, "doc": str}
_COMMAND = {"name": str, "apid": str, "service": int, "subtype": int, "function": int, "fields": list, "doc": str}
_EVENT = {"name": str, "code": int, "severity": str, "args": list, "doc": str}
_NUMBER = (int, float)
_PARAMETER = {"name": str, "id": int, "unit": str, "min": _NUMBER, "max": _NUMBER, "default": _NUMBER, "doc": str}
_OPTIONAL = {"open", "bits", "doc", "unit", "min", "max", "enum", "count", "command", "hashed", "apid", "structure", "function", "period"}


class _Reader:
    """Turns one parsed TOML into an Icd; every check raises IcdError with file and entry."""

    def __init__(self, path: Path, imported: Icd | None) -> None:
        self.path = path
        self.imported = imported
        self.enums: dict[str, Enum] = {}
        self.records: dict[str, Record] = {}
        self.raw_records: dict[str, dict[str, Any]] = {}
        self.open_records: list[str] = []
        self.parameter_names: set[str] = set()

    def fail(self, where: str, what: str) -> IcdError:
        return IcdError(f"{self.path.name}: {where}: {what}")

    def keys(self, where: str, table: Any, allowed: dict[str, Any], optional: set[str] = _OPTIONAL) -> dict[str, Any]:
        """Check that `table` has the allowed keys with the right types and all that are not optional."""
        if not isinstance(table, dict):
            raise self.fail(where, f"expected a table, got {table!r}")
        for key, value in table.items():
            if key not in allowed:
                raise self.fail(where, f"unknown key '{key}', expected one of {', '.join(sorted(allowed))}")
            kinds = allowed[key] if isinstance(allowed[key], tuple) else (allowed[key],)
            if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
                raise self.fail(where, f"'{key}' is {value!r}, expected {' or '.join(k.__name__ for k in kinds)}")
        for key in allowed:
            if key not in table and key not in optional:
                raise self.fail(where, f"key '{key}' is missing")
        return table

    def name(self, where: str, table: Any) -> str:
        name = table.get("name") if isinstance(table, dict) else None
        if not isinstance(name, str) or not _NAME.match(name):
            raise self.fail(where, f"name {name!r}, expected lower case letters, digits and underscores")
        return name

    def named(self, kind: str, tables: Any) -> list[tuple[str, str, dict[str, Any]]]:
        """(place, name, table) of every [[kind]] entry; names are unique within the kind."""
        if not isinstance(tables, list):
            raise self.fail(kind, f"expected [[{kind}]] entries")
        seen: set[str] = set()
        out = []
        for i, table in enumerate(tables):
            name = self.name(f"{kind} number {i + 1}", table)
            if name in seen:
                raise self.fail(f"{kind} {name}", "defined twice")
            seen.add(name)
            out.append((f"{kind} {name}", name, table))
        return out

    # -------------------------------------------------------------- entries
    def enum(self, where: str, table: dict[str, Any]) -> Enum:
        t = self.keys(where, table, _ENUM)
        owner: dict[int, str] = {}
        for name, value in t["values"].items():
            if not _NAME.match(name) or type(value) is not int or not 0 <= value < 1 << 32:
                raise self.fail(where, f"value {name} = {value!r}, expected a lower case name and a number below 2^32")
            if value in owner:
                raise self.fail(where, f"{name} and {owner[value]} are both {value}")
            owner[value] = name
        if not owner:
            raise self.fail(where, "has no values")
        return Enum(t["name"], dict(t["values"]), t.get("open", False), t.get("bits", False), t.get("doc", ""))

    def record(self, where: str, name: str) -> Record:
        if name in self.records:
            return self.records[name]
        if name not in self.raw_records:
            known = ", ".join([*TYPE_BYTES, "bytes[N]", "T[<=N]"])
            raise self.fail(where, f"unknown type '{name}', expected {known} or a record")
        if name in self.open_records:
            raise self.fail(f"record {name}", "contains itself")
        self.open_records.append(name)
        table = self.keys(f"record {name}", self.raw_records[name], _RECORD)
        fields = self.fields(f"record {name}", table["fields"])
        self.open_records.pop()
        if not fields or any(f.tail for f in fields):
            raise self.fail(f"record {name}", "expected at least one field and none of variable length")
        self.records[name] = Record(name, fields, table.get("doc", ""))
        return self.records[name]

    def fields(self, where: str, tables: list[Any], head: tuple[Field, ...] = ()) -> tuple[Field, ...]:
        out = list(head)
        for i, table in enumerate(tables):
            name = self.name(f"{where}: field number {i + 1}", table)
            place = f"{where}: field {name}"
            if any(f.name == name for f in out):
                raise self.fail(place, "defined twice")
            item = self.field(place, table)
            if item.tail:
                self.tail(place, item, out, last=i == len(tables) - 1)
            out.append(item)
        return tuple(out)

    def field(self, where: str, table: Any) -> Field:
        t = self.keys(where, table, _FIELD)
        text = t["type"]
        item = Field(t["name"], text, t.get("unit", ""), t.get("min"), t.get("max"), doc=t.get("doc", ""), count=t.get("count", ""))
        if match := _BYTES.match(text):
            item = replace(item, type="bytes", fixed=int(match[1]))
            if item.fixed == 0:
                raise self.fail(where, "bytes[0] is empty")
        elif match := _TAIL.match(text):
            item = replace(item, type=match[1], tail=int(match[2]))
            if item.tail == 0:
                raise self.fail(where, f"{text} is always empty")
        if bool(item.count) != bool(item.tail):
            raise self.fail(where, f"type {text} with count = {item.count!r}: a variable tail T[<=N] names its count field, nothing else does")
        if item.type != "bytes" and item.type not in TYPE_BYTES:
            item = replace(item, record=self.record(where, item.type))
        if "enum" in t:
            item = replace(item, enum=self.enum_of(where, item, t["enum"]))
        self.range(where, item)
        return item

    def enum_of(self, where: str, item: Field, name: str) -> Enum:
        if name not in self.enums:
            raise self.fail(where, f"unknown enum '{name}', expected one of {', '.join(sorted(self.enums))}")
        if item.type not in INTEGER_BITS or item.type[0] != "u":
            raise self.fail(where, f"type {item.type} with enum {name}, expected an unsigned integer")
        enum = self.enums[name]
        top = max(enum.values.values())
        if top > item.limits()[1]:
            raise self.fail(where, f"{item.type} cannot hold {top}, the largest value of enum {name}")
        return enum

    def range(self, where: str, item: Field) -> None:
        if item.min is None and item.max is None:
            return
        if item.type == "bytes" or item.record is not None:
            raise self.fail(where, f"min and max need a number, not {item.type}")
        least, greatest = item.limits()
        low = least if item.min is None else item.min
        high = greatest if item.max is None else item.max
        if not item.is_float and (type(low) is not int or type(high) is not int):
            raise self.fail(where, f"range {low}..{high} of the integer type {item.type} is not whole numbers")
        if low > high:
            raise self.fail(where, f"min {low} is greater than max {high}")
        if low < least or high > greatest:
            raise self.fail(where, f"range {low}..{high} does not fit {item.type} ({least}..{greatest})")

    def tail(self, where: str, item: Field, before: list[Field], last: bool) -> None:
        if not last:
            raise self.fail(where, "a variable tail must be the last field")
        counts = [f for f in before if f.name == item.count]
        if not counts or counts[0].type not in ("u8", "u16"):
            raise self.fail(where, f"count '{item.count}', expected the name of an earlier u8 or u16 field")
        if counts[0].max != item.tail:
            raise self.fail(where, f"holds at most {item.tail}, but its count field has max = {counts[0].max}")

    # -------------------------------------------------------------- the document
    def import_from(self, table: Any) -> tuple[Event, ...]:
        if not isinstance(table, dict) or set(table) != {"board_bus"}:
            raise self.fail("import", "expected [import.board_bus]")
        t = self.keys("import board_bus", table["board_bus"], {"enums": list, "events": bool}, set())
        if self.imported is None:
            raise self.fail("import board_bus", "there is no board-bus ICD to import from")
        for name in t["enums"]:
            if name not in self.imported.enums:
                raise self.fail("import board_bus", f"the board bus has no enum '{name}'")
            self.enums[name] = self.imported.enums[name]
        return self.imported.events if t["events"] else ()

    def events(self, tables: Any, imported: tuple[Event, ...]) -> tuple[Event, ...]:
        out = list(imported)
        severities = self.enums["severity"].values if "severity" in self.enums else {}
        for where, name, table in self.named("event", tables):
            t = self.keys(where, table, _EVENT)
            if any(e.name == name for e in out):
                raise self.fail(where, "defined twice")
            if not 0 < t["code"] < 1 << 16:
                raise self.fail(where, f"code {t['code']}, expected 1..65535")
            for other in out:
                if other.code == t["code"]:
                    raise self.fail(where, f"code {t['code']} is taken by event {other.name}")
            if t["severity"] not in severities:
                raise self.fail(where, f"unknown severity '{t['severity']}', expected one of {', '.join(severities)}")
            args = t["args"]
            if len(args) != 2 or not all(isinstance(a, str) and _NAME.match(a) for a in args):
                raise self.fail(where, f"args {args!r}, expected the names of two arguments")
            out.append(Event(name, t["code"], t["severity"], (args[0], args[1]), t.get("doc", "")))
        return tuple(out)

    def parameters(self, tables: Any) -> tuple[Parameter, ...]:
        out: list[Parameter] = []
        for where, name, table in self.named("parameter", tables):
            t = self.keys(where, table, _PARAMETER, {"doc"})
            for other in out:
                if other.id == t["id"]:
                    raise self.fail(where, f"id {t['id']} is taken by parameter {other.name}")
            if not 0 < t["id"] < 1 << 16:
                raise self.fail(where, f"id {t['id']}, expected 1..65535")
            if t["min"] > t["max"]:
                raise self.fail(where, f"min {t['min']} is greater than max {t['max']}")
            if not t["min"] <= t["default"] <= t["max"]:
                raise self.fail(where, f"default {t['default']} is outside {t['min']}..{t['max']}")
            low, high, default = float(t["min"]), float(t["max"]), float(t["default"])
            out.append(Parameter(name, t["id"], t["unit"], low, high, default, t.get("doc", "")))
        return tuple(out)

    def message(self, kind: str, where: str, table: dict[str, Any]) -> Message:
        if kind == "message":
            t = self.keys(where, table, _MESSAGE)
            if not 0 < t["type"] < 64:
                raise self.fail(where, f"type {t['type']}, expected 1..63")
            if not t["from"] or any(s not in ("flight", "bench", "board") for s in t["from"]):
                raise self.fail(where, f"from {t['from']!r}, expected some of flight, bench, board")
            command = t.get("command", False)
            fields = self.fields(where, t["fields"], COMMAND_HEAD if command else ())
            senders = tuple(t["from"])
            return Message(t["name"], kind, fields, t.get("doc", ""), t["type"], senders, command, t.get("hashed", True))
        t = self.keys(where, table, _PACKET if kind == "packet" else _COMMAND)
        apid, selector = t.get("apid", "flight"), t.get("structure", t.get("function"))
        if apid not in self.enums["apid"].values:
            raise self.fail(where, f"unknown apid '{apid}', expected one of {', '.join(self.enums['apid'].values)}")
        if selector is not None and not 0 < selector < 256:
            raise self.fail(where, f"structure or function {selector}, expected 1..255")
        if t.get("period", "") and t["period"] not in self.parameter_names:
            raise self.fail(where, f"unknown period parameter '{t['period']}'")
        subtype, subtype_enum = (t["subtype"], "") if isinstance(t["subtype"], int) else (0, t["subtype"])
        if subtype_enum and subtype_enum not in self.enums:
            raise self.fail(where, f"unknown enum '{subtype_enum}' as subtype")
        if not 0 < t["service"] < 256 or not (bool(subtype_enum) or 0 < subtype < 256):
            raise self.fail(where, f"service {t['service']}, subtype {t['subtype']}: expected 1..255")
        fields = self.fields(where, t["fields"])
        common = {"apid": apid, "service": t["service"], "subtype": subtype, "subtype_enum": subtype_enum}
        return Message(t["name"], kind, fields, t.get("doc", ""), selector=selector, period=t.get("period", ""), **common)

    def messages(self, document: dict[str, Any], max_payload: int) -> tuple[Message, ...]:
        out: list[Message] = []
        taken: dict[tuple[Any, ...], str] = {}
        names: set[str] = set()
        for kind in ("message", "packet", "command"):
            for where, name, table in self.named(kind, document.get(kind, [])):
                item = self.message(kind, where, table)
                if name in names:
                    raise self.fail(where, "defined twice")
                key = (kind, item.type, item.apid, item.service, item.subtype, item.subtype_enum, item.selector)
                if key in taken:
                    raise self.fail(where, f"has the same type numbers as {kind} {taken[key]}")
                if item.max_size > max_payload:
                    raise self.fail(where, f"is up to {item.max_size} bytes long, more than max_payload = {max_payload}")
                names.add(name)
                taken[key] = name
                out.append(item)
        return tuple(out)

    def read(self, document: dict[str, Any]) -> Icd:
        for key in document:
            if key not in _TOP:
                raise self.fail(key, f"unknown table, expected one of {', '.join(sorted(_TOP))}")
        head = self.keys("icd", document.get("icd"), _ICD)
        if head["byte_order"] not in ("little", "big"):
            raise self.fail("icd", f"byte_order {head['byte_order']!r}, expected 'little' or 'big'")
        if not 0 < head["max_payload"] < 1 << 16:
            raise self.fail("icd", f"max_payload {head['max_payload']}, expected 1..65535")
        imported = self.import_from(document["import"]) if "import" in document else ()
        for where, name, table in self.named("enum", document.get("enum", [])):
            if name in self.enums:
                raise self.fail(where, "defined twice")
            self.enums[name] = self.enum(where, table)
        parameters = self.parameters(document.get("parameter", []))
        self.parameter_names = {p.name for p in parameters}
        events = self.events(document.get("event", []), imported)
        self.listed("board_event" if head["name"] == "board-bus" else "event", "event", {e.name: e.code for e in events})
        self.listed("parameter", "parameter", {p.name: p.id for p in parameters})
        self.raw_records = {name: table for _, name, table in self.named("record", document.get("record", []))}
        for name in self.raw_records:
            self.record(f"record {name}", name)
        header = self.fields("header", self.keys("header", document["header"], {"fields": list})["fields"]) if "header" in document else ()
        messages = self.messages(document, head["max_payload"])
        return Icd(head["name"], head["version"], head["title"], head["byte_order"], head["max_payload"], self.path.name,
                   header, self.enums, self.records, messages, events, parameters)

    def listed(self, name: str, prefix: str, values: dict[str, int]) -> None:
        """Make the enum that a list of [[event]] or [[parameter]] entries is."""
        if name in self.enums:
            raise self.fail(f"enum {name}", f"is made from the [[{prefix}]] entries, so its name is taken")
        if values:
            self.enums[name] = Enum(name, values, open=True, prefix=prefix)


def load(path: Path, imported: Icd | None = None) -> Icd:
    """Read and check one ICD. `imported` is the board bus for an ICD that imports from it.

    Raises IcdError with one line that names file and entry.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise IcdError(f"{path.name}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise IcdError(f"{path.name}: not TOML: {error}") from error
    return _Reader(path, imported).read(document)
