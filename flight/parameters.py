"""The parameters of the space-link ICD: ranges, and changes that happen as a whole or not at all."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from flight.icd import PARAMETERS, Failure, ParameterInfo

BY_ID: Mapping[int, ParameterInfo] = {p.id: p for p in PARAMETERS.values()}


class Parameters:
    """Values by parameter id. Starts at the defaults."""

    def __init__(self) -> None:
        self.values: dict[int, float] = {p.id: p.default for p in PARAMETERS.values()}

    def get(self, name: str) -> float:
        """Value of a parameter by its name."""
        return self.values[PARAMETERS[name].id]

    def check(self, changes: Iterable[tuple[int, float]]) -> tuple[Failure, int]:
        """Why a set of changes cannot be taken, with the parameter at fault; (NONE, 0) when it can."""
        for number, value in changes:
            info = BY_ID.get(number)
            if info is None:
                return Failure.UNKNOWN_PARAMETER, number
            if not math.isfinite(value) or not info.min <= value <= info.max:
                return Failure.OUT_OF_RANGE, number
        return Failure.NONE, 0

    def set(self, changes: Iterable[tuple[int, float]]) -> dict[int, float]:
        """Take a checked set of changes; returns those that are new values."""
        changed = {number: value for number, value in changes if self.values[number] != value}
        self.values.update(changed)
        return changed

    def restore(self, stored: Mapping[int, float]) -> list[int]:
        """Take stored values; returns the ids of those that no longer exist or are out of range (defaults stand)."""
        bad = [n for n, v in stored.items() if self.check([(n, v)])[0] is not Failure.NONE]
        self.values.update({n: v for n, v in stored.items() if n not in bad})
        return bad
