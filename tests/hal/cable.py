"""A cable between the world's port and a board's program that a test pulls out, plugs in, and cuts in one direction;
and the program itself, which it kills and starts again. Everything happens at a byte, not at a moment."""

from __future__ import annotations

import contextlib
import os
import random
import select
import socket
import subprocess
import threading
import tty
from collections.abc import Callable
from pathlib import Path

from hal.backends.process import PROGRAM


class Cable:
    """`port` is a path that stays, as those of /dev/serial/by-id do; what it points to comes and goes."""

    def __init__(self, folder: Path, address: int, seed: int = 1) -> None:
        self.port = folder / "port"
        self.random = random.Random(seed)
        self.deaf_world = self.deaf_board = False
        """one direction is broken"""
        self.to_board = self.from_board = 0
        """bytes that have arrived"""
        self.stale = b""
        """comes out of the port, once, before anything that the board says after the port was opened again"""
        self._arguments = [str(PROGRAM), "compute_node", str(address), "00" * 12, str(folder / "board.nvm"), "1"]
        self._board: subprocess.Popen[bytes] | None = None
        self._ours, self._its = socket.socketpair()
        self._ours.setblocking(False)
        self._master = self._slave = -1
        self._at = -1
        self._choked = False
        self._action: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._stop, self._stopped = os.pipe()
        self.error: BaseException | None = None
        self.start()
        self.plug()
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def close(self) -> None:
        os.write(self._stopped, b"x")
        self._thread.join()
        self.kill()
        self.pull()
        self._ours.close()
        self._its.close()
        for fd in (self._stop, self._stopped):
            os.close(fd)
        if self.error is not None:
            raise self.error

    def after(self, n: int, action: Callable[[], None]) -> None:
        """When n more bytes have gone through, either way, do this. It happens once."""
        with self._lock:
            self._at, self._action = self.to_board + self.from_board + n, action

    @property
    def is_armed(self) -> bool:
        return self._at >= 0

    # ------------------------------------------------------------ the board
    def start(self) -> None:
        self._board = subprocess.Popen(self._arguments, stdin=self._its, stdout=self._its)

    def kill(self) -> None:
        """At once, in the middle of whatever it does. What it has written is on the line; what it has not read waits
        for the next one, as in a UART that stays powered."""
        if self._board is not None:
            self._board.kill()
            self._board.wait()

    def restart(self) -> None:
        self.kill()
        self.start()

    def signal(self, number: int) -> None:
        assert self._board is not None
        self._board.send_signal(number)

    # ------------------------------------------------------------ the cable
    def plug(self) -> None:
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)  # a real port does not echo
        os.set_blocking(self._master, False)
        waiting = self.port.with_suffix(".new")
        waiting.symlink_to(os.ttyname(self._slave))
        waiting.rename(self.port)

    def pull(self) -> None:
        """The port is gone, and what was on the line with it."""
        self.port.unlink(missing_ok=True)
        for fd in (self._master, self._slave):
            with contextlib.suppress(OSError):
                os.close(fd)
        self._master = self._slave = -1

    def shake(self) -> None:
        """Out and in again."""
        self.pull()
        self.plug()

    def choke(self, on: bool) -> None:
        """Nobody takes what is written into the port, from now on."""
        self._choked = on
        os.write(self._stopped, b"c")

    # ------------------------------------------------------------ carrying
    def _carry(self) -> None:
        try:
            while True:
                poll = select.poll()
                for fd in (self._stop, self._ours.fileno(), *([] if self._choked else [self._master])):
                    poll.register(fd, select.POLLIN)
                ready = {fd for fd, _ in poll.poll()}
                if self._stop in ready:
                    if os.read(self._stop, 1) == b"x":
                        return
                elif self._ours.fileno() in ready:
                    self.from_board += self._pass(self._ours.fileno(), self._master, self.deaf_world)
                elif self._master in ready:
                    if self.stale and not self.is_armed:
                        stale, self.stale = self.stale, b""
                        self._write(self._master, stale)
                    self.to_board += self._pass(self._master, self._ours.fileno(), self.deaf_board)
        except BaseException as error:
            self.error = error

    def _pass(self, source: int, target: int, deaf: bool) -> int:
        """Some bytes: up to where something is to happen."""
        with self._lock:
            left = self._at - self.to_board - self.from_board if self._at >= 0 else 4096
            data = b""
            with contextlib.suppress(OSError):
                data = os.read(source, max(left, 1))
            if not deaf:
                self._write(target, data)
            if self._at >= 0 and len(data) >= left:
                self._at = -1
                self._action()
            return len(data)

    def _write(self, target: int, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(target, data) :]
            except BlockingIOError:
                poll = select.poll()
                poll.register(target, select.POLLOUT)
                poll.register(self._stop, select.POLLIN)
                if any(fd == self._stop for fd, _ in poll.poll()):
                    return
            except OSError:
                return  # there is no line, or nobody on it
