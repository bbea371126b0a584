"""No lease violation in a million ticks (design.md, section 7): control flies random boards, lines and supplies in C.

Boards are the code that flies, on accelerators that draw what they like, hang, restart and run hot; controllers die,
hang, reset and forget. Supplies fall at once or slowly, strings are lost, the tracker sweeps, sensors stick, the power
board is silent. Flight is restarted with nothing but a newer session. What a violation is, says oracle.h.

A failure prints its scenario, shrunk; `fly(**scenario)` repeats it to the bit.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.leases.driver import fly, library

CALM = {
    "ticks": 20_000, "tick_us": 100_000, "nodes": 4, "lost": 0, "doubled": 0, "late": 0, "late_ticks": 10,
    "outage": 0, "restart": 0, "board": 0, "power_board": 0, "supply": 0, "ground": 0,
}  # fmt: skip
PERCENT = 10_000
MILLION = {
    **CALM, "lost": PERCENT, "doubled": PERCENT, "late": PERCENT, "outage": 300, "restart": 500, "board": 1000,
    "power_board": 500, "supply": PERCENT, "ground": 1000,
}  # fmt: skip
VIOLATIONS = ("granted_above", "stayed_above", "outlived")


def _rates(*values: int) -> st.SearchStrategy[int]:
    return st.sampled_from([0, *values])


seeds = st.integers(0, 2**48)
scenarios = st.fixed_dictionaries(
    {
        "seed": seeds,
        "ticks": st.just(20_000),
        "nodes": st.integers(1, 6) | st.integers(1, 16),
        "tick_us": st.sampled_from([100_000, 50_000]),
        "lost": _rates(PERCENT, 10 * PERCENT),
        "doubled": _rates(PERCENT, 10 * PERCENT),
        "late": _rates(PERCENT, 10 * PERCENT, 50 * PERCENT),
        "late_ticks": st.integers(1, 12),
        "outage": _rates(300, 2000),
        "restart": _rates(200, 1000, 5000),
        "board": _rates(500, 2000, 10_000),
        "power_board": _rates(500, 2000),
        "supply": _rates(1000, 10_000, 50_000),
        "ground": _rates(1000, 5000),
    }
)


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    library()


def _judge(tally: dict[str, int]) -> None:
    assert [tally[name] for name in VIOLATIONS] == [0, 0, 0], tally


def test_a_million_ticks():
    """One per cent of all frames lost, doubled and late, both ways; flight is restarted every 200 s."""
    total = dict.fromkeys(fly(seed=1, **{**CALM, "ticks": 0}), 0)
    for seed in range(50):
        tally = fly(seed=seed, **{**MILLION, "nodes": 1 + seed % 8})
        _judge(tally)
        total = {name: total[name] + tally[name] for name in total}
    print(total)
    assert total["ticks"] == 1_000_000
    # It has been a test: much was granted, and all that can go wrong did.
    assert total["sum_mw"] > 0.2 * total["guaranteed_mw"]
    assert min(total["raises"], total["lowered"], total["supply_falls"]) > 1000
    assert min(total["flights"], total["boards_failed"], total["boots"], total["over_ticks"]) > 300
    assert min(total["lost"], total["doubled"], total["late"]) > 10_000


@settings(max_examples=50)
@given(scenarios)
def test_whatever_lines_boards_and_supplies_do(scenario):
    _judge(fly(**scenario))


def test_the_oracle_sees_leases_for_more_than_there_is():
    """Of the array that is measured, flight lets leases take half as much again."""
    found = [fly(seed=seed, **{**CALM, "supply": PERCENT, "margin_permille": 1500}) for seed in range(8)]
    assert sum(tally["granted_above"] for tally in found) > 50
