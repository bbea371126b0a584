"""The flight flavour of the firmware: its own sensors, its own clock, and nobody who could feed it others."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from hal import frames, icd
from tests.firmware.flying import Flying

NODE, POWER = int(icd.BoardKind.COMPUTE_NODE), int(icd.BoardKind.POWER_BOARD)
ACCELERATOR, LIMITERS, STRINGS, REGULATOR = 0x40, 0x50, 0x31, 0x30
CONFIG = {
    "session": 1, "command_seq": 1, "floor_mw": 120_000, "max_mw": 800_000, "boot_ms": 5000, "clock_max_mhz": 1980,
    "die_limit_cdeg": 8300, "hbm_limit_cdeg": 9500, "bus_min_mv": 60_000, "latch_up_ma": 12_500, "hang_ms": 2000,
}  # fmt: skip
IDLE = 2


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Flying]:
    flying = Flying(NODE, 256, tmp_path)
    flying.chip.adc_mv = {0: 2400, 1: 250, 4: 1000, 5: 1100, 6: 750}
    flying.chip.devices[ACCELERATOR] = bytearray(256)
    yield flying
    flying.machine.host.close()


@pytest.fixture
def power(tmp_path: Path) -> Iterator[Flying]:
    flying = Flying(POWER, 16, tmp_path)
    flying.chip.adc_mv = {0: 2350, 1: 1700, 4: 700, 5: 2300, 6: 200, 7: 500}
    flying.chip.devices = {LIMITERS: bytearray(256), STRINGS: bytearray(256), REGULATOR: bytearray(256)}
    flying.chip.devices[REGULATOR][0] = icd.ElectronicsFlag.ARRAY_PRESENT
    yield flying
    flying.machine.host.close()


def of(said: list[frames.Frame], name: str) -> list[frames.Frame]:
    return [frame for frame in said if frame.name == name]


def test_it_says_that_it_takes_no_tick(node: Flying):
    (hello,) = node.boot()
    assert hello.fields()["capabilities"] == 0


def test_it_steps_by_its_own_time_and_reads_its_own_sensors(node: Flying):
    node.boot()
    reports = of(node.pass_ms(2000), "node_tlm")
    assert [frame.t_us for frame in reports] == list(range(100_000, 2_000_001, 200_000))
    last = reports[-1].fields()
    assert last["bus_cv"] == pytest.approx(9600, rel=1e-3)
    assert last["power_mw"] == pytest.approx(192_000, rel=5e-3)  # a step of the ADC is 6.4 mA of 2 A
    assert [last[n] for n in ("die_cdeg", "hbm_cdeg", "coolant_cdeg")] == pytest.approx([5000, 6000, 2500], abs=20)


def test_nobody_can_feed_it_sensors(node: Flying):
    node.boot()
    sensors = dict.fromkeys((f.name for f in icd.MESSAGES["tick_node"].fields), 0) | {"dt_us": 100_000}
    assert node.hear("tick_node", 100_000, icd.Address.BENCH, **sensors) == []
    assert of(node.pass_ms(300), "node_tlm")[0].fields()["bus_cv"] == pytest.approx(9600, rel=1e-3)


def test_a_lease_is_in_force_by_the_time_of_flight_and_expires_by_itself(node: Flying):
    node.boot()
    node.pass_ms(200)
    node.chip.devices[ACCELERATOR][0] = IDLE
    start_us = 77_000_000
    node.hear("node_config", start_us, **CONFIG)
    node.pass_ms(100)  # a lease is judged by the clock of the last step
    start_us += 100_000
    node.hear("node_power", start_us, session=1, command_seq=2, on=1)
    node.hear("lease", start_us, session=1, lease_seq=1, cap_mw=500_000, expiry_us=start_us + 3_000_000, clock_mhz=0)
    said = work(node, 25)
    assert of(said, "node_tlm")[0].t_us == pytest.approx(start_us, abs=200_000)
    assert cap_mw(node) == 500_000
    said = work(node, 10)
    assert icd.BoardEvent.NODE_LEASE_EXPIRED in {frame.fields()["code"] for frame in of(said, "event")}
    assert cap_mw(node) == 120_000


def work(node: Flying, steps: int) -> list[frames.Frame]:
    """So many steps, in which the accelerator's heartbeat goes on."""
    said = []
    for _ in range(steps):
        node.chip.devices[ACCELERATOR][1] += 1
        said += node.pass_ms(100)
    return said


def test_reports_keep_their_period_when_the_clock_is_set(node: Flying):
    node.boot()
    node.pass_ms(200)
    node.hear("node_config", 77_000_000, **CONFIG)
    assert len(of(node.pass_ms(3000), "link_report")) == 0


def cap_mw(node: Flying) -> int:
    """As the accelerator was told it."""
    (value,) = struct.unpack_from("<I", node.chip.devices[ACCELERATOR], 0x20)
    return int(value)


def test_an_accelerator_that_does_not_answer_is_off_to_it(node: Flying):
    del node.chip.devices[ACCELERATOR]
    node.boot()
    assert {frame.fields()["state"] for frame in of(node.pass_ms(1000), "node_tlm")} == {0}


def test_a_power_board_switches_its_channels(power: Flying):
    power.boot()
    config = {
        "channels": 2, "strings": 2, "capacity_mah": 11_000, "charge_ma": 5500, "charge_mv": 98_400,
        "soc_limit_cpct": 10_000, "uvlo_mv": 72_000, "limit_ma": 14_000, "trip_ms": 15, "retries": 3, "retry_ms": 5000,
        "stagger_ms": 500, "silence_ms": 10_000, "heater_on_cdeg": 300, "heater_off_cdeg": 800, "array_voc_mv": 180_000,
        "array_vmp_mv": 150_000,
    }  # fmt: skip
    power.hear("power_config", 1_000_000, session=1, command_seq=1, **config)
    power.hear("channels_set", 1_000_000, session=1, command_seq=2, base=0, count=2, mask_bytes=1, mask=[2])
    said = power.pass_ms(1500)
    report = of(said, "power_tlm")[-1].fields()
    assert report["bus_mv"] == pytest.approx(94_000, rel=1e-3)
    limiter = power.chip.devices[LIMITERS]
    assert [limiter[0x80], limiter[0x84]] == [0, 1]
    assert struct.unpack_from("<H", limiter, 0x85) == (14_000,)
    (array_mv,) = struct.unpack_from("<I", power.chip.devices[REGULATOR], 0x20)
    assert 100_000 < array_mv < 180_000
