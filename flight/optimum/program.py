"""A linear program whose variables are time series: written row by row, solved by HiGHS."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog
from scipy.sparse import coo_array

from flight.errors import FlightError

Floats = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
Term = tuple[float | Floats, Index]


METHODS = ("highs-ipm", "highs-ds")
"""The interior point first: the simplex is slower, but finds its way where the interior is next to empty"""


class Program:
    """Variables by name, rows as they come: max c x, A x <= b."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.at: dict[str, Index] = {}
        self._low: list[Floats] = []
        self._high: list[Floats] = []
        self._rows: list[tuple[Floats, Index, Index]] = []
        self._b: list[Floats] = []
        self._n = self._m = 0

    def variable(self, name: str, low: float | Floats = 0.0, high: float | Floats = np.inf, extra: int = 0) -> Index:
        """One for each step (and `extra` more), between bounds."""
        n = self.steps + extra
        self.at[name] = np.arange(self._n, self._n + n)
        self._n += n
        self._low.append(np.broadcast_to(np.asarray(low, float), n))
        self._high.append(np.broadcast_to(np.asarray(high, float), n))
        return self.at[name]

    def low(self) -> Floats:
        """Lower bounds of all variables."""
        return np.concatenate(self._low)

    def row(self, b: float | Floats, *terms: Term) -> None:
        """sum of coefficient x variable <= b, for each element of the variables."""
        n = len(terms[0][1])
        index = np.arange(self._m, self._m + n)
        for a, variable in terms:
            self._rows.append((np.broadcast_to(np.asarray(a, float), n).copy(), index, variable))
        self._b.append(np.broadcast_to(np.asarray(b, float), n))
        self._m += n

    def equal(self, b: float | Floats, *terms: Term) -> None:
        """The same with =."""
        self.row(b, *terms)
        self.row(-np.asarray(b, float), *((-np.asarray(a, float), v) for a, v in terms))

    def best(self, title: str, names: list[str], less: tuple[float, str]) -> tuple[Floats, Floats]:
        """Maximises the sum of some variables, less a factor times another's; and what a unit more of each variable's
        lower bound costs.

        Raises `FlightError`.
        """
        c = np.zeros(self._n)
        for n in names:
            c[self.at[n]] = -1
        c[self.at[less[1]]] = less[0]
        values, rows, columns = (np.concatenate([r[k] for r in self._rows]) for k in range(3))
        matrix = coo_array((values, (rows, columns)), shape=(self._m, self._n)).tocsr()
        bounds = np.stack([self.low(), np.concatenate(self._high)], axis=1)
        for method in METHODS:
            found = linprog(c, A_ub=matrix, b_ub=np.concatenate(self._b), bounds=bounds, method=method)
            if found.status == 0:
                break
        else:
            raise FlightError(f"{title}: the bound was not found: {found.message}")
        return found.x, found.lower.marginals
