"""Job progress: work counts once, whatever the accelerator, the line or the board do; checkpoints survive a reset."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hal.icd import AckCode, NodeFlag, NodeState
from tests.boards.accelerator import Node
from tests.boards.harness import events, one

RATE = 100


class JobModel(RuleBasedStateMachine):
    """A node with a job, against the accelerator's own account of whose work it did.

    What the accelerator did for a job since its last checkpoint may be lost, never counted twice.
    """

    @initialize(wrap_at=st.sampled_from([0, 2**32 - 1050, 2**31 - 350]))
    def begin(self, wrap_at: int) -> None:
        self.node = Node(boot_us=500_000, wrap_at=wrap_at, rate_mu=RATE)
        self.node.power_on()
        self.job_id = 0
        self.base = 0  # progress - base is work that the accelerator did for this job
        self.total = 0
        self.account = 0
        self.done_events: list[int] = []

    def note(self, frames: list) -> None:
        self.done_events += [arg0 for name, arg0, _ in events(frames) if name == "node_job_done"]

    @rule(steps=st.integers(1, 25))
    def run(self, steps: int) -> None:
        self.note(self.node.run(steps / 10))

    @rule(total=st.integers(1, 60), start=st.integers(0, 100), checkpoint=st.integers(1, 3))
    def start(self, total: int, start: int, checkpoint: int) -> None:
        begin = total * RATE * start // 100
        code = self.node.start_job(self.job_id + 1, total * RATE, begin, checkpoint * 1000)
        up = self.node.tlm["state"] in (NodeState.IDLE, NodeState.ACTIVE)
        assert code == (AckCode.OK if up else AckCode.WRONG_STATE)
        if up:
            self.job_id += 1
            self.base, self.total, self.account = begin, total * RATE, 0
            self.note(self.node.step())
            assert self.node.tlm["job_id"] == self.job_id

    @precondition(lambda self: self.job_id)
    @rule()
    def stop(self) -> None:
        self.node.board.command("node_job_stop", job_id=self.job_id)
        self.note(self.node.step())
        assert self.node.tlm["state"] != NodeState.ACTIVE
        assert self.node.tlm["checkpoint_mu"] == self.node.tlm["progress_mu"]

    @rule(steps=st.integers(0, 3))
    def accelerator_reboots(self, steps: int) -> None:
        if self.node.accel.state in (NodeState.IDLE, NodeState.ACTIVE):
            self.node.accel.boot()
        self.note(self.node.run(steps / 10))

    @rule()
    def accelerator_hangs(self) -> None:
        self.node.accel.hang = 1

    @rule()
    def input_lost(self) -> None:
        self.node.override = {"bus_mv": 0}
        self.note(self.node.step())
        self.node.override = {}
        self.note(self.node.step())

    @rule()
    def power_cycle(self) -> None:
        for on in (0, 1):
            self.node.board.command("node_power", on=on)
        self.note(self.node.run(1.0))

    @rule()
    def board_reset(self) -> None:
        """The controller alone resets; what it tells of the job is the checkpoint."""
        checkpoint, progress = self.node.tlm["checkpoint_mu"], self.node.tlm["progress_mu"]
        self.node.board.boot(4)
        frames = self.node.step()
        self.note(frames)
        tlm = one(frames, "node_tlm").fields
        kept = (tlm["job_id"], tlm["checkpoint_mu"], tlm["progress_mu"])
        assert kept[0] == self.job_id
        assert kept[1] == kept[2]
        assert checkpoint <= kept[1] <= progress + RATE
        assert tlm["state"] not in (NodeState.ACTIVE, NodeState.FAULT)

    @invariant()
    def nothing_counts_twice(self) -> None:
        if not hasattr(self, "node") or not self.job_id:
            return
        tlm = self.node.tlm
        worked = self.node.accel.done_mu.get(self.job_id, 0)
        # A telemetry frame may be 200 ms old, the account is of now.
        assert tlm["checkpoint_mu"] <= tlm["progress_mu"] <= self.total
        assert tlm["progress_mu"] <= self.base + worked
        assert len(set(self.done_events)) == len(self.done_events)
        if tlm["flags"] & NodeFlag.JOB_DONE:
            assert tlm["progress_mu"] == self.total
            assert tlm["state"] != NodeState.ACTIVE


TestJob = JobModel.TestCase


@given(st.integers(0, 2**32 - 1), st.integers(3, 40))
def test_without_faults_every_unit_counts(wrap_at: int, total: int):
    node = Node(boot_us=500_000, wrap_at=wrap_at, rate_mu=RATE)
    node.power_on()
    node.start_job(total_mu=total * RATE)
    sent = node.run(0.1 * total)  # the accelerator hears of it with the first DONE
    assert node.tlm["state"] == NodeState.ACTIVE
    sent += node.run(0.1)
    assert events(sent) == [("node_job_done", 5, total * RATE)]
    assert (node.tlm["state"], node.tlm["checkpoint_mu"]) == (NodeState.IDLE, total * RATE)
    assert node.flags & NodeFlag.JOB_DONE


@pytest.mark.parametrize("checkpoint_ms", [1000, 2500])
def test_checkpoints_come_at_their_interval(checkpoint_ms: int):
    node = Node(rate_mu=RATE)
    node.power_on()
    node.start_job(total_mu=10_000_000, checkpoint_ms=checkpoint_ms)
    values = {frame.fields["checkpoint_mu"] for frame in node.run(10.2) if frame.name == "node_tlm"}
    per_interval = checkpoint_ms // 100 * RATE
    assert sorted(values) == list(range(0, max(values) + 1, per_interval))
    assert len(values) == 10_000 // checkpoint_ms + 1


def test_a_finished_job_stays_in_telemetry_until_cleared_also_over_a_reset():
    node = Node()
    node.power_on()
    node.start_job(total_mu=500)
    node.run(2.0)
    node.board.boot(2)
    node.run(0.3)
    assert (node.tlm["job_id"], node.tlm["checkpoint_mu"]) == (5, 500)
    assert node.flags & NodeFlag.JOB_DONE
    assert node.board.command("node_job_stop", job_id=0) == AckCode.OK
    node.step()
    assert (node.tlm["job_id"], node.tlm["progress_mu"]) == (0, 0)
    node.board.boot(2)
    node.run(0.3)
    assert node.tlm["job_id"] == 0


def test_stop_needs_the_right_job_and_clear_a_job_at_rest():
    node = Node()
    node.power_on()
    node.start_job(total_mu=100_000)
    node.step()
    assert node.board.command("node_job_stop", job_id=4) == AckCode.WRONG_STATE
    assert node.board.command("node_job_stop", job_id=0) == AckCode.WRONG_STATE
    assert node.board.command("node_job_stop", job_id=5) == AckCode.OK
    assert node.board.command("node_job_stop", job_id=0) == AckCode.OK
    node.step()
    assert (node.tlm["job_id"], node.tlm["state"]) == (0, NodeState.IDLE)


def test_start_and_stop_between_two_ticks_credit_the_old_jobs_work_to_nobody_else():
    node = Node(rate_mu=RATE)
    node.power_on()
    node.start_job(job_id=5, total_mu=100_000)
    node.run(1.0)
    node.start_job(job_id=6, total_mu=200, start_mu=0)
    node.board.command("node_job_stop", job_id=6)
    node.step()
    assert (node.tlm["job_id"], node.tlm["progress_mu"], node.tlm["state"]) == (6, 0, NodeState.IDLE)


def test_an_input_above_the_total_is_refused():
    node = Node()
    node.power_on()
    assert node.start_job(total_mu=100, start_mu=101) == AckCode.OUT_OF_RANGE
    assert node.start_job(total_mu=100, start_mu=100) == AckCode.OK
    node.step()
    assert node.flags & NodeFlag.JOB_DONE


def test_a_checkpoint_that_memory_refused_is_not_reported():
    node = Node(rate_mu=RATE)
    node.power_on()
    node.start_job(total_mu=100_000)
    node.run(1.2)
    safe = node.tlm["checkpoint_mu"]
    node.board.memory.broken = True
    node.run(5.0)
    assert node.tlm["progress_mu"] > 5000
    assert node.tlm["checkpoint_mu"] == safe
    node.board.memory.broken = False
    node.run(0.3)
    assert node.tlm["checkpoint_mu"] > 5000


def test_config_and_job_survive_a_power_cut_at_any_byte_of_a_checkpoint():
    """The cut falls on every byte of the write of one checkpoint: the job is there, at one of two checkpoints."""
    base = Node(rate_mu=RATE)
    base.power_on()
    base.start_job(total_mu=100_000)
    base.run(1.05)
    before = bytes(base.board.memory.content)
    for cut in range(26):
        node = Node(rate_mu=RATE)
        node.board.memory.content[:] = before
        node.board.boot(1)
        node.step()
        node.power_on()
        node.start_job(job_id=9, total_mu=100_000, start_mu=700)
        node.board.memory.budget = cut
        node.step()
        node.board.memory.budget = None
        node.board.boot(5)
        tlm = one(node.step(), "node_tlm").fields
        assert (tlm["job_id"], tlm["checkpoint_mu"]) in ((5, base.tlm["checkpoint_mu"]), (9, 700))
        assert not tlm["flags"] & NodeFlag.UNCONFIGURED
