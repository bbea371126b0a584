"""The radio: space packets over TCP on the loopback interface, to any number of ground stations.

Telecommands are cut from whatever arrives; garbage is skipped and counted. Every station gets all telemetry; each has a
bounded outbox, and whole runs of packets that do not fit are dropped and counted. A station may hold time: `held` then
says that the satellite may run up to `go_us` and no further.
"""

from __future__ import annotations

import contextlib
import ipaddress
import select
import socket
from collections.abc import Iterator
from typing import Protocol

from flight import icd
from flight._native import ffi, lib
from flight.errors import RadioError
from flight.telecommand import Telecommand, from_packet

OUTBOX_BYTES = 4 << 20
STATIONS_MAX = 8
READ_BYTES = 65_536
WAIT_S = 1.0
_APIDS = ffi.new("uint16_t[]", [int(icd.Apid.FLIGHT), int(icd.Apid.RADIO)])
_RADIO = int(icd.Apid.RADIO)
_HOLD, _GO = icd.COMMANDS["link_hold"], icd.COMMANDS["link_go"]
_TIME = icd.PACKETS["link_time"]


def parse_address(text: str) -> tuple[str, int]:
    """HOST and PORT of tcp:HOST:PORT. Raises `RadioError`; commands are not authenticated yet, so loopback only."""
    scheme, _, rest = text.partition(":")
    host, _, port = rest.rpartition(":")
    if scheme != "tcp" or not host or not port.isdecimal() or int(port) > 65535:
        raise RadioError(f"radio '{text}' is not an address, expected tcp:127.0.0.1:PORT")
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise RadioError(f"radio '{text}' is not on the loopback interface, expected tcp:127.0.0.1:PORT")
    return host.strip("[]"), int(port)


class GroundLink(Protocol):
    """What the rest of flight knows of a radio."""

    @property
    def dropped(self) -> int:
        """Packets that a station had no place for."""
        ...

    @property
    def skipped_bytes(self) -> int:
        """Bytes that were no telecommand."""
        ...

    @property
    def stations(self) -> int:
        """How many are connected."""
        ...

    @property
    def held(self) -> bool:
        """A station holds time."""
        ...

    @property
    def go_us(self) -> int:
        """How far the holder lets the satellite run."""
        ...

    def poll(self, wait_s: float = 0.0) -> list[Telecommand]:
        """Everything that has arrived, in order; waits for the first byte for up to wait_s."""
        ...

    def send(self, packets: bytes, count: int) -> None:
        """So many whole packets to every station."""
        ...

    def tell_time(self, t_us: int) -> None:
        """The holder learns where the satellite stands."""
        ...

    def close(self) -> None:
        """Close every line. May be called twice."""
        ...


class _Station:
    """One connected ground station."""

    def __init__(self, line: socket.socket) -> None:
        self.line = line
        self.outbox = bytearray()
        self.splitter = ffi.new("struct space_splitter *")
        lib.space_splitter_init(self.splitter, lib.SPACE_TC, _APIDS, 2)

    def packets(self, data: bytes) -> Iterator[Telecommand]:
        buffer = ffi.from_buffer("uint8_t[]", data)
        at = ffi.new("const uint8_t **", buffer)
        packet = ffi.new("struct space_packet *")
        while lib.space_splitter_next(self.splitter, at, buffer + len(data), packet) == lib.SPACE_SPLITTER_PACKET:
            yield from_packet(packet)


class Radio:
    """Listens at (host, port); port 0 takes a free one (`port`). Raises `RadioError` when the port is in use."""

    def __init__(self, host: str, port: int) -> None:
        self.dropped = 0
        """Packets that a station's full outbox had no place for."""
        self._skipped = 0
        self._stations: dict[int, _Station] = {}
        self._holder: _Station | None = None
        self._go_us = 0
        self._asked = False  # the holder waits for link_time
        self._sequence = 0
        self._header = ffi.new("struct space_header *")
        self._wire = ffi.new("uint8_t[]", lib.SPACE_PACKET_MAX)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind((host, port))
            self._listener.listen(STATIONS_MAX)
        except OSError as error:
            self._listener.close()
            raise RadioError(f"radio tcp:{host}:{port}: {error.strerror}") from None
        self._listener.setblocking(False)
        self.port = int(self._listener.getsockname()[1])
        self._poll = select.poll()
        self._poll.register(self._listener, select.POLLIN)

    def close(self) -> None:
        """Close every line. May be called twice."""
        for number in list(self._stations):
            self._drop(number)
        self._listener.close()

    @property
    def stations(self) -> int:
        """How many are connected."""
        return len(self._stations)

    @property
    def skipped_bytes(self) -> int:
        """Bytes that were no telecommand."""
        return self._skipped + sum(int(s.splitter.skipped_bytes) for s in self._stations.values())

    @property
    def held(self) -> bool:
        """A station holds time."""
        return self._holder is not None

    @property
    def go_us(self) -> int:
        """How far the holder lets the satellite run."""
        return self._go_us

    # ------------------------------------------------------------ in
    def poll(self, wait_s: float = 0.0) -> list[Telecommand]:
        """Everything that has arrived for the dispatcher, in order; waits for the first byte for up to wait_s."""
        received: list[Telecommand] = []
        for number, _ in self._poll.poll(wait_s * 1000):
            if number == self._listener.fileno():
                self._accept()
            elif number in self._stations:
                received += self._read(number)
        return received

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            line, _ = self._listener.accept()
            if len(self._stations) >= STATIONS_MAX:
                line.close()
                return
            line.setblocking(False)
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._stations[line.fileno()] = _Station(line)
            self._poll.register(line, select.POLLIN)

    def _read(self, number: int) -> list[Telecommand]:
        station = self._stations[number]
        self._write(number, station)
        if number not in self._stations:
            return []
        try:
            data = station.line.recv(READ_BYTES)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self._drop(number)
            return []
        received = []
        for tc in station.packets(data):
            if tc.apid == _RADIO:
                self._control(station, tc)
            else:
                received.append(tc)
        return received

    def _control(self, station: _Station, tc: Telecommand) -> None:
        """link_hold and link_go: they never reach the dispatcher, and anything malformed is ignored."""
        with contextlib.suppress(icd.IcdError):
            if (tc.service, tc.subtype) == (_HOLD.service, _HOLD.subtype):
                self._hold(station, icd.decode("link_hold", tc.data)["hold"] == 1)
            elif (tc.service, tc.subtype) == (_GO.service, _GO.subtype) and station is self._holder:
                self._go_us = icd.decode("link_go", tc.data)["t_us"]
                self._asked = True

    def _hold(self, station: _Station, hold: bool) -> None:
        if hold and self._holder is None:
            self._holder = station
            self._go_us = 0
            self._asked = True
        elif not hold and self._holder is station:
            self._holder = None

    def _drop(self, number: int) -> None:
        station = self._stations.pop(number)
        self._skipped += station.splitter.skipped_bytes
        if self._holder is station:
            self._holder = None
        self._poll.unregister(number)
        station.line.close()

    # ------------------------------------------------------------ out
    def send(self, packets: bytes, count: int) -> None:
        """So many whole packets to every station."""
        for number, station in list(self._stations.items()):
            if len(station.outbox) + len(packets) > OUTBOX_BYTES:
                self.dropped += count
                continue
            station.outbox += packets
            self._write(number, station)

    def tell_time(self, t_us: int) -> None:
        """The holder learns where the satellite stands, once for each time that it asked."""
        station = self._holder
        if station is None or not self._asked:
            return
        self._asked = False
        data = icd.encode("link_time", t_us=t_us, holding=1)
        h = self._header
        h.type, h.apid, h.service, h.subtype = lib.SPACE_TM, _RADIO, _TIME.service, _TIME.subtype
        h.sequence, h.message_count, h.t_us = self._sequence & 0x3FFF, self._sequence & 0xFFFF, t_us
        self._sequence += 1
        size = lib.space_packet_pack(h, data, len(data), self._wire)
        station.outbox += ffi.buffer(self._wire, size)[:]
        self._write(station.line.fileno(), station)

    def _write(self, number: int, station: _Station) -> None:
        if not station.outbox:
            return
        try:
            sent = station.line.send(station.outbox)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._drop(number)
            return
        del station.outbox[:sent]
        self._poll.modify(number, select.POLLIN | (select.POLLOUT if station.outbox else 0))
