"""A flight over a cable that is pulled out, deaf, choked or noisy, and boards that die in the middle of a tick."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flight.executive import Executive
from flight.icd import BoardStatus
from flight.pacing import Pacing
from flight.storage import Storage
from hal import lines
from hal._native import lib
from hal.backends import stream
from hal.errors import LinkDownError
from hal.link import Board, open_link
from hal.world import World
from tests.hal.cable import Cable
from tests.hal.talker import small_rig

PRESENT, ABSENT = int(lib.WORLD_BOARD_PRESENT), int(lib.WORLD_BOARD_ABSENT)
NODE1, ADDRESS = 2, 257
NEXT_REPORT_S = 12
FOREVER_S = 100_000
"""of simulated time: the guard of a wait"""


class Flown:
    """A flight in which node1 is at the end of a cable; the other boards are mocks. A tick is a second."""

    def __init__(self, folder: Path) -> None:
        self.cable = Cable(folder, ADDRESS)
        rig = small_rig(folder, f'[boards.node1]\nlink = "serial:{self.cable.port}?baud=115200"\nimage = "none"\n')
        self.world = World(rig.with_tick(1.0))
        self.flight = Executive(self.world, Storage(folder / "storage"), pacing=Pacing(clock=False))

    def run(self, seconds: int) -> None:
        self.flight.run(self.world.t_us + seconds * 1_000_000)

    def until(self, what: Callable[[], bool]) -> None:
        end = self.world.t_us + FOREVER_S * 1_000_000
        while not what():
            assert self.world.t_us < end, f"{self.link} {self.world.score()['absent_because']}"
            self.run(1)

    @property
    def link(self) -> dict[str, int]:
        return self.world.link("node1")

    @property
    def is_ready(self) -> bool:
        return self.link["state"] == PRESENT and self.flight.loop.board_status(NODE1) == BoardStatus.READY

    def compare(self) -> None:
        """Fly on until the two ends have compared their counts once more."""
        before = self.link["comparisons"]
        self.until(lambda: self.link["comparisons"] > before)

    def explained(self) -> None:
        """All is well again, and nothing is lost without a name."""
        link = self.link
        assert (link["unexplained_bytes"], link["unexplained_frames"]) == (0, 0), str(link)
        assert (link["stray_done"], link["unknown_at_board"], link["dropped_bytes"]) == (0, 0, 0)
        assert not any(self.world.score()["violations"].values())

    def close(self) -> None:
        self.flight.close()
        self.world.close()
        self.cable.close()


@pytest.fixture
def flown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flown]:
    monkeypatch.setattr(lines, "LOSSY_GUARD_S", 0.3)
    monkeypatch.setattr(lines, "RECONNECT_S", (0.0,))
    monkeypatch.setattr(lines, "HELLO_REQUEST_S", 0.0)
    flown = Flown(tmp_path)
    flown.until(lambda: flown.is_ready)
    yield flown
    flown.close()


def test_a_port_that_is_closed_and_opened_again_a_hundred_times(flown: Flown) -> None:
    """Half the time at our end, half the time at the other one, in the middle of a tick's bytes."""
    cable = flown.cable
    for k in range(100):
        flown.run(cable.random.randint(1, 5))
        if k % 2:
            cable.after(cable.random.randint(1, 160), cable.shake)
            flown.until(lambda: not cable.is_armed)
        else:
            flown.world._lines._drop(NODE1, "closed by the test")
        flown.until(lambda: flown.is_ready)
        flown.compare()
        flown.explained()
    link = flown.link
    assert link["epochs"] == 1, "it was the same boot all the time"
    assert link["absences"] == 100
    assert link["comparisons"] >= 100
    assert link["lost_to_board_bytes"] > 0
    assert link["lost_from_board_bytes"] > 0
    assert link["lost_at_reset_bytes"] == 0
    assert flown.world.score()["absent_boards"] == []


def test_a_board_that_dies_a_hundred_times_in_the_middle_of_a_tick(flown: Flown) -> None:
    cable = flown.cable
    for k in range(100):
        flown.run(cable.random.randint(1, 3))
        cable.after(cable.random.randint(1, 160), cable.restart)
        flown.until(lambda: not cable.is_armed)
        boots = k + 2
        flown.until(lambda: flown.is_ready and flown.world.identity("node1")["boot_count"] == boots)  # noqa: B023
        if k % 4 == 0:
            flown.compare()
        flown.explained()
    flown.compare()
    flown.explained()
    link = flown.link
    assert link["epochs"] == 101
    assert link["retransmissions"] > 0
    assert link["lost_at_reset_frames"] > 0
    assert link["lost_to_board_bytes"] == link["lost_from_board_bytes"] == 0, (
        "no outage: whatever was lost, a reset did it"
    )


def test_a_board_that_stands_still_and_goes_on(flown: Flown) -> None:
    flown.compare()
    flown.cable.signal(signal.SIGSTOP)
    flown.until(lambda: flown.link["state"] == ABSENT)
    flown.run(5)
    flown.cable.signal(signal.SIGCONT)
    flown.until(lambda: flown.is_ready)
    flown.compare()
    flown.explained()
    assert flown.link["epochs"] == 1


@pytest.mark.parametrize("deaf", ["deaf_board", "deaf_world"])
def test_a_cable_that_is_broken_in_one_direction(flown: Flown, deaf: str) -> None:
    flown.compare()
    setattr(flown.cable, deaf, True)
    flown.until(lambda: flown.link["state"] == ABSENT)
    flown.run(30)
    assert flown.link["state"] != PRESENT
    setattr(flown.cable, deaf, False)
    flown.until(lambda: flown.is_ready)
    flown.compare()
    flown.explained()
    link = flown.link
    assert (link["lost_to_board_bytes"] > 0) == (deaf == "deaf_board"), "what the board did hear is not lost"
    assert (link["lost_from_board_bytes"] > 0) == (deaf == "deaf_world")


def test_what_a_port_kept_is_not_the_boards(flown: Flown) -> None:
    """Garbage and halves of frames stand in the port when it is opened, and come before the first HELLO."""
    for _ in range(10):
        flown.cable.stale = bytes(flown.cable.random.randrange(256) for _ in range(300)) + b"\0\x05\x48\x01\x02"
        flown.cable.after(flown.cable.random.randint(1, 160), flown.cable.shake)
        flown.until(lambda: not flown.cable.is_armed)
        flown.until(lambda: flown.is_ready)
        flown.compare()
        flown.explained()
    assert flown.link["damaged_received"] == 0
    assert flown.cable.stale == b""


def test_a_board_that_takes_nothing_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its line is full: writing to it does not wait for ever, and closing it does not wait at all."""
    monkeypatch.setattr(stream, "WRITE_GUARD_S", 0.01)
    cable = Cable(tmp_path, ADDRESS)
    link = open_link(f"serial:{cable.port}", Board("node1", 2, ADDRESS, bytes(12)))
    cable.choke(True)

    def fill() -> None:
        while True:
            link.send(b"\x55" * 4096)

    with pytest.raises(LinkDownError, match=r"took no byte for 0\.01 s"):
        fill()
    assert link.fileno() == -1
    cable.close()


def test_the_world_does_not_wait_for_a_board_that_takes_nothing(flown: Flown, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tick is no longer than the guard, and while the board is gone ticks do not wait for it at all."""
    monkeypatch.setattr(stream, "WRITE_GUARD_S", 1e6)
    flown.cable.choke(True)
    flown.until(lambda: flown.link["state"] == ABSENT)
    before = flown.link["tx_bytes"]
    flown.run(2000)
    assert 4000 < flown.link["tx_bytes"] - before < 20_000, "as many requests for a HELLO as the port takes"
    assert flown.link["state"] != PRESENT
    flown.cable.choke(False)
    flown.until(lambda: flown.is_ready)
    flown.compare()
    flown.explained()


def test_a_cable_passes_on_what_it_gets(tmp_path: Path) -> None:
    """The instrument of these tests."""
    cable = Cable(tmp_path, ADDRESS)
    fd = os.open(cable.port, os.O_RDWR | os.O_NOCTTY)
    hello = b""
    while hello.count(0) < 2:
        hello += os.read(fd, 4096)
    os.close(fd)
    cable.close()
    assert cable.from_board == len(hello)
    assert cable.error is None
