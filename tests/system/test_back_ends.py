"""The same flight on functions in one process and on programs behind pseudo-terminals."""

import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from flight.executive import Executive
from flight.storage import Storage
from hal.rig import load_rig
from hal.world import World
from tests.system.programs import run_json

RUNS = 100


def test_child_processes_fly_the_bytes_of_the_mock():
    mock = run_json("flight", "run", "--rig", "desk", "--backend", "mock", "--for", 600, "--speed", "max")
    process = run_json("flight", "run", "--rig", "desk", "--backend", "process", "--for", 600, "--speed", "max")
    assert process["bus_sha256"] == mock["bus_sha256"]
    assert process["ticks"] == mock["ticks"] == 6000
    assert not any(process["link_errors"].values()), process["link_errors"]


def _spin() -> None:
    while True:
        pass


@pytest.fixture
def loaded_machine() -> Iterator[None]:
    """As many busy processes as there are processors."""
    context = multiprocessing.get_context("spawn")
    hogs = [context.Process(target=_spin, daemon=True) for _ in range(os.cpu_count() or 1)]
    for hog in hogs:
        hog.start()
    yield
    for hog in hogs:
        hog.kill()
        hog.join()


def _one_minute(storage: Path) -> str:
    """The bus hash of one simulated minute of the desk on child processes."""
    rig = load_rig("desk")
    with World(rig, "process") as world:
        flight = Executive(world, Storage(storage), timeline=rig.timeline)
        flight.run(60_000_000)
        flight.close()
        return world.bus_sha256()


def test_a_loaded_machine_changes_no_byte(loaded_machine: None, tmp_path: Path):
    assert len({_one_minute(tmp_path / str(run)) for run in range(RUNS)}) == 1
