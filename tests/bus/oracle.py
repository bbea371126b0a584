"""Frames, payloads and a receiver written a second time: struct, the `cobs` and `crc32c` packages and the TOMLs alone.

Nothing here imports the project's code, so that a mistake would have to be made twice.
"""

from __future__ import annotations

import functools
import re
import struct
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import crc32c
from cobs import cobs
from hypothesis import strategies as st

ICD_FOLDER = Path(__file__).resolve().parents[2] / "csrc" / "icd"
HEADER = struct.Struct("<BHHBH")  # then t_us in 6 bytes, and the length


def frame(type_: int, src: int, dst: int, flags: int, seq: int, t_us: int, payload: bytes, version: int = 1) -> bytes:
    """One frame on the wire, both delimiters included."""
    return wrap(body(type_, src, dst, flags, seq, t_us, payload, version))


def body(type_: int, src: int, dst: int, flags: int, seq: int, t_us: int, payload: bytes, version: int = 1) -> bytes:
    head = HEADER.pack(version << 6 | type_, src, dst, flags, seq) + t_us.to_bytes(6, "little") + bytes([len(payload)])
    return head + payload


def wrap(checked: bytes) -> bytes:
    """Adds the CRC and stuffs; `checked` may be anything, so that wrong frames can be made with a right CRC."""
    return b"\0" + cobs.encode(checked + struct.pack("<I", crc32c.crc32c(checked))) + b"\0"


@dataclass
class Receiver:
    """What a whole byte stream holds, read at leisure."""

    results: list[tuple[str, bytes]] = field(default_factory=list)  # ("frame" or "damaged", wire)
    counters: dict[str, int] = field(default_factory=dict)

    def feed(self, stream: bytes) -> None:
        """`stream` is everything that will ever come; a run without its delimiter stays unjudged unless overlong."""
        names = ("rx_bytes", "rx_frames", "crc_errors", "cobs_errors", "length_errors", "version_errors")
        self.counters = dict.fromkeys(names, 0)
        self.counters["rx_bytes"] = len(stream)
        *runs, unfinished = stream.split(b"\0")
        for run in [r for r in runs if r] + ([unfinished] if len(unfinished) > 212 else []):
            kind = self._judge(run)
            self.counters[kind] += 1
            self.results.append(("frame" if kind == "rx_frames" else "damaged", b"\0" + run[:213] + b"\0"))

    def _judge(self, run: bytes) -> str:
        if len(run) > 212:
            return "length_errors"
        try:
            data = cobs.decode(run)
        except cobs.DecodeError:
            return "cobs_errors"
        if len(data) < 19:
            return "length_errors"
        checked, (crc,) = data[:-4], struct.unpack("<I", data[-4:])
        if crc32c.crc32c(checked) != crc:
            return "crc_errors"
        if checked[0] >> 6 != 1:
            return "version_errors"
        return "rx_frames" if checked[14] == len(checked) - 15 else "length_errors"


# ------------------------------------------------------------------ payloads

_SIZES = {"u8": 1, "u16": 2, "u24": 3, "u32": 4, "u48": 6, "u64": 8, "i8": 1, "i16": 2, "i32": 4, "i64": 8}
_BYTES = re.compile(r"bytes\[(\d+)\]$")
_TAIL = re.compile(r"(\w+)\[<=(\d+)\]$")


class Icd:
    """The raw TOML, and payloads packed from it field by field."""

    def __init__(self, file: str) -> None:
        self.raw: dict[str, Any] = tomllib.loads((ICD_FOLDER / file).read_text())
        self.order: Any = self.raw["icd"]["byte_order"]
        self.records = {r["name"]: r["fields"] for r in self.raw.get("record", [])}
        self.enums = {e["name"]: e for e in self.raw.get("enum", [])}
        if "import" in self.raw:
            bus = tomllib.loads((ICD_FOLDER / "board_bus.toml").read_text())
            wanted = self.raw["import"]["board_bus"]["enums"]
            self.enums |= {e["name"]: e for e in bus["enum"] if e["name"] in wanted}
        kinds = ("message", "packet", "command")
        self.messages = {m["name"]: m | {"kind": k} for k in kinds for m in self.raw.get(k, [])}

    def is_command(self, name: str) -> bool:
        m = self.messages[name]
        return m["kind"] == "command" or bool(m.get("command", False))

    def fields(self, name: str) -> list[dict[str, Any]]:
        head = [{"name": "session", "type": "u32"}, {"name": "command_seq", "type": "u32"}]
        m = self.messages[name]
        return (head if m.get("command") else []) + list(m["fields"])

    def selector(self, name: str) -> bytes:
        m = self.messages[name]
        number = m.get("structure", m.get("function"))
        return b"" if number is None else bytes([number])

    def pack(self, name: str, values: dict[str, Any]) -> bytes:
        return self.selector(name) + b"".join(self._pack(f, values[f["name"]]) for f in self.fields(name))

    def _pack(self, f: dict[str, Any], value: Any) -> bytes:
        if tail := _TAIL.match(f["type"]):
            return b"".join(self._pack({"type": tail[1]}, element) for element in value)
        if f["type"] in self.records:
            return b"".join(self._pack(g, value[g["name"]]) for g in self.records[f["type"]])
        if _BYTES.match(f["type"]):
            return bytes(value)
        if f["type"] in ("f32", "f64"):
            return struct.pack(("<" if self.order == "little" else ">") + {"f32": "f", "f64": "d"}[f["type"]], value)
        return int(value).to_bytes(_SIZES[f["type"]], self.order, signed=f["type"][0] == "i")

    def limits(self, f: dict[str, Any]) -> tuple[int, int]:
        """Range of an integer field: its own, else its type's."""
        bits = 8 * _SIZES[f["type"]]
        low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if f["type"][0] == "i" else (0, (1 << bits) - 1)
        return f.get("min", low), f.get("max", high)

    # -------------------------------------------------------------- strategies
    def _value(self, f: dict[str, Any], closed: bool) -> st.SearchStrategy[Any]:
        if f["type"] in self.records:
            return st.fixed_dictionaries({g["name"]: self._value(g, closed) for g in self.records[f["type"]]})
        if fixed := _BYTES.match(f["type"]):
            return st.binary(min_size=int(fixed[1]), max_size=int(fixed[1]))
        if f["type"] in ("f32", "f64"):
            return st.floats(width=32 if f["type"] == "f32" else 64, allow_nan=False)
        low, high = self.limits(f)
        enum = self.enums.get(f.get("enum", ""))
        if closed and enum and not enum.get("open"):
            numbers = sorted(enum["values"].values())
            if enum.get("bits"):
                return st.lists(st.sampled_from(numbers), unique=True).map(sum)
            return st.sampled_from([n for n in numbers if low <= n <= high])
        return st.integers(low, high)

    @functools.cache  # noqa: B019  (two ICDs, for the life of the tests)
    def values(self, name: str) -> st.SearchStrategy[dict[str, Any]]:
        """Every set of values that the ICD allows for a message; a tail is a list, its count is right."""
        closed = self.is_command(name)
        fields = self.fields(name)
        tails = [f for f in fields if _TAIL.match(f["type"])]
        counts = {f["count"] for f in tails}
        parts = {f["name"]: self._value(f, closed) for f in fields if f not in tails and f["name"] not in counts}
        fixed = st.fixed_dictionaries(parts)
        if not tails:
            return fixed
        tail = tails[0]
        match = _TAIL.match(tail["type"])
        assert match
        count = next(f for f in fields if f["name"] == tail["count"])
        element = self._value({"type": match[1], "name": ""}, closed)
        least, most = count.get("min", 0), int(match[2])
        few = st.lists(element, min_size=least, max_size=min(most, max(least, 3)))
        full = element.map(lambda e: [e] * most)
        rows = st.one_of(few, few, full)
        join: Callable[[Any, Any], dict[str, Any]] = lambda a, b: a | {tail["name"]: b, tail["count"]: len(b)}  # noqa: E731
        return st.builds(join, fixed, rows)


BUS = Icd("board_bus.toml")
SPACE = Icd("space_link.toml")
