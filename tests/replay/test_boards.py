"""What a board of any back end was sent, fed to a mock, gives what the board said; a difference is named."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hal.tape
from hal._native import lib
from hal.backends.mock import MockLine
from hal.board_replay import UPSET_BODY, BoardsOutcome, replay_boards
from hal.errors import RecordingError
from hal.link import Board, Link, open_link
from hal.recording import Record
from hal.rig import Rig
from hal.tape import Tape, header_of
from hal.world import World
from tests.hal.talker import Damaged, Talker, Wrapped, small_rig
from tests.replay.flown import Flight, blocks, change, desk, write
from tests.tools import NEEDS_QEMU

TICK, TO, FROM = int(lib.TAPE_TICK), int(lib.TAPE_TO_BOARD), int(lib.TAPE_FROM_BOARD)
ROLES = ("power", "node0", "node1", "node2", "node3")


def same(path: Path, boards: int = 5) -> BoardsOutcome:
    """A replay that must find everything the same."""
    outcome = replay_boards(path)
    assert (outcome.difference, outcome.damage) == (None, None)
    assert len(outcome.boards) == boards
    assert all(board.frames > 10 for board in outcome.boards.values())
    return outcome


def left_out(outcome: BoardsOutcome) -> set[str]:
    return {what for board in outcome.boards.values() for what, count in board.left_out.items() if count}


# ------------------------------------------------------------------ back ends
EVENTS = """
[[timeline]]
at_s = 12.0
command = "board_reset"
args = { address = 257 }
[[timeline]]
at_s = 15.0
command = "board_reset"
args = { address = 16 }
[[fault]]
kind = "off"
board = "node2"
at_s = 14.0
for_s = 4.0
"""
BACKENDS = ["mock", "process", "unicorn", pytest.param("qemu", marks=NEEDS_QEMU)]


@pytest.mark.parametrize("backend", BACKENDS)
def test_boards_of_every_back_end_are_the_mock(tmp_path: Path, backend: str) -> None:
    with Flight(tmp_path / "x.rec", desk(tmp_path, EVENTS), backend=backend) as flown:
        flown.run(25)
    outcome = same(tmp_path / "x.rec")
    boots = {role: board.boots for role, board in outcome.boards.items()}
    assert boots == {"power": 1, "node0": 1, "node1": 1, "node2": 2, "node3": 1}, "a commanded reset is the board's own"
    assert left_out(outcome) == (set() if backend in ("mock", "process") else {"hardware_report"})
    assert {board.firmware for board in outcome.boards.values()} == {outcome.firmware}
    assert (outcome.ticks, outcome.sim_s) == (250, 25.0)


# ------------------------------------------------------------------ faults
BOARD_FAULTS = """
[[fault]]
kind = "reset"
board = "node0"
at_s = 10.0
[[fault]]
kind = "hang"
board = "node1"
value = 1
at_s = 10.0
for_s = 2.0
[[fault]]
kind = "brown_out"
board = "node2"
at_s = 10.0
for_s = 2.0
[[fault]]
kind = "boot_loop"
board = "node3"
at_s = 11.0
for_s = 2.0
value = 0.3
[[fault]]
kind = "hang"
board = "power"
at_s = 14.0
for_s = 1.5
[[fault]]
kind = "nvm_cut"
board = "power"
value = 10
at_s = 1.0
for_s = 12.0
[[fault]]
kind = "nvm_cut"
board = "node1"
value = 25
at_s = 15.0
for_s = 300.0
[[fault]]
kind = "bit_flip"
board = "node2"
value = 5
at_s = 20.0
[[timeline]]
at_s = 16.0
command = "board_reset"
args = { address = 257 }
"""


def test_faults_inside_boards_are_in_the_recording(tmp_path: Path) -> None:
    with Flight(tmp_path / "x.rec", desk(tmp_path, BOARD_FAULTS)) as flown:
        flown.run(40)
        done = {fault["kind"]: fault for fault in flown.world.score()["faults"]}
    assert {"reset", "hang", "brown_out", "boot_loop", "nvm_cut", "bit_flip"} <= set(done)
    outcome = same(tmp_path / "x.rec")
    assert outcome.boards["node3"].boots > 5
    cuts = [r for block in blocks(tmp_path / "x.rec") for r in block if r.kind == lib.TAPE_CUT]
    assert len(cuts) > 10


LINK_FAULTS = "".join(
    f'[[fault]]\nkind = "{kind}"\nboard = "{board}"\nat_s = 6.0\nfor_s = 20.0\n{more}\n'
    for kind, board, more in [
        ("flip", "node0", "rate = 0.002"), ("truncate", "node1", "rate = 0.05"), ("insert", "node2", "rate = 0.1"),
        ("drop", "node3", "rate = 0.1"), ("duplicate", "power", "rate = 0.2"), ("delay", "node0", "value = 0.3"),
    ]
)  # fmt: skip


@pytest.mark.parametrize("backend", ["mock", "process"])
def test_faults_on_lines_are_what_the_board_received(tmp_path: Path, backend: str) -> None:
    with Flight(tmp_path / "x.rec", desk(tmp_path, LINK_FAULTS), backend=backend) as flown:
        flown.run(40)
        assert sum(fault["hits"] for fault in flown.world.score()["faults"]) > 50
    same(tmp_path / "x.rec")


# ------------------------------------------------------------------ changed
@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("boards")


@pytest.fixture(scope="module")
def recorded(folder: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hal.tape, "BLOCK_BYTES", 32_768)
        with Flight(folder / "desk.rec", desk(folder, EVENTS)) as flown:
            flown.run(22)
    return folder / "desk.rec"


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_one_byte_changed_on_a_line_is_named(recorded: Path, folder: Path, data: st.DataObject) -> None:
    """In what a board sent: in this tick (the next, if the frame has lost its end). In what it was sent: as soon as it
    says something that follows from it, which its count of damaged frames does at the latest."""
    content = blocks(recorded)
    flat = [r for block in content for r in block]
    kind = data.draw(st.sampled_from([TO, FROM]))
    early = [i for i, r in enumerate(flat) if r.kind == kind and sum(s.kind == TICK for s in flat[:i]) < 110]
    number = data.draw(st.sampled_from(early))
    at = data.draw(st.integers(2, len(flat[number].body) - 1))
    flip = data.draw(st.integers(1, 255))
    changed = change(content, number, lambda b: b[:at] + bytes([b[at] ^ flip]) + b[at + 1 :])
    write(folder / "other.rec", recorded, changed)
    board = int.from_bytes(flat[number].body[:2], "little")
    try:
        outcome = replay_boards(folder / "other.rec")
    except RecordingError:  # the first HELLO is not there any more: nobody knows which board this was
        return
    tick = sum(r.kind == TICK for r in flat[:number])
    difference = outcome.difference
    assert difference is not None
    assert difference.where == f"from {ROLES[board]}"
    assert tick <= difference.tick
    assert difference.tick <= tick + 1 or kind == TO


def test_the_difference_names_frame_and_field(recorded: Path, folder: Path) -> None:
    from hal import icd
    from hal.frames import decode
    from tests.hal.talker import frame

    content = blocks(recorded)
    flat = [r for block in content for r in block]
    number = next(
        i for i, r in enumerate(flat)
        if r.kind == FROM and r.body[:2] == b"\x03\x00" and any(f.name == "node_tlm" for f in decode(r.body[2:]))
    )  # fmt: skip
    was = next(f for f in decode(flat[number].body[2:]) if f.name == "node_tlm")
    fields = icd.decode(was.name, was.payload)
    other = frame("node_tlm", was.dst, was.seq, was.t_us, was.src, **(fields | {"die_cdeg": fields["die_cdeg"] + 1}))
    write(folder / "tlm.rec", recorded, change(content, number, lambda b: b.replace(was.wire, other)))
    difference = replay_boards(folder / "tlm.rec").difference
    assert difference is not None
    tick = was.t_us // 100_000
    assert difference.line() == (
        f"first difference at tick {tick} ({tick / 10:.3f} s): from node2, node_tlm die_cdeg: "
        f"recorded {fields['die_cdeg'] + 1}, replayed {fields['die_cdeg']}"
    )
    assert replay_boards(folder / "tlm.rec", "node1").difference is None, "another board alone"


def test_a_board_with_other_memory_is_named(recorded: Path, folder: Path) -> None:
    """The persistent memory of the second boot is an input: without the boot count in it HELLO differs."""
    content = blocks(recorded)
    flat = [r for block in content for r in block]
    number = [i for i, r in enumerate(flat) if r.kind == lib.TAPE_BOOT][-1]
    write(folder / "nvm.rec", recorded, change(content, number, lambda b: b[:3] + b"\xff" * 4096))
    difference = replay_boards(folder / "nvm.rec").difference
    assert difference is not None
    assert re.search(r"from node2, hello boot_count: recorded 2, replayed 1$", difference.line())


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_record_of_another_size_is_refused_or_something_else(
    recorded: Path, folder: Path, data: st.DataObject
) -> None:
    """Also where every CRC fits. A memory of a board that was too long was once written beyond its end."""
    content = blocks(recorded)
    flat = [r for block in content for r in block]
    kind = data.draw(st.sampled_from(sorted({r.kind for r in flat if r.kind < lib.TAPE_NOTE})))
    number = data.draw(st.sampled_from([i for i, r in enumerate(flat) if r.kind == kind]))
    size = data.draw(st.one_of(st.integers(0, 20), st.integers(4000, 20_000)))
    there = len(flat[number].body)
    changed = change(content, number, lambda body: body[:size] + bytes(max(0, size - len(body))))
    write(folder / "size.rec", recorded, changed)
    outcome = replay_boards(folder / "size.rec")
    if kind in (TICK, lib.TAPE_BOOT) and size not in (there, 3):
        assert outcome.damage is not None
        assert re.search(rf"a record of kind {kind} has {size} bytes, after \d+\.\d{{3}} s$", outcome.damage)


def test_more_bits_than_a_fault_may_flip_are_refused(recorded: Path, folder: Path) -> None:
    upset = Record(int(lib.TAPE_UPSET), UPSET_BODY.pack(1, 1 << 31, 7))
    write(folder / "upset.rec", recorded, [*blocks(recorded), [upset]])
    assert "2147483648 bits flipped at once, expected 10000 at most" in str(replay_boards(folder / "upset.rec").damage)


def test_what_is_no_recording_of_lines_is_refused(recorded: Path, folder: Path) -> None:
    with pytest.raises(RecordingError, match=r"no board 'node7', expected one of power, node0 \.\. node3"):
        replay_boards(recorded, "node7")
    content = [[r for r in block if r.kind >= 6] for block in blocks(recorded)]
    write(folder / "flight.rec", recorded, content)
    with pytest.raises(RecordingError, match="holds no lines of boards"):
        replay_boards(folder / "flight.rec")


# ------------------------------------------------------------------ lines that lose bytes
def fly(path: Path, rig: Rig, opener: Callable[[str, Board], Link], ticks: int = 150) -> World:
    tape = Tape(path, header_of(replace(rig, satellite=rig.satellite), {}))
    talker = Talker(rig.nodes)
    with World(rig, opener=opener, tape=tape) as world:
        for _ in range(ticks):
            world.step(talker)
    tape.close()
    return world


def hit(times: list[int], how: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Damages the n-th transfer for each n in `times`."""
    count = 0

    def change(data: bytes) -> bytes:
        nonlocal count
        count += bool(data)
        return how(data) if data and count in times else data

    return change


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return small_rig(tmp_path)


@pytest.mark.parametrize("how", ["lost", "damaged"])
def test_answers_that_got_lost(tmp_path: Path, rig: Rig, how: str) -> None:
    def damage(data: bytes) -> bytes:
        return b"" if how == "lost" else data[:-9] + bytes([data[-9] ^ 4]) + data[-8:]

    def opener(url: str, board: Board) -> Link:
        link = open_link(url, board)
        return Damaged(link, from_board=hit([16, 26, 40], damage)) if board.role != "node2" else link

    world = fly(tmp_path / "x.rec", rig, opener)
    assert world.link("node1")["retransmissions"] >= 3
    outcome = same(tmp_path / "x.rec", rig.nodes + 1)
    assert left_out(outcome) == {"lost on the line"}
    assert not outcome.boards["node2"].left_out["lost on the line"]


def test_ticks_that_got_lost(tmp_path: Path, rig: Rig) -> None:
    def opener(url: str, board: Board) -> Link:
        link = open_link(url, board)
        return Damaged(link, to_board=hit([5, 19, 44], lambda data: b"")) if board.role == "node1" else link

    world = fly(tmp_path / "x.rec", rig, opener)
    assert world.link("node1")["retransmissions"] >= 3
    assert same(tmp_path / "x.rec", rig.nodes + 1).boards["node1"].left_out["lost on the line"] >= 3


class Crashing(MockLine):
    """Boots by itself in the middle of its answer to the n-th transfer, cause watchdog."""

    def __init__(self, url: str, board: Board, at: int) -> None:
        super().__init__(url, board)
        self.lossy = True
        self._left = at

    def send(self, data: bytes) -> None:
        super().send(data)
        self._left -= 1
        if self._left == 0:
            super().recv()  # what it would have said
            lib.mock_boot(self._mock, lib.BUS_RESET_CAUSE_WATCHDOG)


def test_a_board_that_resets_by_itself(tmp_path: Path, rig: Rig) -> None:
    def opener(url: str, board: Board) -> Link:
        return Crashing(url, board, 30) if board.role == "node0" else open_link(url, board)

    world = fly(tmp_path / "x.rec", rig, opener)
    assert world.identity("node0")["boot_count"] == 3, "the third is commanded"
    assert same(tmp_path / "x.rec", rig.nodes + 1).boards["node0"].boots == 2


def test_a_board_whose_memory_the_host_does_not_know(tmp_path: Path, rig: Rig) -> None:
    """As on a cable: it has booted before, and its line carried rubbish."""

    class Old(Wrapped):
        def __init__(self, board: Board) -> None:
            line = MockLine("mock:", board)
            for _ in range(6):
                lib.mock_boot(line._mock, lib.BUS_RESET_CAUSE_POWER_ON)
            super().__init__(line)
            self._before = iter([b"\x55\xaa\x00\x12garbage\x00"])

        def recv(self) -> bytes:
            return next(self._before, b"") + self.inner.recv()[-4096:]

    def opener(url: str, board: Board) -> Link:
        return Old(board) if board.role == "node1" else open_link(url, board)

    fly(tmp_path / "x.rec", rig, opener)
    content = [[r for r in block if not (r.kind == lib.TAPE_BOOT and r.body[:2] == b"\x02\x00")]
               for block in blocks(tmp_path / "x.rec")]  # fmt: skip
    write(tmp_path / "cable.rec", tmp_path / "x.rec", content)
    outcome = same(tmp_path / "cable.rec", rig.nodes + 1)
    assert outcome.boards["node1"].notes == ["its persistent memory at the start is not known: taken as empty"]
