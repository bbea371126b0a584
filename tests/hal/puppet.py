"""Boards that do as a test says: they answer every TICK with the actuators that they were given."""

from __future__ import annotations

from dataclasses import dataclass, field

from hal import icd
from hal._native import ffi, lib
from hal.link import Board
from tests.hal.talker import frame, hello_of


@dataclass
class Puppet:
    """A link with a board of a test's making behind it."""

    board: Board
    done: dict[str, int]
    channels: list[dict[str, int]] = field(default_factory=list)
    ticks: list[dict[str, object]] = field(default_factory=list)
    url: str = "mock:"
    lossy: bool = False
    _seq: int = 0

    def __post_init__(self) -> None:
        self._boots = 0
        self._hello: dict[str, object] = {}
        self._out = b""
        self.boot()

    def boot(self, **hello: object) -> None:
        """Boot, and say this of itself from now on."""
        self._hello = hello
        self._boots += 1
        self._out += self._say_hello(icd.Address.ANY)

    def _say_hello(self, to: int) -> bytes:
        values = hello_of(self.board, boot_count=self._boots, **self._hello)
        return frame("hello", to, 0, 0, self.board.address, **values)

    def fileno(self) -> int:
        return -1

    def recv(self) -> bytes:
        out, self._out = self._out, b""
        return out

    def close(self) -> None:
        pass

    def send(self, data: bytes) -> None:
        receiver, f = ffi.new("struct bus_receiver *"), ffi.new("struct bus_frame *")
        lib.bus_receiver_init(receiver)
        raw = ffi.from_buffer("uint8_t[]", data)
        at, end = ffi.new("const uint8_t **", raw), raw + len(data)
        while lib.bus_receiver_next(receiver, at, end, f):
            if f.header.type == lib.BUS_MSG_HELLO_REQ:
                self._out += self._say_hello(f.header.src)
            kind = {lib.BUS_MSG_TICK_NODE: "tick_node", lib.BUS_MSG_TICK_POWER: "tick_power"}.get(f.header.type)
            if kind is not None:
                self.ticks.append(icd.decode(kind, bytes(ffi.buffer(f.payload, f.header.length))))
                self._answer(int(f.header.t_us))

    def _answer(self, t_us: int) -> None:
        power = self.board.kind == icd.BoardKind.POWER_BOARD
        if power and self.channels:
            self._say("done_channels", t_us, base=0, channels=self.channels)
        self._say("done_power" if power else "done_node", t_us, **self.done)

    def _say(self, kind: str, t_us: int, **values: object) -> None:
        self._out += frame(kind, icd.Address.BENCH, self._seq, t_us, self.board.address, **values)
        self._seq += 1


def power_board(board: Board, nodes: int) -> Puppet:
    """Every channel on, the array near its best point, charging."""
    channels = [{"on": 1, "limit_ma": 14_000, "trip_ms": 15} for _ in range(nodes)]
    volts = {"array_mv": 135_000, "charge_ma": 22_000, "charge_mv": 98_400, "uvlo_mv": 0}
    return Puppet(
        board,
        {
            "pages": 1,
            "heater": 0,
            "clear_latches": 0,
            "flags": 0,
            "state_hash": 0,
            "rx_frames": 0,
            "rx_errors": 0,
            **volts,
        },
        channels,
    )


def compute_node(board: Board) -> Puppet:
    """Accelerator off."""
    rest = {"flags": 0, "state_hash": 0, "rx_frames": 0, "rx_errors": 0}
    return Puppet(board, {"cap_mw": 0, "clock_mhz": 0, "command": 0, "workload": 0, **rest})
