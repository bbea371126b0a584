"""The weight of a job: what it must be, whatever its priority, its work and its deadline are; and that a weight which
changes moves watts and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flight.icd import NodeState
from flight.job import Job
from flight.weight import EASY, LEVELS_MAX, URGENCY_MAX, USUAL_PRIORITY, needed, urgency, weigh, weight_permille
from tests.flight.fake import FakePort

SECOND_US = 1_000_000
priorities = st.integers(0, 255)
urgencies = st.integers(0, URGENCY_MAX)


def job(priority: int = USUAL_PRIORITY, total_mu: int = 1000, **more: int) -> Job:
    return Job(1, 1, priority, total_mu, 60, 0, **more)


@given(priorities, urgencies)
def test_a_weight_fits_its_field_and_grows_with_priority_and_urgency(priority: int, urgent: int):
    weight = weight_permille(priority, urgent)
    assert 125 <= weight <= 32_000 < 2**16
    assert weight_permille(min(255, priority + 1), urgent) >= weight
    assert weight_permille(priority, min(URGENCY_MAX, urgent + 1)) >= weight
    if abs(priority - USUAL_PRIORITY) < LEVELS_MAX:
        assert weight_permille(priority + 1, urgent) == pytest.approx(weight * 2**0.5, abs=1.5)


@given(st.integers(1, 2**32 - 1), st.integers(0, 2**50))
def test_a_usual_job_without_a_deadline_weighs_exactly_1(total_mu: int, t_us: int):
    usual = job(total_mu=total_mu)
    assert not weigh(usual, t_us)
    assert usual.weight_permille == 1000


@given(st.integers(1, 10**7), st.integers(1, 10**5), st.integers(-(10**5), 10**5))
def test_a_deadline_counts_only_from_half_of_full_speed_on_and_until_it_has_passed(
    total_mu: int, deadline_s: int, after_s: int
):
    t_us = max(0, (deadline_s + after_s) * SECOND_US)
    due = job(total_mu=total_mu, deadline_us=deadline_s * SECOND_US)
    weigh(due, t_us)
    left_s = deadline_s - t_us / SECOND_US
    if left_s <= 0 or total_mu / 1000 <= EASY * left_s:
        assert due.weight_permille == 1000
    elif total_mu / 1000 >= left_s:
        assert due.weight_permille == weight_permille(USUAL_PRIORITY, URGENCY_MAX)


def test_of_a_gang_the_member_with_the_most_left_counts():
    gang = job(total_mu=4000, nodes=2, deadline_us=4 * SECOND_US)
    assert needed(gang, 0) == 0.5
    gang.members[0].progress_mu = 2000
    assert needed(gang, 2 * SECOND_US) == 1.0


@given(st.floats(0, 3), st.floats(0, 3), urgencies)
def test_urgency_grows_with_what_is_needed_and_does_not_go_to_and_fro(a: float, b: float, before: int):
    low, high = sorted((a, b))
    assert 0 <= urgency(low, before) <= urgency(high, before) <= URGENCY_MAX
    settled = urgency(a, before)
    assert urgency(a, settled) == settled
    more = urgency(a + (1 - EASY) / URGENCY_MAX / 4, settled)
    assert urgency(a, more) == more, "it fell by a quarter of a step, and was followed"


def test_a_weight_that_changes_reaches_the_allocator_and_not_the_board(fly):
    port = FakePort()
    port.nodes[0].appetite_mw = 300_000  # so it does .3 of a unit in a second, and will be late
    flown = fly(port)
    flown.run(10)
    flown.command("node_on", 1, node=0)
    flown.run(10)
    due = {"job_id": 7, "workload": 1, "priority": 7, "work_mu": 100_000, "checkpoint_s": 60, "deadline_s": 250}
    flown.command("job_submit", 2, **due)
    seen = []
    for _ in range(280):
        flown.run(1)
        node = flown.executive.loop.nodes[0]
        if node.tlm.state == NodeState.ACTIVE and (not seen or seen[-1] != node.weight_permille):
            seen.append(node.weight_permille)
    assert seen == [weight_permille(7, urgent) for urgent in (*range(URGENCY_MAX + 1), 0)]
    jobs = [values for name, values in port.nodes[0].executed if name == "node_job"]
    assert len(jobs) == 1
