"""The bench's side of one tick with a board that may be damaged: ask, ask again, and see what it sets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hal import frames, icd
from hal.backends.unicorn import UnicornLine
from hal.cortexm import StuckError

ASKED_AGAIN = 3
_DONE = ("done_node", "done_power")


class Tick:
    """The bytes that a board gets in one tick, and those that it gets when it does not answer."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        bench = [f for f in frames.decode(data) if f.src == icd.Address.BENCH]
        self.t_us = bench[-1].t_us
        self.frames = len(list(frames.decode(data)))
        self._hello_request = frames.encode("hello_req", icd.Address.BENCH, icd.Address.ANY, 0, self.t_us)
        self._again = [frames.repeated(f) for f in bench]

    def retransmission(self, booted: bool) -> bytes:
        """As csrc/world/line.c: a board that has booted takes no repeated TICK before it was asked for its HELLO."""
        return b"".join([self._hello_request, *self._again] if booted else self._again)

    def given(self, asked: int) -> tuple[int, int]:
        """Bytes and frames that the board got when it was asked so often, requests for HELLO apart."""
        return len(self.data) + asked * sum(map(len, self._again)), self.frames + asked * len(self._again)


@dataclass(frozen=True, slots=True)
class Heard:
    """What a board said in one tick. asked: how often its TICK was sent again; stuck: it is dead."""

    data: bytes
    asked: int = 0
    stuck: bool = False


@dataclass(frozen=True)
class Said:
    """`Heard`, taken apart."""

    heard: Heard
    tick: Tick

    @cached_property
    def frames(self) -> list[frames.Frame]:
        """Every good frame."""
        return list(frames.decode(self.heard.data))

    @cached_property
    def done(self) -> dict[str, Any] | None:
        """The values of the DONE of this tick."""
        found = [v for f in self.frames if f.t_us == self.tick.t_us and (v := values_of(f, *_DONE)) is not None]
        return found[-1] if found else None

    def values(self, *names: str) -> Iterator[dict[str, Any]]:
        """What the sound frames of these messages say."""
        return (v for f in self.frames if (v := values_of(f, *names)) is not None)


def values_of(frame: frames.Frame, *names: str) -> dict[str, Any] | None:
    """What a frame of one of these messages says; None: it is another one, or holds what the ICD does not allow."""
    if frame.name not in names:
        return None
    try:
        return icd.decode(frame.name, frame.payload)
    except icd.IcdError:
        return None


def has_booted(data: bytes) -> bool:
    """Whether a boot's HELLO is in what was heard."""
    return any(f.name == "hello" and f.dst == icd.Address.ANY for f in frames.decode(data))


def exchange(line: UnicornLine, tick: Tick, rest: bytes, expected: bytes) -> Heard:
    """Give a board the rest of a tick's bytes, and hear its answer; when that is not the expected one, see to it that
    the board answers at all."""
    machine = line.machine
    assert machine is not None
    line.chip.received.extend(rest)
    data, asked = b"", 0
    try:
        machine.run()
        data = line.recv()
        while data != expected and Said(Heard(data), tick).done is None and asked < ASKED_AGAIN:
            line.chip.received.extend(tick.retransmission(asked > 0 or has_booted(data)))
            asked += 1
            machine.run()
            data += line.recv()
    except StuckError:
        return Heard(data + line.recv(), asked, stuck=True)
    return Heard(data, asked)
