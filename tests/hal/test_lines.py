"""External boards that misbehave: gone, silent, damaged, or not who they should be."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hal import icd, lines
from hal._native import lib
from hal.errors import BoardRefusedError, LinkError, WorldError
from hal.link import Board, Link, open_link
from hal.rig import Rig
from hal.world import World
from tests.hal.talker import Damaged, Talker, Wrapped, frame, hello_of, small_rig

ABSENT, PRESENT = int(lib.WORLD_BOARD_ABSENT), int(lib.WORLD_BOARD_PRESENT)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return small_rig(tmp_path)


def run(world: World, talker: Talker, ticks: int) -> None:
    for _ in range(ticks):
        world.step(talker)


# ---------------------------------------------------------------- gone and back
def test_killed_process_is_absent_and_comes_back(rig: Rig) -> None:
    talker = Talker(rig.nodes)
    with World(rig, "process") as world:
        run(world, talker, 20)
        pid = world.pid("node1")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        run(world, talker, 20)
        link = world.link("node1")
        assert link["state"] == ABSENT
        assert link["absent_since_tick"] in (20, 21)
        assert world.score()["absent_boards"] == ["node1"]
        heard = set().union(*talker.heard[-10:])
        assert heard == {0, 1, 3}, "a board that is gone says nothing, the others go on"
        assert world.score()["undelivered_bytes"] > 0
        assert not any(world.score()["link_errors"].values())
        first = world.identity("node1")
        world.start("node1")
        run(world, talker, 20)
        assert world.identity("node1") == {**first, "boot_count": 2}
        assert world.score()["firmware"] == [first["firmware_hash"]]
        assert world.link("node1")["state"] == PRESENT
        assert world.link("node1")["epochs"] == 2
    hellos = [icd.decode("hello", p) for p in talker.of_type("hello", 2)]
    assert [h["boot_count"] for h in hellos if h["boot_count"] == 2], "its persistent memory was kept"


@pytest.mark.parametrize("backend", ["mock", "process"])
def test_switched_off_by_the_rig(tmp_path: Path, backend: str) -> None:
    rig = small_rig(tmp_path, '[[fault]]\nkind = "off"\nboard = "node1"\nat_s = 1.0\nfor_s = 2.0\n')
    hashes = set()
    for _ in range(2):
        talker = Talker(rig.nodes)
        with World(rig, backend) as world:
            run(world, talker, 60)
            assert world.link("node1")["absent_since_tick"] == 10
            assert world.link("node1")["state"] == PRESENT
            hashes.add(world.bus_sha256())
        spoke = [tick for tick, heard in enumerate(talker.heard, 1) if 2 in heard]
        assert not any(11 <= tick <= 30 for tick in spoke)
        assert 31 in spoke, "its HELLO"
        assert spoke[-1] > 50
    with World(rig, "mock") as world:
        run(world, Talker(rig.nodes), 60)
        hashes.add(world.bus_sha256())
    assert len(hashes) == 1


def test_runs_stop_at_the_tick_of_a_fault(tmp_path: Path) -> None:
    rig = small_rig(tmp_path, '[[fault]]\nkind = "off"\nboard = "node1"\nat_s = 1.05\n')
    with World(rig) as world:
        world.run(100)
        assert world.link("node1")["absent_since_tick"] == 11


def test_switching_what_cannot_be_switched(rig: Rig) -> None:
    with World(rig) as world:
        with pytest.raises(WorldError, match="board node1 is on already"):
            world.start("node1")
        world.close()
        with pytest.raises(WorldError, match="is closed"):
            world.run(1)


# ---------------------------------------------------------------- not who it should be
class Impostor(Wrapped):
    """Answers with a HELLO of its own making."""

    def __init__(self, inner: Link, hello: dict[str, object], board: Board) -> None:
        super().__init__(inner)
        self._hello, self._board = hello, board

    def recv(self) -> bytes:
        self.inner.recv()
        return frame("hello", icd.Address.FLIGHT, 0, 0, self._board.address, **hello_of(self._board, **self._hello))


REFUSALS = [
    (
        {"icd_hash": 0xDEADBEEF},
        r"board node1 on mock: refused: its ICD hash is 00000000deadbeef, expected [0-9a-f]+",
    ),
    ({"kind": 1}, "board node1 on mock: refused: it is a power_board, expected a compute_node"),
    ({"role": 300}, r"board node1 on mock: refused: its address is 300 \(node44\), expected 257"),
    ({"capabilities": 0}, r"board node1 on mock: refused: its firmware takes no TICK \(a flight build\)"),
]


@pytest.mark.parametrize(("hello", "message"), REFUSALS, ids=[next(iter(h)) for h, _ in REFUSALS])
def test_a_board_that_cannot_prove_itself_is_refused(rig: Rig, hello: dict[str, object], message: str) -> None:
    def opener(url: str, board: Board) -> Link:
        link = open_link(url, board)
        return Impostor(link, hello, board) if board.role == "node1" else link

    with pytest.raises(BoardRefusedError, match=message):
        World(rig, opener=opener)


def test_another_board_behind_the_port_is_refused(rig: Rig) -> None:
    def opener(url: str, board: Board) -> Link:
        return open_link("process:", replace(board, address=board.address + 1) if board.role == "node0" else board)

    with pytest.raises(
        BoardRefusedError, match=r"board node0 on mock: refused: its address is 257 \(node1\), expected 256"
    ):
        World(rig, opener=opener)


def test_a_silent_board_is_refused(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LOSSY_HELLO_GUARD_S", 0.0)

    def opener(url: str, board: Board) -> Link:
        link = open_link(url, board)
        return Damaged(link, from_board=lambda data: b"") if board.role == "node2" else link

    with pytest.raises(BoardRefusedError, match="board node2 on mock: refused: no HELLO within 0 s"):
        World(rig, opener=opener)


# ---------------------------------------------------------------- damage on a lossy line
def damage_once(times: list[int], change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Damages the n-th transfer (from 1) for each n in `times`."""
    count = 0

    def damage(data: bytes) -> bytes:
        nonlocal count
        count += bool(data)
        return change(data) if data and count in times else data

    return damage


def flip(data: bytes) -> bytes:
    return data[:-10] + bytes([data[-10] ^ 0x10]) + data[-9:]


@pytest.mark.parametrize("how", ["drop", "flip"])
@pytest.mark.parametrize("direction", ["to_board", "from_board"])
def test_a_lost_tick_or_done_costs_one_retransmission(rig: Rig, direction: str, how: str) -> None:
    change: Callable[[bytes], bytes] = flip if how == "flip" else lambda data: b""

    def opener(url: str, board: Board) -> Link:
        link = open_link(url, board)
        # The first transfer from a board is its HELLO; those of ticks 15 and 25 are hit.
        times = [15, 25] if direction == "to_board" else [16, 26]
        return Damaged(link, **{direction: damage_once(times, change)}) if board.role == "node1" else link

    def state(world: World) -> int:
        return world.link("node1")["state_hash"]

    with World(rig) as whole, World(rig, opener=opener) as hit:
        for _ in range(40):
            whole.step(None)
            hit.step(None)
            assert state(hit) == state(whole), "stepped once, not twice"
        link = hit.link("node1")
        assert link["state"] == PRESENT
        assert link["retransmissions"] == 2
        assert hit.score()["link_errors"]["retransmissions"] == 2
        if how == "flip" and direction == "from_board":
            assert link["damaged_received"] == 2


def test_a_board_that_stops_answering_is_absent_and_the_world_goes_on(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "LOSSY_GUARD_S", 0.05)
    monkeypatch.setattr(lines, "RECONNECT_S", (1e9,))
    dead: list[str] = []

    def opener(url: str, board: Board) -> Link:
        return Damaged(open_link(url, board), from_board=lambda data: b"" if board.role in dead else data)

    talker = Talker(rig.nodes)
    with World(rig, opener=opener) as world:
        run(world, talker, 10)
        dead.append("node0")
        run(world, talker, 10)
        assert world.link("node0")["state"] == ABSENT
        assert world.link("node0")["absent_since_tick"] == 11
        assert world.tick == 20


# ---------------------------------------------------------------- ports
def open_serial(target: str) -> Link:
    return open_link(f"serial:{target}", Board("node0", icd.BoardKind.COMPUTE_NODE, 256, bytes(12)))


def test_an_absent_port_is_named() -> None:
    with pytest.raises(
        LinkError, match=r"serial:/dev/not-there \(node0\): /dev/not-there is not there, expected a plugged-in board"
    ):
        open_serial("/dev/not-there")
    with pytest.raises(LinkError, match=r"serial:NOSUCHBOARD: no port with this USB serial number is plugged in"):
        open_serial("NOSUCHBOARD")


def test_a_busy_port_is_named() -> None:
    ours, its = os.openpty()
    path = os.ttyname(its)
    first = open_serial(path)
    try:
        with pytest.raises(LinkError, match=f"{path} is busy: another program has it open"):
            open_serial(path)
    finally:
        first.close()
        os.close(ours)
        os.close(its)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "usb:1",
            "link 'usb:1': unknown back end, expected one of mock:, process:, unicorn:, qemu:, serial:, hardware:",
        ),
        ("serial:/dev/x?speed=1", "link 'serial:/dev/x.speed=1': unknown option 'speed', expected baud"),
        ("serial:/dev/x?baud=fast", "baud=fast is out of range, expected an integer from 1200 to 12000000"),
        ("mock:?x=1", "unknown option 'x', expected none"),
    ],
)
def test_a_bad_url_is_named(url: str, message: str) -> None:
    with pytest.raises(LinkError, match=message):
        open_link(url, Board("node0", icd.BoardKind.COMPUTE_NODE, 256, bytes(12)))
