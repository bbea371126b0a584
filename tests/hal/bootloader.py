"""An STM32F4 whose boot loader in ROM speaks AN3155 on a pseudo-terminal, and whose flash then runs what is in it.

Written from ST's application note AN3155 (protocol) and RM0090 (sectors, what erased and programmed flash reads). DTR
and RTS, which a pseudo-terminal has not, come over a named pipe from a shim in the flashing program's interpreter.
"""

from __future__ import annotations

import functools
import operator
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.hal.desk import FakeBoard, Terminal

ACK, NACK = b"\x79", b"\x1f"
FLASH, FLASH_BYTES = 0x0800_0000, 512 * 1024
SYSTEM, UID_AT, SIZE_AT = 0x1FFF_7A00, 0x10, 0x22
COMMANDS = bytes([0x00, 0x01, 0x02, 0x11, 0x21, 0x31, 0x44])
SECTORS = [16, 16, 16, 16, 64, 128, 128, 128]

# What pyserial cannot do on a pseudo-terminal: move DTR and RTS, and keep parity. It tells the board instead.
SHIM = """
import os, serial, termios
pipe = os.open(os.environ["DAWNLINE_TEST_LINES"], os.O_WRONLY)
def tell(self):
    os.write(pipe, f"{int(self._dtr_state)} {int(self._rts_state)} {self.parity} {self.baudrate}\\n".encode())
serial.Serial._update_dtr_state = serial.Serial._update_rts_state = tell
set_all = termios.tcsetattr
def set_rest(fd, when, values):
    set_all(fd, when, [*values[:2], values[2] & ~termios.PARENB, *values[3:]])
termios.tcsetattr = set_rest
"""


def xor(data: bytes) -> int:
    return functools.reduce(operator.xor, data, 0)


class BootLoader(Terminal):
    """The chip. `board` is who answers on the board bus while the flash runs; its HELLO names what is in the flash.

    before(command, count): called before a command is answered; it may raise `Nack`, `Cut`, or change `flash`.
    """

    def __init__(self, folder: Path, board: FakeBoard, wired: bool = True) -> None:
        super().__init__()
        self.board = board
        self.wired = wired
        self.flash = bytearray(b"\xff" * FLASH_BYTES)
        self.uid = bytes(range(0x40, 0x4C))
        self.before: Callable[[int, int], None] = lambda command, count: None
        self.count = 0
        self.lines: list[str] = []
        self._machine = self._run()
        next(self._machine)
        self.pipe_path = folder / "lines"
        os.mkfifo(self.pipe_path)
        self._pipe = os.open(self.pipe_path, os.O_RDWR | os.O_NONBLOCK)
        (folder / "sitecustomize.py").write_text(SHIM)
        self.environment = {"PYTHONPATH": str(folder), "DAWNLINE_TEST_LINES": str(self.pipe_path)}
        self.in_rom = False
        self.reset(boot0=False)
        self.start()

    # ------------------------------------------------------------ pins
    def extra(self) -> list[int]:
        return [self._pipe]

    def on_extra(self) -> None:
        """DTR is reset (active low, so 1 holds the chip), RTS is BOOT0 (inverted)."""
        for line in os.read(self._pipe, 4096).decode().splitlines():
            held = bool(self.lines) and self.lines[-1].startswith("1")
            self.lines.append(line)
            dtr, rts = line.split()[:2]
            if self.wired and held and dtr == "0":
                self.reset(boot0=rts == "0")

    def reset(self, boot0: bool) -> None:
        """What runs from now on is the ROM, or the flash."""
        self.in_rom = boot0
        self._machine = self._run()
        next(self._machine)
        hello = self.board.hello
        assert hello is not None
        hello["image_crc"] = 0 if boot0 else self.image_crc()
        self.board.silent = boot0 or not self.holds_image()
        hello["boot_count"] = int(str(hello["boot_count"])) + 1

    def holds_image(self) -> bool:
        return self.flash[0x200:0x204] == b"DWNL"

    def image_crc(self) -> int:
        """As a board computes it over its own flash: whatever is in there, not what the header claims."""
        import crc32c

        length = int(struct.unpack_from("<I", self.flash, 0x204)[0])
        content = bytes(self.flash[: min(length, FLASH_BYTES)])
        return crc32c.crc32c(content[:0x208] + content[0x20C:])

    # ------------------------------------------------------------ the protocol
    def receive(self, data: bytes) -> None:
        if not self.in_rom:
            return
        for byte in data:
            answer = self._machine.send(byte)
            while answer is not None:
                self.say(answer)
                answer = next(self._machine)

    def _run(self) -> Any:
        """A coroutine: takes bytes, gives answers."""
        first = yield from self._bytes(1)
        while first != b"\x7f":
            first = yield from self._bytes(1)
        yield ACK
        while True:
            command, check = yield from self._bytes(2)
            if check != command ^ 0xFF or command not in COMMANDS:
                yield NACK
                continue
            self.count += 1
            try:
                self.before(command, self.count)
                yield ACK
                yield from getattr(self, f"_command_{command:02x}")()
            except Nack:
                yield NACK
            except Cut:
                self.hang_up()
                yield from self._bytes(1 << 30)

    def _bytes(self, n: int) -> Any:
        got = b""
        while len(got) < n:
            got += bytes([(yield None)])
        return got

    def _checked(self, n: int) -> Any:
        """n bytes and their XOR."""
        data = yield from self._bytes(n + 1)
        if xor(data) != 0:
            raise Nack
        return data[:n]

    def _address(self) -> Any:
        raw = yield from self._checked(4)
        yield ACK
        return int.from_bytes(raw, "big")

    def _command_00(self) -> Any:
        yield bytes([len(COMMANDS), 0x31]) + COMMANDS + ACK

    def _command_01(self) -> Any:
        yield b"\x31\x00\x00" + ACK

    def _command_02(self) -> Any:
        yield b"\x01\x04\x21" + ACK  # STM32F446

    def _command_11(self) -> Any:
        at = yield from self._address()
        (count, check) = yield from self._bytes(2)
        if check != count ^ 0xFF:
            raise Nack
        yield ACK
        yield self._memory(at, count + 1)

    def _memory(self, at: int, n: int) -> bytes:
        system = bytearray(b"\xff" * 256)
        system[UID_AT : UID_AT + 12], system[SIZE_AT : SIZE_AT + 2] = self.uid, struct.pack("<H", FLASH_BYTES // 1024)
        base, memory = (FLASH, self.flash) if at >= FLASH and at < SYSTEM else (SYSTEM, system)
        return bytes(memory[at - base : at - base + n])

    def _command_21(self) -> Any:
        yield from self._address()
        if not self.wired:
            self.reset(boot0=False)

    def _command_31(self) -> Any:
        at = yield from self._address()
        (count,) = yield from self._bytes(1)
        data = yield from self._bytes(count + 2)
        if xor(bytes([count]) + data) != 0 or (count + 1) % 4 or at % 4:
            raise Nack
        for i, byte in enumerate(data[:-1]):
            self.flash[at - FLASH + i] &= byte  # programming only clears bits
        yield ACK

    def _command_44(self) -> Any:
        (count,) = struct.unpack(">H", (yield from self._bytes(2)))
        if count == 0xFFFF:
            (check,) = yield from self._bytes(1)
            sectors = list(range(len(SECTORS)))
            good = check == 0
        else:
            raw = yield from self._bytes(2 * (count + 1) + 1)
            sectors = list(struct.unpack(f">{count + 1}H", raw[:-1]))
            good = xor(struct.pack(">H", count) + raw) == 0 and max(sectors) < len(SECTORS)
        if not good:
            raise Nack
        for sector in sectors:
            at, size = 1024 * sum(SECTORS[:sector]), 1024 * SECTORS[sector]
            self.flash[at : at + size] = b"\xff" * size
        hello = self.board.hello
        assert hello is not None
        if len(sectors) == len(SECTORS):
            hello["role"] = 0  # its persistent memory was in one of them
        yield ACK


class Nack(Exception):
    """Answer with NACK."""


class Cut(Exception):
    """The line ends here."""
