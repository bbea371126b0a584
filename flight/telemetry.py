"""Packets for the ground: packed from the space-link ICD, counted, handed to the radio.

What a cycle emits waits in an outbox until `flush`, so that no report leaves before what it reports is stored.
Packets that no ground has received are not kept: a store of telemetry is not part of this flight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flight import icd
from flight._native import ffi, lib

APID = int(icd.Apid.FLIGHT)


class Telemetry:
    """Each of `sinks` takes the bytes of whole packets and how many they are, one call per flush."""

    def __init__(self, sinks: Sequence[Callable[[bytes, int], None]] = ()) -> None:
        self.packets = 0
        self._sinks = sinks
        self._outbox: list[bytes] = []
        self._header = ffi.new("struct space_header *")
        self._header.type = lib.SPACE_TM
        self._header.apid = APID
        self._wire = ffi.new("uint8_t[]", lib.SPACE_PACKET_MAX)
        self._counts: dict[int, int] = {}
        self.data = ffi.new("uint8_t[]", lib.SPACE_DATA_MAX)
        """Scratch for source data that C packs."""

    def emit_data(self, service: int, subtype: int, t_us: int, data: Any, n: int) -> None:
        """Emit a packet around n bytes of source data (bytes, or a cffi pointer)."""
        h = self._header
        kind = service << 8 | subtype
        count = self._counts.get(kind, 0)
        h.service, h.subtype, h.message_count, h.sequence, h.t_us = (
            service,
            subtype,
            count & 0xFFFF,
            self.packets & 0x3FFF,
            t_us,
        )
        size = lib.space_packet_pack(h, data, n, self._wire)
        packet = ffi.buffer(self._wire, size)[:]
        self._counts[kind] = count + 1
        self.packets += 1
        self._outbox.append(packet)

    def emit(self, name: str, t_us: int, **values: Any) -> None:
        """Emit a packet of the ICD by name. Raises `icd.IcdError`."""
        message = icd.PACKETS[name]
        data = icd.encode(name, **values)
        self.emit_data(message.service, message.subtype, t_us, data, len(data))

    def flush(self) -> None:
        """Hand everything emitted since the last flush to the radio."""
        if self._outbox:
            packets, count = b"".join(self._outbox), len(self._outbox)
            self._outbox.clear()
            for sink in self._sinks:
                sink(packets, count)
