"""The board as a child process: the same bytes as in this process, its memory in a file, clear errors."""

import subprocess
from pathlib import Path

import pytest

from hal.icd import ResetCause
from tests.boards.harness import (
    COMMANDED,
    COMPUTE_NODE,
    HARDWARE_ID,
    NODE_CONFIG,
    POWER_BOARD,
    POWER_CONFIG,
    ROLE,
    Board,
    parse,
)

EXE = Path(__file__).parents[2] / "hal" / "bin" / "dawnline-board"
KIND = {COMPUTE_NODE: "compute_node", POWER_BOARD: "power_board"}


def arguments(kind: int, nvm: Path, cause: int = ResetCause.POWER_ON) -> list[str]:
    return [str(EXE), KIND[kind], str(ROLE[kind]), HARDWARE_ID.hex(), str(nvm), str(cause)]


def converse(kind: int, nvm: Path, wire: bytes) -> bytes:
    """Everything that a child says to these bytes, until its line ends."""
    done = subprocess.run(arguments(kind, nvm), input=wire, capture_output=True, check=True, timeout=30)
    assert done.stderr == b""
    return done.stdout


def script(kind: int) -> bytes:
    board = Board(kind)
    name, config = ("node_config", NODE_CONFIG) if kind == COMPUTE_NODE else ("power_config", POWER_CONFIG)
    wire = board.wire(name, session=1, command_seq=1, **config)
    return wire + b"".join(board.tick_wire() for _ in range(150))


@pytest.mark.parametrize("kind", [COMPUTE_NODE, POWER_BOARD])
def test_says_what_the_board_in_this_process_says(kind: int, tmp_path: Path):
    wire = script(kind)
    here = Board(kind).receive(wire)
    hello, *there = parse(converse(kind, tmp_path / "nvm", wire))
    assert [frame.wire for frame in there] == [frame.wire for frame in here]
    assert hello.name == "hello"
    assert hello.fields["hardware_id"] == HARDWARE_ID
    assert hello.fields["firmware_hash"] != bytes(8)


@pytest.mark.parametrize("kind", [COMPUTE_NODE, POWER_BOARD])
def test_its_memory_is_a_file(kind: int, tmp_path: Path):
    nvm = tmp_path / "nvm"
    counts = [parse(converse(kind, nvm, b""))[0].fields["boot_count"] for _ in range(3)]
    assert counts == [1, 2, 3]
    assert nvm.stat().st_size == 4096


def test_boots_again_when_commanded(tmp_path: Path):
    board = Board(COMPUTE_NODE)
    wire = board.wire("reset", session=1, command_seq=1) + board.tick_wire()
    first, *_, second = parse(converse(COMPUTE_NODE, tmp_path / "nvm", wire))
    assert (first.fields["boot_count"], first.fields["reset_cause"]) == (1, ResetCause.POWER_ON)
    assert (second.fields["boot_count"], second.fields["reset_cause"]) == (2, COMMANDED)


@pytest.mark.parametrize(
    ("at", "value", "said"),
    [
        (1, "toaster", "KIND must be power_board or compute_node, not: toaster"),
        (2, "65535", "ADDRESS must be a number from 0 to 65534, not: 65535"),
        (2, "16x", "ADDRESS must be a number from 0 to 65534, not: 16x"),
        (3, "00", "HARDWARE_ID must be 24 hexadecimal digits, not: 00"),
        (3, "g" * 24, "HARDWARE_ID must be 24 hexadecimal digits, not: " + "g" * 24),
        (5, "7", "CAUSE must be the number of a reset cause (1 to 6), not: 7"),
        (4, "/", "NVM_FILE /: Is a directory"),
    ],
)
def test_a_wrong_argument_is_one_clear_line(tmp_path: Path, at: int, value: str, said: str):
    command = arguments(COMPUTE_NODE, tmp_path / "nvm")
    command[at] = value
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode != 0
    assert done.stderr.count("\n") == 1
    assert said in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "nvm").exists()


def test_a_memory_file_of_another_size_is_left_alone(tmp_path: Path):
    nvm = tmp_path / "nvm"
    nvm.write_bytes(b"precious")
    done = subprocess.run(arguments(COMPUTE_NODE, nvm), capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, nvm.read_bytes()) == (1, b"precious")
    assert "expected a file of 4096 bytes" in done.stderr


def test_without_arguments_it_says_how_it_is_used():
    done = subprocess.run([str(EXE)], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: dawnline-board")
