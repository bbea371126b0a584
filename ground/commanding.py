"""Telecommands: their arguments, checked against the ICD before anything is sent, and the stages of each one sent."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any

from ground import icd
from ground.errors import CommandFailed, CommandTimeout, UsageError
from ground.telemetry import Report

ALL = 0xFFFF  # of a node argument
STAGE_WITHIN_S = 10.0  # default deadline of acceptance and start
COMPLETED_WITHIN_S = 120.0


class State(Enum):
    """Where a command stands."""

    SENT = "sent"
    ACCEPTED = "accepted"
    STARTED = "started"
    COMPLETED = "completed"
    FAILED = "failed"
    TIMED_OUT = "timed out"  # of a stage; a later report still moves it on


_ORDER = [State.SENT, State.ACCEPTED, State.STARTED, State.COMPLETED]
_STATE_OF_REPORT = {
    "accepted": State.ACCEPTED,
    "started": State.STARTED,
    "completed": State.COMPLETED,
    "acceptance_failed": State.FAILED,
    "failed": State.FAILED,
}


class Command:
    """One telecommand and what became of it. Its waits are in simulated time.

    `state` moves along sent, accepted, started, completed, or ends in failed; a later stage implies the earlier ones
    (a lost report does not stop it), a repeated or late report changes nothing and is counted in `ignored_reports`.
    """

    def __init__(
        self,
        name: str,
        arguments: dict[str, Any],
        request: int,
        t_us: int,
        wait: Callable[[Callable[[], bool], float], bool],
    ) -> None:
        self.name = name
        self.arguments = arguments
        self.request = request
        self.t_us = t_us
        self.state = State.SENT
        self.reached = State.SENT  # the last stage that the satellite itself reported
        self.reason = "none"
        self.detail = 0
        self.times_us: dict[State, int] = {State.SENT: t_us}
        self.ignored_reports = 0
        self._wait = wait

    def __repr__(self) -> str:
        return f"<{self.text}: {self.state.value}>"

    @property
    def text(self) -> str:
        """The command as one types it: node_on node=3."""
        return " ".join([self.name, *(f"{name}={value}" for name, value in self.arguments.items())])

    @property
    def ended(self) -> bool:
        """Whether no report can follow."""
        return self.reached in (State.COMPLETED, State.FAILED)

    def report(self, report: Report) -> None:
        """Takes a verification report of this command."""
        state = _STATE_OF_REPORT[report.stage]
        if self.ended or (state in _ORDER and _ORDER.index(state) <= _ORDER.index(self.reached)):
            self.ignored_reports += 1
            return
        self.state = self.reached = state
        self.times_us[state] = report.t_us
        if state is State.FAILED:
            self.reason, self.detail = report.reason, report.detail

    def accepted(self, within: float = STAGE_WITHIN_S) -> Command:
        """Waits until the satellite accepted it; within is simulated seconds. Raises CommandFailed, CommandTimeout."""
        return self._reach(State.ACCEPTED, within)

    def started(self, within: float = STAGE_WITHIN_S) -> Command:
        """Waits until its execution started. Raises CommandFailed, CommandTimeout."""
        return self._reach(State.STARTED, within)

    def completed(self, within: float = COMPLETED_WITHIN_S) -> Command:
        """Waits until it is done. Raises CommandFailed, CommandTimeout."""
        return self._reach(State.COMPLETED, within)

    def _reach(self, stage: State, within: float) -> Command:
        def reached() -> bool:
            return self.reached is State.FAILED or _ORDER.index(self.reached) >= _ORDER.index(stage)

        if not self._wait(reached, within):
            self.state = State.TIMED_OUT
            raise CommandTimeout(f"{self.text}: not {stage.value} within {within:g} s (it is {self.reached.value})")
        if self.reached is State.FAILED:
            raise CommandFailed(f"{self.text}: failed: {self._failure()}", self.reason, self.detail)
        return self

    def _failure(self) -> str:
        return f"{self.reason} ({self.detail})" if self.detail else self.reason


def encode(name: str, values: dict[str, Any]) -> tuple[icd.Message, bytes]:
    """The ICD entry and the application data of a command from named values.

    Values may be names of enum values ("training"), of parameters, or "all" for a node. parameter_set takes parameters
    by name: parameter_set(soc_reserve=0.4); phases are workload:work_mu, by commas. Raises UsageError: unknown command
    or argument, missing or out of range.
    """
    message = icd.COMMANDS.get(name)
    if message is None:
        raise UsageError(_unknown("command", name, icd.COMMANDS))
    if name == "parameter_set" and "values" not in values:
        values = {"values": [{"parameter": _parameter(n), "value": _number(n, v)} for n, v in values.items()]}
        _check_parameters(values["values"])
    elif name == "parameter_get":
        listed = values.get("parameters", [])
        listed = listed.split(",") if isinstance(listed, str) else listed
        values = {**values, "parameters": [_parameter(item) for item in listed]}
    else:
        values = {n: _phases(v) if n == "phases" else _value(message, n, v) for n, v in values.items()}
    try:
        return message, icd.encode(name, **values)
    except icd.IcdError as error:
        raise UsageError(f"command {error}") from None


def _phases(value: Any) -> Any:
    """prefill:200000,decode:800000 as the records of job_submit."""
    if not isinstance(value, str):
        return value
    phases = []
    for item in filter(None, value.split(",")):
        workload, _, work = item.partition(":")
        if workload.upper() not in icd.Workload.__members__ or not work.isdecimal():
            raise UsageError(f"phase '{item}': expected WORKLOAD:WORK_MU, such as decode:800000")
        phases.append({"workload": int(icd.Workload[workload.upper()]), "work_mu": int(work)})
    return phases


def parse_words(name: str, arguments: Iterable[str]) -> dict[str, str]:
    """Splits key=value words of a command line. Raises UsageError."""
    values: dict[str, str] = {}
    for word in arguments:
        key, equals, value = word.partition("=")
        if not equals or not key or not value:
            raise UsageError(f"command {name}: argument {word!r}: expected name=value{_arguments_of(name)}")
        if key in values:
            raise UsageError(f"command {name}: argument {key!r} is given twice")
        values[key] = value
    return values


def describe(name: str) -> str:
    """A command and its arguments with units and ranges, in one line."""
    message = icd.COMMANDS[name]
    if name == "parameter_set":
        return f"{name} PARAMETER=VALUE ..."
    if name == "parameter_get":
        return f"{name} parameters=NAME,NAME,..."
    counts = {f.count_field for f in message.fields}
    return " ".join([name, *(_argument(f) for f in message.fields if f.name not in counts)])


def _argument(field: icd.Field) -> str:
    if field.name == "phases":
        return "[phases=WORKLOAD:WORK_MU,...]"
    text = f"{field.name}={_range(field)}"
    return text if field.default is None else f"[{text}]"


def _value(message: icd.Message, name: str, value: Any) -> Any:
    field = next((f for f in message.fields if f.name == name), None)
    if field is None:
        names = [f.name for f in message.fields]
        raise UsageError(f"command {message.name}: {_unknown('argument', name, names)}")
    if not isinstance(value, str):
        return value
    if field.name == "node" and value == "all":
        return ALL
    if field.enum and value.upper() in icd.ENUMS[field.enum].__members__:
        return int(icd.ENUMS[field.enum][value.upper()])
    try:
        return int(value, 0)
    except ValueError:
        raise UsageError(f"command {message.name}: {name}={value!r}: expected {_range(field)}") from None


def _range(field: icd.Field) -> str:
    if field.enum and field.enum not in icd.OPEN_ENUMS:
        low, high = field.min, field.max
        names = [
            str(m.name).lower()
            for m in icd.ENUMS[field.enum]
            if (low is None or m >= low) and (high is None or m <= high)
        ]
        return "|".join(names)
    bits = int(field.type[1:])
    low = field.min if field.min is not None else 0
    high = field.max if field.max is not None else (1 << bits) - 1
    unit = f" {field.unit}" if field.unit else ""
    return f"{low:.0f}..{high:.0f}{unit}" + (" or all" if field.name == "node" and "all" in field.doc else "")


def _parameter(name: str | int) -> int:
    if isinstance(name, int):
        return name
    if name not in icd.PARAMETERS:
        raise UsageError(_unknown("parameter", name, icd.PARAMETERS))
    return int(icd.PARAMETERS[name].id)


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise UsageError(f"parameter {name}: {value!r}: expected a number") from None


def _check_parameters(values: list[dict[str, Any]]) -> None:
    by_id = {p.id: p for p in icd.PARAMETERS.values()}
    for item in values:
        info = by_id[item["parameter"]]
        if not info.min <= item["value"] <= info.max:
            unit = "" if info.unit == "1" else f" {info.unit}"
            raise UsageError(
                f"parameter {info.name}: {item['value']:g} is out of range: expected {info.min:g}..{info.max:g}{unit}"
            )


def _arguments_of(name: str) -> str:
    return f" ({describe(name)})" if name in icd.COMMANDS else ""


def _unknown(kind: str, name: str, known: Iterable[str]) -> str:
    known = list(known)
    close = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {close[0]}?" if close else f"expected {' '.join(known) or 'none'}"
    return f"unknown {kind} {name!r}: {hint}"
