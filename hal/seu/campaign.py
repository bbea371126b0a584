"""Many flips, drawn over everything that is alive, and what became of each."""

from __future__ import annotations

import random
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hal.cortexm import CortexM
from hal.seu.course import Course, courses
from hal.seu.flown import PHASES, fly
from hal.seu.golden import BITS, REGISTERS, Point
from hal.seu.memory import RAM
from hal.seu.verdict import Verdict, judge

KINDS = ("node", "power")
SHARES = {"registers": 0.25, "stack": 0.20, "stack, unused": 0.02, "ring": 0.05, "firmware": 0.05, "board": 0.43}
"""Of the trials at a point, by stratum; those of the board's state are shared out evenly over its groups."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One flip. group: finer than the stratum; where: variable or register, and bit; function: what was running."""

    kind: str
    phase: str
    point: str
    stratum: str
    group: str
    where: str
    function: str
    verdict: Verdict


@dataclass
class Coverage:
    """Bytes of one group, and how many of them are alive at each point."""

    total: int = 0
    live: list[int] = field(default_factory=list)


@dataclass
class Campaign:
    """What was found. coverage: kind -> group -> bytes, and registers as if they were bytes."""

    seed: int
    trials: list[Trial] = field(default_factory=list)
    coverage: dict[str, dict[str, Coverage]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Target:
    stratum: str
    group: str
    places: Sequence[int | str]
    """offsets in RAM, or names of registers"""


def run(
    trials: int, seed: int, kinds: tuple[str, ...] = KINDS, progress: Callable[[int], None] = lambda done: None
) -> Campaign:
    """Fly, and try so many flips in boards of these kinds. Raises `HalError`."""
    flown, campaign = fly(), Campaign(seed)
    phases, begun = sum(len(PHASES[kind]) for kind in kinds), 0
    with tempfile.TemporaryDirectory(prefix="dawnline-") as folder:
        for kind in kinds:
            for course in courses(flown, kind, seed, Path(folder)):
                share = trials * (begun + 1) // phases - trials * begun // phases
                begun += 1
                for trial in _try(course, share, random.Random(f"{seed}/{kind}/{course.phase}"), campaign):
                    campaign.trials.append(trial)
                    progress(len(campaign.trials))
    return campaign


def _try(course: Course, trials: int, chance: random.Random, campaign: Campaign) -> Iterator[Trial]:
    """So many flips in a phase, the points taking turns."""
    points = [(point, _targets(course, point)) for point in course.leg.points]
    for _, targets in points:
        _count(campaign.coverage.setdefault(course.subject.kind, {}), course, targets)
    for i in range(trials):
        point, targets = points[i % len(points)]
        yield _flip(course, point, _draw(targets, chance), chance)


def _targets(course: Course, point: Point) -> list[_Target]:
    """What is alive at a point, by group."""
    machine = course.leg.line.machine
    assert machine is not None
    machine.restore(point.snapshot)
    in_use = machine.uc.reg_read(REGISTERS["sp"]) - RAM
    groups: dict[str, list[int]] = defaultdict(list)
    for at in np.flatnonzero(point.live).tolist():
        group = course.subject.groups[at]
        groups["stack, unused" if group == "stack" and at < in_use else group].append(at)
    found = [_Target(g if g in SHARES else "board", g, places) for g, places in groups.items()]
    return [*found, _Target("registers", "registers", list(point.registers))]


def _draw(targets: list[_Target], chance: random.Random) -> _Target:
    """A group: strata by their share, groups within a stratum evenly."""
    strata: dict[str, list[_Target]] = defaultdict(list)
    for target in targets:
        strata[target.stratum].append(target)
    (stratum,) = chance.choices(list(strata), [SHARES[s] for s in strata])
    return chance.choice(strata[stratum])


def _flip(course: Course, point: Point, target: _Target, chance: random.Random) -> Trial:
    place = chance.choice(target.places)
    if isinstance(place, str):
        bit = chance.choice(BITS[place])
        where = f"{place} bit {bit}"
    else:
        bit = chance.randrange(8)
        f = course.subject.map.field_at(RAM + place)
        where = f"{f.path} byte {RAM + place - f.at} bit {bit}"

    def inject(machine: CortexM) -> None:
        if isinstance(place, str):
            register = REGISTERS[place]
            machine.uc.reg_write(register, machine.uc.reg_read(register) ^ 1 << bit)
        else:
            machine.flip(RAM + place, bit)

    leg, machine = course.leg, course.leg.line.machine
    assert machine is not None
    machine.restore(point.snapshot)
    function = course.subject.function_at(machine.uc.reg_read(REGISTERS["pc"]))
    resets, bites = machine.resets, machine.bites
    heard, converged = leg.run_on(point, inject)
    verdict = judge(
        course.said(leg.undisturbed(point)),
        course.said(heard),
        converged=converged,
        resets=machine.resets - resets - point.resets,
        bites=machine.bites - bites,
        limits=course.limits,
        channels=course.channels,
    )
    kind = course.subject.kind
    return Trial(kind, course.phase.name, point.name, target.stratum, target.group, where, function, verdict)


def _count(coverage: dict[str, Coverage], course: Course, targets: list[_Target]) -> None:
    totals: dict[str, int] = defaultdict(int)
    for group in course.subject.groups:
        totals[group] += 1
    totals["registers"] = len(REGISTERS)
    alive = {t.group: len(t.places) for t in targets}
    alive["stack"] = alive.get("stack", 0)
    for group, total in totals.items():
        entry = coverage.setdefault(group, Coverage(total))
        entry.live.append(alive.get(group, 0))
