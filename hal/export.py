"""A recording's frames for other tools: a CSV file per message, or one pcapng file."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from hal import icd
from hal._native import lib
from hal.differences import role_of
from hal.errors import RecordingError
from hal.frames import DAMAGED, Cutter, Frame
from hal.pcapng import CRC_ERROR, INBOUND, OUTBOUND, PcapngWriter
from hal.recording import Recording

TICK, TO, FROM, STEP = (int(getattr(lib, f"TAPE_{n}")) for n in ("TICK", "TO_BOARD", "FROM_BOARD", "STEP"))
HEAD = ("tick", "t_s", "board", "direction", "frame_src", "frame_dst", "frame_flags", "frame_seq", "frame_t_us")
_TO, _FROM = "to_board", "from_board"


class Passed(NamedTuple):
    """A frame that crossed a board's line in a tick."""

    t_us: int
    board: int
    direction: str
    """to_board or from_board"""
    frame: Frame


def passed(recording: Recording) -> Iterator[Passed]:
    """Every frame on the lines, in order; of a recording without lines, those that flight sent and heard."""
    cutters: dict[tuple[int, str], Cutter] = {}
    lines, t_us = False, 0

    def cut(board: int, direction: str, data: bytes) -> Iterator[Passed]:
        cutter = cutters.setdefault((board, direction), Cutter())
        yield from (Passed(t_us, board, direction, frame) for frame in cutter.feed(data))

    for record in recording.records():
        body = record.body
        if record.kind == TICK:
            lines, t_us = True, int.from_bytes(body, "little")
        elif record.kind in (TO, FROM):
            yield from cut(int.from_bytes(body[:2], "little"), _TO if record.kind == TO else _FROM, body[2:])
        elif record.kind == STEP and not lines:
            t_us, rx = int.from_bytes(body[:8], "little"), 12 + int.from_bytes(body[8:12], "little")
            for direction, batch in ((_FROM, body[12:rx]), (_TO, body[rx:])):
                for board, data in _batch(batch):
                    yield from cut(board, direction, data)


def _batch(batch: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(batch):
        n = int.from_bytes(batch[at + 2 : at + 4], "little")
        yield int.from_bytes(batch[at : at + 2], "little"), batch[at + 4 : at + 4 + n]
        at += 4 + n


def to_csv(recording: Recording, folder: Path) -> dict[str, int]:
    """NAME.csv for every message that occurs, and damaged.csv. Returns rows by name. Raises `RecordingError`.

    Enums are numbers, bytes hexadecimal; a table has a column for each of its places (channels[3].mean_ma). A payload
    that the ICD does not allow is among the damaged.
    """
    tick_us = recording.rig().tick_us
    rows: dict[str, int] = {}
    try:
        with ExitStack() as stack:  # within the try: closing a file writes too
            writers: dict[str, Any] = {}
            folder.mkdir(parents=True, exist_ok=True)
            for one in passed(recording):
                f = one.frame
                head = (one.t_us // tick_us, one.t_us / 1e6, role_of(one.board), one.direction)
                name, row = _row(f)
                if name not in writers:
                    file = stack.enter_context((folder / f"{name}.csv").open("w", newline="", encoding="utf-8"))
                    writers[name] = csv.writer(file)
                    writers[name].writerow((*HEAD, *_columns(name)))
                writers[name].writerow((*head, f.src, f.dst, f.flags, f.seq, f.t_us, *row))
                rows[name] = rows.get(name, 0) + 1
    except OSError as error:
        raise RecordingError(f"{folder}: cannot write there: {error.strerror}") from None
    return rows


def _row(frame: Frame) -> tuple[str, list[Any]]:
    """Name of the file and the values behind the head."""
    if frame.name in icd.MESSAGES:
        try:
            values = icd.decode(frame.name, frame.payload)
        except icd.IcdError:
            return "damaged", [frame.wire.hex()]
        row: list[Any] = []
        for f in icd.MESSAGES[frame.name].fields:
            row += _spread(f, values[f.name])
        return frame.name, row
    return "damaged", [frame.wire.hex()]


def _spread(f: icd.Field, value: Any) -> list[Any]:
    if isinstance(value, bytes):
        return [value.hex()]
    if not f.tail:
        return [value]
    fields = icd.RECORDS.get(f.type)
    width = len(fields) if fields else 1
    cells = [cell for item in value for cell in (item.values() if fields else (item,))]
    return cells + [""] * (f.tail * width - len(cells))


def _columns(name: str) -> list[str]:
    if name == "damaged":
        return ["bytes"]
    columns: list[str] = []
    for f in icd.MESSAGES[name].fields:
        if not f.tail:
            columns.append(f.name)
            continue
        fields = icd.RECORDS.get(f.type)
        columns += [f"{f.name}[{i}].{g.name}" for i in range(f.tail) for g in fields] if fields else [
            f"{f.name}[{i}]" for i in range(f.tail)
        ]  # fmt: skip
    return columns


def to_pcapng(recording: Recording, path: Path) -> int:
    """One pcapng file. Returns the number of frames. Raises `RecordingError`."""
    rig = recording.rig()
    count = 0
    try:
        with path.open("wb") as file:
            writer = PcapngWriter(file, rig.boards, f"rig {rig.name}, simulated time")
            for one in passed(recording):
                direction = OUTBOUND if one.direction == _TO else INBOUND
                error = CRC_ERROR if one.frame.type == DAMAGED else 0
                writer.packet(one.board, one.t_us, one.frame.wire, direction | error)
                count += 1
    except OSError as error:
        raise RecordingError(f"{path}: cannot write there: {error.strerror}") from None
    return count
