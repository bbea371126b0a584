"""Boards on emulated microcontrollers that take updates: real boot loader, real images, slots in RAM.

The flash of an emulator cannot be written, but RAM survives its resets. So the slots and their records lie in RAM,
where csrc/firmware/ram_slots puts what a factory would have written; the same objects as everywhere, linked for there.
"""

from __future__ import annotations

import functools
import importlib.util
import random
import struct
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import unicorn

from hal.backends.unicorn import Stm32F4, UnicornLine, command_line
from hal.cortexm import CortexM, Host
from hal.elf import read_elf
from hal.firmware import CRC_AT, Image, image_crc
from hal.icd import BoardKind
from hal.link import Board

ROOT = Path(__file__).resolve().parents[2]
KIND, NAME, ADDRESS = BoardKind.COMPUTE_NODE, "compute_node", 256
RAM_BASE, SCRATCH_END = 0x2000_0000, 0x2000_6000  # memory of images and boot loader: gone when the power fails
SLOTS = (0x2000_8000, 0x2001_0000)
FACTORY = 0x0801_0000
LOGS, LOG_BYTES = (0x2000_6400, 0x2000_6800), 1024
SYMBOLS = {
    "__slot_a": SLOTS[0],
    "__slot_b": SLOTS[1],
    "__slot_bytes": 32 * 1024,
    "__slot_log": LOGS[0],
    "__slot_other_log": LOGS[1],
    "__slot_log_bytes": LOG_BYTES,
    "__cold_start": SCRATCH_END,
    "__factory": FACTORY,
    # Persistent memory is the emulator's file.
    "__nvm_area": LOGS[1] + LOG_BYTES,
    "__nvm_area_bytes": 0,
    "__nvm_other_area": LOGS[1] + LOG_BYTES,
    "__nvm_other_area_bytes": 0,
}


@functools.cache
def builder() -> ModuleType:
    """csrc/firmware/build.py."""
    spec = importlib.util.spec_from_file_location("firmware_build", ROOT / "csrc/firmware/build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@functools.cache
def folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="dawnline-slots-"))


@functools.cache
def ram_slots() -> Any:
    """The part whose slots are in RAM."""
    build = builder()
    return replace(build.STM32F4, slots=SLOTS, symbols=build.STM32F4.symbols | SYMBOLS)


@functools.cache
def boot_loader() -> Path:
    build, work = builder(), folder() / "boot"
    cold_start = ROOT / "csrc/firmware/ram_slots/cold_start.c"
    more = (cold_start, ROOT / "csrc/firmware/image.c")
    found: Path = build.build_boot(build.find_compiler(None), ram_slots(), NAME, "-Os", folder(), work, more)
    return found


@functools.cache
def version(number: int) -> list[Image]:
    """The images of a version, for slots A and B."""
    build, work = builder(), folder() / f"v{number}"
    build.VERSION = number
    places = {f"-v{number}-slot-{name}": base for name, base in zip("ab", SLOTS, strict=True)}
    images: list[Image] = build.build(
        build.find_compiler(None), ram_slots(), NAME, "bench", "-Os", folder(), work, places
    )
    return images


def damaged(image: Image) -> Image:
    """The same image, sealed again, whose first instruction is none."""
    data = bytearray(image.data)
    entry = int.from_bytes(data[4:8], "little") - 1 - image.base
    data[entry : entry + 2] = b"\xde\xde"
    struct.pack_into("<I", data, CRC_AT, image_crc(bytes(data)))
    return replace(image, path=Path("broken.elf"), data=bytes(data), crc=image_crc(bytes(data)))


class PowerError(Exception):
    """The power has failed."""


class SlotMachine(UnicornLine):
    """The board in Unicorn; image: what the factory put into flash. Its power can fail at any store into the slots."""

    def __init__(self, image: Image, nvm: Path) -> None:
        nvm.write_bytes(b"\xff" * 4096)
        board = Board("node0", KIND, ADDRESS, bytes(range(12)), nvm)
        machine = CortexM(read_elf(boot_loader()), Stm32F4(), Host(command_line(board), nvm))
        machine.uc.mem_write(FACTORY, image.data)
        self.stores, self.left = 0, 0
        machine.uc.hook_add(unicorn.UC_HOOK_MEM_WRITE, self._on_store, begin=LOGS[0], end=SLOTS[1] + 0x8000 - 1)
        super().__init__("unicorn:", machine, machine.peripherals)  # type: ignore[arg-type]

    @property
    def uc(self) -> Any:
        assert self.machine is not None
        return self.machine.uc

    def _on_store(self, *_: Any) -> None:
        self.stores += 1
        self.left -= 1
        if self.left == 0:
            raise PowerError

    def cut_after(self, stores: int) -> None:
        """The power fails with that store into slots or records from now on: whatever runs then raises `PowerError`."""
        self.left = stores

    def power_cycle(self, seed: int = 0) -> None:
        """What flash would keep stays, all else is anything."""
        self.chip.received.clear()
        self.chip.sent.clear()
        self.uc.mem_write(RAM_BASE, random.Random(seed).randbytes(SCRATCH_END - RAM_BASE))
        assert self.machine is not None
        self.machine.reset()
        self.machine.run()

    def slot(self, number: int, length: int) -> bytes:
        return bytes(self.uc.mem_read(SLOTS[number], length))
