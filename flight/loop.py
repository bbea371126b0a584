"""The fast rate group as Python sees it: csrc/control behind a class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from flight._native import ffi, lib
from flight.boards import configuration
from hal.rig import Rig

ATTENTION_SESSION: int = lib.CTL_ATTENTION_SESSION
PHASE_OFF: int = lib.CTL_PHASE_OFF
PHASE_UP: int = lib.CTL_PHASE_UP
PHASE_STOP: int = lib.CTL_PHASE_STOP
FAULTS_MAX: int = lib.CTL_FAULTS_MAX
CLEAR_WANTED: int = lib.CTL_CLEAR_WANTED
CLEAR_REFUSED: int = lib.CTL_CLEAR_REFUSED


class LoopEvent(NamedTuple):
    """An event of the loop or of a board; source: bus address."""

    t_us: int
    code: int
    source: int
    arg0: int
    arg1: int


class Loop:
    """Owns the memory of a `struct ctl`. `step` and `ctx` are what `BusPort.run` takes.

    nodes[i] is the live `struct ctl_node` of node i (cffi, read only).
    """

    def __init__(self, rig: Rig, session: int, *, adopt: bool) -> None:
        self.count = rig.nodes
        size = lib.ctl_bytes(self.count)
        self._memory = ffi.new("uint64_t[]", (size + 7) // 8)
        self._ctl = ffi.cast("struct ctl *", self._memory)
        config = configuration(rig, session, adopt)
        lib.ctl_init(self._ctl, config)
        self.nodes: Any = lib.ctl_nodes(self._ctl)
        self.step = int(ffi.cast("uintptr_t", ffi.addressof(lib, "ctl_step")))
        self.ctx = int(ffi.cast("uintptr_t", self._ctl))
        self._status = ffi.new("struct ctl_status *")
        self._events = ffi.new("struct ctl_event[]", 64)
        self._job = ffi.new("struct ctl_job *")
        self._boots = ffi.new("uint32_t *")

    @property
    def pointer(self) -> Any:
        """The `struct ctl *`, for packing housekeeping."""
        return self._ctl

    def status(self) -> Any:
        """A `struct ctl_status`, filled now and overwritten by the next call."""
        lib.ctl_get_status(self._ctl, self._status)
        return self._status

    def take_attention(self) -> int:
        """Why the loop stopped a run since the last call: CTL_ATTENTION_* bits."""
        return int(lib.ctl_take_attention(self._ctl))

    def events(self) -> Iterator[LoopEvent]:
        """Everything that happened since the last call, oldest first."""
        while n := lib.ctl_events(self._ctl, self._events, 64):
            for e in self._events[0:n]:
                yield LoopEvent(e.t_us, e.code, e.source, e.arg0, e.arg1)

    def board_status(self, board: int) -> int:
        """`icd.BoardStatus` of a board (0: power board, 1 + i: node i)."""
        return int(lib.ctl_board(self._ctl, board, ffi.NULL, ffi.NULL))

    def boot_count(self, board: int) -> int:
        """Boot count of the board's last HELLO."""
        lib.ctl_board(self._ctl, board, self._boots, ffi.NULL)
        return int(self._boots[0])

    def set_parameters(self, values: dict[int, float]) -> None:
        """Take parameters by id; every one that the loop uses must be there."""
        parameters = ffi.new("struct space_parameters *")
        lib.space_parameters_default(parameters)
        for number, value in values.items():
            lib.space_parameter_set(parameters, lib.space_parameter_index(number), value)
        lib.ctl_set_parameters(self._ctl, parameters)

    def set_forecast(self, entry_us: int, exit_us: int, period_us: int) -> None:
        """The next eclipse in us of mission time, and the time to the one behind it; 0, 0, 0: unknown."""
        lib.ctl_set_forecast(self._ctl, max(0, entry_us), max(0, exit_us), period_us)

    def set_mode(self, mode: int) -> bool:
        """False when NOMINAL is not possible now."""
        return bool(lib.ctl_set_mode(self._ctl, mode) == 0)

    def want(self, node: int, on: bool) -> None:
        """Want a node on or off."""
        lib.ctl_want_node(self._ctl, node, on)

    def set_job(
        self,
        node: int,
        job_id: int,
        workload: int,
        total_mu: int,
        start_mu: int,
        checkpoint_ms: int,
        checkpoint_cost_ms: int = 0,
        phases: Sequence[tuple[int, int]] = (),
        weight_permille: int = 1000,
    ) -> None:
        """What a node shall run from now on; phases: workload and work of each, over and over in place of workload;
        weight_permille: what its work counts for where watts are scarce. A job that it has goes on undisturbed."""
        j = self._job
        j.job_id, j.workload, j.total_mu, j.start_mu, j.checkpoint_ms = (
            job_id,
            workload,
            total_mu,
            start_mu,
            checkpoint_ms,
        )
        j.stop, j.checkpoint_cost_ms, j.phase_count = 0, checkpoint_cost_ms, len(phases)
        j.weight_permille = weight_permille
        for k, (of, work_mu) in enumerate(phases):
            j.phases[k].workload, j.phases[k].work_mu = of, work_mu
        lib.ctl_set_job(self._ctl, node, j)

    def stop_job(self, node: int, job_id: int) -> None:
        """The node shall checkpoint this job and stay idle with it until it is given another one, or none."""
        j = self._job
        j.job_id, j.stop = job_id, 1
        lib.ctl_set_job(self._ctl, node, j)

    def clear_job(self, node: int) -> None:
        """The node shall run nothing."""
        self.set_job(node, 0, 0, 0, 0, 0)

    def reset_board(self, board: int) -> bool:
        """False when the board is not ready."""
        return bool(lib.ctl_reset_board(self._ctl, board) == 0)

    def clear_channel(self, node: int) -> bool:
        """False when the power board is not ready."""
        return bool(lib.ctl_clear_channel(self._ctl, node) == 0)
