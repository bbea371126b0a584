"""A flight as one HTML file that opens without a network: plots, node heat map, jobs, events.

`write_report` puts data (base64 of little-endian float32) and the code that draws it (static/report.js over uPlot)
into one page.
"""

from __future__ import annotations

import base64
import html
import json
import re
import tempfile
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ground import history, words
from ground.charts import chart_list, heat_map, job_list
from ground.errors import UsageError
from ground.history import History
from ground.recorder import Recorder
from ground.tiles import tile_list

POINTS = 3000  # of a plot's time axis
_TRUTH_OF_POWER = ("available_w", "used_w", "nodes_w", "hotel_w", "lease_sum_w", "guaranteed_w", "sunlight", "work")
_TRUTH_OF_NODES = ("nodes_up", "nodes_booting")
_TRUTH_OF_BATTERY = ("soc", "bus_v", "batt_w", "batt_c")
_TRUTH_OF_HEAT = ("array_c", "die_max_c", "hbm_max_c", "coolant_max_c", "radiator_c")
TRUTH_SERIES = frozenset((*_TRUTH_OF_POWER, *_TRUTH_OF_NODES, *_TRUTH_OF_BATTERY, *_TRUTH_OF_HEAT))
_EVENTS_SHOWN = 2000
FOOTER = "On-board estimates as received on the ground"


def check_writable(path: str | Path) -> None:
    """Raises UsageError, in one line, if no report can be written to this path. Call it before a flight."""
    target = Path(path)
    folder = target.parent
    try:
        if target.is_dir():
            raise UsageError(f"report {path}: is a folder, expected a file")
        existing = next(p for p in (folder, *folder.absolute().parents) if p.exists())
        if not existing.is_dir():
            raise UsageError(f"report {path}: {existing} is not a folder")
        if target.exists():
            target.open("ab").close()
        else:
            tempfile.TemporaryFile(dir=existing).close()
    except OSError as error:
        raise UsageError(f"report {path}: not writable: {(error.strerror or str(error)).lower()}") from None


def write_report(
    path: str | Path,
    recorder: Recorder,
    truth: Mapping[str, NDArray[np.float64]] | None = None,
    summary: Mapping[str, Any] | None = None,
) -> None:
    """Writes the report of what a recorder holds.

    truth: what a world knows, as an extra layer: t_s and any of TRUTH_SERIES, arrays of one length; W, V, degC, units,
    soc and sunlight from 0 to 1. summary: the object of `flight run --json`. Raises UsageError (path, truth).
    """
    check_writable(path)
    checked = _checked_truth(truth)
    text = render(history.read(recorder), checked, summary or {})
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"report {path}: {(error.strerror or str(error)).lower()}") from None


def render(flown: History, truth: Mapping[str, NDArray[np.float64]], summary: Mapping[str, Any]) -> str:
    """The page as text."""
    return page(_title(summary), _subtitle(flown), _data(flown, truth, summary))


def page(title: str, subtitle: str, data: Mapping[str, Any], footer: str = FOOTER) -> str:
    """A page of any data in the shape that static/report.js draws: t, eclipses, tiles, charts, truth, heat, jobs,
    events."""
    static = resources.files("ground") / "static"
    text = json.dumps(data, default=_encode, allow_nan=False, separators=(",", ":"))
    parts = {
        "title": html.escape(title),
        "subtitle": html.escape(subtitle),
        "footer": html.escape(footer),
        "uplot_css": (static / "vendor" / "uPlot.min.css").read_text(encoding="utf-8"),
        "css": (static / "report.css").read_text(encoding="utf-8"),
        "uplot_licence": (static / "vendor" / "uPlot.LICENSE").read_text(encoding="utf-8"),
        "uplot": (static / "vendor" / "uPlot.iife.min.js").read_text(encoding="utf-8"),
        "data": text.replace("</", "<\\/"),
        "js": (static / "report.js").read_text(encoding="utf-8"),
    }
    template = (static / "report.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template)


def _data(flown: History, truth: Mapping[str, NDArray[np.float64]], summary: Mapping[str, Any]) -> dict[str, Any]:
    low, high = flown.span_s
    grid = np.linspace(low, high, max(min(POINTS, int(high - low) + 1), 2))
    return {
        "t": grid,
        "eclipses": flown.eclipses,
        "tiles": tile_list(flown, summary),
        "charts": chart_list(flown, truth, grid),
        "truth": bool(truth),
        "heat": heat_map(flown),
        "jobs": job_list(flown),
        "events": [
            {
                "t": event.t_s,
                "severity": int(event.severity),
                "name": event.name,
                "source": event.source_name,
                "text": event.text,
            }
            for event in flown.events[-_EVENTS_SHOWN:]
        ],
    }


def _encode(value: Any) -> Any:
    """Arrays as base64: of float32, of uint8 as they are."""
    if isinstance(value, np.ndarray):
        raw = value if value.dtype == np.uint8 else value.astype("<f4")
        return {"b64": base64.b64encode(raw.tobytes()).decode("ascii")}
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"cannot write {type(value).__name__} into a report")


def _checked_truth(truth: Mapping[str, NDArray[np.float64]] | None) -> dict[str, NDArray[np.float64]]:
    if not truth or len(truth.get("t_s", ())) == 0:
        return {}
    checked = {name: np.asarray(values, np.float64) for name, values in truth.items()}
    for name, values in checked.items():
        if name not in TRUTH_SERIES | {"t_s"}:
            raise UsageError(f"report: unknown truth series {name!r}: expected {' '.join(sorted(TRUTH_SERIES))}")
        if values.shape != checked["t_s"].shape:
            raise UsageError(f"report: truth series {name} has shape {values.shape}: expected {checked['t_s'].shape}")
    return checked


def _title(summary: Mapping[str, Any]) -> str:
    rig = summary.get("rig")
    return f"Dawnline flight: {rig}" if rig else "Dawnline flight"


def _subtitle(flown: History) -> str:
    low, high = flown.span_s
    if high <= low:
        return "no telemetry was received"
    nodes = f", {flown.nodes.count} nodes" if flown.nodes else ""
    return f"{words.clock(low)} to {words.clock(high)} of simulated time{nodes}, {flown.packets:,} packets"
