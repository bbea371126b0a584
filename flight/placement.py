"""Which nodes jobs go to: heat is spread over coolant loops first, over the groups of a loop second.

A loop carries the heat of its groups to the radiator, so nodes on the emptier loop stay cooler and may draw more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Self

from flight.icd import Workload
from hal.satellite import Satellite


class Cooling:
    """The coolant group and loop of each node, and the heat of a workload: W above idle at full speed, by its number
    (`icd.Workload`); one that is not in it counts as none."""

    def __init__(self, group: Sequence[int], loop: Sequence[int], heat_w: dict[int, float]) -> None:
        self.group, self.loop, self._heat_w = group, loop, heat_w

    @classmethod
    def of(cls, satellite: Satellite) -> Self:
        """As the satellite's file has it."""
        groups, loops = satellite.thermal.groups, satellite.thermal.loops
        group = [node % groups for node in range(satellite.node.count)]
        heat_w = {int(Workload[w.name.upper()]): max(w.dynamic_w) for w in satellite.workload}
        return cls(group, [g * loops // groups for g in group], heat_w)

    @classmethod
    def none(cls, nodes: int) -> Self:
        """All nodes on one loop: any is as good as another."""
        return cls([0] * nodes, [0] * nodes, {})

    def heat_w(self, workload: int) -> float:
        """W above idle at full speed."""
        return self._heat_w.get(workload, 0.0)


class Placement:
    """The heat that loops and groups have to carry; `at`: node and workload of what runs."""

    def __init__(self, cooling: Cooling, at: Iterable[tuple[int, int]]) -> None:
        self._cooling = cooling
        self._loop_w = [0.0] * (1 + max(cooling.loop, default=0))
        self._group_w = [0.0] * (1 + max(cooling.group, default=0))
        for node, workload in at:
            self.put(node, workload)

    def put(self, node: int, workload: int) -> None:
        """A node gets a job of this workload."""
        heat_w = self._cooling.heat_w(workload)
        self._loop_w[self._cooling.loop[node]] += heat_w
        self._group_w[self._cooling.group[node]] += heat_w

    def share(self, workloads: Sequence[int], idle: Sequence[int], booting: Sequence[int]) -> list[int]:
        """A node for each of these jobs, the hottest of them first; fewer when there are fewer nodes. Nodes that still
        boot have their part only in jobs for which none is idle, so that no job waits while a node idles."""
        jobs = min(len(workloads), len(idle) + len(booting))
        slots: dict[int, list[tuple[bool, int]]] = {}
        for node in idle:
            slots.setdefault(self._cooling.group[node], []).append((False, node))
        for node in booting[: max(0, jobs - len(idle))]:
            slots.setdefault(self._cooling.group[node], []).append((True, node))
        chosen = [0] * jobs
        for job in sorted(range(jobs), key=lambda i: -self._cooling.heat_w(workloads[i])):
            group = min(slots, key=lambda g: (self._carried(slots[g][0][1]), slots[g][0]))
            chosen[job] = slots[group].pop(0)[1]
            self.put(chosen[job], workloads[job])
            if not slots[group]:
                del slots[group]
        return chosen

    def _carried(self, node: int) -> tuple[float, float]:
        return self._loop_w[self._cooling.loop[node]], self._group_w[self._cooling.group[node]]
