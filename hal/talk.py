"""Speaking to one board outside lock-step: frames out as flight, and whatever comes back."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hal import icd
from hal._native import ffi, lib
from hal.frames import NAMES, encode
from hal.link import Link


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame from the board: `name` of the message, its values, and its time in us."""

    name: str
    values: dict[str, Any]
    t_us: int


class Talk:
    """A conversation with the board at `address`. `damaged` counts runs of bytes that were no frame."""

    def __init__(self, link: Link, address: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.link = link
        self.address = address
        self.damaged = 0
        self._clock = clock
        self._seq = 0
        self._receiver = ffi.new("struct bus_receiver *")
        lib.bus_receiver_init(self._receiver)
        self._poll = select.poll()
        if link.fileno() >= 0:
            self._poll.register(link.fileno(), select.POLLIN)

    def send(self, name: str, src: icd.Address = icd.Address.FLIGHT, **values: Any) -> None:
        """Send one message. Raises `IcdError` for values that the ICD does not allow, `LinkDownError`."""
        seq = self._seq if icd.MESSAGES[name].hashed else 0
        self.link.send(encode(name, src, self.address, seq, 0, **values))
        if icd.MESSAGES[name].hashed:
            self._seq = (self._seq + 1) & 0xFFFF

    def receive(self, timeout_s: float) -> list[Frame]:
        """The board's frames that are there; waits for the first bytes at most so long. Raises `LinkDownError`."""
        if self.link.fileno() >= 0 and not self._poll.poll(timeout_s * 1000):
            return []
        return self._frames(self.link.recv())

    def ask(self, send: Callable[[], None], wanted: Callable[[Frame], bool], timeout_s: float) -> list[Frame]:
        """Send, and wait at most so long for a wanted frame: what came up to it, or [] when it did not come."""
        send()
        end = self._clock() + timeout_s
        got: list[Frame] = []
        while True:
            fresh = self.receive(max(0.0, end - self._clock()))
            got += fresh
            if any(map(wanted, fresh)):
                return got
            if self._clock() >= end or (not fresh and self.link.fileno() < 0):
                return []

    def _frames(self, data: bytes) -> list[Frame]:
        memory = ffi.new("uint8_t[]", data + b"\0")
        at, end = ffi.new("const uint8_t **", memory), memory + len(data)
        frame = ffi.new("struct bus_frame *")
        found = []
        while (kind := lib.bus_receiver_next(self._receiver, at, end, frame)) != lib.BUS_RX_MORE:
            if kind != lib.BUS_RX_FRAME:
                self.damaged += 1
                continue
            header = frame.header
            if header.src != self.address or header.type not in NAMES:
                continue
            payload = bytes(ffi.buffer(frame.payload, header.length))
            name = NAMES[header.type]
            try:
                found.append(Frame(name, icd.decode(name, payload), int(header.t_us)))
            except icd.IcdError:
                self.damaged += 1
        return found
