"""Persistent memory over flash: what was written is read, over any number of compactions; a cut leaves a beginning."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.boards import harness
from tests.update.device import TORN, Device, ffi

BYTES, DATA, RECORD, RECORDS_AT = 4096, 24, 32, 4096 + 16
AREA = RECORDS_AT + 12 * RECORD
OTHER = RECORDS_AT + 5 * RECORD  # the two areas need not be of one size


class Nvm:
    """The memory, and the flash below it that can lose its power."""

    def __init__(self) -> None:
        self.device = Device(None, log_bytes=AREA)
        self.lib = self.device.lib
        self.restart()

    def restart(self) -> None:
        """The power comes on, for good."""
        self.device.cut_after(-1)
        self.lib.device_supply(self.device.c)
        self.c = ffi.gc(self.lib.nvm_create(self.device.c, AREA, OTHER), self.lib.nvm_destroy)

    def read(self, offset: int = 0, count: int = BYTES) -> bytes:
        out = ffi.new("uint8_t[]", max(count, 1))
        assert self.lib.flash_nvm_read(self.c, offset, out, count) == 0
        return bytes(out)[:count]

    def write(self, offset: int, data: bytes) -> int:
        return int(self.lib.flash_nvm_write(self.c, offset, data, len(data)))


def beginnings(before: bytes, offset: int, data: bytes) -> Iterator[bytes]:
    """The memory before, with the first records of a write in it: none to all."""
    for n in range(0, len(data) + DATA, DATA):
        part = data[:n]
        yield before[:offset] + part + before[offset + len(part) :]


writes = st.integers(0, BYTES).flatmap(
    lambda offset: st.tuples(st.just(offset), st.binary(max_size=min(90, BYTES - offset)))
)


def test_fresh_memory_reads_erased():
    assert Nvm().read() == b"\xff" * BYTES


@settings(deadline=None)
@given(st.lists(st.tuples(writes, st.booleans()), max_size=40))
def test_what_was_written_is_read(history: list[tuple[tuple[int, bytes], bool]]):
    nvm, model = Nvm(), bytearray(b"\xff" * BYTES)
    for (offset, data), restart in history:
        assert nvm.write(offset, data) == 0
        model[offset : offset + len(data)] = data
        if restart:
            nvm.restart()
        assert nvm.read() == model
        assert nvm.read(offset, len(data)) == data


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            writes,
            st.integers(0, 200) | st.none() | st.integers(0, 5000),
            st.sampled_from(list(TORN)),
            st.integers(0, 99),
        ),
        max_size=30,
    )
)
def test_a_cut_leaves_a_beginning_of_the_write(history):
    nvm, model = Nvm(), b"\xff" * BYTES
    for (offset, data), cut, torn, seed in history:
        nvm.device.cut_after(-1 if cut is None else cut, torn, seed)
        result = nvm.write(offset, data)
        if not nvm.device.dead:
            assert result == 0
            model = model[:offset] + data + model[offset + len(data) :]
            continue
        nvm.restart()
        after = nvm.read()
        assert after in beginnings(model, offset, data)
        model = after


@pytest.mark.parametrize("torn", TORN)
def test_a_cut_at_every_unit_of_a_compaction(torn: str):
    full = Nvm()
    for i in range(12):  # the first area is full
        assert full.write(i * 300, bytes([i] * 20)) == 0
    memory, model, first = full.device.memory(), full.read(), full.device.units
    assert full.write(100, b"compacted") == 0
    expected = model[:100] + b"compacted" + model[109:]
    units = full.device.units - first
    assert units > BYTES
    for unit in range(0, units, 1 if torn == "prefix" else 7):
        nvm = Nvm()
        nvm.device.restore(memory)
        nvm.restart()
        nvm.device.cut_after(unit, torn, unit)
        nvm.write(100, b"compacted")
        assert nvm.device.dead
        nvm.restart()
        assert nvm.read() in (model, expected)
        assert nvm.write(100, b"compacted") == 0
        assert nvm.read() == expected


def test_outside_the_memory_is_refused():
    nvm = Nvm()
    out = ffi.new("uint8_t[]", 8)
    for offset, count in ((BYTES, 1), (BYTES - 3, 4), (0xFFFF_FFFF, 1), (BYTES + 1, 0)):
        assert nvm.lib.flash_nvm_read(nvm.c, offset, out, count) == -1
        assert nvm.lib.flash_nvm_write(nvm.c, offset, out, count) == -1
    assert nvm.read() == b"\xff" * BYTES


def test_a_record_that_does_not_stick_is_left_behind():
    nvm = Nvm()
    assert nvm.write(7, b"first") == 0
    nvm.device.area(2)[RECORDS_AT + RECORD + 9 : RECORDS_AT + RECORD + 10] = b"\0"
    assert nvm.write(50, bytes(range(60))) == 0
    nvm.restart()
    assert nvm.read(7, 5) == b"first"
    assert nvm.read(50, 60) == bytes(range(60))


def test_a_board_keeps_its_blocks_over_flash():
    """A power board's boot count, configuration and job survive boots and compactions, as over any other memory."""
    nvm = Nvm()

    class FlashMemory(harness.Memory):
        def read(self, offset: int, n: int) -> bytes:
            return nvm.read(offset, n)

        def write(self, offset: int, data: bytes) -> bool:
            return nvm.write(offset, data) == 0

    memory = FlashMemory()
    for boot in range(1, 60):
        nvm.restart()
        board = harness.Board(harness.POWER_BOARD, memory)
        assert board.hello.fields["boot_count"] == boot
        assert board.command("power_config", **harness.POWER_CONFIG | {"retries": boot % 10}) == 0
