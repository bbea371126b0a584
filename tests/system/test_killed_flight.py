"""kill -9 of the flight computer in eclipse, with the world as a process of its own."""

import contextlib
import json
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flight.icd import JobState, Mode, NodeState
from ground.commanding import State
from ground.errors import CommandFailed
from ground.station import Station
from tests.system.programs import run_json, start

ECLIPSE_S = 400  # after the start of this rig
ABSENT_S = 60
FLOOR_W = 120.0
NODES = 4


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Flown:
    """`hal serve` of a desk whose eclipse comes soon, and a flight computer with its storage on disk."""

    def __init__(self, directory: Path) -> None:
        shipped = Path("hal/rigs/desk.toml").read_text(encoding="utf-8")
        self.rig = directory / "dusk.toml"
        self.rig.write_text(re.sub(r"start_s = .*", f"start_s = {3893 - ECLIPSE_S}.0", shipped), encoding="utf-8")
        self.directory = directory
        self.socket = directory / "world.sock"
        self.url = f"tcp:127.0.0.1:{free_port()}"
        self.world = start(
            "hal",
            "serve",
            self.rig,
            "--socket",
            self.socket,
            "--speed",
            "max",
            "--absent-speed",
            "max",
            "--absent-for",
            ABSENT_S,
            "--json",
        )
        self.programs = [self.world]
        while not self.socket.exists():
            assert self.world.poll() is None, self.world.communicate()

    def fly(self) -> subprocess.Popen[str]:
        flight = start(
            "flight", "run", "--world", self.socket, "--storage", self.directory / "storage", "--radio", self.url,
            "--await-ground", 30,
        )  # fmt: skip
        self.programs.append(flight)
        return flight

    def score(self) -> dict[str, Any]:
        return run_json("hal", "score", self.rig, "--socket", self.socket)

    def close(self) -> None:
        for program in self.programs:
            program.kill()
            program.communicate()


@pytest.fixture
def flown(tmp_path: Path) -> Iterator[Flown]:
    flown = Flown(tmp_path)
    yield flown
    flown.close()


def test_killed_in_eclipse_and_started_again(flown: Flown):
    flight = flown.fly()
    with Station.connect(flown.url, within_s=30, reconnect=True) as station:
        station.until(ECLIPSE_S + 60)
        assert station.wait("hk_power", within=2)["sunlit"] == 0
        jobs = {number: dict(job) for number, job in station.jobs.items()}
        assert any(job["state"] == JobState.RUNNING for job in jobs.values())
        open_command = station.send("node_off", node=3).accepted()
        killed_s = station.t_s
        before = flown.score()
        flight.send_signal(signal.SIGKILL)
        flight.wait()

        # The boards are alone: the world runs on for as long as was said, and then holds.
        while (alone := flown.score())["sim_s"] < killed_s + ABSENT_S:
            assert flown.world.poll() is None
        later = flown.score()
        assert later["sim_s"] == alone["sim_s"]
        mean_w = (alone["energy"]["nodes_j"] - before["energy"]["nodes_j"]) / (alone["sim_s"] - before["sim_s"])
        assert mean_w < NODES * FLOOR_W * 1.1
        assert not any(alone["violations"].values()), alone["violations"]
        assert alone["trips"]["uvlo"] == 0

        flown.fly()
        hk = station.wait("hk_flight", lambda hk: hk["mode"] == Mode.NOMINAL and hk["boot_count"] == 2, within=120)
        assert hk.t_s <= alone["sim_s"] + 30
        with contextlib.suppress(CommandFailed):
            open_command.completed(within=60)
        assert open_command.state in (State.COMPLETED, State.FAILED)
        station.advance(10)
        for number, job in jobs.items():
            assert station.jobs[number]["checkpoint_mu"] >= job["checkpoint_mu"]
        station.until(ECLIPSE_S + 1033 + 400)
        assert any(node["state"] == NodeState.ACTIVE for node in station.nodes) or all(
            job["state"] == JobState.DONE for job in station.jobs.values()
        )

    score = flown.score()
    assert not any(score["violations"].values()), score["violations"]
    assert not any(score["link_errors"].values()), score["link_errors"]


def test_the_world_outlives_its_flights(flown: Flown):
    for _ in range(5):
        flight = flown.fly()
        with Station.connect(flown.url, within_s=30) as station:
            station.advance(3)
            flight.send_signal(signal.SIGKILL)
            flight.wait()
    flown.world.send_signal(signal.SIGTERM)
    out, err = flown.world.communicate()
    assert flown.world.returncode == 0, err
    assert json.loads(out)["ticks"] > 5 * 30
