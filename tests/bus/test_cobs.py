"""COBS against the `cobs` package, within the one block that a frame is."""

import pytest
from cobs import cobs
from hypothesis import example, given
from hypothesis import strategies as st

from tests.bus.native import CANARY, Guarded, lib

LIMIT = lib.BUS_COBS_MAX_DATA
data_bytes = st.one_of(
    st.binary(max_size=LIMIT),
    st.lists(st.sampled_from([0, 0, 1, 2, 255]), max_size=LIMIT).map(bytes),
)


def encode(data: bytes, around: int = CANARY) -> bytes:
    block = Guarded(len(data) + 1, around)
    for i, byte in enumerate(data):
        block.pointer[1 + i] = byte
    lib.bus_cobs_encode(block.pointer, len(data))
    block.check(len(data) + 1)
    return block.bytes(len(data) + 1)


def decode(encoded: bytes) -> bytes | None:
    out = Guarded(max(len(encoded) - 1, 0))
    result = lib.bus_cobs_decode(out.pointer, encoded, len(encoded))
    out.check(max(len(encoded) - 1, 0))
    return out.bytes(len(encoded) - 1) if result == 0 else None


@given(data_bytes)
@example(b"")
@example(bytes(LIMIT))
@example(b"\1" * LIMIT)
def test_round_trip_equals_the_package(data):
    encoded = encode(data)
    assert encoded == cobs.encode(data)
    assert 0 not in encoded
    assert decode(encoded) == data


@given(st.one_of(st.binary(max_size=LIMIT + 4), st.lists(st.integers(1, 6), max_size=LIMIT + 4).map(bytes)))
def test_decodes_what_the_package_decodes_and_refuses_the_rest(encoded):
    try:
        wanted = cobs.decode(encoded) if encoded and len(encoded) <= LIMIT + 1 else None
    except cobs.DecodeError:
        wanted = None
    assert decode(encoded) == wanted


def test_every_length_whatever_stands_around():
    """Bytes beside the block, zeros above all, change nothing."""
    for n in range(LIMIT + 1):
        data = bytes((i * 37 + n) % 5 for i in range(n))
        assert encode(data) == encode(data, around=0) == cobs.encode(data)
        assert decode(encode(data)) == data


@pytest.mark.parametrize("bad", [b"", b"\0", b"\2", b"\1\0", b"\3\1", b"\1" * (LIMIT + 2), b"\xff" * (LIMIT + 1)])
def test_refuses(bad):
    assert decode(bad) is None
