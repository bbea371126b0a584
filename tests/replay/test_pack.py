"""Packing loses nothing, whatever is on the tape, and nothing that is fed to unpacking can harm."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal import icd
from hal._native import ffi, lib
from hal.recording import RECORD_HEAD, Packer, records_of
from tests.replay.by_the_page import Reader

KINDS = (int(lib.TAPE_TICK), int(lib.TAPE_TO_BOARD), int(lib.TAPE_FROM_BOARD), int(lib.TAPE_BOOT), int(lib.TAPE_STEP))
TICK, TO_BOARD, FROM_BOARD, _, STEP = KINDS
PACKER = Packer()


def frame(type_: int, src: int, dst: int, flags: int, seq: int, t_us: int, payload: bytes) -> bytes:
    header = ffi.new("struct bus_header *", {"type": type_, "src": src, "dst": dst, "flags": flags, "seq": seq})
    header.t_us, header.length = t_us, len(payload)
    wire = ffi.new("uint8_t[]", int(lib.BUS_MAX_WIRE))
    return bytes(ffi.buffer(wire, lib.bus_frame_encode(header, payload, wire)))


def record(kind: int, body: bytes) -> bytes:
    return RECORD_HEAD.pack(kind, len(body)) + body


addresses = st.sampled_from([1, 2, 16, 256, 300, 65535])
payloads = st.binary(max_size=int(lib.BUS_MAX_PAYLOAD))
frames = st.builds(
    frame, st.integers(0, 63), addresses, addresses, st.integers(0, 255), st.integers(0, 65535),
    st.integers(0, (1 << 48) - 1), payloads,
)  # fmt: skip
damaged = st.builds(lambda f, at, bit: f[: at % len(f)] + bytes([f[at % len(f)] ^ 1 << bit]) + f[at % len(f) + 1 :],
                    frames, st.integers(0, 300), st.integers(0, 7))  # fmt: skip
torn = st.builds(lambda f, at: f[: at % len(f)], frames, st.integers(0, 300))
wires = st.lists(st.one_of(frames, damaged, torn, st.binary(max_size=20)), max_size=4).map(b"".join)
boards = st.integers(0, 65535).map(lambda n: n.to_bytes(2, "little"))
lines = st.builds(lambda kind, board, wire: record(kind, board + wire), st.sampled_from([TO_BOARD, FROM_BOARD]),
                  boards, wires)  # fmt: skip
times = st.integers(0, (1 << 64) - 1).map(lambda t: t.to_bytes(8, "little"))
batches = st.lists(st.builds(lambda board, wire: board + len(wire).to_bytes(2, "little") + wire, boards, wires),
                   max_size=4).map(b"".join)  # fmt: skip
steps = st.builds(lambda t, rx, tx: record(STEP, t + len(rx).to_bytes(4, "little") + rx + tx), times, batches, batches)
anything = st.builds(record, st.integers(0, 127), st.binary(max_size=60))
tapes = st.lists(st.one_of(times.map(lambda t: record(TICK, t)), lines, steps, anything), max_size=12).map(b"".join)


@given(tapes)
def test_what_is_packed_comes_back(tape: bytes) -> None:
    packed = PACKER.pack(tape)
    assert PACKER.unpack(packed, len(tape)) == tape
    assert len(packed) <= lib.pack_bound(len(tape))


@given(tapes)
def test_the_page_says_how_to_unpack(tape: bytes) -> None:
    assert Reader(PACKER.pack(tape)).records() == tape


def test_a_longer_frame_behind_a_shorter_one() -> None:
    sizes = ((40, 1), (3, 2), (40, 3), (0, 0), (40, 3))
    wires = b"".join(frame(20, 1, 256, 0, k, 0, bytes([v]) * n) for k, (n, v) in enumerate(sizes))
    tape = record(TO_BOARD, b"\x01\x00" + wires)
    packed = PACKER.pack(tape)
    assert PACKER.unpack(packed, len(tape)) == Reader(packed).records() == tape


@given(tapes, st.data())
def test_damaged_packings_are_refused_or_something_else_and_never_harm(tape: bytes, data: st.DataObject) -> None:
    packed = bytearray(PACKER.pack(tape) or b"\0")
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    try:
        again = PACKER.unpack(bytes(packed), len(tape))
    except ValueError:
        return
    assert len(again) == len(tape)


@given(st.binary(max_size=300), st.integers(0, 2000))
def test_garbage_never_harms(data: bytes, size: int) -> None:
    for call in (lambda: PACKER.pack(data), lambda: PACKER.unpack(data, size)):
        try:
            call()
        except ValueError:
            continue


def flow(ticks: int) -> bytes:
    """A board that hears and says the same few messages in every tick, with numbers that move."""
    tape = b""
    for k in range(1, ticks + 1):
        t_us = k * 100_000
        lease = icd.encode("lease", session=1, lease_seq=k, cap_mw=300_000, expiry_us=t_us + 3_000_000, clock_mhz=0)
        to = frame(icd.MESSAGES["lease"].type, 1, 256, 0, k, t_us - 100_000, lease)
        job = icd.encode("node_job_stop", session=1, command_seq=k, job_id=k % 7)
        said = frame(icd.MESSAGES["node_tlm"].type, 256, 1, 0, k, t_us, job * 3)
        rx = b"\x01\x00" + len(said).to_bytes(2, "little") + said
        tape += record(TICK, t_us.to_bytes(8, "little"))
        tape += record(TO_BOARD, b"\x01\x00" + to) + record(FROM_BOARD, b"\x01\x00" + said)
        tape += record(STEP, t_us.to_bytes(8, "little") + len(rx).to_bytes(4, "little") + rx)
    return tape


def test_frames_that_go_on_cost_only_what_changes() -> None:
    tape = flow(500)
    packed = PACKER.pack(tape)
    assert Reader(packed).records() == tape
    assert PACKER.unpack(packed, len(tape)) == tape
    assert len(packed) < len(tape) / 4


def test_frames_that_come_again_cost_a_byte() -> None:
    again = frame(icd.MESSAGES["lease"].type, 1, 256, 0, 7, 100_000, bytes(20))
    sizes = [len(PACKER.pack(record(TO_BOARD, b"\x01\x00" + again * n))) for n in (1, 2, 3, 100)]
    assert Reader(PACKER.pack(record(TO_BOARD, b"\x01\x00" + again * 3))).records()[7:] == again * 3
    assert [size - sizes[0] for size in sizes] == [0, 1, 2, 99]


@pytest.mark.parametrize("tape", [flow(1)[:-1], record(128, b"")], ids=["half a record", "a kind above 127"])
def test_what_is_no_tape_is_refused(tape: bytes) -> None:
    with pytest.raises(ValueError):
        PACKER.pack(tape)


def test_records_are_read_as_they_were_written() -> None:
    assert [(r.kind, r.body) for r in records_of(record(3, b"abc") + record(200, b""))] == [(3, b"abc"), (200, b"")]
