"""Command stages, parameters all or nothing, the journal, and what a second process finds of them."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import struct
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flight import icd
from flight.errors import StorageError
from flight.icd import Failure, JobState
from flight.job import NO_NODE
from flight.parameters import Parameters
from flight.storage import Storage
from flight.telecommand import Telecommand, from_timeline
from hal.icd import AckCode
from tests.flight.conftest import command
from tests.flight.fake import FakePort

GOOD = ["accepted", "started", "completed"]
WORK = {"job_id": 9, "workload": 1, "priority": 1, "work_mu": 900_000_000, "checkpoint_s": 5}


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("ping", {}),
        ("set_mode", {"mode": 0}),
        ("job_submit", {"job_id": 9, "workload": 1, "priority": 1, "work_mu": 5, "checkpoint_s": 1}),
        ("hk_request", {"structure": 4}),
        ("parameter_get", {"parameters": [1, 41]}),
        ("parameter_set", {"values": [{"parameter": 41, "value": 5.0}]}),
    ],
)
def test_stages_of_what_is_done_at_once(fly, name, args):
    flown = fly()
    flown.run(2)
    flown.command(name, **args)
    flown.run(1)
    assert flown.reports() == GOOD


def test_stages_of_what_takes_time(fly):
    flown = fly()
    flown.command("node_on", node=2)
    flown.run(8)
    assert flown.reports() == GOOD[:2]
    flown.run(20)
    assert flown.reports() == GOOD
    flown.command("node_off", 2, node=2)
    flown.run(5)
    assert flown.reports(2) == GOOD
    assert flown.port.nodes[2].state == 0
    assert not flown.port.nodes[2].channel_on


def test_a_board_is_reset_and_comes_back(fly):
    flown = fly()
    flown.run(5)

    def execute(name, values, node=flown.port.nodes[1]):
        if name == "reset":
            node.boot_count += 1
            node.seq = 0
            node.hello()
        return 0

    flown.port.nodes[1].execute = execute
    flown.command("board_reset", address=257)
    flown.run(10)
    assert flown.reports() == GOOD


@pytest.mark.parametrize(
    ("telecommand", "reason"),
    [
        (Telecommand(1, 100, 8, 1, 11, b"\x63"), Failure.UNKNOWN_COMMAND),
        (Telecommand(1, 100, 200, 1, 11, b""), Failure.UNKNOWN_COMMAND),
        (Telecommand(1, 100, 8, 1, 11, b"\x02\x00"), Failure.BAD_LENGTH),
        (Telecommand(1, 100, 8, 1, 11, b"\x01\x07"), Failure.OUT_OF_RANGE),
        (command("node_on", node=16), Failure.UNKNOWN_NODE),
        (command("board_reset", address=5), Failure.UNKNOWN_NODE),
        (command("channel_clear", node=65535), Failure.UNKNOWN_NODE),
        (command("job_cancel", job_id=77), Failure.UNKNOWN_JOB),
        (command("job_move", job_id=77, node=1), Failure.UNKNOWN_JOB),
        (command("job_move", job_id=77, node=16), Failure.UNKNOWN_NODE),
        (command("job_submit", **WORK | {"nodes": 17}), Failure.OUT_OF_RANGE),
        (command("job_submit", **WORK | {"work_mu": 3, "nodes": 4}), Failure.OUT_OF_RANGE),
        (command("parameter_set", values=[{"parameter": 999, "value": 1.0}]), Failure.UNKNOWN_PARAMETER),
        (command("parameter_set", values=[{"parameter": 41, "value": 0.0}]), Failure.OUT_OF_RANGE),
        (command("parameter_get", parameters=[999]), Failure.UNKNOWN_PARAMETER),
    ],
)
def test_what_is_not_accepted_changes_nothing(fly, telecommand, reason):
    flown = fly()
    flown.run(2)
    flown.executive.commands.handle(telecommand, flown.port.t_us)
    flown.run(1)
    assert flown.reports() == ["acceptance_failed"]
    assert flown.last("acceptance_failed")["reason"] == reason
    assert flown.executive.commands.accepted == 0
    assert list(flown.executive.storage.open_commands()) == []


def test_a_second_job_of_the_same_id_is_a_duplicate(fly):
    flown = fly()
    job = {"job_id": 9, "workload": 1, "priority": 1, "work_mu": 5, "checkpoint_s": 1}
    flown.command("job_submit", **job)
    flown.command("job_submit", 2, **job)
    flown.run(1)
    assert flown.reports(2) == ["acceptance_failed"]


def test_a_job_is_moved_from_ground(fly):
    flown = fly()
    flown.run(5)
    flown.command("node_on", 1, node=1)
    flown.command("node_on", 2, node=2)
    flown.command("job_submit", 3, **WORK)
    flown.run(120)
    job = flown.executive.jobs.jobs[9]
    assert (job.state, job.node) == (JobState.RUNNING, 1)
    done_mu = flown.port.nodes[1].progress
    flown.command("job_move", 4, job_id=9, node=2)
    flown.run(10)
    assert flown.reports(4) == GOOD
    assert (job.state, job.node, job.restarts) == (JobState.RUNNING, 2, 0)
    assert flown.port.nodes[2].job["start_mu"] >= int(done_mu)
    assert flown.port.nodes[1].job is None
    assert flown.executive.jobs.work_mu == job.credit_mu >= int(done_mu)


def test_a_move_to_a_node_that_does_not_come_up_fails_and_the_job_stays(fly):
    flown = fly()
    flown.run(5)
    flown.command("node_on", 1, node=1)
    flown.command("job_submit", 3, **WORK)
    flown.run(120)
    flown.command("job_move", 4, job_id=9, node=2)
    flown.run(130)
    assert flown.reports(4) == ["accepted", "started", "failed"]
    assert flown.last("failed")["reason"] == Failure.TIMEOUT
    job = flown.executive.jobs.jobs[9]
    assert (job.state, job.node, job.target) == (JobState.RUNNING, 1, NO_NODE)


def test_a_gang_is_told_as_one_and_not_moved(fly):
    flown = fly()
    flown.run(5)
    flown.command("node_on", 1, node=65535)
    flown.command("job_submit", 2, **WORK | {"nodes": 3, "deadline_s": 60, "checkpoint_cost_s": 2})
    flown.command("job_move", 3, job_id=9, node=2)
    flown.run(120)
    assert flown.reports(3) == ["acceptance_failed"]
    assert flown.last("acceptance_failed")["reason"] == Failure.GANG
    at_work = [n for n in flown.port.nodes if n.job is not None]
    assert [n.job["total_mu"] for n in at_work] == [300_000_000] * 3
    (row,) = flown.last("hk_jobs")["jobs"]
    assert (row["nodes"], row["deadline_s"], row["total_mu"]) == (3, 65, 900_000_000)
    assert 0 < row["checkpoint_mu"] <= row["progress_mu"] <= sum(n.progress for n in at_work)
    late = [(e.arg0, e.t_us) for e in flown.told(icd.Event.JOB_LATE)]
    assert [job_id for job_id, _ in late] == [9]
    assert late[0][1] >= 65_000_000


@pytest.mark.parametrize("how", ["done", "refused", "lost"])
def test_a_channel_is_released_only_when_the_power_board_says_so(fly, how):
    flown = fly()
    flown.run(15)
    power = flown.port.power
    if how == "refused":
        takes = power.execute
        power.execute = lambda name, values: (
            int(AckCode.OUT_OF_RANGE) if name == "channel_clear" else takes(name, values)
        )
    elif how == "lost":
        power.alive = False
    flown.command("channel_clear", node=3)
    flown.run(5)
    report = "completed" if how == "done" else "failed"
    assert flown.reports() == ["accepted", "started", report]
    if how != "done":
        reason = Failure.BOARD_LOST if how == "lost" else Failure.BOARD_REFUSED
        assert flown.last("failed")["reason"] == reason


def test_nominal_is_refused_while_the_power_board_is_silent(fly):
    port = FakePort()
    port.power.silent = True
    flown = fly(port)
    flown.run(2)
    flown.command("set_mode", mode=1)
    flown.run(1)
    assert flown.reports() == ["accepted", "started", "failed"]
    assert flown.last("failed")["reason"] == Failure.WRONG_MODE


# ------------------------------------------------------------------ parameters
values = st.lists(
    st.tuples(
        st.sampled_from([p.id for p in icd.PARAMETERS.values()] + [0, 500]),
        st.one_of(st.floats(-10, 4000), st.floats(allow_nan=True)),
    ),
    max_size=6,
)


@given(values)
def test_parameters_all_or_nothing(changes):
    parameters = Parameters()
    before = dict(parameters.values)
    info = {p.id: p for p in icd.PARAMETERS.values()}
    legal = all(n in info and info[n].min <= v <= info[n].max for n, v in changes)
    reason, _ = parameters.check(changes)
    assert (reason is Failure.NONE) == legal
    assert parameters.values == before
    if legal:
        parameters.set(changes)
        assert parameters.values == before | dict(changes)


def test_one_value_out_of_range_refuses_the_whole_command(fly):
    flown = fly()
    flown.command("parameter_set", values=[{"parameter": 41, "value": 7.0}, {"parameter": 20, "value": 3.0}])
    flown.run(1)
    assert flown.last("acceptance_failed")["detail"] == 20
    assert flown.executive.parameters.get("hold_s") == 10


# ------------------------------------------------------------------ kill -9
CHILD = """
    import os, signal, sys
    from pathlib import Path
    from tests.flight.conftest import Flown, command
    from tests.flight.fake import FakePort
    flown = Flown(FakePort(), Path(sys.argv[1]))
    flown.run(15)
    flown.command("parameter_set", 1, values=[{"parameter": 41, "value": 7.0}, {"parameter": 20, "value": 0.9}])
    flown.command("job_submit", 2, job_id=9, workload=1, priority=1, work_mu=500_000, checkpoint_s=1)
    flown.command("node_on", 3, node=4)
    flown.command("board_reset", 4, address=258)
    if sys.argv[2] == "stored":
        flown.run(1)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("when", ["stored", "accepted"])
def test_what_was_accepted_before_kill_9_is_completed_or_reported(fly, tmp_path, when):
    """`accepted`: the journal is all that was written when the process died."""
    storage = tmp_path / "storage"
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CHILD), str(storage), when], check=False, cwd=Path.cwd(),
        env=os.environ | {"PYTHONPATH": os.getcwd()}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    flown = fly(FakePort(at_us=60_000_000), storage)
    flown.run(60)
    assert flown.executive.boot_count == 2
    assert flown.executive.parameters.get("hold_s") == 7
    assert flown.executive.parameters.get("budget_margin") == 0.9
    assert flown.port.nodes[4].state in (2, 3)
    assert flown.executive.jobs.jobs[9].total_mu == 500_000
    assert flown.reports(3) == ["completed"]
    assert flown.reports(4) in (["failed"], []) if when == "stored" else flown.reports(4) == ["failed"]
    assert list(flown.executive.storage.open_commands()) == []


def test_stored_parameters_that_are_none_now_are_told_of_and_left_at_their_defaults(fly, tmp_path):
    storage = Storage(tmp_path / "storage")
    storage.set_parameter(41, 1e9)
    storage.set_parameter(20, 0.9)
    storage.set_parameter(999, 3)
    storage.commit()
    storage.close()
    flown = fly()
    flown.run(1)
    assert flown.executive.parameters.get("hold_s") == 10
    assert flown.executive.parameters.get("budget_margin") == 0.9
    events = [icd.decode("event_report", data) for service, _, data in flown.packets() if service == 5]
    changed = [(e["arg0"], e["arg1"]) for e in events if e["event"] == icd.Event.PARAMETER_CHANGED]
    assert changed == [(41, 10_000), (999, 0)]


def test_a_storage_in_use_is_one_clear_error(fly, tmp_path):
    fly()
    with pytest.raises(StorageError, match="in use by another flight"):
        Storage(tmp_path / "storage")


def test_a_storage_that_is_none_is_one_clear_error(tmp_path):
    (tmp_path / "flight.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(StorageError, match="not an SQLite database"):
        Storage(tmp_path)
    with sqlite3.connect(tmp_path / "other.sqlite") as other:
        other.execute("PRAGMA user_version = 2")
    other.close()
    (tmp_path / "other.sqlite").replace(tmp_path / "flight.sqlite")
    storage = Storage(tmp_path)
    with pytest.raises(StorageError, match="cannot be read: no such table: meta"):
        storage.meta("boot_count")
    storage.close()
    with pytest.raises(StorageError, match="Not a directory"):
        Storage(tmp_path / "flight.sqlite" / "below")


def test_a_storage_of_the_version_before_is_taken_over(tmp_path):
    """Jobs of one node without deadlines, in the table that version 1 had; cut off on the way it stays what it was."""
    with sqlite3.connect(tmp_path / "flight.sqlite") as old:
        old.execute(
            "CREATE TABLE job (job_id INTEGER PRIMARY KEY, workload INTEGER NOT NULL, priority INTEGER NOT NULL,"
            " total_mu INTEGER NOT NULL, checkpoint_s INTEGER NOT NULL, place INTEGER NOT NULL, state INTEGER NOT NULL,"
            " node INTEGER NOT NULL, checkpoint_mu INTEGER NOT NULL, restarts INTEGER NOT NULL)"
        )
        old.execute("INSERT INTO job VALUES (7, 2, 5, 900, 30, 0, 2, 3, 400, 1), (9, 1, 5, 10, 30, 1, 3, 65535, 10, 0)")
        old.execute("CREATE TABLE old_job (a)")
        old.execute("PRAGMA user_version = 1")
    with pytest.raises(StorageError, match="old_job"):
        Storage(tmp_path)
    old.execute("DROP TABLE old_job")
    old.close()
    storage = Storage(tmp_path)
    first, second = storage.jobs()
    assert (first.job_id, first.state, first.node, first.credit_mu, first.restarts) == (7, JobState.RUNNING, 3, 400, 1)
    assert (second.state, second.node, second.credit_mu, second.deadline_us) == (JobState.DONE, NO_NODE, 10, 0)
    storage.close()
    again = Storage(tmp_path)
    assert [job.job_id for job in again.jobs()] == [7, 9]
    again.close()


class Full:
    """A database whose disk is full from some moment on."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db, self.full = db, False

    def __getattr__(self, name):
        return getattr(self._db, name)

    def execute(self, sql, *args):
        if self.full and sql.startswith(("INSERT", "UPDATE", "DELETE", "BEGIN")):
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        return self._db.execute(sql, *args)


def test_a_full_disk_is_an_event_and_commands_are_refused_until_it_is_not(fly):
    flown = fly()
    flown.run(2)
    disk = flown.executive.storage._db = Full(flown.executive.storage._db)
    disk.full = True
    flown.executive.storage.set_meta("something", 1)
    flown.command("node_on", node=1)
    flown.run(3)
    assert flown.reports() == ["acceptance_failed"]
    assert [e.arg0 for e in flown.told(icd.Event.STORAGE_FAILED)] == [errno.ENOSPC]
    disk.full = False
    flown.command("node_on", 2, node=1)
    flown.run(3)
    assert flown.reports(2) == GOOD[:2]
    assert flown.executive.storage.meta("something") == 1


def test_timeline_names_enums_and_refuses_what_the_icd_does_not_know():
    job = {"job_id": 1, "workload": "decode", "priority": 1, "work_mu": 5, "checkpoint_s": 1}
    telecommand = from_timeline("job_submit", job, 0)
    assert telecommand.data == struct.pack(">BIBBIHBIHB", 4, 1, 3, 1, 5, 1, 1, 0, 0, 0)
    many = from_timeline("parameter_set", {"values": [{"parameter": "hold_s", "value": 4}]}, 0)
    assert many.data == struct.pack(">BHd", 1, 41, 4.0)
    with pytest.raises(icd.IcdError, match="unknown command 'node_maybe'"):
        from_timeline("node_maybe", {}, 0)
    with pytest.raises(icd.IcdError, match="'dreaming' is not in enum workload"):
        from_timeline("job_submit", job | {"workload": "dreaming"}, 0)
    with pytest.raises(icd.IcdError, match="no field 'nodes'"):
        from_timeline("node_on", {"nodes": 3}, 0)
