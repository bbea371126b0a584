"""The line to a satellite's radio: bytes out, bytes in. Only this module opens a socket or reads a clock."""

import contextlib
import select
import socket
import time

from ground.errors import LinkError, UsageError

DEFAULT_URL = "tcp:127.0.0.1:10025"
_RETRY_S = 0.02
_CHUNK_BYTES = 1 << 16


def wall_s() -> float:
    """Wall-clock seconds, for guards against silence and for the pace of displays; never for telemetry."""
    return time.monotonic()


def parse_url(url: str) -> tuple[str, int]:
    """Host and port of tcp:HOST:PORT. Raises UsageError."""
    scheme, _, rest = url.partition(":")
    host, _, port = rest.rpartition(":")
    if scheme != "tcp" or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UsageError(f"station {url!r}: expected tcp:HOST:PORT, like {DEFAULT_URL}")
    return host, int(port)


class Link:
    """A TCP connection to a radio. Reads never block longer than they are told to."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._address = parse_url(url)
        self._socket: socket.socket | None = None

    @property
    def up(self) -> bool:
        """Whether there is a connection."""
        return self._socket is not None

    def open(self, within_s: float) -> None:
        """Connects, trying again until within_s of wall-clock time are over. Raises LinkError."""
        deadline = wall_s() + within_s
        while not self.try_open():
            if wall_s() >= deadline:
                raise LinkError(
                    f"no satellite at {self.url}: {self._why} (a flight run with --radio {self.url} listens there)"
                )
            time.sleep(_RETRY_S)

    def try_open(self) -> bool:
        """One attempt to connect."""
        self.close()
        try:
            self._socket = socket.create_connection(self._address, timeout=2.0)
        except OSError as error:
            self._why = (error.strerror or str(error)).lower()
            return False
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.settimeout(None)
        return True

    def send(self, data: bytes) -> None:
        """Sends all bytes. Raises LinkError when the line has ended."""
        try:
            if self._socket is None:
                raise ConnectionResetError("not connected")
            self._socket.sendall(data)
        except OSError as error:
            self.close()
            raise LinkError(f"the link to {self.url} ended while sending: {error}") from None

    def receive(self, timeout_s: float) -> bytes | None:
        """What has arrived, waiting up to timeout_s for it: b"" if nothing did, None if the line has ended."""
        if self._socket is None:
            return None
        ready, _, _ = select.select([self._socket], [], [], timeout_s)
        if not ready:
            return b""
        try:
            data = self._socket.recv(_CHUNK_BYTES)
        except OSError:
            data = b""
        if not data:
            self.close()
            return None
        return data

    def close(self) -> None:
        """Ends the connection; a closed link may be opened again."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
        self._socket = None
