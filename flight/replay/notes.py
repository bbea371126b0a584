"""What flight adds to a tape beside its steps: its other inputs, its telemetry, and checks of its state."""

from __future__ import annotations

import json
import zlib
from enum import IntEnum
from typing import Any

from flight._native import ffi
from flight.executive import Executive


class Note(IntEnum):
    """Kinds of records (hal.tape). Bodies are JSON objects, but for telemetry.

    Inputs carry `t_us` and `slow`: whether the slow rate group of that tick took them, or what comes after it.
    """

    START = 16
    """t_us, storage (flight.storage dump), icd_hash, timeline (whether the rig's is flown)"""
    COMMANDS = 17
    """commands: [request, apid, service, subtype, ack, data in hex] each; skipped: bytes that were no command so far"""
    MEASURED = 18
    """what goes into hk_flight: fast_us, slow_us, slips, late_ticks, dropped"""
    SLIP = 19
    """us that a rate group took, above its period"""
    STORAGE = 20
    """what: "accept" (this command was not journaled) or "commit" (from here on); errno, 0: commits succeed again"""
    CHECK = 21
    """state: numbers (`state`), between a step and what follows it"""
    TELEMETRY = 22
    """whole space packets"""
    END = 23
    """state, at the end of a flight that ended in order; world_ended: there were no more ticks, else it was stopped"""


_KEYS: dict[Note, dict[str, type]] = {
    Note.START: {"storage": dict, "timeline": bool, "icd_hash": str},
    Note.COMMANDS: {"commands": list, "skipped": int},
    Note.MEASURED: {"fast_us": int, "slow_us": int, "slips": int, "late_ticks": int, "dropped": int},
    Note.SLIP: {"us": int},
    Note.STORAGE: {"what": str, "errno": int},
    Note.CHECK: {"state": dict},
    Note.END: {"state": dict, "world_ended": bool},
}


def pack(values: dict[str, Any]) -> bytes:
    return json.dumps(values, separators=(",", ":")).encode()


def unpack(kind: int, body: bytes) -> tuple[Note, dict[str, Any]]:
    """The note in a record. Raises ValueError for what is none."""
    note = Note(kind)
    values = json.loads(body)
    keys = _KEYS[note] | {"t_us": int, "slow": bool}
    if not isinstance(values, dict) or values.keys() != keys.keys():
        raise ValueError(f"{note.name}: expected an object with {', '.join(keys)}")
    for key, kind_of in keys.items():
        if type(values[key]) is not kind_of:
            raise ValueError(f"{note.name}.{key}: {values[key]!r}, expected {kind_of.__name__}")
    return note, values


_STATUS = [name for name, _ in ffi.typeof("struct ctl_status").fields]


def state(executive: Executive) -> dict[str, int]:
    """Flight's state as far as a few numbers tell it; two flights that differ anywhere differ in one of them."""
    status, commands, jobs = executive.loop.status(), executive.commands, executive.jobs
    numbers = {name: int(getattr(status, name)) for name in _STATUS}
    rows = [
        (
            j.job_id,
            j.workload,
            j.priority,
            j.total_mu,
            j.checkpoint_s,
            j.deadline_us,
            j.state,
            j.restarts,
            [(m.node, m.checkpoint_mu) for m in j.members],
        )
        for j in jobs.jobs.values()
    ]
    return numbers | {
        "packets": executive.telemetry.packets,
        "events": executive.events.sent,
        "accepted": commands.accepted,
        "rejected": commands.rejected,
        "wanted": _digest(sorted(commands.wanted)),
        "jobs": _digest(rows),
        "parameters": _digest(sorted(executive.parameters.values.items())),
    }


def _digest(value: Any) -> int:
    return zlib.crc32(pack({"": value}))
