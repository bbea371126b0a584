"""What lies where in a board's RAM, by the debugging information of its image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile

from hal.elf import read_elf
from hal.errors import ImageError

RAM = 0x2000_0000
_WRAPPERS = ("board.as.node.node.", "board.as.power.power.", "board.as.node.", "board.as.power.", "board.")
_TYPEDEFS = ("DW_TAG_typedef", "DW_TAG_const_type", "DW_TAG_volatile_type")


@dataclass(frozen=True, slots=True)
class Field:
    """A variable, or a member of one: from `at` on, `size` bytes; `path` as in C."""

    path: str
    at: int
    size: int

    @property
    def group(self) -> str:
        """What it is counted under: a part of the board's state, the receive ring, or the rest of the firmware."""
        if self.path != "board" and not self.path.startswith("board."):
            return "ring" if self.path.partition(".")[0] == "ring" else "firmware"
        for wrapper in _WRAPPERS:
            if self.path + "." in _WRAPPERS or self.path == "board.as":
                break
            if self.path.startswith(wrapper):
                part, dot, _ = self.path[len(wrapper) :].partition(".")
                return part.partition("[")[0] if dot or "[" in part else "state"
        return "padding"


@dataclass(frozen=True, slots=True)
class Map:
    """Every byte of RAM that the image uses. `stack` is from `limit` to `top`."""

    fields: tuple[Field, ...]
    limit: int
    top: int

    def field_at(self, address: int) -> Field:
        """The innermost member that holds a byte."""
        found = [f for f in self.fields if f.at <= address < f.at + f.size]
        if not found:
            return Field("stack" if address >= self.limit else "padding", address, 1)
        return min(found, key=lambda f: f.size)

    def groups(self) -> list[str]:
        """The group of each byte from the start of RAM to the top of the stack."""
        named = ["padding"] * (self.limit - RAM) + ["stack"] * (self.top - self.limit)
        for f in sorted(self.fields, key=lambda f: -f.size):
            for i in range(f.at - RAM, f.at - RAM + f.size):
                named[i] = f.group
        return named


def read_map(image: Path, other_kind: str) -> Map:
    """The map of an image. other_kind: member of `board.as` that this kind of board has no use for.

    Raises `ImageError`: absent, or without debugging information.
    """
    elf = read_elf(image)
    with image.open("rb") as file:
        variables = _variables(ELFFile(file), image)
        limit, top = elf.symbols["__stack_limit"][0], elf.symbols["__stack_top"][0]
        fields = [
            f
            for variable in variables
            for f in _members(*variable)
            if RAM <= f.at < limit and not f.path.startswith(f"board.as.{other_kind}")
        ]
    known = {f.at for f in fields}
    for name, (at, size) in elf.symbols.items():
        if RAM <= at < limit and size and at not in known:  # static within a function, or a function in RAM
            fields.append(Field(name.partition(".")[0], at & ~1, size))
    return Map(tuple(fields), limit, top)


def _variables(elf: Any, image: Path) -> list[tuple[str, int, Any]]:
    """Name, address and type of every variable in RAM."""
    if not elf.has_dwarf_info():
        raise ImageError(f"{image}: has no debugging information, expected an image made by `make firmware`")
    found = []
    for unit in elf.get_dwarf_info().iter_CUs():
        for die in unit.get_top_DIE().iter_children():
            where = die.attributes.get("DW_AT_location")
            if die.tag == "DW_TAG_variable" and where is not None and where.value[0] == 3:  # DW_OP_addr
                at = int.from_bytes(bytes(where.value[1:5]), "little")
                source = die.get_DIE_from_attribute("DW_AT_specification") if _is_definition(die) else die
                found.append((_name(source), at, source.get_DIE_from_attribute("DW_AT_type")))
    return found


def _is_definition(die: Any) -> bool:
    return "DW_AT_specification" in die.attributes


def _name(die: Any) -> str:
    return str(die.attributes["DW_AT_name"].value.decode())


def _bare(kind: Any) -> Any:
    while kind.tag in _TYPEDEFS:
        kind = kind.get_DIE_from_attribute("DW_AT_type")
    return kind


def _size(kind: Any) -> int:
    kind = _bare(kind)
    if kind.tag == "DW_TAG_array_type":
        return _count(kind) * _size(kind.get_DIE_from_attribute("DW_AT_type"))
    return int(kind.attributes["DW_AT_byte_size"].value)


def _count(array: Any) -> int:
    count = 1
    for bound in array.iter_children():
        if "DW_AT_count" in bound.attributes:
            count *= int(bound.attributes["DW_AT_count"].value)
        elif "DW_AT_upper_bound" in bound.attributes:
            count *= int(bound.attributes["DW_AT_upper_bound"].value) + 1
    return count


def _members(path: str, at: int, kind: Any) -> Iterator[Field]:
    """A variable and everything in it; arrays of structs by their elements."""
    kind = _bare(kind)
    yield Field(path, at, _size(kind))
    if kind.tag in ("DW_TAG_structure_type", "DW_TAG_union_type"):
        for member in kind.iter_children():
            if member.tag == "DW_TAG_member":
                offset = member.attributes.get("DW_AT_data_member_location")
                where = at + (int(offset.value) if offset is not None else 0)
                yield from _members(f"{path}.{_name(member)}", where, member.get_DIE_from_attribute("DW_AT_type"))
    elif kind.tag == "DW_TAG_array_type":
        element = kind.get_DIE_from_attribute("DW_AT_type")
        if _bare(element).tag == "DW_TAG_structure_type":
            for i in range(_count(kind)):
                yield from _members(f"{path}[{i}]", at + i * _size(element), element)
