"""The summary tiles of a report: what the flight came to, in numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ground.history import Floats, History
from ground.icd import JobState, Mode, NodeState, Severity

_J_PER_KWH = 3.6e6
Tile = dict[str, str]


def tile_list(flown: History, summary: Mapping[str, Any]) -> list[Tile]:
    """Tiles of label, value, note and tone (good, bad or plain), from telemetry and, where it is known, the truth."""
    if not len(flown.power["t_s"]):
        return []
    tiles = [_time(flown, summary), *_energy(flown, summary), _battery(flown, summary), _compute(flown, summary)]
    tiles += [_jobs(flown), _hottest(flown), _events(flown), _link(flown)]
    if summary.get("violations") is not None:
        tiles.append(_violations(summary["violations"]))
    return [tile for tile in tiles if tile]


def _tile(label: str, value: str, note: str = "", tone: str = "plain") -> Tile:
    return {"label": label, "value": value, "note": note, "tone": tone}


def _time(flown: History, summary: Mapping[str, Any]) -> Tile:
    low, high = flown.span_s
    dark = summary.get("eclipse_s")
    dark_s = sum(b - a for a, b in flown.eclipses) if dark is None else float(dark)
    speed = summary.get("speed")
    pace = f", flown at {speed:,.0f} times real time" if speed else ""
    return _tile("Flight", _duration(high - low), f"{dark_s:,.0f} s of it in eclipse{pace}")


def _energy(flown: History, summary: Mapping[str, Any]) -> list[Tile]:
    energy = summary.get("energy") or {}
    power = flown.power
    available = _or(energy.get("pv_available_j"), _integral(power, "available_mw")) / _J_PER_KWH
    used = _or(energy.get("pv_used_j"), _integral(power, "array_mw")) / _J_PER_KWH
    nodes = _or(energy.get("nodes_j"), _integral(power, "load_mw")) / _J_PER_KWH
    load = nodes + _or(energy.get("hotel_j"), _integral(power, "hotel_mw")) / _J_PER_KWH
    by = "" if "pv_available_j" in energy else ", by the on-board estimate"
    share = f"{100 * used / available:.0f} % of the {available:.2f} kWh it could give{by}" if available else ""
    part = f"{100 * nodes / load:.0f} % of the load" if load else ""
    return [_tile("From the array", f"{used:.2f} kWh", share), _tile("Into the nodes", f"{nodes:.2f} kWh", part)]


def _battery(flown: History, summary: Mapping[str, Any]) -> Tile:
    known = flown.power["t_s"] >= _settled_s(flown)
    soc = flown.power["soc_cpct"][known] / 100
    least = (summary.get("energy") or {}).get("soc_min")
    lowest = float(soc.min()) if least is None else 100 * float(least)
    lowest_v = flown.power["bus_mv"][known].min() / 1e3
    note = f"{soc[-1]:.0f} % at the end, bus at least {lowest_v:.1f} V"
    return _tile("Lowest charge", f"{lowest:.1f} %", note, "bad" if lowest < 20 else "plain")


def _settled_s(flown: History) -> float:
    """When the satellite was first NOMINAL; before that the board has not measured its battery yet."""
    nominal = flown.flight["t_s"][flown.flight["mode"] == Mode.NOMINAL]
    return min(float(nominal[0]), float(flown.power["t_s"][-1])) if len(nominal) else 0.0


def _compute(flown: History, summary: Mapping[str, Any]) -> Tile:
    compute = summary.get("compute") or {}
    work = flown.work["work_mu"]
    units = _or(compute.get("work"), float(work[-1] - work[0]) / 1e3 if len(work) else 0.0)
    hours = compute.get("gpu_hours")
    if hours is None and flown.nodes is not None and len(flown.nodes.t_s) > 1:
        active = np.nansum(flown.nodes.columns["state"] == NodeState.ACTIVE, axis=1).astype(float)
        hours = float(np.trapezoid(active, flown.nodes.t_s)) / 3600
    note = "" if hours is None else f"units of work in {hours:.1f} node-hours"
    return _tile("Compute", f"{units:,.0f}", note)


def _jobs(flown: History) -> Tile:
    states = [track.row["state"] for track in flown.jobs.values()]
    if not states:
        return {}
    done, failed = states.count(JobState.DONE), states.count(JobState.FAILED)
    rest = len(states) - done - failed - states.count(JobState.CANCELLED)
    note = f"{rest} unfinished" + (f", {failed} failed" if failed else "")
    return _tile("Jobs done", f"{done} of {len(states)}", note, "bad" if failed else "plain")


def _hottest(flown: History) -> Tile:
    if flown.nodes is None:
        return {}
    die, hbm = (np.nanmax(flown.nodes.columns[name]) / 100 for name in ("die_cdeg", "hbm_cdeg"))
    coolant = np.nanmax(flown.nodes.columns["coolant_cdeg"]) / 100
    return _tile(
        "Hottest die", f"{die:.0f} °C", f"HBM {hbm:.0f} °C, coolant {coolant:.0f} °C", "bad" if die > 95 else "plain"
    )


def _events(flown: History) -> Tile:
    high = sum(event.severity == Severity.HIGH for event in flown.events)
    medium = sum(event.severity == Severity.MEDIUM for event in flown.events)
    return _tile("Events", f"{len(flown.events):,}", f"{high} high, {medium} medium", "bad" if high else "plain")


def _link(flown: History) -> Tile:
    lost = f"{flown.lost_packets:,} lost" if flown.lost_packets else "none lost"
    return _tile("Packets", f"{flown.packets:,}", lost, "bad" if flown.lost_packets else "plain")


def _violations(violations: Mapping[str, int]) -> Tile:
    total = sum(violations.values())
    named = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in violations.items() if count)
    note = named or "no under-voltage, heat, lease or charge limit broken"
    return _tile("Violations", f"{total:,}", note, "bad" if total else "good")


def _integral(columns: dict[str, Floats], name: str) -> float:
    """J of a column in mW."""
    return float(np.trapezoid(columns[name], columns["t_s"])) / 1e3


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else float(value)


def _duration(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours} h {rest // 60:02d} min" if hours else f"{rest // 60} min {rest % 60:02d} s"
