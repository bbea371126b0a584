"""The command line: what it prints, how it fails (one line, exit code), and the demo script from end to end."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ground import cli, icd
from tests.ground.radio import Radio
from tests.ground.satellite import Answer, Satellite

ROOT = Path(__file__).resolve().parents[2]


def ground(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    try:
        code = cli.main(list(arguments))
    except SystemExit as stop:
        code = int(str(stop.code))
    out, err = capsys.readouterr()
    return code, out, err


def test_status(live_radio: Radio, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = ground(capsys, "status", "--station", live_radio.url)
    assert (code, err) == (0, "")
    assert "17 ready, 0 lost, 0 refused" in out
    assert "16 off; leases 0 W of" in out
    assert "health" not in out


def test_status_tells_what_has_happened_to_boards(
    live_radio: Radio, satellite: Satellite, capsys: pytest.CaptureFixture[str]
) -> None:
    satellite.harm[icd.Address.NODE_BASE + 3] = {"hangs": 1, "ecc_uncorrected": 2, "checkpoints": 9, "rx_frames": 77}
    satellite.harm[icd.Address.POWER_BOARD] = {"crc_errors": 4, "rx_lost": 12, "overruns": 1}
    code, out, _ = ground(capsys, "status", "--station", live_radio.url)
    assert code == 0
    power, node3 = "4 crc errors, 12 bytes lost by its receiver, 1 overrun", "1 hang, 2 ecc uncorrected"
    assert f"health   power board: {power}; node 3: {node3}\n" in out
    _, out, _ = ground(capsys, "status", "--json", "--station", live_radio.url)
    health = {row["address"]: row for row in json.loads(out)["health"]}
    assert len(health) == 17
    assert (health["node 3"]["hangs"], health["node 3"]["rx_frames"], health["node 4"]["hangs"]) == (1, 77, 0)


def test_status_tells_what_was_learned_and_what_is_not_trusted(
    live_radio: Radio, satellite: Satellite, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = ground(capsys, "status", "--station", live_radio.url)
    assert code == 0
    assert "learned  battery 30.8 Ah, 133.2 mohm; array 95 %, radiators 98 % and 60 % of what the file says\n" in out, (
        out
    )
    assert "sensors" not in out
    satellite.estimate = {"batt_ma": icd.SensorState.STUCK, "soc": icd.SensorState.BIASED, "nodes_out": 2}
    _, out, _ = ground(capsys, "status", "--station", live_radio.url)
    assert "sensors  not trusted: batt_ma stuck, soc biased, of 2 nodes\n" in out
    _, out, _ = ground(capsys, "status", "--json", "--station", live_radio.url)
    estimate = json.loads(out)["hk_estimate"]
    assert (estimate["batt_ma"], estimate["loops"][1]["radiator_permille"]) == ("stuck", 604)


def test_status_without_health(live_radio: Radio, satellite: Satellite, capsys: pytest.CaptureFixture[str]) -> None:
    satellite.answers["hk_request"] = Answer([(0, "acceptance_failed", "out_of_range")])
    satellite.muted |= {"hk_health", "hk_estimate"}
    code, out, err = ground(capsys, "status", "--station", live_radio.url)
    assert (code, err) == (0, "")
    assert "17 ready" in out


def test_status_as_json(live_radio: Radio, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ground(capsys, "status", "--json", "--station", live_radio.url)
    now = json.loads(out)
    assert code == 0
    assert now["icd_match"] is True
    assert now["hk_flight"]["icd_hash"] == f"{icd.ICD_HASH:016x}"
    assert [node["state"] for node in now["nodes"]] == ["off"] * 16
    assert now["hk_power"]["charge_mode"] == "mppt"


def test_jobs(live_radio: Radio, capsys: pytest.CaptureFixture[str]) -> None:
    where = ("--station", live_radio.url)
    for job_id, workload in ((7, "training"), (9, "decode")):
        work = [f"job_id={job_id}", f"workload={workload}", "priority=3", "work_mu=9000", "checkpoint_s=30"]
        assert ground(capsys, "send", "job_submit", *work, *where)[0] == 0
    code, out, err = ground(capsys, "jobs", *where)
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert lines[0][-3:] == ["0.0", "units", "credited"]
    assert lines[2] == ["7", "queued", "training", "3", "1", "-", "0", "%", "0", "%", "0", "-"]
    assert len(lines) == 4
    assert ground(capsys, "send", "job_cancel", "job_id=7", *where)[0] == 0
    now = json.loads(ground(capsys, "jobs", "--json", *where)[1])
    states = {job["job_id"]: job["state"] for job in now["jobs"]}
    assert (states[9], states.get(7, "cancelled")) == ("queued", "cancelled")


def test_status_of_another_icd(capsys: pytest.CaptureFixture[str]) -> None:
    with Radio(Satellite(icd_hash=7), live=True) as live_radio:
        code, out, _ = ground(capsys, "status", "--station", live_radio.url)
        assert code == 0
        assert "ICD      0000000000000007: not ours" in out
        code, _, err = ground(capsys, "send", "ping", "--station", live_radio.url)
    assert code == 1
    assert err.count("\n") == 1
    assert "no command was sent" in err


def test_send(live_radio: Radio, satellite: Satellite, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = ground(capsys, "send", "node_on", "node=3", "--station", live_radio.url)
    assert (code, err) == (0, "")
    assert [line.split()[1:] for line in out.splitlines()] == [
        [stage, "node_on", "node=3"] for stage in ("sent", "accepted", "started", "completed")
    ]
    assert satellite.received == [("node_on", {"node": 3})]


def test_send_as_json(live_radio: Radio, capsys: pytest.CaptureFixture[str]) -> None:
    assert ground(capsys, "send", "parameter_set", "hold_s=20", "--station", live_radio.url)[0] == 0
    code, out, _ = ground(capsys, "send", "parameter_get", "parameters=hold_s", "--json", "--station", live_radio.url)
    sent = json.loads(out)
    assert code == 0
    assert (sent["command"], sent["state"], sent["values"]) == ("parameter_get", "completed", {"hold_s": 20.0})
    assert list(sent["times_s"]) == ["sent", "accepted", "started", "completed"]


def test_a_command_that_fails(live_radio: Radio, satellite: Satellite, capsys: pytest.CaptureFixture[str]) -> None:
    satellite.answers["node_on"] = Answer([(0.1, "accepted", ""), (1, "failed", "board_lost")])
    code, out, err = ground(capsys, "send", "node_on", "node=3", "--json", "--station", live_radio.url)
    assert (code, err) == (1, "ground: node_on node=3: failed: board lost (3)\n")
    assert json.loads(out)["state"] == "failed"
    satellite.answers["node_on"] = Answer([])
    code, _, err = ground(capsys, "send", "node_on", "node=3", "--within", "5", "--station", live_radio.url)
    assert (code, err) == (1, "ground: node_on node=3: not completed within 5 s (it is sent)\n")
    assert ground(capsys, "send", "node_on", "node=3", "--stage", "sent", "--station", live_radio.url)[0] == 0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["send", "node_onn", "node=1"], 2, "unknown command 'node_onn': did you mean node_on?"),
        (["send", "node_on", "nod=1"], 2, "command node_on: unknown argument 'nod': did you mean node?"),
        (["send", "node_on", "node"], 2, "argument 'node': expected name=value (node_on node=0..65535 or all)"),
        (["send", "node_on", "node=99999"], 2, "node_on.node: 99999 is out of range, expected 0..65535"),
        (["send", "parameter_set", "soc_reserve=7"], 2, "soc_reserve: 7 is out of range: expected 0.1..0.9"),
        (["send"], 2, "the following arguments are required: NAME, KEY=VALUE"),
        (["status", "--station", "udp:1:2"], 2, "station 'udp:1:2': expected tcp:HOST:PORT"),
        (["fly"], 2, "invalid choice: 'fly'"),
        (["status", "--connect-within", "nan"], 2, "'nan': expected seconds"),
        (["send", "ping", "--within", "soon"], 2, "'soon': expected seconds"),
        (["watch", "--once", "--size", "80"], 2, "'80': expected WIDTHxHEIGHT"),
        (
            ["run", "no/such/script.py"],
            2,
            "no script 'no/such/script.py': expected a Python file, or one that ships: demo",
        ),
        (["run", "demo", "--report", "/proc/x.html"], 2, "report /proc/x.html: "),
    ],
)
def test_wrong_usage_is_one_line(
    arguments: list[str], code: int, error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    got, out, err = ground(capsys, *arguments)
    assert (got, out) == (code, "")
    assert err.startswith("ground: ")
    assert error in err or arguments == ["send"]
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "verb", [["status"], ["jobs"], ["watch"], ["watch", "--once"], ["send", "ping"], ["run", "demo"]]
)
def test_no_satellite_is_one_line(verb: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    url = f"tcp:127.0.0.1:{free_port()}"
    code, out, err = ground(capsys, *verb, "--station", url, "--connect-within", "0")
    assert (code, out) == (1, "")
    assert err == f"ground: no satellite at {url}: connection refused (a flight run with --radio {url} listens there)\n"


@pytest.mark.parametrize("verb", [[], ["status"], ["jobs"], ["watch"], ["send"], ["run"]])
def test_help_has_an_example(verb: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ground(capsys, *verb, "--help")
    assert code == 0
    assert "example" in out
    assert f"ground {verb[0] if verb else 'run'}" in out


@pytest.mark.parametrize(("size", "lines"), [("80x24", 24), ("120x40", 40)])
def test_watch_once(size: str, lines: int, live_radio: Radio, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ground(capsys, "watch", "--once", "--size", size, "--station", live_radio.url)
    assert code == 0
    assert out.count("\n") == lines
    assert "DAWNLINE" in out
    assert "16 off" in out


def test_watch_ends_when_the_satellite_goes(capsys: pytest.CaptureFixture[str]) -> None:
    with Radio(Satellite(), end_s=20, live=True) as live_radio:
        code, out, err = ground(capsys, "watch", "--station", live_radio.url, "--reconnect-within", "0")
    assert (code, err) == (0, "")
    assert "mode changed: mode nominal" in out
    assert out.endswith(f"ground: the satellite at {live_radio.url} is gone (T+00:00:20)\n")


def test_watch_ends_on_an_interrupt(live_radio: Radio) -> None:
    command = [sys.executable, "-m", "ground.cli", "watch", "--station", live_radio.url]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        assert "flight started" in run.stdout.readline() or "mode changed" in run.stdout.readline()
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=60)
    assert (run.returncode, err) == (0, "")
    assert f"ground: left the satellite at {live_radio.url}" in out


SCRIPT = """
from ground import Mode

def main(station, arguments):
    sample = station.wait("hk_flight", lambda s: s.mode == Mode.NOMINAL, within=10)
    print("nominal at", sample.t_s, *arguments)
    {more}
"""


@pytest.mark.parametrize(
    ("more", "code", "error"),
    [
        ("", 0, ""),
        ("return 3", 3, ""),
        ("1 / 0", 1, "line 7: ZeroDivisionError: division by zero"),
        ("station.wait('hk_power', lambda s: False, within=3)", 1, "no hk_power fulfilled the condition within 3 s"),
        ("station.send('ping', x=1)", 2, "unknown argument 'x'"),
    ],
)
def test_run_a_script(
    more: str, code: int, error: str, radio: Radio, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "procedure.py"
    script.write_text(SCRIPT.format(more=more))
    report = tmp_path / "out" / "report.html"
    got, out, err = ground(capsys, "run", str(script), "a", "b", "--report", str(report), "--station", radio.url)
    assert got == code
    assert out == f"nominal at 3.0 a b\nreport: {report}\n"
    assert error in err
    assert err.count("\n") == bool(error)
    assert report.exists()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("x = 1", "expected a function main(station, arguments)"),
        ("def main(:", "line 1: invalid syntax"),
        ("import nothing_there", "ModuleNotFoundError: No module named 'nothing_there'"),
    ],
)
def test_a_script_that_cannot_run(text: str, error: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "procedure.py"
    script.write_text(text)
    code, _, err = ground(capsys, "run", str(script))
    assert code == 2
    assert error in err
    assert err.count("\n") == 1


def test_the_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "demo.html"
    with Radio(Satellite(4), end_s=5924) as radio:
        code, out, err = ground(
            capsys, "run", "demo", "--hold", "--watch", "--report", str(report), "--station", radio.url
        )
    assert (code, err) == (0, "")
    for text in ("NOMINAL: switching every node on", "eclipse: on the battery", "sunrise after 1033 s", "0 failed"):
        assert text in out
    assert report.stat().st_size > 200_000


def test_the_procedure_of_the_handbook_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    script = tmp_path / "procedure.py"
    script.write_text(page.split("```python\n")[1].split("```")[0])
    with Radio(Satellite(4)) as radio:
        code, out, err = ground(capsys, "run", str(script), "--station", radio.url)
    assert (code, err) == (0, "")
    assert out == "eclipse at 3893 s, battery 100 %\n"
