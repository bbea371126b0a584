"""Command dispatch: accepted, started, completed, or failed with a reason.

A command is checked as a whole, then journaled, then reported as accepted, then carried out. What was accepted and not
closed when the process died is carried out again at the next start (those that may be) or reported as interrupted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flight import icd
from flight.events import Events
from flight.icd import BoardStatus, Event, Failure, JobState, NodeState
from flight.job import ENDED, NO_NODE
from flight.jobs import JobQueue
from flight.loop import CLEAR_REFUSED, CLEAR_WANTED, FAULTS_MAX, PHASE_OFF, PHASE_UP, Loop
from flight.parameters import Parameters
from flight.storage import JournalEntry, Storage
from flight.telecommand import ACK_ACCEPT, ACK_COMPLETE, ACK_START, Telecommand, decode
from flight.telemetry import Telemetry

ALL = 65535
SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
_ON_TIMEOUT_US = 180 * MINUTE_US  # every node of a large satellite, a few at a time, through an eclipse
_OFF_TIMEOUT_US = 2 * MINUTE_US
_RESET_TIMEOUT_US = MINUTE_US
_MOVE_TIMEOUT_US = 2 * MINUTE_US
_AGAIN = ("set_mode", "node_on", "node_off", "job_submit", "job_cancel", "job_move", "parameter_set")
_POWER_BOARD, _NODE_BASE = int(icd.Address.POWER_BOARD), int(icd.Address.NODE_BASE)
Refusal = tuple[Failure, int]
GOOD: Refusal = (Failure.NONE, 0)


@dataclass(slots=True)
class Pending:
    """A command that is under way. done: completed, a reason to fail, or None to go on. give_up: what to do when it
    takes too long."""

    entry: JournalEntry
    deadline_us: int
    done: Callable[[], Refusal | None]
    give_up: Callable[[], None] = lambda: None


class Commands:
    """Everything that a telecommand may do. `retune` is called when parameters changed; `report` sends one
    housekeeping structure now."""

    def __init__(
        self,
        loop: Loop,
        jobs: JobQueue,
        parameters: Parameters,
        storage: Storage,
        telemetry: Telemetry,
        events: Events,
        retune: Callable[[], None],
        report: Callable[[int, int], None],
    ) -> None:
        self.accepted = 0
        self.rejected = 0
        self.wanted: set[int] = set()
        self._loop, self._jobs, self._parameters = loop, jobs, parameters
        self._storage, self._telemetry, self._events = storage, telemetry, events
        self._retune, self._report = retune, report
        self._pending: list[Pending] = []

    # ------------------------------------------------------------ stages
    def handle(self, tc: Telecommand, t_us: int) -> None:
        """Take one telecommand."""
        decoded = decode(tc)
        if isinstance(decoded, Failure):
            self._reject(tc, t_us, (decoded, tc.service << 8 | tc.subtype))
            return
        name, args = decoded
        refusal = self._check(name, args)
        if refusal[0] is not Failure.NONE:
            self._reject(tc, t_us, refusal)
            return
        entry = self._storage.accept(tc.request, tc.ack, name, args, t_us)
        if entry is None:
            self._reject(tc, t_us, (Failure.QUEUE_FULL, self._storage.failed))
            return
        self.accepted += 1
        self._stage("accepted", entry, t_us, ACK_ACCEPT)
        self._stage("started", entry, t_us, ACK_START)
        self._execute(entry, t_us)

    def recover(self, t_us: int) -> None:
        """After a restart: carry out or report what was accepted before."""
        for entry in self._storage.open_commands():
            if entry.name in _AGAIN and self._check(entry.name, entry.args, again=True)[0] is Failure.NONE:
                self._execute(entry, t_us)
            else:
                self._fail(entry, t_us, (Failure.INTERRUPTED, 0))

    def update(self, t_us: int) -> None:
        """Look at what is under way."""
        for pending in list(self._pending):
            result = pending.done()
            if result is None and t_us >= pending.deadline_us:
                result = (Failure.TIMEOUT, 0)
                pending.give_up()
            if result is None:
                continue
            self._pending.remove(pending)
            if result[0] is Failure.NONE:
                self._complete(pending.entry, t_us)
            else:
                self._fail(pending.entry, t_us, result)

    def _reject(self, tc: Telecommand, t_us: int, refusal: Refusal) -> None:
        self.rejected += 1
        reason, detail = refusal
        self._telemetry.emit("acceptance_failed", t_us, request=tc.request, reason=reason, detail=detail)
        self._events.tell(Event.COMMAND_REJECTED, t_us, int(reason), detail)

    def _stage(self, name: str, entry: JournalEntry, t_us: int, ack: int) -> None:
        if entry.ack & ack:
            self._telemetry.emit(name, t_us, request=entry.request)

    def _complete(self, entry: JournalEntry, t_us: int) -> None:
        self._storage.close_command(entry.id, "completed")
        self._stage("completed", entry, t_us, ACK_COMPLETE)

    def _fail(self, entry: JournalEntry, t_us: int, refusal: Refusal) -> None:
        reason, detail = refusal
        self._storage.close_command(entry.id, "failed", int(reason))
        self._telemetry.emit("failed", t_us, request=entry.request, reason=reason, detail=detail)

    # ------------------------------------------------------------ checks: nothing is changed yet
    def _check(self, name: str, args: dict[str, Any], again: bool = False) -> Refusal:
        if "node" in args and not self._is_node(args["node"], every=name in ("node_on", "node_off")):
            return Failure.UNKNOWN_NODE, args["node"]
        if name == "board_reset" and self._board(args["address"]) is None:
            return Failure.UNKNOWN_NODE, args["address"]
        if name == "job_submit" and not again:
            return self._check_job(args)
        if name == "job_move":
            return self._check_move(args["job_id"], args["node"])
        if name == "job_cancel" and not again and args["job_id"] not in self._jobs.jobs:
            return Failure.UNKNOWN_JOB, args["job_id"]
        if name == "parameter_set":
            return self._parameters.check((v["parameter"], v["value"]) for v in args["values"])
        if name == "parameter_get":
            unknown = [n for n in args["parameters"] if n not in self._parameters.values]
            return (Failure.UNKNOWN_PARAMETER, unknown[0]) if unknown else GOOD
        return GOOD

    def _check_job(self, args: dict[str, Any]) -> Refusal:
        job_id, nodes = args["job_id"], args["nodes"]
        if job_id in self._jobs.jobs:
            return Failure.DUPLICATE, job_id
        if nodes > min(self._loop.count, args["work_mu"]):
            return Failure.OUT_OF_RANGE, nodes
        return (Failure.QUEUE_FULL, job_id) if self._jobs.full else GOOD

    def _check_move(self, job_id: int, node: int) -> Refusal:
        job = self._jobs.jobs.get(job_id)
        if job is None or job.state in ENDED:
            return Failure.UNKNOWN_JOB, job_id
        if job.nodes > 1:
            return Failure.GANG, job_id
        return GOOD if self._loop.board_status(1 + node) != BoardStatus.REFUSED else (Failure.BOARD_REFUSED, node)

    def _is_node(self, node: int, every: bool) -> bool:
        return node < self._loop.count or (every and node == ALL)

    def _board(self, address: int) -> int | None:
        if address == _POWER_BOARD:
            return 0
        node = address - _NODE_BASE
        return 1 + node if 0 <= node < self._loop.count else None

    # ------------------------------------------------------------ carrying out
    def _execute(self, entry: JournalEntry, t_us: int) -> None:
        result = getattr(self, f"_do_{entry.name}")(entry, t_us)
        if isinstance(result, Pending):
            self._pending.append(result)
        elif result[0] is Failure.NONE:
            self._complete(entry, t_us)
        else:
            self._fail(entry, t_us, result)

    def _do_ping(self, entry: JournalEntry, t_us: int) -> Refusal:
        self._telemetry.emit("pong", t_us)
        return GOOD

    def _do_set_mode(self, entry: JournalEntry, t_us: int) -> Refusal:
        mode = entry.args["mode"]
        if not self._loop.set_mode(mode):
            return Failure.WRONG_MODE, mode
        self._storage.set_meta("commanded_safe", int(mode == icd.Mode.SAFE))
        return GOOD

    def _nodes_of(self, args: dict[str, Any]) -> list[int]:
        return list(range(self._loop.count)) if args["node"] == ALL else [args["node"]]

    def _want(self, nodes: list[int], on: bool) -> None:
        for node in nodes:
            self._loop.want(node, on)
            if on != (node in self.wanted):
                self._storage.set_wanted(node, on)
        self.wanted = self.wanted | set(nodes) if on else self.wanted - set(nodes)

    def _do_node_on(self, entry: JournalEntry, t_us: int) -> Pending:
        nodes = self._nodes_of(entry.args)
        self._want(nodes, True)
        return Pending(entry, t_us + _ON_TIMEOUT_US, lambda: self._all_on(nodes, len(nodes) > 1))

    def _all_on(self, nodes: list[int], every: bool) -> Refusal | None:
        waiting = False
        for node in nodes:
            n, status = self._loop.nodes[node], self._loop.board_status(1 + node)
            if node not in self.wanted:
                return Failure.INTERRUPTED, node
            if status == BoardStatus.REFUSED and not every:
                return Failure.BOARD_REFUSED, node
            if n.faults >= FAULTS_MAX:
                return Failure.BOARD_LOST, node
            up = n.phase == PHASE_UP and n.tlm.state in (NodeState.IDLE, NodeState.ACTIVE)
            gone = status in (BoardStatus.REFUSED, BoardStatus.LOST)
            waiting = waiting or not (up or (every and gone))
        return None if waiting else GOOD

    def _do_node_off(self, entry: JournalEntry, t_us: int) -> Pending:
        nodes = self._nodes_of(entry.args)
        self._want(nodes, False)
        return Pending(entry, t_us + _OFF_TIMEOUT_US, lambda: self._all_off(nodes))

    def _all_off(self, nodes: list[int]) -> Refusal | None:
        off = all(self._loop.nodes[n].phase == PHASE_OFF and not self._loop.nodes[n].mask for n in nodes)
        if any(n in self.wanted for n in nodes):
            return Failure.INTERRUPTED, next(n for n in nodes if n in self.wanted)
        return GOOD if off else None

    def _do_job_submit(self, entry: JournalEntry, t_us: int) -> Refusal:
        a = entry.args
        self._jobs.submit(
            a["job_id"], a["workload"], a["priority"], a["work_mu"], a["checkpoint_s"],
            nodes=a["nodes"], deadline_us=entry.t_us + a["deadline_s"] * SECOND_US if a["deadline_s"] else 0,
            checkpoint_cost_s=a["checkpoint_cost_s"],
            phases=tuple((phase["workload"], phase["work_mu"]) for phase in a["phases"]),
        )  # fmt: skip
        return GOOD

    def _do_job_cancel(self, entry: JournalEntry, t_us: int) -> Refusal:
        job_id = entry.args["job_id"]
        return GOOD if self._jobs.cancel(job_id) else (Failure.UNKNOWN_JOB, job_id)

    def _do_job_move(self, entry: JournalEntry, t_us: int) -> Pending:
        job_id, node = entry.args["job_id"], entry.args["node"]
        job = self._jobs.jobs[job_id]
        self._jobs.move(job_id, node)

        def done() -> Refusal | None:
            if job.state is JobState.DONE:
                return GOOD
            if job.node == node and job.target == NO_NODE and job.state is not JobState.STOPPING:
                return GOOD if job.state is JobState.RUNNING else None
            return None if job.target == node else (Failure.INTERRUPTED, node)

        return Pending(entry, t_us + _MOVE_TIMEOUT_US, done, lambda: self._jobs.forget_move(job_id))

    def _do_board_reset(self, entry: JournalEntry, t_us: int) -> Pending | Refusal:
        board = self._board(entry.args["address"])
        assert board is not None
        before = self._loop.boot_count(board)
        if not self._loop.reset_board(board):
            status = self._loop.board_status(board)
            reason = Failure.BOARD_REFUSED if status == BoardStatus.REFUSED else Failure.BOARD_LOST
            return reason, entry.args["address"]

        def done() -> Refusal | None:
            back = self._loop.board_status(board) == BoardStatus.READY and self._loop.boot_count(board) != before
            return GOOD if back else None

        return Pending(entry, t_us + _RESET_TIMEOUT_US, done)

    def _do_channel_clear(self, entry: JournalEntry, t_us: int) -> Pending | Refusal:
        node = entry.args["node"]
        if not self._loop.clear_channel(node):
            return Failure.BOARD_LOST, _POWER_BOARD

        def done() -> Refusal | None:
            clear = self._loop.nodes[node].clear
            if clear == CLEAR_REFUSED:
                lost = self._loop.board_status(0) == BoardStatus.LOST
                return Failure.BOARD_LOST if lost else Failure.BOARD_REFUSED, _POWER_BOARD
            return None if clear == CLEAR_WANTED else GOOD

        return Pending(entry, t_us + MINUTE_US, done)

    def _do_hk_request(self, entry: JournalEntry, t_us: int) -> Refusal:
        self._report(entry.args["structure"], t_us)
        return GOOD

    def _do_parameter_get(self, entry: JournalEntry, t_us: int) -> Refusal:
        values = [{"parameter": n, "value": self._parameters.values[n]} for n in entry.args["parameters"]]
        self._telemetry.emit("parameter_report", t_us, values=values)
        return GOOD

    def _do_parameter_set(self, entry: JournalEntry, t_us: int) -> Refusal:
        changed = self._parameters.set((v["parameter"], v["value"]) for v in entry.args["values"])
        for number, value in changed.items():
            self._storage.set_parameter(number, value)
            self._events.tell(Event.PARAMETER_CHANGED, t_us, number, round(value * 1000))
        self._retune()
        return GOOD
