"""Board-side replay: what a board was sent, fed to the board code in this process; what it says must be what was said.

HELLO and its like stand outside the bus hash: of HELLO every field is compared but the image CRC, which differs by back
end, and the firmware hash, which is told apart; what only hardware sends (CRASH, HARDWARE_REPORT, update_status) is
left out. docs/replay.md says what follows from what a host cannot know of a board on a cable.
"""

from __future__ import annotations

import struct
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from hal import icd
from hal._native import ffi, lib
from hal.differences import Difference, frame_difference, role_of
from hal.errors import RecordingError
from hal.firmware import firmware_hash
from hal.frames import DAMAGED, Cutter, Frame, decode
from hal.recording import Record, Recording

TO, FROM, BOOT, ABSENT = (int(getattr(lib, f"TAPE_{n}")) for n in ("TO_BOARD", "FROM_BOARD", "BOOT", "ABSENT"))
TICK, CUT, UPSET = int(lib.TAPE_TICK), int(lib.TAPE_CUT), int(lib.TAPE_UPSET)
LINES = (TO, FROM, BOOT, ABSENT, CUT, UPSET)
NOT_COMPARED = ("image_crc", "firmware_hash")
BOOTS_MAX = 100_000
BITS_MAX = 10_000
"""of a bit_flip, as hal/fault_kinds.py allows"""
UPSET_BODY = struct.Struct("<HIQ")


class Said(NamedTuple):
    """A frame and the tick in which it was said."""

    t_us: int
    frame: Frame


class Parted(Exception):
    """A board and its replay say different things."""

    def __init__(self, difference: Difference) -> None:
        self.difference = difference


@dataclass
class Replayed:
    """One board of a recording, and what came of it."""

    index: int
    tick_us: int
    frames: int = 0
    """that are the same"""
    boots: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    """frames that a mock does not send, and those that were lost on the line"""
    firmware: str = ""
    """hash of what it ran"""
    notes: list[str] = field(default_factory=list)
    """what could not be replayed, and why"""
    t_us: int = 0
    _mock: Any = None
    _deaf: bool = False  # its memory is not known any more, until it boots
    _backlog: list[Record] = field(default_factory=list)
    _events: list[Record] = field(default_factory=list)
    _recorded: deque[Said] = field(default_factory=deque)
    _replayed: deque[Said] = field(default_factory=deque)
    _from: Cutter = field(default_factory=Cutter)
    _mine: Cutter = field(default_factory=Cutter)

    @property
    def role(self) -> str:
        return role_of(self.index)

    def report(self) -> dict[str, Any]:
        """What came of it, for people and for scripts."""
        left_out = {what: count for what, count in self.left_out.items() if count}
        same = {"frames": self.frames, "boots": self.boots, "left_out": left_out}
        return same | {"firmware": self.firmware, "notes": self.notes}

    def take(self, record: Record) -> None:
        """The next record of this board's line."""
        if self._mock is None:
            self._await_hello(record)
        else:
            self._events.append(record)

    def end_of_tick(self) -> None:
        """No more of this tick comes. Raises `Parted`."""
        events, self._events = self._events, []
        again = sum(record.kind == TO for record in events) > 1
        if again and not self._deaf and all(record.kind in (TO, FROM) for record in events):
            self._repeated(events)
            return
        for record in events:
            self._do(record)

    # ------------------------------------------------------------ the board at the start
    def _await_hello(self, record: Record) -> None:
        """Until its HELLO has come nobody knows which board this is."""
        self._backlog.append(record)
        if record.kind == ABSENT:
            self._backlog.clear()
        if record.kind == TO and any(f.name in ("tick_node", "tick_power") for f in decode(record.body[2:])):
            nothing = ("hello", "", "nothing before the first TICK", "a hello")
            raise Parted(Difference(self.t_us, self.t_us // self.tick_us, f"from {self.role}", *nothing))
        if record.kind != FROM:
            return
        said = b"".join(r.body[2:] for r in self._backlog if r.kind == FROM)
        hello = next((f for f in decode(said) if _is_hello(f)), None)
        if hello is None:
            return
        self._create(hello)
        backlog, self._backlog = self._backlog, []
        for earlier in backlog:
            self._events.append(earlier)

    def _create(self, hello: Frame) -> None:
        fields = hello.fields()
        address = int(lib.bus_address_of(self.index))
        kind = lib.BUS_BOARD_KIND_COMPUTE_NODE if self.index else lib.BUS_BOARD_KIND_POWER_BOARD
        self._mock = ffi.gc(lib.mock_create(kind, address, fields["hardware_id"]), lib.mock_destroy)
        self.firmware = fields["firmware_hash"].hex()
        if not any(r.kind == BOOT for r in self._backlog):
            self._catch_up(hello, fields)

    def _catch_up(self, hello: Frame, fields: dict[str, Any]) -> None:
        """A board that the world did not boot: as if its persistent memory had been empty but for its boot count. What
        its line carried before its HELLO is nobody's."""
        for _ in range(min(int(fields["boot_count"]), BOOTS_MAX) - 1):
            lib.mock_boot(self._mock, lib.BUS_RESET_CAUSE_POWER_ON)
        lib.mock_boot(self._mock, fields["reset_cause"])
        self.boots += 1
        self._output()
        said = b"".join(r.body[2:] for r in self._backlog if r.kind == FROM)
        at = said.index(hello.wire) + len(hello.wire)
        asked = [r for r in self._backlog if r.kind == TO] if hello.dst != icd.Address.ANY else []
        self._backlog = [*asked, Record(FROM, self.index.to_bytes(2, "little") + said[at:])]
        self.notes.append("its persistent memory at the start is not known: taken as empty")

    # ------------------------------------------------------------ one record
    def _do(self, record: Record) -> None:
        body = record.body
        if self._deaf and record.kind != BOOT:
            return
        if record.kind == TO:
            lib.mock_receive(self._mock, body[2:], len(body) - 2)
            lib.mock_lift_cut(self._mock)
            self._replayed.extend(self._output())
        elif record.kind == FROM:
            self._recorded.extend(self._listen(record))
        elif record.kind == BOOT:
            self._boot(body[2], body[3:])
        elif record.kind == CUT:
            lib.mock_cut_nvm(self._mock, int.from_bytes(body[2:6], "little"))
        elif record.kind == UPSET:
            self._upset(*UPSET_BODY.unpack(body))
        elif record.kind == ABSENT:
            self._forget()
        self._compare()

    def _boot(self, cause: int, nvm: bytes) -> None:
        self._forget()
        self._deaf = self._deaf and not nvm
        if nvm:
            ffi.memmove(lib.mock_nvm(self._mock), nvm, len(nvm))
        lib.mock_boot(self._mock, cause)
        lib.mock_lift_cut(self._mock)
        self.boots += 1
        self._replayed.extend(self._output())

    def _upset(self, _board: int, bits: int, seed: int) -> None:
        if bits > BITS_MAX:
            raise RecordingError(f"{self.role}: {bits} bits flipped at once, expected {BITS_MAX} at most")
        if bits:
            lib.mock_flip(self._mock, bits, seed)
        else:
            self._deaf = True
            self.notes.append(
                f"not replayed from {self.t_us * 1e-6:.3f} s to its next boot: bits of its memory were flipped"
            )

    def _forget(self) -> None:
        """Half frames, and what was never heard because the board was gone."""
        self._from, self._mine = Cutter(), Cutter()
        self._recorded.clear()
        self._replayed.clear()

    def _output(self) -> list[Said]:
        out = ffi.new("const uint8_t **")
        n = lib.mock_take(self._mock, out)
        return [Said(self.t_us, f) for f in self._mine.feed(bytes(ffi.buffer(out[0], n)))]

    # ------------------------------------------------------------ comparing
    def _compare(self) -> None:
        while True:
            self._skip(self._recorded)
            self._skip(self._replayed)
            if not self._recorded:
                return
            a = self._recorded[0]
            b = self._replayed[0] if self._replayed else None
            if b is not None and _is_answer(a.frame) != _is_answer(b.frame):
                (self._recorded if _is_answer(a.frame) else self._replayed).popleft()
                continue
            if _is_boot(a.frame) and (b is None or not _is_boot(b.frame)):
                self._reset_by_itself(a.frame)
                continue
            if b is None:
                return
            if not _same(a.frame, b.frame):
                raise Parted(self._difference(a, b))
            self._recorded.popleft()
            self._replayed.popleft()
            self.frames += 1

    def _skip(self, said: deque[Said]) -> None:
        while said and not _counts(said[0].frame):
            self.left_out[said.popleft().frame.name] += 1

    def _reset_by_itself(self, hello: Frame) -> None:
        """It booted for a reason of its own (crash, watchdog, brown-out): what it had not said yet it never said."""
        self._replayed.clear()
        self._mine = Cutter()
        lib.mock_boot(self._mock, hello.fields()["reset_cause"])
        self.boots += 1
        self._replayed.extend(self._output())

    def _difference(self, recorded: Said, replayed: Said | None) -> Difference:
        what = frame_difference(_comparable(recorded.frame), replayed and _comparable(replayed.frame))
        return Difference(recorded.t_us, recorded.t_us // self.tick_us, f"from {self.role}", *what)

    # ------------------------------------------------------------ a tick that was sent again
    def _repeated(self, events: list[Record]) -> None:
        """Something was late or lost on the line, and nobody knows how far it came. One assumption has to explain what
        was heard: the first transmissions never arrived, and answers may be lost. Raises `Parted` when none does."""
        sent = [record.body[2:] for record in events if record.kind == TO]
        heard = [self._listen(record) if record.kind == FROM else [] for record in events]
        frames = [said.frame for said in [*self._recorded, *chain(*heard)] if _counts(said.frame)]
        whole = [frame for frame in frames if frame.type != DAMAGED]
        saved = ffi.new("uint8_t[]", lib.mock_state_bytes(self._mock))
        lib.mock_save(self._mock, saved)
        found: list[tuple[int, int]] = []  # (answers lost, transmissions lost)
        for lost in range(len(sent)):
            spoken = [one.frame for one in [*self._replayed, *self._hear(saved, sent[lost:])] if _counts(one.frame)]
            if _is_part(whole, spoken):
                found.append((len(spoken) - len(whole), lost))
        self._hear(saved, sent[min(found)[1] :] if found else [])
        if found:
            self.frames += len(whole)
            self.left_out["lost on the line"] += sum(min(found))
            self._recorded.clear()
            self._replayed.clear()
            return
        for record, said in zip(events, heard, strict=True):
            if record.kind == TO:
                self._do(record)
            else:
                self._recorded.extend(said)
                self._compare()

    def _listen(self, record: Record) -> list[Said]:
        return [Said(self.t_us, f) for f in self._from.feed(record.body[2:])]

    def _hear(self, saved: Any, sent: list[bytes]) -> list[Said]:
        """What a mock in that state says to all of it."""
        lib.mock_load(self._mock, saved)
        self._mine = Cutter()
        said = []
        for data in sent:
            lib.mock_receive(self._mock, data, len(data))
            said += self._output()
        return said


def _counts(frame: Frame) -> bool:
    """It is compared at all."""
    return frame.hashed or frame.name == "hello"


def _is_hello(frame: Frame) -> bool:
    """A HELLO that can be read."""
    return frame.name == "hello" and "firmware_hash" in frame.fields()


def _is_answer(frame: Frame) -> bool:
    """A HELLO that the bench has asked for: outside lock-step, so that one more or less says nothing."""
    return _is_hello(frame) and frame.dst == icd.Address.BENCH


def _is_boot(frame: Frame) -> bool:
    return _is_hello(frame) and frame.dst == icd.Address.ANY


def _comparable(frame: Frame) -> Frame:
    """A HELLO without what differs by back end, as its own bytes."""
    if not _is_hello(frame):
        return frame
    fields = icd.decode("hello", frame.payload) | {"image_crc": 0, "firmware_hash": bytes(8)}
    return frame._replace(seq=0, t_us=0, payload=icd.encode("hello", **fields), wire=b"")


def _same(a: Frame, b: Frame) -> bool:
    return a.wire == b.wire or (a.name == b.name == "hello" and _comparable(a) == _comparable(b))


def _is_part(heard: list[Frame], said: list[Frame]) -> bool:
    """All that was heard was said, in this order."""
    rest = iter(said)
    return all(any(_same(frame, one) for one in rest) for frame in heard)


class BoardsOutcome(NamedTuple):
    """What a board-side replay found."""

    rig: str
    ticks: int
    sim_s: float
    boards: dict[str, Replayed]
    cut_bytes: int
    difference: Difference | None
    damage: str | None
    firmware: str
    """hash of the code that replayed"""


def replay_boards(path: Path, role: str | None = None) -> BoardsOutcome:
    """Replay every board of a recording, or one. Raises `RecordingError` when there is nothing that could be."""
    with Recording(path) as recording:
        _check(recording)
        rig = recording.rig()
        roles = [role for role, _ in rig.boards]
        if role is not None and role not in roles:
            raise RecordingError(f"{path}: no board '{role}', expected one of power, node0 .. {roles[-1]}")
        boards = {i: Replayed(i, rig.tick_us) for i, one in enumerate(roles) if role in (None, one)}
        ticks = t_us = 0
        difference = damage = None
        try:
            for t_us in _ticks(recording, boards):  # noqa: B007
                ticks += 1
        except Parted as parted:
            difference = parted.difference
        except RecordingError as error:
            damage = str(error)
        if difference is None and damage is None and not any(b.boots for b in boards.values()):
            raise RecordingError(f"{path}: holds no lines of boards, expected a recording by `hal serve` or of a rig")
        by_role = {board.role: board for board in boards.values()}
        cut = recording.cut
        return BoardsOutcome(rig.name, ticks, t_us * 1e-6, by_role, cut, difference, damage, firmware_hash().hex())


def _ticks(recording: Recording, boards: dict[int, Replayed]) -> Iterator[int]:
    """Replays tick by tick; yields the time of each."""
    touched: set[int] = set()

    def finish() -> None:
        for i in sorted(touched):
            boards[i].end_of_tick()
        touched.clear()

    for record in recording.records():
        if record.kind == TICK:
            finish()
            t_us = int.from_bytes(record.body, "little")
            for board in boards.values():
                board.t_us = t_us
            yield t_us
        elif record.kind in LINES and (index := int.from_bytes(record.body[:2], "little")) in boards:
            touched.add(index)
            boards[index].take(record)
    finish()


def _check(recording: Recording) -> None:
    theirs = recording.header.get("board_bus", {}).get("icd_hash")
    if theirs != f"{icd.ICD_HASH:016x}":
        version = recording.header.get("software", {}).get("version") or "unknown"
        raise RecordingError(
            f"{recording.path}: recorded with board-bus ICD {theirs}, this program has {icd.ICD_HASH:016x}: "
            f"replay it with the version that recorded it ({version})"
        )
