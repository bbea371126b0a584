"""What the live view shows, as lines of text for a given width and height: pure functions of the telemetry."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.text import Text

from ground import icd, words
from ground.icd import BoardStatus, JobState, NodeState, Severity
from ground.telemetry import NO_NODE, Event, Sample

SUN, BATTERY, LOAD, COOL, DIM = "yellow", "green", "dodger_blue1", "cyan", "bright_black"
HOT, BAD = "dark_orange", "bold red"

_NODE_STYLES = {
    NodeState.OFF: DIM,
    NodeState.BOOT: "yellow",
    NodeState.IDLE: "cyan",
    NodeState.ACTIVE: "green",
    NodeState.HALTED: "magenta",
    NodeState.FAULT: BAD,
}
_SEVERITY_STYLES = {
    Severity.INFO: "default",
    Severity.LOW: "yellow",
    Severity.MEDIUM: HOT,
    Severity.HIGH: BAD,
}
_JOB_STYLES = {
    JobState.QUEUED: DIM,
    JobState.ASSIGNED: "yellow",
    JobState.RUNNING: "green",
    JobState.DONE: LOAD,
    JobState.CANCELLED: "magenta",
    JobState.FAILED: BAD,
}
_JOB_RANK = [JobState.RUNNING, JobState.ASSIGNED, JobState.QUEUED, JobState.DONE, JobState.FAILED, JobState.CANCELLED]
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_LEVELS = "▁▂▃▄▅▆▇█"


def say(text: str, style: str = "default") -> Text:
    """Styled text whose style does not spread to what is appended."""
    return Text().append(text, style)


def bar(share: float, width: int, style: str, limit: float = 1.0) -> Text:
    """A bar filled to a share of 0..1, to an eighth of a character; light up to the limit, empty beyond."""
    whole, part = divmod(round(min(max(share, 0.0), 1.0) * width * 8), 8)
    text = say("█" * whole + (_EIGHTHS[part] if part else ""), style)
    light = max(round(min(limit, 1.0) * width) - len(text), 0)
    blank = width - light - len(text)
    return text.append("░" * light, DIM).append(" " * blank)


def sparkline(values: Sequence[float], width: int, style: str, low: float, high: float) -> Text:
    """The last values as a line of columns between low and high."""
    span = max(high - low, 1e-9)
    shown = list(values)[-width:]
    levels = [min(max(int((v - low) / span * 8), 0), 7) for v in shown]
    return say("".join(_LEVELS[level] for level in levels).ljust(width), style)


def power_lines(power: Sample, width: int, scale_w: float) -> list[Text]:
    """Where the power comes from and where it goes; every bar has the same scale."""
    array_w, available_w = power.array_mw / 1e3, power.available_mw / 1e3
    nodes_w, hotel_w = power.load_mw / 1e3, power.hotel_mw / 1e3
    battery_w = power.bus_mv * power.batt_ma / 1e6
    room = max(width - 26, 4)

    def row(tree: str, name: str, style: str, value_w: float, limit_w: float = 0.0, plus: str = "") -> Text:
        text = say(tree, DIM).append(name.ljust(15 - len(tree)), style).append(f"{value_w / 1e3:{plus}6.2f} kW  ")
        return text.append(bar(abs(value_w) / scale_w, room, style, limit_w / scale_w))

    discharging = battery_w < 0
    arrow, style = ("├◀ ", HOT) if discharging else ("├▶ ", BATTERY)
    guaranteed_w, leases_w = power.guaranteed_mw / 1e3, power.lease_sum_mw / 1e3
    bus = say("╰▶ ", DIM).append("bus".ljust(12)).append(f"{power.bus_mv / 1e3:6.2f} V   ")
    lines = [
        row("", "☀ array" if power.sunlit else "☾ array", SUN, array_w, available_w),
        bus.append(f"array can give {available_w / 1e3:.2f} kW", DIM),
        row("   " + arrow, "battery", style, battery_w, plus="+"),
        row("   ├▶ ", "nodes", LOAD, nodes_w),
        row("   ╰▶ ", "hotel", COOL, hotel_w),
        row("", "leases", BAD if leases_w > guaranteed_w else "magenta", leases_w, guaranteed_w),
    ]
    return [_crop(line, width) for line in lines]


def battery_lines(power: Sample, nodes: Sequence[Sample], history: Sequence[float], width: int) -> list[Text]:
    """State of charge, what the battery does, the hottest temperatures."""
    soc = power.soc_cpct / 1e4
    style = BAD if soc < 0.25 else HOT if soc < 0.4 else BATTERY
    amps = power.batt_ma / 1e3
    doing = "charging" if amps > 0.05 else "discharging" if amps < -0.05 else "at rest"
    mode = words.enum_name("charge_mode", power.charge_mode)
    flags = words.flag_names("power_flag", power.flags)
    alarms = [flag for flag in flags if flag in ("uvlo latched", "shedding", "autonomous", "sensor fault")]
    gauge = say(f"{soc * 100:5.1f} % ", "bold " + style).append(bar(soc, width - 8, style))
    lines = [
        gauge,
        say(f"{amps:+.1f} A {doing}").append(f"  {mode}", DIM),
        say(", ".join(alarms), BAD) if alarms else say(f"tier {power.tier}", DIM).append(f"  {_left(power)}"),
        _temperatures([("battery", power.batt_cdeg, 35, 45), ("array", power.array_cdeg, 100, 120)]),
    ]
    if nodes:
        hottest = [max(row[key] for row in nodes) for key in ("die_cdeg", "hbm_cdeg", "coolant_cdeg")]
        lines.append(
            _temperatures([("die", hottest[0], 75, 83), ("hbm", hottest[1], 85, 95), ("coolant", hottest[2], 60, 75)])
        )
    lines.append(say("soc ", DIM).append(sparkline(history, width - 4, style, 0.0, 1.0)))
    return [_crop(line, width) for line in lines]


def _left(power: Sample) -> str:
    age_s = power.tlm_age_ms / 1e3
    return f"telemetry {age_s:.1f} s old" if age_s > 1 else f"{power.strings_live} strings"


def _temperatures(items: Iterable[tuple[str, int, int, int]]) -> Text:
    text = Text()
    for name, cdeg, warm_c, hot_c in items:
        style = BAD if cdeg >= hot_c * 100 else HOT if cdeg >= warm_c * 100 else "default"
        text.append(f"{name} ", DIM).append(f"{cdeg / 100:.0f}° ", style)
    return text


def node_lines(nodes: Sequence[Sample], width: int, height: int) -> list[Text]:
    """The node grid in the richest form that fits: cells with numbers, short cells, or one column a node."""
    digits = len(str(max((node.node for node in nodes), default=0)))
    scale_mw = max((max(node.cap_mw, node.power_mw) for node in nodes), default=0) or 1
    for cell, least in ((_wide_cell, 27), (_cell, 19), (_short_cell, 11)):
        most = max((width + 1) // least, 1)
        rows = max(-(-len(nodes) // most), min(4, height))
        columns = -(-len(nodes) // rows)
        if rows <= height:
            cell_width = (width + 1) // max(columns, 1)
            return [_join([cell(n, cell_width - 1, scale_mw, digits) for n in nodes[at::rows]]) for at in range(rows)]
    per_row = max((width - 5) // 10 * 10, 10)
    rows = -(-len(nodes) // per_row)
    lines = [say(f"{at:4d} ", DIM) + _columns(nodes[at : at + per_row]) for at in range(0, rows * per_row, per_row)]
    return lines[:height]


def _join(cells: Sequence[Text]) -> Text:
    return Text(" ").join(cells)


def node_style(node: Sample) -> str:
    """The colour of a node: what it does, or that it is lost."""
    if node.status == BoardStatus.LOST:
        return "white on red"
    if node.status != BoardStatus.READY:
        return "magenta"
    return _NODE_STYLES.get(node.state, DIM)


def _doing(node: Sample) -> str:
    if node.status == BoardStatus.LOST:
        return "lost"
    if node.state == NodeState.ACTIVE and node.workload:
        return words.enum_name("workload", node.workload)
    return words.enum_name("node_state", node.state)


def _node_bar(node: Sample, width: int, scale_mw: int) -> Text:
    """The draw, light up to the cap."""
    return bar(node.power_mw / scale_mw, width, node_style(node), node.cap_mw / scale_mw)


def _wide_cell(node: Sample, width: int, scale_mw: int, digits: int) -> Text:
    text = say(f"{node.node:{digits}d} ", DIM).append(f"{_doing(node):8.8s} ", node_style(node))
    text.append(_node_bar(node, width - 20 - digits, scale_mw)).append(f"{node.power_mw / 1e3:5.0f}W")
    return text.append(f"{node.die_cdeg / 100:3.0f}°", _heat(node))


def _cell(node: Sample, width: int, scale_mw: int, digits: int) -> Text:
    text = say(f"{node.node:{digits}d} ", DIM).append(f"{_doing(node)[0].upper()} ", node_style(node))
    text.append(_node_bar(node, width - 12 - digits, scale_mw)).append(f"{node.power_mw / 1e3:4.0f}W")
    return text.append(f"{node.die_cdeg / 100:3.0f}°", _heat(node))


def _short_cell(node: Sample, width: int, scale_mw: int, digits: int) -> Text:
    text = say(f"{node.node:{digits}d}", DIM)
    room = width - 5 - digits
    text.append(_node_bar(node, room, scale_mw) if room > 2 else " " * room)
    return text.append(f"{node.power_mw / 1e3:4.0f}W", node_style(node))


def _columns(row: Sequence[Sample]) -> Text:
    line = Text()
    for node in row:
        level = min(int(node.power_mw / 1e5), 7)
        on = node.state not in (NodeState.OFF, NodeState.FAULT)
        line.append(_LEVELS[level] if on else "·", node_style(node))
    return line


def _heat(node: Sample) -> str:
    throttled = node.flags & (icd.NodeFlag.THROTTLE_DIE | icd.NodeFlag.THROTTLE_HBM)
    return BAD if node.die_cdeg >= 8300 else HOT if throttled or node.die_cdeg >= 7500 else DIM


def node_legend(nodes: Sequence[Sample]) -> str:
    """How many nodes are in which state, the most first."""
    counts: dict[str, int] = {}
    for node in nodes:
        lost = node.status == BoardStatus.LOST
        name = "lost" if lost else words.enum_name("node_state", node.state)
        counts[name] = counts.get(name, 0) + 1
    return " · ".join(f"{n} {name}" for name, n in sorted(counts.items(), key=lambda item: -item[1]))


def job_lines(jobs: Iterable[Sample], width: int, height: int) -> list[Text]:
    """One line per job with its progress; running ones first, then queued, then the newest that ended."""

    def rank(job: Sample) -> tuple[int, int, int]:
        ended = job.state >= JobState.DONE
        return _JOB_RANK.index(job.state), -job.t_us if ended else -job.priority, job.job_id

    lines = []
    for job in sorted(jobs, key=rank)[:height]:
        style = _JOB_STYLES.get(job.state, "default")
        share = job.progress_mu / job.total_mu if job.total_mu else 0.0
        where = "   " if job.node == NO_NODE else f"n{job.node:02d}"
        line = say(f"#{job.job_id:<4d}", "bold").append(f"{words.enum_name('workload', job.workload):8.8s} ")
        state = words.enum_name("job_state", job.state)
        right = f" {share * 100:3.0f}%" if job.state in (JobState.RUNNING, JobState.ASSIGNED) else f" {state}"
        line.append(f"{where} ", DIM).append(bar(share, max(width - len(line) - len(right), 3), style))
        lines.append(_crop(line.append(right, style), width))
    return lines or [say("no jobs yet", DIM)]


def event_lines(events: Sequence[Event], width: int, height: int) -> list[Text]:
    """The newest events, the newest at the bottom."""
    lines = []
    for event in list(events)[-height:] if height > 0 else []:
        style = _SEVERITY_STYLES[event.severity]
        line = say(words.clock(event.t_s)[2:] + " ", DIM)
        source = "" if event.source == icd.Address.FLIGHT else f"{event.source_name}: "
        lines.append(_crop(line.append(source, DIM).append(event.text, style), width))
    return lines or [say("no events yet", DIM)]


def _crop(line: Text, width: int) -> Text:
    line.truncate(width, overflow="ellipsis")
    return line
