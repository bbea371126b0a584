"""Arguments before anything is sent, and the stages of a command in every order of its reports."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ground import CommandFailed, CommandTimeout, State, Station, UsageError, icd
from ground.commanding import Command, describe, encode, parse_words
from ground.telemetry import REPORTS, Report
from tests.ground.satellite import Answer, Satellite

ORDER = [State.SENT, State.ACCEPTED, State.STARTED, State.COMPLETED]
REACHES = {
    "accepted": State.ACCEPTED,
    "started": State.STARTED,
    "completed": State.COMPLETED,
    "failed": State.FAILED,
    "acceptance_failed": State.FAILED,
}


def a_command(pump: list[Report] | None = None) -> Command:
    """A command whose every wait lets one more report in."""
    waiting = iter(pump or [])

    def wait(done, within: float) -> bool:
        for report in waiting:
            command.report(report)
            if done():
                return True
        return done()

    command = Command("node_on", {"node": 3}, 77, 1_000_000, wait)
    return command


@given(st.lists(st.sampled_from(REPORTS), max_size=8))
def test_any_order_of_reports_only_moves_forward(stages: list[str]) -> None:
    command = a_command()
    for t_us, stage in enumerate(stages):
        before = command.state
        command.report(Report(t_us, stage, 77, "board_lost"))
        if before in (State.COMPLETED, State.FAILED):
            assert command.state is before
        elif command.state is not State.FAILED:
            assert ORDER.index(command.state) >= ORDER.index(before)
    moves = len(command.times_us) - 1
    assert moves + command.ignored_reports == len(stages)
    expected = next((REACHES[s] for s in stages if s in ("completed", "failed", "acceptance_failed")), None)
    if expected:
        assert command.state is expected
    else:
        assert command.state is max((REACHES[s] for s in stages), key=ORDER.index, default=State.SENT)


@pytest.mark.parametrize("order", list(itertools.permutations(["accepted", "started", "completed"])))
def test_a_command_completes_whatever_the_order(order: tuple[str, ...]) -> None:
    command = a_command([Report(i, stage, 77) for i, stage in enumerate(order)])
    assert command.completed().state is State.COMPLETED
    assert command.accepted() is command


def test_a_later_stage_stands_for_the_earlier_ones() -> None:
    assert a_command([Report(1, "completed", 77)]).accepted().state is State.COMPLETED


def test_a_repeated_report_is_counted() -> None:
    command = a_command([Report(i, s, 77) for i, s in enumerate(["accepted", "accepted", "started", "completed"])])
    assert command.completed().ignored_reports == 1


def test_a_timeout_is_not_the_end() -> None:
    command = a_command([])
    with pytest.raises(CommandTimeout, match=r"node_on node=3: not accepted within 5 s \(it is sent\)") as caught:
        command.accepted(within=5)
    assert caught.value.reason == "timeout"
    assert command.state is State.TIMED_OUT
    command.report(Report(9, "accepted", 77))
    assert command.state is State.ACCEPTED


def test_a_failure_names_its_reason() -> None:
    command = a_command([Report(1, "accepted", 77), Report(2, "failed", 77, "board lost", 3)])
    with pytest.raises(CommandFailed, match=r"node_on node=3: failed: board lost \(3\)") as caught:
        command.completed()
    assert (caught.value.reason, caught.value.detail) == ("board lost", 3)
    with pytest.raises(CommandFailed):
        command.accepted()


def test_stages_over_the_link(station: Station, satellite: Satellite) -> None:
    satellite.answers["node_on"] = Answer([(0.5, "accepted", ""), (2, "started", ""), (30, "completed", "")])
    command = station.send("node_on", node=3)
    assert command.state is State.SENT
    assert command.accepted(within=2).state is State.ACCEPTED
    assert command.started(within=5).state is State.STARTED
    with pytest.raises(CommandTimeout, match="not completed within 10 s"):
        command.completed(within=10)
    sent_s = command.times_us[State.SENT] / 1e6
    assert command.completed(within=60).times_us[State.COMPLETED] / 1e6 == sent_s + 30
    assert satellite.received == [("node_on", {"node": 3})]


def test_a_rejected_command_over_the_link(station: Station, satellite: Satellite) -> None:
    satellite.answers["job_cancel"] = Answer([(0.1, "acceptance_failed", "unknown_job")])
    with pytest.raises(CommandFailed, match=r"job_cancel job_id=9: failed: unknown job \(3\)"):
        station.send("job_cancel", job_id=9).accepted(within=5)


def test_reports_of_other_commands_do_not_matter(station: Station, satellite: Satellite) -> None:
    satellite.answers["ping"] = Answer([])
    silent, loud = station.send("ping"), station.send("node_off", node=1)
    loud.completed(within=5)
    assert silent.state is State.SENT


@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("node_onn", {}, r"unknown command 'node_onn': did you mean node_on\?"),
        ("fly", {}, "unknown command 'fly': expected ping "),
        ("node_on", {"nod": 1}, r"command node_on: unknown argument 'nod': did you mean node\?"),
        ("node_on", {}, "command node_on: field 'node' is missing"),
        ("node_on", {"node": 65536}, "node_on.node: 65536 is out of range, expected 0..65535"),
        ("node_on", {"node": "three"}, r"node='three': expected 0\.\.65535 or all"),
        ("set_mode", {"mode": "fast"}, r"mode='fast': expected safe\|nominal"),
        ("set_mode", {"mode": 7}, "7 is not in enum mode"),
        ("job_submit", {"workload": "none"}, "workload|missing"),
        ("parameter_set", {"soc_reserv": 0.4}, "did you mean soc_reserve"),
        ("parameter_set", {"soc_reserve": 2}, r"soc_reserve: 2 is out of range: expected 0\.1\.\.0\.9"),
        ("parameter_set", {"hold_s": 0}, r"hold_s: 0 is out of range: expected 1\.\.600 s"),
        ("parameter_set", {"hold_s": "x"}, "hold_s: 'x': expected a number"),
        ("parameter_set", {}, "count"),
        ("parameter_get", {"parameters": "nothing"}, "unknown parameter 'nothing'"),
    ],
)
def test_wrong_arguments_are_refused(name: str, arguments: dict[str, object], error: str) -> None:
    with pytest.raises(UsageError, match=error):
        encode(name, arguments)


def test_values_may_be_words() -> None:
    assert encode("node_on", {"node": "all"})[1] == icd.encode("node_on", node=65535)
    values = parse_words(
        "job_submit", ["job_id=0x10", "workload=training", "priority=2", "work_mu=9", "checkpoint_s=30"]
    )
    expected = icd.encode("job_submit", job_id=16, workload=1, priority=2, work_mu=9, checkpoint_s=30)
    assert encode("job_submit", values)[1] == expected
    two = [{"parameter": 22, "value": 0.4}, {"parameter": 41, "value": 20.0}]
    assert encode("parameter_set", {"soc_reserve": "0.4", "hold_s": 20})[1] == icd.encode("parameter_set", values=two)
    asked = encode("parameter_get", {"parameters": "soc_reserve,hold_s"})[1]
    assert asked == icd.encode("parameter_get", parameters=[22, 41])


@pytest.mark.parametrize("words", [["node"], ["=3"], ["node="]])
def test_words_without_a_value(words: list[str]) -> None:
    with pytest.raises(UsageError, match=r"expected name=value \(node_on node=0\.\.65535 or all\)"):
        parse_words("node_on", words)


def test_a_word_given_twice() -> None:
    with pytest.raises(UsageError, match="'node' is given twice"):
        parse_words("node_on", ["node=1", "node=2"])


def test_every_command_can_be_described() -> None:
    assert describe("set_mode") == "set_mode mode=safe|nominal"
    assert all(describe(name).startswith(name) for name in icd.COMMANDS)
