"""The real stm32loader programs a boot loader of the tests' own, byte for byte, through `hal flash`."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path

import pytest

from hal import flashing
from hal.elf import read_elf
from hal.icd import BoardKind
from hal.images import image_of
from tests.hal.bootloader import FLASH_BYTES, BootLoader, Cut, Nack
from tests.hal.desk import FakeBoard, node
from tests.hal.flash_bench import Bench
from tests.hal.images import crc_of, image_bytes

ONE = bytes(range(12))


@dataclass
class Chip:
    """The chip under its two lines: the board bus, and the UART of its boot loader."""

    rom: BootLoader
    board: FakeBoard
    bench: Bench

    def rig(self) -> str:
        return self.bench.rig("stm32loader:ROM?baud=115200")


@pytest.fixture
def chip(bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Chip:
    board = FakeBoard(node(1), role=0, hardware_id=ONE, assignable=True)
    folder = tmp_path / "rom"
    folder.mkdir()
    rom = BootLoader(folder, board)
    for name, value in rom.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(flashing, "AFTER_S", 2.0)
    bench.desk.plug(board, "ttyACM0", serial="BUS")
    bench.desk.plug(rom, "ttyUSB0", serial="ROM", usb_id=(0x0403, 0x6001))
    return Chip(rom, board, bench)


@pytest.mark.parametrize("length", [3000, 3001, 1024, 20_180])
def test_stm32loader_programs_the_image_byte_for_byte(chip: Chip, length: int) -> None:
    made = image_bytes(length=length)
    chip.bench.image(made)
    chip.rom.flash[:] = random.Random(1).randbytes(FLASH_BYTES)  # what was there before
    chip.rom.reset(boot0=False)
    code, out, err = chip.bench.flash("--json", rig=chip.rig())
    assert code == 0, err
    assert chip.rom.flash[:length] == made
    assert set(chip.rom.flash[length:]) == {0xFF}
    assert json.loads(out) == {
        "role": "node1", "image": str(chip.bench.folder / "node.elf"), "bytes": length, "address": 257,
        "image_crc": f"{crc_of(made):08x}", "flavour": "bench", "tool": "stm32loader", "hardware_id": ONE.hex(),
    }  # fmt: skip
    assert "Verification OK" in err, "what the program says is passed on"
    assert {line.split()[2:] == ["E", "115200"] for line in chip.rom.lines} == {True}, "8E1"
    assert chip.board.hello is not None
    assert chip.board.hello["role"] == 257, "the erased flash took its address away, so it was given one"


def test_the_image_that_ships(chip: Chip) -> None:
    """What `make firmware` made is programmed as the emulators load it."""
    ships = image_of(BoardKind.COMPUTE_NODE)
    code, out, err = chip.bench.flash("--image", str(ships), rig=chip.rig())
    assert code == 0, err
    loaded = read_elf(ships)
    assert loaded.address == 0x0800_0000
    assert bytes(chip.rom.flash[: len(loaded.image)]) == loaded.image
    assert f"runs {ships} ({len(loaded.image)} bytes" in out


def test_a_board_without_reset_lines_is_started_by_the_boot_loader(chip: Chip) -> None:
    """BOOT0 and reset by hand: it is in the boot loader already, and GO starts the image."""
    chip.rom.wired = False
    chip.rom.reset(boot0=True)
    chip.bench.image(image_bytes())
    assert chip.bench.flash(rig=chip.rig())[0] == 0
    assert not chip.rom.in_rom


@pytest.mark.parametrize("at", [1, 2, 5, 7, 12])
def test_a_nack_fails_and_the_next_try_succeeds(chip: Chip, at: int) -> None:
    made = image_bytes()
    chip.bench.image(made)

    def refuse(command: int, count: int) -> None:
        if count == at:
            raise Nack

    chip.rom.before = refuse
    said = chip.bench.refuses(rig=chip.rig())
    assert "stm32loader:ROM?baud=115200: stm32loader failed with exit code" in said
    chip.rom.before = lambda command, count: None
    assert chip.bench.flash(rig=chip.rig())[0] == 0
    assert chip.rom.flash[: len(made)] == made


@pytest.mark.parametrize("at", [4, 9])
def test_a_transfer_that_is_cut(chip: Chip, at: int) -> None:
    chip.bench.image(image_bytes())

    def cut(command: int, count: int) -> None:
        if count == at:
            raise Cut

    chip.rom.before = cut
    assert "stm32loader failed with exit code" in chip.bench.refuses(rig=chip.rig())


def test_a_bit_that_is_not_what_was_written(chip: Chip) -> None:
    chip.bench.image(image_bytes())

    def damage(command: int, count: int) -> None:
        if command == 0x11 and chip.rom.flash[:4] != b"\xff" * 4:
            chip.rom.flash[700] ^= 4

    chip.rom.before = damage
    said = chip.bench.refuses(rig=chip.rig())
    assert "Verification FAILED: Verification data does not match" in said


def test_a_wrong_image_is_refused_by_its_hello(chip: Chip) -> None:
    """The program is content, but what runs afterwards is not what was to be put there."""
    other = image_bytes(seed=2)
    chip.bench.image(image_bytes())
    started = chip.rom.reset

    def start_other(boot0: bool) -> None:
        if not boot0 and chip.rom.holds_image():
            chip.rom.flash[: len(other)] = other
        started(boot0)

    chip.rom.reset = start_other  # type: ignore[method-assign]
    said = chip.bench.refuses(rig=chip.rig())
    wanted = crc_of(image_bytes())
    assert f"it runs the image with CRC {crc_of(other):08x}, expected {wanted:08x} of" in said


def test_a_board_that_does_not_start_again(chip: Chip) -> None:
    chip.bench.image(image_bytes())
    chip.rom.wired = False
    chip.rom.reset(boot0=True)

    def no_go(command: int, count: int) -> None:
        if command == 0x21:
            raise Nack

    chip.rom.before = no_go
    assert "stm32loader failed with exit code" in chip.bench.refuses(rig=chip.rig())


def test_no_boot_loader_there(chip: Chip) -> None:
    chip.bench.image(image_bytes())
    chip.rom.hang_up()
    assert "stm32loader failed with exit code" in chip.bench.refuses(rig=chip.rig())


def test_the_boot_loaders_port_is_somebody_elses(chip: Chip) -> None:
    chip.bench.image(image_bytes())
    chip.bench.desk.run("screen", 99, holds=f"{chip.bench.desk.root}/dev/ttyUSB0")
    assert "ttyUSB0 is busy: process 99 (screen) has it open" in chip.bench.refuses(rig=chip.rig())
    assert chip.rom.count == 0
