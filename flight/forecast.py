"""When the next eclipse begins and ends: SGP4 (or a circular orbit) and a conical shadow.

Sun: low-precision formulas of the Astronomical Almanac (0.01 deg, 1950-2050). Shadow: half of the disc hidden, which is
where the spherical Earth's edge crosses the Sun's centre. The forecast only lets caps ramp down before an entry; what
is safe without it must be safe (csrc/control/supply.c).
"""

from __future__ import annotations

import math
from datetime import datetime

import numpy as np
import numpy.typing as npt
from sgp4.api import WGS72, Satrec, jday  # type: ignore[import-untyped]

from hal.errors import RigError
from hal.rig import Orbit

EARTH_KM = 6378.137
MU = 398600.4418
J2 = 1.08262668e-3
STEP_S = 20.0
SPAN_S = 8000.0  # a whole orbit up to 2,000 km
DAY_S = 86400.0
Array = npt.NDArray[np.float64]


def sun_direction(jd: Array) -> Array:
    """Unit vectors to the Sun, equatorial frame of date, shape (n, 3)."""
    d = jd - 2451545.0
    g = np.radians(357.529 + 0.98560028 * d)
    longitude = np.radians(280.459 + 0.98564736 * d + 1.915 * np.sin(g) + 0.020 * np.sin(2 * g))
    obliquity = np.radians(23.439 - 0.00000036 * d)
    x, y = np.cos(longitude), np.sin(longitude)
    return np.stack([x, np.cos(obliquity) * y, np.sin(obliquity) * y], axis=1)


def _dark(r_km: Array, sun: Array) -> Array:
    """Positive where the Sun's centre is behind the Earth's edge, in radians."""
    distance = np.linalg.norm(r_km, axis=1)
    angle = np.arccos(np.clip(np.sum(r_km * sun, axis=1) / distance, -1, 1))
    result: Array = angle - (math.pi - np.arcsin(np.minimum(1.0, EARTH_KM / distance)))
    return result


class Forecast:
    """The orbit of a rig. Raises `RigError` for an element set that SGP4 does not take."""

    def __init__(self, orbit: Orbit) -> None:
        self._orbit = orbit
        self._start_s = orbit.start_s
        self._record: Satrec | None = None
        if orbit.tle_path is not None:
            self._record = _read_tle(str(orbit.tle_path))
            self._epoch_jd = self._record.jdsatepoch + self._record.jdsatepochF
        else:
            self._circular()

    def _circular(self) -> None:
        o = self._orbit
        assert o.altitude_km is not None
        assert o.epoch is not None
        assert o.ltan_h is not None
        try:
            epoch = datetime.fromisoformat(o.epoch.replace("Z", "+00:00"))
        except ValueError:
            raise RigError(f"orbit.epoch: '{o.epoch}' is not a date, expected like 2027-06-21T00:00:00Z") from None
        day, fraction = jday(epoch.year, epoch.month, epoch.day, epoch.hour, epoch.minute, epoch.second)
        self._epoch_jd = day + fraction
        a = EARTH_KM + o.altitude_km
        self._a_km, self._n = a, math.sqrt(MU / a**3)
        if o.sun_synchronous:
            rate = 2 * math.pi / (365.2422 * DAY_S)
            self._i = math.acos(-rate * 2 * a**2 / (3 * J2 * self._n * EARTH_KM**2))
        else:
            self._i = math.radians(o.inclination_deg or 0.0)
        sun = sun_direction(np.array([self._epoch_jd]))[0]
        ascension = math.atan2(sun[1], sun[0])
        self._node = ascension + math.radians(15 * (o.ltan_h - 12))
        self._node_rate = -1.5 * J2 * (EARTH_KM / a) ** 2 * self._n * math.cos(self._i)
        self._anomaly = math.radians(o.anomaly_deg)

    def _positions(self, t_s: Array) -> Array:
        if self._record is not None:
            days = self._epoch_jd - self._record.jdsatepoch + (t_s + self._start_s) / DAY_S
            _, r, _ = self._record.sgp4_array(np.full_like(days, self._record.jdsatepoch), days)
            positions: Array = r
            return positions
        s = t_s + self._start_s
        u, node = self._anomaly + self._n * s, self._node + self._node_rate * s
        x, y = np.cos(u), np.sin(u)
        ci, si = math.cos(self._i), math.sin(self._i)
        return self._a_km * np.stack(
            [np.cos(node) * x - np.sin(node) * ci * y, np.sin(node) * x + np.cos(node) * ci * y, si * y], axis=1
        )

    def _darkness(self, t_s: Array) -> Array:
        return _dark(self._positions(t_s), sun_direction(self._epoch_jd + (t_s + self._start_s) / DAY_S))

    def _crossing(self, low_s: float, high_s: float) -> float:
        """Bisection to 10 ms between two times on either side of the edge."""
        sign = self._darkness(np.array([low_s]))[0] > 0
        while high_s - low_s > 0.01:
            middle = 0.5 * (low_s + high_s)
            if (self._darkness(np.array([middle]))[0] > 0) == sign:
                low_s = middle
            else:
                high_s = middle
        return 0.5 * (low_s + high_s)

    def next_eclipse(self, t_s: float) -> tuple[float, float] | None:
        """Entry and exit, in flight time, of the eclipse at t_s or the first after it; None: none within an orbit.

        An eclipse that is already under way has its entry at t_s.
        """
        t = t_s + np.arange(0.0, SPAN_S, STEP_S)
        dark = self._darkness(t) > 0
        if not np.any(dark):
            return None
        first = int(np.argmax(dark))
        entry_s = t_s if first == 0 else self._crossing(float(t[first - 1]), float(t[first]))
        after = np.flatnonzero(~dark[first:])
        if not len(after):
            return None
        last = first + int(after[0])
        return entry_s, self._crossing(float(t[last - 1]), float(t[last]))


def _read_tle(path: str) -> Satrec:
    with open(path, encoding="ascii", errors="replace") as file:
        lines = [line.rstrip() for line in file if line[:2] in ("1 ", "2 ")]
    if len(lines) < 2:
        raise RigError(f"{path}: not a two-line element set, expected a line that begins with 1 and one with 2")
    try:
        return Satrec.twoline2rv(lines[0], lines[1], WGS72)
    except ValueError as error:
        raise RigError(f"{path}: not a two-line element set: {error}") from None
