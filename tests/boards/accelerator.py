"""An accelerator as a node's controller sees it, as simple as can be; and a node board that is joined to one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hal.icd import AccelCommand, NodeState
from tests.boards.harness import COMPUTE_NODE, NODE_CONFIG, TICK_US, Board, Frame, Memory, one

UP = (NodeState.IDLE, NodeState.ACTIVE)
CURRENT_MA = {NodeState.OFF: 10, NodeState.BOOT: 3000, NodeState.IDLE: 1000, NodeState.HALTED: 500}


class Accelerator:
    """`wrap_at`: the work counter's value at every boot. hang: 0 none, 1 until reset, 2 until switched off."""

    def __init__(self, boot_us: int = 1_000_000, rate_mu: int = 100, wrap_at: int = 0) -> None:
        self.boot_us, self.rate_mu, self.wrap_at = boot_us, rate_mu, wrap_at
        self.state = NodeState.OFF
        self.beat = self.work = self.left_us = self.hang = self.boots = 0
        self.ecc_corrected = self.ecc_uncorrected = 0
        self.done_mu: dict[int, int] = {}

    def boot(self) -> None:
        self.state, self.left_us, self.work = NodeState.BOOT, self.boot_us, self.wrap_at
        self.boots += 1

    def step(self, command: int, job_id: int, dt_us: int) -> None:
        """Obeys for dt_us. job_id: whose work it is when it runs."""
        if command == AccelCommand.OFF:
            self.state, self.hang = NodeState.OFF, 0
        if command == AccelCommand.RESET and self.hang < 2 and self.state != NodeState.OFF:
            self.state, self.hang = NodeState.HALTED, 0
        if self.hang or (self.state == NodeState.OFF and command != AccelCommand.BOOT):
            return
        if command == AccelCommand.BOOT and self.state not in (*UP, NodeState.BOOT):
            self.boot()
        elif self.state == NodeState.BOOT:
            self.left_us -= dt_us
            self.state = NodeState.IDLE if self.left_us <= 0 else NodeState.BOOT
        if self.state in UP:
            self.state = NodeState.ACTIVE if command == AccelCommand.RUN else NodeState.IDLE
            self.beat = (self.beat + 1) & 0xFFFF
        if self.state == NodeState.ACTIVE:
            self.work = (self.work + self.rate_mu) & 0xFFFFFFFF
            self.done_mu[job_id] = self.done_mu.get(job_id, 0) + self.rate_mu

    def sensors(self) -> dict[str, int]:
        current = CURRENT_MA.get(self.state, 5000)
        return {
            "accel_state": self.state,
            "heartbeat": self.beat,
            "work_mu": self.work,
            "mean_ma": current,
            "min_ma": current,
            "max_ma": current,
            "ecc_corrected": self.ecc_corrected & 0xFFFF,
            "ecc_uncorrected": self.ecc_uncorrected & 0xFFFF,
        }


class Node:
    """A node board with an accelerator. `override`: sensors that a test sets by hand."""

    def __init__(self, memory: Memory | None = None, config: dict[str, Any] | None = None, **accel: Any) -> None:
        self.board = Board(COMPUTE_NODE, memory)
        self.accel = Accelerator(**accel)
        self.override: dict[str, int] = {}
        self.command = AccelCommand.OFF
        self.tlm: dict[str, Any] = {}
        self.done: dict[str, Any] = {}
        self.health: dict[str, Any] = {}
        self.running = 0
        self.frames: list[Frame] = []
        assert self.board.command("node_config", **(NODE_CONFIG | (config or {}))) == 0
        self.step()

    def step(self, dt_us: int = TICK_US) -> list[Frame]:
        """One tick: the accelerator obeys the last DONE, the board steps."""
        self.accel.step(self.command, self.running, dt_us)
        if self.override.get("bus_mv", 1) == 0:
            self.accel.state = NodeState.OFF
        frames = self.board.tick(dt_us, **(self.accel.sensors() | self.override))
        self.done = one(frames, "done_node").fields
        self.command = self.done["command"]
        for frame in frames:
            if frame.name == "node_tlm":
                self.tlm = frame.fields
            if frame.name == "node_health":
                self.health = frame.fields
        self.running = self.tlm["job_id"]
        self.frames += frames
        return frames

    def run(self, seconds: float, dt_us: int = TICK_US) -> list[Frame]:
        """Steps for so long; returns all that was sent."""
        sent = []
        for _ in range(round(seconds * 1_000_000 / dt_us)):
            sent += self.step(dt_us)
        return sent

    def power_on(self) -> None:
        """Boots the accelerator and waits for it."""
        assert self.board.command("node_power", on=1) == 0
        self.run(self.accel.boot_us / 1e6 + 0.5)
        assert self.tlm["state"] == NodeState.IDLE

    def start_job(
        self,
        job_id: int = 5,
        total_mu: int = 100_000,
        start_mu: int = 0,
        checkpoint_ms: int = 1000,
        cost_ms: int = 0,
        phases: Sequence[tuple[int, int]] = (),
    ) -> int:
        """phases: workload and work of each, over and over."""
        return self.board.command(
            "node_job", job_id=job_id, workload=1, total_mu=total_mu, start_mu=start_mu, checkpoint_ms=checkpoint_ms,
            checkpoint_cost_ms=cost_ms, phases=[{"workload": w, "work_mu": mu} for w, mu in phases],
        )  # fmt: skip

    @property
    def flags(self) -> int:
        return int(self.tlm["flags"])
