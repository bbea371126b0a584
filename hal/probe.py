"""Asking one board who it is, outside any world: for scanning, diagnosis, flashing and assigning."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import Any

from hal import frames, icd
from hal._native import ffi, lib
from hal.identity import Hello, from_payload
from hal.link import Link

AGAIN_S = 0.1
"""A board that does not answer is asked again so often."""


def bench_frame(name: str, **values: Any) -> bytes:
    """A frame from the bench to whatever board is there, outside sequence numbers."""
    return frames.encode(name, icd.Address.BENCH, icd.Address.ANY, 0, 0, **values)


class Probe:
    """One open line, spoken to by the bench. Keeps counts of what came, for a diagnosis."""

    def __init__(self, link: Link, clock: Callable[[], float] = time.monotonic) -> None:
        self.link = link
        self._clock = clock
        self._receiver = ffi.new("struct bus_receiver *")
        self._frame = ffi.new("struct bus_frame *")
        lib.bus_receiver_init(self._receiver)

    @property
    def bytes_received(self) -> int:
        """All bytes that came."""
        return int(self._receiver.rx_bytes)

    @property
    def frames_received(self) -> int:
        """Good frames that came."""
        return int(self._receiver.rx_frames)

    @property
    def damaged(self) -> int:
        """Runs of bytes that were no good frame."""
        r = self._receiver
        return int(r.crc_errors + r.cobs_errors + r.length_errors)

    @property
    def other_version(self) -> int:
        """Good frames of another version of the bus."""
        return int(self._receiver.version_errors)

    def hello(self, timeout_s: float) -> Hello | None:
        """Ask, and ask again, until a HELLO comes. Raises `LinkDownError`."""
        until = self._clock() + timeout_s
        while (left := until - self._clock()) > 0:
            answer = self.ask(bench_frame("hello_req"), min(left, AGAIN_S))
            if answer is not None:
                return answer
        return None

    def assign(self, hardware_id: bytes, address: int, timeout_s: float) -> Hello | None:
        """Give the board an address; its last answer, which names the address in force. Raises `LinkDownError`."""
        until, last = self._clock() + timeout_s, None
        while (left := until - self._clock()) > 0:
            last = self.ask(bench_frame("assign", hardware_id=hardware_id, role=address), min(left, AGAIN_S)) or last
            if last is not None and last.role == address:
                break
        return last

    def ask(self, wire: bytes, timeout_s: float) -> Hello | None:
        """Send one frame; the HELLO that answers it, or None. Raises `LinkDownError`."""
        self.link.send(wire)
        until = self._clock() + timeout_s
        found = self._take() if self.link.fileno() < 0 else None
        while found is None and (left := until - self._clock()) > 0 and self.link.fileno() >= 0:
            if self._readable(left):
                found = self._take()
        return found

    def listen(self, seconds: float) -> None:
        """Count what comes by itself."""
        until = self._clock() + seconds
        while (left := until - self._clock()) > 0 and self.link.fileno() >= 0:
            if self._readable(left):
                self._take()

    def _readable(self, timeout_s: float) -> bool:
        poll = select.poll()
        poll.register(self.link.fileno(), select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))

    def _take(self) -> Hello | None:
        """The last HELLO among what has come."""
        data = self.link.recv()
        raw = ffi.from_buffer("uint8_t[]", data)
        at, end = ffi.new("const uint8_t **", raw), raw + len(data)
        found = None
        while (result := lib.bus_receiver_next(self._receiver, at, end, self._frame)) != lib.BUS_RX_MORE:
            if result == lib.BUS_RX_FRAME and self._frame.header.type == lib.BUS_MSG_HELLO:
                found = from_payload(bytes(ffi.buffer(self._frame.payload, self._frame.header.length)))
        return found
