"""Every message of both ICDs: generated C and generated Python against bytes packed from the TOML by the oracle."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flight.icd
import ground.icd
import hal.icd
from tests.bus import oracle
from tests.bus.native import Guarded, ffi, lib

CASES = [("bus", oracle.BUS, hal.icd, name) for name in oracle.BUS.messages]
CASES += [("space", oracle.SPACE, flight.icd, name) for name in oracle.SPACE.messages]
each_message = pytest.mark.parametrize(("prefix", "toml", "icd", "name"), CASES, ids=[f"{c[0]}-{c[3]}" for c in CASES])

few = settings(max_examples=10)  # where the rest of the message hardly matters

Values = dict[str, Any]


class Codec:
    """The C codec of one message."""

    def __init__(self, prefix: str, toml: oracle.Icd, name: str) -> None:
        self.fields = toml.fields(name)
        self.type = f"struct {prefix}_{name} *" if self.fields else ""
        self.max_payload = getattr(lib, f"{prefix.upper()}_MAX_PAYLOAD")
        self.length, self.range = (getattr(lib, f"{prefix.upper()}_ERR_{kind}") for kind in ("LENGTH", "RANGE"))
        self.c_encode = getattr(lib, f"{prefix}_{name}_encode")
        self.c_decode = getattr(lib, f"{prefix}_{name}_decode")

    def encode(self, values: Values) -> bytes:
        out = Guarded(self.max_payload)
        n = self.c_encode(*([ffi.new(self.type, values)] if self.type else []), out.pointer)
        if n:
            out.check(n)
        return out.bytes(n)

    def decode(self, data: bytes) -> int | Values:
        """Decodes from memory of exact size; the error, or the values."""
        memory = Guarded(len(data))
        ffi.memmove(memory.pointer, data, len(data))
        if not self.type:
            return self.c_decode(memory.pointer, len(data)) or {}
        m = ffi.new(self.type)
        error = self.c_decode(m, memory.pointer, len(data))
        return error if error else {f["name"]: self._value(m, f) for f in self.fields}

    def _value(self, m: Any, f: Values) -> Any:
        value = getattr(m, f["name"])
        if "count" in f:
            return [_plain(value[i]) for i in range(getattr(m, f["count"]))]
        return bytes(value) if f["type"].startswith("bytes") else value


def _plain(element: Any) -> Any:
    if isinstance(element, ffi.CData):
        return {name: getattr(element, name) for name, _ in ffi.typeof(element).fields}
    return element


@each_message
@given(data=st.data())
def test_round_trip(prefix, toml, icd, name, data):
    values = data.draw(toml.values(name))
    wanted = toml.pack(name, values)
    c = Codec(prefix, toml, name)
    assert c.encode(values) == wanted
    assert c.decode(wanted) == values
    assert icd.encode(name, **values) == wanted
    assert icd.decode(name, wanted) == values


@each_message
@few
@given(data=st.data())
def test_wrong_lengths_are_refused(prefix, toml, icd, name, data):
    c = Codec(prefix, toml, name)
    wanted = toml.pack(name, data.draw(toml.values(name)))
    for wrong in (wanted + b"\0", wanted[:-1], b""):
        if wrong != wanted:
            assert c.decode(wrong) == c.length
            with pytest.raises(icd.IcdError):
                icd.decode(name, wrong)


@each_message
@given(data=st.data())
def test_any_bytes_are_decoded_or_refused(prefix, toml, icd, name, data):
    """C and Python agree on every payload, legal or not; what is legal encodes to the same bytes again."""
    c = Codec(prefix, toml, name)
    like = data.draw(st.one_of(st.binary(max_size=60), toml.values(name).map(lambda v: toml.pack(name, v))))
    payload = bytearray(like)
    for _ in range(data.draw(st.integers(0, 3))):
        if payload:
            payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    values = c.decode(bytes(payload))
    if isinstance(values, dict):
        if not any(v != v for v in _floats(values)):
            assert icd.decode(name, bytes(payload)) == values
            assert c.encode(values) == bytes(payload)
    else:
        assert values < 0
        with pytest.raises(icd.IcdError):
            icd.decode(name, bytes(payload))


def _floats(values: Values) -> list[float]:
    rows = [values, *(e for v in values.values() if isinstance(v, list) for e in v if isinstance(e, dict))]
    return [v for row in rows for v in row.values() if isinstance(v, float)]


def _beyond(toml: oracle.Icd, fields: list[Values]) -> list[tuple[str, int]]:
    """(field, value) just beyond every bound that is narrower than the field's type."""
    out = []
    for f in fields:
        if "min" in f or "max" in f:
            low, high = toml.limits(f)
            least, greatest = toml.limits({"type": f["type"]})
            out += [(f["name"], low - 1)] if low > least else []
            out += [(f["name"], high + 1)] if high < greatest else []
    return out


def _spoiled(toml: oracle.Icd, name: str, values: Values) -> list[tuple[str, Values]]:
    """The values with one of them out of its range: in a field, and in the last element of a tail of records."""
    out = [(field, values | {field: bad}) for field, bad in _beyond(toml, toml.fields(name))]
    for tail in (f for f in toml.fields(name) if "count" in f):
        record, rows = toml.records.get(tail["type"].split("[")[0], []), values[tail["name"]]
        for field, bad in _beyond(toml, record) if rows else []:
            out.append((field, values | {tail["name"]: [*rows[:-1], rows[-1] | {field: bad}]}))
    return out


@each_message
@few
@given(data=st.data())
def test_values_beyond_their_range_are_refused(prefix, toml, icd, name, data):
    c = Codec(prefix, toml, name)
    counts = {f["count"] for f in toml.fields(name) if "count" in f}
    for field, values in _spoiled(toml, name, data.draw(toml.values(name))):
        assert c.encode(values) == b""
        with pytest.raises(icd.IcdError):
            icd.encode(name, **values)
        payload = toml.pack(name, values)
        error = c.decode(payload)
        assert error == c.range or (field in counts and error == c.length)
        with pytest.raises(icd.IcdError):
            icd.decode(name, payload)


def test_there_are_ranges_to_go_beyond():
    """The test above would pass on ICDs that have none."""
    assert len(_beyond(oracle.BUS, [f for m in oracle.BUS.messages for f in oracle.BUS.fields(m)])) > 30
    assert _beyond(oracle.BUS, oracle.BUS.records["shed_tier"])


@each_message
@few
@given(data=st.data())
def test_closed_enums_of_commands(prefix, toml, icd, name, data):
    """A command with a number that its enum does not name is refused; telemetry with one is shown."""
    closed = [f for f in toml.fields(name) if "enum" in f and not toml.enums.get(f["enum"], {"open": True}).get("open")]
    c = Codec(prefix, toml, name)
    values = data.draw(toml.values(name))
    for f in closed:
        bad = values | {f["name"]: toml.limits({"type": f["type"]})[1]}
        if toml.is_command(name):
            assert c.encode(bad) == b""
            assert c.decode(toml.pack(name, bad)) == c.range
            with pytest.raises(icd.IcdError):
                icd.encode(name, **bad)
        else:
            assert c.encode(bad) == icd.encode(name, **bad) == toml.pack(name, bad)
            assert c.decode(toml.pack(name, bad)) == icd.decode(name, toml.pack(name, bad)) == bad


def test_at_least_one_closed_enum_is_in_a_command():
    """The test above would pass on ICDs that have none."""
    assert any(
        f.get("enum") and oracle.SPACE.is_command(name)
        for name in oracle.SPACE.messages
        for f in oracle.SPACE.fields(name)
    )


def test_numbers_wider_than_the_wire_are_refused():
    """expiry_us is a u48 in a uint64_t."""
    lease = Codec("bus", oracle.BUS, "lease")
    values = {"session": 1, "lease_seq": 2, "cap_mw": 3, "expiry_us": (1 << 48) - 1, "clock_mhz": 0}
    assert lease.encode(values) == oracle.BUS.pack("lease", values)
    assert lease.encode(values | {"expiry_us": 1 << 48}) == b""


def test_another_structure_or_function_id_is_refused():
    power = Codec("space", oracle.SPACE, "hk_power")
    payload = bytearray(57)
    payload[0] = 2
    assert isinstance(power.decode(bytes(payload)), dict)
    payload[0] = 3
    assert power.decode(bytes(payload)) == lib.SPACE_ERR_ID
    with pytest.raises(ground.icd.IcdError, match="selector 3, expected 2"):
        ground.icd.decode("hk_power", bytes(payload))


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("nonsense", {}, "unknown message 'nonsense'"),
        ("ack", {}, "ack: field 'session' is missing"),
        ("ack", {"session": 1, "command_seq": 1, "type": 40, "code": 0, "x": 1}, "ack: no field 'x', expected session"),
        ("ack", {"session": -1, "command_seq": 1, "type": 40, "code": 0}, "ack.session: -1 is out of range"),
        ("ack", {"session": 1.5, "command_seq": 1, "type": 40, "code": 0}, "ack.session: 1.5, expected a whole number"),
        ("node_power", {"session": 1, "command_seq": 1, "on": 2}, "node_power.on: 2 is out of range, expected 0..1"),
        ("done_channels", {"base": 0, "count": 2, "channels": []}, "count: 2, but channels has 0 elements"),
        ("done_channels", {"base": 0, "channels": [{"on": 1}]}, r"channels\[0\]: field 'limit_ma' is missing"),
    ],
)
def test_python_errors_say_what_and_where(name, values, message):
    with pytest.raises(hal.icd.IcdError, match=message):
        hal.icd.encode(name, **values)


def test_a_wrong_enum_value_is_explained():
    with pytest.raises(ground.icd.IcdError, match=r"mode: 7 is not in enum mode, expected safe = 0, nominal = 1"):
        ground.icd.encode("set_mode", mode=7)


@pytest.mark.parametrize("prefix", ["bus", "space"])
def test_constants_of_c_python_and_toml_agree(prefix):
    toml, icd = {"bus": (oracle.BUS, hal.icd), "space": (oracle.SPACE, flight.icd)}[prefix]
    up = prefix.upper()
    assert getattr(lib, f"{up}_ICD_HASH") == icd.ICD_HASH
    for name, enum in toml.enums.items():
        assert {m.name.lower(): int(m) for m in icd.ENUMS[name]} == enum["values"]
        for value, number in enum["values"].items():
            assert getattr(lib, f"{up}_{name.upper()}_{value.upper()}") == number
    for event in toml.raw["event"]:
        code = getattr(lib, f"{up}_EVENT_{event['name'].upper()}")
        assert code == event["code"] == icd.EVENTS[event["name"]].code
        severity = toml.enums["severity"]["values"][event["severity"]]
        assert getattr(lib, f"{prefix}_event_severity")(code) == severity == icd.EVENTS[event["name"]].severity
    assert getattr(lib, f"{prefix}_event_severity")(0xFFFF) == 0


def test_flight_and_ground_hold_the_same_module():
    assert flight.icd.ICD_SHA256 == ground.icd.ICD_SHA256
    assert flight.icd.MESSAGES == ground.icd.MESSAGES


def test_message_facts():
    for name, m in oracle.BUS.messages.items():
        bits = {"flight": lib.BUS_FROM_FLIGHT, "bench": lib.BUS_FROM_BENCH, "board": lib.BUS_FROM_BOARD}
        wanted = sum(bits[sender] for sender in m["from"])
        wanted |= (lib.BUS_IS_COMMAND if m.get("command") else 0) | (lib.BUS_IS_HASHED if m.get("hashed", True) else 0)
        assert lib.bus_message_facts(m["type"]) == wanted, name
        assert getattr(lib, f"BUS_MSG_{name.upper()}") == m["type"]
    used = {m["type"] for m in oracle.BUS.messages.values()}
    assert all(lib.bus_message_facts(t) == 0 for t in range(256) if t not in used)


def test_command_head():
    session, sequence = ffi.new("uint32_t *"), ffi.new("uint32_t *")
    data = struct.pack("<II", 7, 1 << 31) + b"anything"
    assert lib.bus_command_head(data, len(data), session, sequence) == 0
    assert (session[0], sequence[0]) == (7, 1 << 31)
    assert lib.bus_command_head(data, 7, session, sequence) == lib.BUS_ERR_LENGTH


def test_parameters():
    toml = oracle.SPACE.raw["parameter"]
    p = ffi.new("struct space_parameters *")
    lib.space_parameters_default(p)
    assert len(toml) == lib.SPACE_PARAMETER_COUNT == len(ground.icd.PARAMETERS)
    for i, q in enumerate(toml):
        info = lib.space_parameter_info[i]
        assert (info.id, ffi.string(info.name).decode(), ffi.string(info.unit).decode()) == (
            q["id"],
            q["name"],
            q["unit"],
        )
        assert (info.min, info.max, info.default_value) == (q["min"], q["max"], q["default"])
        assert lib.space_parameter_index(q["id"]) == i
        assert getattr(p, q["name"]) == lib.space_parameter_get(p, i) == q["default"]
        for bad in (q["min"] - 1e-9, q["max"] + 1e-9, float("nan"), float("inf")):
            assert lib.space_parameter_set(p, i, bad) == lib.SPACE_ERR_RANGE
            assert lib.space_parameter_get(p, i) == q["default"]
        for fine in (q["min"], q["max"]):
            assert lib.space_parameter_set(p, i, fine) == 0
            assert getattr(p, q["name"]) == lib.space_parameter_get(p, i) == fine
    assert lib.space_parameter_index(0) == -1
    assert lib.space_parameter_set(p, len(toml), 1.0) == lib.SPACE_ERR_RANGE


@given(st.binary(max_size=160))
def test_a_tail_of_any_bytes_may_be_given_as_bytes(tail: bytes):
    values = {"session": 1, "command_seq": 2, "image_crc": 3, "offset": 4}
    assert hal.icd.encode("update_data", **values, bytes=tail) == hal.icd.encode("update_data", **values, bytes=[*tail])
    one = {"session": 1, "command_seq": 2, "base": 0, "tier": tail}  # what is not any byte is checked as ever
    assert hal.icd.encode("shed_channels", **one) == hal.icd.encode("shed_channels", **one | {"tier": [*tail]})
    with pytest.raises(hal.icd.IcdError):
        hal.icd.encode("update_data", **values, bytes=tail + bytes(161 - len(tail)))


def test_numpy_dtypes_read_what_the_codec_writes():
    """Bulk decoding: a column of many packets at once."""
    rows = [{f["name"]: i + 1 for f in oracle.SPACE.fields("hk_power")} for i in range(5)]
    packets = b"".join(ground.icd.encode("hk_power", **row) for row in rows)
    table = np.frombuffer(packets, dtype=ground.icd.DTYPES["hk_power"])
    assert table["bus_mv"].tolist() == [1, 2, 3, 4, 5]
    assert set(table["selector"]) == {2}


@each_message
@few
@given(data=st.data())
def test_dtypes_are_as_long_as_the_fixed_part(prefix, toml, icd, name, data):
    values = data.draw(toml.values(name))
    tail = next((f for f in toml.fields(name) if "count" in f), None)
    fixed = toml.pack(name, values | ({tail["name"]: []} if tail else {}))
    assert icd.DTYPES[name].itemsize == len(fixed)
    if tail and tail["type"].split("[")[0] in icd.RECORDS:
        record = icd.RECORD_DTYPES[tail["type"].split("[")[0]]
        assert len(toml.pack(name, values)) == len(fixed) + len(values[tail["name"]]) * record.itemsize
