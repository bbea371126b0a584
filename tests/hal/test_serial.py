"""The serial back end on a pseudo-terminal: it opens a port, loses its board, takes back only one that is proven."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from hal import icd, lines, round_trip
from hal._native import lib
from hal.backends.process import PROGRAM
from hal.cli.common import print_score
from hal.link import Board
from hal.rig import Rig
from hal.world import World
from tests.hal.talker import Talker, small_rig

ABSENT, PRESENT = int(lib.WORLD_BOARD_ABSENT), int(lib.WORLD_BOARD_PRESENT)
NODE1 = 257


class Desk:
    """A board on a terminal whose other end stays plugged in while the board comes and goes."""

    def __init__(self, folder: Path) -> None:
        self.ours, self.its = os.openpty()
        tty.setraw(self.its)  # a real port does not echo
        self.path = os.ttyname(self.its)
        self._nvm = folder / "board.nvm"
        self._board: subprocess.Popen[bytes] | None = None

    def plug(self, address: int = NODE1) -> None:
        arguments = [str(PROGRAM), "compute_node", str(address), "00" * 12, str(self._nvm), "1"]
        self._board = subprocess.Popen(arguments, stdin=self.ours, stdout=self.ours)

    def unplug(self) -> None:
        if self._board is not None:
            self._board.kill()
            self._board.wait()

    def hang_up(self) -> None:
        """The adapter is pulled out: the port itself is gone."""
        self.unplug()
        for fd in (self.ours, self.its):
            with contextlib.suppress(OSError):
                os.close(fd)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.hang_up()


@pytest.fixture
def rig(tmp_path: Path, desk: Desk) -> Rig:
    return small_rig(tmp_path, f'[boards.node1]\nlink = "serial:{desk.path}?baud=115200"\nimage = "none"\n')


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guards of a desk on which everything answers at once."""
    monkeypatch.setattr(lines, "LOSSY_GUARD_S", 0.3)
    monkeypatch.setattr(lines, "RECONNECT_S", (0.0,))
    monkeypatch.setattr(lines, "HELLO_REQUEST_S", 0.02)


def until(world: World, state: int) -> None:
    while world.link("node1")["state"] != state:
        world.step(None)


def until_told(world: World, role: str, why: str) -> None:
    while why not in world.score()["absent_because"][role]:
        world.step(None)


@pytest.mark.parametrize("first", ["board", "world"])
def test_a_port_has_the_bytes_of_a_mock(
    rig: Rig, desk: Desk, tmp_path: Path, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A board that was on before the world and is asked for its HELLO; or one that boots into an open port."""
    monkeypatch.setattr(round_trip, "MOST_S", 60.0)  # on a loaded machine the board may be late, and no byte is lost
    monkeypatch.setattr(round_trip, "LEAST_S", 60.0)
    monkeypatch.setattr(lines, "LOSSY_GUARD_S", 60.0)
    if first == "board":
        desk.plug()
        assert os.read(desk.its, 4096), "its boot's HELLO went to somebody else"
    else:
        opened = lines.Lines._connect

        def connect_then_plug(self: lines.Lines, url: str, board: Board) -> None:
            opened(self, url, board)
            desk.plug()

        monkeypatch.setattr(lines.Lines, "_connect", connect_then_plug)
    talker = Talker(rig.nodes)
    with World(rig) as world:
        for _ in range(250):
            world.step(talker)
        sha256, score = world.bus_sha256(), world.score()
    with World(small_rig(tmp_path)) as mock:
        talker = Talker(rig.nodes)
        for _ in range(250):
            mock.step(talker)
        assert mock.bus_sha256() == sha256
    assert not any(score["link_errors"].values())


def test_a_silent_board_comes_back_by_its_hello(rig: Rig, desk: Desk) -> None:
    desk.plug()
    with World(rig) as world:
        world.run(20)
        desk.unplug()
        until(world, ABSENT)
        assert world.score()["absences"] == 1
        absent_at = world.tick
        world.run(10)
        assert world.tick == absent_at + 10, "the world goes on"
        desk.plug()
        until(world, PRESENT)
        world.run(120)
        assert world.link("node1")["epochs"] >= 2
        assert world.score()["absent_boards"] == []


def test_another_board_in_its_place_stays_out(rig: Rig, desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.plug()
    with World(rig) as world:
        world.run(20)
        desk.unplug()
        until(world, ABSENT)
        desk.plug(address=NODE1 + 1)
        for _ in range(30):
            world.run(1)
            assert world.link("node1")["state"] != PRESENT
        until_told(world, "node1", "its address is 258 (node2), expected 257")
        print_score(world.score(), as_json=False)
        assert f"\nabsent        node1: board node1 on {rig.boards[2].link} refused: " in capsys.readouterr().out
        desk.unplug()
        desk.plug()
        until(world, PRESENT)
        assert world.score()["absent_because"] == {}


def test_a_port_that_is_pulled_out_is_absent_at_once(rig: Rig, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LOSSY_GUARD_S", 1e9)
    desk.plug()
    with World(rig) as world:
        world.run(20)
        desk.hang_up()
        world.run(5)
        assert world.link("node1")["state"] == ABSENT
        assert world.link("node1")["absent_since_tick"] in (20, 21)
        world.run(5)


def test_a_cable_that_comes_back_to_the_same_board(rig: Rig, desk: Desk) -> None:
    """The board was on all the time: no boot, its clock stands, and the first TICK sets it anew."""
    desk.plug()
    with World(rig) as world:
        world.run(20)
        world._lines._drop(2, "pulled out")
        assert world.link("node1")["state"] == ABSENT
        until(world, PRESENT)
        world.run(120)
        link = world.link("node1")
        assert link["state"] == PRESENT
        assert link["stray_done"] == 0
        assert link["unexplained_bytes"] == 0
    assert lib.world_icd_hash() == icd.ICD_HASH
