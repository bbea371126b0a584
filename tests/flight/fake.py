"""Boards for the tests of flight, written from the board-bus ICD and design.md alone: nothing of csrc/boards is here.

They keep the truth that flight must not break: which caps are in force, what the supply is. Lines may lose, delay and
duplicate frames.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from flight._native import ffi, lib
from hal import icd
from hal.firmware import firmware_hash
from hal.rig import Rig, load_rig

FLIGHT = 1
LATE_TICKS = 12  # the longest that a line delays a frame, at 10 ticks a second
_MESSAGES = {m.type: name for name, m in icd.MESSAGES.items()}


def frame(name: str, src: int, dst: int, seq: int, t_us: int, **values: Any) -> bytes:
    """One frame on the wire."""
    payload = icd.encode(name, **values)
    h = ffi.new("struct bus_header *")
    h.type, h.src, h.dst, h.seq, h.t_us, h.length = icd.MESSAGES[name].type, src, dst, seq & 0xFFFF, t_us, len(payload)
    wire = ffi.new("uint8_t[]", lib.BUS_MAX_WIRE)
    return ffi.buffer(wire, lib.bus_frame_encode(h, payload, wire))[:]


class Receiver:
    def __init__(self) -> None:
        self._r = ffi.new("struct bus_receiver *")
        lib.bus_receiver_init(self._r)

    def frames(self, data: bytes) -> list[tuple[str, dict[str, Any]]]:
        buffer = ffi.from_buffer("uint8_t[]", data)
        at, end = ffi.new("const uint8_t **", buffer), buffer + len(data)
        f = ffi.new("struct bus_frame *")
        out = []
        while lib.bus_receiver_next(self._r, at, end, f) != lib.BUS_RX_MORE:
            name = _MESSAGES[f.header.type]
            out.append((name, icd.decode(name, ffi.buffer(f.payload, f.header.length)[:])))
        return out


class Line:
    """A line's faults: shares of frames lost, duplicated, and delayed by up to a second; 0: a perfect line."""

    def __init__(self, seed: int, lost: float = 0, doubled: float = 0, delayed: float = 0) -> None:
        self._random = random.Random(seed)
        self._shares = (lost, doubled, delayed)
        self._late: list[tuple[int, bytes]] = []

    def carry(self, t_us: int, wires: list[bytes]) -> list[bytes]:
        lost, doubled, delayed = self._shares
        out = [w for due, w in self._late if due <= t_us]
        self._late = [(due, w) for due, w in self._late if due > t_us]
        for wire in wires:
            if self._random.random() < lost:
                continue
            copies = 2 if self._random.random() < doubled else 1
            for _ in range(copies):
                if self._random.random() < delayed:
                    self._late.append((t_us + self._random.randint(1, LATE_TICKS) * 100_000, wire))
                else:
                    out.append(wire)
        return out


@dataclass
class Board:
    index: int
    kind: int
    boot_count: int = 1
    session: int = 0
    command_seq: int = 0
    t_us: int = 0
    seq: int = 0
    alive: bool = True
    icd_hash: int = icd.ICD_HASH
    role: int | None = None
    hardware_id: bytes = b""
    firmware_hash: bytes = field(default_factory=firmware_hash)
    out: list[bytes] = field(default_factory=list)
    executed: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    lies: dict[str, int] = field(default_factory=dict)  # what its telemetry says instead
    receiver: Receiver = field(default_factory=Receiver)

    @property
    def address(self) -> int:
        return int(lib.bus_address_of(self.index))

    def send(self, name: str, **values: Any) -> None:
        if name in ("node_tlm", "power_tlm"):
            values |= self.lies
        self.out.append(frame(name, self.address, FLIGHT, self.seq, self.t_us, **values))
        self.seq += 1

    def hello(self) -> None:
        role = self.role or self.address
        self.out.append(
            frame(
                "hello", role, FLIGHT, 0, self.t_us, kind=self.kind, role=role,
                hardware_id=self.hardware_id or bytes([self.index & 255, self.index >> 8]) + bytes(10),
                firmware_hash=self.firmware_hash, image_crc=0, icd_hash=self.icd_hash,
                boot_count=self.boot_count, reset_cause=1, capabilities=1,
            )
        )  # fmt: skip

    def take(self, data: bytes) -> None:
        for name, values in self.receiver.frames(data):
            if name == "hello_req":
                self.hello()
            elif name == "lease":
                self.lease(values)
            else:
                self._command(name, values)

    def _command(self, name: str, values: dict[str, Any]) -> None:
        session, seq = values["session"], values["command_seq"]
        if session < self.session:
            code, session = icd.AckCode.STALE_SESSION, self.session
        elif session == self.session and seq == self.command_seq:
            code = icd.AckCode.REPEATED
        elif session == self.session and seq < self.command_seq:
            code = icd.AckCode.STALE_SEQUENCE
        else:
            self.session, self.command_seq = session, seq
            code = self.execute(name, values)
            self.executed.append((name, values))
        self.send("ack", session=session, command_seq=seq, type=icd.MESSAGES[name].type, code=code)

    def lease(self, values: dict[str, Any]) -> None:
        raise AssertionError("a lease for the power board")

    def execute(self, name: str, values: dict[str, Any]) -> int:
        return int(icd.AckCode.OK)


@dataclass
class Node(Board):
    configured: dict[str, Any] | None = None
    state: int = 0
    boot_left_us: int = 0
    boot_us: int = 2_000_000
    channel_on: bool = False
    lease_now: tuple[int, int, int, int] = (0, 0, 0, 0)  # session, seq, cap, expiry
    in_force: bool = False
    job: dict[str, Any] | None = None
    progress: float = 0.0
    checkpoint: int = 0
    appetite_mw: int = 10_000_000  # draw of the work that it has
    changed: bool = True
    die_cdeg: int = 4000

    def lease(self, values: dict[str, Any]) -> None:
        key = (values["session"], values["lease_seq"])
        if key <= self.lease_now[:2] or values["expiry_us"] <= self.t_us:
            return
        self.lease_now = (*key, values["cap_mw"], values["expiry_us"])
        self.in_force = self.changed = True

    @property
    def cap_mw(self) -> int:
        if self.configured is None or self.state not in (1, 2, 3, 4):
            return 0
        floor, most = self.configured["floor_mw"], self.configured["max_mw"]
        return min(most, self.lease_now[2]) if self.in_force else floor

    @property
    def power_mw(self) -> int:
        return {1: 300_000, 2: 100_000, 3: min(self.cap_mw, self.appetite_mw)}.get(self.state, 0)

    def execute(self, name: str, values: dict[str, Any]) -> int:
        self.changed = True
        if name == "node_config":
            self.configured = values
        elif name == "node_power":
            return self._power(values["on"])
        elif name == "node_job":
            if self.state not in (2, 3):
                return int(icd.AckCode.WRONG_STATE)
            self.job, self.progress = values, values["start_mu"]
            self.checkpoint, self.state = values["start_mu"], 3
        elif name == "node_job_stop":
            if self.job and values["job_id"] == self.job["job_id"]:
                self.checkpoint = int(self.progress)
            elif values["job_id"] == 0:
                self.job = None
            self.state = 2 if self.state == 3 else self.state
        return int(icd.AckCode.OK)

    def _power(self, on: int) -> int:
        if on and not self.channel_on:
            return int(icd.AckCode.WRONG_STATE)
        if on and self.state == 0:
            self.state, self.boot_left_us = 1, self.boot_us
        elif not on:
            self.state = 0
        return int(icd.AckCode.OK)

    @property
    def done(self) -> bool:
        return self.job is not None and self.progress >= self.job["total_mu"]

    def tick(self, t_us: int, dt_us: int) -> None:
        self.t_us = t_us
        if self.in_force and t_us >= self.lease_now[3]:
            self.in_force, self.changed = False, True
        if not self.channel_on and self.state:
            self.state, self.changed = 0, True
        if self.state == 1:
            self.boot_left_us -= dt_us
            if self.boot_left_us <= 0:
                self.state, self.changed = 2, True
        if self.state == 3 and self.job is not None:
            self.progress = min(self.job["total_mu"], self.progress + self.power_mw * dt_us * 1e-9)
            if self.progress - self.checkpoint >= 20:
                self.checkpoint = int(self.progress)
            if self.done:
                self.state, self.checkpoint, self.changed = 2, self.job["total_mu"], True
        if self.changed or (t_us // dt_us) % 2 == 0:
            self.telemetry()

    def telemetry(self) -> None:
        self.changed = False
        job = self.job or {"job_id": 0, "workload": 0}
        self.send(
            "node_tlm", state=self.state, workload=job["workload"],
            flags=(0 if self.in_force else 1) | (128 if self.done else 0), power_mw=self.power_mw, cap_mw=self.cap_mw,
            lease_session=self.lease_now[0], lease_seq=self.lease_now[1], die_cdeg=self.die_cdeg, hbm_cdeg=4000,
            coolant_cdeg=2500, bus_cv=9000 if self.channel_on else 0, job_id=job["job_id"],
            progress_mu=int(self.progress) if self.job else 0, checkpoint_mu=self.checkpoint if self.job else 0,
        )  # fmt: skip

    def reset(self) -> None:
        self.boot_count += 1
        self.seq, self.session, self.command_seq = 0, 0, 0
        self.state, self.in_force, self.lease_now, self.job = 0, False, (0, 0, 0, 0), None
        self.receiver = Receiver()
        self.hello()


def _drawn(node: Node) -> int:
    """A board that is dead has switched its accelerator off."""
    return node.power_mw if node.alive else 0


@dataclass
class Power(Board):
    nodes: list[Node] = field(default_factory=list)
    array_mw: int = 10_000_000
    strings: int = 10
    soc_cpct: int = 9000
    hotel_mw: int = 200_000
    mode: int = 1
    silent: bool = False

    def execute(self, name: str, values: dict[str, Any]) -> int:
        if name == "channels_set":
            for k in range(values["count"]):
                node = self.nodes[values["base"] + k]
                node.channel_on = bool(values["mask"][k // 8] >> k % 8 & 1)
            self.pages()
        return int(icd.AckCode.OK)

    def pages(self) -> None:
        for base in range(0, len(self.nodes), 24):
            page = self.nodes[base : base + 24]
            rows = [{"mean_ma": _drawn(n) // 90, "state": int(n.channel_on)} for n in page]
            self.send("power_channels", base=base, channels=rows)

    def tick(self, t_us: int, dt_us: int) -> None:
        self.t_us = t_us
        if self.silent:
            return
        load = sum(map(_drawn, self.nodes))
        self.send(
            "power_tlm", mode=self.mode, flags=0, tier=0, bus_mv=90_000,
            batt_ma=(int(self.array_mw * 0.95) - load - self.hotel_mw) // 90, batt_cdeg=2000, soc_cpct=self.soc_cpct,
            array_mw=self.array_mw, array_mv=140_000, array_cdeg=3000, largest_string_mw=self.array_mw // self.strings,
            strings_live=self.strings, load_mw=load, hotel_mw=self.hotel_mw,
            channels_on=sum(n.channel_on for n in self.nodes),
        )  # fmt: skip
        if t_us % 1_000_000 < dt_us:
            self.pages()


class FakePort:
    """A `BusPort` over fake boards, with the truth of design.md section 7: lease sum, guarantee, violations.

    before: called at the start of every tick with (port, t_us), to change the world.
    """

    def __init__(
        self,
        rig: Rig | None = None,
        before: Callable[[FakePort, int], None] | None = None,
        line: Callable[[int], Line] = Line,
        at_us: int = 0,
    ) -> None:
        self.rig = rig or load_rig("demo")
        self.tick_us = self.rig.tick_us
        self.t_us = at_us
        self.late_ticks = self.waited_ns = 0
        self.nodes = [Node(1 + i, 2) for i in range(self.rig.nodes)]
        self.power = Power(0, 1, nodes=self.nodes)
        self.boards: list[Node | Power] = [self.power, *self.nodes]
        self.before = before
        self.down = [line(2 * b.index) for b in self.boards]
        self.up = [line(2 * b.index + 1) for b in self.boards]
        self.sums: list[int] = []
        self.guarantees: list[int] = []
        self.sent: list[bytes] = []
        self._rx_memory, self._tx_memory = ffi.new("uint8_t[]", 1 << 20), ffi.new("uint8_t[]", 1 << 20)
        self._rx, self._tx = ffi.new("struct bus_batch *"), ffi.new("struct bus_batch *")
        lib.bus_batch_init(self._rx, self._rx_memory, 1 << 20)
        lib.bus_batch_init(self._tx, self._tx_memory, 1 << 20)
        self.closed = False

    def close(self) -> None:
        self.closed = True

    def run(self, max_ticks: int, step: int, ctx: int) -> int:
        function, context = ffi.cast("bus_participant", step), ffi.cast("void *", ctx)
        for done in range(1, max_ticks + 1):
            if self._tick(function, context):
                return done
        return max_ticks

    def _tick(self, function: Any, context: Any) -> int:
        for board, wires in self._sent_by_flight().items():
            if self.boards[board].alive:
                for wire in self.down[board].carry(self.t_us, wires):
                    self.boards[board].take(wire)
        self.t_us += self.tick_us
        if self.before is not None:
            self.before(self, self.t_us)
        lib.bus_batch_clear(self._rx)
        for b in [*self.nodes, self.power]:
            if b.alive:
                b.tick(self.t_us, self.tick_us)
        for b in self.boards:
            wires = self.up[b.index].carry(self.t_us, b.out)
            b.out = []
            if wires:
                data = b"".join(wires)
                lib.bus_batch_append(self._rx, b.index, data, len(data))
        self.sums.append(sum(n.cap_mw for n in self.nodes if n.alive))
        self.guarantees.append(self.guarantee_mw())
        lib.bus_batch_clear(self._tx)
        result: int = function(context, self.t_us, self._rx, self._tx)
        self.sent.append(ffi.buffer(self._tx_memory, self._tx.used)[:])
        return result

    def _sent_by_flight(self) -> dict[int, list[bytes]]:
        at, board = ffi.new("size_t *"), ffi.new("uint16_t *")
        data, n = ffi.new("const uint8_t **"), ffi.new("size_t *")
        out: dict[int, list[bytes]] = {}
        while lib.bus_batch_next(self._tx, at, board, data, n) == 1:
            out.setdefault(board[0], []).append(ffi.buffer(data[0], n[0])[:])
        return out

    def guarantee_mw(self) -> int:
        satellite = self.rig.satellite
        p = self.power
        array = (p.array_mw - p.array_mw // p.strings) * satellite.array.converter_efficiency
        battery = satellite.battery.discharge_w_allowed * 1000 if p.soc_cpct > satellite.battery.soc_floor * 1e4 else 0
        return int(array + battery - p.hotel_mw)

    def raised_above(self, late: int = 1) -> list[int]:
        """Ticks in which the sum of caps went up while above the guarantee: a grant that was not there to give.

        A grant is judged by the supply from the tick in which it was made, up to `late` ticks ago, to its arrival.
        """
        faults = []
        for k in range(1, len(self.sums)):
            limit = max(self.guarantees[max(0, k - late) : k + 1])
            if self.sums[k] > self.sums[k - 1] and self.sums[k] > limit:
                faults.append(k)
        return faults

    def long_above(self) -> int:
        """Most ticks in a row with the sum above the guarantee."""
        most = run = 0
        for total, limit in zip(self.sums, self.guarantees, strict=True):
            run = run + 1 if total > limit else 0
            most = max(most, run)
        return most
