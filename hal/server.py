"""The world as a process of its own: one flight computer joins over a socket and is a participant at the barrier.

When the flight computer's socket closes (it ended, or was killed), the world runs on without it for the rig's
``flight_absent_s`` of simulated time, at real-time pace by default, and then holds until a flight computer joins.
Before the first one joins it holds, too. Control connections ask for the score, or switch boards, at any time.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import socket
import stat
import struct
import time
from pathlib import Path
from typing import Any

from hal._native import lib
from hal.errors import HalError, WorldError
from hal.fault_kinds import Fault
from hal.pacing import Pacer
from hal.strict import build
from hal.wire import PROTOCOL, TICK_HEAD, Channel, ClosedError, Kind, parse_json
from hal.world import World

SEND_BUFFER_BYTES = 1 << 20
SEND_GUARD = struct.pack("@ll", 2, 0)
"""struct timeval: a client that has not taken what fills its buffer for so long is let go."""
POLL_S = 0.2
READ_ONLY = ("score", "status")
"""Requests that are answered at once, within a tick as well."""


class Server:
    """Serves one world at one socket path. Raises `WorldError` when the path is taken.

    speed: simulated over real time while a flight computer is there; absent_speed: while it is gone; None: no pacing.
    """

    def __init__(self, world: World, path: Path, speed: float | None = None, absent_speed: float | None = 1.0) -> None:
        self.world = world
        self.path = path
        self._pacers = {True: Pacer(speed, sleep=self._nap), False: Pacer(absent_speed, sleep=self._nap)}
        self._paced: bool | None = None
        self._lock, self._listener = _listen(path)
        self._flight: Channel | None = None
        self._joined = False
        self._answer_bytes = int(lib.world_answer(world.pointer).capacity)
        self._gone_us = 0
        self._controls: list[Channel] = []
        self._newcomers: list[Channel] = []
        self._pending: list[tuple[Channel, dict[str, Any]]] = []
        self._stopped = False

    def stop(self) -> None:
        """End `serve` at the next moment. Safe in a signal handler."""
        self._stopped = True

    def serve(self, for_s: float | None = None) -> None:
        """Until `stop`, or until `for_s` of simulated time have passed."""
        while not self._stopped and (for_s is None or self.world.t_us < for_s * 1e6):
            self._service(0)
            self._requests()
            if self._holding():
                self._paced = None
                self._service(POLL_S)
                continue
            self._pace()
            if not self._stopped:
                self.world.step(self._participant)

    def close(self) -> None:
        """Close every connection and remove the socket. The world is the caller's to close."""
        for channel in [*self._controls, *self._newcomers, *([self._flight] if self._flight else [])]:
            channel.close()
        self._listener.close()
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        os.close(self._lock)

    # ------------------------------------------------------------ time
    def _holding(self) -> bool:
        if self._flight is not None:
            return False
        return not self._joined or self.world.t_us - self._gone_us >= self.world.rig.flight_absent_s * 1e6

    def _pace(self) -> None:
        """Wait for the moment of the next tick; connections are served meanwhile."""
        here = self._flight is not None
        pacer = self._pacers[here]
        if here is not self._paced:
            self._paced = here
            pacer.restart(self.world.t_us)
        pacer.wait_until(self.world.t_us + self.world.tick_us)
        self.world.late_ticks = sum(p.late_ticks for p in self._pacers.values())

    def _nap(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopped and (remaining := until - time.monotonic()) > 0:
            self._service(min(remaining, POLL_S))

    # ------------------------------------------------------------ the barrier
    def _participant(self, t_us: int, records: memoryview) -> bytes:
        """Flight's part of a tick: nothing when it is not there, or goes while it is waited for."""
        if self._flight is None:
            return b""
        try:
            self._flight.send(Kind.TICK, TICK_HEAD.pack(t_us, self.world.late_ticks) + records)
            while not self._stopped and (flight := self._flight) is not None:
                message = flight.take()
                if message is None:
                    self._service(POLL_S)
                elif message[0] == Kind.STEP and len(message[1]) <= self._answer_bytes:
                    return message[1]
                else:
                    raise ClosedError(f"unexpected {message[0].name}, expected a step")
        except ClosedError:
            self._lose_flight()
        return b""

    def _lose_flight(self) -> None:
        if self._flight is not None:
            self._flight.close()
            self._flight = None
            self._gone_us = self.world.t_us

    # ------------------------------------------------------------ connections
    def _service(self, timeout_s: float) -> None:
        """Take in what has arrived on any connection."""
        flight = [self._flight] if self._flight is not None else []
        by_fd = {channel.fileno(): channel for channel in (*flight, *self._controls, *self._newcomers)}
        poll = select.poll()
        for fd in (self._listener.fileno(), *by_fd):
            poll.register(fd, select.POLLIN)
        for fd, _ in poll.poll(timeout_s * 1000):
            if fd in by_fd:
                self._read(by_fd[fd])
            else:
                self._accept()

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return  # it gave up before it was served
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, SEND_GUARD)
        self._newcomers.append(Channel(sock))

    def _read(self, channel: Channel) -> None:
        try:
            channel.fill()
            if channel is self._flight:
                return  # its messages are taken at the barrier
            while (message := channel.take()) is not None:
                self._message(channel, *message)
        except ClosedError:
            self._forget(channel)

    def _forget(self, channel: Channel) -> None:
        if channel is self._flight:
            self._lose_flight()
            return
        channel.close()
        self._controls = [c for c in self._controls if c is not channel]
        self._newcomers = [c for c in self._newcomers if c is not channel]
        self._pending = [(c, r) for c, r in self._pending if c is not channel]

    def _message(self, channel: Channel, kind: Kind, body: bytes) -> None:
        value = parse_json(body)
        if channel in self._newcomers and kind == Kind.HELLO:
            self._welcome(channel, value)
        elif channel in self._controls and kind == Kind.REQUEST:
            self._pending.append((channel, value))
            if value.get("do") in READ_ONLY:
                self._requests()
        else:
            raise ClosedError(f"unexpected {kind.name}")

    def _welcome(self, channel: Channel, hello: dict[str, Any]) -> None:
        ours = f"{lib.world_icd_hash():016x}"
        reason = None
        if hello.get("protocol") != PROTOCOL:
            reason = f"protocol {hello.get('protocol')}, expected {PROTOCOL}"
        elif hello.get("icd_hash") != ours:
            reason = f"ICD hash {hello.get('icd_hash')}, expected {ours}"
        elif hello.get("role") not in ("flight", "control"):
            reason = f"role {hello.get('role')}, expected flight or control"
        elif hello["role"] == "flight" and self._flight is not None:
            reason = "a flight computer has joined already, expected one at a time"
        if reason is not None:
            channel.send_json(Kind.REFUSED, {"reason": reason})
            raise ClosedError(reason)
        rig = self.world.rig
        channel.send_json(
            Kind.WELCOME,
            {
                "protocol": PROTOCOL,
                "icd_hash": ours,
                "rig": str(rig.path),
                "rig_sha256": rig.sha256,
                "tick_us": self.world.tick_us,
                "t_us": self.world.t_us,
            },
        )
        self._newcomers = [c for c in self._newcomers if c is not channel]
        if hello["role"] == "flight":
            self._flight, self._joined = channel, True
        else:
            self._controls.append(channel)

    # ------------------------------------------------------------ requests
    def _requests(self) -> None:
        """Answer what control connections asked for. Some at once, the rest between ticks."""
        between = not lib.world_in_tick(self.world.pointer)
        waiting, self._pending = self._pending, []
        for channel, request in waiting:
            if not between and request.get("do") not in READ_ONLY:
                self._pending.append((channel, request))
                continue
            try:
                reply = {"ok": True, "result": self._do(request)}
            except (HalError, TypeError, ValueError, OverflowError) as error:
                reply = {"ok": False, "reason": str(error)}
            try:
                channel.send_json(Kind.REPLY, reply)
            except ClosedError:
                self._forget(channel)

    def _do(self, request: dict[str, Any]) -> dict[str, Any]:
        match request.get("do"):
            case "score":
                return self.world.score()
            case "status":
                there = self._flight is not None
                return {"t_us": self.world.t_us, "ticks": self.world.tick, "flight": there, "holding": self._holding()}
            case "off":
                self.world.kill(str(request.get("board")))
            case "on":
                self.world.start(str(request.get("board")))
            case "fault":
                asked = {key: value for key, value in request.items() if key != "do"}
                self.world.begin(build(Fault, asked | {"at_s": self.world.t_us / 1e6}, "fault"))
            case "lift":
                where = {key: request.get(key) for key in ("index", "board", "sensor")}
                self.world.lift_kind(str(request.get("kind")), **where)
            case other:
                raise WorldError(f"request '{other}' is not known, expected score, status, off, on, fault or lift")
        return {}


def _listen(path: Path) -> tuple[int, socket.socket]:
    """(lock, listening socket). A socket that a dead server left is removed; one that is served is left alone."""
    try:
        if path.exists() and not stat.S_ISSOCK(path.stat().st_mode):
            raise WorldError(f"{path}: is there already and is not a socket, expected a free path")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(f"{path}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise WorldError(f"{path}: cannot serve there: {error.strerror}") from None
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
        sock.bind(str(path))
        sock.listen(8)
    except OSError as error:
        sock.close()
        os.close(lock)
        busy = error.errno in (errno.EAGAIN, errno.EACCES)
        why = "another world is served there" if busy else f"cannot serve there: {error.strerror or error}"
        raise WorldError(f"{path}: {why}") from None
    return lock, sock
