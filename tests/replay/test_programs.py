"""Recording and replaying as a user does: whole programs, a real ground station, kill -9, a full disk."""

from __future__ import annotations

import json
import resource
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flight.icd import PARAMETERS
from ground.errors import CommandFailed
from ground.station import Station
from hal.recording import Recording
from tests.replay.flown import desk
from tests.system.programs import ROOT, command, environment, run, run_json, start

FLIGHT_S = 600
FAULTS = """
[[fault]]
kind = "off"
board = "node1"
at_s = 200.0
for_s = 60.0
[[fault]]
kind = "string_open"
index = 0
at_s = 300.0
[[fault]]
kind = "latch_up"
index = 2
value = 20.0
at_s = 380.0
for_s = 5.0
[[fault]]
kind = "off"
board = "power"
at_s = 450.0
for_s = 4.0
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def replays(path: Path) -> dict[str, Any]:
    """The result of a replay that must find every byte the same."""
    result = run_json("flight", "replay", path)
    assert result["same"] is True
    assert result["difference"] is None
    return result


def operate(station: Station) -> None:
    """What an operator may do in ten minutes, wrong things as well."""
    station.advance(15)
    station.send("node_on", node="all").started(within=30)
    for k in range(4):
        job = {"job_id": 900 + k, "workload": "training", "priority": 4, "work_mu": 90_000, "checkpoint_s": 20}
        station.send("job_submit", **job).accepted(within=30)
    with pytest.raises(CommandFailed):
        station.send("job_submit", **job).accepted(within=30)
    station.advance(100)
    station.send("parameter_set", values=[{"parameter": PARAMETERS["hk_nodes_period_s"].id, "value": 3.0}]).completed(
        within=30
    )
    station.send("board_reset", address=258).completed(within=60)
    station.send("hk_request", structure=1).completed(within=30)
    station.until(500)
    station.send("node_off", node=0).started(within=30)
    station.send("job_cancel", job_id=902)


def test_ten_minutes_with_faults_and_a_ground_station(tmp_path: Path) -> None:
    rig, record, port = desk(tmp_path, FAULTS).path, tmp_path / "desk.rec", free_port()
    url = f"tcp:127.0.0.1:{port}"
    flight = start(
        "flight", "run", "--rig", rig, "--for", FLIGHT_S, "--record", record, "--radio", url, "--await-ground", 60,
        "--json",
    )  # fmt: skip
    with (
        Station.connect(url, within_s=60) as station,
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as noise,
    ):
        noise.sendall(b"this is no telecommand, and neither is this " * 20)
        operate(station)
        station.until(FLIGHT_S - 1)
    out, err = flight.communicate()
    assert flight.returncode == 0, err
    flown = json.loads(out)
    assert flown["recording"] == {"file": str(record), "bytes": record.stat().st_size}
    assert flown["board_losses"] >= 2
    result = replays(record)
    assert result["ticks"] == flown["ticks"] == FLIGHT_S * 10
    assert result["ended"] is True
    with Recording(record) as recording:
        notes = b"".join(recording.blocks())
    assert b'"skipped":880' in notes, "the garbage"
    boards = run_json("hal", "replay", record)["boards"]
    assert [board["boots"] for board in boards.values()] == [2, 1, 2, 1, 1]


def test_live_commands_between_paced_ticks(tmp_path: Path) -> None:
    """An operator who holds no time, against a flight at a pace: commands arrive at ticks of their own choosing."""
    rig, record, url = desk(tmp_path).path, tmp_path / "desk.rec", f"tcp:127.0.0.1:{free_port()}"
    flight = start(
        "flight", "run", "--rig", rig, "--for", 60, "--record", record, "--radio", url, "--await-ground", 60,
        "--speed", 20,
    )  # fmt: skip
    with Station.connect(url, hold=False, within_s=60) as station:
        for k in range(12):
            job = {"job_id": 900 + k, "workload": "decode", "priority": 4, "work_mu": 90_000, "checkpoint_s": 20}
            station.send("job_submit", **job).completed(within=30)
            station.send("ping").completed(within=30)
    _, err = flight.communicate()
    assert flight.returncode == 0, err
    with Recording(record) as recording:
        commands = [r.body for r in recording.records() if r.kind == 17]
    assert any(b'"slow":false' in body for body in commands)
    assert replays(record)["ended"] is True


def test_killed_flights_of_a_served_world(tmp_path: Path) -> None:
    """kill -9 in the middle; the next flight goes on with the same storage; the world keeps its own recording."""
    rig, world_socket, url = desk(tmp_path).path, tmp_path / "world.sock", f"tcp:127.0.0.1:{free_port()}"
    world = start(
        "hal", "serve", rig, "--socket", world_socket, "--speed", "max", "--absent-speed", "max", "--absent-for", 20,
        "--record", tmp_path / "world.rec", "--json",
    )  # fmt: skip
    try:
        while not world_socket.exists():
            assert world.poll() is None, world.communicate()
        for name in ("first.rec", "second.rec"):
            flight = start(
                "flight", "run", "--world", world_socket, "--storage", tmp_path / "storage", "--radio", url,
                "--record", tmp_path / name, "--await-ground", 60,
            )  # fmt: skip
            with Station.connect(url, within_s=60) as station:
                station.advance(30)
                station.send("board_reset", address=257).started(within=30)
                while (tmp_path / name).stat().st_size < 40_000:
                    station.advance(30)
                flight.kill()
                flight.communicate()
    finally:
        world.send_signal(signal.SIGTERM)
        world.communicate()
    for name in ("first.rec", "second.rec"):
        result = replays(tmp_path / name)
        assert result["ended"] is False
        assert result["ticks"] > 300
    boards = run_json("hal", "replay", tmp_path / "world.rec")
    assert boards["same"] is True
    assert all(board["frames"] > 500 for board in boards["boards"].values())
    said = run("flight", "replay", tmp_path / "world.rec")
    assert said.returncode == 1
    assert "holds no flight computer" in said.stderr


def test_kill_9_leaves_a_recording_that_replays(tmp_path: Path) -> None:
    record = tmp_path / "desk.rec"
    flight = start("flight", "run", "--rig", "desk", "--record", record, "--speed", "max")
    while not record.exists() or record.stat().st_size < 200_000:
        assert flight.poll() is None
    flight.kill()
    flight.communicate()
    result = replays(record)
    assert result["ended"] is False
    assert result["ticks"] > 1000
    record.write_bytes(record.read_bytes()[: -1 - result["cut_bytes"]])
    for words in (("flight", "replay"), ("hal", "replay"), ("hal", "export", "--csv", tmp_path / "frames")):
        done = run(words[0], words[1], record, *words[2:])
        assert done.returncode == 0
        assert "bytes of a cut block are left out" in done.stdout + done.stderr


def limited(size: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize("full", ["file", "device"])
def test_a_full_disk_ends_the_recording_in_one_line_and_not_the_flight(tmp_path: Path, full: str) -> None:
    record = Path("/dev/full") if full == "device" else tmp_path / "desk.rec"
    words = command("flight", "run", "--rig", "desk", "--for", 600, "--record", record, "--json")
    preexec = None if full == "device" else limited(150_000)
    done = subprocess.run(
        words, env=environment(), cwd=ROOT, capture_output=True, text=True, check=False, preexec_fn=preexec
    )
    assert done.returncode == 1
    assert json.loads(done.stdout)["ticks"] == 6000
    why = "No space left on device" if full == "device" else "File too large"
    assert done.stderr.startswith(f"flight: {record}: {why}: the recording ends after ")
    assert done.stderr.count("\n") == 1
    if full == "file":
        result = replays(record)
        assert result["ended"] is False
        assert result["ticks"] > 100


@pytest.mark.parametrize("what", ["--csv", "--pcapng"])
def test_a_full_disk_ends_an_export_in_one_line(tmp_path: Path, what: str) -> None:
    record = tmp_path / "desk.rec"
    run_json("flight", "run", "--rig", "desk", "--for", 60, "--record", record)
    done = subprocess.run(
        command("hal", "export", record, what, tmp_path / "out"), env=environment(), cwd=ROOT, capture_output=True,
        text=True, check=False, preexec_fn=limited(20_000),
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == f"hal: {tmp_path / 'out'}: cannot write there: File too large\n"


def test_recorded_or_not_the_flight_is_the_same(tmp_path: Path) -> None:
    flown = [
        run_json("flight", "run", "--rig", "desk", "--for", 120, *more)
        for more in ([], ["--record", tmp_path / "desk.rec"])
    ]
    assert flown[0]["bus_sha256"] == flown[1]["bus_sha256"]
    assert flown[0]["recording"] is None


WRONG = {
    "no such file": (None, "No such file"),
    "empty": (b"", "is empty"),
    "another file": (b"name = 'rig'\n", "is no recording"),
    "garbage": (bytes(range(256)), "is no recording"),
    "a newer version": (b"DAWNREC\n\x02\x00\x00\x00", "format 2, this program reads format 1"),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("words", [("flight", "replay"), ("hal", "replay"), ("hal", "export", "--csv", "out")])
def test_wrong_files_get_one_line(tmp_path: Path, words: tuple[str, ...], name: str) -> None:
    content, says = WRONG[name]
    if content is not None:
        (tmp_path / "x.rec").write_bytes(content)
    done = run(words[0], words[1], tmp_path / "x.rec", *words[2:], cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"{words[0]}: {tmp_path / 'x.rec'}: ")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_recording_of_another_icd_is_refused(tmp_path: Path) -> None:
    from hal.recording import header_block

    header = {"board_bus": {"icd_hash": "0" * 16}, "software": {"version": "v0.9-3-gabc"}}
    (tmp_path / "x.rec").write_bytes(header_block(header))
    done = run("flight", "replay", tmp_path / "x.rec")
    assert done.returncode == 1
    assert "recorded with board-bus ICD 0000000000000000" in done.stderr
    assert "v0.9-3-gabc" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_file_that_is_none_of_ours_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    done = run("flight", "run", "--rig", "desk", "--for", 1, "--record", tmp_path / "notes.txt")
    assert done.returncode == 1
    assert "is there already and is no recording" in done.stderr
    assert (tmp_path / "notes.txt").read_text() == "mine"
