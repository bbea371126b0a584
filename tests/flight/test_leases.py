"""The lease (design.md, section 7) against boards that are written from that text alone."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from hal.rig import load_rig
from tests.flight.conftest import Flown
from tests.flight.fake import LATE_TICKS, FakePort, Line

RIG = load_rig("demo")
SMALL = replace(RIG, satellite=replace(RIG.satellite, node=replace(RIG.satellite.node, count=5)), boards=RIG.boards[:6])
TICKS = 400
shares = st.sampled_from([0.0, 0.1, 0.4])
supply = st.lists(st.tuples(st.integers(1, TICKS), st.integers(0, 12_000)), min_size=1, max_size=8)
deaths = st.lists(
    st.tuples(st.integers(120, TICKS), st.integers(0, 4), st.sampled_from(["off", "on", "reset"])), max_size=6
)


def _fly(port: FakePort) -> Flown:
    with tempfile.TemporaryDirectory() as directory:
        flown = Flown(port, Path(directory))
        flown.command("parameter_set", values=[{"parameter": 41, "value": 1.0}, {"parameter": 40, "value": 16.0}])
        flown.command("node_on", node=65535)
        for job in range(1, 9):
            flown.command(
                "job_submit", job_id=job, workload=1 + job % 3, priority=1, work_mu=4_000_000, checkpoint_s=30
            )
        flown.run(TICKS * 0.1)
        flown.executive.storage.close()
    return flown


@settings(max_examples=25)
@given(supply, shares, shares, shares, deaths, st.integers(0, 1000))
def test_no_grant_lifts_the_sum_above_the_guarantee(supply, lost, doubled, delayed, deaths, seed):
    """Whatever the lines lose, double or delay, and whichever boards die, return or reset."""

    def before(port: FakePort, t_us: int) -> None:
        tick = t_us // port.tick_us
        for at, array_w in supply:
            if at == tick:
                port.power.array_mw = array_w * 1000
        for at, node, what in deaths:
            if at == tick and what == "reset":
                port.nodes[node].reset()
            elif at == tick:
                port.nodes[node].alive = what == "on"

    port = FakePort(SMALL, before, lambda number: Line(seed * 64 + number, lost, doubled, delayed))
    _fly(port)
    assert port.raised_above(LATE_TICKS + 1) == []


@settings(max_examples=25)
@given(supply, deaths)
def test_the_sum_follows_the_supply_within_a_second(supply, deaths):
    """On lines without faults; a board that is silent keeps its lease until it expires, so none dies here."""

    def before(port: FakePort, t_us: int) -> None:
        for at, array_w in supply:
            if at == t_us // port.tick_us:
                port.power.array_mw = array_w * 1000
        for at, node, what in deaths:
            if at == t_us // port.tick_us and what == "reset":
                port.nodes[node].reset()

    port = FakePort(SMALL, before)
    _fly(port)
    assert port.raised_above() == []
    assert port.long_above() <= 2


def test_watts_of_a_lost_board_go_to_the_others_when_its_lease_has_expired(fly):
    port = FakePort(SMALL)
    port.power.array_mw = 2_500_000
    flown = _fly(port)
    before = sum(n.cap_mw for n in port.nodes[1:])
    assert before < 3 * 700_000  # all share less than they could take
    port.nodes[0].alive = False
    flown = _fly_on(flown, port)
    assert sum(n.cap_mw for n in port.nodes[1:]) > before + 3 * 40_000
    assert port.raised_above() == []


def _fly_on(flown: Flown, port: FakePort) -> Flown:
    end_us = port.t_us + 60_000_000
    while port.t_us < end_us:
        port.run(10, flown.executive.loop.step, flown.executive.loop.ctx)
    return flown


def test_a_node_that_does_not_use_its_cap_gives_it_to_those_that_do(fly):
    port = FakePort(SMALL)
    port.power.array_mw = 2_800_000
    port.nodes[0].appetite_mw = 200_000
    _fly(port)
    assert port.nodes[0].cap_mw < 280_000
    assert min(n.cap_mw for n in port.nodes[1:]) > port.nodes[0].cap_mw + 50_000


def test_hot_dies_are_derated_before_their_limit(fly):
    port = FakePort(SMALL)
    flown = _fly(port)
    port.nodes[2].die_cdeg = 8250  # half a kelvin below the limit of 83
    _fly_on(flown, port)
    floor, most = SMALL.satellite.node.floor_w * 1000, SMALL.satellite.node.max_w * 1000
    assert floor < port.nodes[2].cap_mw < 0.6 * most
    assert port.nodes[1].cap_mw > 0.9 * most


def test_silent_flight_leaves_floors(fly):
    port = FakePort(SMALL)
    _fly(port)
    for node in port.nodes:
        node.tick(port.t_us + 10_000_000, 100_000)
        assert node.cap_mw == SMALL.satellite.node.floor_w * 1000


def test_a_cap_that_another_flight_granted_meanwhile_is_counted_until_it_is_overtaken(fly):
    """Two flights on one bus are refused elsewhere; the ledger must hold all the same."""
    port = FakePort(SMALL)
    flown = fly(port)
    flown.command("node_on", node=0)
    flown.run(30)
    node, seen = port.nodes[0], flown.executive.loop.nodes[0]
    most = int(SMALL.satellite.node.max_w * 1000)
    node.lease_now, node.in_force = (99, 1, most, port.t_us + 3_000_000), True
    node.telemetry()
    flown.run(0.1)
    assert flown.executive.loop.status().session == 100
    assert seen.in_force_mw == most
    flown.run(5)
    assert node.lease_now[0] == 100
    assert seen.in_force_mw < most
