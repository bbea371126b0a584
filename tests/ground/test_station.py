"""Station against a packet-level satellite: waits on new samples in simulated time, holding, ICD check, the line."""

import socket

import pytest

from ground import (
    CommandRefused,
    LinkError,
    Mode,
    Severity,
    Station,
    UsageError,
    WaitTimeout,
    icd,
)
from tests.ground.radio import Radio
from tests.ground.satellite import Satellite


def test_a_held_satellite_stands_still_between_waits(station: Station, satellite: Satellite) -> None:
    station.advance(2.5)
    assert station.t_s == 2.5 == satellite.t_us / 1e6
    assert station.wait("hk_flight", lambda s: s.mode == Mode.NOMINAL, within=10).t_s == 3.0


def test_waits_look_only_at_new_samples(station: Station) -> None:
    station.advance(4)
    known = station.telemetry["hk_power"]
    assert known.t_s == 4.0
    assert station.wait("hk_power", within=2).t_s == 5.0
    with pytest.raises(WaitTimeout, match=r"no hk_power fulfilled the condition within 3 s \(simulated time 8\.\d s\)"):
        station.wait("hk_power", lambda s: s.t_us == known.t_us, within=3)


def test_a_wait_takes_no_longer_than_its_simulated_time(station: Station) -> None:
    station.advance(1)
    with pytest.raises(WaitTimeout):
        station.wait("hk_power", lambda s: False, within=7.25)
    assert station.t_s == 8.25


def test_the_same_script_sees_the_same_flight() -> None:
    def fly() -> list[object]:
        with Radio(Satellite()) as radio, Station.connect(radio.url) as station:
            station.wait("hk_flight", lambda s: s.mode == Mode.NOMINAL, within=10)
            station.send("node_on", node="all").completed(within=10)
            station.send("job_submit", job_id=1, workload="training", priority=1, work_mu=9000, checkpoint_s=30)
            done = station.wait("hk_jobs", lambda s: s.done == 1, within=400)
            return [done, station.t_us, [c.times_us for c in station.commands], station.events]

    assert fly() == fly()


def test_events_have_names_words_and_severities(station: Station, satellite: Satellite) -> None:
    satellite.event("node_latch_up", int(icd.Address.NODE_BASE) + 7, 27_500, 25_000)
    event = station.wait_event("node_latch_up", within=1)
    assert (event.severity, event.source_name) == (Severity.HIGH, "node 7")
    assert event.text == "node latch up: current 27.5 A, limit 25.0 A"
    changed = station.wait_event("mode_changed", lambda e: e.arguments["mode"] == Mode.NOMINAL, within=5)
    assert changed.text == "mode changed: mode nominal, mode reason steady"
    with pytest.raises(WaitTimeout, match="no event board_lost within 2 s"):
        station.wait_event("board_lost", within=2)
    with pytest.raises(UsageError, match="unknown event 'boom'"):
        station.wait_event("boom", within=1)


@pytest.mark.parametrize("nodes", [1, 16, 28, 29, 160])
def test_pages_of_nodes_become_one_table(nodes: int) -> None:
    with Radio(Satellite(nodes)) as radio, Station.connect(radio.url) as station:
        sample = station.wait("hk_nodes", within=4)
        assert [row.node for row in sample.nodes] == list(range(nodes)) == [row["node"] for row in station.nodes]


@pytest.mark.parametrize("nodes", [1, 22, 23, 160])
def test_pages_of_health_become_one_table(nodes: int) -> None:
    with Radio(Satellite(nodes)) as radio, Station.connect(radio.url) as station:
        sample = station.wait("hk_health", within=11)
        expected = [int(icd.Address.POWER_BOARD), *(icd.Address.NODE_BASE + node for node in range(nodes))]
        assert [row.address for row in sample.boards] == expected == [row["address"] for row in station.health]


def test_samples_know_their_fields(station: Station) -> None:
    sample = station.wait("hk_power", within=3)
    assert sample.bus_mv == sample["bus_mv"] > 80_000
    with pytest.raises(AttributeError, match="hk_power has no field 'volts': it has charge_mode"):
        _ = sample.volts


def test_unknown_packet_to_wait_for(station: Station) -> None:
    with pytest.raises(UsageError, match="unknown packet 'hk_pwr': expected one of"):
        station.wait("hk_pwr", within=1)


def test_another_icd_is_refused_before_anything_is_sent() -> None:
    satellite = Satellite(icd_hash=0x1234)
    with (
        Radio(satellite) as radio,
        Station.connect(radio.url) as station,
        pytest.raises(CommandRefused, match=r"speaks ICD 0000000000001234, ground speaks [0-9a-f]{16}"),
    ):
        station.send("node_on", node=1)
    assert satellite.received == []


def test_a_satellite_that_never_says_its_icd_is_asked_then_refused() -> None:
    satellite = Satellite()
    satellite.muted = {"hk_flight"}
    with (
        Radio(satellite) as radio,
        Station.connect(radio.url) as station,
        pytest.raises(CommandRefused, match="sent no hk_flight"),
    ):
        station.send("node_on", node=1)
    assert satellite.received == [("hk_request", {"structure": 1})]


def test_radio_control_is_not_a_command(station: Station) -> None:
    with pytest.raises(UsageError, match="controls the radio"):
        station.send("link_hold", hold=0)


def test_go_needs_a_held_satellite(station: Station) -> None:
    station.release()
    with pytest.raises(UsageError, match="call hold"):
        station.go(100)


def test_a_live_station_waits_in_simulated_time_too(live_radio: Radio) -> None:
    with Station.connect(live_radio.url, hold=False) as station:
        first = station.wait("hk_power", within=5)
        with pytest.raises(WaitTimeout):
            station.wait("hk_power", lambda s: False, within=20)
        assert station.t_s >= first.t_s + 20
        station.send("set_mode", mode="nominal").completed(within=30)


def test_parameters_are_read_by_name(station: Station) -> None:
    station.send("parameter_set", soc_reserve=0.5, hold_s=20).completed(within=5)
    assert station.parameters("hold_s", "soc_reserve", "lease_ttl_s") == {
        "hold_s": 20,
        "soc_reserve": 0.5,
        "lease_ttl_s": 3,
    }


def test_no_satellite_at_the_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(LinkError, match=f"no satellite at tcp:127.0.0.1:{port}: connection refused"):
        Station.connect(f"tcp:127.0.0.1:{port}", within_s=0)


@pytest.mark.parametrize("url", ["", "127.0.0.1:10025", "udp:1.2.3.4:5", "tcp:localhost", "tcp:h:0", "tcp:h:70000"])
def test_a_malformed_url(url: str) -> None:
    with pytest.raises(UsageError, match="expected tcp:HOST:PORT"):
        Station.connect(url)


def test_the_end_of_the_line_ends_a_wait() -> None:
    with (
        Radio(Satellite(), end_s=30) as radio,
        Station.connect(radio.url) as station,
        pytest.raises(LinkError, match=r"ended \(simulated time 3\d\.\d s\)"),
    ):
        station.wait("hk_power", lambda s: False, within=100)


def test_a_station_that_reconnects_goes_on_where_it_was(radio: Radio, satellite: Satellite) -> None:
    with Station.connect(radio.url, reconnect=True) as station:
        station.advance(10)
        radio.drop_clients()
        station.advance(10)
        assert station.link_counters["reconnections"] == 1
        assert station.link_counters["lost_packets"] == 0
        assert station.t_s == 20 == satellite.t_us / 1e6
        station.send("ping").completed(within=5)


def test_damage_on_the_link_is_counted_and_survived(satellite: Satellite) -> None:
    count = 0

    def damage(data: bytes) -> bytes:
        nonlocal count
        count += 1
        at = len(data) // 2
        return data[:at] + b"\xff\x08" + data[at:] if data and count in (20, 40, 60) else data

    with Radio(satellite, damage) as radio, Station.connect(radio.url) as station:
        station.advance(100)
        counters = station.link_counters
        assert counters["skipped_bytes"] > 0
        assert 1 <= counters["lost_packets"] <= 3
        assert station.wait("hk_power", within=2).t_s > 100


def test_a_packet_of_an_unknown_kind_is_counted(station: Station, satellite: Satellite) -> None:
    satellite.send("event_report", subtype=1, event=60_000, source=1, arg0=5, arg1=6)
    satellite.send("pong")
    station.advance(1)
    assert station.events[-1].text == "event 60000: arg0 5, arg1 6"
    assert station.link_counters["unknown_packets"] == 0
