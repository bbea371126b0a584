"""``unicorn:ELF``: the firmware of a board on a microcontroller that Unicorn emulates in this process.

The STM32F4's USART2, reset and clock control and watchdog as far as the firmware uses them. It answers before `send`
returns, and always the same.
"""

from __future__ import annotations

import random
from collections import deque
from typing import Protocol

from hal.cortexm import RAM, CortexM, Peripherals, StuckError
from hal.elf import read_elf
from hal.errors import LinkDownError, LinkError, WorldError
from hal.firmware import read_image
from hal.link import Board, Link, Url
from hal.semihosting import Host

USART2_IRQ = 38
_RCC_CSR = 0x23874
_USART_SR, _USART_DR, _USART_CR1 = 0x4400, 0x4404, 0x440C
_IWDG_KR = 0x3000
_TXE_TC, _RXNE, _RXNEIE_RE_UE = 0xC0, 0x20, 0x2024
_RMVF, _IWDGRSTF = 1 << 24, 1 << 29
HANG_INSTRUCTIONS = 1_000_000
"""A board that has got a bit flip is hung when it runs for so long: twice its boot, fifty times its longest step."""
BURST_BYTES = 512
"""At most so many bytes are there in one interrupt: a line is not faster than the program behind it."""


class Chip(Peripherals, Protocol):
    """A microcontroller whose UART is the board's line."""

    received: deque[int]
    sent: bytearray


class Stm32F4:
    """What the firmware touches of an STM32F4. RCC reads as nothing: so the firmware knows that it is emulated."""

    def __init__(self) -> None:
        self.received: deque[int] = deque()
        self.sent = bytearray()
        self.watchdog = False
        self.watchdog_fired = False
        self._cr1 = 0
        self._burst = 0

    def reset(self) -> None:
        self._cr1 = self._burst = 0
        self.watchdog = False

    def bite(self) -> bool:
        """The watchdog resets the core, if it runs: what RCC then says of the reset."""
        self.watchdog_fired = self.watchdog
        return self.watchdog

    def save(self) -> tuple[bytes, bytes, bool, bool, int, int]:
        """Its state, for `load`."""
        received, sent = bytes(self.received), bytes(self.sent)
        return received, sent, self.watchdog, self.watchdog_fired, self._cr1, self._burst

    def load(self, state: tuple[bytes, bytes, bool, bool, int, int]) -> None:
        """Back to a state that was saved."""
        received, sent, self.watchdog, self.watchdog_fired, self._cr1, self._burst = state
        self.received, self.sent = deque(received), bytearray(sent)

    def pending(self) -> int | None:
        self._burst = BURST_BYTES
        return USART2_IRQ if self.received and self._cr1 & _RXNEIE_RE_UE == _RXNEIE_RE_UE else None

    def read(self, offset: int) -> int:
        if offset == _USART_SR:
            return _TXE_TC | (_RXNE if self.received and self._burst else 0)
        if offset == _USART_DR:
            self._burst -= 1
            return self.received.popleft() if self.received else 0
        if offset == _RCC_CSR:
            return _IWDGRSTF if self.watchdog_fired else 0
        return 0

    def write(self, offset: int, value: int) -> None:
        if offset == _USART_DR:
            self.sent.append(value & 0xFF)
        elif offset == _USART_CR1:
            self._cr1 = value
        elif offset == _IWDG_KR and value == 0xCCCC:
            self.watchdog = True
        elif offset == _RCC_CSR and value & _RMVF:
            self.watchdog_fired = False


class UnicornLine:
    """A board on an emulated microcontroller as a `hal.link.Link`."""

    def __init__(self, url: str, machine: CortexM, chip: Chip) -> None:
        self.url = url
        self.lossy = False
        self.machine: CortexM | None = machine
        self.chip = chip
        self._run()

    def fileno(self) -> int:
        return -1

    def send(self, data: bytes) -> None:
        self.chip.received.extend(data)
        self._run()

    def recv(self) -> bytes:
        self._alive()
        data = bytes(self.chip.sent)
        self.chip.sent.clear()
        return data

    def close(self) -> None:
        if self.machine is not None:
            self.machine.host.close()
        self.machine = None

    def inject(self, kind: str, value: float, seed: int) -> None:
        """Bit flips anywhere in the board's state (`hal.link.Injectable`)."""
        if kind != "bit_flip":
            raise WorldError(f"{self.url}: {kind} cannot be injected over a link")
        at, size = self._alive().elf.symbols["board"]
        chance = random.Random(seed)
        for _ in range(int(value)):
            self.flip(at + chance.randrange(size), chance.randrange(8))

    def flip(self, address: int, bit: int) -> None:
        """Flip one bit (0 to 7) of a byte of RAM. From now on the board may hang (its watchdog then resets it), crash
        or send damaged frames, and is asked again as on any line that loses bytes. Raises `LinkError`: not in RAM."""
        machine = self._alive()
        if not RAM[0] <= address < RAM[0] + RAM[1] or not 0 <= bit <= 7:
            raise LinkError(
                f"{self.url}: bit {bit} of {address:#x} is not in RAM, expected bit 0 to 7 of {RAM[0]:#x} on"
            )
        if machine.budget == 0:
            machine.limit(HANG_INSTRUCTIONS)
        self.lossy = True
        machine.flip(address, bit)

    def _alive(self) -> CortexM:
        if self.machine is None:
            raise LinkDownError(f"{self.url}: closed")
        return self.machine

    def _run(self) -> None:
        machine = self._alive()
        try:
            machine.run()
        except StuckError as error:
            self.close()
            raise LinkDownError(f"{self.url}: the firmware is stuck: {error}") from None


def command_line(board: Board) -> str:
    """What the firmware reads by semihosting: who it is."""
    return f"{board.address} {board.hardware_id.hex()} {board.cause} nvm"


def open_link(url: Url, board: Board) -> Link:
    """Boot the firmware in this process. Raises `LinkError`, `ImageError`."""
    if board.nvm is None or board.image is None:
        raise LinkError(f"{url.text} ({board.role}): no file for its persistent memory, or no image")
    read_image(board.image)
    chip = Stm32F4()
    machine = CortexM(read_elf(board.image), chip, Host(command_line(board), board.nvm))
    return UnicornLine(url.text, machine, chip)
