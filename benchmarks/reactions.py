"""How fast a flight reacts, in simulated time: a node over its cap, a string or a pump lost, an early eclipse.

The demo's satellite with 16 nodes, mocked boards, ticks of 0.1 s, as flown for the yardstick (flight optimum); what
breaks does so after 25 minutes. Times are of the truth, not of telemetry, and resolve a tick.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.report import Row
from flight.executive import Executive
from flight.forecast import Forecast
from flight.icd import NodeState
from flight.optimum.cases import find
from flight.storage import Storage
from hal.icd import ChannelState, Workload
from hal.rig import Rig
from hal.world import World

NODES = 16
WARM_S, TICK_S = 1500, 0.1
OVER = 1.05  # a draw so far above the cap is over it
OVERDRAW = 0.3
LEFT = 0.1  # of a string's watts: less than that missing is absorbed
NEAR_K = 1.0
EARLY_S = 120.0


class Flight:
    """A case without its faults, flown tick by tick."""

    def __init__(self, rig: Rig, folder: Path, world: World, late_s: float) -> None:
        self.rig, self.world = rig, world
        believed = Forecast(replace(rig.orbit, start_s=rig.orbit.start_s - late_s))
        self.flight = Executive(world, Storage(folder), timeline=rig.timeline, forecast=believed)
        self.truth = world.truth_now
        self.nodes = self.flight.loop.nodes

    @property
    def t_s(self) -> float:
        return self.world.t_us * 1e-6

    def run(self, seconds: float) -> None:
        self.flight.run(self.world.t_us + round(seconds * 1e6))

    def ticks(self, seconds: float) -> Iterator[float]:
        """Time since now after each tick."""
        start_s = self.t_s
        for _ in range(round(seconds / TICK_S)):
            self.run(TICK_S)
            yield self.t_s - start_s

    def missing_w(self) -> float:
        """What nodes and hotel draw beyond what the array can give."""
        converter = self.rig.satellite.array.converter_efficiency
        return float(self.truth.nodes_w + self.truth.hotel_w - self.truth.array_available_w * converter)

    def violations(self) -> int:
        return sum(self.world.score()["violations"].values())


@contextlib.contextmanager
def flying(case: str, late_s: float = 0.0) -> Iterator[Flight]:
    """late_s: how much too late flight expects eclipses."""
    rig = replace(find(case).rig(NODES, 1), faults=())
    with tempfile.TemporaryDirectory(prefix="dawnline-") as folder, World(rig) as world:
        flight = Flight(rig, Path(folder), world, late_s)
        try:
            yield flight
        finally:
            flight.flight.close()


@dataclass(frozen=True, slots=True)
class Reaction:
    """seconds: until it was over. least_soc: of the battery; discharge_w: most that it had to give beside all that the
    array can (the tracker's sweeps, in which that is not asked for, apart)."""

    seconds: float
    violations: int
    note: str
    least_soc: float = 1.0
    discharge_w: float = 0.0


def over_cap() -> Reaction:
    """A training node that its cap holds draws a third more: until it draws no more than its cap, for ten seconds."""
    with flying("half-budget") as f:
        f.run(WARM_S)

        def held(i: int) -> float:
            tlm = f.nodes[i].tlm
            working = tlm.state == NodeState.ACTIVE and tlm.workload == Workload.TRAINING
            return tlm.power_mw / tlm.cap_mw if working else 0

        node = max(range(NODES), key=held)
        f.world.fault("overdraw", node, OVERDRAW)
        over = [t for t in f.ticks(10) if f.truth.draw_w[node] > OVER * f.nodes[node].tlm.cap_mw / 1000]
        note = f"draws {OVERDRAW:.0%} more, is over its cap for {len(over)} ticks"
        return Reaction(over[-1] - over[0] + TICK_S, f.violations(), note)


def string_loss() -> Reaction:
    """One of eight strings opens while nodes take all: until at most a tenth of its watts are still missing."""
    with flying("half-budget") as f:
        f.run(WARM_S)
        before_w = f.truth.array_available_w
        f.world.fault("string_open", 0)
        missing, discharge, soc = [], [], []
        for t in f.ticks(10):
            if not missing:
                lost_w = (before_w - f.truth.array_available_w) * f.rig.satellite.array.converter_efficiency
            missing += [t] if f.missing_w() > LEFT * lost_w else []
            discharge.append(f.missing_w())
            soc.append(f.truth.soc)
        note = f"{lost_w:.0f} W of the array"
        return Reaction(missing[-1] if missing else 0.0, f.violations(), note, min(soc), max(discharge))


def pump_lost() -> Reaction:
    """One of two pumps stops. The slowest node: from within 1 K of a limit until its cap is below what it drew then."""
    with flying("dawn-dusk-600-worst-eclipse") as f:
        f.run(WARM_S)
        limits = f.rig.satellite.node
        f.world.fault("loop_lost", 1, 1.0)
        hot: dict[int, tuple[float, int]] = {}
        done: dict[int, float] = {}
        for t in f.ticks(300):
            for i in range(NODES):
                tlm = f.nodes[i].tlm
                near = (tlm.die_cdeg / 100 > limits.die_limit_c - NEAR_K) or (
                    tlm.hbm_cdeg / 100 > limits.hbm_limit_c - NEAR_K
                )
                if near and i not in hot:
                    hot[i] = (t, tlm.power_mw)
                if i in hot and i not in done and tlm.cap_mw < hot[i][1]:
                    done[i] = t - hot[i][0]
        assert hot.keys() == done.keys()
        first = min(t for t, _ in hot.values())
        peak_c = f.truth.die_peak_c
        note = f"{len(hot)} nodes, the first {first:.0f} s after the pump stopped; die at most {peak_c:.1f} degC"
        return Reaction(max(done.values()), f.violations(), note)


def early_eclipse() -> Reaction:
    """An eclipse comes two minutes before flight expects it: for how long leases stood above what there was."""
    with flying("dawn-dusk-600-worst-eclipse", EARLY_S) as f:
        f.run(WARM_S)
        while f.truth.sun_fraction > 0.999:
            f.run(1)
        over = most = 0.0
        discharge, soc, shed = [], [], 0
        for _ in f.ticks(40 * 60):
            score = f.world.native_score()
            over = over + TICK_S if score.lease_sum_w > score.guarantee_w else 0.0
            most = max(most, over)
            discharge.append(f.missing_w())
            soc.append(f.truth.soc)
            shed += sum(f.nodes[i].channel == ChannelState.SHED for i in range(NODES))
        note = f"{shed} channels shed, {f.truth.uvlo_trips} under-voltage trips, least charge {min(soc):.0%}"
        assert f.truth.sun_fraction > 0.999
        return Reaction(most, f.violations() + shed + f.truth.uvlo_trips, note, min(soc), max(discharge))


REACTIONS: dict[str, tuple[Any, float]] = {
    "node over its cap, corrected": (over_cap, 1.0),
    "string lost, absorbed": (string_loss, 1.0),
    "coolant pump lost, nodes throttled": (pump_lost, 2.0),
    "eclipse two minutes early, leases above the guarantee": (early_eclipse, 1.0),
}
"""What, how it is measured, and within how many seconds it has to be over."""


def measure(quick: bool) -> list[Row]:
    """One row a reaction; quick or not, they fly the same."""
    rows = []
    for what, (react, most_s) in REACTIONS.items():
        reaction = react()
        rows.append(Row(what, reaction.seconds, "s", f"asked: {most_s:g} s; {reaction.note}", headline=True))
    return rows
