"""Every byte and every frame of a line is in exactly one account, whatever happens to it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.hal.bench_line import NAMED_BYTES, NAMED_FRAMES, BenchLine
from tests.hal.talker import small_rig

with tempfile.TemporaryDirectory() as folder:
    RIG = small_rig(Path(folder), nodes=1)

SOME = st.integers(1, 90)
HELLO_HEAD = b"\x02\x42"
"""How a HELLO of node0 begins behind its delimiter: COBS code, version and type."""
NOISE = st.binary(min_size=8, max_size=300).map(lambda data: bytes(byte or 1 for byte in data))
COMMANDS: list[tuple[str, dict[str, Any]]] = [
    ("node_power", {"session": 1, "on": 0}),
    ("node_job_stop", {"session": 1, "job_id": 0}),
    ("lease", {"session": 1, "lease_seq": 1, "cap_mw": 1, "expiry_us": 1, "clock_mhz": 0}),
    ("hello_req", {}),
    ("reset", {"session": 1}),
]


class Line(RuleBasedStateMachine):
    """A line between the world and a board, and all that may happen to it."""

    line: BenchLine
    vanished = 0
    noisy = False  # a line either adds bytes or takes some away: else the one would hide the other

    @initialize()
    def start(self) -> None:
        self.line = BenchLine(RIG)
        self.command_seq = 0
        self.line.join()

    def teardown(self) -> None:
        if hasattr(self, "line"):
            try:
                self.settle()
            finally:
                self.line.close()

    def settle(self) -> None:
        """Fly on without faults to the next report, and compare."""
        line = self.line
        if line.in_tick and line.waiting:
            line.complete()
        if line.in_tick:
            line.end()
        if not line.present:
            line.boot()
            line.join()
        compared = line.stats("comparisons")
        line.fly(7)
        assert line.stats("comparisons") > compared
        self.named_once()

    # ---- what goes well
    @precondition(lambda self: self.line.present and not self.line.in_tick)
    @rule()
    def begin(self) -> None:
        self.line.begin()

    @rule(n=SOME)
    def deliver(self, n: int) -> None:
        self.line.deliver(n)

    @precondition(lambda self: self.line.present)
    @rule(n=SOME)
    def carry(self, n: int) -> None:
        self.line.carry(n)

    @precondition(lambda self: self.line.waiting)
    @rule()
    def ask_again(self) -> None:
        self.line.ask_again()

    @precondition(lambda self: self.line.waiting)
    @rule()
    def complete(self) -> None:
        self.line.complete()

    @precondition(lambda self: self.line.in_tick and not self.line.waiting)
    @rule(which=st.lists(st.sampled_from(COMMANDS), max_size=3))
    def end(self, which: list[tuple[str, dict[str, Any]]]) -> None:
        commands = []
        for name, values in which:
            self.command_seq += 1
            numbered = name not in ("lease", "hello_req")
            commands.append((name, values | ({"command_seq": self.command_seq} if numbered else {})))
        self.line.end(commands)

    @precondition(lambda self: self.line.present and not self.line.in_tick)
    @rule(ticks=st.integers(1, 6), again=st.sampled_from([0, 0, 1, 2]))
    def fly(self, ticks: int, again: int) -> None:
        """again: how often each TICK is sent again, too early."""
        for _ in range(ticks):
            self.line.begin()
            for _ in range(again):
                self.line.ask_again()
            self.line.complete()
            self.line.end()

    # ---- what does not
    @precondition(lambda self: self.line.to_board)
    @rule(at=SOME, value=st.integers(1, 255))
    def flip_to(self, at: int, value: int) -> None:
        self.line.to_board[at % len(self.line.to_board)] ^= value

    @precondition(lambda self: self.line.from_board)
    @rule(at=SOME, value=st.integers(1, 255))
    def flip_from(self, at: int, value: int) -> None:
        at %= len(self.line.from_board)
        byte, boot = self.line.from_board[at]
        self.line.from_board[at] = (byte ^ value, boot)

    @precondition(lambda self: self.line.alive and self.line.present and not self.vanished)
    @rule(noise=NOISE)
    def noise_to(self, noise: bytes) -> None:
        self.noisy = True
        self.line.to_board += noise

    @precondition(lambda self: self.line.waiting and not self.vanished)
    @rule(noise=NOISE)
    def noise_from(self, noise: bytes) -> None:
        self.noisy = True
        self.line.from_board += [(byte, self.line.boots) for byte in noise]

    @precondition(lambda self: self.line.to_board and not self.noisy)
    @rule(n=SOME)
    def vanish_to(self, n: int) -> None:
        """Bytes are gone, and nothing tells of it."""
        self.vanished += len(self.line.to_board[:n])
        del self.line.to_board[:n]

    @precondition(lambda self: self.line.from_board and self.line.knows_the_boot and not self.noisy)
    @rule(n=SOME)
    def vanish_from(self, n: int) -> None:
        self.vanished += len(self.line.from_board[:n])
        del self.line.from_board[:n]

    @precondition(lambda self: self.line.alive and self.line.in_tick)
    @rule()
    def crash(self) -> None:
        self.line.crash()

    @precondition(lambda self: not self.line.alive or not self.line.in_tick)
    @rule()
    def boot(self) -> None:
        self.line.boot()

    @precondition(lambda self: self.line.present)
    @rule()
    def outage(self) -> None:
        self.line.outage()

    @precondition(lambda self: self.line.present and not self.line.in_tick)
    @rule(heard=st.integers(0, 120), said=st.integers(0, 200), boots=st.sampled_from([0, 0, 0, 1, 2]))
    def cut(self, heard: int, said: int, boots: int) -> None:
        """The line ends in the middle of a tick, and is there again for the next one."""
        self.line.begin()
        self.line.deliver(heard)
        self.line.carry(said)
        self.line.outage()
        self.line.end()
        for _ in range(boots):
            self.line.boot()
        self.join(0, 1)

    @precondition(lambda self: not self.line.present and not self.line.in_tick)
    @rule(asked=st.integers(0, 3), n=SOME)
    def join(self, asked: int, n: int) -> None:
        if not self.line.alive:
            self.line.boot()
        self.line.reopen()
        for _ in range(asked):
            self.line.request_hello()
            self.line.deliver(n)
            self.line.carry(n)
        while not self.line.has_said_hello():
            self.line.request_hello()
            self.line.deliver()
            self.line.carry()
        self.line.admit()

    # ---- what always holds
    @invariant()
    def named_once(self) -> None:
        if hasattr(self, "line"):
            self.line.check()
            assert self.line.stats("unexplained_bytes") <= self.vanished
            assert self.vanished or not self.line.stats("unexplained_frames")
            assert len(set(self.line.steps)) == len(self.line.steps), "a boot steps a tick once"
            assert not self.line.stats("stray_done", "dropped_bytes")


@pytest.fixture
def line() -> Iterator[BenchLine]:
    line = BenchLine(RIG)
    yield line
    line.close()


def test_a_boot_that_was_not_heard_is_not_taken_for_a_loss(line: BenchLine) -> None:
    """Its HELLO, and all that answer the requests for it, arrive damaged until after the next link_report."""
    line.join()
    line.fly(6)
    assert line.stats("comparisons", "epochs") == 1 + 2
    line.boot()
    for _ in range(6):
        line.begin()
        line.deliver()
        for at, (byte, boot) in enumerate(line.from_board):
            is_hello = bytes(b for b, _ in line.from_board[at + 1 : at + 3]) == HELLO_HEAD
            line.from_board[at] = (byte ^ is_hello, boot)
        line.complete()
        line.end()
    assert line.stats("comparisons", "epochs") == 1 + 2, "it is asked for its HELLO first"
    assert line.stats("damaged_received") > 5
    line.fly(12)
    assert line.stats("comparisons", "epochs") == 3 + 3
    assert line.stats(*NAMED_BYTES, *NAMED_FRAMES) == 0


def test_every_byte_and_frame_is_in_one_account_whatever_happens() -> None:
    run_state_machine_as_test(Line, settings=settings(stateful_step_count=60))
