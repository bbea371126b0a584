"""What a board itself tells of: a crash, and bytes that its hardware has lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from flight.executive import Executive
from flight.storage import Storage
from hal import icd
from hal._native import ffi, lib
from hal.link import Board, Link, open_link
from hal.world import World
from tests.hal.bench_line import NAMED_BYTES, NAMED_FRAMES, BenchLine
from tests.hal.talker import Damaged, Talker, frames, small_rig, split
from tests.tools import NEEDS_QEMU

HARDWARE = {"framing_errors": 2, "noise_errors": 1, "ring_high_water": 300, "stack_free": 900}
CRASH = {"exception": 3, "pc": 0x0800_1234, "lr": 0x0800_0101, "cfsr": 0x8200, "fault_address": 0}
REPORT_TICKS = 5  # of 2 s


@pytest.fixture
def line(tmp_path: Path) -> Iterator[BenchLine]:
    line = BenchLine(small_rig(tmp_path, nodes=1))
    line.join()
    line.fly(REPORT_TICKS + 1)
    assert line.stats("comparisons") == 1
    yield line
    line.close()


def heard_by_flight(line: BenchLine) -> list[tuple[int, bytes]]:
    """Ends the tick; what flight hears of it."""
    batch = ffi.new("const struct bus_batch **")
    assert lib.world_tick_collect(line.pointer, batch) == lib.WORLD_OK
    data = bytes(ffi.buffer(batch[0].data, batch[0].used))
    assert lib.world_tick_commit(line.pointer) == lib.WORLD_OK
    line.in_tick = False
    return list(frames(data))


def test_a_crash_is_counted_and_told_and_the_boot_gets_its_tick(line: BenchLine) -> None:
    line.begin()
    line.deliver(20)
    line.say("crash", **CRASH)
    line.crash()
    line.deliver()
    line.boot(int(icd.ResetCause.CRASH))
    line.carry()
    assert line.copies == 1, "at once, without a timeout"
    line.deliver()
    line.carry()
    assert not line.waiting
    assert (line.stats("crashes"), line.stats("retransmissions"), line.stats("epochs")) == (1, 1, 3)
    told = [(n, p) for n, p in heard_by_flight(line) if n in (lib.BUS_MSG_CRASH, lib.BUS_MSG_HELLO)]
    assert [n for n, _ in told] == [lib.BUS_MSG_CRASH, lib.BUS_MSG_HELLO]
    assert icd.decode("crash", told[0][1]) == CRASH
    assert icd.decode("hello", told[1][1])["reset_cause"] == icd.ResetCause.CRASH
    line.fly(REPORT_TICKS + 1)
    line.check()
    assert line.stats("lost_at_reset_frames") == 1, "the TICK"
    assert line.stats(*NAMED_BYTES) == line.stats("lost_at_reset_bytes")


@pytest.mark.parametrize("told", ["before", "after"])
@pytest.mark.parametrize("rest", [0, 7])
def test_bytes_that_the_hardware_lost_explain_a_difference_of_their_size(line: BenchLine, told: str, rest: int) -> None:
    """In the middle of flight's frame; `rest` bytes more are gone than the board knows of."""
    lost = 13

    def report() -> None:
        line.begin()
        line.deliver()
        line.say("hardware_report", rx_lost=lost - 3, overruns=3, **HARDWARE)
        line.complete()
        line.end()

    if told == "before":
        report()
    line.begin()
    line.complete()
    line.end([("lease", {"session": 1, "lease_seq": 1, "cap_mw": 1, "expiry_us": 1, "clock_mhz": 0})])
    line.begin()
    del line.to_board[5 : 5 + lost + rest]
    line.by_hardware = lost if told == "before" else 0
    line.complete()
    line.end()
    line.fly(REPORT_TICKS)
    if told == "after":
        assert line.stats("unexplained_bytes") == lost + rest
        report()
        line.by_hardware = lost
    line.fly(REPORT_TICKS)
    assert line.stats("hw_lost_bytes") == lost
    assert line.stats("hw_line_errors") == 3
    assert line.stats("unexplained_bytes") == rest
    assert line.stats("damaged_at_board") == line.stats("lost_to_board_frames") == 1
    assert line.stats(*NAMED_FRAMES) == 1
    line.boot()
    line.fly(REPORT_TICKS + 1)
    line.say("hardware_report", rx_lost=2, overruns=0, **HARDWARE)
    line.fly(1)
    assert line.stats("hw_lost_bytes") == lost + 2, "its counters began anew with the boot"
    assert line.stats("unexplained_bytes") == rest


@pytest.mark.parametrize("which", [0, 1])
def test_settings_that_are_lost_before_their_done_are_asked_for_again(tmp_path: Path, which: int) -> None:
    """A power board of thirty channels answers with two pages, and with a DONE that is nothing without them."""
    rig = small_rig(tmp_path, nodes=30)
    lost = []

    def lose_a_page(data: bytes) -> bytes:
        whole, _ = split(data)
        pages = [w for w in whole if [n for n, _ in frames(w)] == [lib.BUS_MSG_DONE_CHANNELS]]
        if lost or len(pages) < 2:
            return data
        lost.append(pages[which])
        return data.replace(pages[which], b"")

    def opener(url: str, board: Board) -> Link:
        link = open_link(url, board)
        return Damaged(link, from_board=lose_a_page) if board.role == "power" else link

    with World(rig, opener=opener) as hit, World(rig) as whole:
        flights = [Executive(w, Storage(tmp_path / name)) for w, name in ((hit, "hit"), (whole, "whole"))]
        for _ in range(100):
            for flight, world in zip(flights, (hit, whole), strict=True):
                flight.run(world.t_us + world.tick_us)
            for channel in range(30):
                settings = [w.plant.power_in.channel[channel] for w in (hit, whole)]
                assert [(s.on, s.limit_a) for s in settings[:1]] == [(s.on, s.limit_a) for s in settings[1:]]
        assert len(lost) == 1
        for flight in flights:
            flight.close()
        assert hit.link("power")["retransmissions"] == 1


@pytest.mark.parametrize("backend", ["process", pytest.param("qemu", marks=NEEDS_QEMU)])
def test_what_makes_the_board_is_killed_and_started_again(tmp_path: Path, backend: str) -> None:
    rig = small_rig(tmp_path, f'[boards.node1]\nlink = "{backend}:"\n').with_tick(1.0)
    talker = Talker(rig.nodes)
    with World(rig) as world:
        for boots in range(1, 4):
            pid = world.pid("node1")
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            while world.link("node1")["state"] == lib.WORLD_BOARD_PRESENT:
                world.step(talker)
            world.start("node1")
            while world.link("node1")["comparisons"] < boots:
                world.step(talker)
        link, score = world.link("node1"), world.score()
    assert (link["epochs"], link["absences"]) == (4, 3)
    assert link["lost_at_reset_frames"] >= 3, "the TICKs that nobody heard"
    assert not any(score["link_errors"].values()), "what dies is a board, not a line"
