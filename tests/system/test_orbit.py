"""One orbit of the satellites that ship, flown by the command line as a user would."""

from typing import Any

import pytest

from tests.system.programs import run_json

REPORTED = {
    "rig", "boards", "orbits", "ticks", "sim_s", "wall_s", "speed", "frames_sent", "frames_received", "bytes",
    "link_errors", "violations", "energy", "compute", "eclipse_s", "late_ticks", "lost_boards", "bus_sha256",
}  # fmt: skip


@pytest.fixture(scope="module")
def demo() -> dict[str, Any]:
    return run_json("flight", "run", "--rig", "demo", "--orbits", 1, "--speed", "max")


def test_everything_is_reported(demo: dict[str, Any]):
    assert set(demo) >= REPORTED
    assert set(demo["violations"]) == {"undervoltage", "overtemperature", "lease_sum", "soc_floor"}
    assert set(demo["energy"]) >= {"pv_available_j", "pv_used_j", "nodes_j", "soc_min"}
    assert set(demo["compute"]) >= {"work", "gpu_hours"}


def test_ten_ticks_a_second_for_one_period(demo: dict[str, Any]):
    assert demo["boards"] == 17
    assert demo["sim_s"] == pytest.approx(98.684 * 60, abs=2)
    assert demo["ticks"] == round(demo["sim_s"] * 10)


def test_the_eclipse_is_sentinels(demo: dict[str, Any]):
    assert demo["eclipse_s"] == pytest.approx(1033, abs=10)


def test_nothing_was_violated_or_lost(demo: dict[str, Any]):
    assert demo["violations"] == {"undervoltage": 0, "overtemperature": 0, "lease_sum": 0, "soc_floor": 0}
    assert not any(demo["link_errors"].values()), demo["link_errors"]
    assert demo["lost_boards"] == 0 or demo["lost_boards"] == []


def test_energy_and_compute_are_plausible(demo: dict[str, Any]):
    energy = demo["energy"]
    assert 0 < energy["nodes_j"] < energy["pv_used_j"] < energy["pv_available_j"]
    assert 0.2 < energy["soc_min"] < 0.85
    assert 0 < demo["compute"]["gpu_hours"] < 16 * demo["sim_s"] / 3600
    assert 0 < demo["compute"]["work"] < 16 * demo["sim_s"]


def test_the_large_satellite_flies_through_its_eclipse():
    ai1 = run_json("flight", "run", "--rig", "ai1", "--orbits", 1, "--speed", "max")
    assert ai1["boards"] == 161
    assert ai1["eclipse_s"] == pytest.approx(1033, abs=10)
    assert not any(ai1["violations"].values()), ai1["violations"]
    assert not any(ai1["link_errors"].values()), ai1["link_errors"]
    assert ai1["compute"]["work"] > 0


@pytest.mark.parametrize("rig", ["desk", "demo", "ai1"])
def test_ten_times_longer_ticks_break_no_rule(rig: str):
    """Flight then sees a supply that ends a whole second late, and its caps are in force another second later."""
    flown = run_json("flight", "run", "--rig", rig, "--orbits", 1, "--tick", 1, "--speed", "max")
    assert not any(flown["violations"].values()), flown["violations"]
    assert not any(flown["link_errors"].values()), flown["link_errors"]
    assert flown["eclipse_s"] == pytest.approx(1033, abs=10)
