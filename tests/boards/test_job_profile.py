"""A job's phases follow its progress, a checkpoint takes time, and what was done is progress, or written, or lost."""

from itertools import chain, repeat

from hypothesis import given
from hypothesis import strategies as st

from hal.icd import AckCode, NodeState
from tests.boards.accelerator import Node

RATE = 100  # of work in a tick
TICK_MS = 100
phases = st.lists(st.tuples(st.integers(1, 3), st.integers(1, 900)), min_size=1, max_size=4)


def ready(rate_mu: int = RATE) -> Node:
    node = Node(boot_us=500_000, rate_mu=rate_mu)
    node.power_on()
    return node


@given(phases, st.integers(0, 5000), st.integers(1, 130))
def test_the_class_is_that_of_the_phase_that_progress_is_in(profile: list[tuple[int, int]], start: int, rate: int):
    """The profile written out, a class for each 0.001 of work, over and over."""
    node = ready(rate)
    assert node.start_job(total_mu=10_000_000, start_mu=start, phases=profile) == AckCode.OK
    once = list(chain.from_iterable(repeat(workload, work) for workload, work in profile))
    node.step()
    done = 0
    for _ in range(60):
        assert node.done["workload"] == once[(start + done) % len(once)]
        node.step()
        done += rate


def test_a_job_that_went_back_to_its_checkpoint_is_in_that_ones_phase():
    node = ready()
    node.start_job(total_mu=10_000_000, checkpoint_ms=1000, phases=[(2, 1450), (3, 100_000)])
    node.run(1.7)
    assert node.done["workload"] == 3
    node.accel.boot()
    node.run(0.8)
    assert (node.tlm["state"], node.tlm["checkpoint_mu"], node.done["workload"]) == (NodeState.ACTIVE, 1000, 2)


@given(st.integers(10, 25), st.integers(0, 2500), st.integers(1, 150))
def test_a_checkpoint_takes_its_time_and_counts_when_it_is_written(interval: int, cost_ms: int, ticks: int):
    """Closed form: so many ticks of progress, then the cost; the rest of the tick in which it ends is progress."""
    node = ready()
    node.start_job(total_mu=10_000_000, checkpoint_ms=interval * TICK_MS, cost_ms=cost_ms)
    writing = -(-cost_ms // TICK_MS)
    rest = RATE - RATE * (cost_ms - (writing - 1) * TICK_MS) // TICK_MS if writing else 0
    for _ in range(ticks):
        told = [frame.fields for frame in node.step() if frame.name == "node_tlm"]
        cycles, into = divmod(node.accel.done_mu.get(5, 0) // RATE, interval + writing)
        safe = cycles * (interval * RATE + rest)
        assert all((t["checkpoint_mu"], t["progress_mu"] - safe) == (safe, min(into, interval) * RATE) for t in told)


def test_a_loss_while_a_checkpoint_is_written_goes_back_to_the_one_before():
    node = ready()
    node.start_job(total_mu=10_000_000, checkpoint_ms=2000, cost_ms=1000)
    node.run(4.0)
    safe = node.tlm["checkpoint_mu"]
    node.run(1.5)
    at = node.tlm["progress_mu"]
    node.run(0.3)
    assert safe == 2000 < at == node.tlm["progress_mu"], "it is being written"
    node.accel.boot()
    node.run(0.3)
    assert (node.tlm["progress_mu"], node.tlm["checkpoint_mu"]) == (safe, safe)


@given(
    st.integers(0, 1500),
    st.lists(st.tuples(st.sampled_from(["run", "boot", "hang", "cycle", "stop"]), st.integers(1, 30)), max_size=25),
)
def test_what_was_done_is_progress_or_was_written_or_lost(cost_ms: int, history: list[tuple[str, int]]):
    """Against the accelerator's own count, to the last 0.001, whatever it did meanwhile."""
    node = ready()
    node.start_job(total_mu=100_000_000, cost_ms=cost_ms, checkpoint_ms=1300)
    for what, ticks in history:
        if what == "boot" and node.accel.state in (NodeState.IDLE, NodeState.ACTIVE):
            node.accel.boot()
        elif what == "hang":
            node.accel.hang = 1
        elif what == "cycle":
            for on in (0, 1):
                node.board.command("node_power", on=on)
        elif what == "stop":
            node.board.command("node_job_stop", job_id=5)
        node.run(ticks / 10)
        if node.tlm["state"] == NodeState.IDLE:
            node.start_job(
                total_mu=100_000_000, start_mu=node.tlm["checkpoint_mu"], cost_ms=cost_ms, checkpoint_ms=1300
            )
    node.board.command("node_job_stop", job_id=5)  # progress stands still, and is told at once
    node.health = {}
    while not node.health:
        node.step()
    account = node.tlm["progress_mu"] + node.health["writing_mu"] + node.health["lost_mu"]
    assert node.accel.done_mu.get(5, 0) == account
