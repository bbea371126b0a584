"""A Cortex-M microcontroller in this process: Unicorn executes the instructions, this adds what is around the core.

Unicorn has no interrupt controller, no reset and no peripherals. Here are exception entry and return, faults, reset
with memory kept, and snapshots of it all. Time does not exist: the core runs until it waits for an
interrupt, so that the same bytes in give the same bytes out.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import unicorn
from unicorn import arm_const as arm

from hal.elf import Elf
from hal.errors import HalError, ImageError
from hal.semihosting import Host

FLASH = (0x0800_0000, 0x0010_0000)
RAM = (0x2000_0000, 0x0002_0000)
PERIPHERALS = (0x4000_0000, 0x0003_0000)
SYSTEM = (0xE000_0000, 0x0010_0000)
_EXC_RETURN = 0xFFFF_FFF9  # to thread mode, main stack, no floating point
_NEVER = 0xFFFF_FFF0  # an address that nothing runs to
_BKPT, _EXCEPTION_EXIT = 7, 8  # Unicorn's numbers (QEMU's EXCP_*)
HARD_FAULT = 3
KEPT_REGISTERS = tuple(getattr(arm, f"UC_ARM_REG_R{i}") for i in range(4, 12))
THREAD_REGISTERS = (arm.UC_ARM_REG_R0, arm.UC_ARM_REG_R1, arm.UC_ARM_REG_R2, arm.UC_ARM_REG_R3, arm.UC_ARM_REG_R12)
_PSR_THUMB = 1 << 24
_ALIGNED_BIT = 1 << 9
_WFI = b"\x30\xbf"
_DSB_WFI = b"\xbf\xf3\x4f\x8f" + _WFI  # how the firmware waits for an interrupt (csrc/firmware/cortexm.h)
_MAX_IMAGE = 1 << 16
_CFSR_IBUSERR, _CFSR_PRECISERR, _CFSR_BFARVALID, _CFSR_UNDEFINSTR = 1 << 8, 1 << 9, 1 << 15, 1 << 16
_CFSR_UNSTKERR, _CFSR_STKERR = 1 << 11, 1 << 12
_AIRCR_RESET = 0x05FA_0004
RESETS_PER_RUN = 8
"""A core that resets more often before it comes to rest does so for ever."""


class StuckError(HalError):
    """The core does not come to rest, and no watchdog resets it."""


class LockupError(StuckError):
    """A fault within the fault handler: the core stands still."""


class HangError(StuckError):
    """The core has not come to rest within its budget of instructions, or halted where the firmware never does."""


class Peripherals(Protocol):
    """What a particular microcontroller has on its bus; offsets are from 0x4000_0000."""

    def read(self, offset: int) -> int: ...

    def write(self, offset: int, value: int) -> None: ...

    def pending(self) -> int | None:
        """Number of an interrupt that waits to be taken (0: the first external one); None: none."""
        ...

    def reset(self) -> None: ...

    def bite(self) -> bool:
        """Let the watchdog reset the core; False when the firmware has not started it."""
        ...

    def save(self) -> Any:
        """The peripherals' state, for `load`."""
        ...

    def load(self, state: Any) -> None: ...


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A whole machine: core, memory, peripherals, and what is in its file. Goes back only into the same one."""

    context: Any
    ram: bytes
    peripherals: Any
    file: bytes
    faults: tuple[int, int]
    image: tuple[int, int]
    """where the vectors in force are, and where that image sleeps"""


@dataclass
class CortexM:
    """A core with its memories. `run` lets it work until it sleeps with nothing pending.

    budget: instructions without a rest or an exception after which the core is taken as hung; 0: no limit, and nothing
    is counted. touched: told of every access to memory that is made in the core's place (exceptions, semihosting):
    (is a write, address, bytes).
    """

    elf: Elf
    peripherals: Peripherals
    host: Host
    model: int = arm.UC_CPU_ARM_CORTEX_M4
    flash: tuple[int, int] = FLASH
    """address and size"""
    budget: int = 0
    resets: int = 0
    """how often it has been reset"""
    bites: int = 0
    """how often the watchdog did that"""
    touched: Callable[[bool, int, int], None] | None = None
    stretch: int = 0
    """in the present (or last) `run`: how many exceptions and resets came before"""
    uc: Any = field(init=False)
    _asked_reset: bool = False
    _vectors: int = 0  # address of the table in force
    _moved: bool = False  # a boot loader has just moved it
    _returned: bool = False
    _fault: tuple[int, int] | None = None  # CFSR, BFAR of one that waits to be taken
    _cfsr: int = 0
    _bfar: int = 0
    _left: int = 0  # resets before this run is given up

    def __post_init__(self) -> None:
        self.uc = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        self.uc.ctl_set_cpu_model(self.model)
        self.uc.mem_map(*self.flash, unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC)
        self.uc.mem_map(*RAM)
        self.uc.mmio_map(*PERIPHERALS, self._read, None, self._write, None)
        self.uc.mmio_map(*SYSTEM, self._system_read, None, self._system_write, None)
        for segment in self.elf.segments:
            self.uc.mem_write(segment.address, segment.data)
        self.uc.hook_add(unicorn.UC_HOOK_INTR, self._on_exception)
        self.uc.hook_add(unicorn.UC_HOOK_MEM_INVALID, self._on_bad_memory)
        self.uc.hook_add(unicorn.UC_HOOK_INSN_INVALID, self._on_bad_instruction)
        self.reset()

    def reset(self) -> None:
        """The core and its peripherals begin anew; memory keeps what it holds."""
        self.peripherals.reset()
        self._asked_reset, self._fault, self._cfsr, self._bfar = False, None, 0, 0
        self._vectors, self._moved, self._sleep = self.elf.address, False, self._sleep_address()
        stack, entry = struct.unpack("<II", self.uc.mem_read(self.elf.address, 8))
        for register in (*THREAD_REGISTERS, *KEPT_REGISTERS, arm.UC_ARM_REG_IPSR, arm.UC_ARM_REG_PRIMASK):
            self.uc.reg_write(register, 0)
        self.uc.reg_write(arm.UC_ARM_REG_LR, 0xFFFF_FFFF)
        self.uc.reg_write(arm.UC_ARM_REG_SP, stack)
        self.uc.reg_write(arm.UC_ARM_REG_PC, entry)

    def run(self, pause: tuple[int, int] | None = None) -> bool:
        """Until the core sleeps and no interrupt is pending: then True. False when it has paused: before instruction n
        of stretch s (from one exception or reset to the next) for pause (s, n); it goes on with the next `run`.

        Raises `LockupError`, `HangError` when the core is stuck and the firmware has not started the watchdog.
        """
        self._left = RESETS_PER_RUN
        self.stretch = -1
        while True:
            self.stretch += 1
            pauses = pause is not None and self.stretch == pause[0]
            asleep = self._go(pause[1] if pauses and pause is not None else self.budget)
            if self._asked_reset:
                self._restart()
            elif self._fault is not None:
                self._take_fault()
            elif self._moved:
                self._moved = False
            elif self._returned:
                self._return_from_exception()
            elif not asleep:
                if pauses:
                    return False
                pc = self.uc.reg_read(arm.UC_ARM_REG_PC)
                self._stuck(HangError(f"no rest after {self.budget} instructions, at {pc:#010x}"))
            elif (number := self.peripherals.pending()) is not None:
                self._wake()
                self._enter(16 + number)
            else:
                return True

    def limit(self, budget: int) -> None:
        """Count instructions from now on, or no longer (0)."""
        self.budget = budget
        self.uc.ctl_flush_tb()  # code is translated with or without a counter

    def flip(self, address: int, bit: int) -> None:
        """Flip one bit of a byte of memory."""
        self.uc.mem_write(address, bytes([self.uc.mem_read(address, 1)[0] ^ 1 << bit]))

    # ------------------------------------------------------------ snapshots
    def snapshot(self) -> Snapshot:
        """Everything that decides what it does next, at rest or paused."""
        context, ram = self.uc.context_save(), bytes(self.uc.mem_read(*RAM))
        faults, image = (self._cfsr, self._bfar), (self._vectors, self._sleep)
        return Snapshot(context, ram, self.peripherals.save(), self.host.content(), faults, image)

    def restore(self, snapshot: Snapshot) -> None:
        """Back to a snapshot of this machine."""
        self.uc.mem_write(RAM[0], snapshot.ram)
        self.uc.context_restore(snapshot.context)
        self.peripherals.load(snapshot.peripherals)
        if self.host.content() != snapshot.file:
            self.host.set_content(snapshot.file)
        self._cfsr, self._bfar = snapshot.faults
        self._vectors, self._sleep = snapshot.image
        self._asked_reset, self._returned, self._fault = False, False, None

    def load(self, address: int, n: int) -> bytes:
        """Memory as the core reads it. Raises `unicorn.UcError`."""
        if self.touched is not None:
            self.touched(False, address, n)
        return bytes(self.uc.mem_read(address, n))

    def store(self, address: int, data: bytes) -> None:
        """As the core writes it: to RAM only. Raises `unicorn.UcError`."""
        if not (RAM[0] <= address and address + len(data) <= RAM[0] + RAM[1]):
            raise unicorn.UcError(unicorn.UC_ERR_WRITE_PROT)
        if self.touched is not None:
            self.touched(True, address, len(data))
        self.uc.mem_write(address, data)

    # ------------------------------------------------------------ running
    def _sleep_address(self) -> int:
        """Of the firmware's wait-for-interrupt. Unicorn never wakes from one that it has executed: it stops before."""
        start, size = self.elf.symbols.get("port_idle", (0, 0))
        code = bytes(self.uc.mem_read(start & ~1, size)) if size else b""
        if _WFI not in code:
            raise ImageError(f"{self.elf.path}: never waits for an interrupt in port_idle, expected a board's firmware")
        return (start & ~1) + code.index(_WFI)

    def _move_vectors(self, address: int) -> None:
        """A boot loader points the core at another image, which sleeps elsewhere."""
        self._vectors, self._moved = address, True
        self._sleep = address + bytes(self.uc.mem_read(address, _MAX_IMAGE)).index(_DSB_WFI) + len(_DSB_WFI) - len(_WFI)

    def _go(self, count: int) -> bool:
        """Run until something stops the core, or for `count` instructions. Whether it sleeps."""
        self._returned = False
        pc = self.uc.reg_read(arm.UC_ARM_REG_PC)
        try:
            self.uc.emu_start(pc | 1, self._sleep, 0, count)
        except unicorn.UcError:
            if self._fault is None:
                raise
        return bool(self.uc.reg_read(arm.UC_ARM_REG_PC) == self._sleep)

    def _restart(self) -> None:
        if self._left == 0:
            raise HangError(f"{RESETS_PER_RUN} resets without a rest")
        self._left -= 1
        self.resets += 1
        self.reset()

    def _stuck(self, error: StuckError) -> None:
        """Only the watchdog helps."""
        if not self.peripherals.bite():
            raise error
        self.bites += 1
        self._restart()

    def _wake(self) -> None:
        """Step over the wait-for-interrupt: the firmware sleeps with interrupts masked and then lets them in."""
        self.uc.reg_write(arm.UC_ARM_REG_PC, (self._sleep + 2) | 1)
        self.uc.reg_write(arm.UC_ARM_REG_PRIMASK, 0)

    # ------------------------------------------------------------ exceptions
    def _enter(self, number: int) -> None:
        """As the core does: eight words on the stack, then the vector; without a stack that of the hard fault."""
        read, uc = self.uc.reg_read, self.uc
        stack = read(arm.UC_ARM_REG_SP)
        unaligned = stack & 4
        frame_at = (stack - unaligned - 32) & 0xFFFF_FFFF
        psr = read(arm.UC_ARM_REG_XPSR) | _PSR_THUMB | (_ALIGNED_BIT if unaligned else 0)
        words = [read(r) for r in THREAD_REGISTERS]
        try:
            self.store(frame_at, struct.pack("<8I", *words, read(arm.UC_ARM_REG_LR), read(arm.UC_ARM_REG_PC), psr))
        except unicorn.UcError:
            self._cfsr |= _CFSR_STKERR
            number = HARD_FAULT
        uc.reg_write(arm.UC_ARM_REG_SP, frame_at)
        uc.reg_write(arm.UC_ARM_REG_LR, _EXC_RETURN)
        uc.reg_write(arm.UC_ARM_REG_IPSR, number)
        (vector,) = struct.unpack("<I", uc.mem_read(self._vectors + 4 * number, 4))
        uc.reg_write(arm.UC_ARM_REG_PC, vector)

    def _return_from_exception(self) -> None:
        uc = self.uc
        stack = uc.reg_read(arm.UC_ARM_REG_SP)
        try:
            *words, lr, pc, psr = struct.unpack("<8I", self.load(stack, 32))
        except unicorn.UcError:
            self._fault = (_CFSR_UNSTKERR, 0)
            self._take_fault()
            return
        uc.reg_write(arm.UC_ARM_REG_IPSR, psr & 0x1FF)
        uc.reg_write(arm.UC_ARM_REG_XPSR, psr & ~_ALIGNED_BIT)
        for register, word in zip(THREAD_REGISTERS, words, strict=True):
            uc.reg_write(register, word)
        uc.reg_write(arm.UC_ARM_REG_LR, lr)
        uc.reg_write(arm.UC_ARM_REG_SP, stack + 32 + (4 if psr & _ALIGNED_BIT else 0))
        uc.reg_write(arm.UC_ARM_REG_PC, pc)

    def _take_fault(self) -> None:
        """Bus and usage faults are not enabled: they escalate to the hard fault."""
        assert self._fault is not None
        self._cfsr, self._bfar = self._fault
        self._fault = None
        if self.uc.reg_read(arm.UC_ARM_REG_IPSR) & 0x1FF in (2, HARD_FAULT):
            pc = self.uc.reg_read(arm.UC_ARM_REG_PC)
            self._stuck(LockupError(f"a fault in the fault handler at {pc:#010x}"))
        else:
            self._enter(HARD_FAULT)

    def _on_exception(self, uc: Any, number: int, _: Any) -> None:
        if number == _BKPT and bytes(uc.mem_read(uc.reg_read(arm.UC_ARM_REG_PC), 1)) == b"\xab":
            result = self.host.call(self, uc.reg_read(arm.UC_ARM_REG_R0), uc.reg_read(arm.UC_ARM_REG_R1))
            uc.reg_write(arm.UC_ARM_REG_R0, result & 0xFFFF_FFFF)
            uc.reg_write(arm.UC_ARM_REG_PC, (uc.reg_read(arm.UC_ARM_REG_PC) + 2) | 1)
            return
        if number == _EXCEPTION_EXIT:
            self._returned = True
        else:
            self._fault = (_CFSR_UNDEFINSTR, 0)
        uc.emu_stop()

    def _on_bad_memory(self, uc: Any, access: int, address: int, *_: Any) -> bool:
        fetch = access in (unicorn.UC_MEM_FETCH_UNMAPPED, unicorn.UC_MEM_FETCH_PROT)
        self._fault = (_CFSR_IBUSERR, 0) if fetch else (_CFSR_PRECISERR | _CFSR_BFARVALID, address & 0xFFFF_FFFF)
        return False

    def _on_bad_instruction(self, *_: Any) -> bool:
        self._fault = (_CFSR_UNDEFINSTR, 0)
        return False

    # ------------------------------------------------------------ the bus
    def _read(self, _: Any, offset: int, size: int, __: Any) -> int:
        return self.peripherals.read(offset)

    def _write(self, _: Any, offset: int, size: int, value: int, __: Any) -> None:
        self.peripherals.write(offset, value)

    def _system_read(self, _: Any, offset: int, size: int, __: Any) -> int:
        return {0xED28: self._cfsr, 0xED38: self._bfar}.get(offset, 0)

    def _system_write(self, uc: Any, offset: int, size: int, value: int, _: Any) -> None:
        if offset == 0xED0C and value == _AIRCR_RESET:
            self._asked_reset = True
            uc.emu_stop()
        elif offset == 0xED08 and value != self._vectors:
            self._move_vectors(value)
            uc.emu_stop()  # before the store, which is then done again
