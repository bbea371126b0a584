"""The file: whole blocks are read, whatever happened behind them; damage and other files are refused by name."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal.errors import RecordingError
from hal.recording import BLOCK_HEAD, FILE_HEAD, HEAD_BYTES, MAGIC, RECORD_HEAD, Recording, Writer, header_block

BLOCKS = [b"".join(RECORD_HEAD.pack(20 + i, 40) + bytes([i + k] * 40) for k in range(8)) for i in range(4)]


def write(path: Path, blocks: list[bytes] = BLOCKS) -> bytes:
    writer = Writer(path, {"what": "a test"})
    for i, block in enumerate(blocks):
        writer.put(block, 1_000_000 * (i + 1))
    writer.close()
    assert writer.error is None
    assert path.stat().st_size == writer.size
    return path.read_bytes()


def ends(data: bytes) -> list[int]:
    """Where each block ends, by the lengths in the heads alone."""
    at, found = FILE_HEAD.size, []
    while at < len(data):
        at += HEAD_BYTES + BLOCK_HEAD.unpack_from(data, at)[1]
        found.append(at)
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write(tmp_path_factory.mktemp("whole") / "x.rec")


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch") / "x.rec"


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write(tmp_path / "x.rec")
    with Recording(tmp_path / "x.rec") as recording:
        assert recording.header == {"what": "a test"}
        assert list(recording.blocks()) == BLOCKS
        assert (recording.cut, recording.t_us) == (0, 4_000_000)
    with Recording(tmp_path / "x.rec") as recording:
        assert sum(1 for _ in recording.records()) == 32


@given(st.data())
def test_cut_anywhere_the_whole_blocks_are_left(whole: bytes, scratch: Path, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(whole)))
    scratch.write_bytes(whole[:cut])
    there = [end for end in ends(whole) if end <= cut]
    if not there:
        with pytest.raises(RecordingError, match="is empty" if cut == 0 else "cut within its first block"):
            Recording(scratch)
        return
    with Recording(scratch) as recording:
        assert list(recording.blocks()) == BLOCKS[: len(there) - 1]
        assert recording.cut == cut - there[-1]


@given(st.data())
def test_one_changed_byte_is_named_by_its_block(whole: bytes, scratch: Path, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[at] ^= data.draw(st.integers(1, 255))
    scratch.write_bytes(changed)
    block = sum(end <= at for end in ends(whole))
    read: list[bytes] = []
    with pytest.raises(RecordingError) as raised, Recording(scratch) as recording:
        read.extend(recording.blocks())
    said = str(raised.value)
    assert "\n" not in said
    assert str(scratch) in said
    if at >= FILE_HEAD.size:
        assert f"block {block} at byte {([FILE_HEAD.size, *ends(whole)])[block]} is damaged" in said
    else:
        assert "is no recording" in said or "format" in said


OTHERS = {
    "empty": (b"", "is empty, expected a file that --record wrote"),
    "another format": (b"\x7fELF" + bytes(100), "is no recording"),
    "garbage": (bytes(range(256)) * 9, "is no recording"),
    "its beginning only": (MAGIC, "cut within its first block"),
    "a newer version": (header_block({}).replace(b"\n\x01", b"\n\x07", 1), "format 7, this program reads format 1"),
    "zeros behind its beginning": (FILE_HEAD.pack(MAGIC, 1) + bytes(4096), "block 0 at byte 12 is damaged"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_file_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    content, says = OTHERS[name]
    (tmp_path / "x.rec").write_bytes(content)
    with pytest.raises(RecordingError, match=says) as raised:
        Recording(tmp_path / "x.rec")
    assert "\n" not in str(raised.value)


def test_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="No such file"):
        Recording(tmp_path / "x.rec")
    with pytest.raises(RecordingError, match="Is a directory"):
        Recording(tmp_path)


def test_an_earlier_recording_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path / "x.rec")
    assert len(write(tmp_path / "x.rec", BLOCKS[:1])) < len(write(tmp_path / "y.rec"))
    other = tmp_path / "rig.toml"
    other.write_text("name = 'mine'\n")
    with pytest.raises(RecordingError, match="is there already and is no recording"):
        Writer(other, {})
    assert other.read_text() == "name = 'mine'\n"
    with pytest.raises(RecordingError, match="cannot record there: No such file or directory"):
        Writer(tmp_path / "nowhere" / "x.rec", {})


def test_two_cannot_record_to_one_file(tmp_path: Path) -> None:
    first = Writer(tmp_path / "x.rec", {})
    with pytest.raises(RecordingError, match="another program is recording to it"):
        Writer(tmp_path / "x.rec", {})
    first.put(BLOCKS[0], 1)
    first.close()
    with Recording(tmp_path / "x.rec") as recording:
        assert list(recording.blocks()) == BLOCKS[:1]


LIMITED = """
import json, resource, sys
from pathlib import Path
from hal.recording import Writer
from tests.replay.test_recording import BLOCKS
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
writer = Writer(Path(sys.argv[1]), {})
for block in BLOCKS:
    writer.put(block, 1)
writer.close()
print(json.dumps([writer.error, writer.size]))
"""


@pytest.mark.parametrize("spare", [0, 1, HEAD_BYTES, HEAD_BYTES + 20])
def test_a_full_disk_leaves_whole_blocks(tmp_path: Path, whole: bytes, spare: int) -> None:
    path = tmp_path / "x.rec"
    limit = len(header_block({})) + ends(whole)[1] - ends(whole)[0] + spare
    done = subprocess.run([sys.executable, "-c", LIMITED, str(path), str(limit)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    error, size = json.loads(done.stdout)
    assert error == f"{path}: File too large: the recording ends after {size} bytes"
    assert path.stat().st_size == size <= limit
    with Recording(path) as recording:
        assert list(recording.blocks()) == BLOCKS[:1]
        assert recording.cut == 0


def test_nothing_fits_on_a_full_device(tmp_path: Path) -> None:
    writer = Writer(Path("/dev/full"), {})
    writer.put(BLOCKS[0], 1)
    writer.close()
    assert writer.error == "/dev/full: No space left on device: the recording ends after 0 bytes"


RIGS: dict[str, object] = {
    "none": None,
    "a text": "desk",
    "no boards": {"name": "x", "tick_us": 100_000, "boards": []},
    "no tick": {"name": "x", "tick_us": 0, "boards": [{"role": "power", "link": "mock:"}]},
    "a board that is none": {"name": "x", "tick_us": 100_000, "boards": [7]},
}


@pytest.mark.parametrize("name", RIGS)
def test_a_rig_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    header = {} if RIGS[name] is None else {"rig": RIGS[name]}
    (tmp_path / "x.rec").write_bytes(header_block(header))
    with (
        pytest.raises(RecordingError, match=r"the header's rig|its rig is no object"),
        Recording(tmp_path / "x.rec") as recording,
    ):
        recording.rig()


def test_lengths_beyond_reason_are_refused(tmp_path: Path) -> None:
    from hal._native import lib

    head = BLOCK_HEAD.pack(b"RECS", 1 << 31, 10, 10, 0, 0)
    crc = struct.pack("<I", lib.bus_crc32c(0, head, len(head)))
    (tmp_path / "x.rec").write_bytes(header_block({}) + head + crc)
    with pytest.raises(RecordingError, match="its length is out of range"), Recording(tmp_path / "x.rec") as recording:
        list(recording.blocks())
