"""A microcontroller with what a board that flies has around it: a time base, analogue pins, devices on I2C."""

from __future__ import annotations

from pathlib import Path

from hal import frames, icd
from hal.backends.unicorn import Stm32F4
from hal.cortexm import CortexM
from hal.elf import read_elf
from hal.images import image_of
from hal.link import Board
from hal.semihosting import Host

SYSTICK = -1  # exception 15 is one before the first external interrupt
_ADC_SR, _ADC_CR2, _ADC_SQR3, _ADC_DR = 0x12000, 0x12008, 0x12034, 0x1204C
_I2C_CR1, _I2C_DR, _I2C_SR1 = 0x5400, 0x5410, 0x5414
_SB, _ADDR, _RXNE_TXE = 1, 2, 0xC0


class FlyingChip(Stm32F4):
    """adc_mv: channel -> millivolts; devices: I2C address -> its 256 registers; one that is absent does not answer."""

    def __init__(self) -> None:
        super().__init__()
        self.due = 0
        self.adc_mv: dict[int, int] = {}
        self.devices: dict[int, bytearray] = {}
        self._channel = 0
        self._phase = ""
        self._device: bytearray | None = None
        self._at: int | None = None

    def pending(self) -> int | None:
        if self.due:
            self.due -= 1
            return SYSTICK
        return super().pending()

    def read(self, offset: int) -> int:
        if offset == _ADC_SR:
            return 2
        if offset == _ADC_DR:
            return round(self.adc_mv.get(self._channel, 0) * 4095 / 3300)
        if offset == _I2C_SR1:
            return {"start": _SB, "addressed": _ADDR | _RXNE_TXE, "data": _RXNE_TXE}.get(self._phase, 0)
        if offset == _I2C_DR:
            return self._next()
        return super().read(offset)

    def write(self, offset: int, value: int) -> None:
        if offset == _ADC_SQR3:
            self._channel = value
        elif offset == _I2C_CR1 and value & 0x100:
            self._phase = "start"
        elif offset == _I2C_DR:
            self._put(value)
        else:
            super().write(offset, value)

    def _next(self) -> int:
        assert self._device is not None
        assert self._at is not None
        self._at += 1
        return self._device[self._at - 1]

    def _put(self, value: int) -> None:
        if self._phase == "start":
            self._device = self.devices.get(value >> 1)
            self._phase = "addressed" if self._device is not None else "nobody"
            if not value & 1:
                self._at = None  # the first byte written is the register's number
        elif self._device is not None and self._at is None:
            self._at = value
        elif self._device is not None and self._at is not None:
            self._device[self._at] = value
            self._at += 1


class Flying:
    """A board of the flight flavour."""

    def __init__(self, kind: int, address: int, folder: Path) -> None:
        nvm = folder / f"{address}.nvm"
        nvm.write_bytes(b"\xff" * 4096)
        self.board = Board("node0", kind, address, bytes(12), nvm)
        self.chip = FlyingChip()
        line = f"{address} {bytes(12).hex()} 1 nvm"
        self.machine = CortexM(read_elf(image_of(kind, "flight")), self.chip, Host(line, nvm))
        self.seq = 0

    def boot(self) -> list[frames.Frame]:
        """From reset until it sleeps."""
        self.machine.run()
        return self.take()

    def pass_ms(self, ms: int) -> list[frames.Frame]:
        """Its time base goes on by so much; what it says meanwhile."""
        for _ in range(ms):
            self.chip.due = 1
            self.machine.run()
        return self.take()

    def hear(self, name: str, t_us: int, source: int = icd.Address.FLIGHT, **values: object) -> list[frames.Frame]:
        """A frame from flight arrives; what it says at once."""
        wire = frames.encode(name, source, self.board.address, self.seq, t_us, **values)
        self.seq += 1
        self.chip.received.extend(wire)
        self.machine.run()
        return self.take()

    def take(self) -> list[frames.Frame]:
        said = list(frames.decode(bytes(self.chip.sent)))
        self.chip.sent.clear()
        return said
