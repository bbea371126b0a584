"""`hal scan` and `hal assign`: from what is plugged in to a rig whose boards are proven."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hal import assign, cli, lines, ports, scan
from hal.backends import hardware
from hal.rig import load_rig
from hal.world import World
from tests.hal.desk import Desk, FakeBoard, RealBoard, node
from tests.hal.talker import RIG, small_rig

ONE, TWO = bytes(range(12)), bytes(range(12, 24))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    desk = Desk(tmp_path / "machine")
    monkeypatch.setattr(ports, "HOST", desk.system)
    monkeypatch.setattr(hardware, "_found_at", {})
    monkeypatch.setattr(scan, "ANSWER_S", 0.2)
    monkeypatch.setattr(assign, "ANSWER_S", 0.2)
    monkeypatch.setattr(assign, "ASSIGN_S", 0.2)
    yield desk
    desk.close()


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.main(list(arguments)) == 0
    return capsys.readouterr().out


def found(capsys: pytest.CaptureFixture[str], *more: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(said(capsys, "scan", "--json", *more))
    return listed


# ---------------------------------------------------------------- scan
def test_nothing_is_plugged_in(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "scan") == "no serial port is plugged in\n"
    assert found(capsys) == []


def test_a_board_becomes_an_entry_that_can_be_pasted(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.plug(FakeBoard(node(3), hardware_id=ONE))
    text = said(capsys, "scan")
    assert tomllib.loads(text) == {
        "boards": {"node3": {"link": "serial:066DFF54?baud=1000000", "hardware_id": ONE.hex()}}
    }
    first = text.splitlines()[0]
    assert first.startswith(f"# {desk.root}/dev/ttyACM0 (STM32 STLink, 0483:374b, cdc_acm): compute_node, address 259")
    assert "node3), bench firmware " in first


def test_the_baud_rate_is_found(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.plug(FakeBoard(node(3), baud=115_200))
    assert found(capsys)[0]["link"] == "serial:066DFF54?baud=115200"


@pytest.mark.parametrize(
    ("board", "problem"),
    [
        (lambda: FakeBoard(None), "silent at 1000000 and 115200 baud; another baud rate, no power, or not one of our"),
        (lambda: FakeBoard(node(3), baud=460_800), r"\d+ bytes and no HELLO at 1000000 and 115200 baud"),
    ],
    ids=["silent", "garbage"],
)
def test_what_does_not_answer_is_a_comment(
    desk: Desk, capsys: pytest.CaptureFixture[str], board: Any, problem: str
) -> None:
    desk.plug(board())
    text = said(capsys, "scan")
    assert tomllib.loads(text) == {}
    assert '# link = "serial:066DFF54?baud=1000000"' in text.splitlines()
    (entry,) = found(capsys)
    assert entry["board"] is None
    assert re.match(problem, entry["problem"])


def test_ports_of_others_are_listed_and_not_touched(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    board = FakeBoard(node(3))
    desk.run("ModemManager", 812, holds=desk.plug(board))
    (entry,) = found(capsys)
    assert "is busy: process 812 (ModemManager) has it open" in entry["problem"]
    assert board.bytes_heard == b""


def test_links_of_adapters_without_a_number_of_their_own(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """By the board's id; two ports of one adapter by its interface; by path only when nothing else tells."""
    desk.plug(FakeBoard(node(0), hardware_id=ONE), "ttyUSB0", serial="0001", usb_id=(0x10C4, 0xEA60), interface=0)
    desk.plug(FakeBoard(None), "ttyUSB1", serial="0001", usb_id=(0x10C4, 0xEA60), interface=0)
    desk.plug(FakeBoard(node(1), hardware_id=TWO), "ttyUSB2", serial="FT", usb_id=(0x0403, 0x6010), interface=0)
    desk.plug(FakeBoard(None), "ttyUSB3", serial="FT", usb_id=(0x0403, 0x6010), interface=1)
    assert [entry["link"] for entry in found(capsys)] == [
        f"hardware:{ONE.hex()}?baud=1000000",
        f"serial:{desk.root}/dev/ttyUSB1?baud=1000000",
        "serial:FT?baud=1000000&interface=0",
        "serial:FT?baud=1000000&interface=1",
    ]


WRONG = [
    ({"firmware_hash": bytes(8)}, "its firmware hash is 0000000000000000, expected"),
    ({"icd_hash": 7}, "its ICD hash is 0000000000000007, expected"),
    ({"capabilities": 0}, "its firmware takes no TICK (a flight build)"),
    ({"role": 0}, "it has no address yet, expected 256; give it one with `hal assign node0 --rig RIG`"),
    ({"role": 17}, "its address 17 is no role of a rig"),
]


@pytest.mark.parametrize(("hello", "problem"), WRONG)
def test_what_is_wrong_with_a_board_is_said(
    desk: Desk, capsys: pytest.CaptureFixture[str], hello: dict[str, Any], problem: str
) -> None:
    desk.plug(FakeBoard(node(3), **hello))
    (entry,) = found(capsys)
    assert entry["problem"].startswith(problem)
    assert f"# {entry['problem']}" in said(capsys, "scan").splitlines()


def test_two_boards_with_one_role_give_one_entry(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    for i, one in enumerate((ONE, TWO)):
        desk.plug(FakeBoard(node(3), hardware_id=one), f"ttyACM{i}", serial=f"S{i}")
    first, second = found(capsys)
    assert first["problem"] is None
    assert "ttyACM0 is node3 already; give one of the two another role" in second["problem"]
    assert list(tomllib.loads(said(capsys, "scan"))["boards"]) == ["node3"]


def test_boards_are_checked_against_a_rig(desk: Desk, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    small_rig(tmp_path, '[boards.node1]\nlink = "serial:S0?baud=115200"\nimage = "none"\n')
    board = FakeBoard(node(2), baud=115_200)
    desk.plug(board, serial="S0")
    (entry,) = found(capsys, "--rig", str(tmp_path / "rig.toml"))
    assert entry["role"] == "node1"
    assert entry["problem"].startswith("its address is 258 (node2), expected 257; swap the cables")


# ---------------------------------------------------------------- assign
def test_a_board_is_given_its_address(desk: Desk, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    small_rig(tmp_path, '[boards.node1]\nlink = "serial:S0"\nimage = "none"\n')
    board = FakeBoard(node(3), role=0, hardware_id=ONE, assignable=True)
    desk.plug(board, serial="S0")
    rig = str(tmp_path / "rig.toml")
    assert said(capsys, "assign", "node1", "--rig", rig) == f"node1: board {ONE.hex()} has address 257\n"
    assert json.loads(said(capsys, "assign", "node1", "--rig", rig, "--json"))["address"] == 257
    assert board.heard.count("assign") == 1, "it has it already"


@pytest.mark.parametrize(
    ("board", "says"),
    [
        ({"kind": 1}, "gets no address: it is a power_board, expected a compute_node"),
        ({"icd_hash": 7}, "gets no address: its ICD hash is"),
        ({"hardware_id": TWO}, f"gets no address: its hardware id is {TWO.hex()}, expected {ONE.hex()}"),
        ({}, "did not take address 257: it stays at 259 (node3); its memory refused, or its host gives it its address"),
    ],
    ids=["kind", "icd", "hardware id", "not its own"],
)
def test_a_board_that_may_not_have_it(
    desk: Desk, capsys: pytest.CaptureFixture[str], tmp_path: Path, board: dict[str, Any], says: str
) -> None:
    entry = f'[boards.node1]\nlink = "serial:S0"\nimage = "none"\nhardware_id = "{ONE.hex()}"\n'
    small_rig(tmp_path, entry)
    fake = FakeBoard(node(3), **({"hardware_id": ONE} | board))
    desk.plug(fake, serial="S0")
    assert cli.main(["assign", "node1", "--rig", str(tmp_path / "rig.toml")]) == 1
    error = capsys.readouterr().err
    assert f"hal: board node1 on serial:S0 {says}" in error
    assert error.count("\n") == 1
    assert ("assign" in fake.heard) == (not board)


def test_only_boards_on_ports_are_given_addresses(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["assign", "node1", "--rig", "desk"]) == 1
    assert "board node1 on mock: is made by the world, expected one on a port" in capsys.readouterr().err


# ---------------------------------------------------------------- the whole way, with the real code of a board
def test_from_a_blank_board_to_a_flying_one(desk: Desk, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Scan, paste, assign, fly: a board without an address, as a microcontroller is that was just flashed."""
    desk.plug(RealBoard(tmp_path / "board.nvm", ONE))
    pasted = said(capsys, "scan") + 'image = "none"\n'
    assert "it has no address yet" in pasted
    small_rig(tmp_path)
    (tmp_path / "rig.toml").write_text(RIG + pasted)
    assert said(capsys, "assign", "node0", "--rig", str(tmp_path / "rig.toml")).endswith("has address 256\n")
    with World(load_rig(str(tmp_path / "rig.toml"))) as world:
        world.run(20)
        assert world.score()["absent_boards"] == []
        assert world.identity("node0")["hardware_id"] == ONE.hex()


def test_a_board_that_comes_back_on_another_port(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rig names its hardware id; where it is plugged in makes no difference, in a running world either."""
    monkeypatch.setattr(lines, "RECONNECT_S", (0.0,))
    monkeypatch.setattr(lines, "HELLO_REQUEST_S", 0.02)
    board = RealBoard(tmp_path / "board.nvm", ONE)
    desk.plug(board, "ttyACM0", serial="")
    rig = small_rig(tmp_path, f'[boards.node1]\nlink = "hardware:{ONE.hex()}"\nimage = "none"\n')
    assign.assign(rig, "node1")
    with World(rig) as world:
        world.run(20)
        desk.unplug("ttyACM0")
        world._lines._drop(2, "pulled out")
        world.run(5)
        assert world.score()["absent_boards"] == ["node1"]
        desk.plug(board, "ttyACM7", serial="")
        while world.score()["absent_boards"]:
            world.run(1)
        world.run(120)
        assert world.link("node1")["unexplained_bytes"] == 0
