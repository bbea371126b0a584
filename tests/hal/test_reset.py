"""A board that resets: the line stays open until the boot's HELLO, and flight hears the same on every back end."""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hal import icd, lines
from hal._native import lib
from hal.link import Board, Link, open_link
from hal.rig import Rig
from hal.world import World
from tests.hal.talker import Damaged, Talker, Wrapped, frames, small_rig, split

TICKS = 160  # the talker resets node0 in tick 50, and its new epoch is reported 10 s later
NODE0 = 1


def is_second_hello(wire: bytes) -> bool:
    """A HELLO of the second boot, or after it."""
    hellos = (icd.decode("hello", payload) for number, payload in frames(wire) if number == lib.BUS_MSG_HELLO)
    return any(hello["boot_count"] == 2 for hello in hellos)


class SlowBoot(Wrapped):
    """A microcontroller behind the child process: the HELLO of its second boot comes `delay` looks after DONE."""

    def __init__(self, inner: Link, delay: int) -> None:
        super().__init__(inner)
        self._wake = os.eventfd(0, os.EFD_NONBLOCK)  # readable while something is held back
        self._both = select.epoll()
        self._both.register(self._wake, select.EPOLLIN)
        self._both.register(inner.fileno(), select.EPOLLIN)
        self._looks, self._held, self._rest = delay, b"", b""
        self.said_while_deaf: list[bytes] = []

    def fileno(self) -> int:
        return self._both.fileno()

    def recv(self) -> bytes:
        if self._held:
            self._looks -= 1
            if self._looks > 0:
                return b""
            os.eventfd_read(self._wake)
            held, self._held = self._held, b""
            return held
        whole, self._rest = split(self._rest + self.inner.recv())
        self._held = b"".join(wire for wire in whole if is_second_hello(wire))
        if self._held:
            assert is_second_hello(whole[-1])
            os.eventfd_write(self._wake, 1)
        return b"".join(wire for wire in whole if not is_second_hello(wire))

    def send(self, data: bytes) -> None:
        if self._held:
            self.said_while_deaf.append(data)
        self.inner.send(data)

    def close(self) -> None:
        self._both.close()
        os.close(self._wake)
        self.inner.close()


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return small_rig(tmp_path)


Opener = Callable[[str, Board], Link]


def for_node0(wrap: Callable[[Link], Link], url: str = "") -> Opener:
    """Opens every link as the rig says; that of node0 is wrapped."""

    def opener(rig_url: str, board: Board) -> Link:
        link = open_link(url or rig_url, board)
        return wrap(link) if board.role == "node0" else link

    return opener


def fly(rig: Rig, opener: Opener | None = None) -> tuple[str, list[dict[int, bytes]], dict[str, int]]:
    """Bus hash, what flight heard, errors of the links."""
    talker = Talker(rig.nodes)
    with World(rig, "mock", opener=opener) as world:
        for _ in range(TICKS):
            world.step(talker)
        assert world.link("node0")["epochs"] == 2
        assert len(talker.of_type("link_report", NODE0)) == 1, "of the second epoch"
        return world.bus_sha256(), talker.heard, world.score()["link_errors"]


@pytest.mark.parametrize("looks", [1, 2, 200])
def test_a_late_hello_changes_nothing(rig: Rig, looks: int) -> None:
    made: list[SlowBoot] = []

    def wrap(link: Link) -> Link:
        made.append(SlowBoot(link, looks))
        return made[-1]

    flown = fly(rig, for_node0(wrap, "process:"))
    assert flown == fly(rig)
    assert not any(flown[2].values())
    assert made[0]._looks <= 0
    assert made[0].said_while_deaf == []


def test_a_lost_hello_is_asked_for_and_told_to_flight_as_the_boot_said_it(rig: Rig) -> None:
    hellos: list[bytes] = []

    def lose_the_first(data: bytes) -> bytes:
        whole, _ = split(data)
        hellos.extend(wire for wire in whole if is_second_hello(wire))
        return data.replace(hellos[0], b"") if hellos else data

    flown = fly(rig, for_node0(lambda link: Damaged(link, from_board=lose_the_first)))
    assert len(hellos) == 2, "the boot's, and the answer to one request"
    assert flown == fly(rig)
    assert not any(flown[2].values())


def test_a_board_that_does_not_come_back_is_absent(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LOSSY_GUARD_S", 0.02)
    monkeypatch.setattr(lines, "RECONNECT_S", (1e9,))

    def mute(data: bytes) -> bytes:
        return b"".join(wire for wire in split(data)[0] if not is_second_hello(wire))

    talker = Talker(rig.nodes)
    with World(rig, opener=for_node0(lambda link: Damaged(link, from_board=mute))) as world:
        for _ in range(60):
            world.step(talker)
        link: dict[str, Any] = world.link("node0")
        assert link["state"] == lib.WORLD_BOARD_ABSENT
        assert link["absent_since_tick"] == 51
        assert world.tick == 60
        assert link["retransmissions"] == 0, "who boots is asked for its HELLO, nothing else"
