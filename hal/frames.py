"""Frames of the board bus for Python: encode one, cut bytes into frames, and say in words what a frame holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from hal import icd
from hal._native import ffi, lib

NAMES = {message.type: name for name, message in icd.MESSAGES.items()}


DAMAGED = -1
"""Type of a run of bytes that is no frame; only its `wire` means something."""


class Frame(NamedTuple):
    """A good frame, or one that is `DAMAGED`. `wire` is as it is sent, delimiters included."""

    type: int
    src: int
    dst: int
    flags: int
    seq: int
    t_us: int
    payload: bytes
    wire: bytes

    @property
    def name(self) -> str:
        """Its message, by the ICD."""
        return "damaged bytes" if self.type == DAMAGED else NAMES.get(self.type, f"type {self.type}")

    @property
    def hashed(self) -> bool:
        """It counts in sequence and bus hash, as damaged bytes do; HELLO and its like do not."""
        return self.name not in icd.MESSAGES or icd.MESSAGES[self.name].hashed

    def fields(self) -> dict[str, Any]:
        """Header (frame_src, ...) and payload by the names of their fields; `payload` where it cannot be decoded."""
        header: dict[str, Any] = {
            f"frame_{n}": getattr(self, n) for n in ("type", "src", "dst", "flags", "seq", "t_us")
        }
        try:
            return header | icd.decode(self.name, self.payload)
        except (KeyError, ValueError):
            return header | {"payload": self.payload.hex()}


def encode(name: str, src: int, dst: int, seq: int, t_us: int, **values: Any) -> bytes:
    """One frame as on the wire. Raises `icd.IcdError` for values that the ICD does not allow."""
    return _wire(icd.MESSAGES[name].type, src, dst, 0, seq, t_us, icd.encode(name, **values))


def repeated(frame: Frame) -> bytes:
    """The frame as it is sent again."""
    flags = frame.flags | icd.FrameFlag.REPEAT
    return _wire(frame.type, frame.src, frame.dst, flags, frame.seq, frame.t_us, frame.payload)


def _wire(kind: int, src: int, dst: int, flags: int, seq: int, t_us: int, payload: bytes) -> bytes:
    header = ffi.new("struct bus_header *", {"type": kind, "src": src, "dst": dst, "seq": seq, "t_us": t_us})
    header.flags, header.length = flags, len(payload)
    wire = ffi.new("uint8_t[]", int(lib.BUS_MAX_WIRE))
    return bytes(ffi.buffer(wire, lib.bus_frame_encode(header, payload, wire)))


class Cutter:
    """Cuts frames from a stream, in chunks of any size."""

    def __init__(self) -> None:
        self._receiver, self._frame = ffi.new("struct bus_receiver *"), ffi.new("struct bus_frame *")
        self._at = ffi.new("const uint8_t **")
        lib.bus_receiver_init(self._receiver)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Every frame that these bytes complete, damaged ones too."""
        raw = ffi.from_buffer("uint8_t[]", data)
        self._at[0] = raw
        end, f = raw + len(data), self._frame
        while result := lib.bus_receiver_next(self._receiver, self._at, end, f):
            wire = ffi.buffer(f.wire, f.wire_length)[:]
            if result != lib.BUS_RX_FRAME:
                yield Frame(DAMAGED, 0, 0, 0, 0, 0, b"", wire)
                continue
            h = f.header
            yield Frame(h.type, h.src, h.dst, h.flags, h.seq, h.t_us, ffi.buffer(f.payload, h.length)[:], wire)


def decode(data: bytes) -> Iterator[Frame]:
    """Every good frame in `data`."""
    return (frame for frame in Cutter().feed(data) if frame.type != DAMAGED)


def difference(ours: bytes, theirs: bytes) -> str:
    """What differs between two runs of bytes that should be the same frame, in words."""
    a, b = next(decode(ours), None), next(decode(theirs), None)
    if a is None or b is None:
        return f"bytes {ours.hex() or 'none'} against {theirs.hex() or 'none'}"
    if a.type != b.type:
        return f"{a.name} against {b.name}"
    mine, other = a.fields(), b.fields()
    changed = [name for name in mine if mine[name] != other.get(name)]
    shown = ", ".join(f"{name} {mine[name]} against {other.get(name)}" for name in changed[:3])
    return f"{a.name}: {shown or 'the same fields, other bytes'}"
