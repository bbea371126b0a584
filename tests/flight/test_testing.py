"""The pytest fixtures that ship, on the desk's own boards and physics."""

from __future__ import annotations

import pytest

from flight.errors import FlightError
from flight.radio import Radio


def test_a_node_that_is_asked_to_start_becomes_active(station):
    station.send("node_on", node=3).completed(within=120)


def test_jobs_survive_a_restart_of_the_flight_computer(flight, station):
    station.send("node_on", node=0).completed(within=120)
    work = {"job_id": 5, "workload": "training", "priority": 1, "work_mu": 60_000, "checkpoint_s": 5}
    station.send("job_submit", **work).completed(within=5)
    station.advance(40)
    before = flight.executive.jobs.jobs[5].checkpoint_mu
    assert before > 0
    flight.restart()
    begun_s = flight.t_s
    flight.run(30)
    assert flight.executive.boot_count == 2
    assert flight.executive.loop.status().mode == 1  # NOMINAL within 30 s
    job = flight.executive.jobs.jobs[5]
    assert job.checkpoint_mu >= before
    assert job.restarts == 0  # adopted, not started again
    flight.run(200)
    assert flight.executive.jobs.work_mu == 60_000
    assert flight.t_s > begun_s
    assert not any(flight.score()["violations"].values())


def test_a_station_holds_time(flight, station):
    at = flight.t_s
    station.advance(2.5)
    assert flight.t_s == pytest.approx(at + 2.5)


def test_a_busy_port_is_one_clear_error(flight):
    with pytest.raises(FlightError, match="Address already in use"):
        Radio("127.0.0.1", flight.radio.port)
