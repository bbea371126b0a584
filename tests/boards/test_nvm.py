"""Persistent memory: a write that is cut at any byte leaves a block that is whole, and damage is repaired and said."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal._native import ffi, lib
from tests.boards.harness import Memory, Port

SIZE = 21
PLACE = ffi.new("struct nvm_place *", {"id": 3, "offset": 40, "size": SIZE})
BYTES = 2 * (SIZE + lib.NVM_COPY_OVERHEAD)


def load(memory: Memory) -> tuple[int, bytes, int]:
    block = ffi.new("struct nvm_block *")
    payload = ffi.new("uint8_t[]", SIZE)
    result = lib.nvm_load(block, PLACE, Port(memory).c, payload)
    return result, bytes(payload), block.copy


def store(memory: Memory, payload: bytes) -> int:
    block = ffi.new("struct nvm_block *")
    port = Port(memory)
    lib.nvm_load(block, PLACE, port.c, ffi.new("uint8_t[]", SIZE))
    return int(lib.nvm_store(block, PLACE, port.c, payload))


def payload_of(k: int) -> bytes:
    return bytes((k * 37 + i) & 0xFF for i in range(SIZE))


@pytest.mark.parametrize("fill", [0x00, 0xFF])
def test_fresh_memory_is_blank(fill: int):
    memory = Memory(bytes([fill]) * lib.BOARD_NVM_BYTES)
    assert load(memory)[0] == lib.NVM_BLANK
    assert memory.writes == 0
    assert store(memory, payload_of(1)) == 0
    assert load(memory)[:2] == (lib.NVM_OK, payload_of(1))


def test_every_cut_leaves_the_old_or_the_new():
    """Cut at every byte of every write of a history; then also of the repair that follows."""
    before = Memory()
    for k in range(1, 6):
        for cut in range(BYTES + 1):
            memory = Memory(before.content)
            memory.budget = cut
            store(memory, payload_of(k))
            for repair_cut in (None, 0, 1, SIZE // 2, SIZE + 3, SIZE + 7):
                again = Memory(memory.content)
                again.budget = repair_cut
                result, payload, _ = load(again)
                if result in (lib.NVM_BLANK, lib.NVM_LOST):
                    assert k == 1, "only a block that was never whole may be lost"
                    continue
                assert payload in (payload_of(k - 1), payload_of(k))
                again.budget = None
                assert load(again)[1] == payload
        store(before, payload_of(k))
        assert load(before)[:2] == (lib.NVM_OK, payload_of(k))


def test_after_a_cut_the_next_store_works():
    memory = Memory()
    store(memory, payload_of(1))
    for k, cut in enumerate(itertools.chain(range(BYTES), [None]), start=2):
        memory.budget = cut
        store(memory, payload_of(k))
        memory.budget = None
        assert store(memory, payload_of(k + 1000)) == 0
        assert load(memory)[:2] == (lib.NVM_OK, payload_of(k + 1000))


@given(st.integers(0, BYTES - 1), st.integers(1, 255), st.integers(1, 5))
def test_a_damaged_copy_is_repaired_from_the_other(at: int, flip: int, writes: int):
    memory = Memory()
    for k in range(1, writes + 1):
        store(memory, payload_of(k))
    memory.content[40 + at] ^= flip
    result, payload, copy = load(memory)
    newest = writes % 2 == 0 if writes > 1 else 0
    damaged = at // (BYTES // 2)
    assert (result, copy) == (lib.NVM_REPAIRED, damaged)
    expected = writes - 1 if writes > 1 and damaged == newest else writes
    assert payload == payload_of(expected)
    assert load(memory)[:2] == (lib.NVM_OK, payload)


def test_two_damaged_copies_are_lost_and_written_anew():
    memory = Memory()
    store(memory, payload_of(1))
    memory.content[40] ^= 1
    memory.content[40 + BYTES - 1] ^= 1
    assert load(memory)[::2] == (lib.NVM_LOST, 255)
    assert store(memory, payload_of(2)) == 0
    assert load(memory)[:2] == (lib.NVM_OK, payload_of(2))


def test_memory_that_cannot_be_read_or_written():
    memory = Memory()
    memory.broken = True
    assert load(memory)[0] == lib.NVM_LOST
    assert store(memory, payload_of(1)) != 0
