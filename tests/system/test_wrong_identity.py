"""Whoever cannot prove to be the board that the rig names is not flown: each reason in one line of its own, from
`flight run` and from `hal doctor` alike."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flight import cli as flight_cli
from hal import cli as hal_cli
from hal import doctor, lines, ports
from hal.backends import hardware
from tests.hal.desk import Desk, FakeBoard, forbid, node
from tests.hal.images import crc_of, image_bytes, write_image
from tests.hal.talker import small_rig
from tests.repo import tree

ONE, TWO = bytes(range(12)), bytes(range(12, 24))
IMAGE = image_bytes()
RIGHT = {"image_crc": crc_of(IMAGE)}


@dataclass
class Bench:
    """Two boards on ports (node0 and node1); the rest of the rig is made by the world."""

    desk: Desk
    rig: Path
    monkeypatch: pytest.MonkeyPatch

    def plug(self, first: FakeBoard | None, second: FakeBoard | None) -> None:
        for i, board in enumerate((first, second)):
            if board is not None:
                self.desk.plug(board, f"ttyACM{i}", serial=f"S{i}")


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    desk = Desk(tmp_path / "machine")
    monkeypatch.setattr(ports, "HOST", desk.system)
    monkeypatch.setattr(hardware, "_found_at", {})
    monkeypatch.setattr(lines, "LOSSY_HELLO_GUARD_S", 0.3)
    monkeypatch.setattr(lines, "HELLO_REQUEST_S", 0.02)
    monkeypatch.setattr(doctor, "ANSWER_S", 0.2)
    monkeypatch.setattr(doctor, "PROBE_GUARD_S", 0.1)
    write_image(tmp_path / "node.elf", IMAGE)
    entry = '[boards.node{i}]\nlink = "serial:S{i}"\nimage = "node.elf"\n'
    rig = small_rig(tmp_path, entry.format(i=0) + entry.format(i=1))
    yield Bench(desk, rig.path, monkeypatch)
    desk.close()


def good(index: int, **hello: Any) -> FakeBoard:
    return FakeBoard(node(index), **({"hardware_id": bytes([index]) * 12} | RIGHT | hello))


def swapped(bench: Bench) -> None:
    bench.plug(good(1), good(0))


def one_id(bench: Bench) -> None:
    bench.plug(good(0, hardware_id=ONE), good(1, hardware_id=ONE))


def held(bench: Bench) -> None:
    bench.plug(good(0), good(1))
    bench.desk.run("screen", 4242, holds=f"{bench.desk.root}/dev/ttyACM1")


def forbidden(bench: Bench) -> None:
    second = good(1)
    bench.plug(good(0), second)
    forbid(bench.monkeypatch, second.path)


def node1_is(**hello: Any) -> Callable[[Bench], None]:
    return lambda bench: bench.plug(good(0), good(1, **hello))


CASES: dict[str, tuple[Callable[[Bench], None], str]] = {
    "other firmware": (node1_is(firmware_hash=bytes(8)), "its firmware hash is 0000000000000000, expected"),
    "other ICD": (node1_is(icd_hash=1), "its ICD hash is 0000000000000001, expected"),
    "other kind": (node1_is(kind=1), "it is a power_board, expected a compute_node"),
    "flight flavour": (node1_is(capabilities=0), "its firmware takes no TICK (a flight build)"),
    "other image": (node1_is(image_crc=9), f"its image CRC is 00000009, expected {crc_of(IMAGE):08x} of"),
    "no address": (node1_is(role=0), "it has no address yet, expected 257; give it one with `hal assign node1 --rig"),
    "swapped roles": (swapped, "; swap the cables, or give it this role with"),
    "two boards with one id": (one_id, f"its hardware id {ONE.hex()} is that of node"),
    "silent": (lambda bench: bench.plug(good(0), FakeBoard(None)), ""),
    "garbage": (lambda bench: bench.plug(good(0), FakeBoard(node(1), baud=9)), ""),
    "held by another process": (held, "is busy: process 4242 (screen) has it open"),
    "no permission": (forbidden, "no permission to open"),
    "no such port": (
        lambda bench: bench.plug(good(0), None),
        "serial:S1: no port with this USB serial number is plugged",
    ),
}
SILENT = {
    "silent": ("no HELLO within 0.3 s; check power and cable", "silent at every usual baud rate"),
    "garbage": ("bytes and no HELLO within 0.3 s; check the baud rate", "but no HELLO at any usual baud rate"),
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_refused_in_one_line(bench: Bench, capsys: pytest.CaptureFixture[str], case: str) -> None:
    prepare, says = CASES[case]
    prepare(bench)
    flight_says, doctor_says = SILENT.get(case, (says, says))

    assert flight_cli.main(["run", "--rig", str(bench.rig), "--for", "1", "--json"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("flight: ")
    assert said.err.count("\n") == 1
    assert flight_says in said.err

    assert hal_cli.main(["doctor", "--rig", str(bench.rig), "--probes", "1"]) == 1
    said = capsys.readouterr()
    wrong = [line for line in said.out.splitlines() if line.startswith("  FAIL")]
    assert any(doctor_says in line for line in wrong), wrong
    assert said.err.count("\n") == 1


def test_every_reason_has_words_of_its_own(bench: Bench) -> None:
    told = [says for case, (_, says) in CASES.items() if case not in SILENT] + [says for says, _ in SILENT.values()]
    assert len(set(told)) == len(CASES)


def test_a_board_that_proves_it_all_is_well(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.plug(good(0), good(1))
    assert hal_cli.main(["doctor", "--rig", str(bench.rig), "--probes", "5"]) == 0
    assert "FAIL" not in capsys.readouterr().out


HOLD = "import os, sys; fd = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY); print('open', flush=True); sys.stdin.read()"


def test_programs_of_their_own_refuse_a_port_that_a_program_has(tmp_path: Path) -> None:
    """Nothing is pretended: a process that locks nothing, the kernel's /proc, and the commands as users run them."""
    board = FakeBoard(node(1))
    rig = small_rig(tmp_path, f'[boards.node1]\nlink = "serial:{board.path}"\nimage = "none"\n')
    holder = subprocess.Popen([sys.executable, "-c", HOLD, board.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        for package, arguments in (("flight", ["run", "--rig", rig.path, "--for", "1"]), ("hal", ["serve", rig.path])):
            code = f"import sys; from {package}.cli import main; sys.exit(main())"
            command = [sys.executable, "-c", code, *map(str, arguments)]
            env = {**os.environ, "PYTHONPATH": str(tree.ROOT)}
            done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env, check=False)
            assert done.returncode == 1
            assert f"{board.path} is busy: process {holder.pid} (" in done.stderr
            assert done.stderr.count("\n") == 1
    finally:
        holder.kill()
        holder.communicate()
        board.close()
