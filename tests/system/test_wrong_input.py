"""Wrong input of every kind: one clear line, a non-zero exit, and nothing changed."""

import json
import socket
from pathlib import Path

import pytest

from tests.system.programs import run

RIG = """
name = "mine"
satellite = "desk"
seed = 1
tick_s = 0.1
flight_absent_s = 600.0
[orbit]
tle = "sentinel-1a.tle"
start_s = 0.0
[boards.power]
link = "mock:"
[boards.nodes]
link = "mock:"
"""


def one_line(name: str, *arguments: object, cwd: Path) -> str:
    """Runs a command that must fail; returns the one line that it says."""
    files = sorted(cwd.rglob("*"))
    done = run(name, *arguments, cwd=cwd)
    assert done.returncode != 0
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    message = lines[-1]
    assert message.startswith((f"{name}: ", f"{name} "))
    assert all(line.startswith(("usage:", " ")) for line in lines[:-1]), done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(cwd.rglob("*")) == files, "a refused command left something behind"
    return message


@pytest.mark.parametrize(
    ("find", "put", "says"),
    [
        ('satellite = "desk"', 'satellite = "disk"', "disk"),
        ("tick_s = 0.1", "tick_s = -0.1", "tick_s"),
        ("tick_s = 0.1", "tick_s = 'often'", "tick_s"),
        ("seed = 1", "sead = 1", "sead"),
        ('tle = "sentinel-1a.tle"', 'tle = "sentinel-2z.tle"', "sentinel-2z.tle"),
        ('link = "mock:"', 'link = "pigeon:"', "pigeon"),
        ('link = "mock:"', 'link = "process:/bin/other"', "/bin/other"),
        ('name = "mine"', 'name = "../mine"', "name"),
        ('name = "mine"', 'name = ""', "name"),
        ("[orbit]", "[orbit", "mine.toml"),
        ("start_s = 0.0", "start_s = 0.0\naltitude_km = 600.0", "orbit"),
    ],
)
def test_rig_files(find: str, put: str, says: str, tmp_path: Path):
    rig = tmp_path / "mine.toml"
    rig.write_text(RIG.replace(find, put, 1), encoding="utf-8")
    assert says in one_line("flight", "run", "--rig", rig, "--for", 1, cwd=tmp_path)


def test_malformed_orbit(tmp_path: Path):
    (tmp_path / "bent.tle").write_text("BENT\n1 39634U 14016A   26189.96\n2 39634  98.1787\n", encoding="utf-8")
    rig = tmp_path / "mine.toml"
    rig.write_text(RIG.replace("sentinel-1a.tle", str(tmp_path / "bent.tle")), encoding="utf-8")
    assert "bent.tle" in one_line("flight", "run", "--rig", rig, "--for", 1, cwd=tmp_path)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--rig", "nowhere.toml"], "nowhere.toml"),
        (["--rig", ""], "rig ''"),
        (["--rig", "long" * 1000], "rig 'long"),
        (["--rig", "desk", "--for", "-3"], "--for"),
        (["--rig", "desk", "--orbits", "many"], "--orbits"),
        (["--rig", "desk", "--speed", "0"], "--speed"),
        (["--rig", "desk", "--speed", "1e-300"], "--speed"),
        (["--rig", "desk", "--tick", "99"], "tick"),
        (["--rig", "desk", "--backend", "pigeon"], "--backend"),
        (["--rig", "desk", "--radio", "udp:nowhere"], "udp:nowhere"),
        (["--rig", "desk", "--for", "1", "--report", "/proc/nowhere/report.html"], "/proc/nowhere"),
        (["--rig", "desk", "--for", "1", "--report", "long" * 1000], "too long"),
        (["--rig", "desk", "--for", "1", "--storage", "/proc/nowhere"], "/proc/nowhere"),
        (["--rig", "desk", "--colour", "blue"], "--colour"),
        (["--world", "no.sock"], "no.sock"),
    ],
)
def test_flight_run(arguments: list[str], says: str, tmp_path: Path):
    assert says in one_line("flight", "run", *arguments, cwd=tmp_path)


def test_radio_port_in_use(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = one_line("flight", "run", "--rig", "desk", "--for", 1, "--radio", f"tcp:127.0.0.1:{port}", cwd=tmp_path)
        assert str(port) in said
        assert "in use" in said


def test_serial_ports(tmp_path: Path):
    rig = tmp_path / "mine.toml"
    rig.write_text(RIG.replace('"mock:"', '"serial:/dev/ttyNOWHERE"', 1), encoding="utf-8")
    assert "ttyNOWHERE" in one_line("flight", "run", "--rig", rig, "--for", 1, cwd=tmp_path)


def test_a_full_disk_costs_the_report_and_not_the_result(tmp_path: Path):
    done = run("flight", "run", "--rig", "desk", "--for", 1, "--report", "/dev/full", "--json", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("flight: ")
    assert done.stderr.count("\n") == 1
    assert json.loads(done.stdout)["ticks"] == 10


@pytest.mark.parametrize("name", ["flight", "hal", "ground"])
def test_unknown_verbs(name: str, tmp_path: Path):
    assert "dance" in one_line(name, "dance", cwd=tmp_path)


def test_no_satellite(tmp_path: Path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        said = one_line("ground", "status", "--station", f"tcp:127.0.0.1:{port}", cwd=tmp_path)
        assert str(port) in said


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["node_onn", "node=1"], "node_onn"),
        (["node_on", "nod=1"], "nod"),
        (["node_on", "node=99999999"], "node"),
        (["job_submit", "job_id=1", "workload=gaming", "priority=1", "work_mu=1000", "checkpoint_s=10"], "gaming"),
        (["parameter_set", "soc_target=7"], "soc_target"),
    ],
)
def test_ground_send(words: list[str], says: str, tmp_path: Path):
    assert says in one_line("ground", "send", *words, "--station", "tcp:127.0.0.1:1", cwd=tmp_path)
