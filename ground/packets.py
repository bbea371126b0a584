"""CCSDS space packets with PUS-C secondary headers, and their split from a byte stream.

The mirror of csrc/space/packet.[ch] in Python, held equal to it by tests/space: ground needs no compiled module.
"""

import binascii
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass

PRIMARY = struct.Struct(">HHH")
TM_SECONDARY = struct.Struct(">BBBHHIBH")  # PUS version | status, service, subtype, count, destination, CUC 4+3
TC_SECONDARY = struct.Struct(">BBBH")  # PUS version | acknowledgement flags, service, subtype, source
CRC_BYTES = 2
DATA_MAX = 1024
PACKET_MAX = PRIMARY.size + TM_SECONDARY.size + DATA_MAX + CRC_BYTES

TM = 0
TC = 1
ACK_ACCEPT, ACK_START, ACK_PROGRESS, ACK_COMPLETE = 1, 2, 4, 8

_PUS_VERSION = 2
_UNSEGMENTED = 3
_SECONDARY_BYTES = (TM_SECONDARY.size, TC_SECONDARY.size)


class PacketError(ValueError):
    """Bytes that are not a packet, or fields that no packet can carry."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One space packet: header fields and the data after its secondary header."""

    type: int  # TM or TC
    apid: int
    service: int
    subtype: int
    data: bytes = b""
    sequence: int = 0  # 14 bit, counts per APID
    status: int = 0  # TM: time reference status; TC: acknowledgement flags
    address: int = 0  # TM: destination; TC: source
    message_count: int = 0  # TM only
    t_us: int = 0  # TM only: mission time

    @property
    def request_id(self) -> int:
        """The number that verification reports name this telecommand by."""
        return _packet_id(TC, self.apid) << 16 | _UNSEGMENTED << 14 | self.sequence


def crc16(data: bytes) -> int:
    """CRC-16/CCITT-FALSE; 0 over bytes that end in their own CRC."""
    return binascii.crc_hqx(data, 0xFFFF)


def cuc_from_us(t_us: int) -> tuple[int, int]:
    """Whole seconds and 2^-24 s of CUC 4+3 for a time in microseconds."""
    seconds, rest_us = divmod(t_us, 1_000_000)
    return seconds, ((rest_us << 24) + 500_000) // 1_000_000


def cuc_to_us(seconds: int, fraction: int) -> int:
    """The nearest whole microsecond of a CUC 4+3 time."""
    return seconds * 1_000_000 + ((fraction * 1_000_000 + (1 << 23)) >> 24)


def pack(packet: Packet) -> bytes:
    """The packet's bytes, CRC included. Raises PacketError if a field is out of range."""
    _check(packet)
    if packet.type == TM:
        seconds, fraction = cuc_from_us(packet.t_us)
        secondary = TM_SECONDARY.pack(
            _PUS_VERSION << 4 | packet.status,
            packet.service,
            packet.subtype,
            packet.message_count,
            packet.address,
            seconds,
            fraction >> 16,
            fraction & 0xFFFF,
        )
    else:
        secondary = TC_SECONDARY.pack(_PUS_VERSION << 4 | packet.status, packet.service, packet.subtype, packet.address)
    length = len(secondary) + len(packet.data) + CRC_BYTES
    primary = PRIMARY.pack(_packet_id(packet.type, packet.apid), _UNSEGMENTED << 14 | packet.sequence, length - 1)
    body = primary + secondary + packet.data
    return body + crc16(body).to_bytes(2, "big")


def parse(wire: bytes) -> Packet:
    """The packet that is exactly these bytes. Raises PacketError, which says what is wrong."""
    if len(wire) < PRIMARY.size:
        raise PacketError(f"packet of {len(wire)} bytes: its primary header alone has {PRIMARY.size}")
    identity, control, length = PRIMARY.unpack_from(wire)
    kind = identity >> 12 & 1
    if length + 1 + PRIMARY.size != len(wire) or not _possible_length(kind, len(wire)):
        raise PacketError(f"packet of {len(wire)} bytes: its length field says {length + 1 + PRIMARY.size}")
    if identity >> 13 != 0 or wire[PRIMARY.size] >> 4 != _PUS_VERSION:
        raise PacketError(f"CCSDS version {identity >> 13}, PUS version {wire[PRIMARY.size] >> 4}: expected 0 and 2")
    if not identity & 0x800 or control >> 14 != _UNSEGMENTED:
        raise PacketError("packet without secondary header, or segmented")
    if crc16(wire) != 0:
        raise PacketError("packet with a wrong CRC")
    data = wire[PRIMARY.size + _SECONDARY_BYTES[kind] : -CRC_BYTES]
    sequence = control & 0x3FFF
    apid = identity & 0x7FF
    if kind == TM:
        first, service, subtype, count, address, seconds, high, low = TM_SECONDARY.unpack_from(wire, PRIMARY.size)
        t_us = cuc_to_us(seconds, high << 16 | low)
        return Packet(TM, apid, service, subtype, data, sequence, first & 15, address, count, t_us)
    first, service, subtype, address = TC_SECONDARY.unpack_from(wire, PRIMARY.size)
    return Packet(TC, apid, service, subtype, data, sequence, first & 15, address)


class Splitter:
    """Cuts packets of one type out of a byte stream; bounded; back in step with the first whole packet after garbage.

    apids: the known APIDs; None takes every one. Counts packets, skipped_bytes and crc_errors.
    """

    def __init__(self, kind: int, apids: Collection[int] | None = None) -> None:
        self._kind = kind
        self._apids = None if apids is None else frozenset(apids)
        self._buffer = bytearray()
        self.packets = 0
        self.skipped_bytes = 0
        self.crc_errors = 0

    def feed(self, data: bytes) -> Iterator[Packet]:
        """Takes bytes and yields every packet that they complete."""
        self._buffer += data
        at = 0
        try:
            while (need := self._candidate_bytes(at)) <= len(self._buffer) - at:
                packet = self._take(at, need) if need else None
                step = need if packet else self._bytes_to_skip(at)
                at += step
                if packet:
                    self.packets += 1
                    yield packet
                else:
                    self.skipped_bytes += step
        finally:
            del self._buffer[:at]

    def _candidate_bytes(self, at: int) -> int:
        """Bytes that the candidate at this place needs; 0 if there is none."""
        if at < len(self._buffer) and not self._possible_start(at):
            return 0
        if len(self._buffer) - at < PRIMARY.size:
            return PRIMARY.size
        identity, control, length = PRIMARY.unpack_from(self._buffer, at)
        n: int = length + 1 + PRIMARY.size
        good = (
            (self._apids is None or identity & 0x7FF in self._apids)
            and control >> 14 == _UNSEGMENTED
            and _possible_length(self._kind, n)
        )
        return n if good else 0

    def _take(self, at: int, n: int) -> Packet | None:
        wire = bytes(self._buffer[at : at + n])
        try:
            return parse(wire)
        except PacketError:
            self.crc_errors += wire[PRIMARY.size] >> 4 == _PUS_VERSION
            return None

    def _bytes_to_skip(self, at: int) -> int:
        """Up to the next byte that could start a packet."""
        end = at + 1
        while end < len(self._buffer) and not self._possible_start(end):
            end += 1
        return end - at

    def _possible_start(self, at: int) -> bool:
        return self._buffer[at] & 0xF8 == _packet_id(self._kind, 0) >> 8


def _packet_id(kind: int, apid: int) -> int:
    return kind << 12 | 1 << 11 | apid


def _possible_length(kind: int, n: int) -> bool:
    least = PRIMARY.size + _SECONDARY_BYTES[kind] + CRC_BYTES
    return least <= n <= least + DATA_MAX


def _check(packet: Packet) -> None:
    limits = {
        "type": 1,
        "apid": 0x7FF,
        "service": 0xFF,
        "subtype": 0xFF,
        "sequence": 0x3FFF,
        "status": 15,
        "address": 0xFFFF,
        "message_count": 0xFFFF,
        "t_us": (1 << 32) * 1_000_000 - 1,
    }
    for name, top in limits.items():
        value = getattr(packet, name)
        if not 0 <= value <= top:
            raise PacketError(f"packet field {name} is {value}: expected 0..{top}")
    if len(packet.data) > DATA_MAX:
        raise PacketError(f"packet data of {len(packet.data)} bytes: expected at most {DATA_MAX}")
