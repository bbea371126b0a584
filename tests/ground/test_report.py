"""The report: its numbers against the flight it shows, its errors, and the page in a browser."""

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ground import UsageError, history
from ground.recorder import Recorder
from ground.report import TRUTH_SERIES, check_writable, write_report
from hal._native import ffi
from tests.ground.flown import ORBIT_S, fly
from tests.ground.satellite import ECLIPSE_S, Satellite

SUMMARY = {
    "rig": "demo <1>",
    "speed": 2210.4,
    "eclipse_s": 1033.2,
    "violations": {"undervoltage": 0, "overtemperature": 2, "lease_sum": 0, "soc_floor": 0},
    "energy": {"pv_available_j": 7.2e7, "pv_used_j": 3.6e7, "nodes_j": 1.8e7, "soc_min": 0.701},
    "compute": {"work": 12345.6, "gpu_hours": 20.3},
}


@pytest.fixture(scope="module")
def flown() -> tuple[Recorder, dict[str, np.ndarray], Satellite]:
    satellite = Satellite(8)
    return *fly(satellite), satellite


@pytest.fixture(scope="module")
def page(flown: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "new" / "flight.html"
    write_report(path, flown[0], flown[1], SUMMARY)
    return path


def data_of(path: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text(), re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def floats(packed: dict[str, str]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(packed["b64"]), "<f4")


def series(data: dict[str, Any], chart: str, label: str, truth: bool = False) -> np.ndarray:
    made = next(c for c in data["charts"] if c["id"] == chart)
    return floats(next(s for s in made["series"] if s["label"] == label and s.get("truth", False) == truth)["values"])


def test_history_is_what_was_flown(flown: Any) -> None:
    recorder, truth, satellite = flown
    seen = history.read(recorder)
    assert seen.span_s == (1.0, float(ORBIT_S))
    assert seen.eclipses == [ECLIPSE_S]
    assert seen.lost_packets == 0
    assert len(seen.power["t_s"]) == ORBIT_S
    assert seen.nodes is not None
    assert seen.nodes.columns["power_mw"].shape == (ORBIT_S // 2, 8)
    assert seen.jobs.keys() == satellite.jobs.keys()
    assert {track.row["state"] for track in seen.jobs.values()} <= {0, 2, 3}
    assert seen.work["work_mu"][-1] == pytest.approx(truth["work"][-1] * 1e3, rel=1e-3)


def test_bulk_decoding_agrees_with_packet_by_packet(flown: Any) -> None:
    from ground.telemetry import Telemetry

    state = Telemetry()
    for packet in flown[0].packets():
        state.take(packet)
    seen = history.read(flown[0])
    for name, value in state.latest["hk_power"].items():
        assert seen.power[name][-1] == value
    assert seen.nodes is not None
    for name in ("power_mw", "die_cdeg", "state", "job_id"):
        assert seen.nodes.columns[name][-1].tolist() == [row[name] for row in state.nodes]
    assert seen.packets == state.packets


def test_a_job_that_moved_has_both_its_runs() -> None:
    rows = [(2, 4), (2, 4), (0, 0xFFFF), (2, 7), (3, 7)]
    track = history.JobTrack({"state": 0, "node": 0xFFFF})
    for t_s, (state, node) in enumerate(rows):
        row = {"state": state, "node": node}
        history._extend(track, row, 5.0 * t_s)
        track.row = row
    assert track.runs == [(4, 0.0, 10.0), (7, 15.0, 20.0)]


def test_the_page_holds_the_flight(page: Path, flown: Any) -> None:
    data = data_of(page)
    t_s = floats(data["t"])
    assert (t_s[0], t_s[-1]) == (1.0, ORBIT_S)
    soc = series(data, "soc", "state of charge")
    assert soc.max() == pytest.approx(100, abs=0.1)
    assert series(data, "soc", "state of charge", truth=True) == pytest.approx(soc - 0.4, abs=0.5)
    dark = (t_s > ECLIPSE_S[0] + 5) & (t_s < ECLIPSE_S[1] - 5)
    assert series(data, "power", "array gives")[dark].max() == 0
    assert series(data, "power", "array gives")[~dark].max() > 6
    assert data["eclipses"] == [list(ECLIPSE_S)]
    assert len(base64.b64decode(data["heat"]["cells"]["b64"])) == data["heat"]["columns"] * 8
    assert [job["id"] for job in data["jobs"]] == list(range(1, 20))
    assert any(event["severity"] == 4 and event["source"] == "node 4" for event in data["events"])
    charts = [chart["id"] for chart in data["charts"]]
    assert charts == ["power", "leases", "soc", "bus", "temperature", "compute"]


def test_the_tiles_take_the_truth_where_it_is_known(page: Path) -> None:
    tiles = {tile["label"]: tile for tile in data_of(page)["tiles"]}
    assert tiles["Flight"]["value"] == "1 h 38 min"
    assert "1,033 s of it in eclipse, flown at 2,210 times real time" in tiles["Flight"]["note"]
    assert (tiles["From the array"]["value"], tiles["Lowest charge"]["value"]) == ("10.00 kWh", "70.1 %")
    assert tiles["Compute"]["value"] == "12,346"
    assert (tiles["Violations"]["value"], tiles["Violations"]["tone"]) == ("2", "bad")
    assert tiles["Violations"]["note"] == "2 overtemperature"


def test_the_page_is_self_contained(page: Path) -> None:
    text = page.read_text()
    assert "{{" not in re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    outside = re.findall(
        r"(?:src|href)\s*=\s*[\"']|url\(|@import", re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    )
    assert outside == []
    assert "<title>Dawnline flight: demo &lt;1&gt;</title>" in text
    assert "The MIT License" in text


def test_nothing_but_telemetry_is_needed(tmp_path: Path) -> None:
    recorder, _ = fly(Satellite(29), until_s=200)
    write_report(tmp_path / "a.html", recorder)
    data = data_of(tmp_path / "a.html")
    assert not data["truth"]
    assert data["heat"]["nodes"] == 29
    assert "Violations" not in {tile["label"] for tile in data["tiles"]}


def test_a_flight_without_telemetry_is_a_page_that_says_so(tmp_path: Path) -> None:
    write_report(tmp_path / "a.html", Recorder())
    data = data_of(tmp_path / "a.html")
    assert (data["charts"], data["tiles"], data["heat"], data["jobs"]) == ([], [], None, [])
    assert "no telemetry was received" in (tmp_path / "a.html").read_text()


def test_the_truth_of_a_world_is_known() -> None:
    assert {name for name, _ in ffi.typeof("struct world_sample").fields} - {"t_s"} == TRUTH_SERIES


def test_truth_is_checked(tmp_path: Path) -> None:
    recorder, truth = fly(Satellite(1), until_s=30)
    with pytest.raises(UsageError, match="unknown truth series 'volts': expected array_c available_w"):
        write_report(tmp_path / "a.html", recorder, {**truth, "volts": truth["soc"]})
    with pytest.raises(UsageError, match=r"truth series soc has shape \(2,\): expected \(3,\)"):
        write_report(tmp_path / "a.html", recorder, {**truth, "soc": truth["soc"][1:]})
    assert not (tmp_path / "a.html").exists()


def test_unwritable_paths(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    check_writable(tmp_path / "not" / "yet" / "there.html")
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]
    with pytest.raises(UsageError, match=f"report {tmp_path}: is a folder, expected a file"):
        check_writable(tmp_path)
    with pytest.raises(UsageError, match="file is not a folder"):
        check_writable(tmp_path / "file" / "a.html")
    with pytest.raises(UsageError, match="not writable: "):
        check_writable("/proc/a.html")


def test_a_browser_draws_every_plot_without_an_error(page: Path, tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium to draw the report with: apt-get install chromium")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", f"--user-data-dir={tmp_path}"]
    run = subprocess.run(
        [chromium, *options, "--virtual-time-budget=4000", "--window-size=1280,900", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert [line for line in run.stderr.splitlines() if "CONSOLE" in line] == []
    assert 'data-drawn="9"' in run.stdout
    assert run.stdout.count("<canvas") == 9
    assert run.stdout.count('class="tile') == 10
