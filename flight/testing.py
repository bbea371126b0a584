"""pytest fixtures: a satellite, its flight computer and a ground station, in simulated time.

- `rig`: what flies; `--rig FILE` chooses it, by default the `desk` on mocked boards;
- `flight`: the world and the flight computer on it, the rig's timeline not flown: the test says what happens;
- `station`: a ground station (ground.Station) that holds time: the satellite stands still except in its waits.

Waits cost no wall-clock time beyond computing, and a deadline means the same on every machine.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from flight.executive import Executive
from flight.pacing import Pacing
from flight.radio import Radio
from flight.storage import Storage
from ground.station import Station
from hal.faults import ActiveFault
from hal.rig import Rig, load_rig
from hal.world import World

DEFAULT_RIG = "desk"
JOIN_S = 30.0  # of wall-clock time: the outer guard against a hang


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--rig FILE`."""
    group = parser.getgroup("dawnline")
    group.addoption("--rig", default=None, help="fly this rig (a name that ships, or a .toml file) instead of the desk")


class Flight:
    """A world and the flight computer on it. `world` is the truth: what is broken (`fault`), and the score."""

    def __init__(self, rig: Rig, directory: Path) -> None:
        self.rig = rig
        self.directory = directory
        self.world = World(rig)
        self.station: Station | None = None
        self._thread: threading.Thread | None = None
        self._stop = False
        self._error: BaseException | None = None
        self._open()

    def _open(self) -> None:
        self.radio = Radio("127.0.0.1", 0)
        real = not all(b.made for b in self.rig.boards)
        self.executive = Executive(
            self.world, Storage(self.directory), radio=self.radio, pacing=Pacing(1.0 if real else None, clock=real)
        )

    @property
    def t_s(self) -> float:
        """Simulated time."""
        return self.world.t_us * 1e-6

    @property
    def url(self) -> str:
        """Where its radio listens."""
        return f"tcp:127.0.0.1:{self.radio.port}"

    def run(self, seconds: float) -> None:
        """Let simulated time pass."""
        if self.station is not None:
            self.station.advance(seconds)
        else:
            self.executive.run(self.world.t_us + round(seconds * 1e6))

    def connect(self) -> Station:
        """A station that holds time from now on; the flight computer runs in a thread of its own, only when told."""
        self._thread = threading.Thread(target=self._fly, name="flight", daemon=True)
        self._thread.start()
        self.station = Station.connect(self.url)
        return self.station

    def _fly(self) -> None:
        try:
            if self.executive.await_ground(round(JOIN_S), held=True):
                self.executive.run(None, lambda: self._stop or not self.radio.held)
        except BaseException as error:  # handed to the test's thread
            self._error = error

    def disconnect(self) -> None:
        """Let the station go; raises what the flight computer raised."""
        self._stop = True
        if self.station is not None:
            self.station.close()
            self.station = None
        if self._thread is not None:
            self._thread.join(JOIN_S)
            alive, self._thread = self._thread.is_alive(), None
            assert not alive, "the flight computer hangs"
        self._stop = False
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def restart(self) -> None:
        """The flight computer's process dies and starts again on the same storage; the world stays."""
        self.disconnect()
        self.radio.close()
        self.executive.storage.close()
        self._open()

    @contextmanager
    def fault(self, kind: str, **where: Any) -> Iterator[ActiveFault]:
        """Break something for as long as the block lasts, whatever happens in it; arguments as `hal.world.World.fault`.

        Kinds, units and sensors: docs/rigs.md, `hal faults`. Raises `WorldError` when it cannot be.
        """
        active = self.world.fault(kind, **where)
        try:
            yield active
        finally:
            self.world.lift(active)

    def score(self) -> dict[str, Any]:
        """The truth so far (hal.score)."""
        return self.world.score()

    def close(self) -> None:
        """End it all."""
        try:
            self.disconnect()
        finally:
            self.executive.close()
            self.world.close()


@pytest.fixture
def rig(request: pytest.FixtureRequest) -> Rig:
    """What flies."""
    chosen = request.config.getoption("--rig")
    return load_rig(chosen or DEFAULT_RIG)


@pytest.fixture
def flight(rig: Rig, tmp_path: Path) -> Iterator[Flight]:
    """The flight computer on its world, at time 0."""
    flying = Flight(rig, tmp_path / "flight-storage")
    yield flying
    flying.close()


@pytest.fixture
def station(flight: Flight) -> Station:
    """A ground station that holds time."""
    return flight.connect()
