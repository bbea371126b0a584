"""The boards of a rig: `[boards.power]`, `[boards.nodes]` (the default of every node) and `[boards.nodeI]`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hal.errors import LinkError, RigError
from hal.flash_tools import FlashUrl, parse_flash
from hal.link import BACKENDS, Url, parse_hardware_id, parse_url
from hal.strict import build

POWER_BOARD = "power"
NO_IMAGE = "none"


@dataclass(frozen=True, slots=True)
class BoardSpec:
    """One board: `role` is "power" or "nodeI"; `index` is 0 for the power board, 1 + I for node I."""

    role: str
    index: int
    link: str
    hardware_id: bytes = b""
    """12 bytes that its HELLO has to name; b"": any, for a board on a port"""
    image: Path | None = None
    """what it runs; None: the image of its kind that ships"""
    flash: FlashUrl | None = None
    """how it gets its image"""
    no_image: bool = False
    """it is a program of a host, which has no image to prove"""

    @property
    def backend(self) -> str:
        """First part of the link's URL, a key of `hal.link.BACKENDS`."""
        return self.link.partition(":")[0]

    @property
    def made(self) -> bool:
        """The world makes this board; it is not one that is plugged in."""
        return BACKENDS[self.backend].made


@dataclass(frozen=True, slots=True)
class _Entry:
    """One table of `[boards]` as it is written."""

    link: str
    hardware_id: str | None = None
    image: str | None = None
    flash: str | None = None


def read_boards(table: Mapping[str, Any], nodes: int, path: Path) -> tuple[BoardSpec, ...]:
    """`power`, then every node, in order. Raises `RigError`."""
    file = str(path)
    entries: dict[str, _Entry] = {}
    for key, value in table.items():
        match = re.fullmatch(r"node(0|[1-9]\d*)", key)
        if key not in (POWER_BOARD, "nodes") and not match:
            raise RigError(f"{file}: boards.{key}: unknown key, expected power, nodes, or node0 .. node{nodes - 1}")
        if match and int(match[1]) >= nodes:
            raise RigError(f"{file}: boards.{key}: out of range, the satellite has node0 .. node{nodes - 1}")
        entries[key] = build(_Entry, value, file, f"boards.{key}")
        for own in ("hardware_id", "flash"):
            if key == "nodes" and getattr(entries[key], own) is not None:
                raise RigError(f"{file}: boards.nodes.{own}: is of one board, expected it in a table [boards.nodeI]")
    if POWER_BOARD not in entries:
        raise RigError(f"{file}: boards.power: missing, expected a table with the power board's link")
    boards = [_spec(POWER_BOARD, 0, entries[POWER_BOARD], path)]
    for i in range(nodes):
        entry = entries.get(f"node{i}", entries.get("nodes"))
        if entry is None:
            raise RigError(f"{file}: boards.node{i}: missing, expected a table of its own or a default [boards.nodes]")
        boards.append(_spec(f"node{i}", 1 + i, entry, path))
    _check_unique(boards, file)
    return tuple(boards)


def _spec(role: str, index: int, entry: _Entry, path: Path) -> BoardSpec:
    where = f"{path}: boards.{role}"
    try:
        url = parse_url(entry.link)
    except LinkError as error:
        raise RigError(f"{where}.link: {error}") from None
    back_end = BACKENDS[url.scheme]
    for key in ("hardware_id", "flash"):
        if getattr(entry, key) is not None and back_end.made:
            raise RigError(f"{where}.{key}: the world makes a board on {entry.link}, expected none")
    if entry.image is not None and not back_end.image:
        raise RigError(f"{where}.image: a board on {entry.link} runs no image, expected none")
    no_image = entry.image == NO_IMAGE
    return BoardSpec(
        role,
        index,
        entry.link,
        hardware_id=_hardware_id(entry, url, where),
        image=path.parent / entry.image if entry.image is not None and not no_image else None,
        flash=_flash(entry, where),
        no_image=no_image,
    )


def _hardware_id(entry: _Entry, url: Url, where: str) -> bytes:
    """That of the entry, or of a link that finds the board by it."""
    try:
        named = parse_hardware_id(entry.hardware_id) if entry.hardware_id is not None else b""
        found_by = parse_hardware_id(url.target) if url.scheme == "hardware" else b""
    except LinkError as error:
        raise RigError(f"{where}.hardware_id: {error}") from None
    if named and found_by and named != found_by:
        raise RigError(f"{where}.hardware_id: {named.hex()} is not that of the link, expected one of the two")
    return named or found_by


def _flash(entry: _Entry, where: str) -> FlashUrl | None:
    try:
        return parse_flash(entry.flash) if entry.flash is not None else None
    except LinkError as error:
        raise RigError(f"{where}.flash: {error}") from None


def _check_unique(boards: list[BoardSpec], file: str) -> None:
    """One port, and one hardware id, for each board."""
    ports = [b.link.partition("?")[0] for b in boards if not b.made]
    for port in ports:
        if ports.count(port) > 1:
            raise RigError(f"{file}: boards: two boards share the link '{port}', expected a port each")
    ids = [b.hardware_id for b in boards if b.hardware_id]
    for one in ids:
        if ids.count(one) > 1:
            raise RigError(f"{file}: boards: two boards have the hardware id {one.hex()}, expected one each")
