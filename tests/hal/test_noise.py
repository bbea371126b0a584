"""A hundred thousand frames over lines on which one byte in a thousand is another one, TICK and DONE among them."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from hal import icd, lines
from hal._native import lib
from hal.link import Board, Link, open_link
from hal.world import World
from tests.hal.bench_line import OUTSIDE, REPEAT, Head, head
from tests.hal.talker import Talker, Wrapped, frames, records, small_rig, split

RATE = 1e-3
FRAMES = 100_000
DONE = (int(lib.BUS_MSG_DONE_NODE), int(lib.BUS_MSG_DONE_POWER))


@dataclass
class Arrived:
    """What an end of the line has to make of the bytes that reach it. The rest: of a run that is not at its end."""

    bytes: int = 0
    frames: int = 0
    outside: int = 0
    damaged: int = 0
    rest: bytes = b""

    def take(self, data: bytes, sent: dict[bytes, Head]) -> None:
        self.bytes += len(data)
        *runs, self.rest = (self.rest + data).split(b"\0")
        for run in filter(None, runs):
            found = sent.get(run)
            if found is None:
                assert head(run) is None, "damage has made a frame that nobody sent, and no check tells"
                self.damaged += 1
            elif found.type in OUTSIDE:
                self.outside += 1
                self.bytes -= found.length
            else:
                self.frames += 1


class Noisy(Wrapped):
    """Changes bytes at random, both ways, and looks at everything on both sides of the damage."""

    def __init__(self, inner: Link, seed: int) -> None:
        super().__init__(inner)
        self.lossy = True
        self._random = random.Random(seed)
        self.sent: dict[bytes, Head] = {}
        self.frames = 0
        self.to_board, self.from_board = Arrived(), Arrived()
        self.steps = Counter[tuple[int, int]]()
        self.boots = self.reports = 0

    def send(self, data: bytes) -> None:
        self._note(data)
        noisy = self._noise(data)
        self.to_board.take(noisy, self.sent)
        self.inner.send(noisy)

    def recv(self) -> bytes:
        data = self.inner.recv()
        for found in self._note(data):
            self._look(found)
        for number, payload in frames(data):
            if number == lib.BUS_MSG_LINK_REPORT:
                self._compare(icd.decode("link_report", payload))
        noisy = self._noise(data)
        self.from_board.take(noisy, self.sent)
        return noisy

    def _note(self, data: bytes) -> list[Head]:
        whole, rest = split(data)
        assert not rest
        self.frames += len(whole)
        heads = []
        for wire in whole:
            found = self.sent.get(wire[1:-1]) or head(wire[1:-1])
            assert found is not None
            self.sent[wire[1:-1]] = found
            heads.append(found)
        return heads

    def _look(self, found: Head) -> None:
        if found.type == lib.BUS_MSG_HELLO and found.dst == icd.Address.ANY:
            self.boots += 1
            self.to_board = Arrived()
        if found.type in DONE and not found.flags & REPEAT:
            self.steps[self.boots, found.t_us] += 1

    def _compare(self, report: dict[str, int]) -> None:
        """The board has accepted what it had to, and refused the rest."""
        self.reports += 1
        there, errors = self.to_board, report["crc_errors"] + report["cobs_errors"] + report["length_errors"]
        assert (report["rx_bytes"], report["rx_frames"], errors) == (there.bytes, there.frames, there.damaged)

    def _noise(self, data: bytes) -> bytes:
        """Each byte is another one with a chance of RATE."""
        out = bytearray(data)
        at = int(self._random.expovariate(RATE))
        while at < len(out):
            out[at] ^= self._random.randrange(1, 256)
            at += 1 + int(self._random.expovariate(RATE))
        return bytes(out)


def test_nothing_wrong_is_accepted_and_no_board_steps_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LOSSY_GUARD_S", 60.0)
    made: dict[str, Noisy] = {}

    def opener(url: str, board: Board) -> Link:
        made[board.role] = Noisy(open_link(url, board), board.address)
        return made[board.role]

    rig = small_rig(tmp_path)
    talker = Talker(rig.nodes)

    def flight(t_us: int, batch: memoryview) -> bytes:
        for index, data in records(batch).items():
            known = made["power" if index == 0 else f"node{index - 1}"].sent
            for run in filter(None, data.split(b"\0")):
                assert run in known or head(run) is None, "flight was given a frame that its board did not send"
        answer = talker(t_us, batch)
        talker.heard[-1].clear()
        return answer

    with World(rig, opener=opener) as world:
        while sum(link.frames for link in made.values()) < FRAMES:
            world.step(flight)
        ticks, score = world.tick, world.score()
        for role, noisy in made.items():
            link = world.link(role)
            assert set(noisy.steps.values()) == {1}, "no step is done twice"
            assert {t_us for _, t_us in noisy.steps} == {(k + 1) * world.tick_us for k in range(ticks)}, (
                "none is left out"
            )
            assert link["rx_frames"] == noisy.from_board.frames + noisy.from_board.outside
            assert link["damaged_received"] == noisy.from_board.damaged
            assert link["comparisons"] > ticks / 200, "of a report in 100 ticks, some come damaged or with a repetition"
            assert noisy.reports >= link["comparisons"]
            assert link["retransmissions"] > ticks / 100
            assert link["damaged_at_board"] > 0
            assert link["lost_to_board_frames"] > 0
            assert link["lost_from_board_frames"] > 0
    assert score["absences"] == 0
    names = ("unexplained_bytes", "unexplained_frames", "lost_to_board_bytes", "lost_from_board_bytes", "stray_done")
    assert {name: score["link_errors"][name] for name in names} == dict.fromkeys(names, 0)
    assert score["lost_at_reset_bytes"] == 0
