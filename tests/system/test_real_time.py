"""A flight paced by the clock: the bytes of one that is not, ticks counted, none left out or stretched."""

from __future__ import annotations

import pytest

from tests.system.programs import run_json
from tests.tools import NEEDS_QEMU


@pytest.mark.parametrize(
    ("backend", "tick_s", "seconds"),
    [("mock", 0.1, 5), ("mock", 0.01, 5), pytest.param("qemu", 0.1, 5, marks=NEEDS_QEMU)],
)
def test_the_clock_changes_no_byte(backend: str, tick_s: float, seconds: int):
    length = ("--rig", "desk", "--tick", tick_s, "--for", seconds)
    paced = run_json("flight", "run", *length, "--backend", backend, "--speed", 1)
    free = run_json("flight", "run", *length, "--backend", "mock", "--speed", "max")
    assert paced["bus_sha256"] == free["bus_sha256"]
    assert paced["sim_s"] == seconds
    assert paced["ticks"] == round(seconds / tick_s)
    assert not any(paced["link_errors"].values()), paced["link_errors"]
    jitter = paced["jitter_us"]
    assert 0 <= jitter["p50"] <= jitter["p95"] <= jitter["p99"] <= jitter["max"]
    assert (paced["late_ticks"] > 0) == (jitter["max"] > 10_000)
    assert free["jitter_us"] is None
    assert free["late_ticks"] == 0
