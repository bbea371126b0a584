"""`flight optimum` as it is run: what it prints and writes, and how it refuses."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from flight import cli
from flight.optimum.baselines import BASELINES
from flight.optimum.cases import CASES, SIZES, find
from flight.optimum.study import Outcome, Task, result_of

NAMES = [
    "dawn-dusk-600-worst-eclipse", "dawn-dusk-600-no-eclipse", "sentinel-1a", "inclined-30", "mixed-classes",
    "decode-heavy", "training-swings", "half-budget", "aged-battery", "hot-radiator", "string-loss", "pump-loop-loss",
    "stuck-sensor", "wrong-ephemeris", "node-deaths",
]  # fmt: skip
FAULTS = NAMES[10:]


def test_the_cases_are_those_that_were_asked_for():
    assert [case.name for case in CASES] == NAMES
    assert [case.name for case in CASES if case.fault] == FAULTS
    assert set(SIZES) == {16, 160}


@pytest.mark.parametrize("name", NAMES)
def test_every_case_makes_a_rig_of_either_size(name: str):
    for nodes in SIZES:
        rig = find(name).rig(nodes, 3)
        assert (rig.nodes, rig.seed) == (nodes, 3)
        assert sum(entry.command == "job_submit" for entry in rig.timeline) == nodes


def test_one_short_flight_as_json_with_its_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out, pages = tmp_path / "optimum.json", tmp_path / "pages"
    code = cli.main(["optimum", "--case", "string-loss", "--nodes", "16", "--orbits", "0.1", "--json",
                     "--out", str(out), "--report", str(pages)])  # fmt: skip
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(out.read_text())
    (case,) = printed["cases"]
    assert (case["name"], case["nodes"], case["fault"]) == ("string-loss", 16, True)
    assert 0.5 < case["fraction"] <= 1
    assert case["fraction"] <= case["fraction_of_reference"]
    assert code == int(case["violations"] > 0)
    assert set(case["baselines"]) == set(BASELINES)
    assert all(0.3 < fraction <= 1 for fraction in case["baselines"].values())
    assert 0.2 < case["soc_min"] <= 0.86
    page = (pages / "string-loss-16.html").read_text()
    assert "string-loss, 16 nodes" in page
    assert "Lost: start" in page


def outcome(seed: int, fraction: float, violations: int, best: float) -> Outcome:
    kinds = {"lease_sum": violations, "undervoltage": 0}
    return Outcome(seed, fraction * 100, 100.0, 99.0, fraction, 0.7, 0.5 + seed / 100, kinds, {"equal-share": best})


def test_the_worst_seed_counts():
    tasks = [Task(CASES[0], 16, seed, 3.0) for seed in (1, 2)]
    (entry,) = result_of(tasks, [outcome(1, 0.98, 0, 0.95), outcome(2, 0.96, 1, 0.955)])["cases"]
    assert entry["fraction"] == 0.96
    assert entry["fraction_mean"] == pytest.approx(0.97)
    assert entry["soc_min"] == pytest.approx(0.51)
    assert entry["violations"] == 1
    assert entry["baselines"] == {"equal-share": 0.955}
    assert entry["lead"] == pytest.approx(0.005)
    assert [s["seed"] for s in entry["seeds"]] == [1, 2]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--case", "nope"], "case 'nope': there is none of that name"),
        (["--nodes", "17"], "--nodes 17: expected one of 16, 160"),
        (["--out", "/"], "--out /: is a folder, expected a file"),
        (["--out", "/no/such/folder/x.json"], "--out /no/such/folder/x.json: not writable"),
        (["--report", "/dev/null"], "--report /dev/null: "),
    ],
)
def test_wrong_input_is_one_line(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["optimum", *arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"flight: {text}")
    assert error.count("\n") == 1


def test_without_scipy_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setitem(sys.modules, "scipy", None)
    assert cli.main(["optimum", "--nodes", "16"]) == 1
    assert capsys.readouterr().err == "flight: flight optimum needs scipy: pip install 'dawnline[optimum]'\n"


KILLED = """
import signal
from flight.optimum.study import pool
with pool(1) as workers:
    print(workers.submit(abs, -1).result(), flush=True)
    workers.submit(signal.pause).result()
"""


def test_workers_end_with_a_command_that_is_killed():
    program = subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    assert program.stdout.readline() == "1\n"
    program.kill()
    assert program.stdout.read() == "", "its worker has closed the pipe that it inherited"
    program.wait()
    program.stdout.close()
