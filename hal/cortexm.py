"""A Cortex-M microcontroller in this process: Unicorn executes the instructions, this adds what is around the core.

Unicorn has no interrupt controller, no reset and no peripherals. Here are exception entry and return, faults, reset
with memory kept, and semihosting (command line and one file). Time does not exist: the core runs until it waits for an
interrupt, so that the same bytes in give the same bytes out.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import unicorn
from unicorn import arm_const as arm

from hal.elf import Elf
from hal.errors import HalError, ImageError

FLASH = (0x0800_0000, 0x0010_0000)
RAM = (0x2000_0000, 0x0002_0000)
PERIPHERALS = (0x4000_0000, 0x0003_0000)
SYSTEM = (0xE000_0000, 0x0010_0000)
_EXC_RETURN = 0xFFFF_FFF9  # to thread mode, main stack, no floating point
_NEVER = 0xFFFF_FFF0  # an address that nothing runs to
_UDEF, _BKPT, _EXCEPTION_EXIT = 1, 7, 8  # Unicorn's numbers (QEMU's EXCP_*)
HARD_FAULT = 3
THREAD_REGISTERS = (arm.UC_ARM_REG_R0, arm.UC_ARM_REG_R1, arm.UC_ARM_REG_R2, arm.UC_ARM_REG_R3, arm.UC_ARM_REG_R12)
_PSR_THUMB = 1 << 24
_ALIGNED_BIT = 1 << 9
_WFI = b"\x30\xbf"
_CFSR_IBUSERR, _CFSR_PRECISERR, _CFSR_BFARVALID, _CFSR_UNDEFINSTR = 1 << 8, 1 << 9, 1 << 15, 1 << 16
_AIRCR_RESET = 0x05FA_0004


class LockupError(HalError):
    """A fault within the fault handler: the core stands still until something resets it."""


class HangError(HalError):
    """The core has not come to rest within its budget of instructions."""


class Peripherals(Protocol):
    """What a particular microcontroller has on its bus; offsets are from 0x4000_0000."""

    def read(self, offset: int) -> int: ...

    def write(self, offset: int, value: int) -> None: ...

    def pending(self) -> int | None:
        """Number of an interrupt that waits to be taken (0: the first external one); None: none."""
        ...

    def reset(self) -> None: ...


@dataclass
class Host:
    """What semihosting gives the firmware: a command line and one file, opened when the firmware asks for it."""

    command_line: str
    file: Path
    fd: int = -1
    at: int = 0

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def call(self, uc: Any, operation: int, block: int) -> int:
        """One call of ARM semihosting. Returns what goes into r0; -1 for what is not offered."""
        a, b, c = struct.unpack("<III", uc.mem_read(block, 12))
        match operation:
            case 0x15:  # SYS_GET_CMDLINE
                text = self.command_line.encode() + b"\0"
                if len(text) > b:
                    return -1
                uc.mem_write(a, text)
                return 0
            case 0x01:  # SYS_OPEN
                self.close()
                self.fd = os.open(self.file, os.O_RDWR | os.O_CLOEXEC)
                return self.fd
            case 0x0A:  # SYS_SEEK
                self.at = b
                return 0
            case 0x06:  # SYS_READ: how many bytes were not read
                data = os.pread(self.fd, c, self.at)
                uc.mem_write(b, data)
                return int(c) - len(data)
            case 0x05:  # SYS_WRITE
                return int(c) - os.pwrite(self.fd, bytes(uc.mem_read(b, c)), self.at)
        return -1


@dataclass
class CortexM:
    """A core with its memories. `run` lets it work until it sleeps with nothing pending.

    resets: how often it has reset itself. budget: instructions per `run` after which `HangError` is raised (slow: every
    instruction is counted); 0: no limit.
    """

    elf: Elf
    peripherals: Peripherals
    host: Host
    model: int = arm.UC_CPU_ARM_CORTEX_M4
    budget: int = 0
    resets: int = 0
    uc: Any = field(init=False)
    _asked_reset: bool = False
    _returned: bool = False
    _fault: tuple[int, int] | None = None  # CFSR, BFAR of one that waits to be taken
    _cfsr: int = 0
    _bfar: int = 0
    _stopped_by: str = ""

    def __post_init__(self) -> None:
        self.uc = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        self.uc.ctl_set_cpu_model(self.model)
        self.uc.mem_map(*FLASH, unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC)
        self.uc.mem_map(*RAM)
        self.uc.mmio_map(*PERIPHERALS, self._read, None, self._write, None)
        self.uc.mmio_map(*SYSTEM, self._system_read, None, self._system_write, None)
        for segment in self.elf.segments:
            self.uc.mem_write(segment.address, segment.data)
        self._sleep = self._sleep_address()
        self.uc.hook_add(unicorn.UC_HOOK_INTR, self._on_exception)
        self.uc.hook_add(unicorn.UC_HOOK_MEM_INVALID, self._on_bad_memory)
        self.uc.hook_add(unicorn.UC_HOOK_INSN_INVALID, self._on_bad_instruction)
        self.reset()

    def reset(self) -> None:
        """The core and its peripherals begin anew; memory keeps what it holds."""
        self.peripherals.reset()
        self._asked_reset, self._fault, self._cfsr, self._bfar = False, None, 0, 0
        stack, entry = struct.unpack("<II", self.uc.mem_read(self.elf.address, 8))
        for register in (*THREAD_REGISTERS, arm.UC_ARM_REG_IPSR, arm.UC_ARM_REG_PRIMASK):
            self.uc.reg_write(register, 0)
        self.uc.reg_write(arm.UC_ARM_REG_LR, 0xFFFF_FFFF)
        self.uc.reg_write(arm.UC_ARM_REG_SP, stack)
        self.uc.reg_write(arm.UC_ARM_REG_PC, entry)

    def run(self) -> None:
        """Until the core sleeps and no interrupt is pending. Raises `LockupError`, `HangError`."""
        left = self.budget
        while True:
            left = self._go(left)
            if self._asked_reset:
                self.resets += 1
                self.reset()
            elif self._fault is not None:
                self._take_fault()
            elif self._returned:
                self._return_from_exception()
            elif (number := self.peripherals.pending()) is not None:
                self._wake()
                self._enter(16 + number)
            else:
                return

    # ------------------------------------------------------------ running
    def _sleep_address(self) -> int:
        """Of the firmware's wait-for-interrupt. Unicorn never wakes from one that it has executed: it stops before."""
        start, size = self.elf.symbols.get("port_idle", (0, 0))
        code = bytes(self.uc.mem_read(start & ~1, size)) if size else b""
        if _WFI not in code:
            raise ImageError(f"{self.elf.path}: never waits for an interrupt in port_idle, expected a board's firmware")
        return (start & ~1) + code.index(_WFI)

    def _go(self, left: int) -> int:
        """Run until something stops the core. Returns what is left of the budget."""
        self._returned = False
        pc = self.uc.reg_read(arm.UC_ARM_REG_PC)
        try:
            self.uc.emu_start(pc | 1, self._sleep, 0, 0)
        except unicorn.UcError:
            if self._fault is None:
                raise
        return left

    def _wake(self) -> None:
        """Step over the wait-for-interrupt: the firmware sleeps with interrupts masked and then lets them in."""
        self.uc.reg_write(arm.UC_ARM_REG_PC, (self._sleep + 2) | 1)
        self.uc.reg_write(arm.UC_ARM_REG_PRIMASK, 0)

    # ------------------------------------------------------------ exceptions
    def _enter(self, number: int) -> None:
        """As the core does: eight words on the stack, then the vector."""
        read, uc = self.uc.reg_read, self.uc
        stack = read(arm.UC_ARM_REG_SP)
        unaligned = stack & 4
        frame_at = stack - unaligned - 32
        psr = read(arm.UC_ARM_REG_XPSR) | _PSR_THUMB | (_ALIGNED_BIT if unaligned else 0)
        words = [read(r) for r in THREAD_REGISTERS]
        try:
            uc.mem_write(frame_at, struct.pack("<8I", *words, read(arm.UC_ARM_REG_LR), read(arm.UC_ARM_REG_PC), psr))
        except unicorn.UcError:
            raise LockupError("no stack to enter an exception on") from None
        uc.reg_write(arm.UC_ARM_REG_SP, frame_at)
        uc.reg_write(arm.UC_ARM_REG_LR, _EXC_RETURN)
        uc.reg_write(arm.UC_ARM_REG_IPSR, number)
        (vector,) = struct.unpack("<I", uc.mem_read(self.elf.address + 4 * number, 4))
        uc.reg_write(arm.UC_ARM_REG_PC, vector)

    def _return_from_exception(self) -> None:
        uc = self.uc
        stack = uc.reg_read(arm.UC_ARM_REG_SP)
        *words, lr, pc, psr = struct.unpack("<8I", uc.mem_read(stack, 32))
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
            raise LockupError(f"a fault in the fault handler at {self.uc.reg_read(arm.UC_ARM_REG_PC):#010x}")
        self._enter(HARD_FAULT)

    def _on_exception(self, uc: Any, number: int, _: Any) -> None:
        if number == _BKPT and bytes(uc.mem_read(uc.reg_read(arm.UC_ARM_REG_PC), 1)) == b"\xab":
            result = self.host.call(uc, uc.reg_read(arm.UC_ARM_REG_R0), uc.reg_read(arm.UC_ARM_REG_R1))
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
