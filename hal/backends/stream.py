"""A line over a file descriptor (terminal or socket): select, os.read and os.write, and what its end looks like.

Measured on Linux (pseudo-terminal): ``read(4096)`` with a timeout adds the timeout to every frame, ``read(1)`` cannot
keep up with 1 Mbaud; select + os.read costs 0.05 ms a frame.
"""

from __future__ import annotations

import os
import select
from abc import ABC, abstractmethod
from typing import NoReturn

from hal.errors import LinkDownError

READ_BYTES = 65_536
# A board that takes nothing for so long is taken as gone: the line is choked, not slow.
WRITE_GUARD_S = 5.0


def takes_bytes(fd: int, timeout_s: float = 0) -> bool:
    """Whether bytes can be written to `fd`, within this time. (select takes only the first 1024 descriptors.)"""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(timeout_s * 1000))


class StreamLine(ABC):
    """An open descriptor as a `hal.link.Link`. Subclasses own what is behind it, and close that too."""

    def __init__(self, url: str, fd: int, lossy: bool) -> None:
        self.url = url
        self.lossy = lossy
        self._fd = fd
        os.set_blocking(fd, False)

    def fileno(self) -> int:
        return self._fd

    def send(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:
                if not takes_bytes(self._fd, WRITE_GUARD_S):
                    self._down(f"took no byte for {WRITE_GUARD_S:g} s")
            except OSError as error:
                self._down(error.strerror or str(error))

    def recv(self) -> bytes:
        try:
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return b""
        except OSError as error:
            self._down(error.strerror or str(error))
        if not data:
            self._down("end of the line")
        return data

    @abstractmethod
    def close(self) -> None:
        """Let go of the descriptor, which is -1 from then on. May be called twice."""

    def _down(self, why: str) -> NoReturn:
        self.close()
        raise LinkDownError(f"{self.url}: {why}")
