"""The plots of a report as data: which series, in which colour role, on which axis; node heat map and jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ground import words
from ground.history import Columns, Floats, History

HEAT_COLUMNS = 1200
Truth = Mapping[str, NDArray[np.float64]]


def chart_list(flown: History, truth: Truth, grid: Floats) -> list[dict[str, Any]]:
    """Every chart on the common time grid; series of the truth are marked as such."""
    charts = _Charts(flown, truth, grid)
    charts.power()
    charts.leases()
    charts.battery()
    charts.voltage()
    charts.temperatures()
    charts.compute()
    return [chart for chart in charts.made if chart["series"]]


def heat_map(flown: History) -> dict[str, Any] | None:
    """Power per node over time as one byte a cell: 255 is the most that any node drew, 0 is off."""
    nodes = flown.nodes
    if nodes is None or len(nodes.t_s) < 2:
        return None
    power_w = np.nan_to_num(nodes.columns["power_mw"]) / 1e3
    columns = min(HEAT_COLUMNS, len(nodes.t_s))
    edges = np.linspace(nodes.t_s[0], nodes.t_s[-1], columns)
    sampled = power_w[np.searchsorted(nodes.t_s, edges, side="right") - 1]
    most_w = max(float(sampled.max()), 1.0)
    cells = np.ceil(sampled / most_w * 255).astype(np.uint8)
    return {
        "t0": float(nodes.t_s[0]),
        "t1": float(nodes.t_s[-1]),
        "columns": columns,
        "nodes": nodes.count,
        "max_w": most_w,
        "cells": np.ascontiguousarray(cells.T),
    }


def job_list(flown: History) -> list[dict[str, Any]]:
    """Every job with where and when it ran."""
    return [
        {
            "id": job_id,
            "workload": words.enum_name("workload", track.row["workload"]),
            "state": words.enum_name("job_state", track.row["state"]),
            "priority": track.row["priority"],
            "total": track.row["total_mu"] / 1e3,
            "progress": track.row["progress_mu"] / 1e3,
            "restarts": track.row["restarts"],
            "runs": [{"node": node, "from": since, "to": until} for node, since, until in track.runs],
        }
        for job_id, track in flown.jobs.items()
    ]


class _Charts:
    def __init__(self, flown: History, truth: Truth, grid: Floats) -> None:
        self.made: list[dict[str, Any]] = []
        self._flown = flown
        self._truth = truth
        self._grid = grid

    def power(self) -> None:
        """What the array could give, what it gave, where it went."""
        self._chart("power", "Power", "kW", zero=True)
        p = self._flown.power
        load = {"t_s": p["t_s"], "load_mw": p["load_mw"] + p["hotel_mw"]}
        self._known("array could give", "sun", p, "available_mw", 1e-6, fill=True)
        self._known("array gives", "used", p, "array_mw", 1e-6)
        self._known("nodes and hotel take", "load", load, "load_mw", 1e-6)
        self._known("hotel", "hotel", p, "hotel_mw", 1e-6)
        self._true("array could give", "sun", "available_w", 1e-3)
        self._true("array gives", "used", "used_w", 1e-3)

    def leases(self) -> None:
        """What leases may count on, what was promised, what was drawn."""
        self._chart("leases", "Leases against draw", "kW", zero=True)
        p = self._flown.power
        self._known("guaranteed supply", "guaranteed", p, "guaranteed_mw", 1e-6)
        self._known("sum of leases", "lease", p, "lease_sum_mw", 1e-6)
        nodes = self._flown.nodes
        if nodes:
            drawn = {"t_s": nodes.t_s, "power_mw": np.nansum(nodes.columns["power_mw"], axis=1)}
            self._known("nodes draw", "load", drawn, "power_mw", 1e-6, fill=True)
        self._true("guaranteed supply", "guaranteed", "guaranteed_w", 1e-3)
        self._true("sum of leases", "lease", "lease_sum_w", 1e-3)
        self._true("nodes draw", "load", "nodes_w", 1e-3)

    def battery(self) -> None:
        """State of charge."""
        self._chart("soc", "State of charge", "%", zero=True, top=100)
        self._known("state of charge", "battery", self._flown.power, "soc_cpct", 1e-2, fill=True)
        self._true("state of charge", "battery", "soc", 1e2)

    def voltage(self) -> None:
        """Bus voltage."""
        self._chart("bus", "Bus voltage", "V")
        self._known("bus", "voltage", self._flown.power, "bus_mv", 1e-3)
        self._true("bus", "voltage", "bus_v", 1.0)

    def temperatures(self) -> None:
        """The hottest of each kind, and the battery."""
        self._chart("temperature", "Temperatures", "°C")
        nodes = self._flown.nodes
        if nodes:
            for label, colour, name in (
                ("hottest HBM", "hbm", "hbm_cdeg"),
                ("hottest die", "die", "die_cdeg"),
                ("hottest coolant", "coolant", "coolant_cdeg"),
            ):
                hottest = {"t_s": nodes.t_s, name: np.nanmax(nodes.columns[name], axis=1)}
                self._known(label, colour, hottest, name, 1e-2)
        self._known("battery", "battery", self._flown.power, "batt_cdeg", 1e-2)
        self._known("array", "sun", self._flown.power, "array_cdeg", 1e-2, off=True)
        self._true("hottest HBM", "hbm", "hbm_max_c", 1.0)
        self._true("hottest die", "die", "die_max_c", 1.0)
        self._true("hottest coolant", "coolant", "coolant_max_c", 1.0)
        self._true("radiator", "guaranteed", "radiator_c", 1.0)
        self._true("battery", "battery", "batt_c", 1.0)
        self._true("array", "sun", "array_c", 1.0, off=True)

    def compute(self) -> None:
        """Work credited to jobs, and how many ran."""
        self._chart("compute", "Compute delivered", "work units", zero=True, right="jobs, nodes")
        self._known("work", "work", self._flown.work, "work_mu", 1e-3, fill=True)
        self._true("work", "work", "work", 1.0)
        tracks = [run for track in self._flown.jobs.values() for run in track.runs]
        if tracks:
            running = np.zeros(len(self._grid))
            for _, since, until in tracks:
                running += (self._grid >= since) & (self._grid <= until)
            self._add("jobs running", "lease", running, step=True, right=True)
        self._true("nodes up", "lease", "nodes_up", 1.0, right=True, off=True)
        self._true("nodes booting", "load", "nodes_booting", 1.0, right=True, off=True)

    def _chart(self, name: str, title: str, unit: str, **options: Any) -> None:
        self.made.append({"id": name, "title": title, "unit": unit, "series": [], **options})

    def _known(self, label: str, colour: str, columns: Columns, name: str, scale: float, **options: Any) -> None:
        if len(columns.get("t_s", ())) > 1:
            values = np.interp(self._grid, columns["t_s"], columns[name]) * scale
            self._add(label, colour, values, **options)

    def _true(self, label: str, colour: str, name: str, scale: float, **options: Any) -> None:
        if name in self._truth:
            values = np.interp(self._grid, self._truth["t_s"], self._truth[name]) * scale
            self._add(label, colour, values, truth=True, **options)

    def _add(self, label: str, colour: str, values: Floats, **options: Any) -> None:
        self.made[-1]["series"].append({"label": label, "colour": colour, "values": values, **options})
