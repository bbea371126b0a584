"""The orbit as a table: position and velocity by SGP4, the Sun by the almanac's low-precision formula.

Frame: TEME, the inertial equatorial frame of SGP4 (the Sun's formula gives the mean equator of date, which differs by
arc-seconds). Flight time 0 is the epoch of the elements plus the rig's `start_s`.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sgp4 import omm  # type: ignore[import-untyped]
from sgp4.api import SGP4_ERRORS, WGS72, Satrec  # type: ignore[import-untyped]

from hal.errors import RigError
from hal.rig import Orbit

Floats = npt.NDArray[np.float64]

AU_KM = 149_597_870.7
EARTH_KM = 6378.137
MU_KM3_S2 = 398_600.8  # WGS-72, as SGP4
J2 = 1.08263e-3
J2000_JD = 2_451_545.0
SGP4_ZERO_JD = 2_433_281.5  # 1949-12-31 00:00
TROPICAL_YEAR_S = 365.2422 * 86_400
STEP_S = 20.0  # cubic Hermite between rows is then within 1e-5 km in low orbits


@dataclass(frozen=True, slots=True)
class Elements:
    """Mean elements as SGP4 takes them, and the Julian date (two parts) of flight time 0."""

    satrec: Satrec
    jd: float
    fraction: float

    @property
    def period_s(self) -> float:
        """One revolution, anomalistic."""
        return 2 * math.pi / float(self.satrec.no_kozai) * 60

    @property
    def sidereal_rad(self) -> float:
        """Greenwich mean sidereal angle at flight time 0 (first-order term)."""
        days = self.jd - J2000_JD + self.fraction
        return math.radians(280.46061837 + 360.98564736629 * days) % (2 * math.pi)

    def rows(self, t_s: Floats) -> Floats:
        """(n, 9): position in km, velocity in km/s, the Sun's position in km at flight times `t_s`.

        Raises `RigError` where SGP4 gives up (a decayed orbit).
        """
        fraction = self.fraction + t_s / 86_400
        codes, r, v = self.satrec.sgp4_array(np.full(len(t_s), self.jd), fraction)
        if codes.any():
            at = int(np.argmax(codes != 0))
            raise RigError(f"orbit: SGP4 fails {t_s[at]:.0f} s into the flight: {SGP4_ERRORS[int(codes[at])]}")
        return np.ascontiguousarray(np.hstack([r, v, sun_position_km(self.jd - J2000_JD + fraction)]))


def sun_position_km(days: Floats) -> Floats:
    """(n, 3) position of the true Sun, `days` after J2000.0, to 0.01 deg (Astronomical Almanac, page C5)."""
    longitude = 280.460 + 0.9856474 * days
    anomaly = np.radians(357.528 + 0.9856003 * days)
    ecliptic = np.radians(longitude + 1.915 * np.sin(anomaly) + 0.020 * np.sin(2 * anomaly))
    distance = AU_KM * (1.00014 - 0.01671 * np.cos(anomaly) - 0.00014 * np.cos(2 * anomaly))
    tilt = np.radians(23.439 - 4e-7 * days)
    x, y = np.cos(ecliptic), np.sin(ecliptic)
    unit = np.stack([x, y * np.cos(tilt), y * np.sin(tilt)], axis=-1)
    return np.asarray(unit * distance[:, None], dtype=np.float64)


def elements_of(orbit: Orbit) -> Elements:
    """Elements of a rig's orbit: from its file (TLE, or OMM as XML, CSV or JSON), or computed.

    Raises `RigError` for a file that cannot be read or elements that make no sense.
    """
    if orbit.tle is not None:
        satrec = _read(Path(orbit.tle))
    else:
        satrec = _computed(orbit)
    start_days = orbit.start_s / 86_400
    whole = math.floor(satrec.jdsatepochF + start_days)
    return Elements(satrec, satrec.jdsatepoch + whole, satrec.jdsatepochF + start_days - whole)


# ------------------------------------------------------------------ elements from a file


def _read(path: Path) -> Satrec:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RigError(f"orbit {path}: cannot be read: {error}") from error
    satrec = _tle(text, path) if path.suffix.lower() in (".tle", ".txt", "") else _omm(text, path)
    if satrec.error:
        raise RigError(f"orbit {path}: SGP4 does not take these elements: {SGP4_ERRORS[satrec.error]}")
    return satrec


def _tle(text: str, path: Path) -> Satrec:
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    pair = lines[1:] if len(lines) == 3 else lines
    if len(pair) != 2:
        raise RigError(
            f"orbit {path}: {len(lines)} lines, expected a two-line element set, a name line may stand first"
        )
    for number, line in enumerate(pair, 1):
        where = f"orbit {path}: line {number} of the elements"
        if len(line) != 69 or not line.startswith(f"{number} "):
            raise RigError(f"{where}: expected 69 characters that begin '{number} '")
        digit = sum(int(c) if c.isdigit() else c == "-" for c in line[:68]) % 10
        if line[68] != str(digit):
            raise RigError(f"{where}: checksum is {line[68]}, expected {digit}")
    try:
        return Satrec.twoline2rv(*pair)
    except ValueError as error:
        raise RigError(f"orbit {path}: {error}") from error


def _omm(text: str, path: Path) -> Satrec:
    suffix = path.suffix.lower()
    satrec = Satrec()
    try:
        fields: dict[str, Any]
        if suffix == ".json":
            data = json.loads(text)
            fields = data[0] if isinstance(data, list) else data
        elif suffix in (".xml", ".csv"):
            fields = next((omm.parse_xml if suffix == ".xml" else omm.parse_csv)(StringIO(text)))
        else:
            raise RigError(f"orbit {path}: expected .tle, or an OMM as .xml, .csv or .json")
        omm.initialize(satrec, {key: str(value) for key, value in fields.items()})
    except (ValueError, KeyError, StopIteration, SyntaxError, AttributeError, TypeError, IndexError) as error:
        raise RigError(f"orbit {path}: not an orbit mean-elements message: {error!r}") from error
    return satrec


# ------------------------------------------------------------------ elements from altitude, inclination, local time


def sun_synchronous_deg(altitude_km: float) -> float:
    """Inclination at which J2 turns a circular orbit once a year. Raises `RigError` above about 5,970 km."""
    a = EARTH_KM + altitude_km
    n = math.sqrt(MU_KM3_S2 / a**3)
    cos_i = -2 * a**2 * (2 * math.pi / TROPICAL_YEAR_S) / (3 * J2 * n * EARTH_KM**2)
    if cos_i < -1:
        raise RigError(f"orbit.altitude_km: {altitude_km:g}: no orbit is sun-synchronous there")
    return math.degrees(math.acos(cos_i))


def _computed(orbit: Orbit) -> Satrec:
    """A circular orbit whose mean radius is the equator's plus the altitude, without drag."""
    if orbit.altitude_km is None or orbit.ltan_h is None or orbit.epoch is None:
        raise RigError("orbit: expected altitude_km, ltan_h and epoch, or tle")
    try:
        epoch = datetime.fromisoformat(orbit.epoch)
    except ValueError as error:
        raise RigError(f"orbit.epoch: '{orbit.epoch}', expected a date as 2027-06-21T00:00:00Z") from error
    epoch = epoch.replace(tzinfo=UTC) if epoch.tzinfo is None else epoch.astimezone(UTC)
    days = (epoch - datetime(2000, 1, 1, 12, tzinfo=UTC)).total_seconds() / 86_400
    inclination = orbit.inclination_deg
    if inclination is None:
        inclination = sun_synchronous_deg(orbit.altitude_km)
    node_deg = 280.460 + 0.9856474 * days + 15 * (orbit.ltan_h - 12)  # mean Sun's longitude + hour angle
    radius = EARTH_KM + orbit.altitude_km
    a = radius
    for _ in range(3):  # SGP4's mean elements are not a mean radius: correct by what comes out
        satrec = Satrec()
        satrec.sgp4init(
            WGS72,
            "i",
            0,
            J2000_JD - SGP4_ZERO_JD + days,
            0.0,
            0.0,
            0.0,
            1e-7,
            0.0,
            math.radians(inclination),
            math.radians(orbit.anomaly_deg % 360),
            math.sqrt(MU_KM3_S2 / a**3) * 60,
            math.radians(node_deg % 360),
        )
        if satrec.error:
            raise RigError(f"orbit: SGP4 does not take this orbit: {SGP4_ERRORS[satrec.error]}")
        minutes = np.linspace(0, 2 * math.pi / satrec.no_kozai, 96, endpoint=False)
        _, r, _ = satrec.sgp4_array(np.full(96, satrec.jdsatepoch), satrec.jdsatepochF + minutes / 1440)
        a += radius - float(np.linalg.norm(r, axis=1).mean())
    return satrec
