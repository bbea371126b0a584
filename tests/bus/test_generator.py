"""The ICD generator: committed files are fresh, the hash covers what is on the wire, bad TOML is named in one line."""

import contextlib
import importlib
import io
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ICD = ROOT / "csrc" / "icd"
sys.path.insert(0, str(ICD))  # the generator is a command, not a package
generator = importlib.import_module("generate")

BUS, SPACE = "board_bus.toml", "space_link.toml"


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


def generate(*arguments: str) -> Done:
    """The command, in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = generator.main(list(arguments))
    return Done(code, out.getvalue(), err.getvalue())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of both TOMLs that a test may spoil."""
    folder = tmp_path / "icd"
    folder.mkdir()
    for name in (BUS, SPACE):
        shutil.copy(ICD / name, folder / name)
    return folder


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) >= 1, old
    path.write_text(text.replace(old, new, 1))


def hashes(source: Path, root: Path) -> tuple[str, str]:
    """ICD hashes of both documents, as their generated modules state them."""
    done = generate("--source", str(source), "--root", str(root))
    assert done.returncode == 0, done.stderr
    found = [re.search(r'ICD_SHA256 = "(\w+)"', (root / name / "icd.py").read_text()) for name in ("hal", "ground")]
    assert found[0]
    assert found[1]
    return found[0][1], found[1][1]


def test_committed_files_are_fresh():
    command = [sys.executable, str(ICD / "generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), "run: make icd"


def test_check_names_stale_files_and_writes_nothing(source, tmp_path):
    root = tmp_path / "root"
    assert generate("--source", str(source), "--root", str(root)).returncode == 0
    assert generate("--source", str(source), "--root", str(root), "--check").returncode == 0
    edit(source / BUS, "Answers every command.", "Answers all commands.")
    before = (root / "docs/icd-board-bus.md").read_text()
    done = generate("--source", str(source), "--root", str(root), "--check")
    assert done.returncode == 1
    assert "docs/icd-board-bus.md is stale" in done.stderr
    assert (root / "docs/icd-board-bus.md").read_text() == before


def test_writing_twice_changes_nothing(source, tmp_path):
    root = tmp_path / "root"
    assert generate("--source", str(source), "--root", str(root)).stdout
    assert generate("--source", str(source), "--root", str(root)).stdout == ""


SAME = {
    "comment": (BUS, "# ----", "# a remark\n# ----"),
    "field doc": (BUS, 'doc = "who sends"', 'doc = "the sender"'),
    "message doc": (BUS, "Answers every command.", "Answers all commands."),
    "enum doc": (BUS, "Node i has address node_base + i.", "Nodes count from node_base."),
    "title": (BUS, 'title = "Board bus"', 'title = "The bus of the boards"'),
    "order of keys": (BUS, 'name = "ack"\ntype = 3', 'type = 3\nname = "ack"'),
    "number notation": (BUS, "any = 0xFFFF", "any = 65_535"),
}


@pytest.mark.parametrize(("file", "old", "new"), SAME.values(), ids=SAME.keys())
def test_hash_is_blind_to_words(source, tmp_path, file, old, new):
    before = hashes(source, tmp_path / "a")
    edit(source / file, old, new)
    assert hashes(source, tmp_path / "b") == before


CHANGED = {
    "field name": (BUS, 'name = "die_cdeg", type = "i16"', 'name = "chip_cdeg", type = "i16"'),
    "field type": (BUS, 'name = "mean_ma", type = "u16"', 'name = "mean_ma", type = "i16"'),
    "unit": (BUS, 'unit = "0.01 degC"', 'unit = "0.1 degC"'),
    "range": (BUS, "min = 1000, max = 600000", "min = 1000, max = 60000"),
    "order of fields": (
        BUS,
        'name = "bus_min_mv", type = "u32", unit = "mV" },\n  { name = "bus_max_mv"',
        'name = "bus_max_mv", type = "u32", unit = "mV" },\n  { name = "bus_min_mv"',
    ),
    "enum value": (BUS, "boot = 1, idle = 2", "boot = 2, idle = 1"),
    "enum openness": (BUS, "open = true", "open = false"),
    "bit set": (BUS, 'name = "node_flag"\nbits = true', 'name = "node_flag"\nbits = false'),
    "message type": (BUS, "type = 17", "type = 21"),
    "event code": (BUS, "code = 42", "code = 43"),
    "event severity": (BUS, 'code = 42\nseverity = "info"', 'code = 42\nseverity = "low"'),
    "event arguments": (BUS, 'args = ["new", "total"]', 'args = ["total", "new"]'),
    "greatest payload": (BUS, "max_payload = 192", "max_payload = 191"),
    "version": (BUS, "version = 1", "version = 2"),
}


@pytest.mark.parametrize(("file", "old", "new"), CHANGED.values(), ids=CHANGED.keys())
def test_hash_sees_what_is_on_the_wire(source, tmp_path, file, old, new):
    before = hashes(source, tmp_path / "a")
    edit(source / file, old, new)
    assert hashes(source, tmp_path / "b")[0] != before[0]


def test_hash_of_the_space_link_sees_what_it_imports(source, tmp_path):
    before = hashes(source, tmp_path / "a")
    edit(source / BUS, "boot = 1, idle = 2", "boot = 2, idle = 1")
    assert hashes(source, tmp_path / "b")[1] != before[1]


def test_hash_of_the_space_link_sees_parameters_and_services(source, tmp_path):
    before = hashes(source, tmp_path / "a")[1]
    edit(source / SPACE, "id = 41", "id = 42")
    middle = hashes(source, tmp_path / "b")[1]
    edit(source / SPACE, "function = 7", "function = 77")
    assert len({before, middle, hashes(source, tmp_path / "c")[1]}) == 3


TAIL = 'type = "channel_sensor[<=24]", count = "count"'
ACK = '{ name = "code", type = "u8", enum = "ack_code" }'
BAD = {
    "not TOML": (BUS, "[icd]", "[icd", "board_bus.toml: not TOML"),
    "unknown table": (BUS, "[icd]", "[frame]\n[icd]", "frame: unknown table"),
    "unknown key": (BUS, 'name = "ack"\n', 'name = "ack"\nhash = 1\n', "message ack: unknown key 'hash'"),
    "unknown key of a field": (BUS, ACK, '{ name = "code", type = "u8", unti = "s" }', "code: unknown key 'unti'"),
    "missing key": (BUS, 'name = "ack"\ntype = 3\n', 'name = "ack"\n', "message ack: key 'type' is missing"),
    "wrong type of a key": (BUS, "type = 3\n", 'type = "3"\n', "message ack: 'type' is '3', expected int"),
    "bad name": (BUS, 'name = "ack"', 'name = "Ack"', "name 'Ack', expected lower case"),
    "reserved name": (BUS, 'name = "code", type = "u8"', 'name = "default", type = "u8"', "'default' is a word of C"),
    "message twice": (BUS, 'name = "ack"', 'name = "hello"', "message hello: defined twice"),
    "type number twice": (BUS, "type = 3\n", "type = 2\n", "message ack: has the same type numbers as message hello"),
    "type number too large": (BUS, "type = 3\n", "type = 64\n", "message ack: type 64, expected 1..63"),
    "unknown sender": (BUS, 'from = ["board"]', 'from = ["ground"]', "from ['ground'], expected some of flight"),
    "field twice": (BUS, ACK, '{ name = "type", type = "u8" }', "message ack: field type: defined twice"),
    "unknown type": (BUS, ACK, '{ name = "code", type = "u7" }', "field code: unknown type 'u7'"),
    "unknown enum": (BUS, ACK, '{ name = "code", type = "u8", enum = "acks" }', "field code: unknown enum 'acks'"),
    "enum on a signed field": (BUS, ACK, ACK.replace("u8", "i8"), "type i8 with enum ack_code, expected an unsigned"),
    "enum too large": (BUS, ACK, '{ name = "code", type = "u8", enum = "address" }', "u8 cannot hold 65535"),
    "enum value twice": (BUS, "boot = 1, idle = 2", "boot = 1, idle = 1", "enum node_state: idle and boot are both 1"),
    "enum twice": (BUS, 'name = "capability"', 'name = "ack_code"', "enum ack_code: defined twice"),
    "min above max": (BUS, "min = 5, max = 50", "min = 50, max = 5", "field trip_ms: min 50 is greater than max 5"),
    "range beyond the type": (BUS, "min = 5, max = 50", "min = 5, max = 500", "range 5..500 does not fit u8 (0..255)"),
    "range not whole": (BUS, "min = 5, max = 50", "min = 5.5, max = 50", "of the integer type u8 is not whole"),
    "range not finite": (BUS, "min = 5, max = 50", "min = 5, max = inf", "is not finite"),
    "tail without count": (BUS, TAIL, 'type = "channel_sensor[<=24]"', "a variable tail T[<=N] names its count field"),
    "unknown count": (BUS, TAIL, TAIL.replace('"count"', '"n"'), "count 'n', expected the name of an earlier u8"),
    "count of another size": (BUS, TAIL, TAIL.replace("24", "23"), "at most 23, but its count field has max = 24"),
    "tail in the middle": (BUS, TAIL, TAIL + ' },\n  { name = "more", type = "u8"', "a variable tail must be the last"),
    "too long": (BUS, "max_payload = 192", "max_payload = 150", "message update_data: is up to 177 bytes long"),
    "byte order": (BUS, 'byte_order = "little"', 'byte_order = "middle"', "byte_order 'middle'"),
    "record in itself": (BUS, 'name = "mean_ma", type = "u16", unit = "mA" },\n  { name = "max_ma"',
                         'name = "mean_ma", type = "channel_sensor" },\n  { name = "max_ma"',
                         "record channel_sensor: contains itself"),
    "event code twice": (BUS, "code = 42", "code = 41", "code 41 is taken by event power_soc_anchored"),
    "unknown severity": (BUS, 'code = 42\nseverity = "info"', 'code = 42\nseverity = "bad"', "unknown severity 'bad'"),
    "one argument": (BUS, 'args = ["new", "total"]', 'args = ["new"]', "expected the names of two arguments"),
    "event code of the bus": (SPACE, "code = 4096", "code = 42", "code 42 is taken by event power_sweep"),
    "unknown import": (SPACE, '"node_state", ', '"node_mood", ', "the board bus has no enum 'node_mood'"),
    "parameter id twice": (SPACE, "id = 41", "id = 40", "parameter hold_s: id 40 is taken by parameter boot_parallel"),
    "parameter default": (SPACE, "= 600\ndefault = 10", "= 600\ndefault = 1000", "hold_s: default 1000 is outside"),
    "argument's default": (SPACE, "min = 1, default = 1", "min = 1, default = 0", "default 0 is outside 1..255"),
    "default of telemetry": (SPACE, 'doc = "that it runs on at once"', "default = 1", "default is for an integer"),
    "parameter range": (SPACE, "min = 1\nmax = 600\n", "min = 700\nmax = 600\n", "min 700 is greater than max 600"),
    "unknown period": (SPACE, 'period = "hk_period_s"', 'period = "hk_s"', "unknown period parameter 'hk_s'"),
    "unknown apid": (SPACE, 'apid = "radio"', 'apid = "tv"', "unknown apid 'tv', expected one of time, flight, radio"),
    "same service and function": (SPACE, "function = 7", "function = 6", "same type numbers as command board_reset"),
}  # fmt: skip


@pytest.mark.parametrize(("file", "old", "new", "message"), BAD.values(), ids=BAD.keys())
def test_bad_toml_is_named_in_one_line(source, tmp_path, file, old, new, message):
    edit(source / file, old, new)
    root = tmp_path / "root"
    done = generate("--source", str(source), "--root", str(root))
    assert done.returncode == 1
    assert done.stderr.startswith(f"generate.py: {file}: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not root.exists()


def test_a_missing_file_is_named(tmp_path):
    done = generate("--source", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == "generate.py: board_bus.toml: cannot be read: No such file or directory\n"


def test_every_field_is_on_its_page():
    """docs/icd-*.md: each message, field, enum value, event and parameter is there, with its number."""
    for file, page in ((BUS, "icd-board-bus.md"), (SPACE, "icd-space-link.md")):
        raw, text = tomllib.loads((ICD / file).read_text()), (ROOT / "docs" / page).read_text()
        for kind in ("message", "packet", "command", "record"):
            for entry in raw.get(kind, []):
                assert f"### {entry['name']}" in text
                assert all(f"| `{f['name']}` | " in text for f in entry["fields"])
        for e in raw["enum"]:
            assert all(f"`{name}` = {value}" in text for name, value in e["values"].items())
        assert all(f"| {e['code']} | `{e['name']}` | {e['severity']} |" in text for e in raw["event"])
        assert all(f"| {p['id']} | `{p['name']}` |" in text for p in raw.get("parameter", []))
