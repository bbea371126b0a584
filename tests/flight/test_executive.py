"""The executive: the same outputs whatever the batch, housekeeping, modes, restarts, the forecast."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from flight import icd
from flight.executive import Executive
from flight.forecast import Forecast
from flight.icd import Event, Mode
from flight.pacing import Pacing
from flight.storage import Storage
from hal import icd as bus_icd
from hal.pacing import Pacer
from hal.rig import Orbit, load_rig
from tests.flight.fake import FLIGHT, FakePort, Line, frame

RIG = load_rig("demo")


def _outputs(fly, directory, batch):
    def before(port: FakePort, t_us: int) -> None:
        if t_us == 33_300_000:
            port.nodes[5].alive = False
        if t_us == 41_700_000:
            port.nodes[5].alive = True
            port.nodes[5].reset()
        port.power.array_mw = 10_000_000 if t_us < 50_000_000 else 100_000

    port = FakePort(RIG, before, lambda number: Line(number, 0.02, 0.02, 0.02))
    flown = fly(port, directory, timeline=RIG.timeline, batch=batch)
    flown.run(70)
    flown.executive.storage.close()
    return hashlib.sha256(b"".join(port.sent)).hexdigest(), b"".join(flown.sent)


def test_outputs_do_not_depend_on_how_many_ticks_run_at_once(fly, tmp_path):
    """The bus and the downlink, byte for byte, with a lost board, jobs and an eclipse on the way."""
    flights = [_outputs(fly, tmp_path / str(batch), batch) for batch in (None, 1, 3)]
    assert flights[0] == flights[1] == flights[2]


def test_housekeeping_comes_by_its_periods(fly):
    flown = fly()
    flown.command("parameter_set", values=[{"parameter": 1, "value": 4.0}])
    flown.run(41)
    counts = {"hk_flight": 0, "hk_power": 0, "hk_nodes": 0, "hk_jobs": 0, "hk_health": 0}
    for service, subtype, data in flown.packets():
        for name in counts:
            m = icd.PACKETS[name]
            counts[name] += (service, subtype) == (m.service, m.subtype) and data[0] == m.selector
    assert counts == {"hk_flight": 11, "hk_power": 11, "hk_nodes": 21, "hk_jobs": 9, "hk_health": 10}
    hk = flown.last("hk_flight")
    assert hk["icd_hash"] == icd.ICD_HASH
    assert hk["boards_ready"] == 17
    assert hk["link_errors"] == 0
    nodes = flown.last("hk_nodes")
    assert nodes["total"] == 16
    assert [n["node"] for n in nodes["nodes"]] == list(range(16))


def _health(flown):
    """The rows of the newest hk_health, its pages joined."""
    pages = [icd.decode("hk_health", data) for s, t, data in flown.packets() if (s, t, data[0]) == (3, 25, 5)]
    count = -(-pages[-1]["total"] // icd.PACKETS["hk_health"].fields[-1].tail)
    return [row for page in pages[-count:] for row in page["boards"]]


@pytest.mark.parametrize("rig", ["desk", "demo", "ai1"])
def test_health_rows_are_what_the_boards_sent(fly, rig):
    """Every counter of every board, in pages; node_health of the power board is zeros."""
    node, line = (
        [f.name for f in bus_icd.MESSAGES[name].fields if f.name not in ("rx_bytes", "tx_bytes")]
        for name in ("node_health", "link_report")
    )
    hardware = ("rx_lost", "overruns", "framing_errors", "noise_errors")
    rest = {"ring_high_water": 1, "stack_free": 2}

    def before(port: FakePort, t_us: int) -> None:
        if t_us == 12_000_000:
            for b in port.boards:
                b.send("link_report", rx_bytes=1, tx_bytes=2, **{f: 100 * b.index + k for k, f in enumerate(line)})
            for b in port.nodes:
                b.send("node_health", **{f: 50 * b.index + k for k, f in enumerate(node)})
                lost = {f: 60 * b.index + k for k, f in enumerate(hardware)}
                b.out.append(
                    frame("hardware_report", b.address, FLIGHT, 0, t_us, **lost, **rest)
                )  # not in the sequence

    flown = fly(FakePort(load_rig(rig), before))
    flown.run(11)
    assert {v for row in _health(flown) for f, v in row.items() if f != "address"} == {0}
    flown.run(10)
    rows = _health(flown)
    assert [row["address"] for row in rows] == [b.address for b in flown.port.boards]
    for b, row in zip(flown.port.boards, rows, strict=True):
        expected = {f: 50 * b.index + k if b.index else 0 for k, f in enumerate(node)}
        expected |= {f: 100 * b.index + k for k, f in enumerate(line)}
        expected |= {f: 60 * b.index + k if b.index else 0 for k, f in enumerate(hardware)}
        assert row == {"address": b.address, **expected}
    assert flown.last("hk_flight")["link_errors"] == 0


def test_safe_is_left_by_itself_after_a_steady_time_but_not_when_commanded(fly):
    flown = fly()
    flown.run(9)
    assert flown.executive.loop.status().mode == Mode.SAFE
    flown.run(4)
    assert flown.executive.loop.status().mode == Mode.NOMINAL
    flown.command("set_mode", mode=0)
    flown.run(60)
    assert flown.executive.loop.status().mode == Mode.SAFE
    flown.command("set_mode", mode=1)
    flown.run(1)
    assert flown.executive.loop.status().mode == Mode.NOMINAL


def test_safe_by_command_survives_a_restart(fly):
    flown = fly()
    flown.run(13)
    flown.command("set_mode", mode=0)
    flown.run(1)
    flown.executive.storage.close()
    again = fly(FakePort(at_us=20_000_000))
    again.run(40)
    assert again.executive.loop.status().mode == Mode.SAFE


@pytest.mark.parametrize(("soc", "mode", "floors"), [(9000, 1, False), (3000, 1, True), (2000, 0, True)])
def test_low_charge_means_floors_and_then_safe(fly, soc, mode, floors):
    def before(port: FakePort, t_us: int) -> None:
        port.power.soc_cpct = soc if t_us > 50_000_000 else 9000

    flown = fly(FakePort(before=before))
    flown.command("node_on", node=3)
    flown.command("job_submit", job_id=9, workload=1, priority=1, work_mu=50_000_000, checkpoint_s=10)
    flown.run(80)
    assert flown.executive.loop.status().mode == mode
    floor = round(RIG.satellite.node.floor_w * 1000)
    assert (flown.port.nodes[3].cap_mw == floor) == floors


def test_a_restart_adopts_what_runs(fly, tmp_path):
    """Same boards, a new process on the same storage: a new session, jobs go on where they are, NOMINAL in 30 s."""
    port = FakePort()
    flown = fly(port, timeline=RIG.timeline)
    flown.run(60)
    jobs = {n.index: n.job["job_id"] for n in port.nodes}
    session = flown.executive.session
    flown.executive.storage.close()
    port.run(40, flown.executive.loop.step, flown.executive.loop.ctx)  # its last commands still in the lines
    starts = sum(name == "node_job" for n in port.nodes for name, _ in n.executed)
    again = fly(port)
    again.run(29)
    assert again.executive.session == session + 1
    assert again.executive.loop.status().mode == Mode.NOMINAL
    assert {n.index: n.job["job_id"] for n in port.nodes} == jobs
    assert sum(name == "node_job" for n in port.nodes for name, _ in n.executed) == starts
    assert all(n.lease_now[0] == session + 1 for n in port.nodes)
    assert port.raised_above() == []


def test_storage_that_was_lost_opens_a_newer_session_and_keeps_what_runs(fly, tmp_path):
    port = FakePort()
    flown = fly(port, tmp_path / "a", timeline=RIG.timeline)
    flown.run(30)
    for _ in range(3):  # boards have seen session 4
        flown.executive.storage.close()
        flown = fly(port, tmp_path / "a")
        flown.run(25)
    up = [n.index for n in port.nodes if n.state in (2, 3)]
    assert up
    flown.executive.storage.close()
    again = fly(port, tmp_path / "b")
    again.run(40)
    assert again.executive.session > 4
    assert again.executive.storage.meta("session") == again.executive.session
    assert [n.index for n in port.nodes if n.state in (2, 3)] == up
    assert again.executive.loop.status().command_timeouts == 0


def test_events_carry_the_severity_of_the_icd(fly):
    flown = fly()
    flown.run(15)
    reports = [
        (subtype, icd.decode("event_report", data)) for service, subtype, data in flown.packets() if service == 5
    ]
    assert reports
    by_code = {e.code: e.severity for e in icd.EVENTS.values()}
    assert all(severity == by_code[event["event"]] for severity, event in reports)
    assert Event.FLIGHT_STARTED in [event["event"] for _, event in reports]


# ------------------------------------------------------------------ forecast
def test_forecast_of_a_real_orbit():
    entry_s, exit_s = Forecast(RIG.orbit).next_eclipse(0.0)
    assert exit_s - entry_s == pytest.approx(1033, abs=10)
    inside = Forecast(RIG.orbit).next_eclipse(entry_s + 100)
    assert inside[0] == entry_s + 100
    assert inside[1] == pytest.approx(exit_s, abs=0.1)


def test_forecast_of_an_orbit_without_eclipses():
    orbit = Orbit(altitude_km=1500, sun_synchronous=True, ltan_h=18, epoch="2027-03-21T00:00:00Z")
    assert Forecast(orbit).next_eclipse(0.0) is None


def test_forecast_starts_where_the_rig_does():
    later = replace(RIG.orbit, start_s=RIG.orbit.start_s + 1000)
    assert Forecast(later).next_eclipse(0)[0] == pytest.approx(Forecast(RIG.orbit).next_eclipse(0)[0] - 1000, abs=0.1)


def test_housekeeping_tells_of_the_late_ticks_of_a_world_that_paces_itself(fly):
    port = FakePort()
    port.late_ticks = 5
    flown = fly(port)
    flown.run(2)
    assert flown.last("hk_flight")["late_ticks"] == 5


class Clock:
    """A clock that only passes when somebody sleeps, or as the test says."""

    now = 100.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_ticks_after_one_that_hangs_are_told_as_late_and_made_up_for(fly):
    clock = Clock()

    def hang(port: FakePort, t_us: int) -> None:
        if t_us == 1_500_000:
            clock.now += 0.35

    port = FakePort(RIG, hang)
    flown = fly(port)
    flown.executive.pacing._pacer = Pacer(1.0, lambda: clock.now, clock.sleep)
    flown.run(3)
    assert flown.last("hk_flight")["late_ticks"] == 3
    assert port.t_us == 3_000_000
    assert clock.now == pytest.approx(103), "back in step with the clock, no tick longer or left out"


class Slow(FakePort):
    """A world that paces itself: every run takes `waits_s` of the clock, of which `waited_s` were waiting."""

    clock_ns = 0
    waits_s, waited_s = 5.0, 5.0

    def run(self, max_ticks: int, step: int, ctx: int) -> int:
        self.clock_ns += round(self.waits_s * 1e9)
        self.waited_ns += round(self.waited_s * 1e9)
        return super().run(max_ticks, step, ctx)


@pytest.mark.parametrize(("waited_s", "slips"), [(5.0, False), (0.0, True)])
def test_waiting_for_a_world_that_paces_itself_is_no_slip(tmp_path, monkeypatch, waited_s, slips):
    port = Slow()
    port.waited_s = waited_s
    monkeypatch.setattr("flight.pacing.time.perf_counter_ns", lambda: port.clock_ns)
    executive = Executive(port, Storage(tmp_path), pacing=Pacing())
    executive.run(3_000_000)
    assert bool(executive.pacing.slips) is slips
    executive.close()
