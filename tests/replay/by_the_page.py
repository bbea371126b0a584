"""A reader of packed records written from docs/replay.md alone, with the cobs and crc32c packages."""

from __future__ import annotations

from collections import defaultdict

import crc32c
from cobs import cobs

PLACES = 8192
TICK, TO, FROM, STEP = 1, 2, 3, 6
HEADER_BYTES = 15


class Reader:
    """One block."""

    def __init__(self, packed: bytes) -> None:
        self._in, self._at = packed, 0
        self._t_us = self._period_us = self._board = 0
        self._sequences: defaultdict[tuple[int, int, bool], int] = defaultdict(int)
        self._places: dict[int, tuple[int, bytes, bytes, int]] = {}  # key, body, wire, time less the tick's

    def records(self) -> bytes:
        out = b""
        while self._at < len(self._in):
            first = self._u(1)
            kind = first & 127
            body = self._body(kind) if first & 128 else self._take(self._u(4))
            out += bytes([kind]) + len(body).to_bytes(4, "little") + body
        return out

    def _take(self, n: int) -> bytes:
        self._at += n
        return self._in[self._at - n : self._at]

    def _u(self, n: int) -> int:
        return int.from_bytes(self._take(n), "little")

    def _body(self, kind: int) -> bytes:
        if kind in (TO, FROM):
            board, data = self._line(kind == TO)
            return board.to_bytes(2, "little") + data
        how = self._u(1)
        step = [0, self._period_us][how] if how < 2 else self._u(8)
        self._period_us = step or self._period_us
        self._t_us = (self._t_us + step) % (1 << 64)
        body = self._t_us.to_bytes(8, "little")
        if kind == STEP:
            rx, tx = self._batch(False), self._batch(True)
            body += len(rx).to_bytes(4, "little") + rx + tx
        return body

    def _batch(self, to: bool) -> bytes:
        out = b""
        while self._u(1):
            board, data = self._line(to)
            out += board.to_bytes(2, "little") + len(data).to_bytes(2, "little") + data
        return out

    def _line(self, to: bool) -> tuple[int, bytes]:
        less = self._u(1)
        self._board = (self._board + (less if less < 255 else self._u(2))) % (1 << 16)
        out = b""
        while first := self._u(1):
            out += self._take(self._u(4)) if first == 1 else self._frame(first & 0xC0, first & 63, to)
        return self._board, out

    def _frame(self, element: int, kind: int, to: bool) -> bytes:
        key = (self._board << 7 | to << 6 | kind) + 1
        place = (key * 2654435761 % (1 << 32)) >> 19
        found = self._places.get(place)
        _, last, wire, ahead = found if found and found[0] == key else (key, bytes(HEADER_BYTES), b"", 0)
        if element == 0x80:
            return wire
        ends, length, more = last[1:6], last[14], 0
        if element == 0xC0:
            ends, more, ahead, length = self._take(5), self._u(2), self._u(6), self._u(1)
        bench = ends[:2] if to else ends[2:4]
        row = (to, self._board % 2048, int.from_bytes(bench, "little") == 2)
        sequence = (self._sequences[row] + more) % (1 << 16)
        self._sequences[row] = (sequence + 1) % (1 << 16)
        time = ((self._t_us + ahead) % (1 << 48)).to_bytes(6, "little")
        head = bytes([1 << 6 | kind]) + ends + sequence.to_bytes(2, "little") + time + bytes([length])
        body = head + self._changed(last[HEADER_BYTES:].ljust(256, b"\0"), length)
        wire = b"\0" + cobs.encode(body + crc32c.crc32c(body).to_bytes(4, "little")) + b"\0"
        # what is beyond the end of a shorter frame stays
        self._places[place] = (key, body + last[len(body) :], wire, ahead)
        return wire

    def _changed(self, before: bytes, length: int) -> bytes:
        out = b""
        for at in range(0, length, 8):
            mask = self._u(1)
            for i in range(at, min(at + 8, length)):
                out += bytes([(before[i] + (self._u(1) if mask >> (i - at) & 1 else 0)) % 256])
        return out
