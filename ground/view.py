"""The live view: one frame of the satellite at any size, and the driver that redraws it while a station pumps."""

from __future__ import annotations

from collections import deque
from types import TracebackType

from rich.box import ROUNDED
from rich.console import Console, Group
from rich.layout import Layout
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from ground import panels, words
from ground.icd import Mode
from ground.link import wall_s
from ground.station import Station
from ground.telemetry import Event, Sample

FRAME_S = 0.2  # of wall-clock time between two frames
SMALLEST = (60, 18)
_SPEED_OVER_S = 2.0
_HISTORY = 240


class Pace:
    """Simulated seconds per wall-clock second over the last two seconds."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, float]] = deque()

    def mark(self, now_s: float, t_s: float) -> float | None:
        """Takes the two clocks; returns the pace, None until it is known."""
        self._marks.append((now_s, t_s))
        while len(self._marks) > 2 and now_s - self._marks[1][0] >= _SPEED_OVER_S:
            self._marks.popleft()
        wall, simulated = now_s - self._marks[0][0], t_s - self._marks[0][1]
        return simulated / wall if wall > 0.5 else None


class View:
    """Frames of one station. Follows its samples for the little history that a frame shows."""

    def __init__(self, station: Station) -> None:
        self.note = ""  # one line of the operator's script
        self.pace: float | None = None
        self._station = station
        self._soc: deque[float] = deque(maxlen=_HISTORY)
        self._soc_t_us = -1
        self._scale_w = 1000.0
        self._pace = Pace()

    def take_note(self, line: str) -> None:
        """Shows a line of the operator's script."""
        self.note = line

    def look(self, now_s: float) -> None:
        """Takes note of the latest telemetry before a frame."""
        power = self._station.telemetry.get("hk_power")
        if self._station.t_us:
            self.pace = self._pace.mark(now_s, self._station.t_s)
        if power is None:
            return
        most_mw = max(power.available_mw, power.array_mw, power.load_mw + power.hotel_mw)
        self._scale_w = max(self._scale_w, most_mw / 1e3)
        if power.t_us - self._soc_t_us >= 20_000_000 or self._soc_t_us < 0:
            self._soc_t_us = power.t_us
            self._soc.append(power.soc_cpct / 1e4)

    def frame(self, width: int, height: int) -> Layout | Group:
        """One frame that fills width x height characters."""
        power = self._station.telemetry.get("hk_power")
        if power is None:
            return Group(self.header(width), Text("waiting for telemetry ...", panels.DIM))
        if width < SMALLEST[0] or height < SMALLEST[1]:
            lines = panels.power_lines(power, width, self._scale_w)[: max(height - 1, 0)]
            return Group(self.header(width), *lines)
        nodes = self._station.nodes
        power_height = 8
        bottom_least = 6 if height < 30 else 9
        grid_room = height - 1 - power_height - bottom_least
        grid = panels.node_lines(nodes, width - 4, max(grid_room - 2, 1))
        layout = Layout()
        layout.split_column(
            Layout(self.header(width), size=1),
            Layout(name="power", size=power_height),
            Layout(_panel("nodes", grid, panels.node_legend(nodes)), size=len(grid) + 2),
            Layout(name="bottom"),
        )
        right = max(width * 2 // 5, 30)
        layout["power"].split_row(
            Layout(_panel("power", panels.power_lines(power, width - right - 4, self._scale_w))),
            Layout(_panel("battery", panels.battery_lines(power, nodes, self._soc, right - 4)), size=right),
        )
        rows = height - 1 - power_height - len(grid) - 2 - 2
        left = min(max(width * 9 // 20, 34), 70)
        jobs = self._station.telemetry.get("hk_jobs")
        layout["bottom"].split_row(
            Layout(
                _panel("jobs", panels.job_lines(self._station.jobs.values(), left - 4, rows), _job_count(jobs)),
                size=left,
            ),
            Layout(_panel("events", panels.event_lines(self._station.events, width - left - 4, rows), self.note)),
        )
        return layout

    def header(self, width: int) -> Text:
        """Mode, sun, clock, speed and the health of the link, in one line."""
        flight, power = self._station.telemetry.get("hk_flight"), self._station.telemetry.get("hk_power")
        text = panels.say(" DAWNLINE ", "bold black on yellow")
        if flight is not None:
            nominal = flight.mode == Mode.NOMINAL
            text.append(
                f" {words.enum_name('mode', flight.mode).upper()} ", "black on green" if nominal else "black on red"
            )
        if power is not None:
            text.append("  ☀ sunlit" if power.sunlit else "  ☾ eclipse", "yellow" if power.sunlit else "dodger_blue1")
        text.append(f"  {words.clock(self._station.t_s)}", "bold")
        if self.pace is not None:
            text.append(f" ×{self.pace:.0f}" if self.pace >= 9.95 else f" ×{self.pace:.1f}", "cyan")
        if flight is not None:
            text.append(f"  {flight.boards_ready} boards", panels.DIM)
            if flight.boards_lost:
                text.append(f" {flight.boards_lost} lost", panels.BAD)
        text.append("  " + self._link_text(), panels.DIM if self._station.up else panels.BAD)
        text.truncate(width, overflow="ellipsis")
        return text

    def _link_text(self) -> str:
        if not self._station.up:
            return "link down"
        counters = self._station.link_counters
        lost = counters["lost_packets"] + counters["crc_errors"]
        held = "held " if self._station.holding else ""
        return f"{held}{counters['packets']} packets" + (f", {lost} lost" if lost else "")


class LiveView:
    """Redraws a view in the terminal while the station pumps; without a terminal prints events as lines."""

    def __init__(self, station: Station, console: Console) -> None:
        self.view = View(station)
        self._station = station
        self._console = console
        self._next_s = 0.0
        self._printed = 0
        self._live = Live(console=console, screen=True, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> LiveView:
        if self._live:
            self._live.start()
        self._station.idlers.append(self.idle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._station.idlers.remove(self.idle)
        if self._live:
            self._live.stop()
        else:
            self._print_events()

    def idle(self) -> None:
        """Called by the station's pump: draws when a frame is due."""
        now_s = wall_s()
        if now_s < self._next_s:
            return
        self._next_s = now_s + FRAME_S
        self.view.look(now_s)
        if self._live:
            self._live.update(self.view.frame(*self._console.size), refresh=True)
        else:
            self._print_events()

    def _print_events(self) -> None:
        events = self._station.events
        for event in events[self._printed :]:
            self._console.print(plain_event(event), soft_wrap=True, highlight=False, markup=False)
        self._printed = len(events)


def plain_event(event: Event) -> str:
    """One event as a line of text."""
    return f"{words.clock(event.t_s)} {event.severity.name.lower():6s} {event.source_name}: {event.text}"


def draw_once(station: Station, console: Console, width: int, height: int, *, last: bool = False) -> None:
    """Prints one frame; last: of a flight that is over, and with a line to spare for the prompt."""
    view = View(station)
    height = max(height - 1, 1) if last else height
    view.look(wall_s())
    console.print(view.frame(width, height), height=height, width=width)


def _panel(title: str, lines: list[Text], more: str = "") -> Panel:
    heading = panels.say(title, "bold").append(f"  {more}" if more else "", panels.DIM)
    return Panel(Group(*lines), title=heading, title_align="left", box=ROUNDED, border_style=panels.DIM)


def _job_count(jobs: Sample | None) -> str:
    return f"{jobs.running} run · {jobs.queued} wait · {jobs.done} done" if jobs else ""
