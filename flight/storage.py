"""What must survive: one SQLite file in the storage directory.

Write-ahead log, synchronous=NORMAL: a transaction that `commit` has returned from survives the death of the process
at any instruction (kill -9); power lost within the last moments may cost the last transactions, never the file. Writes
of a cycle are collected and go in one transaction; when the disk refuses them they are kept and tried again.
"""

from __future__ import annotations

import errno
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flight.errors import StorageError
from flight.icd import JobState
from flight.job import Job

VERSION = 2
JOURNAL_KEPT = 1000
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE parameter (id INTEGER PRIMARY KEY, value REAL NOT NULL);
CREATE TABLE wanted (node INTEGER PRIMARY KEY);
CREATE TABLE command (
    id INTEGER PRIMARY KEY, request INTEGER NOT NULL, ack INTEGER NOT NULL, name TEXT NOT NULL, args TEXT NOT NULL,
    t_us INTEGER NOT NULL, stage TEXT NOT NULL, reason INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX command_open ON command (stage) WHERE stage = 'accepted';
CREATE TABLE job (
    job_id INTEGER PRIMARY KEY, workload INTEGER NOT NULL, priority INTEGER NOT NULL, total_mu INTEGER NOT NULL,
    checkpoint_s INTEGER NOT NULL, place INTEGER NOT NULL, nodes INTEGER NOT NULL, deadline_us INTEGER NOT NULL,
    checkpoint_cost_s INTEGER NOT NULL, state INTEGER NOT NULL, restarts INTEGER NOT NULL, late INTEGER NOT NULL,
    members TEXT NOT NULL, -- JSON: node and checkpoint_mu of each
    phases TEXT NOT NULL -- JSON: workload and work_mu of each
);
"""
_FROM_1 = f"""
ALTER TABLE job RENAME TO old_job;
{_SCHEMA[_SCHEMA.index("CREATE TABLE job") :]}
INSERT INTO job SELECT job_id, workload, priority, total_mu, checkpoint_s, place, 1, 0, 0, state, restarts, 0,
    json_array(json_array(node, checkpoint_mu)), '[]' FROM old_job;
DROP TABLE old_job;
"""
_DUMPED = (("meta", ""), ("parameter", ""), ("wanted", ""), ("command", "WHERE stage = 'accepted'"), ("job", ""))
_JOB = "INSERT OR REPLACE INTO job VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """A command that was accepted. id: place in the journal."""

    id: int
    request: int
    ack: int
    name: str
    args: dict[str, Any]
    t_us: int


class Storage:
    """Raises `StorageError` when the directory cannot be used, or is in use by another flight."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "flight.sqlite"
        self.failed: int = 0
        """errno of the last transaction that failed; 0 when the last one succeeded."""
        self._pending: dict[tuple[str, int | str], tuple[str, tuple[Any, ...]]] = {}  # the last write to each row
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.path, timeout=0, isolation_level=None, check_same_thread=False)
            try:
                self._open()
            except BaseException:
                self._db.close()
                raise
        except OSError as error:
            raise StorageError(f"storage {directory}: {error.strerror or error}") from None
        except sqlite3.Error as error:
            raise StorageError(f"storage {self.path}: {_why(error)}") from None

    def _open(self) -> None:
        self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version not in range(VERSION + 1):
            raise StorageError(f"storage {self.path}: version {version}, expected {VERSION}")
        if version < VERSION:
            script = _SCHEMA if version == 0 else _FROM_1
            self._db.executescript(f"BEGIN; {script} PRAGMA user_version = {VERSION}; COMMIT;")
        self._db.execute("BEGIN IMMEDIATE")  # takes the lock now, so that a second flight is refused now
        self._db.execute("COMMIT")

    def close(self) -> None:
        """Close the file. May be called twice."""
        self._db.close()

    # ------------------------------------------------------------ reading, at the start
    def meta(self, key: str, default: int = 0) -> int:
        """A single number by its name."""
        rows = self._rows("SELECT value FROM meta WHERE key = ?", key)
        return int(rows[0][0]) if rows else default

    def parameters(self) -> dict[int, float]:
        """Stored parameters by id."""
        return dict(self._rows("SELECT id, value FROM parameter"))

    def wanted(self) -> list[int]:
        """Nodes that were commanded on."""
        return [node for (node,) in self._rows("SELECT node FROM wanted ORDER BY node")]

    def jobs(self) -> list[Job]:
        """Every job, in the order of submission."""
        jobs = []
        for row in self._rows("SELECT * FROM job ORDER BY place"):
            *fixed, state, restarts, late, members, phases = row
            job = Job(*fixed)
            job.phases = tuple((workload, work_mu) for workload, work_mu in json.loads(phases))
            job.state, job.restarts, job.late = JobState(state), restarts, bool(late)
            for member, (node, checkpoint_mu) in zip(job.members, json.loads(members), strict=True):
                member.node, member.checkpoint_mu, member.progress_mu = node, checkpoint_mu, checkpoint_mu
            jobs.append(job)
        return jobs

    def open_commands(self) -> Iterator[JournalEntry]:
        """Commands that were accepted and not yet closed, oldest first."""
        rows = self._rows("SELECT id, request, ack, name, args, t_us FROM command WHERE stage = 'accepted' ORDER BY id")
        for number, request, ack, name, args, t_us in rows:
            yield JournalEntry(number, request, ack, name, json.loads(args), t_us)

    def dump(self) -> dict[str, list[list[Any]]]:
        """Everything that a flight reads at its start: rows by table, for `restore`."""
        return {name: [list(row) for row in self._rows(f"SELECT * FROM {name} {which}")] for name, which in _DUMPED}

    def restore(self, content: dict[str, list[list[Any]]]) -> None:
        """Take what another storage has dumped, into an empty one. Raises `StorageError` for what is no dump."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for name, _ in _DUMPED:
                for row in content[name]:
                    self._db.execute(f"INSERT INTO {name} VALUES ({', '.join('?' * len(row))})", row)
            self._db.execute("COMMIT")
        except (sqlite3.Error, KeyError, TypeError) as error:
            raise StorageError(f"storage {self.path}: cannot be restored: {error}") from None

    def _rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise StorageError(f"storage {self.path}: cannot be read: {_why(error)}") from None

    # ------------------------------------------------------------ writing
    def accept(self, request: int, ack: int, name: str, args: dict[str, Any], t_us: int) -> JournalEntry | None:
        """Journal a command at once, in a transaction of its own; None (and `failed`) when that is not possible."""
        try:
            cursor = self._db.execute(
                "INSERT INTO command (request, ack, name, args, t_us, stage) VALUES (?, ?, ?, ?, ?, 'accepted')",
                (request, ack, name, json.dumps(args), t_us),
            )
        except sqlite3.Error as error:
            self.failed = _errno(error)
            return None
        return JournalEntry(int(cursor.lastrowid or 0), request, ack, name, args, t_us)

    def close_command(self, number: int, stage: str, reason: int = 0) -> None:
        """Note how a command ended: 'completed' or 'failed'."""
        self._put("command", number, "UPDATE command SET stage = ?, reason = ? WHERE id = ?", stage, reason, number)
        old = "DELETE FROM command WHERE stage != 'accepted' AND id <= ?"
        self._put("command", "old", old, number - JOURNAL_KEPT)

    def set_meta(self, key: str, value: int) -> None:
        """Note a number by its name."""
        self._put("meta", key, "INSERT OR REPLACE INTO meta VALUES (?, ?)", key, value)

    def set_parameter(self, number: int, value: float) -> None:
        """Note a parameter."""
        self._put("parameter", number, "INSERT OR REPLACE INTO parameter VALUES (?, ?)", number, value)

    def set_wanted(self, node: int, on: bool) -> None:
        """Note whether a node is commanded on."""
        sql = "INSERT OR REPLACE INTO wanted VALUES (?)" if on else "DELETE FROM wanted WHERE node = ?"
        self._put("wanted", node, sql, node)

    def set_job(self, j: Job) -> None:
        """Note a job."""
        fixed = (j.job_id, j.workload, j.priority, j.total_mu, j.checkpoint_s, j.order)
        more = (j.nodes, j.deadline_us, j.checkpoint_cost_s, int(j.state), j.restarts, int(j.late))
        members = json.dumps([(m.node, m.checkpoint_mu) for m in j.members])
        self._put("job", j.job_id, _JOB, *fixed, *more, members, json.dumps(j.phases))

    def _put(self, table: str, row: int | str, sql: str, *values: Any) -> None:
        self._pending[table, row] = (sql, values)

    def commit(self) -> bool:
        """Write everything noted since the last commit, as one transaction. False (and `failed`): kept for later."""
        if not self._pending:
            return True
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for sql, values in self._pending.values():
                self._db.execute(sql, values)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            self.failed = _errno(error)
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            return False
        self._pending.clear()
        self.failed = 0
        return True


def _errno(error: sqlite3.Error) -> int:
    full = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
    return errno.ENOSPC if full else errno.EIO


def _why(error: sqlite3.Error) -> str:
    text = str(error)
    if "locked" in text:
        return "in use by another flight"
    if "not a database" in text:
        return "not a storage of flight (not an SQLite database)"
    return text
