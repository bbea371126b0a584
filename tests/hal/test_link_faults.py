"""Faults on links against an independent oracle: the same bytes, the same counts, whatever passes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal._native import ffi, lib
from hal.fault_kinds import LINK, names
from tests.hal.fault_oracle import FRAME, MASK, Chance, LinkOracle, is_of_hardware

ROOM = 700
BYTES = st.lists(
    st.one_of(
        st.binary(min_size=1, max_size=60).map(lambda run: b"\0" + run.replace(b"\0", b"\1") + b"\0"),
        st.tuples(st.integers(0x3F, 0x4A), st.binary(max_size=30)).map(
            lambda frame: b"\0\5" + bytes([frame[0]]) + frame[1].replace(b"\0", b"\1") + b"\0"
        ),
        st.binary(max_size=12),
        st.just(b"\0"),
    ),
    max_size=6,
).map(b"".join)
RATE = st.one_of(st.sampled_from([0, 1 << 32, 1 << 31]), st.integers(0, 1 << 32))


def fault(kind: str, rate: int, value: int, seed: int, hold_bytes: int) -> tuple[Any, list[Any]]:
    """(struct link_fault, what it points to), acting on both directions."""
    f = ffi.new("struct link_fault *")
    f.kind, f.rate = getattr(lib, f"LINK_FAULT_{kind.upper()}"), rate
    f.delay_us, f.bytes = value if kind == "delay" else 0, value if kind == "insert" else 0
    memory = [ffi.new("uint8_t[]", hold_bytes) for _ in (0, 1)]
    for i in (0, 1):
        f.way[i].on, f.way[i].random, f.way[i].random_beside = 1, seed ^ i, seed ^ 2 ^ i
        f.way[i].hold, f.way[i].capacity = memory[i], hold_bytes
    return f, memory


def through(head: Any, direction: int, t_us: int, data: bytes) -> bytes:
    """One tick's bytes through a list of faults; nothing behind the room is touched."""
    canary = bytes([0xA5]) * 8
    buffers = [ffi.new("uint8_t[]", ROOM + len(canary)) for _ in (0, 1)]
    for buffer in buffers:
        ffi.buffer(buffer)[ROOM:] = canary
    ffi.memmove(buffers[0], data, len(data))
    n = lib.link_fault_pass(head, direction, t_us, buffers[0], len(data), ROOM, buffers[1])
    assert [bytes(ffi.buffer(buffer))[ROOM:] for buffer in buffers] == [canary, canary]
    return bytes(ffi.buffer(buffers[0], n))


@pytest.mark.parametrize("kind", names(LINK))
@given(data=st.data())
def test_as_the_oracle_says(kind: str, data: st.DataObject) -> None:
    rate, seed = data.draw(RATE), data.draw(st.integers(0, MASK))
    value = data.draw(st.integers(1, 40))
    hold_bytes = data.draw(st.sampled_from([40, 300, 5000]))
    f, memory = fault(kind, rate, value, seed, hold_bytes)
    head = ffi.new("struct link_fault **", f)
    oracles = [LinkOracle(kind, rate, value, Chance(seed ^ i), Chance(seed ^ 2 ^ i), hold_bytes) for i in (0, 1)]
    t_us = 0
    for _ in range(data.draw(st.integers(1, 8))):
        t_us += data.draw(st.integers(0, 30))
        if data.draw(st.integers(0, 5)) == 0:
            f.lifted = True
            for oracle in oracles:
                oracle.lifted = True
        for direction, oracle in enumerate(oracles):
            passing = data.draw(BYTES)
            over = f.lifted and not any(o.waiting for o in oracles)
            assert through(head, direction, t_us, passing) == (passing if over else oracle.tick(t_us, passing, ROOM))
            assert (head[0] == ffi.NULL) == bool(over)
    for i, oracle in enumerate(oracles):
        way = f.way[i]
        counts = (way.frames, way.hits, way.bytes_lost, way.bytes_added)
        assert counts == (oracle.frames, oracle.hits, oracle.lost, oracle.added)
    assert memory


@given(BYTES, st.lists(st.sampled_from(names(LINK)), min_size=2, max_size=4), st.integers(0, MASK - 9))
def test_faults_of_one_line_act_one_after_the_other(data: bytes, kinds: list[str], seed: int) -> None:
    faults = [fault(kind, 1 << 31, 5, seed + i, 5000) for i, kind in enumerate(kinds)]
    for (one, _), (following, _) in pairwise(faults):
        one.next = following
    expected = data
    for i, kind in enumerate(kinds):
        expected = LinkOracle(kind, 1 << 31, 5, Chance(seed + i), Chance((seed + i) ^ 2), 5000).tick(7, expected, ROOM)
    assert through(ffi.new("struct link_fault **", faults[0][0]), lib.LINK_TO_BOARD, 7, data) == expected


@given(BYTES, st.sampled_from(names(LINK)), st.integers(0, 200))
def test_what_finds_no_room_is_lost_and_counted(data: bytes, kind: str, room: int) -> None:
    f, _memory = fault(kind, 1 << 32, 7, 1, 5000)
    oracle = LinkOracle(kind, 1 << 32, 7, Chance(1), Chance(3), 5000)
    big = ffi.new("uint8_t[]", max(len(data), room) + 1)
    ffi.memmove(big, data, len(data))
    scratch = ffi.new("uint8_t[]", max(len(data), room) + 1)
    n = lib.link_fault_pass(ffi.new("struct link_fault **", f), 0, 0, big, len(data), room, scratch)
    assert bytes(ffi.buffer(big, n)) == oracle.tick(0, data, room)
    held = sum(len(frame) for _, frame in oracle.waiting)
    if not any(is_of_hardware(frame) for frame in FRAME.findall(data)):  # they are not counted
        assert len(data) - n - held == f.way[0].bytes_lost - f.way[0].bytes_added
