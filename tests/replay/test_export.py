"""Frames as CSV and pcapng, read back by others: csv, the packages cobs and crc32c, and python-pcapng."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pcapng
import pytest

from hal._native import lib
from hal.export import HEAD
from tests.boards.harness import Frame, parse
from tests.replay.flown import Flight, blocks, change, desk, write
from tests.system.programs import run, run_json

TICK, TO, FROM = int(lib.TAPE_TICK), int(lib.TAPE_TO_BOARD), int(lib.TAPE_FROM_BOARD)
ROLES = ["power", "node0", "node1", "node2", "node3"]
DIRECTIONS = {TO: "to_board", FROM: "from_board"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("export")


@pytest.fixture(scope="module")
def recorded(folder: Path) -> Path:
    with Flight(folder / "desk.rec", desk(folder)) as flown:
        flown.run(15)
    return folder / "desk.rec"


def crossed(path: Path) -> list[tuple[int, str, str, Frame]]:
    """(tick, board, direction, frame) of every frame, by the harness's own reading."""
    found, tick = [], 0
    for record in (r for block in blocks(path) for r in block):
        if record.kind == TICK:
            tick += 1
        elif record.kind in DIRECTIONS:
            board = ROLES[int.from_bytes(record.body[:2], "little")]
            found += [(tick, board, DIRECTIONS[record.kind], frame) for frame in parse(record.body[2:])]
    return found


def cells(fields: dict[str, Any]) -> dict[str, str]:
    """Values by column, as they should be written."""
    out: dict[str, str] = {}
    for name, value in fields.items():
        if isinstance(value, list):
            for i, item in enumerate(value):
                parts = {f".{k}": v for k, v in item.items()} if isinstance(item, dict) else {"": item}
                out |= {f"{name}[{i}]{k}": str(v) for k, v in parts.items()}
        else:
            out[name] = value.hex() if isinstance(value, bytes) else str(value)
    return out


def test_csv_holds_every_frame_and_field(recorded: Path, folder: Path) -> None:
    result = run_json("hal", "export", recorded, "--csv", folder / "csv")
    frames = crossed(recorded)
    assert result["csv"] == Counter(frame.name for *_, frame in frames)
    assert {path.stem for path in (folder / "csv").iterdir()} == set(result["csv"])
    for name in result["csv"]:
        with (folder / "csv" / f"{name}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        expected = [one for one in frames if one[3].name == name]
        assert len(rows) == len(expected)
        for row, (tick, board, direction, frame) in zip(rows, expected, strict=True):
            head = (tick, tick / 10, board, direction, frame.src, frame.dst, frame.flags, frame.seq, frame.t_us)
            assert [row.pop(column) for column in HEAD] == [str(value) for value in head]
            assert {column: cell for column, cell in row.items() if cell} == cells(frame.fields)


def test_pcapng_holds_every_frame(recorded: Path, folder: Path) -> None:
    assert run_json("hal", "export", recorded, "--pcapng", folder / "x.pcapng")["pcapng"] == len(crossed(recorded))
    with (folder / "x.pcapng").open("rb") as file:
        found = list(pcapng.FileScanner(file))
    interfaces = [block for block in found if isinstance(block, pcapng.blocks.InterfaceDescription)]
    assert [i.options["if_name"] for i in interfaces] == ROLES
    assert [i.options["if_description"] for i in interfaces] == ["mock:"] * 5
    assert {i.link_type for i in interfaces} == {147}
    packets = [block for block in found if isinstance(block, pcapng.blocks.EnhancedPacket)]
    seen = [
        (round(p.timestamp * 10), p.interface.options["if_name"], p.options["epb_flags"].inout, p.packet_data)
        for p in packets
    ]
    directions = {"to_board": "outbound", "from_board": "inbound"}
    assert seen == [(tick, board, directions[way], frame.wire) for tick, board, way, frame in crossed(recorded)]


def test_damaged_bytes_are_kept_apart(recorded: Path, folder: Path) -> None:
    content = blocks(recorded)
    flat = [r for block in content for r in block]
    number = next(i for i, r in enumerate(flat) if r.kind == FROM and i > 500)
    write(folder / "bad.rec", recorded, change(content, number, lambda b: b[:20] + bytes([b[20] % 255 + 1]) + b[21:]))
    result = run_json("hal", "export", folder / "bad.rec", "--csv", folder / "bad", "--pcapng", folder / "bad.pcapng")
    assert result["csv"]["damaged"] == 1
    with (folder / "bad" / "damaged.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["direction"], row["board"]) == ("from_board", ROLES[flat[number].body[0]])
    with (folder / "bad.pcapng").open("rb") as file:
        packets = [b for b in pcapng.FileScanner(file) if isinstance(b, pcapng.blocks.EnhancedPacket)]
    assert [p.packet_data.hex() for p in packets if p.options["epb_flags"].err_crc] == [row["bytes"]]


def test_flights_on_a_served_world_have_flights_frames(recorded: Path, folder: Path) -> None:
    """Without lines, what flight heard and said is exported: all frames but the bench's."""
    content = [[r for r in block if r.kind >= 6] for block in blocks(recorded)]
    write(folder / "flight.rec", recorded, content)
    result = run_json("hal", "export", folder / "flight.rec", "--csv", folder / "flight")
    ours = Counter(f.name for _, _, way, f in crossed(recorded) if 2 not in (f.src, f.dst) and way == "from_board")
    assert {name: result["csv"][name] for name in ours} == ours
    assert not {name for name in result["csv"] if name.startswith(("tick_", "done_"))}


def test_targets_that_cannot_be_written_get_one_line(recorded: Path, folder: Path) -> None:
    (folder / "file").write_text("")
    for words, says in [
        ((), "nothing to write, expected --csv DIR or --pcapng FILE"),
        (("--csv", folder / "file" / "x"), "cannot write there: Not a directory"),
        (("--pcapng", folder), "cannot write there: Is a directory"),
        (("--pcapng", "/dev/full"), "cannot write there: No space left on device"),
    ]:
        done = run("hal", "export", recorded, *words)
        assert done.returncode == 1
        assert says in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_cut_recording_is_exported_up_to_the_cut(recorded: Path, folder: Path) -> None:
    (folder / "cut.rec").write_bytes(recorded.read_bytes()[:-3])
    done = run("hal", "export", folder / "cut.rec", "--pcapng", folder / "cut.pcapng", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["cut_bytes"] > 0
