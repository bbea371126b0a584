"""The C of csrc/bus through flight's extension module, with buffers that notice a byte written outside them."""

from __future__ import annotations

from typing import Any

from flight._native import ffi, lib

CANARY = 0xA5
MARGIN = 32
COUNTERS = ("rx_bytes", "rx_frames", "crc_errors", "cobs_errors", "length_errors", "version_errors")


class Guarded:
    """`size` bytes with canaries on both sides."""

    def __init__(self, size: int, canary: int = CANARY) -> None:
        self.size, self.canary = size, bytes([canary])
        self.memory = ffi.new("uint8_t[]", size + 2 * MARGIN)
        ffi.buffer(self.memory)[:] = self.canary * (size + 2 * MARGIN)
        self.pointer = self.memory + MARGIN

    def bytes(self, n: int) -> bytes:
        return bytes(ffi.buffer(self.pointer, n))

    def check(self, used: int) -> None:
        """Every byte but the first `used` still holds the canary."""
        whole = bytes(ffi.buffer(self.memory))
        assert whole[:MARGIN] == self.canary * MARGIN, "written in front of the buffer"
        assert whole[MARGIN + used :] == self.canary * (self.size - used + MARGIN), "written behind the message"


def encode(payload: bytes, **header: int) -> bytes:
    """One frame; b"" when the encoder refuses."""
    out = Guarded(lib.BUS_MAX_WIRE)
    h = ffi.new("struct bus_header *", header | {"length": len(payload)})
    n = lib.bus_frame_encode(h, payload, out.pointer)
    if n:
        out.check(n)
    return out.bytes(n)


class Receiver:
    """A receiver, and every result that it gave: (kind, wire, header fields, payload)."""

    def __init__(self) -> None:
        self.c = ffi.new("struct bus_receiver *")
        lib.bus_receiver_init(self.c)
        self.results: list[tuple[str, bytes]] = []
        self.frames: list[dict[str, Any]] = []

    def feed(self, chunk: bytes) -> None:
        """Feeds one chunk from memory of its own and exact size."""
        memory = ffi.new("uint8_t[]", max(len(chunk), 1))
        ffi.memmove(memory, chunk, len(chunk))
        at = ffi.new("const uint8_t **", memory)
        end = memory + len(chunk)
        f = ffi.new("struct bus_frame *")
        while True:
            before = at[0]
            kind = lib.bus_receiver_next(self.c, at, end, f)
            assert before <= at[0] <= end
            if kind == lib.BUS_RX_MORE:
                assert at[0] == end
                return
            wire = bytes(ffi.buffer(f.wire, f.wire_length))
            if kind == lib.BUS_RX_FRAME:
                h = f.header
                names = ("type", "src", "dst", "flags", "seq", "t_us")
                row = {name: getattr(h, name) for name in names}
                self.frames.append(row | {"payload": bytes(ffi.buffer(f.payload, h.length))})
            self.results.append(("frame" if kind == lib.BUS_RX_FRAME else "damaged", wire))

    @property
    def counters(self) -> dict[str, int]:
        return {name: getattr(self.c, name) for name in COUNTERS}
