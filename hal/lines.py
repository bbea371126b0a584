"""The world's external boards: opening their links, proving who is there, carrying bytes, noticing that one is gone.

Only the wall clock decides here that a board does not answer; simulated time does not pass meanwhile.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hal._native import ffi, lib
from hal.backends.stream import takes_bytes
from hal.errors import BoardRefusedError, HalError, LinkDownError
from hal.identity import check, from_native
from hal.link import Board, Link
from hal.round_trip import RoundTrip

Opener = Callable[[str, Board], Link]

HELLO_GUARD_S = 10.0
LOSSY_HELLO_GUARD_S = 3.0
HELLO_REQUEST_S = 0.2
"""A board on a lossy line that says nothing is asked for its HELLO so often."""
DONE_GUARD_S = 30.0
"""A lossless line (a child process) is given up only after so long: a loaded machine is no fault."""
LOSSY_GUARD_S = 2.0
RECONNECT_S = (0.1, 0.2, 0.5, 1.0, 2.0)


@dataclass
class _Join:
    """A line that is open, whose board has not proven who it is yet."""

    started: float
    asked: float
    heard: int
    """bytes that the line had brought before"""


@dataclass
class _Wait:
    """A board that has got a TICK, or boots, and has not answered."""

    since: float
    due: float
    """when to do something about it"""
    early: bool = False
    """due before the timeout: it has told us so"""
    booting: bool = False


@dataclass
class _Lost:
    """When to try a lost port again, and how often it was tried."""

    at: float
    tries: int = 0


def _index(board: Board) -> int:
    return int(lib.bus_index_of(board.address))


class Lines:
    """Every external board of one world, by board index."""

    def __init__(self, pointer: Any, opener: Opener, clock: Callable[[], float] = time.monotonic) -> None:
        self._world = pointer
        self._open_link = opener
        self._clock = clock
        self._poll = select.poll()
        self._links: dict[int, Link] = {}
        self._boards: dict[int, tuple[str, Board]] = {}
        self._by_fd: dict[int, int] = {}
        self._joining: dict[int, _Join] = {}
        self._lost: dict[int, _Lost] = {}
        self._hello = ffi.new("struct bus_hello *")
        self._link_stats = ffi.new("struct world_link *")
        self.present: dict[bytes, str] = {}
        """hardware id -> role of every board that has proven who it is, mocks included"""
        self.absent_because: dict[str, str] = {}
        """role -> why the board went, or is not taken back"""
        self._waits: dict[int, _Wait] = {}
        self._trips: dict[int, RoundTrip] = {}
        self._due = 0.0  # none of the waits is due before
        self._bytes = ffi.new("const uint8_t **")

    def __bool__(self) -> bool:
        return bool(self._boards)

    def open(self, boards: list[tuple[str, Board]]) -> None:
        """Open these links and wait until each board has proven who it is. Raises `LinkError`, `BoardRefusedError`."""
        try:
            for url, board in boards:
                self._connect(url, board)
            while self._joining:
                self._receive(HELLO_REQUEST_S if self._by_fd else 0)
                for i in list(self._joining):
                    self._join(i)
        except HalError:
            for _, board in boards:
                self.close(_index(board))
            raise

    def close(self, index: int | None = None) -> None:
        """Let go of one line (its board is absent from now on), or of all."""
        for i in [index] if index is not None else list(self._links):
            self._forget(i)
            self._joining.pop(i, None)
            self._lost.pop(i, None)
            _, board = self._boards.pop(i, ("", None))
            if board is not None:
                self.leave(board.role)
            lib.world_absent(self._world, i)

    def admit(self, url: str, board: Board) -> bool:
        """Take a board that has said who it is; False when it has said nothing yet. Raises `BoardRefusedError`."""
        i = _index(board)
        if not lib.world_hello(self._world, i, self._hello):
            return False
        hello = from_native(self._hello)
        check(hello, board, url, self.present)
        lib.world_admit(self._world, i)
        self.leave(board.role)
        self.present[hello.hardware_id] = board.role
        self.absent_because.pop(board.role, None)
        return True

    def leave(self, role: str) -> None:
        """A board is gone: its hardware id may be seen elsewhere from now on."""
        self.present = {one: of for one, of in self.present.items() if of != role}

    def urls(self) -> dict[int, str]:
        """URL of every line that is open, by board index."""
        return {i: link.url for i, link in self._links.items()}

    def link(self, index: int) -> Link | None:
        """The open link of a board; None when it is not there."""
        return self._links.get(index)

    def exchange(self) -> None:
        """After world_tick_begin: send every board its bytes and carry answers until nobody is waited for. A board that
        turns out to be another one (a cable was swapped) is let go."""
        if not self._links:
            return
        self._receive(0)  # a board that booted between two ticks has said so
        self._due = float("inf")
        for i in list(self._links):
            self._ask(i)
        while self._waits:
            now = self._clock()
            if now >= self._due:
                self._receive(0)  # the late one may be this program
                for i in [i for i, wait in self._waits.items() if now >= wait.due]:
                    self._overdue(i, now)
                self._due = min((wait.due for wait in self._waits.values()), default=now)
            self._receive(max(self._due - now, 0))
            self._judge()
        self._judge()

    def reconnect(self) -> None:
        """Between ticks, without waiting: try lost ports again, with back-off. A board that is not who it should be
        stays out."""
        if not self._lost:
            return
        now = self._clock()
        for i, lost in self._lost.items():
            if i not in self._links and now >= lost.at:
                self._attempt(i, lambda i=i: self._connect(*self._boards[i]))  # type: ignore[misc]
        self._receive(0)
        for i in list(self._joining):
            self._attempt(i, lambda i=i: self._join(i))  # type: ignore[misc]
            if i not in self._joining and i in self._links:
                del self._lost[i]

    # ------------------------------------------------------------ one line
    def _connect(self, url: str, board: Board) -> None:
        i = _index(board)
        link = self._open_link(url, board)
        self._links[i] = link
        self._boards[i] = (url, board)
        now = self._clock()
        self._joining[i] = _Join(now, now, self._heard(i))
        self._trips[i] = RoundTrip()
        lib.world_join_external(self._world, i)
        if link.fileno() >= 0:
            self._by_fd[link.fileno()] = i
            self._poll.register(link.fileno(), select.POLLIN)
        else:
            self._read(i)

    def _attempt(self, i: int, action: Callable[[], None]) -> None:
        """Do it; on failure the line is closed and tried again later."""
        try:
            action()
        except HalError as error:
            lost = self._lost[i]
            self._drop(i, str(error))
            self._joining.pop(i, None)
            lost.tries += 1
            lost.at = self._clock() + RECONNECT_S[min(lost.tries, len(RECONNECT_S) - 1)]

    def _join(self, i: int) -> None:
        """Admit the board when it has proven who it is; ask it again, or give up, when it is silent."""
        url, board = self._boards[i]
        if i not in self._links:
            raise BoardRefusedError(f"board {board.role} on {url} refused: its line ended before its HELLO")
        state, now = self._joining[i], self._clock()
        guard_s = LOSSY_HELLO_GUARD_S if self._links[i].lossy else HELLO_GUARD_S
        if self.admit(url, board):
            del self._joining[i]
        elif now - state.started > guard_s:
            raise BoardRefusedError(f"board {board.role} on {url} refused: {self._silence(i, guard_s)}")
        elif self._links[i].lossy and now - state.asked >= HELLO_REQUEST_S and self._takes_bytes(i):
            state.asked = now
            out = ffi.new("uint8_t[]", int(lib.BUS_MAX_WIRE))
            self._send(i, bytes(ffi.buffer(out, lib.world_hello_request(self._world, i, out))))

    def _silence(self, i: int, guard_s: float) -> str:
        """Why a board that has said no HELLO is refused."""
        heard = self._heard(i) - self._joining[i].heard
        what = f"{heard} bytes and no HELLO" if heard else "no HELLO"
        likely = "the baud rate, or what is plugged in" if heard else "power and cable, or flash it"
        return f"{what} within {guard_s:g} s; check {likely}: `hal doctor --rig {self._boards[i][1].rig}` tells more"

    def _heard(self, i: int) -> int:
        lib.world_link(self._world, i, self._link_stats)
        return int(self._link_stats.rx_bytes)

    def _judge(self) -> None:
        """Look at every HELLO that is new."""
        while (i := lib.world_next_hello(self._world)) >= 0:
            self._still_the_same(i)

    def _still_the_same(self, i: int) -> None:
        """A board that is present has said HELLO again: it booted, or another one is on its line now."""
        url, board = self._boards[i]
        if board.role not in self.present.values():
            return  # it is joining, and judged there
        lib.world_hello(self._world, i, self._hello)
        hello = from_native(self._hello)
        try:
            check(hello, board, url, self.present)
            if self.present.get(hello.hardware_id) != board.role:
                raise BoardRefusedError(f"board {board.role} on {url}: another board, {hello.hardware_id.hex()}")
        except BoardRefusedError as error:
            self._drop(i, str(error))

    def _send(self, i: int, data: bytes) -> None:
        try:
            link = self._links[i]
            link.send(data)
        except LinkDownError as error:
            self._drop(i, str(error))
            return
        if link.fileno() < 0:
            self._read(i)

    def _takes_bytes(self, i: int) -> bool:
        fd = self._links[i].fileno()
        return fd < 0 or takes_bytes(fd)

    def _receive(self, timeout_s: float) -> None:
        for fd, _ in self._poll.poll(timeout_s * 1000):
            if fd in self._by_fd:
                self._read(self._by_fd[fd])

    def _read(self, i: int) -> None:
        try:
            data = self._links[i].recv()
        except LinkDownError as error:
            self._drop(i, str(error))
            return
        if data:
            self._answer(i, int(lib.world_external_rx(self._world, i, data, len(data))))

    # ------------------------------------------------------------ the answer to a TICK
    def _ask(self, i: int) -> None:
        """Send a board the bytes of a tick that has begun; from now on it is waited for."""
        n = lib.world_external_tx(self._world, i, self._bytes)
        if n == 0:
            return
        now = self._clock()
        wait = self._waits[i] = _Wait(now, now)
        self._trips[i].sent(now)
        self._schedule(i, wait, now)
        self._send(i, bytes(ffi.buffer(self._bytes[0], n)))

    def _schedule(self, i: int, wait: _Wait, now: float) -> None:
        link = self._links[i]
        if link.fileno() < 0:
            wait.due = now  # what is not there when `send` returns does not come
        elif link.lossy:
            wait.due = min(now + self._trips[i].timeout_s, wait.since + LOSSY_GUARD_S)
        else:
            wait.due = wait.since + DONE_GUARD_S
        self._due = min(self._due, wait.due)

    def _answer(self, i: int, state: int) -> None:
        """What the world makes of the bytes that came: state, enum world_rx."""
        wait = self._waits.get(i)
        if wait is None:
            return
        if not state & lib.WORLD_RX_WAITING:
            del self._waits[i]
            self._trips[i].answered(self._clock())
            return
        if state & lib.WORLD_RX_BOOTING and not wait.booting:
            wait.booting, wait.since = True, self._clock()
            self._trips[i].void()
            self._schedule(i, wait, wait.since)
        if state & lib.WORLD_RX_TO_SEND or (state & lib.WORLD_RX_DAMAGED and self._links[i].lossy):
            wait.early = True
            wait.due = self._due = wait.since

    def _overdue(self, i: int, now: float) -> None:
        """Send again, or give the board up."""
        wait, link = self._waits[i], self._links[i]
        missing = "HELLO" if wait.booting else "DONE"
        guard_s = LOSSY_GUARD_S if link.lossy else DONE_GUARD_S
        if now - wait.since >= guard_s:
            self._drop(i, f"{link.url}: no {missing} for {guard_s:g} s")
            return
        n = lib.world_external_tx(self._world, i, self._bytes)  # a board that has just booted gets its TICK again
        if n == 0 and link.lossy:
            n = lib.world_ask_again(self._world, i, self._bytes)
        if n <= 0 and link.fileno() < 0:
            self._drop(i, f"{link.url}: has answered without a {missing}")
            return
        if wait.early:
            self._trips[i].void()
        else:
            self._trips[i].back_off()
        wait.early = False
        self._schedule(i, wait, now)
        if n > 0:
            self._send(i, bytes(ffi.buffer(self._bytes[0], n)))

    def _drop(self, i: int, why: str) -> None:
        """The line has ended, or its board is silent or another one: ABSENT, and the world goes on."""
        lossy = i in self._links and self._links[i].lossy
        role = self._boards[i][1].role
        self.leave(role)
        self.absent_because[role] = why
        self._forget(i)
        lib.world_absent(self._world, i)
        if lossy:
            self._lost.setdefault(i, _Lost(self._clock() + RECONNECT_S[0]))

    def _forget(self, i: int) -> None:
        self._waits.pop(i, None)
        link = self._links.pop(i, None)
        for fd in [fd for fd, owner in self._by_fd.items() if owner == i]:
            del self._by_fd[fd]
            self._poll.unregister(fd)
        if link is not None:
            link.close()
