"""A small campaign: each fault for a while on a desk at work. Flight tells of it where a detector exists, nothing is
violated, every byte stays accounted for, and all is well again afterwards."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from flight.executive import Executive
from flight.icd import BoardStatus, Mode
from flight.icd import Event as FlightEvent
from flight.storage import Storage
from hal.icd import BoardEvent
from hal.rig import load_rig
from hal.world import World

S = 1_000_000
BEGIN_S, END_S = 150, 330
NODE, POWER = {"board": "node1"}, {"board": "power"}
LOST_AND_BACK = ("BOARD_LOST", "BOARD_READY")
BOOTED = ("BOARD_IDENTIFIED", "BOARD_READY")

# kind, where and how, what flight must have told
CAMPAIGN: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("off", NODE | {"for_s": 20}, (*LOST_AND_BACK, *BOOTED, "JOB_REQUEUED")),
    ("off", POWER | {"for_s": 20}, (*LOST_AND_BACK, *BOOTED, "MODE_CHANGED")),
    ("reset", NODE, BOOTED),
    ("reset", POWER, BOOTED),
    ("hang", NODE | {"for_s": 20}, (*LOST_AND_BACK, "JOB_REQUEUED", "NODE_LEASE_EXPIRED")),
    ("hang", POWER | {"for_s": 1, "value": 1}, BOOTED),
    ("brown_out", NODE | {"for_s": 1}, (*BOOTED, "JOB_REQUEUED", "NODE_BOOT_DONE")),
    ("boot_loop", NODE | {"for_s": 20}, BOOTED),
    ("boot_loop", POWER | {"for_s": 20}, BOOTED),
    ("nvm_cut", NODE | {"for_s": 60, "value": 20}, (*BOOTED, "BOARD_NVM_REPAIRED")),
    ("bit_flip", NODE | {"value": 3}, ()),
    ("drop", NODE | {"for_s": 20, "rate": 0.3}, ()),
    ("duplicate", POWER | {"for_s": 20, "rate": 0.5}, ()),
    ("delay", POWER | {"for_s": 20, "value": 5}, (*LOST_AND_BACK, "MODE_CHANGED")),
    ("delay", NODE | {"for_s": 20, "value": 0.5}, ()),
    ("flip", POWER | {"for_s": 20, "rate": 0.005}, ()),
    ("truncate", NODE | {"for_s": 20, "rate": 0.3}, ()),
    ("insert", POWER | {"for_s": 20, "rate": 0.3}, ()),
    ("stall", NODE | {"for_s": 20}, LOST_AND_BACK),
    ("disconnect", NODE | {"for_s": 20, "direction": "from_board"}, LOST_AND_BACK),
    ("disconnect", POWER | {"for_s": 20, "direction": "to_board"}, ("POWER_AUTONOMOUS", "POWER_FLIGHT_BACK")),
    ("off", NODE | {"for_s": 20, "sensor": "bus_mv"}, ("NODE_POWER_LOST",)),
    ("stuck", NODE | {"for_s": 20, "sensor": "heartbeat"}, ("NODE_HANG",)),
    ("garbage", NODE | {"for_s": 20, "sensor": "die_cdeg"}, ("NODE_OVER_TEMPERATURE",)),
    ("garbage", POWER | {"for_s": 20, "sensor": "array_mv"}, ("SENSOR_EXCLUDED", "SENSOR_READMITTED")),
    ("wrong", NODE | {"for_s": 20, "sensor": "ecc_uncorrected", "value": 9}, ("NODE_ECC_UNCORRECTED",)),
    ("wrong", POWER | {"for_s": 5, "sensor": "channel_status", "index": 2, "value": 4}, ("POWER_CHANNEL_TRIPPED",)),
    ("slow", NODE | {"for_s": 20, "sensor": "mean_ma", "value": 3}, ()),
    ("delayed", POWER | {"for_s": 20, "sensor": "array_ma", "value": 3}, ()),
    ("intermittent", POWER | {"for_s": 20, "sensor": "batt_cdeg"}, ("POWER_CHARGE_BLOCKED",)),
    ("bias", NODE | {"for_s": 20, "sensor": "coolant_cdeg", "value": 6000}, ("THERMAL_DERATE",)),
    ("scale", NODE | {"for_s": 20, "sensor": "hbm_cdeg", "value": 3}, ("NODE_THROTTLE",)),
    ("noise", POWER | {"for_s": 20, "sensor": "bus_mv", "value": 200}, ()),
]


def label(case: tuple[str, dict[str, Any], tuple[str, ...]]) -> str:
    kind, where, _ = case
    return f"{where['board']} {where.get('sensor', '')} {kind}".replace("  ", " ")


def name(code: int) -> str:
    return FlightEvent(code).name if code in set(FlightEvent) else BoardEvent(code).name


@pytest.mark.parametrize(("kind", "where", "expected"), CAMPAIGN, ids=[label(case) for case in CAMPAIGN])
def test_flight_lives_with_it(kind: str, where: dict[str, Any], expected: tuple[str, ...], tmp_path: Path) -> None:
    rig = load_rig("desk")
    told: Counter[str] = Counter()
    with World(rig) as world:
        flight = Executive(world, Storage(tmp_path), timeline=rig.timeline)
        flight.run(BEGIN_S * S)
        flight.events.listeners.append(lambda event: told.update([name(event.code)]))
        world.fault(kind, **where)
        flight.run(END_S * S)
        score = world.score()
        (report,) = score["faults"]
        assert set(expected) <= set(told), told
        assert not any(score["violations"].values()), score["violations"]
        assert score["link_errors"]["unexplained_bytes"] == score["link_errors"]["unexplained_frames"] == 0
        assert report["hits"] > 0
        assert report["lifted_s"] == BEGIN_S + where.get("for_s", 0)
        status = {flight.loop.board_status(board) for board in range(rig.nodes + 1)}
        assert status == {BoardStatus.READY}
        assert flight.loop.status().mode == Mode.NOMINAL
        flight.close()
