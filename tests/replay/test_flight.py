"""A recorded flight replays to the last byte; a changed one is named; a cut one replays up to its last whole block."""

from __future__ import annotations

import random
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import flight.pacing
import hal.tape
from flight.errors import FlightError
from flight.executive import Executive
from flight.pacing import Pacing
from flight.replay.fly import Outcome, replay
from flight.replay.notes import Note
from flight.storage import Storage
from flight.telecommand import from_timeline
from hal._native import lib
from hal.errors import HalError
from hal.recording import HEAD_BYTES, Recording
from hal.world import World
from tests.replay.flown import FAULTS, Flight, Ground, blocks, change, desk, write
from tests.replay.test_recording import ends

STEP = int(lib.TAPE_STEP)
FLOWN_S = 40
FLIGHTS = (STEP, *Note)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("replay")


@pytest.fixture(scope="module")
def recorded(folder: Path) -> Path:
    """Forty seconds of the desk with a board off and a string open, in small blocks."""
    path = folder / "desk.rec"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hal.tape, "BLOCK_BYTES", 16_384)
        with Flight(path, desk(folder, FAULTS)) as flown:
            flown.run(FLOWN_S)
    return path


def test_every_byte_is_the_same(recorded: Path) -> None:
    outcome = replay(recorded)
    assert outcome.difference is None
    assert outcome.damage is None
    assert (outcome.ticks, outcome.sim_s, outcome.ended) == (FLOWN_S * 10, FLOWN_S, True)
    steps = [r for block in blocks(recorded) for r in block if r.kind == STEP]
    sent = sum(len(r.body) - 12 - int.from_bytes(r.body[8:12], "little") for r in steps)
    assert outcome.bytes_to_boards == sent > 1000
    assert outcome.packets > 50


def test_nothing_of_the_original_is_needed(folder: Path, recorded: Path, tmp_path: Path) -> None:
    with Recording(recorded) as recording:
        texts = recording.header["rig"]["texts"]
    assert set(texts) == {"rig.toml", "satellite.toml", "orbit.tle"}
    (folder / "desk.toml").rename(tmp_path / "away.toml")
    try:
        assert replay(recorded).difference is None
    finally:
        (tmp_path / "away.toml").rename(folder / "desk.toml")


def test_a_storage_that_was_used_is_in_the_recording(tmp_path: Path) -> None:
    rig = desk(tmp_path)
    for name in ("first.rec", "second.rec", "third.rec"):
        with Flight(tmp_path / name, rig, tmp_path / "storage") as flown:
            flown.run(20)
        outcome = replay(tmp_path / name)
        assert (outcome.difference, outcome.ended, outcome.ticks) == (None, True, 200)
    start = blocks(tmp_path / "third.rec")[0]
    assert any(r.kind == Note.START and b'["boot_count",2]' in r.body for r in start)


def test_measured_times_and_slips_replay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = random.Random(7)
    now = 0

    def perf_counter_ns() -> int:
        nonlocal now
        now += round(clock.expovariate(1 / 5e8))
        return now

    monkeypatch.setattr(flight.pacing.time, "perf_counter_ns", perf_counter_ns)
    with Flight(tmp_path / "x.rec", desk(tmp_path)) as flown:
        flown.run(60)
    slips = [r for block in blocks(tmp_path / "x.rec") for r in block if r.kind == Note.SLIP]
    assert any(b'"slow":true' in r.body for r in slips)
    assert any(b'"slow":false' in r.body for r in slips)
    outcome = replay(tmp_path / "x.rec")
    assert (outcome.difference, outcome.ended) == (None, True)


S = 1_000_000
WORK = {"priority": 3, "work_mu": 50_000, "checkpoint_s": 5}
COMMANDS = {
    4 * S: ("node_on", {"node": 65535}),
    130_300_000: ("job_submit", {"job_id": 1, "workload": "training", **WORK}),
    134_100_000: ("job_submit", {"job_id": 2, "workload": "decode", **WORK}),
    145_700_000: ("job_cancel", {"job_id": 1}),
    150_100_000: ("node_off", {"node": 2}),
}


@settings(max_examples=10)
@given(st.sets(st.integers(1280, 1550), max_size=100))
def test_standing_still_changes_nothing(folder: Path, stops: set[int]) -> None:
    """Where a ground station makes time stand still is no input of flight."""

    def fly(stops: set[int]) -> tuple[bytes, str]:
        sent: list[bytes] = []
        commands = {t: from_timeline(name, args, k) for k, (t, (name, args)) in enumerate(COMMANDS.items())}
        with tempfile.TemporaryDirectory() as storage, World(desk(folder)) as world:
            executive = Executive(
                world, Storage(Path(storage)), radio=Ground(commands, {k * 100_000 for k in stops}),
                pacing=Pacing(clock=False), tap=sent.append,
            )  # fmt: skip
            executive.run(160 * S)
            executive.close()
            return b"".join(sent), world.bus_sha256()

    assert fly(stops) == fly(set())


@pytest.mark.parametrize("ticks", [(60,), (95, 101), (95, 105, 115, 141), (100, 103, 120, 130)])
def test_a_disk_that_refuses_replays(folder: Path, ticks: tuple[int, ...]) -> None:
    """From these ticks on it refuses, stores again, ...: the timeline's commands are not journaled then."""
    with Flight(folder / "full.rec", desk(folder)) as flown:
        for i, tick in enumerate([*ticks, 210]):
            flown.executive.run(tick * 100_000)
            flown.storage._db.execute(f"PRAGMA query_only={'OFF' if i % 2 else 'ON'}")
    outcome = replay(folder / "full.rec")
    assert (outcome.difference, outcome.ended) == (None, True)
    refused = [r.body for block in blocks(folder / "full.rec") for r in block if r.kind == Note.STORAGE]
    assert any(b'"what":"accept","errno":5' in body for body in refused)


@pytest.mark.parametrize("world_ends", [False, True])
def test_flight_ends_at_a_moment_of_its_timeline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world_ends: bool
) -> None:
    """Flight that is stopped there takes the command no more; flight that finds no more ticks there has taken it."""
    rig = desk(tmp_path)
    end_us = round(rig.timeline[1].at_s * S)
    assert end_us > rig.timeline[0].at_s * S
    with Flight(tmp_path / "x.rec", rig) as flown:
        tick = flown.world.run
        monkeypatch.setattr(flown.world, "run", lambda *args: tick(*args) if flown.world.t_us < end_us else 0)
        flown.run(end_us / S + world_ends)
        assert flown.world.t_us == end_us
        assert (flown.executive.commands.accepted > 1) == world_ends
    outcome = replay(tmp_path / "x.rec")
    assert (outcome.difference, outcome.ended, outcome.ticks) == (None, True, end_us // rig.tick_us)


# ------------------------------------------------------------------ cut
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_cut_anywhere_it_replays_up_to_the_last_whole_block(recorded: Path, folder: Path, data: st.DataObject) -> None:
    whole = recorded.read_bytes()
    places = ends(whole)
    near = st.sampled_from(places).flatmap(lambda end: st.integers(max(0, end - HEAD_BYTES), min(len(whole), end + 40)))
    cut = data.draw(st.one_of(st.integers(0, len(whole)), near))
    path = folder / "cut.rec"
    path.write_bytes(whole[:cut])
    left = [end for end in places if end <= cut]
    if len(left) < 2:  # the header, and the block that says what flight starts from
        with pytest.raises((HalError, FlightError), match=re.escape(str(path))):
            replay(path)
        return
    outcome = replay(path)
    steps = sum(r.kind == STEP for block in blocks(recorded)[: len(left) - 1] for r in block)
    assert (outcome.difference, outcome.damage) == (None, None)
    assert outcome.ticks == steps
    assert outcome.cut_bytes == cut - left[-1]
    assert outcome.ended == (len(left) == len(places))


# ------------------------------------------------------------------ changed
def found(path: Path) -> Outcome | str:
    """What a replay says of a recording that somebody has changed."""
    try:
        return replay(path)
    except (HalError, FlightError) as error:
        return str(error)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_one_byte_changed_anywhere_in_the_file_is_named(recorded: Path, folder: Path, data: st.DataObject) -> None:
    changed = bytearray(recorded.read_bytes())
    at = data.draw(st.integers(12, len(changed) - 1))
    changed[at] ^= data.draw(st.integers(1, 255))
    path = folder / "changed.rec"
    path.write_bytes(changed)
    said = found(path)
    line = said if isinstance(said, str) else said.damage
    block = sum(end <= at for end in ends(recorded.read_bytes()))
    assert line is not None
    assert f"block {block} at byte" in line
    if not isinstance(said, str) and block > 1:
        assert re.search(r"after \d+\.\d{3} s$", line)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_one_byte_changed_in_a_sound_block_is_named(recorded: Path, folder: Path, data: st.DataObject) -> None:
    """Somebody writes another input or output and makes every CRC fit: the first consequence is named."""
    content = blocks(recorded)
    flat = [r for block in content for r in block]
    kind = data.draw(st.sampled_from(sorted({r.kind for r in flat if r.kind in FLIGHTS})))
    number = data.draw(st.sampled_from([i for i, r in enumerate(flat) if r.kind == kind and r.body]))
    at = data.draw(st.integers(0, len(flat[number].body) - 1))
    flip = data.draw(st.integers(1, 255))
    write(
        folder / "other.rec", recorded, change(content, number, lambda b: b[:at] + bytes([b[at] ^ flip]) + b[at + 1 :])
    )
    said = found(folder / "other.rec")
    if isinstance(said, str):
        assert said.count("\n") == 0
        return
    assert said.difference is not None, (kind, flat[number].body, at)
    steps = sum(r.kind == STEP for r in flat[:number])
    assert said.difference.tick >= steps - 10, "not before the change, but for telemetry that waits to be sent"


def frame_at(body: bytes, board: int) -> int:
    """Where the bytes of the first frame to this board begin in a step; 0: there is none."""
    at = 12 + int.from_bytes(body[8:12], "little")
    while at < len(body):
        if int.from_bytes(body[at : at + 2], "little") == board:
            return at + 4
        at += 4 + int.from_bytes(body[at + 2 : at + 4], "little")
    return 0


def test_the_frame_and_its_field_are_named(recorded: Path, folder: Path) -> None:
    """A lease of another cap, made whole again."""
    from hal import icd
    from hal.differences import frames_of
    from tests.hal.talker import frame

    content = blocks(recorded)
    flat = [r for block in content for r in block]
    number = next(
        i for i, r in enumerate(flat)
        if r.kind == STEP and (at := frame_at(r.body, 3)) and frames_of(r.body[at:])[0].name == "lease"
    )  # fmt: skip
    body, at = flat[number].body, frame_at(flat[number].body, 3)
    lease = frames_of(body[at:])[0]
    fields = icd.decode(lease.name, lease.payload)
    other = frame("lease", 258, lease.seq, lease.t_us, **(fields | {"cap_mw": fields["cap_mw"] + 1}))
    assert len(other) == len(lease.wire)
    assert icd.MESSAGES["lease"].hashed
    write(folder / "lease.rec", recorded, change(content, number, lambda b: b[:at] + other + b[at + len(other) :]))
    difference = replay(folder / "lease.rec").difference
    tick = int.from_bytes(body[:8], "little") // 100_000
    assert difference is not None
    assert difference.line() == (
        f"first difference at tick {tick} ({tick / 10:.3f} s): to node2, lease cap_mw: "
        f"recorded {fields['cap_mw'] + 1}, replayed {fields['cap_mw']}"
    )


def test_the_packet_and_its_field_are_named(recorded: Path, folder: Path) -> None:
    content = blocks(recorded)
    flat = [r for block in content for r in block]
    number = next(i for i, r in enumerate(flat) if r.kind == Note.TELEMETRY and r.body[7:9] == bytes([3, 25]))
    write(folder / "hk.rec", recorded, change(content, number, lambda b: b[:30] + bytes([b[30] ^ 1]) + b[31:]))
    difference = replay(folder / "hk.rec").difference
    assert difference is not None
    assert re.fullmatch(
        r"first difference at tick \d+ \(\d+\.000 s\): telemetry, hk_flight \(APID 100, 3/25\) \w+: "
        r"recorded \d+, replayed \d+",
        difference.line(),
    ), difference.line()


def test_a_packet_too_few_and_one_too_many_are_named(recorded: Path, folder: Path) -> None:
    content = blocks(recorded)
    last = [i for i, r in enumerate(r for block in content for r in block) if r.kind == Note.TELEMETRY][-1]
    write(folder / "few.rec", recorded, change(content, last, lambda b: b""))
    difference = replay(folder / "few.rec").difference
    assert difference is not None
    assert (difference.recorded, difference.replayed) == ("nothing", "the packet")
    write(folder / "many.rec", recorded, change(content, last, lambda b: b + b))
    difference = replay(folder / "many.rec").difference
    assert difference is not None
    assert (difference.recorded, difference.replayed) == ("the packet", "nothing")
