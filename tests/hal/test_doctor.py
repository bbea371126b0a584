"""`hal doctor`: each culprit is named in a line of its own, and only a link without any is called well."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hal import cli, doctor, ports
from hal.backends import hardware, process
from tests.hal.desk import Desk, FakeBoard, forbid, node
from tests.hal.images import crc_of, image_bytes, write_image
from tests.hal.talker import small_rig
from tests.tools import NEEDS_QEMU

ONE, TWO = bytes(range(12)), bytes(range(12, 24))
URL = "serial:066DFF54?baud=1000000"


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    desk = Desk(tmp_path / "machine")
    monkeypatch.setattr(ports, "HOST", desk.system)
    monkeypatch.setattr(hardware, "_found_at", {})
    monkeypatch.setattr(doctor, "ANSWER_S", 0.2)
    monkeypatch.setattr(doctor, "PROBE_GUARD_S", 0.1)
    yield desk
    desk.close()


def look(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, list[dict[str, Any]]]:
    """(exit code, lines for people, the same as JSON); both ways of asking must agree."""
    code = cli.main(["doctor", *arguments, "--probes", "20"])
    said = capsys.readouterr()
    assert (code == 0) == (said.err == "")
    assert code == 0 or re.fullmatch(r"hal: \d+ of \d+ checks failed\n", said.err)
    assert cli.main(["doctor", *arguments, "--probes", "20", "--json"]) == code
    results = json.loads(capsys.readouterr().out)
    assert all(result["ok"] == all(c["ok"] for c in result["checks"]) for result in results)
    assert (code == 0) == all(result["ok"] for result in results)
    return code, said.out, results


def failed(results: list[dict[str, Any]]) -> dict[str, str]:
    """Check -> what it says, of those that failed."""
    checks = [c for result in results for c in result["checks"] if not c["ok"]]
    return {c["name"]: "; ".join(filter(None, (c["what"], c["cure"]))) for c in checks}


# ---------------------------------------------------------------- all is well
def test_a_board_that_is_well(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.plug(FakeBoard(node(3)), latency_ms=1)
    code, text, (result,) = look(capsys, URL)
    assert code == 0
    names = [check["name"] for check in result["checks"]]
    cable = ["cable", "ModemManager", "brltty", "open", "latency timer"]
    assert names == [*cable, "answer", "firmware", "identity", "latency", "loss"]
    latency, loss = result["checks"][-2:]
    assert 0 < latency["median_ms"] <= latency["p99_ms"]
    assert (loss["probes"], loss["lost"], loss["damaged"]) == (20, 0, 0)
    assert text.splitlines()[0] == f"link on {URL}"
    assert all(line.startswith("  ok    ") for line in text.splitlines()[1:])


@pytest.mark.parametrize("url", ["mock:", "process:", "unicorn:", pytest.param("qemu:", marks=NEEDS_QEMU)])
def test_boards_that_are_made_here(capsys: pytest.CaptureFixture[str], url: str) -> None:
    code, _, (result,) = look(capsys, url)
    assert code == 0
    assert [c["name"] for c in result["checks"]] == ["open", "answer", "firmware", "identity", "latency", "loss"]


def test_every_board_of_a_rig(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, results = look(capsys, "--rig", "desk")
    assert code == 0
    assert [r["board"] for r in results] == ["power", "node0", "node1", "node2", "node3"]
    assert len(look(capsys, "node2", "--rig", "desk")[2]) == 1


# ---------------------------------------------------------------- the machine
def test_no_such_port(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, results = look(capsys, URL)
    assert code == 1
    assert "no port with this USB serial number is plugged in" in failed(results)["cable"]
    assert failed(look(capsys, "serial:/dev/not-there")[2])["cable"].endswith("expected a plugged-in board")


def test_a_port_that_another_program_has(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    board = FakeBoard(node(3))
    desk.run("minicom", 4242, holds=desk.plug(board))
    code, _, results = look(capsys, URL)
    assert code == 1
    assert "is busy: process 4242 (minicom) has it open" in failed(results)["busy"]
    assert board.bytes_heard == b""


def test_no_permission(desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    device = desk.plug(FakeBoard(node(3)))
    group = ports.group_of(device)
    lift = forbid(monkeypatch, os.path.realpath(device))
    code, _, results = look(capsys, f"serial:{os.path.realpath(device)}")
    lift()
    assert code == 1
    assert f"expected to be in its group {group}: `sudo usermod -aG {group} $USER`" in failed(results)["permission"]


def test_programs_that_take_ports(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    device = desk.plug(FakeBoard(node(3)))
    desk.run("ModemManager", 812)
    desk.run("brltty", 813)
    found = failed(look(capsys, URL)[2])
    assert set(found) == {"ModemManager", "brltty"}
    assert "process 812 (ModemManager) talks to every new port" in found["ModemManager"]
    assert "`sudo apt remove brltty`" in found["brltty"]
    number = os.stat(device).st_rdev
    rule = desk.root / "run/udev/data" / f"c{os.major(number)}:{os.minor(number)}"
    rule.write_text("I:123\nE:ID_MM_DEVICE_IGNORE=1\n")
    assert set(failed(look(capsys, URL)[2])) == {"brltty"}


def test_a_slow_adapter(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.plug(FakeBoard(node(3)), "ttyUSB0", usb_id=(0x0403, 0x6001), latency_ms=16)
    found = failed(look(capsys, URL)[2])
    assert list(found) == ["latency timer"]
    assert "keeps bytes for 16 ms; `echo 1 | sudo tee" in found["latency timer"]


def test_a_port_without_a_driver(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    device = desk.plug(FakeBoard(node(3)))
    (Path(f"{desk.root}/sys/class/tty/ttyACM0").resolve() / "device/driver").unlink()
    assert "`sudo modprobe cdc_acm" in failed(look(capsys, f"serial:{device}")[2])["cable"]


# ---------------------------------------------------------------- the board
def test_a_wrong_baud_rate_is_recognised(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.plug(FakeBoard(node(3), baud=115_200))
    found = failed(look(capsys, URL)[2])
    assert found == {"answer": "it answers at 115200 baud, not at 1000000; write baud=115200 in the link"}


def test_a_silent_port(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.plug(FakeBoard(None))
    found = failed(look(capsys, URL)[2])
    assert found["answer"].startswith("silent at every usual baud rate; check power, wiring")


def test_something_that_is_no_board(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.plug(FakeBoard(node(3), baud=9))
    found = failed(look(capsys, URL)[2])
    assert re.match(r"\d+ bytes came, and 0 frames, but no HELLO at any usual baud rate; flash it", found["answer"])


def test_another_version_of_the_bus(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    import crc32c
    from cobs import cobs

    def as_version_2(wire: bytes) -> bytes:
        body = bytearray(cobs.decode(wire.strip(b"\0"))[:-4])
        body[0] = body[0] & 0x3F | 2 << 6
        return b"\0" + cobs.encode(bytes(body) + crc32c.crc32c(bytes(body)).to_bytes(4, "little")) + b"\0"

    board = FakeBoard(node(3))
    board.spoil = as_version_2
    desk.plug(board)
    assert failed(look(capsys, URL)[2])["answer"].startswith("it speaks another version of the board bus")


WRONG = [
    ({"firmware_hash": bytes(8)}, "firmware", "its firmware hash is 0000000000000000"),
    ({"icd_hash": 5}, "firmware", "its ICD hash is 0000000000000005"),
    ({"capabilities": 0}, "firmware", "its firmware takes no TICK"),
    ({"image_crc": 5}, "firmware", "its image CRC is 00000005, expected "),
    ({"kind": 1}, "firmware", "it is a power_board, expected a compute_node"),
    ({"role": 0}, "identity", "it has no address yet, expected 257; give it one with `hal assign node1"),
    ({"role": 258}, "identity", "its address is 258 (node2), expected 257"),
    ({"hardware_id": TWO}, "identity", f"its hardware id is {TWO.hex()}, expected {ONE.hex()}"),
]


@pytest.mark.parametrize(("hello", "check", "says"), WRONG, ids=[next(iter(h)) for h, _, _ in WRONG])
def test_a_board_of_a_rig_has_to_be_the_right_one(
    desk: Desk, capsys: pytest.CaptureFixture[str], tmp_path: Path, hello: dict[str, Any], check: str, says: str
) -> None:
    made = image_bytes()
    image = write_image(tmp_path / "node.elf", made)
    link = f'link = "{URL}"\nimage = "{image.name}"\nhardware_id = "{ONE.hex()}"\n'
    rig = small_rig(tmp_path, f"[boards.node1]\n{link}")
    right = {"hardware_id": ONE, "image_crc": crc_of(made)}
    desk.plug(FakeBoard(node(1), **(right | hello)))
    code, _, results = look(capsys, "node1", "--rig", str(rig.path))
    assert code == 1
    found = failed(results)
    assert list(found) == [check]
    assert found[check].startswith(says)


def test_two_boards_with_one_id(desk: Desk, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    entry = '[boards.node{i}]\nlink = "serial:S{i}"\nimage = "none"\n'
    rig = small_rig(tmp_path, "".join(entry.format(i=i) for i in range(2)))
    for i in range(2):
        desk.plug(FakeBoard(node(i), hardware_id=ONE), f"ttyACM{i}", serial=f"S{i}")
    found = failed(look(capsys, "--rig", str(rig.path))[2])
    assert found["identity"].startswith(f"its hardware id {ONE.hex()} is that of node0")


def test_lost_and_damaged_frames_are_counted(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    board, count = FakeBoard(node(3)), 0

    def spoil(wire: bytes) -> bytes:
        nonlocal count
        count += 1
        return b"" if count % 21 == 5 else wire[:9] + b"\xff" + wire[10:] if count % 21 == 9 else wire

    board.spoil = spoil
    desk.plug(board)
    code = cli.main(["doctor", URL, "--probes", "20", "--json"])
    assert code == 1
    loss = json.loads(capsys.readouterr().out)[0]["checks"][-1]
    assert (loss["name"], loss["lost"], loss["damaged"], loss["ok"]) == ("loss", 2, 1, False)
    assert "try a lower baud rate" in loss["cure"]


def test_a_line_that_ends_while_it_is_looked_at(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    board = FakeBoard(node(3))

    def spoil(wire: bytes) -> bytes:
        board.hang_up()
        return wire

    board.spoil = spoil
    desk.plug(board)
    assert cli.main(["doctor", URL, "--json"]) == 1
    (result,) = json.loads(capsys.readouterr().out)
    assert list(failed([result])) == ["line"]


def test_a_board_that_cannot_be_started(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(process, "PROGRAM", tmp_path / "none")
    assert "is not built" in failed(look(capsys, "process:")[2])["open"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "expected a link (`hal scan` lists them), or --rig RIG"),
        (["pigeon:"], "unknown back end"),
        (["node99", "--rig", "desk"], "node99: expected a role or a link of rig desk"),
        (["mock:", "--probes", "0"], "--probes: 0 is out of range"),
    ],
)
def test_wrong_usage(capsys: pytest.CaptureFixture[str], arguments: list[str], says: str) -> None:
    assert cli.main(["doctor", *arguments]) == 1
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
