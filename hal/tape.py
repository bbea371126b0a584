"""Recording as it happens: the tape in memory that C and Python fill, and the file that it is drained to.

What crosses the lines and flight's steps are put on the tape in C (csrc/world/tape.c); flight's other inputs and its
telemetry are notes between them. So everything stands in the order in which it happened.
"""

from __future__ import annotations

import platform
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from hal import icd
from hal._native import ffi, lib
from hal.errors import RecordingError
from hal.recording import VERSION, Writer
from hal.rig import Rig, load_texts

BLOCK_BYTES = 1 << 20
"""A block is written when it has so many bytes, before packing."""
BLOCK_S = 1.0
"""or is so old, in wall-clock time: what a paced flight loses when it is killed."""


UPSET = struct.Struct("<HIQ")


class Tape:
    """A tape and the file that it goes to. Raises `RecordingError` when the file cannot be opened.

    header: what is known at the start. on_seal: called before a block that is full is written, to add notes to it.
    on_failure: called once with one line when nothing more is recorded; what records goes on without.
    """

    def __init__(
        self,
        path: Path,
        header: dict[str, Any],
        on_failure: Callable[[str], None] = lambda line: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._writer = Writer(path, header)
        self._clock = clock
        self._on_failure = on_failure
        self.on_seal: Callable[[], None] = lambda: None
        self.failed: str | None = None
        self.t_us = 0
        """Simulated time that the tape has reached; whoever runs ticks keeps it."""
        self._sealed = clock()
        self._bytes = ffi.new("const uint8_t **")
        self.pointer = ffi.gc(lib.tape_create(BLOCK_BYTES), lib.tape_destroy)
        self._tap = ffi.new("struct tap *", {"tape": self.pointer})

    @property
    def path(self) -> Path:
        return self._writer.path

    @property
    def size(self) -> int:
        """Bytes in the file so far."""
        return self._writer.size

    def note(self, kind: int, body: bytes) -> None:
        """Add a record; kind: from TAPE_NOTE (csrc/world/world.cdef.h) on."""
        lib.tape_note(self.pointer, kind, body, len(body))

    def boot(self, board: int, cause: int, nvm: bytes | None) -> None:
        """A board of the world begins to run, with this persistent memory."""
        lib.tape_boot(self.pointer, board, cause, ffi.NULL if nvm is None else nvm)

    def upset(self, board: int, bits: int, seed: int) -> None:
        """Bits of a mock's memory are flipped; bits 0: the memory of a board in another back end."""
        self.note(int(lib.TAPE_UPSET), UPSET.pack(board, bits, seed))

    def tap(self, step: int, ctx: int) -> tuple[int, int]:
        """`BusPort.run`'s step and ctx with the tape between them. One participant at a time."""
        self._tap.step = ffi.cast("bus_participant", step)
        self._tap.ctx = ffi.cast("void *", ctx)
        return int(ffi.cast("uintptr_t", ffi.addressof(lib, "tap_step"))), int(ffi.cast("uintptr_t", self._tap))

    def drain(self) -> None:
        """Between ticks: write a block when there is enough for one, or when the last one is old."""
        if lib.tape_is_full(self.pointer) or (
            self._clock() - self._sealed >= BLOCK_S and lib.tape_used(self.pointer) > 0
        ):
            self.on_seal()
            self.seal()

    def seal(self) -> None:
        """Write what there is as a block."""
        self._sealed = self._clock()
        lost = lib.tape_failed(self.pointer)
        n = lib.tape_take(self.pointer, self._bytes)
        records = bytes(ffi.buffer(self._bytes[0], n)) if n else b""
        if self.failed is None and (self._writer.error is not None or lost):
            self.failed = self._writer.error or f"{self.path}: no memory: the recording ends after {self.size} bytes"
            self._on_failure(self.failed)
        if records and self.failed is None:
            self._writer.put(records, self.t_us)

    def close(self) -> None:
        """Write the rest and close the file. May be called twice."""
        self.seal()
        self._writer.close()
        if self.failed is None and self._writer.error is not None:
            self.failed = self._writer.error
            self._on_failure(self.failed)


def header_of(rig: Rig, more: dict[str, Any]) -> dict[str, Any]:
    """The header of a recording of this rig. Raises `RecordingError` for a rig that its files do not give."""
    header = {
        "format": VERSION,
        "software": {"version": _git(), "python": platform.python_version(), "machine": platform.machine()},
        "board_bus": {"icd_hash": f"{icd.ICD_HASH:016x}", "firmware_hash": rig.firmware_hash.hex()},
        "arguments": sys.argv[1:],
        "rig": {
            "name": rig.name,
            "texts": rig.texts,
            "tick_us": rig.tick_us,
            "seed": rig.seed,
            "boards": [{"role": board.role, "link": board.link} for board in rig.boards],
        },
        **more,
    }
    with tempfile.TemporaryDirectory(prefix="dawnline-") as folder:
        again = rig_of(header, Path(folder))
    if (again.satellite, again.timeline) != (rig.satellite, rig.timeline):
        raise RecordingError(
            f"rig {rig.name}: is not what its files say, expected one that can be made again from them"
        )
    return header


def rig_of(header: dict[str, Any], folder: Path) -> Rig:
    """The rig of a recording's header; its files are written to `folder`, which must stay while the rig is in use.

    Raises `RecordingError`, `RigError`.
    """
    try:
        entry, firmware_hash = header["rig"], bytes.fromhex(header["board_bus"]["firmware_hash"])
        rig = load_texts({str(k): str(v) for k, v in entry["texts"].items()}, folder)
        return replace(rig, tick_s=int(entry["tick_us"]) * 1e-6, seed=int(entry["seed"]), firmware_hash=firmware_hash)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RecordingError(f"the header's rig is malformed: {error!r}") from None


def _git() -> str | None:
    """Description of the source tree, for people; None where there is none."""
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--tags"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
