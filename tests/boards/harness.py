"""A board hosted by a test: bytes in, bytes out, persistent memory that can be cut.

Frames are taken apart by the `cobs` and `crc32c` packages and `struct`, not by the code under test.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import crc32c
from cobs import cobs

from hal import icd
from hal._native import ffi, lib

FLIGHT, BENCH, ANY = 1, 2, 0xFFFF
POWER_BOARD, COMPUTE_NODE = 1, 2
ROLE = {POWER_BOARD: 16, COMPUTE_NODE: 259}
HARDWARE_ID = bytes(range(12))
FIRMWARE = b"firmware"
TICK_US = 100_000
REPEAT = icd.FrameFlag.REPEAT
HEADER = struct.Struct("<BHHBHHIB")
NAMES = {message.type: name for name, message in icd.MESSAGES.items()}
COMMANDED = icd.ResetCause.COMMANDED


@dataclass(frozen=True)
class Frame:
    name: str
    src: int
    dst: int
    flags: int
    seq: int
    t_us: int
    fields: dict[str, Any]
    wire: bytes


def parse(wire: bytes) -> list[Frame]:
    """Every frame of a byte stream, in order; fails on anything that is not one."""
    return [_frame(run) for run in wire.split(b"\0") if run]


def _frame(run: bytes) -> Frame:
    body = cobs.decode(run)
    assert crc32c.crc32c(body[:-4]) == int.from_bytes(body[-4:], "little")
    version_type, src, dst, flags, seq, t_low, t_high, n = HEADER.unpack_from(body)
    payload = body[HEADER.size : -4]
    assert (version_type >> 6, n) == (1, len(payload))
    name = NAMES[version_type & 63]
    return Frame(name, src, dst, flags, seq, t_low | t_high << 16, icd.decode(name, payload), b"\0" + run + b"\0")


def encode(name: str, src: int, dst: int, seq: int, t_us: int, payload: bytes, flags: int = 0) -> bytes:
    """The wire bytes of one message, both delimiters included."""
    words = (1 << 6 | icd.MESSAGES[name].type, src, dst, flags, seq & 0xFFFF, t_us & 0xFFFF, t_us >> 16, len(payload))
    body = HEADER.pack(*words) + payload
    return b"\0" + cobs.encode(body + crc32c.crc32c(body).to_bytes(4, "little")) + b"\0"


class Memory:
    """Persistent memory. `budget`: bytes that may still be written before the power fails (None: all)."""

    def __init__(self, content: bytes = bytes(lib.BOARD_NVM_BYTES)) -> None:
        self.content = bytearray(content)
        self.budget: int | None = None
        self.broken = False
        self.writes = 0

    def read(self, offset: int, n: int) -> bytes | None:
        return None if self.broken else bytes(self.content[offset : offset + n])

    def write(self, offset: int, data: bytes) -> bool:
        """Writes as much as the budget allows; False when that was not all of it."""
        n = len(data) if self.budget is None else min(len(data), self.budget)
        if self.broken:
            return False
        self.content[offset : offset + n] = data[:n]
        self.writes += 1
        if self.budget is not None:
            self.budget -= n
        return n == len(data)


class Port:
    """`struct board_port` onto a Memory and a bytearray."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.sent = bytearray()
        self._keep = (
            ffi.callback("void(void *, const uint8_t *, size_t)", self._tx),
            ffi.callback("int(void *, uint32_t, uint8_t *, size_t)", self._read),
            ffi.callback("int(void *, uint32_t, const uint8_t *, size_t)", self._write),
        )
        tx, read, write = self._keep
        self.c = ffi.new("struct board_port *", {"tx": tx, "nvm_read": read, "nvm_write": write})

    def _tx(self, _ctx: Any, data: Any, n: int) -> None:
        self.sent += ffi.buffer(data, n)

    def _read(self, _ctx: Any, offset: int, out: Any, n: int) -> int:
        data = self.memory.read(offset, n)
        if data is None:
            return -1
        ffi.memmove(out, data, n)
        return 0

    def _write(self, _ctx: Any, offset: int, data: Any, n: int) -> int:
        return 0 if self.memory.write(offset, bytes(ffi.buffer(data, n))) else -1


class Board:
    """One board, its line and its memory; speaks to it as flight and as the bench."""

    def __init__(self, kind: int, memory: Memory | None = None, capabilities: int = 1, role: int | None = None) -> None:
        self.kind, self.role = kind, ROLE[kind] if role is None else role
        self.memory = memory or Memory()
        self.port = Port(self.memory)
        identity = {"kind": kind, "role": self.role, "hardware_id": list(HARDWARE_ID), "image_crc": 7}
        self.identity = ffi.new(
            "struct board_identity *", identity | {"firmware_hash": list(FIRMWARE), "capabilities": capabilities}
        )
        # Canary bytes behind the board's own memory: nothing may write there.
        self._bytes = lib.board_bytes(kind)
        self._memory = ffi.new("uint64_t[]", self._bytes // 8 + 9)
        ffi.memmove(ffi.cast("char *", self._memory) + self._bytes, b"\xa5" * 64, 64)
        self.c = ffi.cast("struct board *", self._memory)
        self.t_us = 0
        self.session, self.command_seq = 1, 0
        self.hello = self.boot(icd.ResetCause.POWER_ON)

    def boot(self, cause: int) -> Frame:
        """Boots and returns the HELLO."""
        self.port.sent.clear()
        lib.board_boot(self.c, self.identity, self.port.c, cause)
        self.seq = {FLIGHT: 0, BENCH: 0}
        (hello,) = self.take()
        assert hello.name == "hello"
        return hello

    def take(self) -> list[Frame]:
        """What the board has sent since the last call."""
        frames = parse(bytes(self.port.sent))
        self.port.sent.clear()
        assert ffi.buffer(ffi.cast("char *", self._memory) + self._bytes, 64)[:] == b"\xa5" * 64
        return frames

    def receive(self, wire: bytes) -> list[Frame]:
        lib.board_receive(self.c, wire, len(wire))
        return self.take()

    def wire(self, name: str, src: int = FLIGHT, **values: Any) -> bytes:
        """The next frame from src, with the next sequence number of that source."""
        return self.wire_of(name, icd.encode(name, **values), src)

    def wire_of(self, name: str, payload: bytes, src: int = FLIGHT) -> bytes:
        """As `wire`, with any payload."""
        seq = self.seq[src]
        self.seq[src] += 1
        return encode(name, src, self.role, seq, self.t_us, payload)

    def send(self, name: str, src: int = FLIGHT, **values: Any) -> list[Frame]:
        return self.receive(self.wire(name, src, **values))

    def command(self, name: str, **values: Any) -> int:
        """Sends a command with the next command sequence; returns the code of its ACK."""
        self.command_seq += 1
        (ack,) = self.send(name, session=self.session, command_seq=self.command_seq, **values)
        assert ack.name == "ack"
        assert ack.fields["command_seq"] == self.command_seq
        return int(ack.fields["code"])

    def tick(self, dt_us: int = TICK_US, **sensors: Any) -> list[Frame]:
        """Sends a TICK that follows; returns what the step sent. Power board: `channels`, `strings` become pages."""
        return self.receive(self.tick_wire(dt_us, **sensors))

    def tick_wire(self, dt_us: int = TICK_US, **sensors: Any) -> bytes:
        self.t_us += dt_us
        if self.kind == COMPUTE_NODE:
            return self.wire("tick_node", BENCH, dt_us=dt_us, **(NODE_SENSORS | sensors))
        channels, strings = sensors.pop("channels", None), sensors.pop("strings", None)
        pages = b""
        count = 0
        for base in range(0, len(channels or ()), lib.CHANNELS_PER_PAGE):
            page = channels[base : base + lib.CHANNELS_PER_PAGE]
            rows = [dict(zip(("mean_ma", "max_ma", "status"), row, strict=True)) for row in page]
            pages += self.wire("tick_channels", BENCH, base=base, channels=rows)
            count += 1
        if strings:
            pages += self.wire("tick_strings", BENCH, base=0, string_ma=strings)
            count += 1
        return pages + self.wire("tick_power", BENCH, dt_us=dt_us, pages=count, **(POWER_SENSORS | sensors))


NODE_SENSORS: dict[str, Any] = {
    "bus_mv": 96_000,
    "mean_ma": 100,
    "min_ma": 100,
    "max_ma": 100,
    "die_cdeg": 3000,
    "hbm_cdeg": 3000,
    "coolant_cdeg": 2500,
    "heartbeat": 0,
    "ecc_corrected": 0,
    "ecc_uncorrected": 0,
    "accel_state": 0,
    "work_mu": 0,
}
POWER_SENSORS: dict[str, Any] = {
    "bus_mv": 90_000,
    "bus_min_mv": 90_000,
    "bus_max_mv": 90_000,
    "batt_ma": 0,
    "batt_cdeg": 2000,
    "array_mv": 0,
    "array_ma": 0,
    "array_cdeg": 2000,
    "hotel_ma": 8000,
    "flags": 0,
}
NODE_CONFIG: dict[str, Any] = {
    "floor_mw": 120_000,
    "max_mw": 800_000,
    "boot_ms": 2_000,
    "clock_max_mhz": 1980,
    "die_limit_cdeg": 8300,
    "hbm_limit_cdeg": 9500,
    "bus_min_mv": 60_000,
    "latch_up_ma": 12_500,
    "hang_ms": 2_000,
}
POWER_CONFIG: dict[str, Any] = {
    "channels": 30,
    "strings": 16,
    "capacity_mah": 44_000,
    "charge_ma": 22_000,
    "charge_mv": 98_400,
    "soc_limit_cpct": 10_000,
    "uvlo_mv": 72_000,
    "limit_ma": 14_000,
    "trip_ms": 15,
    "retries": 3,
    "retry_ms": 5_000,
    "stagger_ms": 500,
    "silence_ms": 10_000,
    "heater_on_cdeg": 300,
    "heater_off_cdeg": 800,
    "array_voc_mv": 205_000,
    "array_vmp_mv": 149_500,
}
CURVE_MV = [74_400, 80_400, 83_520, 85_920, 87_840, 90_000, 91_920, 93_840, 96_000, 98_160, 100_800]


def one(frames: list[Frame], name: str) -> Frame:
    """The only frame of that name."""
    (found,) = [frame for frame in frames if frame.name == name]
    return found


def events(frames: list[Frame]) -> list[tuple[str, int, int]]:
    """(name, arg0, arg1) of the events among the frames."""
    found = (frame.fields for frame in frames if frame.name == "event")
    return [(icd.BoardEvent(f["code"]).name.lower(), f["arg0"], f["arg1"]) for f in found]
