"""Recorded flights, and recordings that somebody has changed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from flight.executive import Executive
from flight.replay.recorder import RecordedPacing, RecordedStorage, Recorder
from flight.telecommand import Telecommand
from hal.recording import RECORD_HEAD, Packer, Record, Recording, header_block, records_block, records_of
from hal.rig import Rig, load_rig
from hal.tape import Tape, header_of
from hal.world import World

FAULTS = """
[[fault]]
kind = "off"
board = "node1"
at_s = 20.0
for_s = 10.0
[[fault]]
kind = "string_open"
index = 0
at_s = 25.0
"""


def desk(folder: Path, more: str = "") -> Rig:
    """The desk with more in its file."""
    shipped = load_rig("desk").path.read_text(encoding="utf-8")
    path = folder / "desk.toml"
    path.write_text(shipped + more, encoding="utf-8")
    return load_rig(str(path))


class Flight:
    """A flight in this process, recorded; ends in order as a context manager, or is left as it is."""

    def __init__(self, path: Path, rig: Rig, storage: Path | None = None, backend: str | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.failures: list[str] = []
        self.tape = Tape(path, header_of(rig, {}), self.failures.append)
        self.world = World(rig, backend, tape=self.tape)
        self.recorder = Recorder()
        self.storage = RecordedStorage(storage or Path(self._folder.name), self.recorder)
        port = self.recorder.start(self.tape, self.world, self.storage, timeline=True)
        pacing = RecordedPacing(None, self.recorder)
        self.executive = Executive(port, self.storage, pacing=pacing, timeline=rig.timeline, tap=self.recorder.packets)
        self.recorder.follow(self.executive)

    def __enter__(self) -> Flight:
        return self

    def __exit__(self, *_: object) -> None:
        self.executive.close()
        self.recorder.finish()
        self.world.close()
        self.tape.close()
        self._folder.cleanup()

    def run(self, seconds: float) -> None:
        self.executive.run(self.world.t_us + round(seconds * 1e6))


def blocks(path: Path) -> list[list[Record]]:
    """The records of each block."""
    with Recording(path) as recording:
        return [list(records_of(block)) for block in recording.blocks()]


def write(path: Path, original: Path, content: list[list[Record]]) -> None:
    """A recording with the header of another one, and these blocks, all of them sound."""
    with Recording(original) as recording:
        header = recording.header
    packer = Packer()
    data = [b"".join(RECORD_HEAD.pack(r.kind, len(r.body)) + r.body for r in block) for block in content]
    path.write_bytes(header_block(header) + b"".join(records_block(packer, block, 0) for block in data))


def change(content: list[list[Record]], number: int, how: Callable[[bytes], bytes]) -> list[list[Record]]:
    """The same blocks with the body of one record, counted through, changed."""

    def each() -> Iterator[list[Record]]:
        at = 0
        for block in content:
            i = number - at
            at += len(block)
            if 0 <= i < len(block):
                yield [*block[:i], block[i]._replace(body=how(block[i].body)), *block[i + 1 :]]
            else:
                yield block

    return list(each())


class Ground:
    """A ground station that holds time: commands by the time at which they are sent, and moments at which it merely
    stands still."""

    held = True
    stations = 1
    dropped = skipped_bytes = 0

    def __init__(self, commands: dict[int, Telecommand], stops: Iterable[int]) -> None:
        self._commands = dict(commands)
        self._stops = sorted({*commands, *stops})

    @property
    def go_us(self) -> int:
        return self._stops[0] if self._stops else 1 << 62

    def poll(self, wait_s: float = 0.0) -> list[Telecommand]:
        if wait_s == 0:
            return []
        command = self._commands.pop(self._stops.pop(0), None)
        return [command] if command is not None else []

    def send(self, packets: bytes, count: int) -> None:
        pass

    def tell_time(self, t_us: int) -> None:
        pass

    def close(self) -> None:
        pass
