"""The firmware that this hal expects of a board: the hash of its sources, and image files with a header of ours.

Header, little-endian, 0x200 bytes behind the image's base: magic "DWNL", length of the image in bytes, CRC-32C over
the image without these four bytes, version, first 8 bytes of the firmware hash, kind of board, flavour, 0.
"""

from __future__ import annotations

import functools
import struct
from dataclasses import dataclass
from pathlib import Path

from hal.errors import ImageError
from hal.icd import BoardKind

HEADER_AT = 0x200
HEADER = struct.Struct("<4sIII8sBBH")
MAGIC = b"DWNL"
CRC_AT = HEADER_AT + 8
FLAVOURS = ("bench", "flight")
FLASH_BASE = 0x0800_0000
MAX_IMAGE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Image:
    """An image that a board can run: `data` from address `base` on, and what its header says."""

    path: Path
    base: int
    data: bytes
    crc: int
    version: int
    firmware_hash: bytes
    kind: BoardKind
    flavour: str


@functools.cache
def firmware_hash() -> bytes:
    """First 8 bytes of the hash over the sources of a board's firmware (csrc/ffi/sources.py) that this hal is of."""
    from hal._native import ffi, lib

    out = ffi.new("uint8_t[8]")
    lib.world_firmware_hash(out)
    return bytes(ffi.buffer(out))


def crc32c(data: bytes) -> int:
    """CRC-32C as on the board bus."""
    from hal._native import lib

    return int(lib.bus_crc32c(0, data, len(data)))


def image_crc(data: bytes) -> int:
    """CRC of an image: over all of it but the four bytes that hold the CRC."""
    return crc32c(data[:CRC_AT] + data[CRC_AT + 4 :])


def read_image(path: Path) -> Image:
    """An ELF file, or a flat .bin that belongs at the start of flash. Raises `ImageError`: absent, not an image of
    ours, or damaged."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ImageError(f"{path}: no such image, expected it from `make firmware`") from None
    except OSError as error:
        raise ImageError(f"{path}: cannot read the image: {error.strerror}") from None
    base, memory = _from_elf(content, path) if content[:4] == b"\x7fELF" else (FLASH_BASE, content)
    if len(memory) < HEADER_AT + HEADER.size or memory[HEADER_AT : HEADER_AT + 4] != MAGIC:
        raise ImageError(f"{path}: has no header at 0x{HEADER_AT:x}, expected an image made by `make firmware`")
    _, length, crc, version, firmware, kind, flavour, _ = HEADER.unpack_from(memory, HEADER_AT)
    if not HEADER_AT + HEADER.size <= length <= len(memory):
        raise ImageError(f"{path}: is cut: its header says {length} bytes, the file holds {len(memory)}")
    data = memory[:length]
    if image_crc(data) != crc:
        raise ImageError(f"{path}: is damaged: its CRC is {image_crc(data):08x}, its header says {crc:08x}")
    if kind not in set(BoardKind) or flavour >= len(FLAVOURS):
        raise ImageError(
            f"{path}: its header names kind {kind} and flavour {flavour}, which this version does not know"
        )
    return Image(path, base, data, crc, version, firmware, BoardKind(kind), FLAVOURS[flavour])


def _from_elf(content: bytes, path: Path) -> tuple[int, bytes]:
    """(base, bytes) of what an ELF file loads, at its load addresses; gaps are as erased flash."""
    try:
        if content[4:6] != b"\x01\x01":
            raise ImageError(f"{path}: is an ELF file of another kind of machine, expected 32 bit little-endian (ARM)")
        offset, size, count = struct.unpack_from("<I", content, 28)[0], *struct.unpack_from("<HH", content, 42)
        rows = [struct.unpack_from("<8I", content, offset + i * size) for i in range(count)]
    except struct.error:
        raise ImageError(f"{path}: is not a whole ELF file") from None
    # type, offset, vaddr, paddr, filesz, ...: PT_LOAD with something in the file
    loads = [(row[3], content[row[1] : row[1] + row[4]]) for row in rows if row[0] == 1 and row[4]]
    base = min((at for at, _ in loads), default=0)
    end = max((at + len(part) for at, part in loads), default=0)
    if not 0 < end - base <= MAX_IMAGE_BYTES:
        raise ImageError(f"{path}: loads {end - base} bytes, expected 1 to {MAX_IMAGE_BYTES}")
    memory = bytearray(b"\xff" * (end - base))
    for at, part in loads:
        memory[at - base : at - base + len(part)] = part
    return base, bytes(memory)
