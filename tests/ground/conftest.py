"""A packet-level satellite, and a station that holds its time."""

from collections.abc import Iterator

import pytest

from ground import Station
from tests.ground.radio import Radio
from tests.ground.satellite import Satellite


@pytest.fixture
def satellite() -> Satellite:
    return Satellite()


@pytest.fixture
def radio(satellite: Satellite) -> Iterator[Radio]:
    with Radio(satellite) as served:
        yield served


@pytest.fixture
def live_radio(satellite: Satellite) -> Iterator[Radio]:
    """Of a satellite that flies on by itself."""
    with Radio(satellite, live=True) as served:
        yield served


@pytest.fixture
def station(radio: Radio) -> Iterator[Station]:
    with Station.connect(radio.url) as connected:
        yield connected
