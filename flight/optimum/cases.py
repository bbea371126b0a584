"""The cases: a satellite, an orbit, what its nodes work on, and what breaks; each for 16 and for 160 nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hal.errors import RigError
from hal.fault_kinds import Fault
from hal.icd import Workload
from hal.rig import Entry, Orbit, Rig, load_rig
from hal.satellite import Satellite

SIZES = {16: "demo", 160: "ai1"}
"""nodes -> the rig that ships"""
ORBITS = 3.0
_ENDLESS_MU = 4_000_000_000  # more than a node does in a month
_EPOCH = "2027-06-21T00:00:00"  # the middle of the eclipse season of an orbit whose node is at 18:00

DAWN_DUSK_600 = Orbit(altitude_km=600, sun_synchronous=True, ltan_h=18.0, epoch=_EPOCH)
NO_ECLIPSE = Orbit(altitude_km=600, sun_synchronous=True, ltan_h=18.0, epoch="2027-12-21T00:00:00")
INCLINED_30 = Orbit(altitude_km=550, inclination_deg=30, ltan_h=18.0, epoch="2027-03-21T00:00:00")


@dataclass(frozen=True, slots=True)
class Case:
    """One case. orbit None: that of the rig that ships.

    mix: shares of the nodes by workload; satellite: section -> field -> factor on what the file says; faults: of 16
    nodes and 16 strings, scaled to the size; ephemeris_s: how much too late flight believes the satellite to be.
    """

    name: str
    text: str
    orbit: Orbit | None = DAWN_DUSK_600
    mix: Mapping[Workload, float] = field(
        default_factory=lambda: {Workload.TRAINING: 0.5, Workload.PREFILL: 0.25, Workload.DECODE: 0.25}
    )
    satellite: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    deaths: float = 0.0
    """share of the nodes that are off for good from the middle of the first orbit on, one after the other"""
    ephemeris_s: float = 0.0

    @property
    def fault(self) -> bool:
        """Whether something breaks in it."""
        return bool(self.faults or self.deaths or self.ephemeris_s)

    def rig(self, nodes: int, seed: int, orbits: float = ORBITS) -> Rig:
        """The rig of so many nodes (a key of SIZES). Raises `RigError`."""
        if nodes not in SIZES:
            raise RigError(f"{nodes} nodes: expected one of {', '.join(map(str, SIZES))}")
        shipped = load_rig(SIZES[nodes])
        return replace(
            shipped,
            name=f"{self.name}-{nodes}",
            seed=seed,
            satellite=_changed(shipped.satellite, self.satellite),
            orbit=self.orbit or shipped.orbit,
            timeline=tuple(_timeline(self.mix, nodes)),
            faults=tuple(self._faults(nodes, shipped.satellite)),
        ).checked()

    def _faults(self, nodes: int, satellite: Satellite) -> Iterator[Fault]:
        for fault in self.faults:
            if fault.kind.startswith("string"):
                yield from (replace(fault, index=i) for i in range(max(1, satellite.array.strings // 16)))
            else:
                yield fault
        for k in range(round(self.deaths * nodes)):
            yield Fault("off", 3000.0 + 60.0 * k, board=f"node{(7 * k + 3) % nodes}")


def _timeline(mix: Mapping[Workload, float], nodes: int) -> Iterator[Entry]:
    """Everything on, and one job for each node that outlasts the flight."""
    yield Entry(5.0, "node_on", {"node": 65535})
    ends, total = 0.0, 0
    for workload, share in mix.items():
        ends += share * nodes
        while total < round(ends):
            total += 1
            job = {
                "job_id": total,
                "workload": int(workload),
                "priority": 5,
                "work_mu": _ENDLESS_MU,
                "checkpoint_s": 60,
            }
            yield Entry(6.0, "job_submit", job)


def _changed(satellite: Satellite, factors: Mapping[str, Mapping[str, float]]) -> Satellite:
    sections: dict[str, Any] = {}
    for section, fields in factors.items():
        old = getattr(satellite, section)
        new = {name: type(getattr(old, name))(getattr(old, name) * factor) for name, factor in fields.items()}
        sections[section] = replace(old, **new)
    return replace(satellite, **sections)


CASES = (
    Case("dawn-dusk-600-worst-eclipse", "600 km, dawn-dusk, the longest eclipse of the year"),
    Case("dawn-dusk-600-no-eclipse", "600 km, dawn-dusk, outside the eclipse season", NO_ECLIPSE),
    Case("sentinel-1a", "the orbit of Sentinel-1A, 693 km", None),
    Case("inclined-30", "550 km at 30 degrees: 36 minutes of eclipse in each orbit", INCLINED_30),
    Case("mixed-classes", "as many nodes of each workload class",
         mix={Workload.TRAINING: 1 / 3, Workload.PREFILL: 1 / 3, Workload.DECODE: 1 / 3}),
    Case("decode-heavy", "decode on most nodes: caps do not bind", mix={Workload.DECODE: 0.8, Workload.PREFILL: 0.2}),
    Case("training-swings", "training on every node, with its transients", mix={Workload.TRAINING: 1.0}),
    Case("half-budget", "half of the array", satellite={"array": {"strings": 0.5, "area_m2": 0.5}}),
    Case("aged-battery", "30 % less capacity, twice the resistance",
         satellite={"battery": {"capacity_ah": 0.7, "cell_r0_ohm": 2.0}}),
    Case("hot-radiator", "a radiator of 60 % of its area", satellite={"thermal": {"radiator_m2": 0.6}}),
    Case("string-loss", "a sixteenth of the strings opens in the first orbit",
         faults=(Fault("string_open", 1500.0, index=0),)),
    Case("pump-loop-loss", "one of the two coolant loops stands still from the first orbit on",
         faults=(Fault("loop_lost", 1500.0, index=1, value=1.0),)),
    Case("stuck-sensor", "the battery's current sensor stays at what it read",
         faults=(Fault("stuck", 1500.0, board="power", sensor="batt_ma"),)),
    Case("wrong-ephemeris", "flight expects eclipses two minutes too late", ephemeris_s=-120.0),
    Case("node-deaths", "a tenth of the nodes dies", deaths=0.1),
)  # fmt: skip


def find(name: str) -> Case:
    """The case of a name. Raises `RigError`."""
    for case in CASES:
        if case.name == name:
            return case
    raise RigError(f"case '{name}': there is none of that name, expected one of {', '.join(c.name for c in CASES)}")
