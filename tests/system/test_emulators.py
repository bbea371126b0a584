"""Flights on emulated microcontrollers with the long tick that makes them fast; make bench flies whole orbits so."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.emulators import MOCK_NODES, mixed_rig
from tests.system.programs import run_json
from tests.tools import NEEDS_QEMU

SECONDS = 300


@pytest.mark.parametrize("backend", [pytest.param("qemu", marks=NEEDS_QEMU), "unicorn"])
def test_the_desk_flies_five_minutes_as_on_mocks(backend: str):
    length = ("--rig", "desk", "--tick", 1, "--for", SECONDS, "--speed", "max")
    flown = run_json("flight", "run", *length, "--backend", backend)
    mocks = run_json("flight", "run", *length, "--backend", "mock")
    assert flown["bus_sha256"] == mocks["bus_sha256"]
    assert flown["ticks"] == SECONDS
    assert not any(flown["violations"].values()), flown["violations"]
    assert not any(flown["link_errors"].values()), flown["link_errors"]
    assert flown["jobs"] == mocks["jobs"]
    assert flown["board_losses"] == flown["crashes"] == 0


@NEEDS_QEMU
def test_a_power_board_in_qemu_feeds_fifteen_mock_nodes(tmp_path: Path):
    rig = mixed_rig(tmp_path)
    length = ("--rig", rig, "--tick", 1, "--for", SECONDS, "--speed", "max")
    flown = run_json("flight", "run", *length)
    mocks = run_json("flight", "run", *length, "--backend", "mock")
    assert flown["boards"] == 1 + MOCK_NODES
    assert flown["bus_sha256"] == mocks["bus_sha256"]
    assert flown["jobs"] == mocks["jobs"]
    assert flown["jobs"]["running"] > 0
    assert not any(flown["violations"].values()), flown["violations"]
    assert not any(flown["link_errors"].values()), flown["link_errors"]
