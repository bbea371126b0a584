"""The images for silicon, as a factory writes them, on a model of the STM32F4's flash controller: the driver does what
the manual asks for, an update works through it, and so does the persistent memory. What a model cannot show is in
docs/update.md."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from struct import pack_into

import pytest
from unicorn import arm_const as arm

from hal.elf import read_elf
from hal.errors import UpdateError
from hal.firmware import CRC_AT, HEADER_AT, Image, image_crc, read_image
from hal.icd import AckCode, BoardKind, ImageSlot, ResetCause, SlotState
from hal.images import FOLDER, slots_of
from hal.probe import Probe
from hal.talk import Talk
from hal.update import Updater
from tests.boards.harness import NODE_CONFIG
from tests.update import emulated
from tests.update.silicon import CR, KEYR, SR, FlashLine, sector

ADDRESS, UNIQUE_ID = 259, bytes(range(50, 62))
KIND = BoardKind.COMPUTE_NODE
NAME = "compute_node"


def newer(image: Image, version: int) -> Image:
    """The same image under another version."""
    data = bytearray(image.data)
    pack_into("<I", data, HEADER_AT + 12, version)
    pack_into("<I", data, CRC_AT, image_crc(bytes(data)))
    return replace(image, data=bytes(data), version=version, crc=image_crc(bytes(data)), path=Path(f"v{version}.elf"))


SLOTS = [read_image(path) for path in slots_of(KIND)]


@pytest.fixture
def board() -> FlashLine:
    factory = (FOLDER / f"dawnline-{NAME}-factory.bin").read_bytes()
    line = FlashLine(factory, read_elf(FOLDER / f"dawnline-boot-{NAME}.elf"), UNIQUE_ID)
    assert Probe(line).assign(UNIQUE_ID, ADDRESS, 1.0).role == ADDRESS
    return line


def updater(board: FlashLine) -> Updater:
    return Updater(Talk(board, ADDRESS), "node3")


def test_a_board_from_the_factory(board: FlashLine):
    """Its first boot puts a record of slot A, and its own memory, into flash that was erased."""
    hello = updater(board).hello()
    assert (hello.image_crc, hello.hardware_id, hello.boot_count) == (SLOTS[0].crc, UNIQUE_ID, 1)
    status = updater(board).status()
    assert (status["running"], status["state_a"], status["base"]) == (ImageSlot.A, SlotState.CONFIRMED, SLOTS[1].base)
    assert status["slot_bytes"] == 128 * 1024
    board.reset()
    hello = updater(board).hello()
    assert (hello.role, hello.boot_count) == (ADDRESS, 2)
    assert board.chip.erased == [3]  # the first snapshot of its memory
    assert board.chip.faults == []


def test_an_update(board: FlashLine):
    two = [newer(image, 2) for image in SLOTS]
    result = updater(board).run(two)
    assert (result.changed, result.slot, result.repeated) == (True, "b", 0)
    address, size = sector(6)
    assert board.flash(address, size) == two[1].data.ljust(size, b"\xff")
    assert board.chip.erased == [3, 6]
    assert updater(board).hello().image_crc == two[1].crc
    assert updater(board).run([newer(image, 3) for image in SLOTS]).slot == "a"
    assert board.chip.erased == [3, 6, 5]
    board.reset()
    assert updater(board).hello().image_crc == newer(SLOTS[0], 3).crc
    assert board.chip.faults == []


def test_a_board_that_erases_says_that_it_is_busy_and_loses_nothing(board: FlashLine):
    """A second of erasing: five times a second it repeats its status, and it keeps what arrives."""
    talk = Talk(board, ADDRESS)
    talk.receive(0)
    board.chip.arrives_while_erasing = query = _query(ADDRESS)
    image = newer(SLOTS[1], 2)
    facts = {"kind": KIND, "size": len(image.data), "image_crc": image.crc, "version": 2}
    talk.send("update_begin", session=1, command_seq=1, **facts)
    states = [frame.values["state_b"] for frame in talk.receive(0) if frame.name == "update_status"]
    assert len(query) > 0
    busy = states.count(SlotState.ERASING)
    assert 5 <= busy <= 6
    assert states[busy:] == [SlotState.RECEIVING, SlotState.RECEIVING]  # after the erasure, and to the query
    assert talk.damaged == 0
    assert board.chip.faults == []


def test_a_trial_is_not_fed_and_the_watchdog_ends_it(board: FlashLine):
    two = newer(SLOTS[1], 2)
    u = updater(board)
    before = u.hello()
    u.status()
    u.transfer(two)
    assert u.boot(before).image_crc == two.crc
    fed = board.chip.fed
    for _ in range(5):
        assert u.status()["state_b"] == SlotState.TRIAL
    assert board.chip.fed == fed
    assert board.chip.watchdog
    assert board.chip.bite()
    board.reset()
    hello = updater(board).hello()
    assert (hello.image_crc, hello.reset_cause) == (SLOTS[0].crc, ResetCause.WATCHDOG)
    with pytest.raises(UpdateError, match="not_running"):
        u.confirm(two.crc)
    assert updater(board).run([two]).changed
    fed = board.chip.fed
    updater(board).status()
    assert board.chip.fed > fed  # a confirmed image is
    assert board.chip.faults == []


def test_persistent_memory_survives_many_writes(board: FlashLine):
    """More than both areas hold: each is compacted, and nothing is lost."""
    talk = Talk(board, ADDRESS)
    talk.receive(0)
    for number in range(1, 800):
        talk.send("node_config", session=1, command_seq=number, **NODE_CONFIG | {"boot_ms": 1000 + number})
        assert talk.receive(0)[0].values["code"] == AckCode.OK
    assert board.chip.erased == [3, 4, 3]
    board.reset()
    hello = updater(board).hello()
    assert (hello.role, hello.boot_count) == (ADDRESS, 2)
    assert board.chip.faults == []


def test_an_image_never_erases_itself(tmp_path: Path):
    """One that reaches into the sectors of its own memory goes on without."""
    build, low = emulated.builder(), 0x0800_8000
    compiler, work = build.find_compiler(None), tmp_path / "work"
    (image,) = build.build(compiler, build.STM32F4, NAME, "bench", "-Os", tmp_path, work, {"-low": low})
    assert low + len(image.data) > sector(3)[0]
    board = FlashLine(image.data, read_elf(image.path), UNIQUE_ID, low)
    assert Probe(board).assign(UNIQUE_ID, ADDRESS, 0.2).role != ADDRESS  # it cannot keep it
    assert (board.chip.erased, board.chip.programmed) == ([], 0)
    assert board.flash(low, len(image.data)) == image.data


def test_the_model_finds_faults(board: FlashLine):
    """Else it would prove nothing."""
    chip = board.chip
    chip.write(CR, 1)
    chip.write(KEYR, 1)
    chip.on_store(chip.uc, 0, sector(6)[0], 4, 0, None)
    chip.uc.reg_write(arm.UC_ARM_REG_PRIMASK, 0)
    chip.read(0x4400)
    chip.on_load(chip.uc, 0, sector(6)[0], 4, 0, None)
    wrong = (
        "FLASH_CR is written while it is locked",
        "key 0x1",
        "a store to",
        "runs in flash",
        "an interrupt",
        "reads",
    )
    for fault, beginning in zip(chip.faults, wrong, strict=True):
        assert fault.startswith(beginning)
    assert chip.read(SR) & 0x80


def _query(address: int) -> bytes:
    from hal import icd
    from hal.frames import encode

    return encode("update_query", icd.Address.FLIGHT, address, 0, 0)
