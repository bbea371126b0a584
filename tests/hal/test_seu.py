"""Bit flips: the undisturbed run is the mock's, what is called dead is dead, rules and verdicts are what they say, and
a campaign is repeated by its seed."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hal import frames, icd
from hal.cli import main
from hal.errors import ImageError
from hal.icd import AccelCommand
from hal.identity import expected_board
from hal.images import image_of
from hal.link import open_link
from hal.seu.bench import Heard, Said, Tick
from hal.seu.campaign import KINDS, Campaign, run
from hal.seu.course import Course, courses
from hal.seu.flown import CHALLENGE, PHASES, WINDOW, Flown, Phase, fly
from hal.seu.memory import RAM, read_map
from hal.seu.report import broken, by_outcome, describe, rows, table
from hal.seu.rules import Limit, limits_of
from hal.seu.rules import broken as rules_broken
from hal.seu.verdict import Outcome, judge
from tests.hal.images import write_image

FLIPS = 200
SEED = 1


@pytest.fixture(scope="module")
def flown() -> Flown:
    return fly()


@pytest.fixture(scope="module")
def course(flown: Flown, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Course]:
    """The first phase of a node."""
    found = courses(flown, "node", SEED, tmp_path_factory.mktemp("course"))
    yield next(found)
    found.close()  # type: ignore[attr-defined]


def only(monkeypatch: pytest.MonkeyPatch, *phases: Phase) -> None:
    """Leave out the other phases."""
    chosen = {kind: tuple(p for p in PHASES[kind] if p in phases) for kind in KINDS}
    monkeypatch.setattr("hal.seu.campaign.PHASES", chosen)
    monkeypatch.setattr("hal.seu.course.PHASES", chosen)


@pytest.fixture(scope="module")
def campaign() -> Campaign:
    return run(FLIPS, SEED)


# ---------------------------------------------------------------- the undisturbed run
@pytest.mark.parametrize("kind", KINDS)
def test_the_undisturbed_run_has_the_states_of_the_mock(
    monkeypatch: pytest.MonkeyPatch, flown: Flown, kind: str, tmp_path: Path
) -> None:
    phase = max(PHASES[kind], key=lambda p: (p.role, p.tick))
    only(monkeypatch, phase)
    spec = flown.rig.boards[flown.rig.index_of(phase.role)]
    nvm = tmp_path / "mock.nvm"
    nvm.write_bytes(b"\xff" * 4096)
    mock = open_link("mock:", expected_board(flown.rig, spec, nvm))
    mock.recv()
    for data in flown.inputs[phase.role][: phase.tick]:
        mock.send(data)
        mock.recv()
    (found,) = courses(flown, kind, SEED, tmp_path)
    ticks = found.leg.ticks
    assert len(ticks) == WINDOW + CHALLENGE
    for tick, said in zip(ticks, found.said(found.leg.heard), strict=True):
        mock.send(tick.data)
        expected = Said(Heard(mock.recv()), tick).done
        assert said.done is not None
        assert expected is not None
        assert said.done["state_hash"] == expected["state_hash"]


def test_what_is_called_dead_is_dead(course: Course) -> None:
    chance = random.Random(5)
    for point in course.leg.points:
        dead = [at for at in range(len(point.live)) if not point.live[at]]
        for at in chance.sample(dead, 12):
            heard, converged = course.leg.run_on(point, lambda machine, at=at: machine.flip(RAM + at, 3))  # type: ignore[misc]
            assert heard == course.leg.undisturbed(point)[: len(heard)]
            assert converged


def test_a_point_without_a_flip_converges_at_once(course: Course) -> None:
    for point in course.leg.points:
        assert course.leg.run_on(point, lambda machine: None) == ([point.heard], True)


def test_points_are_in_every_state_of_the_core(monkeypatch: pytest.MonkeyPatch, flown: Flown, tmp_path: Path) -> None:
    only(monkeypatch, *(p for p in PHASES["power"] if p.name == "reset"))
    (reset,) = courses(flown, "power", SEED, tmp_path)
    assert {point.name for point in reset.leg.points} == {"between", "receiving", "interrupt", "step", "boot"}


# ---------------------------------------------------------------- memory
@pytest.mark.parametrize(
    ("kind", "other"), [(icd.BoardKind.COMPUTE_NODE, "power"), (icd.BoardKind.POWER_BOARD, "node")]
)
def test_every_byte_of_ram_has_a_name(kind: icd.BoardKind, other: str) -> None:
    found = read_map(image_of(kind), other)
    groups = found.groups()
    assert len(groups) == found.top - RAM
    role = next(f for f in found.fields if f.path == "board.id.role")
    assert (role.size, role.group, groups[role.at - RAM]) == (2, "id", "id")
    assert found.field_at(role.at + 1) == role
    mine = "board.as.node.node.lease.cap_mw" if other == "power" else "board.as.power.power.mppt.phase"
    assert [f.path for f in found.fields if f.path == mine] == [mine]
    assert not any(f.path.startswith(f"board.as.{other}") for f in found.fields)
    assert found.field_at(found.top - 1).path == groups[-1] == "stack"


def test_an_image_without_debugging_information_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError):
        read_map(write_image(tmp_path / "bare.elf", bytes(3000)), "power")


# ---------------------------------------------------------------- rules and verdicts
CONFIG = {"floor_mw": 100_000, "max_mw": 800_000, "die_limit_cdeg": 8000, "hbm_limit_cdeg": 9000}


def tick_of(k: int, *orders: bytes, **sensors: Any) -> bytes:
    values = {f.name: 0 for f in icd.MESSAGES["tick_node"].fields} | {"dt_us": 500_000} | sensors
    return b"".join(orders) + frames.encode("tick_node", icd.Address.BENCH, 256, k, 500_000 * (k + 1), **values)


def order(name: str, **values: Any) -> bytes:
    known = {f.name: 1 for f in icd.MESSAGES[name].fields}
    ranges = {"boot_ms": 1000, "hang_ms": 1000, "die_limit_cdeg": 8000, "hbm_limit_cdeg": 9000}
    legal = known | {n: v for n, v in ranges.items() if n in known} | values
    return frames.encode(name, icd.Address.FLIGHT, 256, 0, 0, **legal)


def done(k: int, cap_mw: int, command: int = AccelCommand.RUN, told_mw: int | None = None, more: bytes = b"") -> Said:
    fields = {f.name: 0 for f in icd.MESSAGES["done_node"].fields} | {"cap_mw": cap_mw, "command": command}
    tick = Tick(tick_of(k))
    data = more + frames.encode("done_node", 256, icd.Address.BENCH, k, tick.t_us, **fields)
    if told_mw is not None:
        tlm = {f.name: 0 for f in icd.MESSAGES["node_tlm"].fields} | {"cap_mw": told_mw}
        data = frames.encode("node_tlm", 256, icd.Address.FLIGHT, k, tick.t_us, **tlm) + data
    return Said(Heard(data), tick)


def test_limits_are_those_of_the_orders() -> None:
    config, lease = order("node_config", **CONFIG), order("lease", cap_mw=300_000, expiry_us=2_000_000)
    ticks = [tick_of(0), tick_of(1, config), tick_of(2, lease), tick_of(3), tick_of(4, die_cdeg=8000)]
    assert [limit.cap_mw for limit in limits_of([], ticks)] == [0, 100_000, 300_000, 100_000, 100_000]
    hot = tick_of(2, lease, hbm_cdeg=9000)
    assert [limit.cap_mw for limit in limits_of(ticks[:2], [hot])] == [100_000]


@pytest.mark.parametrize(
    ("caps", "expected"),
    [
        ([300, 300, 300], {}),
        ([300, 301, 300], {}),
        ([300, 301, 301], {"cap": 1}),
        ([301, 300, 301], {}),
        ([301, 301, 300], {"cap": 0}),
    ],
)
def test_a_rule_is_broken_by_more_than_one_tick(caps: list[int], expected: dict[str, int]) -> None:
    undisturbed = [done(k, 300) for k in range(3)]
    said = [done(k, cap) for k, cap in enumerate(caps)]
    assert rules_broken(undisturbed, said, [Limit(300)] * 3, {}) == expected


def test_an_accelerator_that_must_be_off_and_a_cap_told_too_low() -> None:
    off = [done(k, 0, AccelCommand.OFF) for k in range(2)]
    assert rules_broken(off, [done(k, 0, AccelCommand.IDLE) for k in range(2)], [Limit(0)] * 2, {}) == {
        "accelerator": 0
    }
    on = [done(k, 200) for k in range(2)]
    assert rules_broken(on, [done(k, 200, told_mw=100) for k in range(2)], [Limit(200)] * 2, {}) == {"report": 0}


def verdict(undisturbed: list[Said], said: list[Said], **more: Any) -> Outcome:
    facts: dict[str, Any] = {"converged": False, "resets": 0, "bites": 0, "limits": [Limit(10**6)] * 9, "channels": {}}
    return judge(undisturbed, said, **(facts | more)).outcome


def test_outcomes() -> None:
    right = [done(k, 300) for k in range(3)]
    wrong = [done(k, 299) for k in range(3)]
    event = frames.encode("event", 256, icd.Address.FLIGHT, 0, 0, code=67, severity=3, arg0=0, arg1=1)
    silent = [Said(Heard(b"", 3), Tick(tick_of(k))) for k in range(3)]
    dead = [right[0], Said(Heard(b"", stuck=True), Tick(tick_of(1)))]
    assert verdict(right, right) == Outcome.MASKED
    assert verdict(right, wrong) == Outcome.SILENT
    assert verdict(right, wrong[:1], converged=True) == Outcome.DETECTED
    assert verdict(right, [done(0, 299, more=event), *wrong[1:]]) == Outcome.DETECTED
    assert verdict(right, wrong, resets=1) == Outcome.CRASHED
    assert verdict(right, wrong, resets=1, bites=1) == Outcome.HUNG
    assert verdict(right, silent, resets=1) == Outcome.LOST
    assert verdict(right, dead) == Outcome.LOST


# ---------------------------------------------------------------- the campaign
def test_every_flip_has_an_outcome_and_no_board_is_lost(campaign: Campaign) -> None:
    assert len(campaign.trials) == FLIPS
    outcomes = by_outcome(campaign.trials)
    assert sum(outcomes.values()) == FLIPS
    assert outcomes[Outcome.LOST] == 0, [describe(t) for t in campaign.trials if t.verdict.outcome == Outcome.LOST]
    for outcome in (Outcome.MASKED, Outcome.DETECTED, Outcome.CRASHED):
        assert outcomes[outcome] > 0


def test_no_rule_is_broken_by_what_flips_at_rest_in_the_state(campaign: Campaign) -> None:
    """What is left is listed in docs/seu.md: flips of registers and of the stack, or while a step is at work."""
    asleep = [t for t in broken(campaign) if t.point in ("between", "receiving") and t.stratum == "board"]
    assert not asleep, [describe(t) for t in asleep]


def test_the_same_seed_gives_the_same_campaign(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, PHASES["node"][0])
    first, again, other = (run(24, seed, ("node",)) for seed in (5, 5, 6))
    assert first == again
    assert table(first) == table(again)
    assert [t.where for t in first.trials] != [t.where for t in other.trials]


def test_the_command_prints_what_it_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    only(monkeypatch, PHASES["node"][1])
    out = tmp_path / "trials.jsonl"
    assert main(["seu", "--trials", "12", "--kind", "node", "--json", "--out", str(out)]) == 0
    report = json.loads(capsys.readouterr().out)
    trials = [json.loads(line) for line in out.read_text().splitlines()]
    assert report["trials"] == len(trials) == 12
    assert sum(report["outcomes"]["all"].values()) == 12
    assert {t["kind"] for t in trials} == set(report["alive"]) == {"node"}
    assert main(["seu", "--trials", "12", "--kind", "node"]) == 0
    assert "bytes alive" in capsys.readouterr().out


def test_wrong_arguments_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["seu", "--trials", "0"])
    assert "expected a whole number from 1" in capsys.readouterr().err
    assert main(["seu", "--trials", "1", "--out", str(tmp_path / "no" / "file")]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_the_rows_of_a_report_add_up(campaign: Campaign) -> None:
    found = dict(rows(campaign))
    for kind in KINDS:
        asleep, at_work = found[f"{kind}: asleep"], found[f"{kind}: at work"]
        strata = [
            o
            for name, o in found.items()
            if name.startswith(f"{kind}:") and "asleep" not in name and "work" not in name
        ]
        for outcome in Outcome:
            assert asleep[outcome] + at_work[outcome] == sum(s[outcome] for s in strata)
