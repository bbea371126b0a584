"""The recording side: a port, a radio, a storage and a pacing that also tell a tape what they told flight."""

from __future__ import annotations

from typing import Any

from flight import icd
from flight.executive import Executive
from flight.pacing import Pacing
from flight.radio import Radio
from flight.replay.notes import Note, pack, state
from flight.storage import JournalEntry, Storage
from flight.telecommand import Telecommand
from hal.port import BusPort
from hal.rig import Rig
from hal.tape import Tape


class Recorder:
    """Collects one flight's inputs and outputs on a tape. `start` before the executive is made, then `follow` it."""

    def __init__(self) -> None:
        self.slow = False
        """The slow rate group runs."""
        self.port: BusPort | None = None
        self.radio: Radio | None = None
        self._tape: Tape | None = None
        self._flown: RecordedPort | None = None
        self._executive: Executive | None = None

    def start(self, tape: Tape, port: BusPort, storage: Storage, *, timeline: bool) -> RecordedPort:
        """Note what flight starts from. Returns the port that it shall fly on."""
        self._tape, self.port = tape, port
        hashes = {"icd_hash": f"{icd.ICD_HASH:016x}"}
        self.note(Note.START, storage=storage.dump(), timeline=timeline, **hashes)
        self._flown = RecordedPort(port, tape)
        return self._flown

    def follow(self, executive: Executive) -> None:
        """Put its state into every block. The first, with what flight starts from, is written at once."""
        assert self._tape is not None
        self._executive = executive
        self._tape.seal()
        self._tape.on_seal = lambda: self.note(Note.CHECK, state=state(executive))

    def finish(self) -> None:
        """The flight has ended in order; its executive is closed."""
        assert self._executive is not None
        assert self._flown is not None
        self.note(Note.END, state=state(self._executive), world_ended=self._flown.ended)

    def note(self, kind: Note, **values: Any) -> None:
        """Add a note, with where in time it stands."""
        assert self._tape is not None
        assert self.port is not None
        self._tape.note(kind, pack({"t_us": self.port.t_us, "slow": self.slow, **values}))

    def packets(self, data: bytes) -> None:
        """Telemetry, as the executive's tap."""
        assert self._tape is not None
        self._tape.note(Note.TELEMETRY, data)


class RecordedPort:
    """The `BusPort` behind it, with every tick on the tape."""

    def __init__(self, port: BusPort, tape: Tape) -> None:
        self._port, self._tape = port, tape
        self.rig: Rig = port.rig
        self.tick_us = port.tick_us
        self.ended = False
        """The world has ended."""

    @property
    def t_us(self) -> int:
        return self._port.t_us

    @property
    def late_ticks(self) -> int:
        return self._port.late_ticks

    @property
    def waited_ns(self) -> int:
        return self._port.waited_ns

    def run(self, max_ticks: int, step: int, ctx: int) -> int:
        """As `BusPort.run`."""
        done = self._port.run(max_ticks, *self._tape.tap(step, ctx))
        self.ended = done == 0
        self._tape.t_us = self._port.t_us
        self._tape.drain()
        return done

    def close(self) -> None:
        self._port.close()


class RecordedRadio(Radio):
    """A radio whose telecommands are noted."""

    def __init__(self, host: str, port: int, recorder: Recorder) -> None:
        super().__init__(host, port)
        self._recorder = recorder
        self._noted_skipped = 0
        recorder.radio = self

    def poll(self, wait_s: float = 0.0) -> list[Telecommand]:
        received = super().poll(wait_s)
        if received or self.skipped_bytes != self._noted_skipped:
            self._noted_skipped = self.skipped_bytes
            commands = [[*tc[:-1], tc.data.hex()] for tc in received]
            self._recorder.note(Note.COMMANDS, commands=commands, skipped=self._noted_skipped)
        return received


class RecordedStorage(Storage):
    """A storage whose failures are noted: they are inputs as well."""

    def __init__(self, directory: Any, recorder: Recorder) -> None:
        super().__init__(directory)
        self._recorder = recorder
        self._noted = 0

    def accept(self, request: int, ack: int, name: str, args: dict[str, Any], t_us: int) -> JournalEntry | None:
        entry = super().accept(request, ack, name, args, t_us)
        if entry is None:
            self._recorder.note(Note.STORAGE, what="accept", errno=self.failed)
        return entry

    def commit(self) -> bool:
        tried = bool(self._pending)
        done = super().commit()
        errno = 0 if done else self.failed
        if tried and errno != self._noted:
            self._noted = errno
            self._recorder.note(Note.STORAGE, what="commit", errno=errno)
        return done


class RecordedPacing(Pacing):
    """A pacing whose measured times are noted."""

    def __init__(self, speed: float | None, recorder: Recorder, *, clock: bool = True) -> None:
        super().__init__(speed, clock=clock)
        self._recorder = recorder

    def begin_slow(self) -> None:
        self._recorder.slow = True
        super().begin_slow()

    def end_slow(self, period_us: int) -> int:
        slip_us = super().end_slow(period_us)
        self._note_slip(slip_us)
        self._recorder.slow = False
        return slip_us

    def end_fast(self, ticks: int, period_us: int, waited_ns: int) -> int:
        slip_us = super().end_fast(ticks, period_us, waited_ns)
        self._note_slip(slip_us)
        return slip_us

    def _note_slip(self, slip_us: int) -> None:
        if slip_us:
            self._recorder.note(Note.SLIP, us=slip_us)

    def take_worst(self) -> tuple[int, int]:
        fast_us, slow_us = super().take_worst()
        r = self._recorder
        late = self.late_ticks + (r.port.late_ticks if r.port else 0)
        dropped = r.radio.dropped if r.radio else 0
        r.note(
            Note.MEASURED, fast_us=fast_us, slow_us=slow_us, slips=self.slips, late_ticks=late, dropped=dropped
        )  # fmt: skip
        return fast_us, slow_us
