"""ARM semihosting for an emulated core: what the host does when firmware executes BKPT 0xAB."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import unicorn


class Memory(Protocol):
    """The core's memory. Both raise `unicorn.UcError` where it has none."""

    def load(self, address: int, n: int) -> bytes: ...

    def store(self, address: int, data: bytes) -> None: ...


@dataclass
class Host:
    """What semihosting gives the firmware: a command line and one file, opened when the firmware asks for it.

    The file keeps its length, and a wild call (a program that has gone astray) does no harm.
    """

    command_line: str
    file: Path
    fd: int = -1
    at: int = 0

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def call(self, core: Memory, operation: int, block: int) -> int:
        """One call of ARM semihosting. Returns what goes into r0; -1 for what is not offered, or not possible."""
        try:
            return self._call(core, operation, *struct.unpack("<III", core.load(block, 12)))
        except unicorn.UcError:
            return -1

    def _call(self, core: Memory, operation: int, a: int, b: int, c: int) -> int:
        match operation:
            case 0x15:  # SYS_GET_CMDLINE
                text = self.command_line.encode() + b"\0"
                if len(text) > b:
                    return -1
                core.store(a, text)
                return 0
            case 0x01:  # SYS_OPEN
                self.close()
                self.fd = os.open(self.file, os.O_RDWR | os.O_CLOEXEC)
                return self.fd
            case 0x0A:  # SYS_SEEK
                self.at = b
                return 0
            case 0x06:  # SYS_READ: how many bytes were not read
                data = os.pread(self.fd, self._within(c), self.at)
                core.store(b, data)
                return c - len(data)
            case 0x05:  # SYS_WRITE
                return c - os.pwrite(self.fd, core.load(b, self._within(c)), self.at)
        return -1

    def _within(self, n: int) -> int:
        """How many of n bytes lie in the file."""
        return min(n, max(os.fstat(self.fd).st_size - self.at, 0)) if self.fd >= 0 else 0

    def content(self) -> bytes:
        """All of the file."""
        return self.file.read_bytes() if self.fd < 0 else os.pread(self.fd, os.fstat(self.fd).st_size, 0)

    def set_content(self, data: bytes) -> None:
        """Overwrite the file."""
        if self.fd < 0:
            self.file.write_bytes(data)
        else:
            os.pwrite(self.fd, data, 0)
