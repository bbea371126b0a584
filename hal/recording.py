"""A recording on disk: blocks of records, each compressed, with its length and CRC-32C. docs/replay.md gives every bit.

The file is only appended to, so whatever kills its writer leaves whole blocks and at most one that is cut.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import queue
import stat
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from hal._native import ffi, lib
from hal.errors import RecordingError

MAGIC = b"DAWNREC\n"
VERSION = 1
FILE_HEAD = struct.Struct("<8sI")
BLOCK_HEAD = struct.Struct("<4sIIIQI")
"""mark, bytes behind the head, bytes before zlib, bytes before packing, t_us reached, CRC-32C of what is behind"""
HEAD_CRC = struct.Struct("<I")
HEAD_BYTES = BLOCK_HEAD.size + HEAD_CRC.size
RECORD_HEAD = struct.Struct("<BI")
HEADER_MARK, RECORDS_MARK = b"HEAD", b"RECS"
BLOCK_MAX = 1 << 30
LEVEL = 2
"""of zlib: as fast as 1 and smaller; 6 takes two and a half times as long for another 13 %."""
QUEUED = 4


def crc32c(data: bytes) -> int:
    return int(lib.bus_crc32c(0, data, len(data)))


class Packer:
    """csrc/world/pack.c: records in fewer bytes, and back. Every call stands for itself."""

    def __init__(self) -> None:
        self._memory = ffi.new("uint64_t[]", int(lib.pack_bytes()) // 8 + 1)
        self._state = ffi.cast("struct pack *", self._memory)
        self._out = ffi.new("uint8_t[]", 1)

    def pack(self, records: bytes) -> bytes:
        """Raises ValueError when these are no records."""
        size = int(lib.pack_bound(len(records)))
        if size > len(self._out):
            self._out = ffi.new("uint8_t[]", size)
        lib.pack_reset(self._state)
        n = lib.pack_records(self._state, records, len(records), self._out, size)
        if n == 0 and records:
            raise ValueError("no records")
        return bytes(ffi.buffer(self._out, n))

    def unpack(self, packed: bytes, size: int) -> bytes:
        """Raises ValueError when that is no packing of `size` bytes of records."""
        out = ffi.new("uint8_t[]", size)
        lib.pack_reset(self._state)
        if lib.unpack_records(self._state, packed, len(packed), out, size):
            raise ValueError("not packed")
        return bytes(ffi.buffer(out))


def _block(mark: bytes, middle: bytes, size: int, t_us: int) -> bytes:
    body = zlib.compress(middle, LEVEL)
    head = BLOCK_HEAD.pack(mark, len(body), len(middle), size, t_us, crc32c(body))
    return head + HEAD_CRC.pack(crc32c(head)) + body


def header_block(header: dict[str, Any]) -> bytes:
    """The first block, with what stands before it."""
    text = json.dumps(header).encode()
    return FILE_HEAD.pack(MAGIC, VERSION) + _block(HEADER_MARK, text, len(text), 0)


def records_block(packer: Packer, records: bytes, t_us: int) -> bytes:
    """A block of records; t_us: the time that they reach."""
    return _block(RECORDS_MARK, packer.pack(records), len(records), t_us)


# ------------------------------------------------------------------ writing


class Writer:
    """Appends blocks to a file; packing, compressing and writing happen in a thread of its own.

    An earlier recording at `path` is replaced. Raises `RecordingError`: the file cannot be opened, is something else
    than a recording, or is being recorded to. When writing fails (a full disk) `error` says so in one line, the file
    ends with its last whole block, and nothing more is written.
    """

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        self.path = path
        self.error: str | None = None
        self.size = 0
        self._file = _create(path)
        self._write(header_block(header))
        self._queue: queue.Queue[tuple[bytes, int] | None] = queue.Queue(QUEUED)
        self._thread = threading.Thread(target=self._work, name="recording", daemon=True)
        self._thread.start()

    def put(self, records: bytes, t_us: int) -> None:
        """Queue one block; waits when the disk is behind by some."""
        self._queue.put((records, t_us))

    def close(self) -> None:
        """Write what is queued. May be called twice."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        self._file.close()

    def _work(self) -> None:
        packer = Packer()
        while (item := self._queue.get()) is not None:
            if self.error is not None:
                continue
            try:
                self._write(records_block(packer, *item))
            except (MemoryError, ValueError) as error:  # a thread that ends would leave `put` waiting
                self.error = f"{self.path}: {error!r}: the recording ends after {self.size} bytes"

    def _write(self, block: bytes) -> None:
        """All of it, or the file stays as it was."""
        rest = memoryview(block)
        try:
            while rest:
                rest = rest[os.write(self._file.fileno(), rest) :]
        except OSError as error:
            self.error = f"{self.path}: {error.strerror}: the recording ends after {self.size} bytes"
            with contextlib.suppress(OSError):
                os.ftruncate(self._file.fileno(), self.size)
        else:
            self.size += len(block)


def _create(path: Path) -> BinaryIO:
    """The file, emptied and locked."""
    try:
        file = open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "r+b", buffering=0)  # noqa: SIM115
    except OSError as error:
        raise RecordingError(f"{path}: cannot record there: {error.strerror}") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            found = os.pread(file.fileno(), len(MAGIC), 0)
            if found and not MAGIC.startswith(found):
                raise RecordingError(f"{path}: is there already and is no recording, expected a new file")
            os.ftruncate(file.fileno(), 0)
    except BlockingIOError:
        file.close()
        raise RecordingError(f"{path}: another program is recording to it, expected a file of its own") from None
    except BaseException:
        file.close()
        raise
    return file


# ------------------------------------------------------------------ reading


_SIZES = {
    int(lib.TAPE_TICK): (8,),
    int(lib.TAPE_TO_BOARD): range(2, BLOCK_MAX),
    int(lib.TAPE_FROM_BOARD): range(2, BLOCK_MAX),
    int(lib.TAPE_BOOT): (3, 3 + int(lib.WORLD_NVM_BYTES)),
    int(lib.TAPE_ABSENT): (2,),
    int(lib.TAPE_STEP): range(12, BLOCK_MAX),
    int(lib.TAPE_CUT): (6,),
    int(lib.TAPE_UPSET): (14,),
}


class Record(NamedTuple):
    """One record: csrc/world/world.cdef.h says what the bytes of each kind are."""

    kind: int
    body: bytes


class RecordedRig(NamedTuple):
    """What the header says of the rig, without its files."""

    name: str
    tick_us: int
    boards: list[tuple[str, str]]
    """role and link of each"""


class Recording:
    """A recording that is there. Raises `RecordingError`: no such file, no recording, another version, no header.

    `header` is what its writer knew at the start. After `blocks` has come to an end, `cut` is the number of bytes
    behind the last whole block: its writer was killed, or the file was cut.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cut = 0
        self.t_us = 0
        """Time that the blocks read so far reach."""
        try:
            self._file = open(path, "rb")  # noqa: SIM115
        except OSError as error:
            raise RecordingError(f"{path}: cannot be read: {error.strerror}") from None
        try:
            self.header = self._read_header()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def blocks(self) -> Iterator[bytes]:
        """The records of every whole block, in order. Raises `RecordingError` at a damaged one."""
        packer, number = Packer(), 1
        while (found := self._block(number)) is not None:
            mark, middle, size, t_us = found
            try:
                if mark != RECORDS_MARK:
                    raise ValueError
                records = packer.unpack(middle, size)
            except ValueError:
                raise self._damaged(number, "its records are malformed") from None
            yield records
            self.t_us = t_us
            number += 1

    def records(self) -> Iterator[Record]:
        """Every record of every whole block. Raises `RecordingError` also at a size that its kind cannot have."""
        for block in self.blocks():
            for record in records_of(block):
                if len(record.body) not in _SIZES.get(record.kind, (len(record.body),)):
                    n = len(record.body)
                    raise RecordingError(f"{self.path}: a record of kind {record.kind} has {n} bytes{self._reached()}")
                yield record

    def rig(self) -> RecordedRig:
        """Raises `RecordingError` when the header does not say it."""
        try:
            entry = self.header["rig"]
            boards = [(str(board["role"]), str(board["link"])) for board in entry["boards"]]
            rig = RecordedRig(str(entry["name"]), int(entry["tick_us"]), boards)
        except (KeyError, TypeError, ValueError) as error:
            raise RecordingError(f"{self.path}: the header's rig is malformed: {error!r}") from None
        if rig.tick_us <= 0 or not boards:
            raise RecordingError(f"{self.path}: the header's rig has {len(boards)} boards, a tick of {rig.tick_us} us")
        return rig

    def _read_header(self) -> dict[str, Any]:
        head = self._read(FILE_HEAD.size)
        if not head or not (head + MAGIC[len(head) :]).startswith(MAGIC):
            what = "is no recording" if head else "is empty"
            raise RecordingError(f"{self.path}: {what}, expected a file that --record wrote")
        if len(head) == FILE_HEAD.size and (version := FILE_HEAD.unpack(head)[1]) != VERSION:
            raise RecordingError(f"{self.path}: format {version}, this program reads format {VERSION}")
        block = self._block(0)
        if block is None:
            raise RecordingError(f"{self.path}: cut within its first block, nothing of it can be replayed")
        try:
            header = json.loads(block[1])
        except ValueError:
            header = None
        if block[0] != HEADER_MARK or not isinstance(header, dict):
            raise self._damaged(0, "it is no header")
        for name in ("board_bus", "software", "rig"):
            if not isinstance(header.get(name, {}), dict):
                raise self._damaged(0, f"its {name} is no object")
        return header

    def _block(self, number: int) -> tuple[bytes, bytes, int, int] | None:
        """(mark, bytes before zlib, bytes before packing, t_us) of the next block; None at the end, or at a cut."""
        self._at = self._file.tell()
        head = self._read(HEAD_BYTES)
        if len(head) < HEAD_BYTES:
            self.cut = len(head)
            return None
        if crc32c(head[: BLOCK_HEAD.size]) != HEAD_CRC.unpack_from(head, BLOCK_HEAD.size)[0]:
            raise self._damaged(number, "the CRC of its head differs")
        mark, length, middle_size, size, t_us, crc = BLOCK_HEAD.unpack_from(head)
        if max(length, middle_size, size) > BLOCK_MAX:
            raise self._damaged(number, "its length is out of range")
        body = self._read(length)
        if len(body) < length:
            self.cut = HEAD_BYTES + len(body)
            return None
        if crc32c(body) != crc:
            raise self._damaged(number, "its CRC differs")
        try:
            middle = zlib.decompressobj().decompress(body, middle_size or 1)
        except zlib.error:
            middle = b""
        if len(middle) != middle_size:
            raise self._damaged(number, "it cannot be decompressed")
        return mark, middle, size, t_us

    def _read(self, n: int) -> bytes:
        try:
            return self._file.read(n)
        except OSError as error:
            raise RecordingError(f"{self.path}: cannot be read: {error.strerror}") from None

    def _damaged(self, number: int, why: str) -> RecordingError:
        reached = self._reached() if number else ""
        return RecordingError(f"{self.path}: block {number} at byte {self._at} is damaged: {why}{reached}")

    def _reached(self) -> str:
        return f", after {self.t_us * 1e-6:.3f} s"


def records_of(block: bytes) -> Iterator[Record]:
    """The records of one block's bytes, which are whole."""
    at = 0
    while at < len(block):
        kind, n = RECORD_HEAD.unpack_from(block, at)
        at += RECORD_HEAD.size + n
        yield Record(kind, block[at - n : at])
