"""The radio of tests.ground.satellite: a TCP server on loopback, in a thread, that holds time for one station."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable

from ground import icd, packets
from ground.packets import Splitter
from tests.ground.satellite import Satellite

LIVE_WAIT_S = 0.001  # between two seconds of a satellite that nobody holds


class Radio:
    """Serves one satellite until closed; it moves while a station holds it, or, if it is `live`, while one is there.

    `damage` changes downlinked bytes; `end_s` is when the satellite goes.
    """

    def __init__(
        self,
        satellite: Satellite,
        damage: Callable[[bytes], bytes] | None = None,
        end_s: float | None = None,
        port: int = 0,
        live: bool = False,
    ) -> None:
        self.satellite = satellite
        self._damage = damage
        self._live = live
        self._end_us = None if end_s is None else round(end_s * 1e6)
        self._listener = socket.create_server(("127.0.0.1", port))
        self.url = f"tcp:127.0.0.1:{self._listener.getsockname()[1]}"
        self._wake, self._waker = socket.socketpair()
        self._clients: dict[socket.socket, Splitter] = {}
        self._holder: socket.socket | None = None
        self._go_us = 0
        self._drop = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> Radio:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._stop.set()
        self._waker.send(b"x")
        self._thread.join(10)
        for open_socket in (self._listener, self._wake, self._waker):
            open_socket.close()

    def drop_clients(self) -> None:
        """Ends every connection, as a flight computer does that restarts."""
        self._drop.set()
        self._waker.send(b"x")

    def _serve(self) -> None:
        while not self._stop.is_set() and not self._ended():
            moving = self._moving()
            timeout = None if not moving else LIVE_WAIT_S if self._holder is None else 0.0
            ready, _, _ = select.select([self._listener, self._wake, *self._clients], [], [], timeout)
            for source in ready:
                self._read(source)
            if moving:
                self._run()
        self._listener.close()
        for client in list(self._clients):
            self._remove(client)

    def _moving(self) -> bool:
        if self._holder is not None:
            return self.satellite.t_us < self._go_us
        return self._live and bool(self._clients)

    def _ended(self) -> bool:
        return self._end_us is not None and self.satellite.t_us >= self._end_us

    def _read(self, source: socket.socket) -> None:
        if source is self._listener:
            client, _ = self._listener.accept()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._clients[client] = Splitter(packets.TC)
        elif source is self._wake:
            self._wake.recv(16)
            if self._drop.is_set():
                self._drop.clear()
                for client in list(self._clients):
                    self._remove(client)
        elif source in self._clients:
            try:
                data = source.recv(1 << 16)
            except ConnectionError:
                data = b""
            if not data:
                self._remove(source)
            for packet in self._clients[source].feed(data) if data else ():
                self._telecommand(source, packet)

    def _telecommand(self, client: socket.socket, packet: packets.Packet) -> None:
        if packet.apid != icd.Apid.RADIO:
            self.satellite.telecommand(packet)
        elif packet.subtype == icd.COMMANDS["link_hold"].subtype:
            hold = icd.decode("link_hold", packet.data)["hold"]
            self._holder = client if hold else None
            if hold:
                self._tell_time()
        else:
            self._go_us = icd.decode("link_go", packet.data)["t_us"]
            if self._go_us <= self.satellite.t_us:
                self._tell_time()

    def _run(self) -> None:
        target = self._go_us if self._holder else self.satellite.t_us + 1_000_000
        self.satellite.step(target)
        self._downlink()
        if self._holder and self.satellite.t_us >= self._go_us:
            self._tell_time()

    def _tell_time(self) -> None:
        self._go_us = self.satellite.t_us
        self._downlink()
        self.satellite.send("link_time", t_us=self.satellite.t_us, holding=1)
        assert self._holder is not None
        self._send(self._holder, self.satellite.take())

    def _downlink(self) -> None:
        data = self.satellite.take()
        if self._damage:
            data = self._damage(data)
        for client in list(self._clients):
            self._send(client, data)

    def _send(self, client: socket.socket, data: bytes) -> None:
        try:
            client.sendall(data)
        except OSError:
            self._remove(client)

    def _remove(self, client: socket.socket) -> None:
        self._clients.pop(client, None)
        if self._holder is client:
            self._holder = None
        client.close()
