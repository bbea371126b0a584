"""The space packet code in C against its mirror in Python, and both against spacepackets."""

import binascii
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spacepackets.ccsds.spacepacket import PacketId, PacketType, parse_space_packets
from spacepackets.ecss.tc import PusTc
from spacepackets.ecss.tm import MiscParams, PusTm

from ground import packets
from ground._native import ffi, lib
from ground.packets import TC, TM, Packet, PacketError, Splitter

TIMES = st.integers(0, (1 << 32) * 1_000_000 - 1)
U8, U16 = st.integers(0, 255), st.integers(0, 65535)
APIDS = (0, 100, 2040)


@st.composite
def any_packet(draw: st.DrawFn, kind: int | None = None, apids: st.SearchStrategy[int] | None = None) -> Packet:
    kind = draw(st.sampled_from([TM, TC])) if kind is None else kind
    return Packet(
        kind,
        draw(st.integers(0, 2047) if apids is None else apids),
        draw(U8),
        draw(U8),
        draw(st.binary(max_size=60) | st.binary(min_size=1024, max_size=1024)),
        draw(st.integers(0, 16383)),
        draw(st.integers(0, 15)),
        draw(U16),
        draw(U16) if kind == TM else 0,
        draw(TIMES) if kind == TM else 0,
    )


def c_pack(packet: Packet) -> bytes:
    """Packs in C into a buffer whose tail must stay untouched."""
    header = ffi.new("struct space_header *", {name: getattr(packet, name) for name in HEADER_FIELDS})
    out = ffi.new("uint8_t[]", b"\xa5" * (lib.SPACE_PACKET_MAX + 8))
    n = lib.space_packet_pack(header, packet.data, len(packet.data), out)
    assert bytes(ffi.buffer(out))[max(n, lib.SPACE_PACKET_MAX) : -1] == b"\xa5" * 8
    return bytes(ffi.buffer(out, n))


HEADER_FIELDS = ("type", "service", "subtype", "status", "apid", "sequence", "address", "message_count", "t_us")


def c_parse(wire: bytes) -> Packet | int:
    # An exact copy on the heap, so that a sanitizer build sees a read past its end.
    copy = ffi.new("uint8_t[]", len(wire))
    ffi.memmove(copy, wire, len(wire))
    parsed = ffi.new("struct space_packet *")
    error = lib.space_packet_parse(parsed, copy, len(wire))
    return to_packet(parsed) if error == 0 else error


def to_packet(parsed) -> Packet:
    fields = {name: getattr(parsed.header, name) for name in HEADER_FIELDS}
    return Packet(data=bytes(ffi.buffer(parsed.data, parsed.data_length)), **fields)


class CSplitter:
    """csrc/space's splitter with the interface of ground.packets.Splitter."""

    def __init__(self, kind: int, apids: tuple[int, ...] | None = None) -> None:
        self._apids = ffi.NULL if apids is None else ffi.new("uint16_t[]", list(apids))
        self._state = ffi.new("struct space_splitter *")
        lib.space_splitter_init(self._state, kind, self._apids, len(apids or ()))

    def feed(self, data: bytes) -> list[Packet]:
        held = ffi.new("uint8_t[]", data)
        at = ffi.new("const uint8_t **", held)
        parsed = ffi.new("struct space_packet *")
        found = []
        while lib.space_splitter_next(self._state, at, held + len(data), parsed):
            found.append(to_packet(parsed))
        assert at[0] == held + len(data)
        return found

    def counters(self) -> tuple[int, int, int]:
        return self._state.packets, self._state.skipped_bytes, self._state.crc_errors


def counters(splitter: Splitter) -> tuple[int, int, int]:
    return splitter.packets, splitter.skipped_bytes, splitter.crc_errors


@given(any_packet())
def test_c_and_python_pack_and_parse_the_same(packet: Packet) -> None:
    wire = packets.pack(packet)
    assert c_pack(packet) == wire
    assert packets.parse(wire) == packet == c_parse(wire)


@given(any_packet(kind=TM))
def test_telemetry_is_what_spacepackets_packs_and_reads(packet: Packet) -> None:
    seconds, fraction = packets.cuc_from_us(packet.t_us)
    stamp = seconds.to_bytes(4, "big") + fraction.to_bytes(3, "big")
    peer = PusTm(
        service=packet.service,
        message_subtype=packet.subtype,
        timestamp=stamp,
        source_data=packet.data,
        seq_count=packet.sequence,
        apid=packet.apid,
        message_counter=packet.message_count,
        destination_id=packet.address,
        misc_params=MiscParams(spacecraft_time_ref=packet.status),
    )
    assert bytes(peer.pack()) == packets.pack(packet)
    assert PusTm.unpack(packets.pack(packet), timestamp_len=7).source_data == packet.data


@given(any_packet(kind=TC))
def test_telecommands_are_what_spacepackets_packs_and_reads(packet: Packet) -> None:
    peer = PusTc(
        service=packet.service,
        message_subtype=packet.subtype,
        apid=packet.apid,
        app_data=packet.data,
        seq_count=packet.sequence,
        source_id=packet.address,
        ack_flags=packet.status,
    )
    assert bytes(peer.pack()) == packets.pack(packet)
    header = ffi.new("struct space_header *", {name: getattr(packet, name) for name in HEADER_FIELDS})
    sequence_control = 3 << 14 | packet.sequence
    assert packet.request_id == peer.packet_id.raw() << 16 | sequence_control == lib.space_request_id(header)


@given(TIMES)
def test_cuc_keeps_every_microsecond(t_us: int) -> None:
    wire = ffi.new("uint8_t[7]")
    lib.space_cuc_from_us(t_us, wire)
    assert lib.space_cuc_to_us(wire) == t_us
    seconds, fraction = packets.cuc_from_us(t_us)
    assert bytes(ffi.buffer(wire)) == seconds.to_bytes(4, "big") + fraction.to_bytes(3, "big")
    assert packets.cuc_to_us(seconds, fraction) == t_us


@given(st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 24) - 1))
def test_cuc_of_any_fraction_is_read_the_same(seconds: int, fraction: int) -> None:
    stamp = seconds.to_bytes(4, "big") + fraction.to_bytes(3, "big")
    t_us = packets.cuc_to_us(seconds, fraction)
    assert lib.space_cuc_to_us(stamp) == t_us
    assert abs(t_us - seconds * 1e6 - fraction * 1e6 / 2**24) <= 0.5 + 1e-3 * (seconds > 2**20)


@given(st.binary(max_size=400), st.integers(0, 400))
def test_crc_is_ccitt_false_and_can_be_continued(data: bytes, cut: int) -> None:
    whole = lib.space_crc16(0xFFFF, data, len(data))
    assert whole == binascii.crc_hqx(data, 0xFFFF) == packets.crc16(data)
    head, tail = data[:cut], data[cut:]
    assert lib.space_crc16(lib.space_crc16(0xFFFF, head, len(head)), tail, len(tail)) == whole


def test_crc_check_value() -> None:
    assert packets.crc16(b"123456789") == lib.space_crc16(0xFFFF, b"123456789", 9) == 0x29B1


@pytest.mark.parametrize(
    ("field", "value"),
    [("apid", 2048), ("sequence", 16384), ("status", 16), ("type", 2), ("t_us", (1 << 32) * 1_000_000)],
)
def test_fields_out_of_range_are_refused(field: str, value: int) -> None:
    packet = Packet(**{"type": TM, "apid": 100, "service": 1, "subtype": 1, field: value})
    with pytest.raises(PacketError, match=f"{field} is {value}"):
        packets.pack(packet)
    assert c_pack(packet) == b""


def test_data_too_long_is_refused() -> None:
    packet = Packet(TM, 100, 3, 25, bytes(1025))
    with pytest.raises(PacketError, match="1025 bytes"):
        packets.pack(packet)
    assert c_pack(packet) == b""


GOOD = packets.pack(Packet(TC, 100, 8, 1, b"\x02\x00\x03", 7, 15))


@pytest.mark.parametrize(
    ("wire", "error"),
    [
        (b"", lib.SPACE_PACKET_ERR_LENGTH),
        (GOOD[:5], lib.SPACE_PACKET_ERR_LENGTH),
        (GOOD[:-1], lib.SPACE_PACKET_ERR_LENGTH),
        (GOOD + b"\0", lib.SPACE_PACKET_ERR_LENGTH),
        (GOOD[:4] + b"\x00\x05" + GOOD[6:12], lib.SPACE_PACKET_ERR_LENGTH),
        (bytes([GOOD[0] | 0x20]) + GOOD[1:], lib.SPACE_PACKET_ERR_VERSION),
        (GOOD[:6] + bytes([0x1F]) + GOOD[7:], lib.SPACE_PACKET_ERR_VERSION),
        (bytes([GOOD[0] & ~8]) + GOOD[1:], lib.SPACE_PACKET_ERR_FLAGS),
        (GOOD[:2] + bytes([GOOD[2] & 0x7F]) + GOOD[3:], lib.SPACE_PACKET_ERR_FLAGS),
        (GOOD[:-1] + bytes([GOOD[-1] ^ 1]), lib.SPACE_PACKET_ERR_CRC),
    ],
)
def test_what_is_no_packet_is_refused_for_its_reason(wire: bytes, error: int) -> None:
    assert c_parse(wire) == error
    with pytest.raises(PacketError):
        packets.parse(wire)


@given(any_packet(), st.data())
def test_a_burst_of_up_to_16_bits_is_always_found(packet: Packet, data: st.DataObject) -> None:
    wire = packets.pack(packet)
    at = data.draw(st.integers(0, len(wire) * 8 - 16))
    burst = data.draw(st.integers(1, 65535))
    damaged = (int.from_bytes(wire, "big") ^ burst << at).to_bytes(len(wire), "big")
    assert isinstance(c_parse(damaged), int)
    with pytest.raises(PacketError):
        packets.parse(damaged)


@given(st.binary(max_size=1200))
def test_any_bytes_are_parsed_alike(wire: bytes) -> None:
    found = c_parse(wire)
    if isinstance(found, int):
        with pytest.raises(PacketError):
            packets.parse(wire)
    else:
        assert packets.parse(wire) == found


STREAM = st.lists(st.binary(max_size=40) | any_packet(TM, st.sampled_from(APIDS)), max_size=8)


@given(STREAM, st.lists(st.integers(1, 200), min_size=1, max_size=20))
def test_any_chunking_gives_the_same_packets_and_counts(parts: list[bytes | Packet], chunks: list[int]) -> None:
    stream = b"".join(packets.pack(part) if isinstance(part, Packet) else part for part in parts)
    whole = Splitter(TM, APIDS)
    expected = list(whole.feed(stream))
    python, c = Splitter(TM, APIDS), CSplitter(TM, APIDS)
    got: list[Packet] = []
    got_c: list[Packet] = []
    at = 0
    for size in itertools.cycle(chunks):
        got += python.feed(stream[at : at + size])
        got_c += c.feed(stream[at : at + size])
        at += size
        if at >= len(stream):
            break
    assert got == got_c == expected
    assert counters(python) == counters(whole) == c.counters()


@given(st.binary(max_size=60), st.lists(any_packet(TM, st.sampled_from(APIDS)), min_size=1, max_size=5))
def test_back_in_step_after_garbage(noise: bytes, sent: list[Packet]) -> None:
    flush = [Packet(TM, 0, 17, 2, b"")] * 60  # ends whatever length the noise may have announced
    stream = noise + b"".join(packets.pack(p) for p in [*sent, *flush])
    for splitter in (Splitter(TM, APIDS), CSplitter(TM, APIDS)):
        got = list(splitter.feed(stream))
        assert got == [*sent, *flush]
    assert splitter.counters() == (len(got), len(noise), splitter.counters()[2])


def test_a_damaged_packet_costs_only_itself() -> None:
    sent = [Packet(TM, 100, 3, 25, bytes([n] * 50), n) for n in range(20)]
    wires = [packets.pack(p) for p in sent]
    wires[7] = wires[7][:30] + b"\xff" + wires[7][31:]
    for splitter in (Splitter(TM), CSplitter(TM)):
        assert list(splitter.feed(b"".join(wires))) == sent[:7] + sent[8:]
    assert splitter.counters() == (19, len(wires[7]), 1)


def test_spacepackets_splits_our_stream() -> None:
    sent = [Packet(TM, 100, 3, 25, bytes([n] * n), n) for n in range(50)]
    stream = bytearray(b"".join(packets.pack(p) for p in sent))
    split = parse_space_packets(stream, [PacketId(PacketType.TM, True, 100)])
    assert [packets.parse(bytes(wire)) for wire in split.tm_list] == sent
