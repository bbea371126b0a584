"""One board (csrc/boards) and the world's end of its line, with a wire between them that a test holds in its hands.

It keeps the truth by counting of its own: what each boot of the board was handed and has said, and what reached the
world; and what must be named as lost from that. Frames are taken apart by the `cobs` and `crc32c` packages, not by the
code under test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import crc32c
from cobs import cobs

from hal import icd
from hal._native import ffi, lib
from hal.rig import Rig
from hal.world import World
from tests.hal.talker import frame, split

BOARD = 1  # node0
ADDRESS = int(lib.bus_address_of(BOARD))
OUTSIDE = {int(getattr(lib, f"BUS_MSG_{name}")) for name in ("HELLO_REQ", "HELLO", "CRASH", "HARDWARE_REPORT")}
REPEAT = int(icd.FrameFlag.REPEAT)
NAMED_BYTES = ("lost_at_reset_bytes", "lost_to_board_bytes", "lost_from_board_bytes", "unexplained_bytes")
NAMED_FRAMES = ("lost_at_reset_frames", "lost_to_board_frames", "lost_from_board_frames", "unexplained_frames")
NOISE = ("noise_to_board_bytes", "noise_from_board_bytes")


@dataclass(frozen=True)
class Head:
    """Of a good frame; length: on the wire, both delimiters included."""

    type: int
    dst: int
    flags: int
    t_us: int
    length: int


def head(run: bytes) -> Head | None:
    """None when the bytes between two delimiters are no frame."""
    try:
        body = cobs.decode(run)
    except cobs.DecodeError:
        return None
    if not 19 <= len(body) <= 211 or crc32c.crc32c(body[:-4]) != int.from_bytes(body[-4:], "little"):
        return None
    t_us = int.from_bytes(body[8:14], "little")
    return Head(body[0] & 63, int.from_bytes(body[3:5], "little"), body[5], t_us, len(run) + 2)


@dataclass
class Count:
    """Bytes and frames, without those of good frames that stand outside."""

    bytes: int = 0
    frames: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(self.bytes + other.bytes, self.frames + other.frames)

    def __sub__(self, other: Count) -> Count:
        return Count(self.bytes - other.bytes, self.frames - other.frames)


@dataclass
class Stream:
    """Bytes in order, as one end counts them."""

    count: Count = field(default_factory=Count)
    run: bytearray = field(default_factory=bytearray)

    def take(self, data: bytes, whole_only: bool = False) -> list[Head]:
        """Count more of it; returns the heads of the good frames. whole_only: other bytes do not count."""
        good = []
        for byte in data:
            self.count.bytes += not whole_only
            if byte:
                self.run.append(byte)
            elif self.run:
                found = head(bytes(self.run))
                self.run.clear()
                if found is None:
                    continue
                good.append(found)
                inside = found.type not in OUTSIDE
                self.count.frames += inside
                if inside == whole_only:
                    self.count.bytes += found.length if inside else -found.length
        return good

    @property
    def now(self) -> Count:
        return Count(self.count.bytes, self.count.frames)


class BenchLine:
    """Steps of one line, as small as a test wants them."""

    def __init__(self, rig: Rig, tick_s: float = 2.0) -> None:
        self.world = World(rig.with_tick(tick_s))
        self.pointer = self.world.pointer
        self.world.kill("node0")  # the world's own mock: ours takes its place
        kind, hardware_id = lib.BUS_BOARD_KIND_COMPUTE_NODE, bytes(range(12))
        self._mock = ffi.gc(lib.mock_create(kind, ADDRESS, hardware_id), lib.mock_destroy)
        self._stats = ffi.new("struct world_link *")
        self._bytes = ffi.new("const uint8_t **")
        self._mine = ffi.new("uint8_t **")
        self._seq = 0
        self.alive = self.in_tick = self.waiting = self.joining = False
        self.copies = 0
        self.boots = 0
        self.to_board = bytearray()  # on the wire
        self.from_board: list[tuple[int, int]] = []  # on the wire: (byte, boot that has said it)
        self._held: list[tuple[int, int]] = []  # arrived when no tick was open
        self.sent = Stream()  # by the world
        self.said: list[Stream] = [Stream()]  # by each boot
        self.received: list[Stream] = [Stream()]
        self.heard: list[Stream] = [Stream()]  # by the world, of each boot
        self.reports: dict[
            int, tuple[int, Count, Count, Count]
        ] = {}  # t_us: boot, what it had received and said, itself
        self.steps: list[tuple[int, int]] = []  # (boot, t_us)
        self._epochs, self._comparisons = self.stats("epochs"), 0
        self.by_hardware = 0  # bytes lost that the board itself has told of
        self.named = Count()  # what must be named as lost, in all
        self._named_before = Count()  # this epoch
        self._base = self._proven = self._began = self._asked = Count()
        self._was_open = False
        self._offset: Count | None = Count()  # difference of the two ends that nobody can explain: of a boot unheard
        self._hello = 0  # boot that the last HELLO told of
        self._heard_boots: set[int] = set()  # whose own HELLO has arrived
        self.boot()

    def close(self) -> None:
        self.world.close()

    def stats(self, *names: str) -> int:
        """Sum of these counters of the line."""
        assert lib.world_link(self.pointer, BOARD, self._stats) == lib.WORLD_OK
        return sum(int(getattr(self._stats, name)) for name in names)

    @property
    def present(self) -> bool:
        return self.stats("state") == lib.WORLD_BOARD_PRESENT

    @property
    def knows_the_boot(self) -> bool:
        """The world has heard of the boot that is there."""
        return self._hello == self.boots

    # ------------------------------------------------------------ the board
    def boot(self, cause: int = 1) -> None:
        """Starts it, or starts it anew whatever it was doing."""
        lib.mock_boot(self._mock, cause)
        self.alive = True
        self._collect()

    def crash(self) -> None:
        """Dead at once; what it has said is on the wire."""
        self.alive = False

    def _collect(self) -> None:
        n = lib.mock_take(self._mock, self._mine)
        whole, rest = split(bytes(ffi.buffer(self._mine[0], n)))
        assert not rest
        for wire in whole:
            found = head(wire[1:-1])
            assert found is not None
            if found.type == lib.BUS_MSG_HELLO and found.dst == icd.Address.ANY:
                self.boots += 1
                self.said.append(Stream())
                self.received.append(Stream())
                self.heard.append(Stream())
            if found.type == lib.BUS_MSG_LINK_REPORT:
                self.reports[found.t_us] = (
                    self.boots,
                    self.received[-1].now,
                    self.said[-1].now,
                    Count(found.length, 1),
                )
            if found.type == lib.BUS_MSG_DONE_NODE and not found.flags & REPEAT:
                self.steps.append((self.boots, found.t_us))
            self.said[-1].take(wire)
            self.from_board += [(byte, self.boots) for byte in wire]

    def deliver(self, n: int | None = None) -> None:
        """The next bytes on the wire reach the board (all: None); a dead one hears nothing."""
        data = bytes(self.to_board[:n])
        del self.to_board[: len(data)]
        for at in range(len(data) if self.alive else 0):
            byte = data[at : at + 1]
            self.received[-1].take(byte)
            lib.mock_receive(self._mock, byte, 1)
            self._collect()

    # ------------------------------------------------------------ the world's end
    def carry(self, n: int | None = None) -> None:
        """The next bytes on the wire reach the world (all: None)."""
        data = self.from_board[:n]
        del self.from_board[: len(data)]
        self._hear(data)

    def _hear(self, data: Sequence[tuple[int, int]]) -> None:
        for byte, boot in data:
            one = bytes([byte])
            if self.waiting or self.joining:
                self._count(one, boot)
            else:
                self._held.append((byte, boot))
            state = lib.world_external_rx(self.pointer, BOARD, one, 1)
            self._see(state)

    def _count(self, byte: bytes, boot: int) -> None:
        for found in self.heard[boot].take(byte, whole_only=self.joining):
            if found.type == lib.BUS_MSG_HELLO:
                self._hello = boot
                if found.dst == icd.Address.ANY:
                    self._heard_boots.add(boot)

    def _see(self, state: int) -> None:
        """After every byte: what the world makes of it, and what must be named from now on."""
        if self.waiting and (not state & lib.WORLD_RX_WAITING or state & lib.WORLD_RX_BOOTING):
            self._proven = self._asked
        self.waiting = bool(state & lib.WORLD_RX_WAITING)
        if self.stats("epochs") != self._epochs:
            self._on_epoch(mid_tick=self._was_open)
        self._was_open = self.waiting and not state & lib.WORLD_RX_BOOTING
        if self.stats("comparisons") != self._comparisons:
            self._on_comparison()
        if state & lib.WORLD_RX_TO_SEND:
            self.copies += 1
            self._flush()

    def _on_epoch(self, mid_tick: bool) -> None:
        self._epochs = self.stats("epochs")
        heard = self._hello in self._heard_boots
        at = self.sent.now if heard or not mid_tick else self._began
        self.named += at - self._proven
        self._named_before = self.named
        self._base = self._proven = at
        self._offset = Count() if heard else None

    def _on_comparison(self) -> None:
        self._comparisons = self.stats("comparisons")
        boot, received, said, report = self.reports[self.world.t_us]
        not_received = self.sent.now - self._base - received
        not_heard = said - (self.heard[boot].now - report)
        difference = not_received + not_heard
        if self._offset is None:
            self._offset, self._named_before = difference, self.named
        self.named = self._named_before + difference - self._offset
        self.check()

    def check(self) -> None:
        """Every byte and every frame that is lost is named, once."""
        assert self.stats(*NAMED_BYTES) - self.stats(*NOISE) + self.by_hardware == self.named.bytes
        assert self.stats(*NAMED_FRAMES) == self.named.frames
        doubt = self.sent.now - self._proven
        assert (self.stats("in_doubt_bytes"), self.stats("in_doubt_frames")) == (doubt.bytes, doubt.frames)

    # ------------------------------------------------------------ ticks
    def _flush(self) -> None:
        n = lib.world_external_tx(self.pointer, BOARD, self._bytes)
        data = bytes(ffi.buffer(self._bytes[0], n)) if n else b""
        self.sent.take(data)
        self.to_board += data

    def begin(self) -> None:
        assert not self.in_tick
        self.world._prepare(1)
        held, self._held = self._held, []
        for byte, boot in held:
            self._count(bytes([byte]), boot)
        assert lib.world_tick_begin(self.pointer) == lib.WORLD_OK
        self.in_tick, self.copies = True, 0
        self._began = self.sent.now
        self._see(0)
        self._flush()
        self._asked = self.sent.now
        self.waiting = self._was_open = bool(lib.world_is_waiting(self.pointer, BOARD))

    def ask_again(self) -> None:
        n = lib.world_ask_again(self.pointer, BOARD, self._bytes)
        assert n > 0
        self.copies += 1
        data = bytes(ffi.buffer(self._bytes[0], n))
        self.sent.take(data)
        self.to_board += data

    def end(self, commands: Sequence[tuple[str, dict[str, Any]]] = ()) -> None:
        """The tick ends; flight's commands to the board go out with the next one."""
        batch = ffi.new("const struct bus_batch **")
        assert lib.world_tick_collect(self.pointer, batch) == lib.WORLD_OK
        for name, values in commands:
            data = frame(name, ADDRESS, self._seq, self.world.t_us, **values)
            self._seq += 1
            assert lib.bus_batch_append(lib.world_answer(self.pointer), BOARD, data, len(data)) == 0
        assert lib.world_tick_commit(self.pointer) == lib.WORLD_OK
        self.world._drain()
        self.in_tick = False

    def complete(self) -> None:
        """Brings an open tick to its end without any fault; a dead board boots."""
        for _ in range(8):
            if not self.alive:
                self.boot(int(icd.ResetCause.WATCHDOG))
            self.deliver()
            self.carry()
            if not self.waiting:
                return
            self.ask_again()
        raise AssertionError("a board that hears and is heard does not answer")

    def fly(self, ticks: int, commands: Sequence[tuple[str, dict[str, Any]]] = ()) -> None:
        for _ in range(ticks):
            self.begin()
            self.complete()
            self.end(commands)

    # ------------------------------------------------------------ the line
    def outage(self) -> None:
        """The line ends: what is on the wire is lost."""
        self.to_board.clear()
        self.from_board.clear()
        self._held.clear()
        lib.world_absent(self.pointer, BOARD)
        self.waiting = self.joining = self._was_open = False

    def reopen(self) -> None:
        assert lib.world_join_external(self.pointer, BOARD) == lib.WORLD_OK
        self.joining = True
        self._heard_boots.clear()
        for stream in self.heard:
            stream.run.clear()

    def request_hello(self) -> None:
        out = ffi.new("uint8_t[]", int(lib.BUS_MAX_WIRE))
        self.to_board += bytes(ffi.buffer(out, lib.world_hello_request(self.pointer, BOARD, out)))

    def has_said_hello(self) -> bool:
        return bool(lib.world_hello(self.pointer, BOARD, ffi.new("struct bus_hello *")))

    def admit(self) -> None:
        assert lib.world_admit(self.pointer, BOARD) == lib.WORLD_OK
        self.joining = False
        for stream in self.heard:
            stream.count.bytes += len(stream.run) + 1 if stream.run else 0
        if self.stats("epochs") != self._epochs:
            self._on_epoch(mid_tick=False)
        else:
            self.named += self.sent.now - self._proven
            self._proven = self.sent.now
        self.check()

    def join(self) -> None:
        """Reopens the line without any fault."""
        self.reopen()
        while not self.has_said_hello():
            self.request_hello()
            self.deliver()
            self.carry()
        self.admit()

    def say(self, name: str, dst: int = icd.Address.FLIGHT, **values: Any) -> None:
        """A frame that stands outside, as if the present boot had sent it now."""
        wire = frame(name, dst, 0, self.world.t_us, ADDRESS, **values)
        assert head(wire[1:-1]).type in OUTSIDE  # type: ignore[union-attr]
        self.said[-1].take(wire)
        self.from_board += [(byte, self.boots) for byte in wire]
