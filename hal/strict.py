"""Strict reading of TOML into frozen dataclasses.

A field's range stands at the field: ``strings: Annotated[int, Range(1, 64)]``. Whatever is not exactly right (a missing
file, broken TOML, an unknown or missing key, a wrong type, a value out of range) raises `RigError` with one line that
names the file, the key and what was expected.
"""

from __future__ import annotations

import dataclasses
import math
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from hal.errors import RigError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Range:
    """Inclusive range of a number, and its unit for the message."""

    low: float
    high: float
    unit: str = ""

    def __str__(self) -> str:
        return f"from {self.low:g} to {self.high:g}{' ' + self.unit if self.unit else ''}"


@dataclass(frozen=True, slots=True)
class Choice:
    """A string that must be one of a few."""

    values: tuple[str, ...]

    def __str__(self) -> str:
        return "one of " + ", ".join(self.values)


@dataclass(frozen=True, slots=True)
class Length:
    """Inclusive number of entries of an array."""

    low: int
    high: int

    def __str__(self) -> str:
        return f"{self.low} to {self.high} entries"


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """The parsed TOML file, or `RigError` (missing, unreadable, malformed)."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RigError(f"{path}: no such {what} file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RigError(f"{path}: cannot read the {what} file: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise RigError(f"{path}: malformed TOML: {error}") from None


def build(cls: type[T], table: Any, file: str, where: str = "") -> T:
    """Make the dataclass `cls` from a TOML table; `where` is the dotted path of the table, for messages."""
    if not isinstance(table, Mapping):
        raise RigError(f"{file}: {where or 'file'}: expected a table, got {_shown(table)}")
    hints = typing.get_type_hints(cls, include_extras=True)
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in table:
        if key not in fields:
            known = ", ".join(sorted(fields))
            raise RigError(f"{file}: {_join(where, key)}: unknown key, expected one of {known}")
    values: dict[str, Any] = {}
    for name, f in fields.items():
        if name in table:
            values[name] = _value(hints[name], table[name], file, _join(where, name))
        elif f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise RigError(f"{file}: {_join(where, name)}: missing, expected {_wanted(hints[name])}")
    return cls(**values)


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _split(hint: Any) -> tuple[Any, Any]:
    """(type, constraint) of a possibly annotated, possibly optional hint."""
    limit = None
    if typing.get_origin(hint) is typing.Annotated:
        hint, limit = typing.get_args(hint)[:2]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        inner = [a for a in typing.get_args(hint) if a is not type(None)]
        hint, deeper = _split(inner[0])
        limit = limit or deeper
    return hint, limit


def _wanted(hint: Any) -> str:
    kind, limit = _split(hint)
    if typing.get_origin(kind) is tuple:
        return f"an array{f' of {limit}' if limit else ''}"
    names = {int: "an integer", float: "a number", str: "a string", bool: "true or false"}
    name = names.get(kind, "a table")
    if isinstance(limit, Choice):
        return str(limit)
    return f"{name} {limit}" if limit else name


def _value(hint: Any, value: Any, file: str, where: str) -> Any:
    kind, limit = _split(hint)
    if typing.get_origin(kind) is tuple:
        return _array(kind, limit, hint, value, file, where)
    if dataclasses.is_dataclass(kind):
        return build(typing.cast("type[Any]", kind), value, file, where)
    if kind is dict or typing.get_origin(kind) is dict:
        if not isinstance(value, dict):
            raise RigError(f"{file}: {where}: expected a table, got {_shown(value)}")
        return dict(value)
    good = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value, good = float(value), True
    if not good or (kind is float and not math.isfinite(value)):
        raise RigError(f"{file}: {where}: expected {_wanted(hint)}, got {_shown(value)}")
    if isinstance(limit, Range) and not limit.low <= value <= limit.high:
        raise RigError(f"{file}: {where}: {value:g} is out of range, expected {_wanted(hint)}")
    if isinstance(limit, Choice) and value not in limit.values:
        raise RigError(f"{file}: {where}: {_shown(value)} is not known, expected {limit}")
    return value


def _array(kind: Any, limit: Any, hint: Any, value: Any, file: str, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise RigError(f"{file}: {where}: expected {_wanted(hint)}, got {_shown(value)}")
    if isinstance(limit, Length) and not limit.low <= len(value) <= limit.high:
        raise RigError(f"{file}: {where}: {len(value)} entries, expected {limit}")
    item = typing.get_args(kind)[0]
    return tuple(_value(item, v, file, f"{where}[{i}]") for i, v in enumerate(value))
