"""Faults on sensors against an independent oracle, on every integer of every TICK frame."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal import icd
from hal._native import ffi, lib
from hal.icd import BoardKind
from hal.sensors import SENSORS, Sensor
from tests.hal.fault_oracle import MASK, Chance, SensorOracle

KINDS = sorted(name.removeprefix("SENSOR_FAULT_").lower() for name in dir(lib) if name.startswith("SENSOR_FAULT_"))
NODE, POWER = SENSORS[BoardKind.COMPUTE_NODE], SENSORS[BoardKind.POWER_BOARD]
EVERY = [(board.name.lower(), s.name) for board, sensors in SENSORS.items() for s in sensors.values()]


def fault(sensor: Sensor, kind: str, index: int = 0, capacity: int = 64) -> tuple[Any, Any]:
    """(struct sensor_fault, its history)."""
    f = ffi.new("struct sensor_fault *")
    history = ffi.new("struct sensor_sample[]", capacity)
    f.kind = getattr(lib, f"SENSOR_FAULT_{kind.upper()}")
    f.message, f.offset, f.stride, f.index = sensor.message, sensor.offset, sensor.stride, index
    f.width, f.is_signed, f.low, f.high = sensor.width, sensor.signed, sensor.low, sensor.high
    f.history, f.capacity = history, capacity
    return f, history


def through(f: Any, message: str, t_us: int, payload: bytes) -> bytes:
    memory = ffi.new("uint8_t[]", len(payload))
    ffi.memmove(memory, payload, len(payload))
    lib.sensor_fault_pass(f, icd.MESSAGES[message].type, t_us, memory, len(payload))
    return bytes(ffi.buffer(memory, len(payload)))


def readings(name: str) -> dict[str, int]:
    """A TICK with a value of its own in every field."""
    fields = icd.MESSAGES[name].fields
    return {field.name: 3 + i for i, field in enumerate(fields)}


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_as_the_oracle_says(kind: str, data: st.DataObject) -> None:
    board = data.draw(st.sampled_from([NODE, POWER]))
    sensor = data.draw(st.sampled_from([s for s in board.values() if not s.index]))
    message = "tick_node" if board is NODE else "tick_power"
    value = data.draw(st.integers(-(1 << 20), 1 << 20)) / 16  # exact, and so are its products with readings
    rate, seed = data.draw(st.integers(0, 1 << 32)), data.draw(st.integers(0, MASK))
    period = data.draw(st.integers(1, 50))
    f, _history = fault(sensor, kind)
    f.value, f.rate, f.random, f.period_us = value, rate, seed, period
    oracle = SensorOracle(kind, sensor.low, sensor.high, Fraction(value), rate, period, Chance(seed))
    t_us = 0
    for _ in range(data.draw(st.integers(1, 12))):
        t_us += data.draw(st.integers(1, 20))
        true = data.draw(st.integers(sensor.low, sensor.high))
        values: dict[str, Any] = readings(message) | {sensor.name: true}
        shown = icd.decode(message, through(f, message, t_us, icd.encode(message, **values)))
        expected = oracle.read(t_us, true)
        if kind == "noise":  # the oracle is exact, C rounds its product to a double
            assert abs(shown[sensor.name] - expected) <= 1
        else:
            assert shown == values | {sensor.name: expected}
    assert f.readings == len(oracle.past) or kind == "slow"
    assert kind == "noise" or f.hits == oracle.hits


@pytest.mark.parametrize(("board", "name"), EVERY)
def test_every_sensor_is_where_the_icd_says(board: str, name: str) -> None:
    sensor = SENSORS[BoardKind[board.upper()]][name]
    f, _history = fault(sensor, "fixed", index=4)
    f.value = 1
    messages = {m.type: m for m in icd.MESSAGES.values()}
    message = messages[sensor.message].name
    if not sensor.index:
        before: dict[str, Any] = readings(message)
        assert icd.decode(message, through(f, message, 0, icd.encode(message, **before))) == before | {name: 1}
        return
    rows: list[Any] = [2 + i for i in range(6)]
    key = name.removeprefix("channel_")
    if message == "tick_channels":
        rows = [{"mean_ma": 10 + i, "max_ma": 20 + i, "status": 2} for i in range(6)]
    tail = "channels" if message == "tick_channels" else "string_ma"
    for base, hit in ((0, 4), (2, 2), (4, 0), (5, None), (65_535, None)):
        shown = icd.decode(message, through(f, message, 0, icd.encode(message, base=base, **{tail: rows})))
        expected = list(rows)
        if hit is not None:
            expected[hit] = {**rows[hit], key: 1} if message == "tick_channels" else 1
        assert shown[tail] == expected
    assert f.readings == 3


def test_noise_has_its_standard_deviation_and_no_bias() -> None:
    f, _history = fault(NODE["die_cdeg"], "noise")
    f.value, f.random = 200.0, 7
    shown = [icd.decode("tick_node", through(f, "tick_node", 0, icd.encode("tick_node", **readings("tick_node"))))]
    for _ in range(4000):
        shown.append(
            icd.decode("tick_node", through(f, "tick_node", 0, icd.encode("tick_node", **readings("tick_node"))))
        )
    values = [row["die_cdeg"] for row in shown]
    mean = sum(values) / len(values)
    deviation = (sum((v - mean) ** 2 for v in values) / len(values)) ** 0.5
    assert abs(mean) < 15
    assert 190 < deviation < 210
    assert max(values) <= 6 * 200 + 10


@given(st.sampled_from(KINDS), st.binary(max_size=40), st.integers(0, 70_000), st.sampled_from([n for _, n in EVERY]))
def test_no_payload_is_written_outside_itself(kind: str, payload: bytes, index: int, name: str) -> None:
    sensor = POWER.get(name) or NODE[name]
    f, _history = fault(sensor, kind, index % 65_536)
    message = next(m.name for m in icd.MESSAGES.values() if m.type == sensor.message)
    memory = ffi.new("uint8_t[]", len(payload) + 8)
    ffi.buffer(memory)[:] = payload + bytes([0xA5]) * 8
    lib.sensor_fault_pass(f, icd.MESSAGES[message].type, 0, memory, len(payload))
    assert bytes(ffi.buffer(memory))[len(payload) :] == bytes([0xA5]) * 8


def test_faults_of_one_sensor_act_one_after_the_other() -> None:
    sensor = NODE["die_cdeg"]
    (bias, _), (scale, _) = fault(sensor, "bias"), fault(sensor, "scale")
    bias.value, scale.value, bias.next = 100.0, 2.0, scale
    values = readings("tick_node") | {"die_cdeg": 500}
    assert icd.decode("tick_node", through(bias, "tick_node", 0, icd.encode("tick_node", **values)))["die_cdeg"] == 1200
