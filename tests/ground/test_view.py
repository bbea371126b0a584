"""The live view: one frame at several sizes, and the driver with and without a terminal."""

import io

import pytest
from rich.console import Console

from ground import Station, icd
from ground.panels import bar, sparkline
from ground.view import LiveView, Pace, View, draw_once
from tests.ground.radio import Radio
from tests.ground.satellite import Satellite


def frame(station: Station, width: int, height: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None, force_terminal=False)
    draw_once(station, console, width, height)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text.rstrip("\n").split("\n")


@pytest.fixture
def flying(station: Station) -> Station:
    """Sixteen nodes, a job of each class, 200 s after start."""
    station.send("node_on", node="all").completed(within=10)
    for job_id, workload in enumerate(("training", "prefill", "decode"), 1):
        station.send(
            "job_submit", job_id=job_id, workload=workload, priority=job_id, work_mu=90_000, checkpoint_s=30
        ).completed(within=5)
    station.until(200)
    return station


@pytest.mark.parametrize(("width", "height"), [(80, 24), (132, 43), (200, 60)])
def test_a_frame_fills_the_terminal_and_no_more(flying: Station, width: int, height: int) -> None:
    lines = frame(flying, width, height)
    assert len(lines) == height
    assert max(map(len, lines)) == width
    text = "\n".join(lines)
    for word in ("DAWNLINE", "NOMINAL", "☀ sunlit", "T+00:03:20", "array", "battery", "hotel", "leases", "coolant"):
        assert word in text
    assert "13 idle · 3 active" in text
    assert "#3   decode" in text
    assert "job started: job id 3, node 0" in text


def test_the_frame_at_80x24(flying: Station) -> None:
    lines = frame(flying, 80, 24)
    assert lines[1].startswith("╭─ power ─")
    assert lines[2].startswith("│ ☀ array")
    assert lines[9].startswith("╭─ nodes  13 idle · 3 active")
    grid = "\n".join(lines[10:14])
    assert [f"{n:2d} " in grid for n in range(16)] == [True] * 16
    assert lines[15].startswith("╭─ jobs  3 run · 0 wait · 0 done")
    assert lines[23].startswith("╰─")


@pytest.mark.parametrize("nodes", [1, 4, 160, 1024])
def test_any_number_of_nodes_fits(nodes: int) -> None:
    with Radio(Satellite(nodes)) as radio, Station.connect(radio.url) as station:
        station.until(8)
        for width, height in ((80, 24), (160, 50), (60, 18), (40, 10)):
            lines = frame(station, width, height)
            assert len(lines) <= height
            assert max(map(len, lines)) <= width


def test_before_the_first_packet(station: Station) -> None:
    assert "waiting for telemetry" in "\n".join(frame(station, 80, 24))


def test_eclipse_turns_the_battery_around(satellite: Satellite) -> None:
    satellite.t_us = 3_890_000_000
    with Radio(satellite) as radio, Station.connect(radio.url) as station:
        station.advance(10)
        text = "\n".join(frame(station, 100, 30))
    assert "☾ eclipse" in text
    assert "├◀ battery" in text
    assert "discharging" in text


def test_what_is_wrong_is_said(station: Station, satellite: Satellite) -> None:
    hk_nodes = satellite._node_row

    def lost(node):
        return {**hk_nodes(node), "status": int(icd.BoardStatus.LOST)} if node.index == 5 else hk_nodes(node)

    satellite._node_row = lost  # type: ignore[method-assign]
    station.until(6)
    assert "1 lost" in "\n".join(frame(station, 80, 24))


def test_a_terminal_gets_frames_and_is_left_clean(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")  # a build machine's may be dumb
    out = io.StringIO()
    console = Console(file=out, width=80, height=24, force_terminal=True, color_system="standard", legacy_windows=False)
    with LiveView(station, console):
        station.advance(5)
    text = out.getvalue()
    assert "\x1b[?1049h" in text
    assert text.rstrip().endswith("\x1b[?25h") or "\x1b[?1049l" in text[-40:]
    assert station.idlers == []


def test_without_a_terminal_events_are_lines(station: Station) -> None:
    out = io.StringIO()
    with LiveView(station, Console(file=out, force_terminal=False)):
        station.advance(5)
    assert "T+00:00:03 info   flight: mode changed: mode nominal, mode reason steady" in out.getvalue()
    assert "\x1b" not in out.getvalue()


def test_the_pace_is_known_after_half_a_second() -> None:
    pace = Pace()
    assert pace.mark(10.0, 0.0) is None
    assert pace.mark(10.4, 160.0) is None
    assert pace.mark(11.0, 400.0) == pytest.approx(400)
    for tenth in range(1, 40):
        last = pace.mark(11.0 + tenth / 10, 400.0 + tenth)
    assert last == pytest.approx(10)


@pytest.mark.parametrize(
    ("share", "text"), [(-1, "░░░░"), (0, "░░░░"), (0.5, "██░░"), (0.53, "██▏░"), (1, "████"), (7, "████")]
)
def test_bars_are_exact_to_an_eighth(share: float, text: str) -> None:
    assert bar(share, 4, "green").plain == text


def test_a_bar_is_light_only_up_to_its_limit() -> None:
    assert bar(0.25, 8, "green", limit=0.5).plain == "██░░    "


def test_a_sparkline_shows_the_last_values() -> None:
    assert sparkline([0, 0, 0.5, 1], 3, "green", 0, 1).plain == "▁▅█"


def test_a_view_of_a_lost_link_says_so(station: Station) -> None:
    station.advance(2)
    station.close()
    assert "link down" in View(station).header(80).plain
