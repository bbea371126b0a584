"""Real boot loader and real images in Unicorn and QEMU: from version 1 to version 2, back, and through power cuts."""

from __future__ import annotations

import contextlib
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hal.backends import qemu
from hal.errors import UpdateError
from hal.icd import ImageSlot, ResetCause, SlotState
from hal.link import Board, parse_url
from hal.talk import Talk
from hal.update import Updater
from tests.tools import NEEDS_QEMU
from tests.update import emulated
from tests.update.emulated import ADDRESS, FACTORY, KIND, PowerError, SlotMachine, boot_loader, damaged, version

FACTORY_BOARDS = 20


@pytest.fixture
def machine(tmp_path: Path) -> SlotMachine:
    return SlotMachine(version(1)[0], tmp_path / "nvm")


def updater(machine) -> Updater:
    return Updater(Talk(machine, ADDRESS), "node0")


def test_a_cold_start_runs_the_factory_image(machine: SlotMachine):
    hello = updater(machine).hello()
    assert (hello.image_crc, hello.boot_count) == (version(1)[0].crc, 1)
    status = updater(machine).status()
    assert (status["running"], status["base"]) == (ImageSlot.A, emulated.SLOTS[1])
    assert (status["state_a"], status["version_a"]) == (SlotState.CONFIRMED, 1)


def test_a_trial_that_is_not_confirmed_is_gone_back_from_and_then_succeeds(machine: SlotMachine):
    u = updater(machine)
    before = u.hello()
    u.status()
    u.transfer(version(2)[1])
    tried = u.boot(before)
    assert (tried.image_crc, tried.reset_cause) == (version(2)[1].crc, ResetCause.COMMANDED)
    assert u.status()["state_b"] == SlotState.TRIAL
    machine.power_cycle()
    u = updater(machine)
    assert u.hello().image_crc == version(1)[0].crc
    assert u.status()["state_b"] == SlotState.REJECTED
    result = updater(machine).run(version(2))
    assert (result.slot, result.image.version, result.repeated) == ("b", 2, 0)
    assert result.resumed_at == len(version(2)[1].data)  # it was there already
    machine.power_cycle()
    assert updater(machine).hello().image_crc == version(2)[1].crc
    assert updater(machine).run(version(1)).slot == "a"
    assert updater(machine).hello().image_crc == version(1)[0].crc


def test_an_image_that_crashes_is_gone_back_from(machine: SlotMachine):
    broken = damaged(version(2)[1])
    with pytest.raises(UpdateError, match=r"node0: went back to image .* broken\.elf did not start"):
        updater(machine).run([broken])
    hello = updater(machine).hello()
    assert hello.image_crc == version(1)[0].crc
    assert updater(machine).run(version(2)).changed


def test_a_damaged_slot_is_never_started(machine: SlotMachine):
    updater(machine).run(version(2))
    machine.uc.mem_write(emulated.SLOTS[1] + 5000, b"\0\1\2\3")
    machine.power_cycle()
    assert updater(machine).hello().image_crc == version(1)[0].crc
    assert updater(machine).status()["state_b"] == SlotState.EMPTY
    machine.uc.mem_write(emulated.SLOTS[0] + 5000, b"\0\1\2\3")
    machine.power_cycle()
    with pytest.raises(UpdateError, match="silent"):
        updater(machine).hello()


def test_power_cuts_at_random_instants(machine: SlotMachine):
    """Of the transfer, its bookkeeping, the boot loader and the confirmation; then the update ends well."""
    first = machine.stores
    updater(machine).run(version(2))
    total = machine.stores - first
    assert total > len(version(2)[1].data)
    known = {image.crc: image for number in (1, 2) for image in version(number)}
    cuts = 0
    for seed in range(FACTORY_BOARDS):
        chance = random.Random(seed)
        machine.uc.mem_write(emulated.SCRATCH_END, bytes(4))  # the next start is that of a board fresh from the factory
        machine.power_cycle(seed)
        for _ in range(chance.randint(1, 3)):
            machine.cut_after(chance.randrange(1, total if chance.random() < 0.6 else 200))
            try:
                updater(machine).run(version(2))
            except PowerError:
                cuts += 1
            if chance.random() < 0.5:
                machine.cut_after(chance.randrange(1, 64))
                with contextlib.suppress(PowerError):
                    machine.power_cycle(seed)
            machine.cut_after(0)
            machine.power_cycle(seed)
            hello = updater(machine).hello()
            image = known[hello.image_crc]
            assert machine.slot(updater(machine).status()["running"], len(image.data)) == image.data
        updater(machine).run(version(2))
        machine.power_cycle(seed)
        assert updater(machine).hello().image_crc == version(2)[1].crc
        assert updater(machine).status()["state_b"] == SlotState.CONFIRMED
    assert cuts >= FACTORY_BOARDS


@pytest.fixture
def in_qemu(tmp_path: Path) -> Iterator[qemu.QemuLine]:
    """The same board in QEMU; what is in flash comes from files."""
    nvm, factory = tmp_path / "nvm", tmp_path / "factory.bin"
    nvm.write_bytes(b"\xff" * 4096)
    factory.write_bytes(version(1)[0].data)
    image = f"loader,file={factory},addr={FACTORY:#x},force-raw=on"
    command = [qemu.PROGRAM, "-M", qemu.MACHINE, "-kernel", str(boot_loader()), "-device", image]
    folder = tempfile.TemporaryDirectory(prefix="dl-")
    board = Board("node0", KIND, ADDRESS, bytes(range(12)), nvm)
    with contextlib.closing(qemu._start(parse_url("qemu:"), board, qemu.MACHINE, command, folder)) as line:
        yield line


@NEEDS_QEMU
def test_in_qemu_too(in_qemu: qemu.QemuLine):
    """From 1 to 2, back by a reset in the trial, and there again; resets by QMP, which write flash anew."""
    u = updater(in_qemu)
    before = u.hello()
    assert before.image_crc == version(1)[0].crc
    u.status()
    u.transfer(version(2)[1])
    assert u.boot(before).image_crc == version(2)[1].crc
    in_qemu.reset()
    hello = updater(in_qemu).hello()
    assert (hello.image_crc, hello.boot_count) == (version(1)[0].crc, before.boot_count + 2)
    assert updater(in_qemu).run(version(2)).resumed_at == len(version(2)[1].data)
    in_qemu.reset()
    assert updater(in_qemu).hello().image_crc == version(2)[1].crc
    assert updater(in_qemu).run(version(1)).slot == "a"
