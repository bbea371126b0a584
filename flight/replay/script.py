"""A recording as the script of one flight: its steps and its other inputs, in order, read block by block."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

from flight.errors import ReplayError
from flight.replay.notes import Note, unpack
from hal._native import lib
from hal.recording import Record, Recording

STEP_HEAD = struct.Struct("<QI")
FOREVER_US = 1 << 62


class Step(NamedTuple):
    """One tick of flight: what boards sent it, and what it answered; records of csrc/bus/batch.h."""

    t_us: int
    rx: bytes
    tx: bytes


class Input(NamedTuple):
    """Any other input, or a check of the state."""

    kind: Note
    t_us: int
    slow: bool
    values: dict[str, Any]


class TapeEnd(Exception):
    """The recording has ended where flight asks for the next input."""


class Script:
    """What is left of a recording. Raises `ReplayError` for one that holds no flight, or notes that are none."""

    def __init__(self, recording: Recording) -> None:
        self.path = recording.path
        self._records: Iterator[bytes] = recording.blocks()
        self._items: deque[list[Step] | Input] = deque()  # steps stand in runs, turned round
        self.packets: deque[bytes] = deque()
        """Recorded telemetry, whole packets, that has not been taken."""
        self.ended = False
        """All that there is has been loaded."""
        self.end: dict[str, Any] | None = None
        """What the flight noted at its end, once that is loaded; None: it was killed, or the recording cut."""
        while not self._items and not self.ended:
            self._load()
        first = self._items.popleft() if self._items else None
        if not isinstance(first, Input) or first.kind != Note.START:
            raise ReplayError(f"{self.path}: holds no flight computer (a world that was served?), expected one")
        self.start = first

    def head(self) -> Input | None:
        """The next input, if it stands before the next step."""
        self._fill()
        head = self._items[0] if self._items else None
        return head if isinstance(head, Input) else None

    def take(self, kind: Note, t_us: int, slow: bool) -> dict[str, Any] | None:
        """The values of the next input when it is of this kind and stands here; else None."""
        head = self.head()
        if head is None or (head.kind, head.t_us, head.slow) != (kind, t_us, slow):
            return None
        self._items.popleft()
        return head.values

    def over(self) -> bool:
        """Nothing is left: whoever asks for an input asks for one that was not kept."""
        self._fill()
        return not self._items and self.end is None

    def stopped(self) -> bool:
        """Nothing is left, and flight was stopped here."""
        self._fill()
        return not self._items and self.end is not None and not self.end["world_ended"]

    def step(self) -> Step | None:
        """Take the next step; None when an input stands before it, or at the end."""
        self._fill()
        run = self._items[0] if self._items else None
        if not isinstance(run, list):
            return None
        step = run.pop()
        if not run:
            self._items.popleft()
        return step

    def horizon_us(self, now_us: int) -> int:
        """Time up to which there is nothing but steps and checks of the state, and what a timeline's command finds."""
        self._fill()
        for item in self._items:
            if isinstance(item, list):
                return item[0].t_us
            if item.kind == Note.STORAGE and item.values["what"] == "accept":
                return now_us + 1  # a ground station's would stand behind its command
            if item.kind != Note.CHECK:
                return now_us
        return FOREVER_US

    def packet(self) -> bytes | None:
        """Take the next packet of telemetry; None when no more was recorded."""
        while not self.packets and not self.ended:
            self._load()
        return self.packets.popleft() if self.packets else None

    # ------------------------------------------------------------ loading
    def _fill(self) -> None:
        while not self._items and not self.ended:
            self._load()

    def _load(self) -> None:
        block = next(self._records, None)
        if block is None:
            self.ended = True
            return
        run: list[Step] = []
        for record in wanted(block):
            if record.kind == lib.TAPE_STEP:
                run.append(self._step(record))
                continue
            if run and record.kind != Note.TELEMETRY:
                self._items.append(run[::-1])
                run = []
            self._note(record)
        if run:
            self._items.append(run[::-1])

    def _step(self, record: Record) -> Step:
        at, n = STEP_HEAD.size, len(record.body)
        t_us, rx = STEP_HEAD.unpack_from(record.body) if n >= at else (0, n)
        if at + rx > n:
            raise ReplayError(f"{self.path}: a step of {n} bytes, of which {rx} should be what boards sent")
        return Step(t_us, record.body[at : at + rx], record.body[at + rx :])

    def _note(self, record: Record) -> None:
        if record.kind == Note.TELEMETRY:
            self.packets.extend(split_packets(record.body))
            return
        try:
            kind, values = unpack(record.kind, record.body)
        except (ValueError, RecursionError) as error:
            raise ReplayError(f"{self.path}: a note of kind {record.kind} is malformed: {error}") from None
        if kind == Note.END:
            self.end = values
        else:
            self._items.append(Input(kind, values["t_us"], values["slow"], values))


def wanted(block: bytes) -> Iterator[Record]:
    """The records of a block that are flight's: the lines are not looked at."""
    kinds = 1 << int(lib.TAPE_STEP) | sum(1 << kind for kind in Note)
    at = 0
    while (at := int(lib.tape_find(block, len(block), at, kinds))) < len(block):
        n = int.from_bytes(block[at + 1 : at + 5], "little")
        yield Record(block[at], block[at + 5 : at + 5 + n])
        at += 5 + n


def split_packets(data: bytes) -> Iterator[bytes]:
    """Whole space packets, each with its own length; what is left over comes last."""
    at = 0
    while at < len(data):
        n = int.from_bytes(data[at + 4 : at + 6], "big") + 7
        yield data[at : at + n]
        at += n
