"""A world in another process, as the `BusPort` that flight knows. The other side is `hal.server`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from hal._native import ffi, lib
from hal.errors import WorldError
from hal.rig import Rig, load_rig
from hal.wire import PROTOCOL, TICK_HEAD, ClosedError, Kind, connect

ANSWER_BYTES = 4 * 1024 * 1024


class RemoteWorld:
    """Joins the world that is served at `path`. Raises `WorldError` (nobody there, refused, other ICD), `RigError`.

    The world paces: `run` returns as fast as the world lets ticks pass.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._channel, welcome = connect(self._path, "flight", int(lib.world_icd_hash()))
        try:
            self.rig = _rig(welcome, self._path)
        except Exception:
            self._channel.close()
            raise
        self.tick_us = int(welcome["tick_us"])
        self.t_us = int(welcome["t_us"])
        self.late_ticks = 0
        """Ticks that the world's pacing found late, as of the last tick."""
        self.waited_ns = 0
        """Wall-clock time spent waiting for ticks, in ns."""
        self._ended = False
        self._memory = ffi.new("uint8_t[]", ANSWER_BYTES)
        self._tx = ffi.new("struct bus_batch *")
        self._rx = ffi.new("struct bus_batch *")
        lib.bus_batch_init(self._tx, self._memory, ANSWER_BYTES)

    def __enter__(self) -> RemoteWorld:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, max_ticks: int, step: int, ctx: int) -> int:
        """As `BusPort.run`; 0 when the world has ended."""
        for done in range(max_ticks):
            if self._ended:
                return done
            try:
                attention = self._tick(step, ctx)
            except ClosedError:
                self._ended = True
                return done
            if attention:
                return done + 1
        return max_ticks

    def close(self) -> None:
        """Leave the world; it runs on."""
        self._ended = True
        self._channel.close()

    def _tick(self, step: int, ctx: int) -> bool:
        began_ns = time.perf_counter_ns()
        kind, body = self._channel.read()
        self.waited_ns += time.perf_counter_ns() - began_ns
        if kind != Kind.TICK:
            raise WorldError(f"{self._path}: unexpected {kind.name}, expected a tick")
        self.t_us, self.late_ticks = TICK_HEAD.unpack_from(body)
        records = ffi.from_buffer("uint8_t[]", body)
        self._rx.data = records + TICK_HEAD.size
        self._rx.used = self._rx.capacity = len(body) - TICK_HEAD.size
        lib.bus_batch_clear(self._tx)
        attention = lib.world_call(step, ctx, self.t_us, self._rx, self._tx)
        self._channel.send(Kind.STEP, bytes(ffi.buffer(self._tx.data, self._tx.used)))
        return bool(attention)


def _rig(welcome: dict[str, Any], path: Path) -> Rig:
    """The rig that the world flies: loaded here, and proven to be the same file."""
    if welcome.get("protocol") != PROTOCOL:
        raise WorldError(f"{path}: the world speaks protocol {welcome.get('protocol')}, expected {PROTOCOL}")
    rig = load_rig(str(welcome["rig"]))
    if rig.sha256 != welcome["rig_sha256"]:
        raise WorldError(f"{rig.path}: changed since the world at {path} loaded it, expected the same file")
    return rig.with_tick(int(welcome["tick_us"]) * 1e-6)
