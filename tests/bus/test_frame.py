"""Frames against frames built by `struct`, `cobs` and `crc32c` alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal import icd
from tests.bus import native, oracle
from tests.bus.native import ffi, lib

headers = st.fixed_dictionaries(
    {
        "type": st.integers(0, 63),
        "src": st.integers(0, 0xFFFF),
        "dst": st.integers(0, 0xFFFF),
        "flags": st.integers(0, 255),
        "seq": st.integers(0, 0xFFFF),
        "t_us": st.integers(0, (1 << 48) - 1),
    }
)
payloads = st.one_of(
    st.binary(max_size=192), st.lists(st.sampled_from([0, 0, 0, 1, 255]), max_size=192).map(bytes), st.just(bytes(192))
)


def reference(header: dict[str, int], payload: bytes) -> bytes:
    h = header
    return oracle.frame(h["type"], h["src"], h["dst"], h["flags"], h["seq"], h["t_us"], payload)


@given(headers, payloads)
def test_encode_equals_the_reference_and_is_received_whole(header, payload):
    wire = native.encode(payload, **header)
    assert wire == reference(header, payload)
    assert len(wire) == len(payload) + lib.BUS_WIRE_OVERHEAD
    receiver = native.Receiver()
    receiver.feed(wire)
    assert receiver.frames == [header | {"payload": payload}]
    assert receiver.results == [("frame", wire)]


@pytest.mark.parametrize(
    ("header", "length"),
    [({"type": 64}, 0), ({"type": 255}, 0), ({"t_us": 1 << 48}, 0), ({"t_us": (1 << 64) - 1}, 0), ({}, 193), ({}, 255)],
)
def test_encoder_refuses_what_the_header_cannot_hold(header, length):
    """Nothing is written at all: the canaries inside the buffer stand too."""
    out = native.Guarded(lib.BUS_MAX_WIRE)
    h = ffi.new("struct bus_header *", header | {"length": length})
    assert lib.bus_frame_encode(h, bytes(256), out.pointer) == 0
    out.check(0)


def test_payload_may_be_absent():
    out = native.Guarded(lib.BUS_MAX_WIRE)
    n = lib.bus_frame_encode(ffi.new("struct bus_header *", {"type": 1}), ffi.NULL, out.pointer)
    assert out.bytes(n) == oracle.frame(1, 0, 0, 0, 0, 0, b"")


def test_sizes_of_the_design():
    """design.md section 4: the frames of a node's tick and of the desk power board's take at most 64 bytes."""
    for name in (
        "tick_node",
        "done_node",
        "node_tlm",
        "tick_power",
        "done_power",
        "power_tlm",
        "lease",
        "event",
        "hello",
    ):
        assert icd.DTYPES[name].itemsize + lib.BUS_WIRE_OVERHEAD <= 64, name
    assert lib.BUS_MAX_WIRE == 214
    assert lib.BUS_HEADER_BYTES == icd.HEADER_BYTES == 15


@given(headers, payloads, st.integers(0, 255))
def test_a_wrong_length_byte_under_a_right_crc_is_refused(header, payload, said):
    h = header
    checked = bytearray(oracle.body(h["type"], h["src"], h["dst"], h["flags"], h["seq"], h["t_us"], payload))
    checked[14] = said
    receiver = native.Receiver()
    receiver.feed(oracle.wrap(bytes(checked)))
    if said == len(payload):
        assert len(receiver.frames) == 1
    else:
        assert receiver.frames == []
        assert receiver.counters["length_errors"] == 1


@given(headers, payloads, st.sampled_from([0, 2, 3]))
def test_another_version_is_counted_and_shown(header, payload, version):
    h = header
    wire = oracle.frame(h["type"], h["src"], h["dst"], h["flags"], h["seq"], h["t_us"], payload, version)
    receiver = native.Receiver()
    receiver.feed(wire)
    assert receiver.results == [("damaged", wire)]
    assert receiver.counters["version_errors"] == 1


@pytest.mark.parametrize("n", range(19))
def test_bodies_too_short_for_header_and_crc_are_refused(n):
    receiver = native.Receiver()
    receiver.feed(oracle.wrap(bytes(range(1, n + 1)))[: n + 7] if n < 15 else b"\0" + b"\1" * n + b"\0")
    assert receiver.frames == []
    assert receiver.counters["length_errors"] == 1


def test_body_check_never_reads_beyond_its_bytes():
    """Every length from 0 to beyond the greatest: an error, never a header."""
    h = ffi.new("struct bus_header *")
    for n in range(300):
        memory = native.Guarded(n)
        assert lib.bus_body_check(memory.pointer, n, h) in (lib.BUS_BODY_LENGTH, lib.BUS_BODY_CRC)
        memory.check(0)
