"""A model of the STM32F4's flash and its controller, as RM0090 section 3 describes them, around the images for silicon.

Whatever the manual forbids, or would stand still for, is kept in `faults`: code that runs, or data that is read, in
flash while it is busy; stores without the right setting; a key too many; interrupts that could be taken meanwhile.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import unicorn
from unicorn import arm_const as arm

from hal.backends.unicorn import Stm32F4, UnicornLine
from hal.cortexm import FLASH, RAM, CortexM
from hal.elf import Elf, Segment
from hal.semihosting import Host

UNIQUE_ID = 0x1FFF_7A10
KEYR, SR, CR, RCC_CR, IWDG_KR = 0x23C04, 0x23C0C, 0x23C10, 0x23800, 0x3000
SYST_RVR, SYST_CVR = 0xE014, 0xE018
PG, SER, STRT, LOCK, BSY = 1, 2, 1 << 16, 1 << 31, 1 << 16
PGSERR, PGPERR = 1 << 7, 1 << 6
SIZES = {0: 1, 1: 2, 2: 4}
CLOCKS_PER_POLL = 20_000
"""How far time goes between two looks at the controller: much less than a word takes, and yet not for ever."""
PROGRAM_CLOCKS = 256
ERASE_CLOCKS = {16: 4_000_000, 64: 8_800_000, 128: 16_000_000}
BURST = 512
IT_BITS = 0x0600_FC00


def sector(number: int) -> tuple[int, int]:
    """(address, bytes) of a sector."""
    sizes = [16, 16, 16, 16, 64] + [128] * 7
    return FLASH[0] + 1024 * sum(sizes[:number]), 1024 * sizes[number]


def leave_it_block(uc: Any) -> None:
    """Unicorn restores the state of the core for a hook, and afterwards takes the next block for the rest of an IT
    block that the access was in: instructions would be left out."""
    psr = uc.reg_read(arm.UC_ARM_REG_XPSR)
    if psr & IT_BITS:
        uc.reg_write(arm.UC_ARM_REG_XPSR, psr & ~IT_BITS)


class FlashChip(Stm32F4):
    """An STM32F4 whose oscillator runs: the firmware takes it for one on a desk."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.erased: list[int] = []
        self.programmed = 0
        self.arrives_while_erasing = b""
        self.fed = 0
        """how often the watchdog was fed"""
        self.uc: Any = None
        self.clock = 0
        self._registers: dict[int, int] = {}
        self._keys = 0
        self._cr, self._sr = LOCK, 0
        self._busy_until = 0
        self._stored: tuple[int, bytes, int] | None = None  # address, what was there, size

    def reset(self) -> None:
        super().reset()
        self._cr, self._sr, self._keys, self._busy_until = LOCK, 0, 0, 0

    @property
    def busy(self) -> bool:
        return self.clock < self._busy_until

    def read(self, offset: int) -> int:
        if self.busy:
            self._check_core()
        if offset == RCC_CR:
            return 2
        if offset == SR:
            return self._status()
        if offset == CR:
            return self._cr
        if offset in self._registers:
            return self._registers[offset]
        return super().read(offset)

    def write(self, offset: int, value: int) -> None:
        if offset == KEYR:
            self._key(value)
        elif offset == CR:
            self._control(value)
        elif offset == SR:
            self._sr &= ~value
        elif offset < 0x3000 or 0x20000 <= offset < 0x23000 or 0x23800 <= offset < 0x23870:
            self._registers[offset] = value
        else:
            self.fed += offset == IWDG_KR and value == 0xAAAA
            super().write(offset, value)

    # ------------------------------------------------------------ the controller
    def _key(self, value: int) -> None:
        wanted = (0x4567_0123, 0xCDEF_89AB)
        if not self._cr & LOCK or value != wanted[self._keys % 2]:
            self.faults.append(f"key {value:#x} locks the controller until the next reset")
            return
        self._keys += 1
        if self._keys % 2 == 0:
            self._cr &= ~LOCK

    def _status(self) -> int:
        if self._stored is not None:
            self._finish_store()
        self.clock += CLOCKS_PER_POLL
        return self._sr | (BSY if self.busy else 0)

    def _control(self, value: int) -> None:
        if self.busy:
            self.faults.append("FLASH_CR is written while the controller is busy")
        if self._cr & LOCK:
            self.faults.append("FLASH_CR is written while it is locked")
            return
        self._cr = value & ~STRT
        if value & STRT:
            self._erase(value >> 3 & 15)

    def _erase(self, number: int) -> None:
        address, size = sector(number)
        if not self._cr & SER or self._cr & PG:
            self.faults.append(f"an erasure of sector {number} without SER alone")
        self._begin(ERASE_CLOCKS[size // 1024])
        self.erased.append(number)
        self.uc.mem_write(address, b"\xff" * size)
        self.received.extend(self.arrives_while_erasing)
        self.arrives_while_erasing, self._burst = b"", BURST

    def _begin(self, clocks: int) -> None:
        self._busy_until = self.clock + clocks

    def _check_core(self) -> None:
        """Where it runs while flash is busy."""
        pc = self.uc.reg_read(arm.UC_ARM_REG_PC)
        if not RAM[0] <= pc < RAM[0] + RAM[1]:
            self.faults.append(f"runs in flash while it is busy, at {pc:#x}")
        if self.uc.reg_read(arm.UC_ARM_REG_PRIMASK) != 1:
            self.faults.append("an interrupt could be taken while flash is busy")

    def on_store(self, uc: Any, access: int, address: int, size: int, value: int, _: Any) -> None:
        """A store into flash, before Unicorn does it."""
        leave_it_block(uc)
        if not self._cr & PG or self._cr & LOCK or self.busy:
            self._sr |= PGSERR
            self.faults.append(f"a store to {address:#x} while nothing is programmed")
        elif size != SIZES[self._cr >> 8 & 3]:
            self._sr |= PGPERR
            self.faults.append(f"a store of {size} bytes, not as PSIZE says")
        elif address % size:
            self.faults.append(f"a store of {size} bytes to {address:#x}")
        self._stored = (address, bytes(uc.mem_read(address, size)), size)
        self.programmed += size
        self._begin(PROGRAM_CLOCKS)

    def _finish_store(self) -> None:
        """Bits only go from 1 to 0."""
        assert self._stored is not None
        address, before, size = self._stored
        self._stored = None
        wanted = bytes(self.uc.mem_read(address, size))
        self.uc.mem_write(address, bytes(a & b for a, b in zip(before, wanted, strict=True)))

    def on_load(self, uc: Any, access: int, address: int, size: int, value: int, _: Any) -> None:
        """Data is read from flash."""
        leave_it_block(uc)
        if self.busy:
            self.faults.append(f"reads flash at {address:#x} while it is busy")


class FlashMachine(CortexM):
    """A core with a running SysTick."""

    def _system_read(self, opaque: Any, offset: int, size: int, more: Any) -> int:
        chip = self.peripherals
        assert isinstance(chip, FlashChip)
        if offset == SYST_CVR:
            return self.reload - chip.clock % (self.reload + 1)
        if offset == SYST_RVR:
            return self.reload
        return super()._system_read(opaque, offset, size, more)

    def _system_write(self, uc: Any, offset: int, size: int, value: int, more: Any) -> None:
        if offset == SYST_RVR:
            self.reload = value
        super()._system_write(uc, offset, size, value, more)

    reload = 0


class FlashLine(UnicornLine):
    """A board with its flash, and what was put into it at `address`; program: whose symbols those are."""

    chip: FlashChip  # type: ignore[assignment]

    def __init__(self, content: bytes, program: Elf, unique_id: bytes, address: int = FLASH[0]) -> None:
        elf = Elf(program.path, program.entry, (Segment(address, content, 0),), program.symbols)
        chip = FlashChip()
        machine = FlashMachine(elf, chip, Host("", Path("/nowhere")))
        chip.uc = uc = machine.uc
        uc.mem_protect(*FLASH, unicorn.UC_PROT_ALL)
        before, behind = address - FLASH[0], address + len(content)
        uc.mem_write(FLASH[0], b"\xff" * before)
        uc.mem_write(behind, b"\xff" * (FLASH[0] + FLASH[1] - behind))
        uc.mem_map(UNIQUE_ID & ~0xFFFF, 0x10000, unicorn.UC_PROT_READ)
        uc.mem_write(UNIQUE_ID, unique_id)
        uc.hook_add(unicorn.UC_HOOK_MEM_WRITE, chip.on_store, begin=FLASH[0], end=FLASH[0] + FLASH[1] - 1)
        uc.hook_add(unicorn.UC_HOOK_MEM_READ, chip.on_load, begin=FLASH[0], end=FLASH[0] + FLASH[1] - 1)
        super().__init__("silicon:", machine, chip)

    def reset(self) -> None:
        """The watchdog bites, or somebody presses the button."""
        assert self.machine is not None
        self.machine.reset()
        self.machine.run()

    def flash(self, address: int, n: int) -> bytes:
        return bytes(self.chip.uc.mem_read(address, n))
