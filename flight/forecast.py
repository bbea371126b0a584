"""When the next eclipse begins and ends: the orbit's elements, SGP4, and a conical shadow.

Half of the disc is hidden where the spherical Earth's edge crosses the Sun's centre. By the forecast
caps ramp down before an entry, energy is planned and nodes rest; what is safe must be safe without it
(csrc/control/supply.c).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from hal.orbit import EARTH_KM, elements_of
from hal.rig import Orbit

STEP_S = 20.0
SPAN_S = 8000.0  # a whole orbit up to 2,000 km
Array = npt.NDArray[np.float64]


class Forecast:
    """The orbit of a rig. Raises `RigError` for elements that SGP4 does not take."""

    def __init__(self, orbit: Orbit) -> None:
        self._elements = elements_of(orbit)

    @property
    def period_s(self) -> float:
        """Time of one orbit, by its mean motion."""
        return self._elements.period_s

    def _darkness(self, t_s: Array) -> Array:
        """Positive where the Sun's centre is behind the Earth's edge, in radians."""
        rows = self._elements.rows(t_s)
        r, sun = rows[:, :3], rows[:, 6:]
        distance = np.linalg.norm(r, axis=1)
        cosine = np.sum(r * sun, axis=1) / (distance * np.linalg.norm(sun, axis=1))
        edge = math.pi - np.arcsin(np.minimum(1.0, EARTH_KM / distance))
        result: Array = np.arccos(np.clip(cosine, -1, 1)) - edge
        return result

    def _crossing(self, low_s: float, high_s: float) -> float:
        """The edge between two times on either side of it: three rounds of 20 points, to 3 ms."""
        for _ in range(3):
            t = np.linspace(low_s, high_s, 20)
            dark = self._darkness(t) > 0
            k = int(np.argmax(dark != dark[0]))
            low_s, high_s = float(t[k - 1]), float(t[k])
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
