"""The world in this process: plant, bench and boards in lock-step behind the `BusPort` that flight knows.

Boards on ``mock:`` are stepped in C, whole runs of ticks at a time; boards on other links get their bytes through
`hal.lines`. Both kinds may be mixed. The world keeps the boards' persistent memory, the score and the bus hash.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hal._native import ffi, lib
from hal.errors import WorldError
from hal.identity import expected_board, from_native
from hal.lines import Lines, Opener
from hal.link import Board, open_link
from hal.plant import Plant
from hal.rig import BOARD_FAULTS, Fault, Rig
from hal.rig_boards import BoardSpec
from hal.score import score_of

SAMPLE_PERIOD_S = 10.0
MAX_RUN_TICKS = 10_000

Participant = Callable[[int, memoryview], bytes]
"""A participant that is not a C function: (t_us, records that boards sent it) -> records for the boards; the format of
the records is that of csrc/bus/batch.h."""


class World:
    """A `hal.port.BusPort` that makes its own satellite. Use as a context manager, or call `close`.

    backend: put every board on this back end ("mock", "process"); None: as the rig says.
    opener: opens links instead of `hal.link.open_link`; every board is then external, mocks too (for tests).
    nvm: folder that keeps the persistent memory of process boards; None: a temporary one.
    Raises `RigError`, `LinkError`, `BoardRefusedError`.
    """

    def __init__(
        self, rig: Rig, backend: str | None = None, *, opener: Opener | None = None, nvm: Path | None = None
    ) -> None:
        self.rig = rig.with_backend(backend)
        self.tick_us = self.rig.tick_us
        self.late_ticks = 0
        self.waited_ns = 0  # it never paces itself
        self._plant = Plant(self.rig.satellite, self.rig.orbit, self.rig.seed)
        self._world = self._create()
        self._all_external = opener is not None
        self._lines = Lines(self._world, opener or open_link)
        self._hash = hashlib.sha256()
        self._samples: list[bytes] = []
        self.on_log: Callable[[bytes], object] | None = None
        """Called with every piece of what the bus hash is over (csrc/world/world.cdef.h, world_take_log)."""
        self._done = ffi.new("uint32_t *")
        self._bytes = ffi.new("const uint8_t **")
        self._agenda = _agenda(self.rig.faults)
        self._temporary = tempfile.TemporaryDirectory(prefix="dawnline-") if nvm is None else None
        self._nvm = nvm if nvm is not None else Path(self._temporary.name)  # type: ignore[union-attr]
        try:
            self._join(list(self.rig.boards))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End child processes, let go of ports. The score stays readable."""
        self._lines.close()
        self._agenda = []
        if self._temporary is not None:
            self._temporary.cleanup()
        self._closed = True

    # ------------------------------------------------------------ ticks
    _closed = False

    @property
    def t_us(self) -> int:
        """Simulated time of the last tick, in us."""
        return int(lib.world_t_us(self._world))

    @property
    def pointer(self) -> Any:
        """The cffi ``struct world *``."""
        return self._world

    @property
    def tick(self) -> int:
        """Ticks since the beginning."""
        return int(lib.world_tick(self._world))

    def run(self, max_ticks: int, step: int = 0, ctx: int = 0) -> int:
        """As `BusPort.run`; step 0: nobody takes part."""
        function = ffi.cast("bus_participant", step)
        context = ffi.cast("void *", ctx)
        done, attention = 0, False
        while done < max_ticks and not attention:
            ticks = self._prepare(max_ticks - done)
            if self._lines:
                self._begin()
                result = lib.world_tick_end(self._world, function, context)
                ticks = 1
            else:
                result = lib.world_run(self._world, ticks, function, context, self._done)
                ticks = int(self._done[0])
            self._drain()
            _check(result)
            done += ticks
            attention = result == lib.WORLD_ATTENTION
        return done

    def step(self, participant: Participant | None) -> None:
        """One tick with a participant in Python."""
        self._prepare(1)
        self._begin()
        batch = ffi.new("const struct bus_batch **")
        _check(lib.world_tick_collect(self._world, batch))
        if participant is not None:
            answer = participant(self.t_us, memoryview(ffi.buffer(batch[0].data, batch[0].used)))
            tx = lib.world_answer(self._world)
            if len(answer) > tx.capacity:
                raise WorldError(f"an answer of {len(answer)} bytes, expected at most {tx.capacity}")
            ffi.memmove(tx.data, answer, len(answer))
            tx.used = len(answer)
        _check(lib.world_tick_commit(self._world))
        self._drain()

    def _prepare(self, max_ticks: int) -> int:
        """At a tick boundary: faults that are due, lost ports, the orbit. Returns how many ticks may run at once."""
        if self._closed:
            raise WorldError("the world is closed")
        t_us = self.t_us
        while self._agenda and self._agenda[0][0] <= t_us:
            _, action, fault = self._agenda.pop(0)
            self._act(action, fault)
        self._lines.reconnect()
        ticks = min(max_ticks, MAX_RUN_TICKS)
        if self._agenda:
            ticks = min(ticks, -(-(self._agenda[0][0] - t_us) // self.tick_us))
        self._plant.ensure((t_us + (ticks + 1) * self.tick_us) * 1e-6)
        return ticks

    def _begin(self) -> None:
        result = lib.world_tick_begin(self._world)
        if result == lib.WORLD_LOG_FULL:
            self._drain()
            result = lib.world_tick_begin(self._world)
        _check(result)
        self._lines.exchange()

    def _drain(self) -> None:
        """Feed the bus hash and keep the samples."""
        n = lib.world_take_log(self._world, self._bytes)
        if n:
            log = ffi.buffer(self._bytes[0], n)
            self._hash.update(log)
            if self.on_log is not None:
                self.on_log(log[:])
        rows = ffi.new("const struct world_sample **")
        count = lib.world_take_samples(self._world, rows)
        if count:
            self._samples.append(bytes(ffi.buffer(rows[0], count * ffi.sizeof("struct world_sample"))))

    # ------------------------------------------------------------ boards
    def kill(self, role: str) -> None:
        """Switch a board off between two ticks: it is gone without a word. Only a board that the world makes."""
        spec = self._spec(role)
        if spec.index in self._lines.urls():
            self._lines.close(spec.index)
        self._lines.leave(spec.role)
        _check(lib.world_absent(self._world, spec.index))

    def start(self, role: str) -> None:
        """Switch a board on again: it boots and has to prove who it is. Raises `LinkError`, `BoardRefusedError`."""
        spec = self._spec(role)
        if self.link(role)["state"] != lib.WORLD_BOARD_ABSENT:
            raise WorldError(f"board {role} is on already")
        self._join([spec])

    def link(self, role: str) -> dict[str, int]:
        """The bench's counters of one board's line (csrc/world/world.cdef.h, struct world_link)."""
        out = ffi.new("struct world_link *")
        _check(lib.world_link(self._world, self.rig.index_of(role), out))
        return {name: int(getattr(out, name)) for name, _ in ffi.typeof("struct world_link").fields}

    def identity(self, role: str) -> dict[str, Any]:
        """What the board said of itself in its last HELLO: hardware_id, firmware_hash (hex), boot_count, ..."""
        hello = ffi.new("struct bus_hello *")
        _check(lib.world_hello(self._world, self.rig.index_of(role), hello))
        said = from_native(hello)
        numbers = {n: getattr(said, n) for n in ("kind", "role", "image_crc", "boot_count", "reset_cause")}
        names = {n: getattr(said, n).hex() for n in ("hardware_id", "firmware_hash")}
        return {**names, **numbers, "icd_hash": f"{said.icd_hash:016x}"}

    def pid(self, role: str) -> int | None:
        """Process id of a board that is a child process; None for others."""
        pid = getattr(self._lines.link(self.rig.index_of(role)), "pid", None)
        return int(pid) if pid is not None else None

    def _spec(self, role: str) -> BoardSpec:
        spec = self.rig.boards[self.rig.index_of(role)]
        if not spec.made:
            raise WorldError(f"board {role} on {spec.link} cannot be switched on or off")
        return spec

    def _join(self, specs: list[BoardSpec]) -> None:
        external: list[tuple[str, Board]] = []
        for spec in specs:
            board = expected_board(self.rig, spec, self._memory(spec) if spec.made else None)
            if spec.backend != "mock" or self._all_external:
                external.append((spec.link, board))
                continue
            cause = lib.BUS_RESET_CAUSE_POWER_ON
            _check(lib.world_join_mock(self._world, spec.index, board.hardware_id, cause))
            self._lines.admit(spec.link, board)
        if external:
            self._lines.open(external)

    def _memory(self, spec: BoardSpec) -> Path:
        path = self._nvm / f"{spec.role}.nvm"
        if not path.exists():
            path.write_bytes(b"\xff" * int(lib.WORLD_NVM_BYTES))  # as erased flash
        return path

    # ------------------------------------------------------------ faults
    def fault(self, kind: str, index: int = 0, value: float = 1.0) -> None:
        """Break something in the plant now; value 0 lifts it. Kinds: hal.rig.PLANT_FAULTS."""
        self._plant.fault(kind, index, value)

    def _act(self, action: str, fault: Fault) -> None:
        if fault.kind in BOARD_FAULTS:
            assert fault.board is not None
            (self.kill if action == "begin" else self.start)(fault.board)
        else:
            self.fault(fault.kind, fault.index, fault.value if action == "begin" else 0.0)

    # ------------------------------------------------------------ what the world knows
    @property
    def plant(self) -> Plant:
        """The physics."""
        return self._plant

    @property
    def truth_now(self) -> Any:
        """The plant's truth (csrc/plant/plant.cdef.h, struct plant_truth) as a live cffi pointer."""
        return self._plant.truth

    def bus_sha256(self) -> str:
        """The bus hash so far."""
        self._drain()
        return self._hash.hexdigest()

    def native_score(self) -> Any:
        """The judge's own numbers (csrc/world/world.cdef.h, struct world_score)."""
        native = ffi.new("struct world_score *")
        lib.world_score(self._world, native)
        return native

    def score(self) -> dict[str, Any]:
        """The truth so far; keys and units in `hal.score`."""
        native = self.native_score()
        links = {board.role: self.link(board.role) for board in self.rig.boards}
        score = score_of(self.rig, self.t_us, native, self._plant.truth, links, self.bus_sha256(), self.late_ticks)
        firmware = {self.identity(board.role)["firmware_hash"] for board in self.rig.boards}
        return {**score, "firmware": sorted(firmware), "absent_because": dict(self._lines.absent_because)}

    def truth(self) -> dict[str, npt.NDArray[np.float64]]:
        """Time series of the truth, a row every 10 s: name -> array (struct world_sample; W, C, V, fractions of 1)."""
        self._drain()
        names = [name for name, _ in ffi.typeof("struct world_sample").fields]
        rows = np.frombuffer(b"".join(self._samples), np.float64).reshape(-1, len(names))
        return {name: rows[:, i].copy() for i, name in enumerate(names)}

    def _create(self) -> Any:
        s = self.rig.satellite
        config = ffi.new("struct world_config *")
        config.nodes = s.node.count
        config.strings = s.array.strings
        config.dt_us = self.tick_us
        config.sample_period_us = round(max(SAMPLE_PERIOD_S * 1e6, self.tick_us))
        config.undervoltage_v = s.bus.undervoltage_v
        config.soc_floor = s.battery.soc_floor
        config.over_temperature_c = s.node.over_temperature_c
        config.hbm_over_temperature_c = s.node.hbm_over_temperature_c
        config.discharge_w_allowed = s.battery.discharge_w_allowed
        config.converter_efficiency = s.array.converter_efficiency
        world = ffi.gc(lib.world_create(config, self._plant.pointer), lib.world_destroy)
        if world == ffi.NULL:
            raise WorldError(f"no memory for a world of {s.node.count} nodes")
        return world


def _agenda(faults: tuple[Fault, ...]) -> list[tuple[int, str, Fault]]:
    """(t_us, begin or end, fault) in the order of time; an end comes before a beginning of the same moment."""
    agenda = []
    for fault in faults:
        at_us = round(fault.at_s * 1e6)
        agenda.append((at_us, "begin", fault))
        if fault.for_s > 0:
            agenda.append((at_us + round(fault.for_s * 1e6), "end", fault))
    return sorted(agenda, key=lambda entry: (entry[0], entry[1] == "begin"))


def _check(result: int) -> None:
    if result >= 0:
        return
    reasons = {
        int(lib.WORLD_ERR_STATE): "not possible in this state of the world or of the board",
        int(lib.WORLD_ERR_BOARD): "no such board",
        int(lib.WORLD_ERR_WAITING): "a board has not answered",
        int(lib.WORLD_ERR_ORBIT): "the orbit ends before this tick",
    }
    raise WorldError(f"world: {reasons[result]}")
