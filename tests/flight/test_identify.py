"""A board that cannot prove its identity is not flown."""

from __future__ import annotations

import pytest

from flight.icd import BoardStatus, Event, Refusal, Sensor
from tests.flight.fake import FakePort


def _spoil(port: FakePort, how: str) -> None:
    node = port.nodes[3]
    if how == "kind":
        node.kind = 1
    elif how == "role":
        node.role = 300
    elif how == "icd":
        node.icd_hash ^= 1
    elif how == "firmware":
        node.firmware_hash = b"\x7f\xff\xff\xff" + bytes(4)
    elif how == "duplicate":
        node.hardware_id = bytes([1, 0]) + bytes(10)  # that of node 0
    elif how == "configuration":
        node.execute = lambda name, values: 4 if name == "node_config" else 0


@pytest.mark.parametrize(
    ("how", "refusal"),
    [
        ("kind", Refusal.WRONG_KIND),
        ("role", Refusal.WRONG_ROLE),
        ("icd", Refusal.ICD_HASH),
        ("firmware", Refusal.FIRMWARE_HASH),
        ("duplicate", Refusal.DUPLICATE),
        ("configuration", Refusal.CONFIGURATION),
    ],
)
def test_refused_boards_get_no_command_and_no_lease(fly, how, refusal):
    port = FakePort()
    _spoil(port, how)
    flown = fly(port)
    flown.command("node_on", node=65535)
    flown.run(40)
    assert flown.executive.loop.board_status(4) == BoardStatus.REFUSED
    assert [e.arg0 for e in flown.told(Event.BOARD_REFUSED)] == [refusal]
    executed = [name for name, _ in port.nodes[3].executed]
    assert executed == (["node_config"] * len(executed) if how == "configuration" else [])
    assert not port.nodes[3].in_force
    assert port.nodes[4].state == 2  # the others fly


def test_a_refused_board_that_was_replaced_is_flown(fly):
    port = FakePort()
    _spoil(port, "icd")
    flown = fly(port)
    flown.run(5)
    port.nodes[3].icd_hash ^= 1
    flown.run(20)
    assert flown.executive.loop.board_status(4) == BoardStatus.READY


def test_lost_after_two_seconds_and_used_again(fly):
    port = FakePort()
    flown = fly(port)
    flown.command("node_on", node=3)
    flown.run(30)
    assert port.nodes[3].state == 2
    port.nodes[3].alive = False
    lost_at = port.t_us
    flown.run(5)
    (lost,) = flown.told(Event.BOARD_LOST)
    assert 2_000_000 < lost.t_us - lost_at <= 2_300_000
    port.nodes[3].alive = True
    port.nodes[3].reset()
    flown.run(60)
    assert flown.executive.loop.board_status(4) == BoardStatus.READY
    assert port.nodes[3].state == 2  # booted again, because it is still wanted on


def test_a_late_hello_of_an_earlier_life_changes_nothing(fly):
    port = FakePort()
    flown = fly(port)
    port.nodes[2].boot_count = 7
    flown.run(5)
    port.nodes[2].boot_count = 6
    port.nodes[2].hello()
    port.nodes[2].boot_count = 7
    flown.run(3)
    assert flown.executive.loop.boot_count(3) == 7
    assert flown.told(Event.BOARD_LOST) == []


def test_telemetry_out_of_range_is_not_believed(fly):
    port = FakePort()
    flown = fly(port)
    flown.command("node_on", node=3)
    flown.run(30)
    port.nodes[3].die_cdeg = 32_000  # 320 degC
    flown.run(5)
    assert flown.executive.loop.nodes[3].heard.die_cdeg == 32_000
    assert 2500 < flown.executive.loop.nodes[3].tlm.die_cdeg < 5000
    (told,) = flown.told(Event.SENSOR_EXCLUDED)
    assert (told.source, told.arg0) == (port.nodes[3].address, Sensor.DIE_CDEG)
    assert flown.told(Event.BOARD_LOST) == []  # it is a sensor that says nothing believable, not the board


def test_no_command_is_executed_twice(fly):
    """Every command of a session has its own number, and what a board executes is in the order of them."""
    port = FakePort()
    flown = fly(port)
    flown.command("node_on", node=65535)
    flown.run(60)
    for board in port.boards:
        numbers = [(v["session"], v["command_seq"]) for _, v in board.executed]
        assert numbers == sorted(set(numbers))
