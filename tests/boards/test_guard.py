"""The guard of a board's state: a flip at rest is as if it had not been, and told; a flip at work does not last in what
no step changes."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal import icd
from hal._native import ffi, lib
from tests.boards.harness import COMPUTE_NODE, NODE_CONFIG, POWER_BOARD, POWER_CONFIG, Board, Frame, one
from tests.boards.test_assign import assign

KINDS = (COMPUTE_NODE, POWER_BOARD)
HEAD = 64
"""Bits before a guard's copy."""
REPAIRED = icd.BoardEvent.BOARD_MEMORY_REPAIRED


class Guarded:
    """A board at work and its guard, as a microcontroller holds them."""

    def __init__(self, kind: int) -> None:
        self.board = Board(kind)
        self.kind = kind
        self.words = ffi.new("uint32_t[]", int(lib.board_guard_words(kind)))
        self.guard = ffi.buffer(self.words)
        name, config = ("node_config", NODE_CONFIG) if kind == COMPUTE_NODE else ("power_config", POWER_CONFIG)
        self.board.command(name, **config)
        for _ in range(3):
            self.board.tick()
        lib.board_guard_begin(self.board.c, kind, self.words)
        self.begin = int(lib.board_bytes(kind)) - len(self.guard) + 8
        """offset of what is guarded: all of the state but the receiver, and channels that are not there"""
        self.state = ffi.buffer(ffi.cast("uint8_t *", self.board.c) + self.begin, self.words[1])

    def close(self) -> None:
        assert lib.board_guard_close(self.board.c, self.kind, self.words) == 0

    def tick(self) -> list[Frame]:
        """One TICK as a microcontroller takes it."""
        return self.receive(self.board.tick_wire())

    def receive(self, wire: bytes, flipped: int | None = None) -> list[Frame]:
        """Bytes as a microcontroller takes them; flipped: a bit of the state that flips just after the guard looked."""
        assert self.open() == 0
        if flipped is not None:
            flip(self.state, flipped)
        frames = self.board.receive(wire)
        self.close()
        return frames

    def find(self, *words: int) -> int:
        """Where these words stand in the state, in bits."""
        at = self.state[:].find(struct.pack(f"<{len(words)}I", *words))
        assert at >= 0
        return 8 * at

    def open(self) -> int:
        return int(lib.board_guard_open(self.board.c, self.kind, self.words))


def flip(memory: Any, bit: int) -> None:
    memory[bit // 8] = bytes([memory[bit // 8][0] ^ 1 << bit % 8])


def repairs(frames: list[Frame]) -> list[tuple[int, int]]:
    return [(f.fields["arg0"], f.fields["arg1"]) for f in frames if f.fields.get("code") == REPAIRED]


@pytest.mark.parametrize("kind", KINDS)
def test_every_flip_of_the_state_is_undone_and_told(kind: int) -> None:
    guarded = Guarded(kind)
    before, guard = guarded.state[:], guarded.guard[:]
    right = np.frombuffer(before, np.uint8)
    step = 1 if kind == COMPUTE_NODE else 13  # bits; the power board's list of channels is long
    for bit in range(0, 8 * len(before), step):
        flip(guarded.state, bit)
        assert guarded.open() == 0
        told = np.count_nonzero(np.frombuffer(guarded.state, np.uint8) != right)
        assert 1 <= told <= 6, bit  # the event, and no more
        guarded.state[:] = before
        assert guarded.guard[:] == guard


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_a_flip_changes_no_byte_but_the_event(kind: int, data: st.DataObject) -> None:
    damaged, right = Guarded(kind), Guarded(kind)
    bit = data.draw(st.integers(0, 8 * len(damaged.state) - 1))
    flip(damaged.state, bit)
    assert damaged.open() == 0
    first, expected = damaged.board.tick(), right.board.tick()
    assert repairs(first) == [(damaged.begin + bit // 8, 1)]
    others = [(f.name, f.fields) for f in first if f.fields.get("code") != REPAIRED]
    assert others == [(f.name, f.fields) for f in expected]
    assert [f.fields for f in damaged.board.tick()] == [f.fields for f in right.board.tick()]


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_a_flip_of_the_guard_changes_nothing(kind: int, data: st.DataObject) -> None:
    guarded = Guarded(kind)
    before = guarded.state[:]
    flip(guarded.guard, data.draw(st.one_of(st.integers(0, HEAD - 1), st.integers(0, 8 * len(guarded.guard) - 1))))
    assert guarded.open() == 0
    assert guarded.state[:] == before
    guarded.close()
    assert guarded.open() == 0


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.randoms(use_true_random=False))
def test_any_damage_to_the_state_alone_is_undone(kind: int, seed: Any) -> None:
    guarded = Guarded(kind)
    at = seed.randrange(len(guarded.state))
    n = min(seed.randrange(1, 200), len(guarded.state) - at)
    guarded.state[at : at + n] = bytes(b ^ seed.randrange(1, 256) for b in guarded.state[at : at + n])
    assert guarded.open() == 0
    assert repairs(guarded.board.tick()) == [(guarded.begin + at, n)]


@pytest.mark.parametrize("kind", KINDS)
def test_when_no_two_agree_the_board_is_given_up(kind: int) -> None:
    guarded = Guarded(kind)
    flip(guarded.state, 8 * 100)
    flip(guarded.guard, HEAD + 8 * 200)
    assert guarded.open() == -1


def test_there_is_no_guard_of_no_board() -> None:
    assert lib.board_guard_words(7) == 0
    for kind in KINDS:
        assert 800 < lib.board_guard_words(kind) * 4 < lib.board_bytes(kind)


# ---------------------------------------------------------------- while the state is worked on


def leased(cap_mw: int, sequence: int = 1) -> Guarded:
    """A node with a lease of 30 s."""
    guarded = Guarded(COMPUTE_NODE)
    guarded.receive(lease(guarded, cap_mw, sequence))
    return guarded


def lease(guarded: Guarded, cap_mw: int, sequence: int) -> bytes:
    expiry = guarded.board.t_us + 30_000_000
    return guarded.board.wire("lease", session=1, lease_seq=sequence, cap_mw=cap_mw, expiry_us=expiry, clock_mhz=0)


LASTING = {
    "configuration": lambda guarded: guarded.find(NODE_CONFIG["floor_mw"], NODE_CONFIG["max_mw"]),
    "lease": lambda guarded: guarded.find(1, 1, 300_000) + 64,
    "hardware id": lambda guarded: guarded.find(0x03020100, 0x07060504),
}


@pytest.mark.parametrize("what", LASTING)
@given(bit=st.integers(0, 31))
def test_what_no_step_changes_is_right_again_after_the_step(what: str, bit: int) -> None:
    guarded, right = leased(300_000), leased(300_000)
    at = LASTING[what](guarded) + bit
    before = guarded.state[at // 8]
    guarded.receive(guarded.board.tick_wire(), flipped=at)
    right.tick()
    assert guarded.state[at // 8] == before
    after, expected = guarded.tick(), right.tick()
    assert repairs(after) == [(0, 1)]
    assert one(after, "done_node").fields["cap_mw"] == one(expected, "done_node").fields["cap_mw"]
    assert repairs(guarded.tick()) == []


@pytest.mark.parametrize("kind", KINDS)
@given(bit=st.integers(0, 15))
def test_a_board_keeps_its_address(kind: int, bit: int) -> None:
    guarded = Guarded(kind)
    at = guarded.find(0x03020100, 0x07060504) - 16  # it stands before the hardware id
    wire = guarded.board.tick_wire()
    assert guarded.receive(wire, flipped=at + bit) == []  # it is for another one
    after = guarded.receive(wire)
    assert repairs(after) == [(0, 1)]
    assert {f.src for f in after} == {guarded.board.role}
    assert after[-1].name.startswith("done")


@pytest.mark.parametrize("what", LASTING)
@given(bit=st.integers(0, 31))
def test_what_flips_as_it_is_copied_is_given_up(what: str, bit: int) -> None:
    guarded = leased(300_000)
    at = LASTING[what](guarded) + bit
    flip(guarded.state, at)
    flip(guarded.guard, HEAD + at)
    struct.pack_into("<I", guarded.guard, 0, sum_of_words(guarded.state[:]))
    assert guarded.open() == -1


def sum_of_words(data: bytes) -> int:
    """Rotated left by one and added to, word by word."""
    found = 0
    for (word,) in struct.iter_unpack("<I", data):
        found = ((found << 1 | found >> 31) + word) & 0xFFFF_FFFF
    return found


def test_what_is_ordered_lasts() -> None:
    guarded = leased(300_000)
    guarded.receive(lease(guarded, 200_000, 2))
    assert one(guarded.tick(), "done_node").fields["cap_mw"] == 0  # off
    assert guarded.find(1, 2, 200_000)
    changed = NODE_CONFIG | {"floor_mw": 130_000}
    guarded.receive(guarded.board.wire("node_config", session=1, command_seq=2, **changed))
    assert guarded.find(130_000, NODE_CONFIG["max_mw"])
    assert not repairs(guarded.tick())


@given(bit=st.integers(0, 31))
def test_a_damaged_copy_puts_nothing_back(bit: int) -> None:
    guarded = leased(300_000)
    at = guarded.find(NODE_CONFIG["floor_mw"], NODE_CONFIG["max_mw"])
    assert guarded.open() == 0
    flip(guarded.guard, HEAD + at + bit)
    guarded.board.tick()
    guarded.close()
    assert guarded.find(NODE_CONFIG["floor_mw"], NODE_CONFIG["max_mw"]) == at
    assert not repairs(guarded.tick())


@pytest.mark.parametrize("kind", KINDS)
def test_a_board_that_is_of_no_kind_or_has_two_addresses_is_given_up(kind: int) -> None:
    for before_hardware_id in (32, 16):  # kind, address
        guarded = Guarded(kind)
        flip(guarded.state, guarded.find(0x03020100, 0x07060504) - before_hardware_id)
        lib.board_guard_begin(guarded.board.c, kind, guarded.words)
        assert guarded.open() == -1


@given(bit=st.integers(0, 31))
def test_an_order_hides_nothing_of_what_the_board_is(bit: int) -> None:
    guarded = leased(300_000)
    at = guarded.find(0x03020100, 0x07060504) + bit
    changed = NODE_CONFIG | {"floor_mw": 130_000}
    wire = guarded.board.wire("node_config", session=1, command_seq=2, **changed)
    before = guarded.state[at // 8]
    guarded.receive(wire, flipped=at)
    assert guarded.state[at // 8] == before
    assert guarded.find(130_000, NODE_CONFIG["max_mw"])
    assert repairs(guarded.tick()) == [(0, 1)]


@pytest.mark.parametrize("kind", KINDS)
def test_an_address_changes_only_where_one_may_be_assigned(kind: int) -> None:
    guarded = Guarded(kind)
    at_tx = guarded.state[:].find(struct.pack("<Q", int(ffi.cast("uintptr_t", guarded.board.port.c.tx))))
    in_link = at_tx - ffi.offsetof("struct board_port", "tx") + ffi.sizeof("struct board_port")
    assert guarded.state[in_link : in_link + 2] == struct.pack("<H", guarded.board.role)
    wire = guarded.board.tick_wire()
    flip(guarded.state, 8 * in_link + 9)
    flip(guarded.state, guarded.find(0x03020100, 0x07060504) - 16 + 9)
    guarded.close()
    assert repairs(guarded.receive(wire)) == [(0, 2)]


@pytest.mark.parametrize("kind", KINDS)
def test_an_address_that_is_assigned_lasts(kind: int) -> None:
    board = Board(kind, role=int(icd.Address.NONE))
    words = ffi.new("uint32_t[]", int(lib.board_guard_words(kind)))
    lib.board_guard_begin(board.c, kind, words)
    (hello,) = assign(board, 300)
    lib.board_guard_close(board.c, kind, words)
    assert lib.board_guard_open(board.c, kind, words) == 0
    assert hello.src == 300
    board.role = 300
    assert [f.src for f in board.send("hello_req")] == [300]


@given(bit=st.integers(0, 31))
def test_another_command_hides_no_damage_to_the_configuration(bit: int) -> None:
    guarded = leased(300_000)
    at = guarded.find(NODE_CONFIG["floor_mw"], NODE_CONFIG["max_mw"]) + bit
    before = guarded.state[at // 8]
    guarded.receive(guarded.board.wire("node_power", session=1, command_seq=2, on=0), flipped=at)
    assert guarded.state[at // 8] == before
    assert repairs(guarded.tick()) == [(0, 1)]


@given(bit=st.integers(0, 31))
def test_a_cap_that_flips_behind_its_lease_is_given_up(bit: int) -> None:
    guarded = leased(300_000)
    assert guarded.open() == 0
    guarded.board.receive(lease(guarded, 200_000, 2))
    flip(guarded.state, guarded.find(1, 2, 200_000) + 64 + bit)
    assert lib.board_guard_close(guarded.board.c, guarded.kind, guarded.words) == -1


@given(bit=st.integers(0, 31), start=st.integers(0, 60))
def test_a_pointer_gone_wild_changes_no_configuration(bit: int, start: int) -> None:
    """The log of commands and what stands behind it, the sums among it, are overwritten with nothing."""
    guarded = Guarded(POWER_BOARD)
    at = guarded.find(POWER_CONFIG["capacity_mah"], POWER_CONFIG["charge_ma"])
    right = guarded.state[at // 8 : at // 8 + 8]
    assert guarded.open() == 0
    flip(guarded.state, at + bit)
    lost = start + ffi.offsetof("struct board_port", "tx") + 64
    guarded.state[lost : lost + 64] = bytes(64)
    code = lib.board_guard_close(guarded.board.c, guarded.kind, guarded.words)
    assert code == -1 or guarded.state[at // 8 : at // 8 + 8] == right
