"""What the loop does when nodes, the power board or the Sun do not do as they should."""

from __future__ import annotations

from dataclasses import replace

from flight.icd import Event, Mode, ModeReason, Parameter
from hal.rig import load_rig
from tests.flight.fake import FakePort, Node

RIG = load_rig("demo")
SMALL = replace(RIG, satellite=replace(RIG.satellite, node=replace(RIG.satellite.node, count=4)), boards=RIG.boards[:5])
FLOOR_MW = round(RIG.satellite.node.floor_w * 1000)


def _working(fly, port: FakePort):
    flown = fly(port)
    flown.command("node_on", node=65535)
    for job in range(1, 5):
        flown.command("job_submit", job_id=job, workload=1, priority=1, work_mu=4_000_000_000, checkpoint_s=5)
    flown.run(50)
    assert all(n.state == 3 and n.cap_mw > 3 * FLOOR_MW for n in port.nodes)
    return flown


class Greedy(Node):
    """Draws a tenth more than its cap."""

    @property
    def power_mw(self) -> int:
        return int(1.1 * self.cap_mw) if self.state == 3 else 0


def test_a_node_over_its_cap_gets_less_and_is_told_of_once(fly):
    port = FakePort(SMALL)
    port.nodes[2] = greedy = Greedy(3, 2)
    port.boards[3] = greedy
    flown = _working(fly, port)
    assert [e.source for e in flown.told(Event.NODE_OVER_CAP)] == [258]
    assert greedy.cap_mw < 0.95 * port.nodes[1].cap_mw


def test_a_node_in_fault_is_power_cycled_three_times_and_then_left_off(fly):
    port = FakePort(SMALL)
    flown = _working(fly, port)
    broken = port.nodes[1]
    was_off = 0
    for _ in range(60):
        if broken.state in (2, 3):
            broken.state, broken.changed = 5, True
        flown.run(2)
        was_off += broken.state == 0 and not broken.channel_on
    boots = sum(name == "node_power" and v["on"] for name, v in broken.executed)
    assert boots == 1 + 2  # the third fault leaves it off
    assert was_off > 3
    assert broken.state == 0
    flown.command("node_on", 9, node=1)  # a new command tries again
    flown.run(20)
    assert broken.state in (2, 3)
    assert flown.reports(9) == ["accepted", "started", "completed"]


def test_a_hot_accelerator_is_not_started_before_it_has_cooled(fly):
    port = FakePort(SMALL)
    port.nodes[2].die_cdeg = 6000  # a boot without coolant would take it beyond its limit of 83
    flown = fly(port)
    flown.command("node_on", node=65535)
    flown.run(40)
    assert [n.state for n in port.nodes] == [2, 2, 0, 2]
    port.nodes[2].die_cdeg = 5000
    flown.run(40)
    assert port.nodes[2].state == 2


def test_a_silent_power_board_means_safe_and_floors_within_seconds(fly):
    port = FakePort(SMALL)
    flown = _working(fly, port)
    port.power.silent = True
    flown.run(1)
    assert all(n.cap_mw == FLOOR_MW for n in port.nodes)  # telemetry is missing: only the battery is counted on
    flown.run(3)
    status = flown.executive.loop.status()
    assert status.mode == Mode.SAFE
    assert status.mode_reason == ModeReason.POWER_BOARD_LOST
    port.power.silent = False
    flown.run(40)
    assert flown.executive.loop.status().mode == Mode.NOMINAL
    assert all(n.cap_mw > 3 * FLOOR_MW for n in port.nodes)


def test_a_sweep_of_the_tracker_is_not_a_sunset_but_a_lasting_dip_is(fly):
    port = FakePort(SMALL)
    port.power.array_mw = 3_500_000
    flown = _working(fly, port)
    caps = [n.cap_mw for n in port.nodes]
    port.power.mode, port.power.array_mw = 4, 0
    flown.run(0.7)
    assert [n.cap_mw for n in port.nodes] == caps
    assert flown.executive.loop.status().guaranteed_mw > 6_000_000
    flown.run(2)
    assert flown.executive.loop.status().guaranteed_mw == port.guarantee_mw()
    assert flown.executive.loop.status().available_mw < 100_000
    assert flown.told(Event.ECLIPSE_ENTRY)


def test_a_curtailed_array_is_climbed_as_far_as_it_gives(fly):
    """The battery is full, so the array gives what is asked for, up to 2.6 kW; the battery would pay for more."""

    def before(port: FakePort, t_us: int) -> None:
        asked = sum(n.power_mw for n in port.nodes) + port.power.hotel_mw
        port.power.array_mw = min(2_600_000, round(asked / 0.95))
        port.power.mode = 7 if port.power.array_mw < 2_600_000 else 1

    port = FakePort(SMALL, before)
    port.power.soc_cpct = 9900
    flown = fly(port)
    flown.command("node_on", node=65535)
    for job in range(1, 5):
        flown.command("job_submit", job_id=job, workload=1, priority=1, work_mu=4_000_000_000, checkpoint_s=5)
    flown.run(150)
    given = 2_600_000 * 0.95 - port.power.hotel_mw
    drawn = sum(n.power_mw for n in port.nodes)
    assert 0.93 * given < drawn < 1.03 * given
    assert port.raised_above() == []


def test_no_boot_without_watts_for_it(fly):
    port = FakePort(SMALL)
    port.power.array_mw, port.power.soc_cpct = 0, 3_600  # in the dark, just above the reserve
    flown = fly(port)
    flown.command("node_on", node=65535)
    flown.run(40)
    assert flown.executive.loop.status().mode == Mode.NOMINAL
    assert [n.state for n in port.nodes] == [0] * 4
    port.power.array_mw, port.power.soc_cpct = 8_000_000, 6_000
    flown.run(40)
    assert [n.state for n in port.nodes] == [2] * 4


def test_at_most_so_many_boot_at_once(fly):
    port = FakePort(RIG)
    flown = fly(port)
    flown.command("parameter_set", values=[{"parameter": Parameter.BOOT_PARALLEL, "value": 4}])
    flown.command("node_on", node=65535)
    most = 0
    for _ in range(300):
        flown.run(0.1)
        most = max(most, sum(n.state == 1 for n in port.nodes))
    assert most == 4
    assert all(n.state == 2 for n in port.nodes)
