"""A recorded flight as columns: packets decoded in bulk with the dtypes of the ICD."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ground import icd
from ground.icd import JobState
from ground.recorder import Recorder
from ground.telemetry import Event, Telemetry, packet_name

Floats = NDArray[np.float64]
Columns = dict[str, Floats]

_NODE_COLUMNS = ("power_mw", "cap_mw", "lease_mw", "die_cdeg", "hbm_cdeg", "coolant_cdeg", "state", "job_id")


@dataclass
class NodeTable:
    """Housekeeping of all nodes: t_s of shape (T,), every column of shape (T, nodes), NaN where nothing came."""

    t_s: Floats
    columns: Columns

    @property
    def count(self) -> int:
        """Number of nodes."""
        return int(self.columns["power_mw"].shape[1])


@dataclass
class JobTrack:
    """One job: its last row, and where it ran as (node, from s, to s)."""

    row: dict[str, Any]
    runs: list[tuple[int, float, float]] = field(default_factory=list)


@dataclass
class History:
    """A whole flight as ground saw it. Times are simulated seconds; the units of columns are in their names."""

    power: Columns
    flight: Columns
    work: Columns  # t_s, work_mu
    nodes: NodeTable | None
    jobs: dict[int, JobTrack]
    events: list[Event]
    packets: int
    lost_packets: int

    @property
    def span_s(self) -> tuple[float, float]:
        """First and last time of housekeeping; (0, 0) without any."""
        times = [c["t_s"] for c in (self.power, self.flight) if len(c.get("t_s", ()))]
        return (min(float(t[0]) for t in times), max(float(t[-1]) for t in times)) if times else (0.0, 0.0)

    @property
    def eclipses(self) -> list[tuple[float, float]]:
        """When the satellite said that it is in shadow: (from s, to s)."""
        t_s, dark = self.power.get("t_s", np.empty(0)), self.power.get("sunlit", np.empty(0)) == 0
        if not dark.any():
            return []
        edges = np.flatnonzero(np.diff(np.concatenate(([False], dark, [False])).astype(int)))
        return [(float(t_s[a]), float(t_s[min(b, len(t_s) - 1)])) for a, b in edges.reshape(-1, 2)]


def read(recorder: Recorder) -> History:
    """Decodes everything that a recorder holds."""
    state = Telemetry()
    raw: dict[str, list[tuple[int, bytes]]] = {"hk_power": [], "hk_flight": [], "hk_nodes": [], "hk_jobs": []}
    for packet in recorder.packets():
        if packet.apid == icd.Apid.RADIO:
            continue
        name = packet_name(packet)
        if name in raw:
            raw[name].append((packet.t_us, packet.data))
            state.count(packet)
            state.t_us = max(state.t_us, packet.t_us)
        else:
            state.take(packet)
    work, jobs = _jobs(raw["hk_jobs"], state.t_us / 1e6)
    return History(
        _columns("hk_power", raw["hk_power"]),
        _columns("hk_flight", raw["hk_flight"]),
        work,
        _nodes(raw["hk_nodes"]),
        jobs,
        list(state.events),
        state.packets,
        state.lost_packets,
    )


def _columns(name: str, rows: list[tuple[int, bytes]]) -> Columns:
    dtype = icd.DTYPES[name]
    good = [(t_us, data) for t_us, data in rows if len(data) == dtype.itemsize]
    table = np.frombuffer(b"".join(data for _, data in good), dtype)
    columns = {field: table[field].astype(np.float64) for field in dtype.names or () if field != "selector"}
    return {"t_s": np.array([t_us for t_us, _ in good], np.float64) / 1e6, **columns}


def _nodes(pages: list[tuple[int, bytes]]) -> NodeTable | None:
    if not pages:
        return None
    head, row = icd.DTYPES["hk_nodes"], icd.RECORD_DTYPES["node_row"]
    times = sorted({t_us for t_us, _ in pages})
    index = {t_us: i for i, t_us in enumerate(times)}
    total = max(int(np.frombuffer(data, head, 1)["total"][0]) for _, data in pages)
    columns = {name: np.full((len(times), total), np.nan) for name in _NODE_COLUMNS}
    for t_us, data in pages:
        rows = np.frombuffer(data, row, offset=head.itemsize)
        for name, column in columns.items():
            column[index[t_us], rows["node"]] = rows[name]
    return NodeTable(np.array(times, np.float64) / 1e6, columns)


def _jobs(pages: list[tuple[int, bytes]], end_s: float) -> tuple[Columns, dict[int, JobTrack]]:
    jobs: dict[int, JobTrack] = {}
    work: list[tuple[float, float]] = []
    for t_us, data in pages:
        values = icd.decode("hk_jobs", data)
        work.append((t_us / 1e6, values["work_mu"]))
        for row in values["jobs"]:
            track = jobs.setdefault(row["job_id"], JobTrack(row))
            _extend(track, row, t_us / 1e6)
            track.row = row
    for track in jobs.values():
        if track.row["state"] == JobState.RUNNING and track.runs:
            node, since, _ = track.runs[-1]
            track.runs[-1] = (node, since, end_s)
    table = np.array(work, np.float64).reshape(-1, 2)
    return {"t_s": table[:, 0], "work_mu": table[:, 1]}, dict(sorted(jobs.items()))


def _extend(track: JobTrack, row: dict[str, Any], t_s: float) -> None:
    """A job that runs on the same node as before goes on; one that ended ran until now."""
    was_running = track.row["state"] == JobState.RUNNING and bool(track.runs)
    if was_running and track.runs[-1][0] == track.row["node"]:
        node, since, _ = track.runs[-1]
        track.runs[-1] = (node, since, t_s)
    if row["state"] == JobState.RUNNING and not (was_running and track.runs[-1][0] == row["node"]):
        track.runs.append((row["node"], t_s, t_s))
