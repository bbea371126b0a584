"""A board on its line: identity, lock-step, commands under loss and repetition, counters, damage, chunks, resets."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal import icd
from hal._native import lib
from hal.icd import AckCode
from tests.boards.harness import (
    ANY,
    BENCH,
    COMMANDED,
    COMPUTE_NODE,
    FIRMWARE,
    FLIGHT,
    HARDWARE_ID,
    NODE_CONFIG,
    NODE_SENSORS,
    POWER_BOARD,
    POWER_CONFIG,
    POWER_SENSORS,
    REPEAT,
    ROLE,
    TICK_US,
    Board,
    Frame,
    Memory,
    encode,
    events,
    one,
    parse,
)

KINDS = [COMPUTE_NODE, POWER_BOARD]
DONE = {COMPUTE_NODE: "done_node", POWER_BOARD: "done_power"}


def encode_again(wire: bytes) -> bytes:
    """The same frames, flagged as repeated."""
    return b"".join(
        encode(f.name, f.src, f.dst, f.seq, f.t_us, icd.encode(f.name, **f.fields), REPEAT) for f in parse(wire)
    )


def same(frames: list[Frame]) -> list[tuple[str, int, dict[str, Any]]]:
    return [(frame.name, frame.seq, frame.fields) for frame in frames]


@pytest.mark.parametrize("kind", KINDS)
def test_hello_says_who_the_board_is(kind: int):
    board = Board(kind)
    expected = {
        "kind": kind,
        "role": ROLE[kind],
        "hardware_id": HARDWARE_ID,
        "firmware_hash": FIRMWARE,
        "image_crc": 7,
        "icd_hash": icd.ICD_HASH,
        "boot_count": 1,
        "reset_cause": 1,
        "capabilities": 1,
    }
    assert board.hello.fields == expected
    assert (board.hello.dst, board.hello.seq) == (ANY, 0)
    for source in (FLIGHT, BENCH):
        (hello,) = board.send("hello_req", source)
        assert (hello.fields, hello.dst, hello.seq) == (expected, source, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_boots_are_counted_in_persistent_memory(kind: int):
    memory = Memory()
    counts = [Board(kind, memory).hello.fields["boot_count"] for _ in range(3)]
    assert counts == [1, 2, 3]
    memory.content[0] ^= 0xFF
    board = Board(kind, memory)
    assert board.hello.fields["boot_count"] in (3, 4)
    assert ("board_nvm_repaired", 1, 0) in events(board.tick())


@pytest.mark.parametrize("kind", KINDS)
def test_a_repeated_tick_is_answered_from_the_cache(kind: int):
    board = Board(kind)
    config = ("node_config", NODE_CONFIG) if kind == COMPUTE_NODE else ("power_config", POWER_CONFIG)
    board.command(config[0], **config[1])
    wire = board.tick_wire() if kind == COMPUTE_NODE else board.tick_wire(channels=[(0, 0, 0)] * 30)
    first = board.receive(wire)
    answer = [frame for frame in first if frame.name.startswith("done")]
    for _ in range(3):
        again = board.receive(wire)
        assert same(again) == same(answer)
        assert all(frame.flags == REPEAT for frame in again)
        assert {(frame.t_us, frame.dst) for frame in again} == {(board.t_us, BENCH)}
    following = board.tick()
    assert one(following, DONE[kind]).seq == answer[-1].seq + 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_tick_that_does_not_follow_is_refused(kind: int):
    """Two boards, one is also sent TICKs that do not follow: what they do is the same."""
    board, other = Board(kind), Board(kind)
    for k in range(1, 6):
        assert one(board.tick(), DONE[kind]).fields["state_hash"] == one(other.tick(), DONE[kind]).fields["state_hash"]
        for wrong_us in (board.t_us + 2 * TICK_US, board.t_us - TICK_US, board.t_us + 1):
            sensors = NODE_SENSORS if kind == COMPUTE_NODE else POWER_SENSORS | {"pages": 0}
            name = "tick_node" if kind == COMPUTE_NODE else "tick_power"
            payload = icd.encode(name, dt_us=TICK_US, **sensors)
            frames = board.receive(encode(name, BENCH, board.role, k, wrong_us, payload, REPEAT))
            assert [frame.name for frame in frames] == ["event"]
            assert events(frames)[0][0] == "board_tick_refused"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dt_us", [0, 10_000_001])
def test_a_tick_of_no_or_too_long_a_time_is_refused(kind: int, dt_us: int):
    board = Board(kind)
    board.tick()
    frames = board.tick(dt_us)
    assert DONE[kind] not in [frame.name for frame in frames] or dt_us == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_hello_request_of_the_bench_lets_the_clock_be_set_again(kind: int):
    board = Board(kind)
    board.tick()
    board.send("hello_req", BENCH)
    board.t_us += 77 * TICK_US
    assert DONE[kind] in [frame.name for frame in board.tick()]
    board.send("hello_req", FLIGHT)
    board.t_us += 77 * TICK_US
    assert DONE[kind] not in [frame.name for frame in board.tick()]


@pytest.mark.parametrize("kind", KINDS)
def test_a_repeated_tick_from_before_a_boot_is_not_stepped_again(kind: int):
    board = Board(kind)
    late = board.tick_wire()
    again = encode_again(late)
    assert one(board.receive(late), DONE[kind]).t_us == TICK_US
    board.boot(COMMANDED)
    assert [name for name, *_ in events(board.receive(again))] == ["board_tick_refused"]
    board.send("hello_req", FLIGHT)
    assert [name for name, *_ in events(board.receive(again))] == ["board_tick_refused"]
    board.send("hello_req", BENCH)
    assert one(board.receive(again), DONE[kind]).t_us == TICK_US, "asked first: this boot has not stepped it"


@pytest.mark.parametrize("kind", KINDS)
def test_a_hello_request_of_the_bench_changes_nothing_when_the_next_tick_follows(kind: int):
    board, asked = Board(kind), Board(kind)
    for k in range(110):
        if k % 3 == 0:
            asked.send("hello_req", BENCH)
        expected, got = board.tick(), asked.tick()
        assert [(f.name, f.seq) for f in got] == [(f.name, f.seq) for f in expected]
        assert one(got, DONE[kind]).fields["state_hash"] == one(expected, DONE[kind]).fields["state_hash"]


def test_a_tick_waits_for_its_pages():
    board = Board(POWER_BOARD)
    board.command("power_config", **POWER_CONFIG)
    wire = board.tick_wire(channels=[(0, 0, 0)] * 30, strings=[5] * 16)
    frames = [b"\0" + run + b"\0" for run in wire.split(b"\0") if run]
    assert len(frames) == 4
    for lost in range(3):
        sent = board.receive(b"".join(frame for k, frame in enumerate(frames) if k != lost)) if lost == 0 else []
        assert sent == []
    assert board.receive(frames[-1]) == [], "still incomplete"
    assert one(board.receive(wire), "done_power").t_us == TICK_US


LINE = st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["once", "twice", "lost", "late"])), max_size=40)


@given(LINE)
def test_commands_under_loss_repetition_and_reorder_are_executed_at_most_once(arrivals: list[tuple[int, str]]):
    """A new shed table is a command whose execution can be counted: every one is written to memory."""
    board = Board(POWER_BOARD)
    board.command("power_config", **POWER_CONFIG)
    wires: dict[int, bytes] = {}
    written: list[int] = []
    late: list[bytes] = []

    def deliver(wire: bytes) -> None:
        before = board.memory.writes
        (ack,) = board.receive(wire)
        sequence, code = ack.fields["command_seq"], ack.fields["code"]
        if board.memory.writes != before:
            assert code == AckCode.OK
            written.append(sequence)
        else:
            assert code in (AckCode.REPEATED, AckCode.STALE_SEQUENCE)
            assert code != AckCode.REPEATED or sequence in written

    for offset, fate in arrivals:
        sequence = 2 + offset
        if sequence not in wires:
            tiers = [{"enter_cpct": 3000, "leave_cpct": 4000, "enter_mv": sequence}]
            wires[sequence] = board.wire("shed_tiers", session=1, command_seq=sequence, tiers=tiers)
        if fate == "late":
            late.append(wires[sequence])
        for _ in range({"once": 1, "twice": 2, "lost": 0, "late": 0}[fate]):
            deliver(wires[sequence])
    for wire in late:
        deliver(wire)
    assert written == sorted(set(written)), "each once, in order"


def test_stale_sessions_are_told_the_newer_one():
    board = Board(COMPUTE_NODE)
    board.session = 9
    board.command("node_config", **NODE_CONFIG)
    (ack,) = board.send("node_power", session=8, command_seq=1, on=0)
    assert (ack.fields["code"], ack.fields["session"]) == (AckCode.STALE_SESSION, 9)


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_commands_each_get_their_reason(kind: int):
    board = Board(kind)
    other = "power_config" if kind == COMPUTE_NODE else "node_config"
    values = POWER_CONFIG if kind == COMPUTE_NODE else NODE_CONFIG
    assert board.command(other, **values) == AckCode.NOT_SUPPORTED
    mine = "node_power" if kind == COMPUTE_NODE else "channel_clear"
    head = (1).to_bytes(4, "little") + (9).to_bytes(4, "little")
    for payload in (head, head + bytes(30)):
        ack = one(board.receive(board.wire_of(mine, payload)), "ack")
        assert ack.fields["code"] == AckCode.BAD_LENGTH
        head = head[:4] + (10).to_bytes(4, "little")
    ack = one(board.receive(board.wire_of(mine, b"\x01\x02")), "ack")
    assert (ack.fields["code"], ack.fields["session"]) == (AckCode.BAD_LENGTH, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_reset_takes_effect_after_the_step_and_only_once(kind: int):
    memory = Memory()
    board = Board(kind, memory)
    board.tick()
    wire = board.wire("reset", session=3, command_seq=8)
    assert one(board.receive(wire), "ack").fields["code"] == AckCode.OK
    assert lib.board_reset_pending(board.c) == 0
    frames = board.tick()
    assert frames[-1].name == DONE[kind]
    assert lib.board_reset_pending(board.c) == COMMANDED
    assert board.receive(board.tick_wire()) == [], "nothing more until it boots"
    hello = board.boot(COMMANDED)
    assert (hello.fields["boot_count"], hello.fields["reset_cause"]) == (2, COMMANDED)
    board.t_us -= TICK_US
    assert one(board.receive(wire), "ack").fields["code"] == AckCode.REPEATED
    board.tick()
    assert lib.board_reset_pending(board.c) == 0


def reports(frames: list[Frame]) -> list[Frame]:
    return [frame for frame in frames if frame.name == "link_report"]


class HostCount:
    """The host's own account of a line."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self.sent_bytes = self.sent_frames = self.got_bytes = self.got_frames = 0
        self.damaged = self.gaps = self.unknown = 0

    def deliver(self, wire: bytes, frames: int) -> list[Frame]:
        self.sent_bytes += len(wire)
        self.sent_frames += frames
        return self.board.receive(wire)

    def got(self, frame: Frame) -> None:
        self.got_bytes += len(frame.wire)
        self.got_frames += 1

    def good(self) -> bytes:
        return self.board.wire("channel_clear", session=0, command_seq=0, channel=1)

    def flip(self, at: int, value: int) -> None:
        wire = self.good()
        at = 2 + at % (len(wire) - 4)
        other = value if value != wire[at] else value % 255 + 1
        self.damaged += other != wire[at]
        self.gaps += 1
        self.take(self.deliver(wire[:at] + bytes([other]) + wire[at + 1 :], 0))

    def lose(self) -> None:
        self.good()
        self.gaps += 1

    def stranger(self) -> None:
        self.unknown += 1
        self.take(self.deliver(encode("node_power", FLIGHT, 999, 5, 0, bytes(9)), 1))

    def take(self, frames: list[Frame]) -> None:
        for frame in frames:
            self.got(frame)

    def expected(self) -> dict[str, int]:
        return {
            "rx_bytes": self.sent_bytes,
            "rx_frames": self.sent_frames,
            "tx_bytes": self.got_bytes,
            "tx_frames": self.got_frames,
            "sequence_gaps": self.gaps,
            "unknown_frames": self.unknown,
        }


FATES = st.lists(
    st.tuples(st.sampled_from(["good", "flip", "lost", "idle", "stranger"]), st.integers(0, 60), st.integers(1, 255)),
    max_size=30,
)


@pytest.mark.parametrize("kind", KINDS)
@given(fates=FATES, first_seq=st.sampled_from([0, 65_530]))
def test_link_report_counts_what_the_host_counts(kind: int, fates: list[tuple[str, int, int]], first_seq: int):
    board = Board(kind)
    board.seq[FLIGHT] = first_seq
    host = HostCount(board)
    for k in range(102):
        if k % 7 == 0:  # whoever asks may begin his numbers anew; nobody counts these two frames
            board.send("hello_req")
            board.seq[FLIGHT] -= 1
        host.take(host.deliver(host.good(), 1))
        for fate, at, value in fates[k : k + 1]:
            if fate == "flip":
                host.flip(at, value)
            elif fate == "lost":
                host.lose()
            elif fate == "stranger":
                host.stranger()
            elif fate == "idle":
                host.take(host.deliver(bytes(at), 0))
        host.take(host.deliver(host.good(), 1))  # shows the loss of the one before it
        for frame in host.deliver(board.tick_wire(), 1):
            if frame.name == "link_report":
                report = frame.fields
                assert {name: report[name] for name in host.expected()} == host.expected()
                assert report["crc_errors"] + report["cobs_errors"] + report["length_errors"] == host.damaged
                return
            host.got(frame)
            if frame.name.startswith("done"):
                assert (frame.fields["rx_frames"], frame.fields["rx_errors"]) == (host.sent_frames, host.damaged)
    raise AssertionError("no link report in 10 s")


@pytest.mark.parametrize("kind", KINDS)
@given(cuts=st.lists(st.integers(1, 97), min_size=1, max_size=30))
def test_any_chunking_gives_the_same_bytes(kind: int, cuts: list[int]):
    script = Board(kind)
    name, config = ("node_config", NODE_CONFIG) if kind == COMPUTE_NODE else ("power_config", POWER_CONFIG)
    wire = script.wire(name, session=1, command_seq=1, **config)
    for _ in range(4):
        wire += script.tick_wire() + script.wire("reset", session=0, command_seq=0)
    whole, parts = Board(kind), Board(kind)
    expected = whole.receive(wire)
    got, at, k = [], 0, 0
    while at < len(wire):
        n = cuts[k % len(cuts)]
        got += parts.receive(wire[at : at + n])
        at, k = at + n, k + 1
    assert [frame.wire for frame in got] == [frame.wire for frame in expected]
    assert len(expected) > 8


@pytest.mark.parametrize("kind", KINDS)
@given(noise=st.binary(max_size=400))
def test_noise_steps_nothing(kind: int, noise: bytes):
    board, other = Board(kind), Board(kind)
    board.receive(noise + b"\0")
    fields, expected = one(board.tick(), DONE[kind]).fields, one(other.tick(), DONE[kind]).fields
    assert fields["state_hash"] == expected["state_hash"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_flight_build_takes_no_bench_message(kind: int):
    board = Board(kind, capabilities=0)
    assert board.tick() == []


@pytest.mark.parametrize("kind", KINDS)
def test_only_bench_ticks_and_only_flight_commands(kind: int):
    board = Board(kind)
    sensors = NODE_SENSORS if kind == COMPUTE_NODE else POWER_SENSORS | {"pages": 0}
    tick = "tick_node" if kind == COMPUTE_NODE else "tick_power"
    board.t_us = TICK_US
    assert board.send(tick, FLIGHT, dt_us=TICK_US, **sensors) == []
    assert board.send("reset", BENCH, session=1, command_seq=1) == []


def test_sequence_numbers_run_apart_for_flight_and_bench():
    board = Board(COMPUTE_NODE)
    seen: dict[int, list[int]] = {FLIGHT: [], BENCH: []}
    board.command("node_config", **NODE_CONFIG)
    for _ in range(150):
        for frame in board.tick():
            seen[frame.dst].append(frame.seq)
    assert seen[BENCH] == list(range(150))
    assert seen[FLIGHT] == list(range(1, len(seen[FLIGHT]) + 1))  # 0 was the ACK


def test_no_memory_at_all():
    memory = Memory()
    memory.broken = True
    board = Board(COMPUTE_NODE, memory)
    assert board.hello.fields["boot_count"] == 1
    assert one(board.tick(), "done_node").fields["command"] == 0


def test_an_unknown_kind_has_no_size():
    assert (lib.board_bytes(0), lib.board_bytes(3), lib.board_stride(3)) == (0, 0, 0)
    for kind in KINDS:
        assert lib.board_stride(kind) % 64 == 0
        assert 0 <= lib.board_stride(kind) - lib.board_bytes(kind) < 64
