"""What passes between a served world and its clients: one Unix-domain socket, ordered messages.

A message is ``u32 length | u8 kind | body`` (little-endian; the length counts kind and body). The socket carries every
board's bytes muxed, in the records of csrc/bus/batch.h, and the tick that they belong to; so bytes of all boards and
the passing of time arrive in one order, and a client that answers a TICK has seen everything before it.

=========  ==========================================  ===========================================================
kind       from                                        body
=========  ==========================================  ===========================================================
HELLO      client                                      JSON: protocol, role ("flight" or "control"), icd_hash
WELCOME    world                                       JSON: protocol, icd_hash, rig, rig_sha256, tick_us, t_us
REFUSED    world, then it closes                       JSON: reason
TICK       world                                       u64 t_us, u32 late ticks so far, records from boards
STEP       flight, once for every TICK                 records for boards
REQUEST    control                                     JSON: do (score, status, off, on, fault, lift), ...
REPLY      world                                       JSON: ok, result or reason
=========  ==========================================  ===========================================================
"""

from __future__ import annotations

import json
import os
import socket
import struct
import tempfile
from enum import IntEnum
from pathlib import Path
from typing import Any

from hal.errors import WorldError

PROTOCOL = 1
MAX_MESSAGE = 16 * 1024 * 1024
HEAD = struct.Struct("<IB")
TICK_HEAD = struct.Struct("<QI")


class Kind(IntEnum):
    HELLO = 1
    WELCOME = 2
    REFUSED = 3
    TICK = 4
    STEP = 5
    REQUEST = 6
    REPLY = 7


class ClosedError(Exception):
    """The other end is gone, or what it sent is no message."""


class Channel:
    """One end of the socket, message by message. The socket may block or not; `take` never does."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._in = bytearray()

    def fileno(self) -> int:
        return self.sock.fileno()

    def send(self, kind: Kind, body: bytes) -> None:
        """Send one message whole. Raises `ClosedError`."""
        try:
            self.sock.sendall(HEAD.pack(len(body) + 1, kind) + body)
        except OSError as error:
            raise ClosedError(str(error)) from None

    def send_json(self, kind: Kind, value: dict[str, Any]) -> None:
        self.send(kind, json.dumps(value).encode())

    def fill(self) -> None:
        """Read what is there (at least one byte; blocks for it on a blocking socket). Raises `ClosedError`."""
        try:
            data = self.sock.recv(1 << 18)
        except OSError as error:
            raise ClosedError(str(error)) from None
        if not data:
            raise ClosedError("end of the line")
        self._in += data

    def take(self) -> tuple[Kind, bytes] | None:
        """The next whole message that has arrived. Raises `ClosedError` for what cannot be one."""
        if len(self._in) < HEAD.size:
            return None
        length, kind = HEAD.unpack_from(self._in)
        if not 1 <= length <= MAX_MESSAGE or kind not in set(Kind):
            raise ClosedError(f"malformed message: kind {kind}, {length} bytes")
        if len(self._in) < 4 + length:
            return None
        body = bytes(self._in[HEAD.size : 4 + length])
        del self._in[: 4 + length]
        return Kind(kind), body

    def read(self) -> tuple[Kind, bytes]:
        """Wait for the next message (blocking socket). Raises `ClosedError`."""
        while (message := self.take()) is None:
            self.fill()
        return message

    def close(self) -> None:
        self.sock.close()


def parse_json(body: bytes) -> dict[str, Any]:
    """The body of a JSON message. Raises `ClosedError` when it is not an object."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise ClosedError("malformed JSON") from None
    if not isinstance(value, dict):
        raise ClosedError("malformed JSON: expected an object")
    return value


def default_socket(rig: str) -> Path:
    """Where a world of this rig is served by default: a folder of this user alone."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    folder = Path(runtime) / "dawnline" if runtime else Path(tempfile.gettempdir()) / f"dawnline-{os.getuid()}"
    return folder / f"{rig}.sock"


def connect(path: Path, role: str, icd_hash: int) -> tuple[Channel, dict[str, Any]]:
    """Join a served world. Returns the channel and its WELCOME. Raises `WorldError` with one clear line."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.connect(str(path))
    except OSError as error:
        sock.close()
        raise WorldError(f"{path}: no world is served there ({error.strerror}), expected `hal serve RIG`") from None
    channel = Channel(sock)
    try:
        channel.send_json(Kind.HELLO, {"protocol": PROTOCOL, "role": role, "icd_hash": f"{icd_hash:016x}"})
        kind, body = channel.read()
    except ClosedError as error:
        channel.close()
        raise WorldError(f"{path}: the world closed the line: {error}") from None
    if kind != Kind.WELCOME:
        channel.close()
        reason = (
            parse_json(body).get("reason", "no reason given") if kind == Kind.REFUSED else f"unexpected {kind.name}"
        )
        raise WorldError(f"{path}: refused: {reason}")
    return channel, parse_json(body)


def ask(path: Path, request: dict[str, Any], icd_hash: int) -> dict[str, Any]:
    """One request to a served world, as its own connection. Raises `WorldError` with the world's reason."""
    channel, _ = connect(path, "control", icd_hash)
    try:
        channel.send_json(Kind.REQUEST, request)
        kind, body = channel.read()
    except ClosedError as error:
        raise WorldError(f"{path}: the world closed the line: {error}") from None
    finally:
        channel.close()
    reply = parse_json(body) if kind == Kind.REPLY else {"ok": False, "reason": f"unexpected {kind.name}"}
    if not reply.get("ok"):
        raise WorldError(f"{path}: {reply.get('reason', 'refused')}")
    result = reply.get("result")
    return result if isinstance(result, dict) else {}
