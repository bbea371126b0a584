"""Batches: what goes in comes out in order, what does not fit is counted, and bad bytes are refused."""

from hypothesis import given
from hypothesis import strategies as st

from tests.bus.native import Guarded, ffi, lib

records = st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=70)), max_size=12)


def read(batch) -> list[tuple[int, bytes]]:
    at, board = ffi.new("size_t *"), ffi.new("uint16_t *")
    data, n = ffi.new("const uint8_t **"), ffi.new("size_t *")
    out = []
    while (result := lib.bus_batch_next(batch, at, board, data, n)) == 1:
        out.append((board[0], bytes(ffi.buffer(data[0], n[0]))))
    assert result == 0
    return out


@given(records, st.integers(0, 600))
def test_keeps_what_fits_and_counts_the_rest(items, capacity):
    memory = Guarded(capacity)
    batch = ffi.new("struct bus_batch *")
    lib.bus_batch_init(batch, memory.pointer, capacity)
    kept, used = [], 0
    for board, data in items:
        fits = used + 4 + len(data) <= capacity
        assert lib.bus_batch_append(batch, board, data, len(data)) == (0 if fits else lib.BUS_ERR_LENGTH)
        if fits:
            kept.append((board, data))
            used += 4 + len(data)
    assert batch.used == used
    assert batch.dropped == len(items) - len(kept)
    assert read(batch) == kept
    memory.check(used)
    lib.bus_batch_clear(batch)
    assert read(batch) == []
    assert batch.dropped == len(items) - len(kept)


def test_fits_to_the_last_byte():
    for room in range(12):
        for n in range(10):
            memory = Guarded(room)
            batch = ffi.new("struct bus_batch *")
            lib.bus_batch_init(batch, memory.pointer, room)
            fits = n + 4 <= room
            assert lib.bus_batch_append(batch, 7, bytes(n), n) == (0 if fits else lib.BUS_ERR_LENGTH)
            memory.check(n + 4 if fits else 0)


def test_a_record_that_claims_more_than_there_is_is_refused():
    at, board = ffi.new("size_t *"), ffi.new("uint16_t *")
    p, n = ffi.new("const uint8_t **"), ffi.new("size_t *")
    for there in range(8):
        for claimed in range(10):
            data = ffi.new("uint8_t[]", [1, 0, claimed, 0] + [9] * there)
            batch = ffi.new("struct bus_batch *", {"data": data, "used": 4 + there, "capacity": 4 + there})
            at[0] = 0
            result = lib.bus_batch_next(batch, at, board, p, n)
            assert result == (1 if claimed <= there else lib.BUS_ERR_LENGTH)
            assert at[0] == (4 + claimed if claimed <= there else 0)


def test_a_record_is_at_most_65535_bytes():
    memory = Guarded(80_000)
    batch = ffi.new("struct bus_batch *")
    lib.bus_batch_init(batch, memory.pointer, 80_000)
    assert lib.bus_batch_append(batch, 0, bytes(65_536), 65_536) == lib.BUS_ERR_LENGTH
    assert lib.bus_batch_append(batch, 0, bytes(65_535), 65_535) == 0


@given(st.binary(max_size=60), st.integers(0, 70))
def test_reading_never_leaves_the_batch(data, start):
    """Any bytes, any place: a record inside them, the end, or an error."""
    memory = Guarded(len(data))
    for i, byte in enumerate(data):
        memory.pointer[i] = byte
    batch = ffi.new("struct bus_batch *")
    lib.bus_batch_init(batch, memory.pointer, len(data))
    batch.used = len(data)
    at, board = ffi.new("size_t *", start), ffi.new("uint16_t *")
    p, n = ffi.new("const uint8_t **"), ffi.new("size_t *")
    while (result := lib.bus_batch_next(batch, at, board, p, n)) == 1:
        assert memory.pointer <= p[0]
        assert p[0] + n[0] <= memory.pointer + len(data)
    assert result in (0, lib.BUS_ERR_LENGTH)


def test_addresses():
    assert lib.bus_address_of(0) == 16
    assert [lib.bus_address_of(1 + i) for i in (0, 1, 1023)] == [256, 257, 1279]
    assert [lib.bus_index_of(a) for a in (16, 256, 1279)] == [0, 1, 1024]
    assert [lib.bus_index_of(a) for a in (0, 1, 2, 17, 255, 0xFFFF)] == [-1] * 6
