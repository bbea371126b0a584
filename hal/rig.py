"""A rig as data: satellite, orbit, boards by role with a link URL each, faults and a timeline.

Rigs that ship are in hal/rigs; any other is given by its path.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from hal.errors import RigError
from hal.fault_kinds import Fault, Seconds, Target, expand
from hal.firmware import firmware_hash
from hal.link import BACKENDS, MADE
from hal.rig_boards import BoardSpec, read_boards
from hal.satellite import SHIPPED as SATELLITES
from hal.satellite import Satellite, find, load_satellite
from hal.strict import Length, Range, build, read_toml

HERE = Path(__file__).parent
SHIPPED = HERE / "rigs"
ORBITS = HERE / "orbits"

_RIG, _SATELLITE, _ORBIT = "rig.toml", "satellite.toml", "orbit"


@dataclass(frozen=True, slots=True)
class Orbit:
    """Either a two-line element set (a file), or a circular orbit by altitude, inclination and local time of node."""

    tle: str | None = None
    altitude_km: Annotated[float, Range(160, 36_000, "km")] | None = None
    inclination_deg: Annotated[float, Range(0, 180, "deg")] | None = None
    sun_synchronous: bool = False
    ltan_h: Annotated[float, Range(0, 24, "h")] | None = None
    epoch: str | None = None
    anomaly_deg: Annotated[float, Range(0, 360, "deg")] = 0.0
    start_s: Annotated[float, Range(-1e8, 1e8, "s")] = 0.0

    @property
    def tle_path(self) -> Path | None:
        """The resolved path of the element set; None for a computed orbit."""
        return Path(self.tle) if self.tle is not None else None


@dataclass(frozen=True, slots=True)
class Entry:
    """One telecommand of the timeline: its name in the space-link ICD and its arguments (enums by name or number).

    In a file, `repeat` stands for so many entries, `every_s` apart, whose `count_up` arguments rise by one each time.
    """

    at_s: Seconds
    command: str
    args: dict[str, Any] = field(default_factory=dict)
    repeat: Annotated[int, Range(1, 10_000)] = 1
    every_s: Seconds = 0.0
    count_up: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _File:
    """A rig file as it is written; `[boards]` is read apart."""

    name: str
    satellite: str
    orbit: Orbit
    boards: dict[str, Any]
    seed: Annotated[int, Range(0, 2**63 - 1)] = 1
    tick_s: Annotated[float, Range(0.01, 2, "s")] = 0.1
    flight_absent_s: Seconds = 600.0
    timeline: Annotated[tuple[Entry, ...], Length(0, 10_000)] = ()
    fault: Annotated[tuple[Fault, ...], Length(0, 10_000)] = ()


@dataclass(frozen=True, slots=True)
class Rig:
    """What a world is made of. `boards` is in index order and complete; `sha256` is over the file it came from, `texts`
    holds all that it came from (`load_texts`)."""

    name: str
    path: Path
    satellite: Satellite
    orbit: Orbit
    boards: tuple[BoardSpec, ...]
    seed: int
    tick_s: float
    flight_absent_s: float
    timeline: tuple[Entry, ...]
    faults: tuple[Fault, ...]
    sha256: str
    texts: Mapping[str, str]
    asked: str = "RIG"
    """the name or path that it was loaded by, for messages that name a command"""
    firmware_hash: bytes = field(default_factory=firmware_hash)
    """8 bytes that the HELLO of every board has to name"""

    @property
    def tick_us(self) -> int:
        return round(self.tick_s * 1e6)

    @property
    def nodes(self) -> int:
        return self.satellite.node.count

    @property
    def target(self) -> Target:
        """What decides whether a fault can be injected."""
        return _target(self.boards, self.satellite)

    def index_of(self, role: str) -> int:
        """Board index of a role; `RigError` when there is no such board."""
        for board in self.boards:
            if board.role == role:
                return board.index
        raise RigError(f"rig {self.name}: no board '{role}', expected power, node0 .. node{self.nodes - 1}")

    def with_backend(self, backend: str | None) -> Rig:
        """The same rig with every board on one back end (None: as it is)."""
        if backend is None:
            return self
        if backend not in MADE:
            raise RigError(f"back end '{backend}' makes no boards, expected one of {', '.join(MADE)}")
        images = BACKENDS[backend].image
        boards = tuple(
            BoardSpec(b.role, b.index, f"{backend}:", image=b.image if images else None) for b in self.boards
        )
        return replace(self, boards=boards).checked()

    def checked(self) -> Rig:
        """The same rig with its faults complete, each for one board. Raises `RigError` for what cannot be injected."""
        return replace(self, faults=expand(self.faults, self.target, str(self.path)))

    def with_tick(self, tick_s: float) -> Rig:
        """The same rig with another length of the tick, 0.01 to 2 s in whole milliseconds."""
        _check_tick(tick_s, "--tick")
        return replace(self, tick_s=tick_s)


def load_rig(name_or_path: str) -> Rig:
    """The rig that ships under this name, or the one at a .toml path. Raises `RigError`."""
    return replace(_load(find(name_or_path, SHIPPED, None, "rig")), asked=name_or_path)


def load_texts(texts: Mapping[str, str], folder: Path) -> Rig:
    """The rig of which another one's `texts` are left: written to `folder`, which stays as long as the rig. Raises
    `RigError`."""
    for name, text in texts.items():
        (folder / Path(name).name).write_text(text, encoding="utf-8")
    orbits = [folder / name for name in texts if name.startswith(_ORBIT)]
    return _load(folder / _RIG, folder / _SATELLITE, orbits[0] if orbits else None)


def _load(path: Path, satellite_path: Path | None = None, orbit_path: Path | None = None) -> Rig:
    """The rig at `path`; satellite and orbit from other files than it names, if these are given."""
    file = str(path)
    raw = build(_File, read_toml(path, "rig"), file)
    if not raw.name or "/" in raw.name or raw.name.startswith("."):
        raise RigError(f"{file}: name: '{raw.name}', expected a word without a slash, not beginning with a dot")
    _check_tick(raw.tick_s, f"{file}: tick_s")
    satellite_path = satellite_path or find(raw.satellite, SATELLITES, path.parent, "satellite")
    satellite = load_satellite(str(satellite_path))
    orbit = _orbit(raw.orbit if orbit_path is None else replace(raw.orbit, tle=str(orbit_path)), path)
    boards = read_boards(raw.boards, satellite.node.count, path)
    timeline = [entry for i, e in enumerate(raw.timeline) for entry in _expand(e, f"{file}: timeline[{i}]")]
    return Rig(
        name=raw.name,
        path=path.resolve(),
        satellite=satellite,
        orbit=orbit,
        boards=boards,
        seed=raw.seed,
        tick_s=raw.tick_s,
        flight_absent_s=raw.flight_absent_s,
        timeline=tuple(sorted(timeline, key=lambda e: e.at_s)),
        faults=expand(raw.fault, _target(boards, satellite), file),
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        texts=_texts(path, satellite_path, orbit.tle_path),
    )


def _texts(rig: Path, satellite: Path, orbit: Path | None) -> dict[str, str]:
    """File name -> text. An orbit's name keeps the suffix, which tells its format."""
    paths = {_RIG: rig, _SATELLITE: satellite} | ({_ORBIT + orbit.suffix: orbit} if orbit is not None else {})
    try:
        return {name: path.read_text(encoding="utf-8") for name, path in paths.items()}
    except (OSError, UnicodeDecodeError) as error:
        raise RigError(f"{rig}: orbit.tle: cannot be read: {error}") from None


def _check_tick(tick_s: float, where: str) -> None:
    """A lease lives for 3 s: with longer ticks than 2 s it would run out before it can be renewed."""
    if not 0.01 <= tick_s <= 2 or abs(tick_s * 1000 - round(tick_s * 1000)) > 1e-9:
        raise RigError(f"{where}: {tick_s:g} is out of range, expected 0.01 to 2 s in whole milliseconds")


def _expand(entry: Entry, where: str) -> list[Entry]:
    """The entries that one with `repeat` stands for."""
    for name in entry.count_up:
        value = entry.args.get(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise RigError(f"{where}.count_up: '{name}' is not an integer argument of {entry.command}")
    return [
        Entry(
            at_s=entry.at_s + i * entry.every_s,
            command=entry.command,
            args={k: v + i if k in entry.count_up else v for k, v in entry.args.items()},
        )
        for i in range(entry.repeat)
    ]


def _orbit(orbit: Orbit, rig: Path) -> Orbit:
    """Check which kind of orbit it is and resolve the path of an element set."""
    file = str(rig)
    computed = orbit.altitude_km is not None
    if (orbit.tle is not None) == computed:
        raise RigError(f"{file}: orbit: expected either tle or altitude_km, and not both")
    if orbit.tle is not None:
        for folder in (rig.parent, ORBITS):
            if (folder / orbit.tle).is_file():
                return replace(orbit, tle=str((folder / orbit.tle).resolve()))
        raise RigError(f"{file}: orbit.tle: no such file '{orbit.tle}' beside the rig or among those that ship")
    if orbit.sun_synchronous == (orbit.inclination_deg is not None):
        raise RigError(f"{file}: orbit: expected either inclination_deg or sun_synchronous = true, and not both")
    for key in ("ltan_h", "epoch"):
        if getattr(orbit, key) is None:
            raise RigError(f"{file}: orbit.{key}: missing, expected beside altitude_km")
    return orbit


def _target(boards: tuple[BoardSpec, ...], satellite: Satellite) -> Target:
    return Target({b.role: b.link for b in boards}, satellite)
