"""How fast a flight reacts to what breaks, in simulated time; measured, and published, by benchmarks/reactions.py."""

import pytest

from benchmarks.reactions import REACTIONS, Reaction, early_eclipse, string_loss
from hal.satellite import load_satellite

BATTERY = load_satellite("demo").battery
RESERVE = 0.31


@pytest.mark.parametrize("what", REACTIONS)
def test_it_is_over_in_time(what: str):
    react, most_s = REACTIONS[what]
    reaction = react()
    print(what, reaction)
    assert reaction.seconds <= most_s + 1e-6
    assert reaction.violations == 0


@pytest.mark.parametrize("react", [string_loss, early_eclipse])
def test_the_battery_gives_no_more_than_planned(react):
    reaction: Reaction = react()
    assert reaction.least_soc > RESERVE
    assert reaction.discharge_w <= BATTERY.discharge_w_allowed
