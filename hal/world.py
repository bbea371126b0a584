"""The world in this process: plant, bench and boards in lock-step behind the `BusPort` that flight knows.

Boards on ``mock:`` are stepped in C, whole runs of ticks at a time; boards on other links get their bytes through
`hal.lines`. Both kinds may be mixed. The world keeps the boards' persistent memory, the score and the bus hash.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hal._native import ffi, lib
from hal.errors import RigError, WorldError
from hal.fault_kinds import GROUPS, Fault, complete
from hal.faults import ActiveFault, Faults
from hal.icd import ResetCause
from hal.identity import expected_board, from_native
from hal.lines import Lines, Opener
from hal.link import Board, Injectable, Link, open_link
from hal.plant import Plant
from hal.rig import Rig
from hal.rig_boards import BoardSpec
from hal.score import score_of
from hal.tape import Tape

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
    tape: keeps everything that crosses the lines, from the first HELLO on; it is the caller's to close.
    Raises `RigError`, `LinkError`, `BoardRefusedError`.
    """

    def __init__(
        self,
        rig: Rig,
        backend: str | None = None,
        *,
        opener: Opener | None = None,
        nvm: Path | None = None,
        tape: Tape | None = None,
    ) -> None:
        self.rig = rig.with_backend(backend).checked()
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
        self._faults = Faults(self.rig, self._world, self._plant, self)
        self._temporary = tempfile.TemporaryDirectory(prefix="dawnline-") if nvm is None else None
        self._nvm = nvm if nvm is not None else Path(self._temporary.name)  # type: ignore[union-attr]
        self._tape = tape
        if tape is not None:
            lib.world_set_tape(self._world, tape.pointer)
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
        self._faults.close(self.t_us)
        self._lines.close()
        lib.world_set_tape(self._world, ffi.NULL)
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
            self._drain_tape()
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
        self._drain_tape()

    def _prepare(self, max_ticks: int) -> int:
        """At a tick boundary: faults that are due, lost ports, the orbit. Returns how many ticks may run at once."""
        if self._closed:
            raise WorldError("the world is closed")
        t_us = self.t_us
        self._faults.due(t_us)
        self._lines.reconnect()
        ticks = min(max_ticks, MAX_RUN_TICKS)
        next_us = self._faults.next_us
        if next_us is not None:
            ticks = min(ticks, -(-(next_us - t_us) // self.tick_us))
        self._plant.ensure((t_us + (ticks + 1) * self.tick_us) * 1e-6)
        return ticks

    def _begin(self) -> None:
        result = lib.world_tick_begin(self._world)
        if result == lib.WORLD_LOG_FULL:
            self._drain()
            self._drain_tape()
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

    def _drain_tape(self) -> None:
        if self._tape is not None:
            self._tape.t_us = self.t_us
            self._tape.drain()

    # ------------------------------------------------------------ boards
    def kill(self, role: str) -> None:
        """Switch a board off between two ticks: it is gone without a word. Only a board that the world makes."""
        spec = self._spec(role)
        if spec.index in self._lines.urls():
            self._lines.close(spec.index)
        self._lines.leave(spec.role)
        _check(lib.world_absent(self._world, spec.index))

    def start(self, role: str, cause: int = ResetCause.POWER_ON) -> None:
        """Switch a board on again: it boots and has to prove who it is. Raises `LinkError`, `BoardRefusedError`."""
        spec = self._spec(role)
        if self.link(role)["state"] != lib.WORLD_BOARD_ABSENT:
            raise WorldError(f"board {role} is on already")
        self._join([spec], cause)

    def reboot(self, role: str, cause: int) -> None:
        """Reset the controller of a board between two ticks: what it drives stays as it is. As `start` otherwise."""
        spec = self._spec(role)
        if self.link(role)["state"] != lib.WORLD_BOARD_PRESENT:
            raise WorldError(f"board {role} is not there to be reset")
        _check(lib.world_reboot(self._world, spec.index))
        if spec.index in self._lines.urls():
            self._lines.close(spec.index)
        self._join([spec], cause)

    def hang(self, role: str, on: bool) -> None:
        """Let a controller stand still, or go on: it gets neither bytes nor TICK, what it drives stays as it is."""
        _check(lib.world_hang(self._world, self.rig.index_of(role), on))

    def mock(self, role: str) -> Any:
        """The cffi ``struct mock *`` of a board that this world steps itself. Raises `WorldError` for others."""
        mock = lib.world_mock(self._world, self.rig.index_of(role))
        if mock == ffi.NULL:
            raise WorldError(f"board {role} is not in this process, expected a mock that the world steps itself")
        return mock

    def inject(self, role: str, kind: str, value: float, seed: int) -> None:
        """A fault inside a board, by its back end (`hal.link.Injectable`)."""
        index = self.rig.index_of(role)
        link = self._lines.link(index)
        if link is None:
            lib.mock_flip(self.mock(role), int(value), seed)
            self._note_upset(index, int(value), seed)
        elif isinstance(link, Injectable):
            link.inject(kind, value, seed)
            self._note_upset(index, 0, 0)
        else:
            raise WorldError(f"board {role} on {link.url}: its back end cannot do {kind}")

    def _note_upset(self, index: int, bits: int, seed: int) -> None:
        if self._tape is not None:
            self._tape.upset(index, bits, seed)

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

    def line(self, role: str) -> Link | None:
        """The open line to a board; None when it is a mock that this world steps itself, or absent."""
        return self._lines.link(self.rig.index_of(role))

    def pid(self, role: str) -> int | None:
        """Process id of a board that is a child process; None for others."""
        pid = getattr(self.line(role), "pid", None)
        return int(pid) if pid is not None else None

    def _spec(self, role: str) -> BoardSpec:
        spec = self.rig.boards[self.rig.index_of(role)]
        if not spec.made:
            raise WorldError(f"board {role} on {spec.link} cannot be switched on or off")
        return spec

    def _join(self, specs: list[BoardSpec], cause: int = ResetCause.POWER_ON) -> None:
        external: list[tuple[str, Board]] = []
        for spec in specs:
            board = expected_board(self.rig, spec, self._memory(spec) if spec.made else None)
            board = replace(board, cause=cause)
            if spec.backend != "mock" or self._all_external:
                external.append((spec.link, board))
                if self._tape is not None and board.nvm is not None:
                    self._tape.boot(spec.index, cause, board.nvm.read_bytes())
                continue
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
    def fault(
        self,
        kind: str,
        index: int | None = None,
        value: float | None = None,
        *,
        board: str | None = None,
        sensor: str | None = None,
        rate: float | None = None,
        direction: str | None = None,
        for_s: float = 0.0,
    ) -> ActiveFault:
        """Break something now, for `for_s` of simulated time (0: until `lift`, or until the world ends).

        Kinds and what their numbers mean: `hal.fault_kinds.KINDS`, docs/rigs.md. Raises `WorldError` when it cannot be.
        """
        return self.begin(Fault(kind, self.t_us / 1e6, for_s, board, index, value, sensor, rate, direction))

    def begin(self, fault: Fault) -> ActiveFault:
        """As `fault`, with a fault of one board that begins now (`at_s` is this time)."""
        if self._closed:
            raise WorldError("the world is closed")
        if fault.board in GROUPS:
            raise WorldError(f"fault.board: '{fault.board}' is for rig files, expected one board")
        try:
            one = next(complete(fault, self.rig.target, "fault"))
        except RigError as error:
            raise WorldError(str(error)) from None
        return self._faults.begin(one, self.t_us)

    def lift(self, active: ActiveFault) -> None:
        """Restore what a fault broke; nothing when that was done before."""
        if not self._closed:
            self._faults.lift(active, self.t_us)

    def lift_kind(
        self, kind: str, index: int | None = None, *, board: str | None = None, sensor: str | None = None
    ) -> None:
        """Lift the fault of this kind at this place. Raises `WorldError` when none is in force."""
        self.lift(self._faults.find(kind, board, sensor, index))

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
        more = {"firmware": sorted(firmware), "absent_because": dict(self._lines.absent_because)}
        return {**score, "faults": self._faults.report(), **more}

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
