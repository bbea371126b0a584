"""What faults on links and sensors do, written a second time and differently: regular expressions, lists, exact
fractions. The tests compare it with csrc/world/link_fault.c and sensor_fault.c."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction
from math import floor

from hal import icd

MASK = (1 << 64) - 1
FRAME = re.compile(rb"\0*[^\0]+(?:\0|\Z)|\0+\Z")
HARDWARE_ONLY = {0x40 | m.type for m in icd.MESSAGES.values() if not m.hashed and not m.name.startswith("hello")}


def is_of_hardware(frame: bytes) -> bool:
    """One that a mock never sends; 0x40: the protocol's version."""
    return frame.lstrip(b"\0")[1:2] in {bytes([number]) for number in HARDWARE_ONLY}


@dataclass
class Chance:
    """splitmix64."""

    state: int

    def u32(self) -> int:
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ z >> 27) * 0x94D049BB133111EB) & MASK
        return (z ^ z >> 31) >> 32

    def strikes(self, rate: int) -> bool:
        return self.u32() < rate

    def below(self, n: int) -> int:
        return floor(Fraction(self.u32(), 1 << 32) * n)


@dataclass
class LinkOracle:
    """One direction of one link fault."""

    kind: str
    rate: int
    value: int
    chance: Chance
    beside: Chance
    hold_bytes: int
    lifted: bool = False
    waiting: list[tuple[int, bytes]] = field(default_factory=list)
    frames: int = 0
    hits: int = 0
    lost: int = 0
    added: int = 0

    def tick(self, t_us: int, data: bytes, room: int) -> bytes:
        out = b""
        for frame in FRAME.findall(data):
            if is_of_hardware(frame):
                counts = (self.frames, self.hits, self.lost, self.added)
                self.chance, self.beside = self.beside, self.chance
                out = self._frame(frame, t_us, room, out)
                self.chance, self.beside = self.beside, self.chance
                self.frames, self.hits, self.lost, self.added = counts
            else:
                out = self._frame(frame, t_us, room, out)
        while self.waiting and (self.lifted or self.waiting[0][0] <= t_us):
            if len(out) + len(self.waiting[0][1]) > room:
                break
            out += self.waiting.pop(0)[1]
        return out

    def _frame(self, frame: bytes, t_us: int, room: int, out: bytes) -> bytes:
        self.frames += 1
        for piece in self._pieces(frame, t_us, room - len(out)):
            if len(out) + len(piece) <= room:
                out += piece
            else:
                self.lost += len(piece)
        return out

    def _pieces(self, frame: bytes, t_us: int, room: int) -> list[bytes]:
        if self.kind in ("delay", "stall"):
            self.hits += not self.lifted
            due = t_us + self.value if self.kind == "delay" else 1 << 64
            if sum(10 + len(f) for _, f in self.waiting) + 10 + len(frame) <= self.hold_bytes:
                self.waiting.append((due, frame))
            else:
                self.lost += len(frame)
            return []
        if self.kind == "disconnect":
            return self._hit(lost=len(frame))
        if self.kind == "flip":
            return [self._flipped(frame)] if len(frame) <= room else [frame]
        if self.kind == "truncate" and len(frame) == 1:
            return [frame]
        if not self.chance.strikes(self.rate):
            return [frame]
        if self.kind == "drop":
            return self._hit(lost=len(frame))
        if self.kind == "truncate":
            kept = 1 + self.chance.below(len(frame) - 1)
            return self._hit(frame[:kept], lost=len(frame) - kept)
        if self.kind == "duplicate":
            return self._hit(frame, frame, added=len(frame)) if 2 * len(frame) <= room else [frame]
        garbage = bytes(self.chance.below(256) for _ in range(self.value))[:room]
        return self._hit(garbage, frame, added=len(garbage))

    def _hit(self, *pieces: bytes, lost: int = 0, added: int = 0) -> list[bytes]:
        self.hits += 1
        self.lost += lost
        self.added += added
        return list(pieces)

    def _flipped(self, frame: bytes) -> bytes:
        out = bytes(b ^ (1 << self.chance.below(8) if self.chance.strikes(self.rate) else 0) for b in frame)
        self.hits += out != frame
        return out


@dataclass
class SensorOracle:
    """One sensor fault; `value` as an exact fraction, `period` in us."""

    kind: str
    low: int
    high: int
    value: Fraction
    rate: int
    period: int
    chance: Chance
    past: list[tuple[int, int]] = field(default_factory=list)
    hits: int = 0

    def read(self, t_us: int, reading: int) -> int:
        self.past.append((t_us, reading))
        shown = self._shown(t_us, reading)
        self.hits += shown != reading
        return shown

    def _nearest(self, exact: Fraction) -> int:
        size = floor(abs(exact) + Fraction(1, 2))
        return min(max(size if exact >= 0 else -size, self.low), self.high)

    def _shown(self, t_us: int, reading: int) -> int:
        match self.kind:
            case "off":
                return 0
            case "stuck":
                return self.past[0][1]
            case "garbage":
                return self.low + self.chance.below(self.high - self.low + 1)
            case "fixed":
                return self._nearest(self.value)
            case "negated":
                return self._nearest(Fraction(-reading))
            case "slow":
                if t_us - self.past[0][0] >= self.period:
                    self.past = self.past[-1:]
                return self.past[0][1]
            case "delayed":
                old = [r for t, r in self.past if t <= t_us - self.period]
                return old[-1] if old else self.past[0][1]
            case "intermittent":
                return 0 if self.chance.strikes(self.rate) else reading
            case "bias":
                return self._nearest(reading + self.value)
            case "scale":
                return self._nearest(reading * self.value)
        draws = sum(self.chance.u32() for _ in range(12))
        return self._nearest(reading + (Fraction(draws, 1 << 32) - 6) * self.value)
