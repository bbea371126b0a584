"""Firmware images that tests make: no code in them, but a header of ours, as a flat file or as an ELF file."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import crc32c

from hal.firmware import firmware_hash
from hal.icd import BoardKind

BASE = 0x0800_0000


def image_bytes(
    kind: int = BoardKind.COMPUTE_NODE,
    *,
    seed: int = 0,
    length: int = 3000,
    flavour: int = 0,
    version: int = 1,
    firmware: bytes | None = None,
) -> bytes:
    """Random bytes with a right header, its CRC by an independent package."""
    data = bytearray(random.Random(seed).randbytes(length))
    head = struct.pack("<4sI", b"DWNL", length)
    rest = struct.pack("<I8sBBH", version, firmware if firmware is not None else firmware_hash(), kind, flavour, 0)
    data[0x200:0x208], data[0x20C : 0x20C + len(rest)] = head, rest
    data[0x208:0x20C] = struct.pack("<I", crc32c.crc32c(bytes(data[:0x208] + data[0x20C:])))
    return bytes(data)


def crc_of(image: bytes) -> int:
    """The CRC that an image's header names."""
    return int(struct.unpack_from("<I", image, 0x208)[0])


def elf_of(image: bytes, cut_at: int = 1024, base: int = BASE) -> bytes:
    """An ELF file (32 bit, little-endian, ARM) that loads the image in two segments, and has one that loads nothing."""
    parts = [(base, image[:cut_at]), (base + cut_at, image[cut_at:])]
    offset = 52 + 3 * 32
    rows, content = [], b""
    for at, part in parts:
        # The second one runs elsewhere (as .data does): only its load address counts.
        runs_at = at if at == base else 0x2000_0000
        rows.append(struct.pack("<8I", 1, offset + len(content), runs_at, at, len(part), len(part), 5, 4))
        content += part
    rows.append(struct.pack("<8I", 1, offset, 0x2000_8000, 0x2000_8000, 0, 4096, 6, 4))
    head = b"\x7fELF\x01\x01\x01" + bytes(9)
    head += struct.pack("<HHIIIIIHHHHHH", 2, 40, 1, base, 52, 0, 0, 52, 32, len(rows), 40, 0, 0)
    return head + b"".join(rows) + content


def write_image(path: Path, image: bytes) -> Path:
    """As .elf or .bin, by the name of the file."""
    path.write_bytes(elf_of(image) if path.suffix == ".elf" else image)
    return path
