"""The firmware that this hal expects of a board: the hash of its sources, and image files with a header of ours.

Header, little-endian, 0x200 bytes behind the image's base: magic "DWNL", length of the image in bytes, CRC-32C over
the image without these four bytes, version, first 8 bytes of the firmware hash, kind of board, flavour, 0.
"""

from __future__ import annotations

import functools
import struct
from dataclasses import dataclass
from pathlib import Path

from hal.elf import parse_elf, read_elf
from hal.errors import ImageError
from hal.icd import BoardKind

HEADER_AT = 0x200
HEADER = struct.Struct("<4sIII8sBBH")
MAGIC = b"DWNL"
CRC_AT = HEADER_AT + 8
FLAVOURS = ("bench", "flight")
FLASH_BASE = 0x0800_0000
FACTORY_AT = 0x2_0000
"""Where an image lies in a file for a factory, which begins with a boot loader (docs/update.md)."""


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
    """An ELF file, or a flat .bin that belongs at the start of flash; in front of the image there may be a boot loader
    (what a factory writes): then `data` is all of it. Raises `ImageError`: absent, not an image of ours, or damaged."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ImageError(f"{path}: no such image, expected it from `make firmware`") from None
    except OSError as error:
        raise ImageError(f"{path}: cannot read the image: {error.strerror}") from None
    base, memory = FLASH_BASE, content
    if content[:4] == b"\x7fELF":
        elf = parse_elf(content, path)
        base, memory = elf.address, elf.image
    begin = next((at for at in (0, FACTORY_AT) if memory[at + HEADER_AT : at + HEADER_AT + 4] == MAGIC), None)
    if begin is None or len(memory) < begin + HEADER_AT + HEADER.size:
        raise ImageError(f"{path}: has no header at 0x{HEADER_AT:x}, expected an image made by `make firmware`")
    _, length, crc, version, firmware, kind, flavour, _ = HEADER.unpack_from(memory, begin + HEADER_AT)
    if not HEADER_AT + HEADER.size <= length <= len(memory) - begin:
        raise ImageError(f"{path}: is cut: its header says {length} bytes, the file holds {len(memory) - begin}")
    data = memory[begin : begin + length]
    if image_crc(data) != crc:
        raise ImageError(f"{path}: is damaged: its CRC is {image_crc(data):08x}, its header says {crc:08x}")
    if kind not in set(BoardKind) or flavour >= len(FLAVOURS):
        raise ImageError(
            f"{path}: its header names kind {kind} and flavour {flavour}, which this version does not know"
        )
    return Image(path, base, memory[: begin + length], crc, version, firmware, BoardKind(kind), FLAVOURS[flavour])


def seal(path: Path) -> Image:
    """Fill in length and CRC of an ELF image that was just linked. Raises `ImageError`."""
    elf = read_elf(path)
    image = bytearray(elf.image)
    struct.pack_into("<I", image, HEADER_AT + 4, len(image))
    struct.pack_into("<I", image, CRC_AT, image_crc(bytes(image)))
    file = bytearray(path.read_bytes())
    at = elf.segments[0].offset + HEADER_AT
    file[at : at + HEADER.size] = image[HEADER_AT : HEADER_AT + HEADER.size]
    path.write_bytes(file)
    return read_image(path)
