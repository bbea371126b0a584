"""The replaying side: a port, a radio, a storage and a pacing that tell flight what a recording's told it.

The radio holds time, as a ground station may: flight runs from one recorded input to the next, and stands there until
it has taken it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from flight.errors import ReplayError
from flight.executive import Executive
from flight.pacing import Pacing
from flight.replay.compare import Diverged, bus_difference, state_difference
from flight.replay.notes import Note, state
from flight.replay.script import Script, Step, TapeEnd
from flight.storage import JournalEntry, Storage
from flight.telecommand import Telecommand
from hal._native import ffi, lib
from hal.differences import Difference
from hal.rig import Rig

ANSWER_BYTES = 4 * 1024 * 1024


class Stage:
    """Where in the recording the replay stands."""

    def __init__(self, script: Script, tick_us: int) -> None:
        self.script = script
        self.tick_us = tick_us
        self.t_us = script.start.t_us
        self.slow = False
        self.executive: Executive | None = None

    def take(self, kind: Note) -> dict[str, Any] | None:
        """The input of this kind that stands here; None when there is none."""
        return self.script.take(kind, self.t_us, self.slow)

    def diverged(self, what: str, recorded: str, replayed: str) -> Diverged:
        tick = self.t_us // self.tick_us
        return Diverged(Difference(self.t_us, tick, "flight", what, "", recorded, replayed))


class ReplayedPort:
    """Boards whose bytes are those of the recording; what flight answers is compared at every tick."""

    late_ticks = 0  # in what was measured
    waited_ns = 0

    def __init__(self, rig: Rig, stage: Stage) -> None:
        self.rig = rig
        self.tick_us = rig.tick_us
        self.ticks = 0
        self.sent_bytes = 0
        self._stage = stage
        self._memory = ffi.new("uint8_t[]", ANSWER_BYTES)
        self._tx, self._rx = ffi.new("struct bus_batch *"), ffi.new("struct bus_batch *")
        lib.bus_batch_init(self._tx, self._memory, ANSWER_BYTES)

    @property
    def t_us(self) -> int:
        return self._stage.t_us

    def run(self, max_ticks: int, step: int, ctx: int) -> int:
        """As `BusPort.run`; 0 at the end of the recording. Raises `Diverged`."""
        done, attention = 0, False
        self._checks()
        while done < max_ticks and not attention and (recorded := self._stage.script.step()) is not None:
            attention = self._step(recorded, step, ctx)
            done += 1
        self._checks()
        return done

    def close(self) -> None:
        """Nothing to let go of."""

    def _step(self, recorded: Step, step: int, ctx: int) -> bool:
        if recorded.t_us <= self.t_us or recorded.t_us % self.tick_us:
            raise self._stage.diverged("tick", f"{recorded.t_us} us", f"{self.t_us + self.tick_us} us")
        self._stage.t_us = recorded.t_us
        rx = ffi.from_buffer("uint8_t[]", recorded.rx)
        self._rx.data, self._rx.used, self._rx.capacity = rx, len(recorded.rx), len(recorded.rx)
        lib.bus_batch_clear(self._tx)
        attention = lib.world_call(step, ctx, recorded.t_us, self._rx, self._tx)
        self.ticks += 1
        self.sent_bytes += self._tx.used
        if self._tx.used != len(recorded.tx) or ffi.buffer(self._tx.data, self._tx.used) != recorded.tx:
            sent = bytes(ffi.buffer(self._tx.data, self._tx.used))
            raise Diverged(bus_difference(recorded.t_us, self.tick_us, recorded.tx, sent))
        return bool(attention)

    def _checks(self) -> None:
        while (check := self._stage.take(Note.CHECK)) is not None:
            assert self._stage.executive is not None
            recorded, here = check["state"], state(self._stage.executive)
            if here != recorded:
                raise Diverged(state_difference(self._stage.t_us, self.tick_us, recorded, here))


class ReplayedRadio:
    """A radio on which the recorded telecommands arrive, each where it arrived."""

    held = True
    stations = 0

    def __init__(self, stage: Stage, flush: Callable[[], None]) -> None:
        self.dropped = 0
        self.skipped_bytes = 0
        self._stage = stage
        self._flush = flush
        self._idle: object = None

    @property
    def go_us(self) -> int:
        return self._stage.script.horizon_us(self._stage.t_us)

    def poll(self, wait_s: float = 0.0) -> list[Telecommand]:
        """Raises `TapeEnd`, or `Diverged` when flight passes by what it took in the recording."""
        script = self._stage.script
        values = self._stage.take(Note.COMMANDS)
        if values is None:
            self._wait(wait_s)
            return []
        self._idle = None
        self.skipped_bytes = int(values["skipped"])
        try:
            return [Telecommand._make([*head, bytes.fromhex(data)]) for *head, data in values["commands"]]
        except (TypeError, ValueError) as error:
            raise ReplayError(f"{script.path}: a telecommand is malformed: {error}") from None

    def _wait(self, wait_s: float) -> None:
        script = self._stage.script
        if script.over():
            self._flush()
            if not script.packets:
                raise TapeEnd
        head = script.head()
        if wait_s > 0 and head is not None:
            if head is self._idle:
                raise self._stage.diverged(f"input {head.kind.name.lower()}", f"at {head.t_us * 1e-6:g} s", "not taken")
            self._idle = head

    def send(self, packets: bytes, count: int) -> None:
        """Telemetry is compared elsewhere."""

    def tell_time(self, t_us: int) -> None:
        """Nobody waits for it."""

    def close(self) -> None:
        """Nothing to let go of."""


class ReplayedStorage(Storage):
    """A storage with the content, and the failures, of the recorded one."""

    def __init__(self, directory: Path, stage: Stage) -> None:
        super().__init__(directory)
        self._stage = stage
        self._refuses = 0
        self.restore(stage.script.start.values["storage"])

    def accept(self, request: int, ack: int, name: str, args: dict[str, Any], t_us: int) -> JournalEntry | None:
        if (errno := self._failure("accept")) is not None:
            self.failed = errno
            return None
        entry = super().accept(request, ack, name, args, t_us)
        if entry is None:
            raise self._broken()
        return entry

    def commit(self) -> bool:
        if not self._pending:
            return True
        errno = self._failure("commit")
        self._refuses = self._refuses if errno is None else errno
        if self._refuses:
            self.failed = self._refuses
            return False
        if not super().commit():
            raise self._broken()
        return True

    def _failure(self, what: str) -> int | None:
        """errno, when a failure, or the end of one, stands here."""
        head = self._stage.script.head()
        if head is None or head.kind != Note.STORAGE or head.values["what"] != what:
            return None
        values = self._stage.take(Note.STORAGE)
        return int(values["errno"]) if values is not None else None

    def _broken(self) -> ReplayError:
        return ReplayError(f"storage {self.path}: cannot be written (errno {self.failed}), needed for a replay")


class ReplayedPacing(Pacing):
    """Measures what the recorded one measured, and holds no time."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(None, clock=False)
        self._stage = stage
        self._late_ticks = 0
        self.radio: ReplayedRadio | None = None

    @property
    def late_ticks(self) -> int:
        return self._late_ticks

    def begin_slow(self) -> None:
        self._stage.slow = True

    def end_slow(self, period_us: int) -> int:
        slip_us = self._slip()
        self._stage.slow = False
        return slip_us

    def end_fast(self, ticks: int, period_us: int, waited_ns: int) -> int:
        return self._slip()

    def _slip(self) -> int:
        values = self._stage.take(Note.SLIP)
        return int(values["us"]) if values is not None else 0

    def take_worst(self) -> tuple[int, int]:
        values = self._stage.take(Note.MEASURED)
        if values is None:
            if self._stage.script.over():
                raise TapeEnd
            raise self._stage.diverged("hk_flight", "nothing", "a report")
        self.slips, self._late_ticks = int(values["slips"]), int(values["late_ticks"])
        if self.radio is not None:
            self.radio.dropped = int(values["dropped"])
        return int(values["fast_us"]), int(values["slow_us"])
