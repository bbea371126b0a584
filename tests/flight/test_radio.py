"""The radio: garbage, many stations, time hold, bounded outboxes, addresses."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator

import pytest

from flight import icd
from flight.errors import RadioError
from flight.executive import Executive
from flight.pacing import Pacing
from flight.radio import OUTBOX_BYTES, Radio, parse_address
from flight.storage import Storage
from ground import packets
from ground.packets import TC, TM, Packet, Splitter
from tests.flight.fake import FakePort


@pytest.fixture
def radio() -> Iterator[Radio]:
    radio = Radio("127.0.0.1", 0)
    yield radio
    radio.close()


def _connect(radio: Radio) -> socket.socket:
    before = radio.stations
    line = socket.create_connection(("127.0.0.1", radio.port), timeout=10)
    while radio.stations == before:
        radio.poll(1.0)
    return line


def _tc(name: str, sequence: int = 0, **args: int) -> bytes:
    m = icd.COMMANDS[name]
    apid = 2040 if m.apid == "radio" else 100
    return packets.pack(Packet(TC, apid, m.service, m.subtype, icd.encode(name, **args), sequence, 9))


def _poll(radio: Radio, count: int) -> list[int]:
    """Sequence counts of the telecommands received, once there are so many."""
    got = []
    while len(got) < count:
        got += [tc.request & 0x3FFF for tc in radio.poll(1.0)]
    return got


def test_telecommands_in_order_whatever_the_chunks(radio):
    line = _connect(radio)
    data = b"".join(_tc("node_on", k, node=k) for k in range(40))
    for at in range(0, len(data), 7):
        line.sendall(data[at : at + 7])
    assert _poll(radio, 40) == list(range(40))
    assert radio.skipped_bytes == 0
    line.close()


@pytest.mark.parametrize("seed", range(5))
def test_garbage_is_skipped_counted_and_hides_no_telecommand(radio, seed):
    chance = random.Random(seed)
    line = _connect(radio)
    data, garbage = b"", 0
    for k in range(30):
        noise = bytes(chance.randrange(256) for _ in range(chance.randrange(40)))
        data += noise + _tc("node_on", k, node=k)
        garbage += len(noise)
    line.sendall(data + _tc("ping", 99))
    got = _poll(radio, 31)
    assert got == [*range(30), 99]
    assert radio.skipped_bytes == garbage
    line.close()


def test_radio_control_never_reaches_the_dispatcher(radio):
    line = _connect(radio)
    line.sendall(_tc("link_hold", hold=1) + _tc("link_go", t_us=500) + _tc("ping", 3))
    assert _poll(radio, 1) == [3]
    assert radio.held
    assert radio.go_us == 500
    line.close()
    while radio.stations:
        radio.poll(0.1)
    assert not radio.held  # a closed line frees


def test_only_the_holder_says_go(radio):
    holder = _connect(radio)
    holder.sendall(_tc("link_hold", hold=1) + _tc("ping", 1))
    _poll(radio, 1)
    other = _connect(radio)
    other.sendall(_tc("link_hold", hold=1) + _tc("link_go", t_us=900) + _tc("ping", 2))
    _poll(radio, 1)
    assert radio.go_us == 0
    other.close()
    holder.sendall(_tc("link_go", t_us=700) + _tc("link_hold", hold=0) + _tc("ping", 3))
    _poll(radio, 1)
    assert not radio.held
    holder.close()


def test_a_station_that_does_not_read_costs_counted_packets_not_memory(radio):
    line = _connect(radio)
    packet = bytes(1000)
    for _ in range(3 * OUTBOX_BYTES // 1000):
        radio.send(packet, 1)
    before = radio.dropped
    assert before > 0
    radio.send(packet + packet, 2)
    assert radio.dropped == before + 2
    (station,) = radio._stations.values()
    assert len(station.outbox) <= OUTBOX_BYTES
    line.close()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("udp:127.0.0.1:5", "not an address"),
        ("tcp:127.0.0.1", "not an address"),
        ("tcp:127.0.0.1:99999", "not an address"),
        ("tcp:0.0.0.0:5", "not on the loopback interface"),
        ("tcp:example.org:5", "not on the loopback interface"),
    ],
)
def test_addresses_that_are_none(text, message):
    with pytest.raises(RadioError, match=message):
        parse_address(text)


def test_addresses():
    assert parse_address("tcp:127.0.0.1:10025") == ("127.0.0.1", 10025)
    assert parse_address("tcp:localhost:0") == ("localhost", 0)
    assert parse_address("tcp:[::1]:7") == ("::1", 7)


def test_held_time_stands_still_and_goes_as_told(fly, radio):
    """link_time names every standstill; telemetry of the ticks before comes first; commands enter in order."""
    port = FakePort()
    flown = fly(port, radio=radio)
    thread = threading.Thread(target=lambda: flown.executive.run(None, lambda: port.t_us >= 3_000_000), daemon=True)
    line = socket.create_connection(("127.0.0.1", radio.port), timeout=10)
    line.sendall(_tc("link_hold", hold=1))
    assert flown.executive.await_ground(30, held=True)
    thread.start()
    splitter = Splitter(TM)
    backlog: list[Packet] = []

    def until_stands() -> tuple[int, list[Packet]]:
        before: list[Packet] = []
        while True:
            while backlog:
                packet = backlog.pop(0)
                if packet.apid == 2040:
                    return icd.decode("link_time", packet.data)["t_us"], before
                before.append(packet)
            backlog.extend(splitter.feed(line.recv(65536)))

    assert until_stands()[0] == 0
    line.sendall(_tc("link_go", t_us=950_000))
    assert until_stands()[0] == 1_000_000  # the first tick at or after it
    line.sendall(_tc("ping", 5) + _tc("link_go", t_us=900_000))
    stood, packets_before = until_stands()
    assert stood == 1_000_000  # not in the future: no tick runs
    assert [p.t_us for p in packets_before if p.service == 17] == [1_000_000]
    line.sendall(_tc("link_go", t_us=2_000_000))
    stood, packets_before = until_stands()
    assert stood == 2_000_000
    assert {p.t_us for p in packets_before if p.service == 3} == {2_000_000}
    line.close()
    thread.join(20)
    assert not thread.is_alive()
    assert port.t_us >= 3_000_000


def test_no_report_leaves_a_paced_flight_before_what_it_reports_is_stored(tmp_path, radio):
    storage = Storage(tmp_path / "storage")
    completed = icd.PACKETS["completed"]
    open_then: list[int] = []

    def tap(data: bytes) -> None:
        packets_now = Splitter(TM).feed(data)
        if any((p.service, p.subtype) == (completed.service, completed.subtype) for p in packets_now):
            open_then.append(len(list(storage.open_commands())))

    executive = Executive(FakePort(), storage, radio=radio, pacing=Pacing(1e6, clock=False), tap=tap, batch=3)
    line = _connect(radio)
    line.sendall(_tc("ping", 5))
    executive.run(60_000_000, lambda: bool(open_then))
    assert open_then == [0]
    line.close()
    executive.close()


def test_standing_for_a_ground_station_ends_when_it_is_told_to(fly, radio):
    assert not fly(radio=radio).executive.await_ground(1000, stop=lambda: True)
