"""Reading a 32-bit little-endian ELF executable: what goes where, and its symbols. No more than firmware needs."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from hal.errors import ImageError

_HEADER = struct.Struct("<16sHHIIIIIHHHHHH")
_PROGRAM = struct.Struct("<IIIIIIII")
_SECTION = struct.Struct("<IIIIIIIIII")
_SYMBOL = struct.Struct("<IIIBBH")
_LOAD, _SYMTAB = 1, 2
_ARM = 40
MAX_IMAGE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of the file, and the address that it is loaded to."""

    address: int
    data: bytes
    offset: int
    """of `data` in the file"""


@dataclass(frozen=True, slots=True)
class Elf:
    """An executable. symbols: name -> (address, size); a function's address has its Thumb bit set."""

    path: Path
    entry: int
    segments: tuple[Segment, ...]
    symbols: dict[str, tuple[int, int]]

    @property
    def image(self) -> bytes:
        """What is loaded, from the first segment's address on; gaps read as erased flash (0xFF)."""
        start = self.segments[0].address
        flat = bytearray()
        for segment in self.segments:
            flat += b"\xff" * (segment.address - start - len(flat))
            flat += segment.data
        return bytes(flat)

    @property
    def address(self) -> int:
        """Where the image begins."""
        return self.segments[0].address


def read_elf(path: Path) -> Elf:
    """The executable at `path`. Raises `ImageError`: absent, unreadable, or no ARM executable."""
    try:
        return parse_elf(path.read_bytes(), path)
    except OSError as error:
        raise ImageError(f"{path}: cannot read the image: {error.strerror}") from None


def parse_elf(content: bytes, path: Path) -> Elf:
    """The executable in `content`, the bytes of the file at `path`. Raises `ImageError`."""
    try:
        return _parse(path, content)
    except (struct.error, IndexError, ValueError):
        raise ImageError(f"{path}: truncated or damaged, expected an ELF executable for ARM") from None


def _parse(path: Path, raw: bytes) -> Elf:
    ident, kind, machine, _, entry, phoff, shoff, _, _, phsize, phnum, shsize, shnum, _ = _HEADER.unpack_from(raw)
    if ident[:6] != b"\x7fELF\x01\x01" or kind != 2 or machine != _ARM:
        raise ImageError(f"{path}: not an ELF executable for ARM (32 bit, little-endian)")
    segments = []
    for i in range(phnum):
        what, offset, _, physical, size, *_ = _PROGRAM.unpack_from(raw, phoff + i * phsize)
        if what == _LOAD and size:
            if offset + size > len(raw):
                raise IndexError
            segments.append(Segment(physical, raw[offset : offset + size], offset))
    if not segments:
        raise ImageError(f"{path}: nothing in it is loaded, expected an ELF executable for ARM")
    segments.sort(key=lambda s: s.address)
    span = segments[-1].address + len(segments[-1].data) - segments[0].address
    if span > MAX_IMAGE_BYTES:
        raise ImageError(f"{path}: loads {span} bytes, expected 1 to {MAX_IMAGE_BYTES}")
    return Elf(path, entry, tuple(segments), _symbols(raw, shoff, shsize, shnum))


def _symbols(raw: bytes, shoff: int, shsize: int, shnum: int) -> dict[str, tuple[int, int]]:
    sections = [_SECTION.unpack_from(raw, shoff + i * shsize) for i in range(shnum)]
    found = {}
    for _, what, _, _, offset, size, link, *_ in sections:
        if what != _SYMTAB:
            continue
        names = sections[link][4]
        for at in range(offset, offset + size, _SYMBOL.size):
            name, value, extent, _, _, _ = _SYMBOL.unpack_from(raw, at)
            end = raw.index(b"\0", names + name)
            found[raw[names + name : end].decode()] = (value, extent)
    return found
