"""A phase made ready for trials: the board flown up to it, the undisturbed run, and what is where in its memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hal import frames
from hal.backends.unicorn import BURST_BYTES, HANG_INSTRUCTIONS, UnicornLine, open_link
from hal.elf import Elf
from hal.errors import LinkError
from hal.identity import expected_board
from hal.link import Board, parse_url
from hal.seu.bench import Heard, Said
from hal.seu.flown import PHASES, Flown, Phase, inputs_of
from hal.seu.golden import Leg, leg_of
from hal.seu.memory import RAM, Map, read_map
from hal.seu.rules import Limit, Settings, limits_of

_NVM_BYTES = 4096


@dataclass
class Subject:
    """A kind of board: its image, and what is where in its RAM. needed: as `Leg.needed`, once it is known."""

    kind: str
    elf: Elf
    map: Map
    groups: tuple[str, ...]
    needed: tuple[int, ...] | None = None

    def function_at(self, pc: int) -> str:
        """The function that an address is in."""
        inside = (n for n, (at, size) in self.elf.symbols.items() if at & 1 and at - 1 <= pc < at - 1 + size)
        return next(inside, f"{pc:#x}")


@dataclass(frozen=True, slots=True)
class Course:
    """A phase of one board. channels: the settings of its channels before the phase."""

    subject: Subject
    phase: Phase
    leg: Leg
    limits: list[Limit]
    channels: dict[int, Settings]

    def said(self, heard: list[Heard]) -> list[Said]:
        """What was heard from the first tick on, to be taken apart."""
        return [Said(one, tick) for one, tick in zip(heard, self.leg.ticks, strict=False)]


def courses(flown: Flown, kind: str, seed: int, folder: Path) -> Iterator[Course]:
    """Every phase of a kind of board; each is done with before the next one comes. Raises `HalError`."""
    rig = flown.rig.with_backend("unicorn")
    phases = sorted(PHASES[kind], key=lambda p: (p.role, p.tick))
    subject: Subject | None = None
    for role in dict.fromkeys(p.role for p in phases):
        nvm = folder / f"{role}.nvm"
        nvm.write_bytes(b"\xff" * _NVM_BYTES)
        board = expected_board(rig, rig.boards[rig.index_of(role)], nvm)
        line = _open(board)
        subject = subject or _subject(kind, board, line)
        try:
            yield from _of_role(flown, subject, line, [p for p in phases if p.role == role], seed)
        finally:
            line.close()


def _open(board: Board) -> UnicornLine:
    line = open_link(parse_url("unicorn:"), board)
    if not isinstance(line, UnicornLine) or line.machine is None:
        raise LinkError(f"{board.role}: does not start")
    line.machine.limit(HANG_INSTRUCTIONS)
    line.recv()
    return line


def _subject(kind: str, board: Board, line: UnicornLine) -> Subject:
    assert board.image is not None
    assert line.machine is not None
    of_image = read_map(board.image, "power" if kind == "node" else "node")
    return Subject(kind, line.machine.elf, of_image, tuple(of_image.groups()))


def _of_role(flown: Flown, subject: Subject, line: UnicornLine, phases: list[Phase], seed: int) -> Iterator[Course]:
    history, at = flown.inputs[phases[0].role], 0
    channels: dict[int, Settings] = {}
    for phase in phases:
        for data in history[at : phase.tick]:
            line.send(data)
            _note_channels(channels, line.recv())
        at = phase.tick
        line.send(bytes(BURST_BYTES))  # an idle line: no later burst fills the ring more, and its high water stays
        inputs = inputs_of(flown, phase)
        leg = leg_of(line, phase, inputs, seed, subject.map.top - RAM, subject.needed)
        subject.needed = leg.needed
        assert line.machine is not None
        before = line.machine.snapshot()
        yield Course(subject, phase, leg, limits_of(history[:at], inputs), dict(channels))
        line.machine.restore(before)


def _note_channels(channels: dict[int, Settings], data: bytes) -> None:
    for f in frames.decode(data):
        if f.name == "done_channels":
            values = f.fields()
            channels.update({values["base"] + i: s for i, s in enumerate(values["channels"])})
