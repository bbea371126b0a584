"""What a job's work counts for where watts are scarce, against that of any other job: by its priority, and by how much
of full speed it needs to be done by its deadline.

Weights are powers of 2^(1/4), so they change seldom; a job of the usual priority with time to spare has exactly 1.
"""

from __future__ import annotations

from flight.job import Job

USUAL_PRIORITY = 5
LEVEL_STEPS = 2  # a level of priority more is worth sqrt(2)
LEVELS_MAX = 6  # above and below the usual one; beyond, priority only orders the queue
URGENCY_MAX = 8  # in steps: as much as four levels of priority
EASY = 0.5  # of full speed: a deadline that needs no more is not urgent
_OCTAVE_STEPS = 4
_MU_PER_S = 1000  # of a node at full speed
_STEP = (1 - EASY) / URGENCY_MAX


def weight_permille(priority: int, urgency: int) -> int:
    """125 to 32,000. priority: 0 to 255; urgency: 0 to URGENCY_MAX."""
    levels = max(-LEVELS_MAX, min(LEVELS_MAX, priority - USUAL_PRIORITY))
    return int(1000 * 2 ** ((LEVEL_STEPS * levels + urgency) / _OCTAVE_STEPS) + 0.5)


def needed(job: Job, t_us: int) -> float:
    """The share of full speed that the member with the most work left needs from now on to be done by the deadline; 0
    when there is none, or it has passed: what is late is worth as any other. Above 1: it cannot be done."""
    if job.deadline_us <= t_us:
        return 0.0
    left_mu = max(m.total_mu - m.progress_mu for m in job.members)
    return left_mu / _MU_PER_S / ((job.deadline_us - t_us) / 1e6)


def urgency(share: float, before: int) -> int:
    """0 while a job needs half of full speed or less, URGENCY_MAX as it needs all. It falls from what it was before
    only once it is half a step below, so that a job which is just in time does not go to and fro."""
    steps = (share - EASY) / _STEP
    low, high = (max(0, min(URGENCY_MAX, int(s))) for s in (steps, steps + 0.5))
    return max(low, min(high, before))


def weigh(job: Job, t_us: int) -> bool:
    """Set its urgency and weight; whether its weight changed."""
    job.urgency = urgency(needed(job, t_us), job.urgency)
    before, job.weight_permille = job.weight_permille, weight_permille(job.priority, job.urgency)
    return job.weight_permille != before
