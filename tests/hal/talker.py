"""What the hal tests use in flight's place, and links that misbehave on purpose."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hal import frames as bus_frames
from hal import icd
from hal._native import lib
from hal.firmware import firmware_hash, read_image
from hal.link import Board, Link, open_link
from hal.rig import Rig, load_rig

RIG = """
name = "small"
satellite = "small.toml"
[orbit]
tle = "sentinel-1a.tle"
[boards.power]
link = "mock:"
[boards.nodes]
link = "mock:"
"""


def small_rig(folder: Path, more: str = "", nodes: int = 3) -> Rig:
    """A rig of a power board and a few nodes, with more TOML at its end."""
    shipped = Path(str(load_rig("demo").path)).parents[1] / "satellites" / "demo.toml"
    (folder / "small.toml").write_text(shipped.read_text().replace("count = 16", f"count = {nodes}"))
    (folder / "rig.toml").write_text(RIG + more)
    return load_rig(str(folder / "rig.toml"))


def frame(name: str, address: int, seq: int, t_us: int, source: int = icd.Address.FLIGHT, /, **values: object) -> bytes:
    """One frame on the wire."""
    return bus_frames.encode(name, source, address, seq, t_us, **values)


def frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(message type, payload) of every good frame."""
    return ((f.type, f.payload) for f in bus_frames.decode(data))


def split(data: bytes) -> tuple[list[bytes], bytes]:
    """The frames of undamaged bytes, each as on the wire, and the unfinished rest."""
    whole = []
    while (end := data.find(b"\0", 1)) > 0:
        whole.append(data[: end + 1])
        data = data[end + 1 :]
    return whole, data


def records(batch: bytes | memoryview) -> dict[int, bytes]:
    """Bytes per board index of a batch."""
    found: dict[int, bytes] = {}
    at = 0
    while at < len(batch):
        board, n = int.from_bytes(batch[at : at + 2], "little"), int.from_bytes(batch[at + 2 : at + 4], "little")
        found[board] = found.get(board, b"") + bytes(batch[at + 4 : at + 4 + n])
        at += 4 + n
    return found


def hello_of(board: Board, **changes: object) -> dict[str, object]:
    """What a board has to say to be this one, but for the changes."""
    right: dict[str, object] = {
        "kind": board.kind,
        "role": board.address,
        "hardware_id": board.hardware_id or bytes([board.address & 255, board.address >> 8]) * 6,
        "firmware_hash": firmware_hash(),
        "image_crc": read_image(board.image).crc if board.image else 0,
        "icd_hash": icd.ICD_HASH,
        "boot_count": 1,
        "reset_cause": 1,
        "capabilities": 1,
    }
    return right | changes


@dataclass
class Talker:
    """Speaks to every board by a fixed script, so that runs can be compared; keeps all that it hears."""

    nodes: int
    heard: list[dict[int, bytes]] = field(default_factory=list)
    _seq: dict[int, int] = field(default_factory=dict)
    _command: int = 0

    def __call__(self, t_us: int, batch: memoryview) -> bytes:
        self.heard.append(records(batch))
        tick = len(self.heard)
        out = b""
        for board in range(self.nodes + 1):
            data = b"".join(self._say(board, tick, t_us))
            if data:
                out += board.to_bytes(2, "little") + len(data).to_bytes(2, "little") + data
        return out

    def _frame(self, kind: str, board: int, t_us: int, **values: object) -> bytes:
        address = int(lib.bus_address_of(board))
        seq = self._seq.get(board, 0) if kind != "hello_req" else 0  # not counted by either end
        self._seq[board] = self._seq.get(board, 0) + (kind != "hello_req")
        return frame(kind, address, seq, t_us, **values)

    def _command_frame(self, kind: str, board: int, t_us: int, **values: object) -> bytes:
        self._command += 1
        return self._frame(kind, board, t_us, session=1, command_seq=self._command, **values)

    def _say(self, board: int, tick: int, t_us: int) -> Iterator[bytes]:
        if tick in (1, 30):
            yield self._frame("hello_req", board, t_us)
        if board and tick == 3:
            limits = {"die_limit_cdeg": 8300, "hbm_limit_cdeg": 9500, "bus_min_mv": 60000, "latch_up_ma": 12500}
            watts = {"floor_mw": 120_000, "max_mw": 800_000}
            times = {"boot_ms": 5000, "clock_max_mhz": 1980, "hang_ms": 2000}
            yield self._command_frame("node_config", board, t_us, **watts, **limits, **times)
        if board and tick > 3 and tick % 10 == 0:
            expiry = t_us + 3_000_000
            yield self._frame(
                "lease", board, t_us, session=1, lease_seq=tick, cap_mw=300_000, expiry_us=expiry, clock_mhz=0
            )
        if board == 1 and tick == 50:
            yield self._command_frame("reset", board, t_us)

    def of_type(self, kind: str, board: int) -> list[bytes]:
        """Payloads of one message type that this board sent."""
        number = getattr(lib, f"BUS_MSG_{kind.upper()}")
        return [p for heard in self.heard for n, p in frames(heard.get(board, b"")) if n == number]


class Wrapped:
    """A link around another; subclasses misbehave."""

    def __init__(self, inner: Link) -> None:
        self.inner = inner
        self.url = inner.url
        self.lossy = inner.lossy

    def fileno(self) -> int:
        return self.inner.fileno()

    def send(self, data: bytes) -> None:
        self.inner.send(data)

    def recv(self) -> bytes:
        return self.inner.recv()

    def close(self) -> None:
        self.inner.close()


class Chopped(Wrapped):
    """Passes bytes on in pieces of random size, both ways. Only for links that are waited for by descriptor."""

    def __init__(self, inner: Link, seed: int) -> None:
        super().__init__(inner)
        self._random = random.Random(seed)

    def send(self, data: bytes) -> None:
        while data:
            n = self._random.randint(1, 40)
            self.inner.send(data[:n])
            data = data[n:]


Change = Callable[[bytes], bytes]


class Damaged(Wrapped):
    """Changes what passes with `to_board` or `from_board`; says of itself that it is lossy."""

    def __init__(self, inner: Link, to_board: Change = bytes, from_board: Change = bytes) -> None:
        super().__init__(inner)
        self.lossy = True
        self.to_board, self.from_board = to_board, from_board

    def send(self, data: bytes) -> None:
        self.inner.send(self.to_board(data))

    def recv(self) -> bytes:
        return self.from_board(self.inner.recv())


def chopping(seed: int) -> Callable[[str, Board], Link]:
    """An opener whose links pass bytes on in small pieces."""
    return lambda url, board: Chopped(open_link(url, board), seed + board.address)
