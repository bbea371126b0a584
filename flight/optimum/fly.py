"""Fly one case as it would be flown, and see what came of it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flight.executive import Executive
from flight.forecast import Forecast
from flight.icd import Event
from flight.loop import LoopEvent
from flight.optimum.cases import ORBITS, Case
from flight.storage import Storage
from hal.rig import Rig
from hal.world import World

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Flown:
    """One flight. work_of, workload_of: by node, units and classes; stored_j: in the battery at the end; samples: name
    -> time series of the truth.
    """

    case: Case
    rig: Rig
    seconds: float
    score: dict[str, Any]
    work_of: Floats
    workload_of: npt.NDArray[np.int64]
    stored_j: float
    samples: dict[str, Floats]

    @property
    def work(self) -> float:
        return float(self.work_of.sum())

    @property
    def violations(self) -> int:
        return sum(self.score["violations"].values())


def seconds_of(rig: Rig, orbits: float) -> float:
    """Length of so many orbits in whole minutes."""
    return round(Forecast(rig.orbit).period_s * orbits / 60) * 60.0


def fly(case: Case, nodes: int, seed: int, orbits: float = ORBITS) -> Flown:
    """Fly a case with the loop that flies the satellite. Raises `HalError`, `FlightError`."""
    rig = case.rig(nodes, seed)
    seconds = seconds_of(rig, orbits)
    with tempfile.TemporaryDirectory(prefix="dawnline-") as folder, World(rig) as world:
        believed = Forecast(replace(rig.orbit, start_s=rig.orbit.start_s + case.ephemeris_s))
        executive = Executive(world, Storage(Path(folder)), timeline=rig.timeline, forecast=believed)
        first: dict[int, int] = {}  # node -> the job that it was given first

        def watch(event: LoopEvent) -> None:
            if event.code == Event.JOB_STARTED:
                first.setdefault(event.arg1, event.arg0)

        executive.events.listeners.append(watch)
        executive.run(round(seconds * 1e6))
        workload = np.array([executive.jobs.jobs[first[i]].workload if i in first else 0 for i in range(nodes)])
        executive.close()
        truth = world.truth_now
        return Flown(case, rig, seconds, world.score(), np.array(list(truth.work[0:nodes])), workload,
                     truth.batt_stored_j, world.truth())  # fmt: skip
