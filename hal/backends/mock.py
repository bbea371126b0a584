"""``mock:``: the board code in this process. It answers before `send` returns."""

from __future__ import annotations

from typing import Any

from hal._native import ffi, lib
from hal.errors import LinkDownError, LinkError, WorldError
from hal.link import Board, Link, Url


class MockLine:
    """A board in this process as a `hal.link.Link`. (A world steps its mocks in C, without this.)"""

    def __init__(self, url: str, board: Board) -> None:
        self.url = url
        self.lossy = False
        self._nvm = board.nvm
        self._mock: Any = ffi.gc(lib.mock_create(board.kind, board.address, board.hardware_id), lib.mock_destroy)
        if self._mock == ffi.NULL:
            raise LinkError(f"{url} ({board.role}): no board of kind {board.kind}")
        self._memory = ffi.buffer(lib.mock_nvm(self._mock), lib.WORLD_NVM_BYTES)
        if self._nvm is not None and self._nvm.exists():
            self._memory[:] = self._nvm.read_bytes()
        lib.mock_boot(self._mock, board.cause)

    def fileno(self) -> int:
        return -1

    def send(self, data: bytes) -> None:
        self._alive()
        lib.mock_receive(self._mock, data, len(data))

    def recv(self) -> bytes:
        self._alive()
        out = ffi.new("uint8_t **")
        n = lib.mock_take(self._mock, out)
        return bytes(ffi.buffer(out[0], n))

    def close(self) -> None:
        if self._mock is not None and self._nvm is not None:
            self._nvm.write_bytes(self._memory[:])
        self._mock = None

    def inject(self, kind: str, value: float, seed: int) -> None:
        """Bit flips (`hal.link.Injectable`)."""
        self._alive()
        if kind != "bit_flip":
            raise WorldError(f"{self.url}: {kind} cannot be injected over a link")
        lib.mock_flip(self._mock, int(value), seed)

    def _alive(self) -> None:
        if self._mock is None:
            raise LinkDownError(f"{self.url}: closed")


def open_link(url: Url, board: Board) -> Link:
    """Boot a board in this process."""
    return MockLine(url.text, board)
