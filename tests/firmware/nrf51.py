"""An nRF51 around Unicorn's Cortex-M0: the part that the example of a port is for."""

from __future__ import annotations

from collections import deque
from typing import Any

from unicorn import arm_const as arm

from hal.backends.unicorn import UnicornLine, command_line
from hal.cortexm import CortexM
from hal.elf import read_elf
from hal.link import Board, Link
from hal.semihosting import Host

UART_IRQ = 2
FICR = (0x1000_0000, 0x1000)
DEVICE_ID = bytes.fromhex("030000007856341200000000")
_RXDRDY, _TXDRDY, _INTENSET, _RXD, _TXD = 0x2108, 0x211C, 0x2304, 0x2518, 0x251C
_RESETREAS, _WDT_START = 0x400, 0x10000


class Nrf51:
    """UART0, its interrupt, and the watchdog."""

    def __init__(self) -> None:
        self.received: deque[int] = deque()
        self.sent = bytearray()
        self.enabled = self.watchdog = False
        self.reasons = 0

    def reset(self) -> None:
        self.enabled = self.watchdog = False

    def bite(self) -> bool:
        self.reasons |= 2
        return self.watchdog

    def save(self) -> Any:
        return (bytes(self.received), bytes(self.sent), self.enabled, self.watchdog, self.reasons)

    def load(self, state: Any) -> None:
        received, sent, self.enabled, self.watchdog, self.reasons = state
        self.received, self.sent = deque(received), bytearray(sent)

    def pending(self) -> int | None:
        return UART_IRQ if self.received and self.enabled else None

    def read(self, offset: int) -> int:
        if offset == _RXDRDY:
            return int(bool(self.received))
        if offset == _RXD:
            return self.received.popleft()
        return {_TXDRDY: 1, _RESETREAS: self.reasons}.get(offset, 0)

    def write(self, offset: int, value: int) -> None:
        if offset == _TXD:
            self.sent.append(value & 0xFF)
        elif offset == _INTENSET:
            self.enabled = True
        elif offset == _WDT_START:
            self.watchdog = True
        elif offset == _RESETREAS:
            self.reasons &= ~value


def open_link(url: str, board: Board) -> Link:
    """A board's firmware on a Cortex-M0 in this process."""
    assert board.image is not None
    assert board.nvm is not None
    chip, host = Nrf51(), Host(command_line(board), board.nvm)
    machine = CortexM(read_elf(board.image), chip, host, model=arm.UC_CPU_ARM_CORTEX_M0, flash=(0, 0x4_0000))
    machine.uc.mem_map(*FICR)
    machine.uc.mem_write(FICR[0] + 0x60, DEVICE_ID)
    return UnicornLine(url, machine, chip)
