"""The world as a process of its own: joining, leaving, being killed, holding, refusing."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hal import cli, icd
from hal.errors import WorldError
from hal.rig import Rig
from hal.server import Server
from hal.wire import HEAD, TICK_HEAD, Channel, Kind, ask, connect, default_socket
from hal.world import World
from tests.hal.talker import Talker, small_rig

ROOT = Path(__file__).parents[2]
FLIGHT = """
import sys
from hal._native import ffi
from hal.remote import RemoteWorld
step = ffi.callback("int(void *, uint64_t, const struct bus_batch *, struct bus_batch *)", lambda c, t, rx, tx: 0)
world = RemoteWorld(sys.argv[1])
while True:
    print(world.t_us, world.rig.name, flush=True)
    if world.run(int(sys.argv[2]), int(ffi.cast("uintptr_t", step)), 0) == 0:
        break
"""


@dataclass
class Served:
    """A world that is served by a child process."""

    rig: Rig
    path: Path
    process: subprocess.Popen[str]
    flights: list[Flight]

    def join(self) -> Flight:
        self.flights.append(Flight(self.path))
        return self.flights[-1]

    def ask(self, **request: object) -> dict[str, Any]:
        return ask(self.path, request, icd.ICD_HASH)

    def status(self) -> dict[str, Any]:
        return self.ask(do="status")

    def wait_until(self, key: str, value: object) -> dict[str, Any]:
        """Ask for the status until it says so."""
        while (status := self.status())[key] != value:
            pass
        return status

    def end(self) -> dict[str, Any]:
        """SIGTERM; the score that it prints."""
        self.process.send_signal(signal.SIGTERM)
        return self.final()

    def final(self) -> dict[str, Any]:
        out, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0
        score: dict[str, Any] = json.loads(out)
        return score


class Serve:
    """Starts `hal serve`."""

    def __init__(self, folder: Path) -> None:
        self.rig = small_rig(folder)
        self.path = folder / "w.sock"
        self.all: list[subprocess.Popen[str]] = []
        self.flights: list[Flight] = []

    def __call__(self, *options: str) -> Served:
        command = [sys.executable, "-m", "hal.cli", "serve", str(self.rig.path), "--socket", str(self.path), "--json"]
        process = subprocess.Popen(
            [*command, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self.all.append(process)
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith("hal: serving small (4 boards) at "), line
        return Served(self.rig, self.path, process, self.flights)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    starter = Serve(tmp_path)
    yield starter
    for flight in starter.flights:
        flight.channel.close()
    for process in starter.all:
        process.kill()
        process.communicate()


class Flight:
    """A flight computer of few words."""

    def __init__(self, path: Path) -> None:
        self.channel, self.welcome = connect(path, "flight", icd.ICD_HASH)

    def fly(self, ticks: int, talker: Talker | None = None) -> int:
        """Answer so many ticks; the time of the last."""
        t_us = 0
        for _ in range(ticks):
            kind, body = self.channel.read()
            assert kind == Kind.TICK
            t_us, _ = TICK_HEAD.unpack_from(body)
            answer = talker(t_us, memoryview(body)[TICK_HEAD.size :]) if talker else b""
            self.channel.send(Kind.STEP, answer)
        return t_us


def test_same_world_as_in_process(serve: Serve) -> None:
    served = serve("--for", "20", "--speed", "max")
    far, near = Talker(3), Talker(3)
    flight = served.join()
    assert flight.welcome["rig"] == str(served.rig.path)
    assert flight.fly(200, far) == 20_000_000
    score = served.final()
    with World(served.rig) as world:
        for _ in range(200):
            world.step(near)
        assert far.heard == near.heard
        assert score == world.score()
    assert not served.path.exists()


def test_holds_until_flight_joins_and_after_it_was_away_too_long(serve: Serve) -> None:
    served = serve("--absent-speed", "max", "--absent-for", "3")
    assert served.status() == {"t_us": 0, "ticks": 0, "flight": False, "holding": True}
    flight = served.join()
    flight.fly(10)
    flight.channel.close()
    # Ten ticks were answered; the eleventh may have been under way.
    ticks = served.wait_until("holding", True)["ticks"]
    assert ticks in (40, 41)
    assert [served.status()["ticks"] for _ in range(5)] == [ticks] * 5
    again = served.join()
    assert again.welcome["t_us"] == ticks * 100_000
    assert again.fly(5) == (ticks + 5) * 100_000
    again.channel.close()
    assert served.end()["ticks"] >= ticks + 5


def test_killed_flight_never_wedges_the_world(serve: Serve) -> None:
    served = serve("--absent-speed", "max", "--absent-for", "5")
    for _ in range(3):
        before = served.status()["ticks"]
        command = [sys.executable, "-c", FLIGHT, str(served.path), "10"]
        flight = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert flight.stdout is not None
        for _ in range(4):
            assert flight.stdout.readline().split()[1] == "small"
        flight.kill()
        flight.communicate()
        assert served.wait_until("holding", True)["ticks"] >= before + 30 + 50
    score = served.end()
    assert not any(score["link_errors"].values())


def test_one_flight_at_a_time_and_only_one_that_speaks_the_same(serve: Serve) -> None:
    served = serve()
    flight = served.join()
    flight.fly(2)
    with pytest.raises(WorldError, match="refused: a flight computer has joined already, expected one at a time"):
        served.join()
    with pytest.raises(WorldError, match="refused: ICD hash 0000000000000001, expected "):
        connect(served.path, "flight", 1)
    with pytest.raises(WorldError, match="refused: role guest, expected flight or control"):
        connect(served.path, "guest", icd.ICD_HASH)
    assert flight.fly(3) == 500_000


@pytest.mark.parametrize(
    "bytes_sent",
    [b"\xff" * 64, b"\1\0\0\0\x63", b"\3\0\0\0\1{}", b"\5\0\0\0\6null", b"\1\0\1\0\1" + b"[" * (1 << 16)],
)
def test_rubbish_on_the_socket_ends_that_connection_alone(serve: Serve, bytes_sent: bytes) -> None:
    served = serve()
    flight = served.join()
    flight.fly(1)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(served.path))
        sock.sendall(bytes_sent)
        while sock.recv(4096):
            pass
    assert flight.fly(3) == 400_000


@pytest.mark.parametrize(("kind", "body"), [(Kind.HELLO, b"{}"), (Kind.STEP, bytes(15 << 20))])
def test_rubbish_from_flight_is_its_end(serve: Serve, kind: Kind, body: bytes) -> None:
    served = serve("--absent-speed", "max", "--absent-for", "1")
    flight = served.join()
    flight.channel.send(kind, body)
    served.wait_until("holding", True)
    assert served.join().fly(1) > 0


def test_half_a_record_from_flight_is_dropped_and_the_world_goes_on(serve: Serve) -> None:
    served = serve()
    flight = served.join()
    flight.channel.send(Kind.STEP, b"\1")
    assert flight.fly(3) == 300_000


def test_a_client_that_takes_no_answers_is_let_go(serve: Serve) -> None:
    served = serve()
    mute, _ = connect(served.path, "control", icd.ICD_HASH)
    request = b'{"do": "score"}'
    flood = (HEAD.pack(len(request) + 1, Kind.REQUEST) + request) * 100_000
    mute.sock.settimeout(0)
    with pytest.raises(OSError, match=r"unavailable|[Bb]roken|reset"):
        mute.sock.sendall(flood)
    assert served.status()["ticks"] == 0
    mute.close()


def test_boards_and_faults_over_the_control_line(serve: Serve) -> None:
    served = serve("--absent-speed", "max", "--absent-for", "10")
    flight = served.join()
    flight.fly(1)
    flight.channel.close()
    served.wait_until("holding", True)
    served.ask(do="off", board="node1")
    assert served.ask(do="score")["absent_boards"] == ["node1"]
    served.ask(do="on", board="node1")
    assert served.ask(do="score")["absent_boards"] == []
    served.ask(do="fault", kind="string_open", index=3)
    for request, message in (
        ({"do": "off", "board": "node9"}, "no board 'node9', expected power, node0 .. node2"),
        ({"do": "on", "board": "node1"}, "board node1 is on already"),
        ({"do": "dance"}, "request 'dance' is not known, expected score, status, off, on, fault or lift"),
        ({"do": "fault", "kind": "string_open", "index": 99}, "fault.index: 99 is out of range, expected 0 to 15"),
        ({"do": "fault", "kind": "string_open", "index": -1}, "fault: index: -1 is out of range, expected an integer"),
        ({"do": "fault", "kind": "string_open", "index": 1 << 99}, "fault: index: 6.33825e.29 is out of range"),
        ({"do": "fault", "kind": "string_open", "index": 1e999}, "fault: index: expected an integer .* got inf"),
        ({"do": "fault", "kind": "stuck", "board": "node1", "speed": 1}, "fault: speed: unknown key, expected one of"),
        ({"do": "fault", "kind": "stuck", "board": "node1"}, "fault.sensor: missing, expected a sensor of node1"),
        ({"do": "lift", "kind": "stuck", "board": "node1"}, "no fault stuck node1 is in force"),
    ):
        with pytest.raises(WorldError, match=message):
            served.ask(**request)


# ---------------------------------------------------------------- the command line
def test_faults_by_hand(serve: Serve, capfd: pytest.CaptureFixture[str]) -> None:
    served = serve("--absent-speed", "max", "--absent-for", "30")
    where = ["--rig", str(served.rig.path), "--socket", str(served.path)]
    stuck = ["fault", "stuck", "--board", "node1", "--sensor", "die_cdeg", *where]
    assert cli.main([*stuck, "--json"]) == 0
    assert capfd.readouterr().out == "{}\n"
    assert cli.main([*stuck]) == 1
    assert capfd.readouterr().err.endswith(": node1 die_cdeg is stuck already\n")
    assert (
        cli.main(
            ["fault", "drop", "--board", "node2", "--rate", "0.5", "--direction", "to_board", "--for", "2", *where]
        )
        == 0
    )
    assert cli.main(["fault", "drop", "--board", "node2", "--rate", "1.5", *where]) == 1
    assert capfd.readouterr().err.endswith(": fault: rate: 1.5 is out of range, expected a number from 0 to 1\n")
    flight = served.join()
    flight.fly(30)
    flight.channel.close()
    assert cli.main([*stuck, "--lift"]) == 0
    assert cli.main([*stuck, "--lift"]) == 1
    assert capfd.readouterr().err.endswith(": no fault stuck node1 die_cdeg is in force\n")
    first, second = served.ask(do="score")["faults"]
    assert (first["kind"], first["on"], first["begun_s"]) == ("stuck", "sensor", 0.0)
    assert first["lifted_s"] >= 3.0
    assert (second["kind"], second["board"], second["lifted_s"]) == ("drop", "node2", 2.0)


def test_faults_are_listed(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["faults", "--json"]) == 0
    facts = json.loads(capfd.readouterr().out)
    kinds = {(fault["on"], fault["kind"]): fault for fault in facts["faults"]}
    assert len(kinds) == len(facts["faults"]) == 34
    assert kinds["board", "nvm_cut"]["backends"] == ["mock"]
    assert kinds["link", "flip"]["rate"] == 0.001
    assert kinds["sensor", "bias"]["value"]["default"] is None
    assert {"sensor": "die_cdeg", "unit": "0.01 degC", "index": None, "low": -32768, "high": 32767} in facts["sensors"][
        "compute_node"
    ]
    assert cli.main(["faults"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert sum(line.startswith(("board ", "link ", "sensor ", "plant ")) for line in lines) == 34


def test_stale_socket_is_replaced_and_a_served_one_is_not(serve: Serve, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(serve.path))
    serve()
    assert cli.main(["serve", str(serve.rig.path), "--socket", str(serve.path)]) == 1
    assert capfd.readouterr().err.strip() == f"hal: {serve.path}: another world is served there"


def test_a_path_that_is_no_socket_is_left_as_it_is(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    assert cli.main(["serve", "desk", "--socket", str(tmp_path / "notes.txt")]) == 1
    assert "is not a socket" in capfd.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["serve", "nowhere"], "hal: rig 'nowhere': none of that name ships, expected one of "),
        (["serve", "demo", "--tick", "99"], "hal: --tick: 99 is out of range, expected 0.01 to 2 s"),
        (["serve", "demo", "--for", "-1"], "hal: --for: -1 is out of range, expected 0 to 1e9 s"),
        (["serve", "demo", "--socket", "/proc/none/x.sock"], "hal: /proc/none/x.sock: cannot serve there: "),
        (["serve", "demo", "--socket", "/etc/passwd"], "hal: /etc/passwd: "),
        (["score", "demo", "--socket", "/proc/none/x.sock"], "hal: /proc/none/x.sock: no world is served there ("),
        (["board", "off", "node1", "--socket", "/nope"], "hal: /nope: no world is served there (No such file"),
    ],
)
def test_wrong_use_gets_one_line(arguments: list[str], message: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 1
    err = capfd.readouterr().err
    assert err.startswith(message)
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["serve", "demo", "--speed", "fast"], ["serve"], ["serve", "demo", "--speed", "0"]]
)
def test_usage_errors_exit_with_2_and_one_line(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        cli.main(arguments)
    assert error.value.code == 2
    err = capfd.readouterr().err
    assert err.startswith("hal: ")
    assert err.count("\n") == 1


def test_an_absent_port_of_a_rig_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rig = small_rig(tmp_path, '[boards.node1]\nlink = "serial:/dev/not-there"\n')
    assert cli.main(["serve", str(rig.path), "--socket", str(tmp_path / "w.sock")]) == 1
    assert capfd.readouterr().err.startswith(
        "hal: serial:/dev/not-there (node1): /dev/not-there is not there, expected"
    )


@pytest.mark.parametrize("command", ["serve", "score", "board", "scan", "assign", "doctor", "flash"])
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        cli.main([command, "--help"])
    assert error.value.code == 0
    assert f"example:\n  hal {command}" in capsys.readouterr().out


def test_default_socket_is_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert default_socket("demo") == Path("/run/user/7/dawnline/demo.sock")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert str(os.getuid()) in default_socket("demo").parent.name


def test_messages_may_arrive_in_any_pieces() -> None:
    ours, theirs = socket.socketpair()
    sender, receiver = Channel(ours), Channel(theirs)
    with ours, theirs:
        sender.send_json(Kind.REQUEST, {"do": "score"})
        sender.send(Kind.STEP, b"")
        whole = theirs.recv(4096)
        for i in range(len(whole)):
            ours.sendall(whole[i : i + 1])
            receiver.fill()
            if i < 19:
                assert receiver.take() is None
        assert receiver.take() == (Kind.REQUEST, b'{"do": "score"}')
        assert receiver.take() == (Kind.STEP, b"")
        assert receiver.take() is None


def test_a_served_world_may_have_more_than_a_thousand_descriptors(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    many = [os.dup(0) for _ in range(1100)]
    answers: list[dict[str, Any]] = []
    try:
        with World(small_rig(tmp_path)) as world:
            server = Server(world, tmp_path / "w.sock")

            def client() -> None:
                answers.append(ask(server.path, {"do": "status"}, icd.ICD_HASH))
                server.stop()

            thread = threading.Thread(target=client, daemon=True)
            thread.start()
            server.serve()
            thread.join()
            server.close()
    finally:
        for fd in many:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert [answer["holding"] for answer in answers] == [True]
