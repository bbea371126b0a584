"""The undisturbed run that every trial is compared with, the points in it where bits flip, and what is alive there.

A byte of RAM is alive when the run reads it before it writes it again. The run is traced once, and then walked
backwards; so a trial in which all live bytes are again what they were is over: it can only go on as the undisturbed run
did.
"""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import unicorn
from unicorn import arm_const as arm

from hal.backends.unicorn import UnicornLine
from hal.cortexm import CortexM, Snapshot, StuckError
from hal.seu.bench import Heard, Tick, exchange
from hal.seu.flown import Phase
from hal.seu.memory import RAM

Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Access = tuple[bool, int, int]

GENERAL = {f"r{i}": getattr(arm, f"UC_ARM_REG_R{i}") for i in range(13)}
REGISTERS = {**GENERAL, "sp": arm.UC_ARM_REG_SP, "lr": arm.UC_ARM_REG_LR, "pc": arm.UC_ARM_REG_PC,
             "xpsr": arm.UC_ARM_REG_XPSR}  # fmt: skip
BITS = {name: tuple(range(32)) for name in REGISTERS}
BITS |= {"sp": tuple(range(2, 32)), "pc": tuple(range(1, 32)), "xpsr": (*range(9), 27, 28, 29, 30, 31)}
"""Bits of a register that exist and can be flipped (of xPSR not the Thumb and IT bits)."""
_IT = 0x0600_FC00
RESTING = tuple(REGISTERS[name] for name in (*(f"r{i}" for i in range(4, 12)), "sp", "lr"))
"""What a core at rest may still need: the others are free at the call that it sleeps in."""


@dataclass(frozen=True, slots=True)
class State:
    """The machine at rest behind a tick, and which bytes of its RAM are alive."""

    ram: Bytes
    live: Mask
    registers: tuple[int, ...]
    peripherals: Any
    file: bytes
    resets: int
    """in that tick"""

    def is_that_of(self, line: UnicornLine, needed: tuple[int, ...]) -> bool:
        """Whether the machine can only go on as the undisturbed one did from here; needed: indices of RESTING."""
        machine = _core(line)
        ram = np.frombuffer(machine.uc.mem_read(RAM, len(self.ram)), np.uint8)
        return (
            not ((ram != self.ram) & self.live).any()
            and all(machine.uc.reg_read(RESTING[i]) == self.registers[i] for i in needed)
            and line.chip.save() == self.peripherals
            and machine.host.content() == self.file
        )


@dataclass(frozen=True, slots=True)
class Point:
    """An instant of the first tick. rest: bytes of the tick that have not come yet. heard, resets: what follows in this
    tick when nothing is disturbed. registers: those that are alive."""

    name: str
    snapshot: Snapshot
    rest: bytes
    heard: Heard
    resets: int
    live: Mask
    registers: tuple[str, ...] = ()


@dataclass
class Leg:
    """A phase, undisturbed: what it got and said in each tick, and how it was left."""

    phase: Phase
    line: UnicornLine
    ticks: list[Tick]
    heard: list[Heard] = field(default_factory=list)
    after: list[State] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    needed: tuple[int, ...] = ()
    """which of RESTING a core at rest needs"""

    def undisturbed(self, point: Point) -> list[Heard]:
        """What is heard in each tick from this point on when nothing is disturbed."""
        return [point.heard, *self.heard[1:]]

    def run_on(
        self, point: Point, inject: Callable[[CortexM], None], ticks: int | None = None
    ) -> tuple[list[Heard], bool]:
        """From a point on with something changed: what is heard in each tick (of so many at most), and whether it ended
        in a state of the undisturbed run (it is then not run any further)."""
        machine = _core(self.line)
        machine.restore(point.snapshot)
        inject(machine)
        heard: list[Heard] = []
        undisturbed = self.undisturbed(point)
        for tick, expected, state in list(zip(self.ticks, undisturbed, self.after, strict=True))[:ticks]:
            heard.append(exchange(self.line, tick, tick.data if heard else point.rest, expected.data))
            if heard[-1].stuck:
                return heard, False
            if state.live.any() and state.is_that_of(self.line, self.needed):
                return heard, True
        return heard, False


def _core(line: UnicornLine) -> CortexM:
    assert line.machine is not None
    return line.machine


def _complement(machine: CortexM, register: int) -> None:
    machine.uc.reg_write(register, machine.uc.reg_read(register) ^ 0xFFFF_FFFF)


# ---------------------------------------------------------------- tracing
@contextlib.contextmanager
def _traced(machine: CortexM) -> Iterator[list[Access]]:
    """A list that every access to RAM is appended to: (is a write, offset, bytes).

    Unicorn 2.1 forgets to leave an IT block in which a hooked access was made: the code behind it is then translated as
    conditional, and is wrong from the next time on.
    """
    log: list[Access] = []

    def touched(is_write: bool, address: int, n: int) -> None:
        log.append((is_write, address - RAM, n))

    def hooked(uc: Any, access: int, address: int, n: int, *_: Any) -> None:
        log.append((access == unicorn.UC_MEM_WRITE, address - RAM, n))
        status = uc.reg_read(arm.UC_ARM_REG_XPSR)
        if status & _IT:
            uc.reg_write(arm.UC_ARM_REG_XPSR, status & ~_IT)

    kinds = unicorn.UC_HOOK_MEM_READ | unicorn.UC_HOOK_MEM_WRITE
    hook = machine.uc.hook_add(kinds, hooked, None, RAM, RAM + 0x2_0000 - 1)
    machine.uc.ctl_flush_tb()
    machine.touched = touched
    try:
        yield log
    finally:
        machine.touched = None
        machine.uc.hook_del(hook)
        machine.uc.ctl_flush_tb()


def _alive_before(log: list[Access], after: Mask) -> Mask:
    """Which bytes are alive before these accesses when `after` are alive behind them."""
    live, size = bytearray(after.tobytes()), len(after)
    for is_write, at, n in reversed(log):
        if at + n <= size:
            live[at : at + n] = bytes(n) if is_write else b"\1" * n
    return np.frombuffer(bytes(live), np.bool_)


def _lengths(line: UnicornLine, data: bytes) -> list[int]:
    """Instructions of each stretch in which a tick's bytes are worked off."""
    machine = _core(line)
    counts: Counter[int] = Counter()
    hook = machine.uc.hook_add(unicorn.UC_HOOK_CODE, lambda *_: counts.update((machine.stretch,)))
    machine.uc.ctl_flush_tb()
    line.chip.received.extend(data)
    machine.run()
    line.recv()
    machine.uc.hook_del(hook)
    machine.uc.ctl_flush_tb()
    return [counts[i] for i in range(max(counts) + 1)]


# ---------------------------------------------------------------- building
WITHIN = {"interrupt": 2, "step": 4, "boot": 3}
"""Points within a tick, by what the core is at."""


def leg_of(
    line: UnicornLine, phase: Phase, inputs: list[bytes], seed: int, ram_bytes: int, needed: tuple[int, ...] | None
) -> Leg:
    """The leg of a phase, from the state that the line is in. needed: of an earlier leg of the same image, or None."""
    leg = Leg(phase, line, [Tick(data) for data in inputs])
    with _traced(_core(line)) as log:
        start = _core(line).snapshot()
        live = _run_undisturbed(leg, log, ram_bytes)
        points = [Point("between", start, leg.ticks[0].data, leg.heard[0], leg.after[0].resets, live)]
        leg.needed = _needed(leg, points[0]) if needed is None else needed
        points += _within(leg, start, log, random.Random(f"{seed}/{phase}"))
    leg.points = [replace(point, registers=_alive_registers(leg, point)) for point in points]
    _core(line).restore(start)
    return leg


def _run_undisturbed(leg: Leg, log: list[Access], ram_bytes: int) -> Mask:
    """Fills in what is heard and how the machine is left. Returns what is alive before it all."""
    live, logs = np.zeros(ram_bytes, np.bool_), []
    for tick in leg.ticks:
        log.clear()
        resets = _core(leg.line).resets
        leg.heard.append(exchange(leg.line, tick, tick.data, b""))
        leg.after.append(_state(leg.line, live, _core(leg.line).resets - resets))
        logs.append(list(log))
    for k in reversed(range(len(logs))):
        leg.after[k] = replace(leg.after[k], live=live)
        live = _alive_before(logs[k], live)
    return live


def _state(line: UnicornLine, live: Mask, resets: int) -> State:
    machine = _core(line)
    ram = np.frombuffer(bytes(machine.uc.mem_read(RAM, len(live))), np.uint8)
    return State(
        ram, live, tuple(machine.uc.reg_read(r) for r in RESTING), line.chip.save(), machine.host.content(), resets
    )


def _within(leg: Leg, start: Snapshot, log: list[Access], chance: random.Random) -> Iterator[Point]:
    """Points while the first tick comes in and is worked off."""
    machine, data = _core(leg.line), leg.ticks[0].data
    half = chance.randrange(1, len(data))
    machine.restore(start)
    lengths = _lengths(leg.line, data)
    yield _point(leg, log, start, "receiving", data[:half], data[half:], None)
    names = ["interrupt", "step", *["boot"] * (len(lengths) - 3)]  # behind the stretch that only wakes it
    for stretch, (name, length) in enumerate(zip(names, lengths[1:], strict=True), start=1):
        for at in sorted(chance.sample(range(1, length), min(WITHIN[name], length - 1))):
            yield _point(leg, log, start, name, data, b"", (stretch, at))


def _point(
    leg: Leg, log: list[Access], start: Snapshot, name: str, first: bytes, rest: bytes, pause: tuple[int, int] | None
) -> Point:
    """The instant in the first tick when some of its bytes have come, or at which the core is paused."""
    machine, line = _core(leg.line), leg.line
    machine.restore(start)
    line.chip.received.extend(first)
    machine.run(pause)
    snapshot, resets = machine.snapshot(), machine.resets
    log.clear()
    line.chip.received.extend(rest)
    machine.run()
    heard = Heard(line.recv())
    if not leg.after[0].is_that_of(line, leg.needed):
        raise StuckError(f"{leg.phase.name}: a pause ({name}, {pause}) is seen, and nothing can be compared")
    return Point(name, snapshot, rest, heard, machine.resets - resets, _alive_before(log, leg.after[0].live))


def _needed(leg: Leg, between: Point) -> tuple[int, ...]:
    """Which of RESTING matter to a core at rest: without them the leg goes otherwise."""
    found = []
    for i, register in enumerate(RESTING):
        heard, _ = leg.run_on(between, partial(_complement, register=register))
        if heard != leg.heard[: len(heard)]:
            found.append(i)
    return tuple(found)


def _alive_registers(leg: Leg, point: Point) -> tuple[str, ...]:
    """Those whose complement is noticed; the stack pointer, the counter and the status always are."""

    def is_noticed(register: int) -> bool:
        return leg.run_on(point, partial(_complement, register=register), 1) != ([point.heard], True)

    always = ("sp", "pc", "xpsr")
    return tuple(name for name, register in REGISTERS.items() if name in always or is_noticed(register))
