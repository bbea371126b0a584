"""Fixtures of the on-board tests: an executive over fake boards."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flight import icd
from flight.executive import Executive
from flight.loop import LoopEvent
from flight.pacing import Pacing
from flight.storage import Storage
from flight.telecommand import Telecommand
from tests.flight.fake import FakePort

_ALL = 0xB


def command(name: str, request: int = 1, **args: Any) -> Telecommand:
    """A telecommand as it comes from the radio, all reports wanted."""
    m = icd.COMMANDS[name]
    return Telecommand(request, 100, m.service, m.subtype, _ALL, icd.encode(name, **args))


class Flown:
    """An executive, its port, and what it has sent."""

    def __init__(self, port: FakePort, directory: Path, **options: Any) -> None:
        self.port = port
        self.sent: list[bytes] = []
        self.executive = Executive(
            port, Storage(directory), pacing=Pacing(clock=False), tap=self.sent.append, **options
        )
        self.events: list[LoopEvent] = []
        self.executive.events.listeners.append(self.events.append)

    def run(self, seconds: float) -> None:
        self.executive.run(self.port.t_us + round(seconds * 1e6))

    def command(self, name: str, request: int = 1, **args: Any) -> None:
        self.executive.commands.handle(command(name, request, **args), self.port.t_us)

    def packets(self) -> list[tuple[int, int, bytes]]:
        """(service, subtype, source data) of everything sent."""
        data, out = b"".join(self.sent), []
        while data:
            size = int.from_bytes(data[4:6], "big") + 7
            out.append((data[7], data[8], data[20 : size - 2]))
            data = data[size:]
        return out

    def reports(self, request: int = 1) -> list[str]:
        """Names of the verification reports of one request, in order."""
        names = {(m.service, m.subtype): n for n, m in icd.PACKETS.items() if m.service == 1}
        return [
            names[service, subtype]
            for service, subtype, data in self.packets()
            if service == 1 and icd.decode(names[service, subtype], data)["request"] == request
        ]

    def last(self, name: str) -> dict[str, Any]:
        """The newest packet of a name."""
        m = icd.PACKETS[name]
        for service, subtype, data in reversed(self.packets()):
            if (service, subtype) == (m.service, m.subtype) and (m.selector is None or data[0] == m.selector):
                return icd.decode(name, data)
        raise AssertionError(f"no {name} was sent")

    def told(self, code: icd.Event) -> list[LoopEvent]:
        return [e for e in self.events if e.code == code]


@pytest.fixture
def fly(tmp_path: Path) -> Iterator[Callable[..., Flown]]:
    """Starts a flight; storage is the test's own folder unless given."""
    with contextlib.ExitStack() as stack:

        def start(port: FakePort | None = None, directory: Path | None = None, **options: Any) -> Flown:
            flown = Flown(port or FakePort(), directory or tmp_path / "storage", **options)
            stack.callback(flown.executive.storage.close)
            return flown

        yield start
