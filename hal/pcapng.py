"""Frames as a pcapng file (draft-ietf-opsawg-pcapng), for Wireshark and its like: one interface per board.

The link type is LINKTYPE_USER0: a packet is a frame as on the wire, delimiters included. Times are simulated.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import BinaryIO

LINKTYPE_USER0 = 147
INBOUND, OUTBOUND, CRC_ERROR = 1, 2, 1 << 24
"""epb_flags; directions are seen from the host"""
_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 1, 6
_BYTE_ORDER = 0x1A2B3C4D
_UNKNOWN_LENGTH = -1
_END, _COMMENT, _NAME, _DESCRIPTION, _APPLICATION, _FLAGS = 0, 1, 2, 3, 4, 2


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + _padded(value)


def _block(kind: int, body: bytes) -> bytes:
    length = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + length + body + length


class PcapngWriter:
    """Writes to a file that its caller opens and closes. interfaces: (name, description) each."""

    def __init__(self, file: BinaryIO, interfaces: Sequence[tuple[str, str]], comment: str) -> None:
        self._file = file
        options = _option(_COMMENT, comment.encode()) + _option(_APPLICATION, b"Dawnline") + _option(_END, b"")
        file.write(_block(_SECTION, struct.pack("<IHHq", _BYTE_ORDER, 1, 0, _UNKNOWN_LENGTH) + options))
        for name, description in interfaces:
            options = _option(_NAME, name.encode()) + _option(_DESCRIPTION, description.encode()) + _option(_END, b"")
            file.write(_block(_INTERFACE, struct.pack("<HHI", LINKTYPE_USER0, 0, 0) + options))

    def packet(self, interface: int, t_us: int, data: bytes, flags: int) -> None:
        """One packet. t_us: of the default resolution, 1 us."""
        head = struct.pack("<IIIII", interface, t_us >> 32, t_us & 0xFFFFFFFF, len(data), len(data))
        options = _option(_FLAGS, struct.pack("<I", flags)) + _option(_END, b"")
        self._file.write(_block(_PACKET, head + _padded(data) + options))
