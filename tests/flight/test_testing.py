"""The pytest fixtures that ship, on the desk's own boards and physics."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flight.errors import FlightError
from flight.radio import Radio
from flight.testing import Flight
from ground import cli


def test_a_node_that_is_asked_to_start_becomes_active(station):
    station.send("node_on", node=3).completed(within=120)


def test_jobs_survive_a_restart_of_the_flight_computer(flight, station):
    station.send("node_on", node=0).completed(within=120)
    work = {"job_id": 5, "workload": "training", "priority": 1, "work_mu": 60_000, "checkpoint_s": 5}
    station.send("job_submit", **work).completed(within=5)
    station.advance(40)
    before = flight.executive.jobs.jobs[5].credit_mu
    assert before > 0
    flight.restart()
    begun_s = flight.t_s
    flight.run(30)
    assert flight.executive.boot_count == 2
    assert flight.executive.loop.status().mode == 1  # NOMINAL within 30 s
    job = flight.executive.jobs.jobs[5]
    assert job.credit_mu >= before
    assert job.restarts == 0  # adopted, not started again
    flight.run(200)
    assert flight.executive.jobs.work_mu == 60_000
    assert flight.t_s > begun_s
    assert not any(flight.score()["violations"].values())


@pytest.fixture
def frail(rig, tmp_path):
    """A satellite whose memories are hit often, flown."""
    satellite = rig.satellite
    node = replace(satellite.node, ecc_corrected_per_h=600.0, ecc_uncorrected_per_h=0.0)
    flying = Flight(replace(rig, satellite=replace(satellite, node=node)), tmp_path / "frail")
    yield flying
    flying.close()


def test_the_ground_sees_what_has_happened_to_a_node(frail):
    station = frail.connect()
    station.send("node_on", node=3).completed(within=120)
    frail.world.fault("hang", 3)

    def seen(sample):
        return sample.boards[4].hangs == 1 and sample.boards[4].ecc_corrected > 0

    health = station.wait("hk_health", seen, within=120).boards
    assert [row.hangs for row in health] == [0, 0, 0, 0, 1]
    assert all(row.rx_frames > 0 and row.tx_frames > 0 for row in health)
    assert not any(row.crc_errors or row.sequence_gaps for row in health)
    told = next(line for line in cli._status_lines(cli.status(station)) if line.startswith("health"))
    assert "node 3: 1 hang, " in told
    assert f"{health[4].ecc_corrected} ecc corrected" in told


def test_a_fault_lasts_as_long_as_its_block(flight, station):
    station.send("node_on", node=3).completed(within=120)

    def fail_inside():
        with flight.fault("wrong", board="node3", sensor="coolant_cdeg", value=-1234):
            station.wait("hk_nodes", lambda s: s.nodes[3].coolant_cdeg == -1234, within=5)
            raise RuntimeError("a test that fails")

    with pytest.raises(RuntimeError, match="a test that fails"):
        fail_inside()
    assert station.wait("hk_nodes", lambda s: s.nodes[3].coolant_cdeg > 0, within=5)
    with flight.fault("disconnect", board="node3"):
        station.wait_event("board_lost", within=5)
    station.wait_event("board_ready", within=10)
    first, second = flight.score()["faults"]
    assert (first["kind"], second["kind"]) == ("wrong", "disconnect")
    assert None not in (first["lifted_s"], second["lifted_s"])
    assert second["bytes_lost"] > 0
    assert not any(flight.score()["violations"].values())


def test_a_station_holds_time(flight, station):
    at = flight.t_s
    station.advance(2.5)
    assert flight.t_s == pytest.approx(at + 2.5)


def test_a_busy_port_is_one_clear_error(flight):
    with pytest.raises(FlightError, match="Address already in use"):
        Radio("127.0.0.1", flight.radio.port)
