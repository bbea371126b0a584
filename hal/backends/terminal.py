"""What every back end on a terminal line shares: exclusive opening with pyserial, then select and os.read.

Measured on Linux (pseudo-terminal): ``read(4096)`` with a timeout adds the timeout to every frame, ``read(1)`` cannot
keep up with 1 Mbaud; select + os.read costs 0.05 ms a frame.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import termios

import serial

from hal import ports
from hal.errors import LinkDownError, PortError

READ_BYTES = 65_536
# A board that takes nothing for so long is taken as gone: the line is choked, not slow.
WRITE_GUARD_S = 5.0


def open_port(path: str, baud: int, what: str) -> serial.Serial:
    """Open a terminal line for this process alone. Raises `PortError` naming `what`: absent, busy, not permitted.

    A port that another process has open already is not touched, also when that one has not locked it.
    """
    holders = ports.HOST.holders(path)
    if holders:
        raise PortError(f"{what}: {path} is busy: {holders[0]} has it open, expected to have it alone", "busy")
    port = serial.Serial()
    port.port = path
    port.baudrate = baud
    port.timeout = 0
    port.exclusive = True  # flock: against those who ask for the lock
    # Opening raises both lines, which resets some boards.
    port.dtr = False
    port.rts = False
    try:
        port.open()
        fcntl.flock(port.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.ioctl(port.fileno(), termios.TIOCEXCL)  # and against all who do not, from now on
    except (OSError, serial.SerialException, ValueError, termios.error) as error:
        with contextlib.suppress(OSError, serial.SerialException):
            port.close()
        raise _reason(error, path, what) from None
    with contextlib.suppress(ValueError, OSError, NotImplementedError, AttributeError):
        port.set_low_latency_mode(True)  # only some drivers have one
    return port


def close_port(port: serial.Serial) -> None:
    """Let others have it again, at once: the next board to be plugged in would get another name."""
    with contextlib.suppress(OSError, serial.SerialException, termios.error):
        fcntl.ioctl(port.fileno(), termios.TIOCNXCL)
    with contextlib.suppress(OSError, serial.SerialException, termios.error):
        port.close()


def _reason(error: Exception, path: str, what: str) -> PortError:
    number = getattr(error, "errno", None)
    text = str(error)
    if number in (errno.EBUSY, errno.EAGAIN) or "lock port" in text or "busy" in text:
        return PortError(f"{what}: {path} is busy: another program has it open, expected to have it alone", "busy")
    if number == errno.ENOENT or "No such file" in text:
        return PortError(f"{what}: {path} is not there, expected a plugged-in board", "absent")
    if number in (errno.EACCES, errno.EPERM) or "ermission" in text:
        group = ports.group_of(path)
        cure = f"`sudo usermod -aG {group} $USER`, then log in again"
        why = f"no permission to open {path}, expected to be in its group {group}: {cure}"
        return PortError(f"{what}: {why}", "permission")
    return PortError(f"{what}: cannot open {path}: {text}", "other")


class TerminalLine:
    """An open terminal line as a `hal.link.Link`."""

    def __init__(self, url: str, port: serial.Serial, lossy: bool) -> None:
        self.url = url
        self.lossy = lossy
        self._port: serial.Serial | None = port
        self._fd: int = port.fileno()
        os.set_blocking(self._fd, False)

    def fileno(self) -> int:
        return self._fd

    def send(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:
                if not select.select([], [self._fd], [], WRITE_GUARD_S)[1]:
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

    def close(self) -> None:
        port, self._port, self._fd = self._port, None, -1
        if port is not None:
            close_port(port)

    def _down(self, why: str) -> None:
        self.close()
        raise LinkDownError(f"{self.url}: {why}")
