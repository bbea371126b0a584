"""A port to another part, of another instruction set and without any floating point, has the bytes of the mock."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hal.parity.fly import Flown, first_difference, fly
from hal.rig import load_rig
from tests.firmware import nrf51
from tests.tools import NEEDS_ARM_GCC, NEEDS_QEMU

ROOT = Path(__file__).parents[2]
TICKS = 300
ROLES = ["power", "node0", "node1", "node2", "node3"]


def build(compiler: str, out: Path) -> Path:
    command = [sys.executable, "csrc/firmware/build.py", "--part", "nrf51", "--compiler", compiler, "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("zig", tmp_path_factory.mktemp("nrf51"))


@pytest.fixture(scope="module")
def mock() -> Flown:
    return fly(load_rig("desk"), "mock", TICKS, None, lambda done: None)


def assert_same(mock: Flown, other: Flown) -> None:
    assert first_difference(mock.log, other.log, ROLES) == ""
    assert other.bus_sha256 == mock.bus_sha256
    assert other.link_errors == mock.link_errors


def test_a_cortex_m0_in_this_process(mock: Flown, images: Path):
    assert_same(mock, fly(load_rig("desk"), "unicorn", TICKS, images, lambda done: None, nrf51.open_link))


@NEEDS_ARM_GCC
def test_a_cortex_m0_built_by_gcc(mock: Flown, tmp_path: Path):
    folder = build("gcc", tmp_path)
    assert_same(mock, fly(load_rig("desk"), "unicorn", TICKS, folder, lambda done: None, nrf51.open_link))


@NEEDS_QEMU
def test_a_micro_bit_in_qemu(mock: Flown, images: Path):
    assert_same(mock, fly(load_rig("desk"), "qemu:microbit", TICKS, images, lambda done: None))
