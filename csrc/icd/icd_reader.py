"""TOML in, one checked Icd out.

Everything that the generators print comes from here, so every mistake that a TOML can hold is found here. An error is
one line that names the file, the entry and what was expected.
"""

from __future__ import annotations

import math
import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import icd_schema as schema
from icd_model import (
    COMMAND_HEAD,
    INTEGER_BITS,
    PARAMETER_NAME_BYTES,
    PARAMETER_UNIT_BYTES,
    TYPE_BYTES,
    Enum,
    Event,
    Field,
    Icd,
    IcdError,
    Message,
    Parameter,
    Record,
)

_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
_BYTES = re.compile(r"bytes\[(\d+)\]\Z")
_OPTIONAL = schema.OPTIONAL
_TAIL = re.compile(r"([a-z][a-z0-9_]*)\[<=(\d+)\]\Z")


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

    def keys(
        self, where: str, table: Any, allowed: dict[str, Any], optional: set[str] = schema.OPTIONAL
    ) -> dict[str, Any]:
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
        if name in schema.RESERVED:
            raise self.fail(where, f"name '{name}' is a word of C or Python")
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
        t = self.keys(where, table, schema.ENUM)
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
        table = self.keys(f"record {name}", self.raw_records[name], schema.RECORD)
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
        t = self.keys(where, table, schema.FIELD, schema.OPTIONAL | {"default"})
        text = t["type"]
        item = Field(
            t["name"],
            text,
            t.get("unit", ""),
            t.get("min"),
            t.get("max"),
            doc=t.get("doc", ""),
            count=t.get("count", ""),
            default=t.get("default"),
        )
        if match := _BYTES.match(text):
            item = replace(item, type="bytes", fixed=int(match[1]))
            if item.fixed == 0:
                raise self.fail(where, "bytes[0] is empty")
        elif match := _TAIL.match(text):
            item = replace(item, type=match[1], tail=int(match[2]))
            if item.tail == 0:
                raise self.fail(where, f"{text} is always empty")
        if bool(item.count) != bool(item.tail):
            rule = "a variable tail T[<=N] names its count field, and nothing else does"
            raise self.fail(where, f"type {text} with count = {item.count!r}: {rule}")
        if item.type != "bytes" and item.type not in TYPE_BYTES:
            item = replace(item, record=self.record(where, item.type))
        if "enum" in t:
            item = replace(item, enum=self.enum_of(where, item, t["enum"]))
        self.range(where, item)
        self.default(where, item)
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
        if any(isinstance(bound, float) and not math.isfinite(bound) for bound in (item.min, item.max)):
            raise self.fail(where, f"range {item.min}..{item.max} is not finite")
        low = least if item.min is None else item.min
        high = greatest if item.max is None else item.max
        if not item.is_float and (type(low) is not int or type(high) is not int):
            raise self.fail(where, f"range {low}..{high} of the integer type {item.type} is not whole numbers")
        if low > high:
            raise self.fail(where, f"min {low} is greater than max {high}")
        if low < least or high > greatest:
            raise self.fail(where, f"range {low}..{high} does not fit {item.type} ({least}..{greatest})")

    def default(self, where: str, item: Field) -> None:
        if item.default is None:
            return
        if item.type not in INTEGER_BITS or item.tail or not where.startswith("command "):
            raise self.fail(where, "default is for an integer argument of a command")
        low, high = (b if b is not None else to for b, to in zip((item.min, item.max), item.limits(), strict=True))
        if not low <= item.default <= high:
            raise self.fail(where, f"default {item.default} is outside {low}..{high}")

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
            t = self.keys(where, table, schema.EVENT)
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
            t = self.keys(where, table, schema.PARAMETER, {"doc"})
            for other in out:
                if other.id == t["id"]:
                    raise self.fail(where, f"id {t['id']} is taken by parameter {other.name}")
            if not 0 < t["id"] < 1 << 16:
                raise self.fail(where, f"id {t['id']}, expected 1..65535")
            if not all(math.isfinite(t[key]) for key in ("min", "max", "default")):
                raise self.fail(where, "min, max and default must be finite")
            if len(name) >= PARAMETER_NAME_BYTES or len(t["unit"]) >= PARAMETER_UNIT_BYTES:
                limits = f"{PARAMETER_NAME_BYTES - 1} and {PARAMETER_UNIT_BYTES - 1}"
                raise self.fail(where, f"name or unit is longer than {limits} characters")
            if t["min"] > t["max"]:
                raise self.fail(where, f"min {t['min']} is greater than max {t['max']}")
            if not t["min"] <= t["default"] <= t["max"]:
                raise self.fail(where, f"default {t['default']} is outside {t['min']}..{t['max']}")
            low, high, default = float(t["min"]), float(t["max"]), float(t["default"])
            out.append(Parameter(name, t["id"], t["unit"], low, high, default, t.get("doc", "")))
        return tuple(out)

    def message(self, kind: str, where: str, table: dict[str, Any]) -> Message:
        if kind == "message":
            t = self.keys(where, table, schema.MESSAGE)
            if not 0 < t["type"] < 64:
                raise self.fail(where, f"type {t['type']}, expected 1..63")
            if not t["from"] or any(s not in ("flight", "bench", "board") for s in t["from"]):
                raise self.fail(where, f"from {t['from']!r}, expected some of flight, bench, board")
            command = t.get("command", False)
            fields = self.fields(where, t["fields"], COMMAND_HEAD if command else ())
            senders = tuple(t["from"])
            return Message(
                t["name"], kind, fields, t.get("doc", ""), t["type"], senders, command, t.get("hashed", True)
            )
        t = self.keys(where, table, schema.PACKET if kind == "packet" else schema.COMMAND)
        apid, selector = t.get("apid", "flight"), t.get("structure", t.get("function"))
        apids = self.enums["apid"].values if "apid" in self.enums else {}
        if apid not in apids:
            raise self.fail(where, f"unknown apid '{apid}', expected one of {', '.join(apids) or 'an enum apid'}")
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
        return Message(
            t["name"], kind, fields, t.get("doc", ""), selector=selector, period=t.get("period", ""), **common
        )

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
                    raise self.fail(
                        where, f"is up to {item.max_size} bytes long, more than max_payload = {max_payload}"
                    )
                names.add(name)
                taken[key] = name
                out.append(item)
        return tuple(out)

    def read(self, document: dict[str, Any]) -> Icd:
        for key in document:
            if key not in schema.TOP:
                raise self.fail(key, f"unknown table, expected one of {', '.join(sorted(schema.TOP))}")
        head = self.keys("icd", document.get("icd"), schema.ICD)
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
        event_enum = "board_event" if head["name"] == "board-bus" else "event"
        self.listed(event_enum, "event", {e.name: e.code for e in events})
        self.listed("parameter", "parameter", {p.name: p.id for p in parameters})
        self.raw_records = {name: table for _, name, table in self.named("record", document.get("record", []))}
        for name in self.raw_records:
            self.record(f"record {name}", name)
        frame = self.keys("header", document.get("header", {"fields": []}), {"fields": list})
        header = self.fields("header", frame["fields"])
        messages = self.messages(document, head["max_payload"])
        common = (head["name"], head["version"], head["title"], head["byte_order"], head["max_payload"])
        return Icd(*common, self.path.name, header, self.enums, self.records, messages, events, parameters)

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
