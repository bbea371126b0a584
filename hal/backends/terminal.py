"""What every back end on a terminal line shares: exclusive opening with pyserial."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import termios

import serial

from hal import ports
from hal.backends.stream import StreamLine
from hal.errors import PortError


def open_free_port(path: str, baud: int, what: str) -> serial.Serial:
    """As `open_port`, for a port that may be anybody's: one that another process has open already is not touched, also
    when that one has not locked it."""
    holders = ports.HOST.holders(path)
    if holders:
        raise PortError(f"{what}: {path} is busy: {holders[0]} has it open, expected to have it alone", "busy")
    return open_port(path, baud, what)


def open_port(path: str, baud: int, what: str) -> serial.Serial:
    """Open a terminal line; from then on it is this process's alone. Raises `PortError` naming `what`: absent, busy, no
    permission."""
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
        termios.tcflush(
            port.fileno(), termios.TCOFLUSH
        )  # else closing waits, up to 30 s, for a board that takes nothing
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


class TerminalLine(StreamLine):
    """An open terminal line as a `hal.link.Link`."""

    def __init__(self, url: str, port: serial.Serial, lossy: bool) -> None:
        super().__init__(url, port.fileno(), lossy)
        self._port: serial.Serial | None = port

    def close(self) -> None:
        port, self._port, self._fd = self._port, None, -1
        if port is not None:
            close_port(port)
