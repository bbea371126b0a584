"""The programs that put an image on a board: how a rig names them, and their command lines.

==================================================  ==================================================================
``openocd:ADAPTER-SERIAL?target=stm32f4x``          any debug adapter that OpenOCD knows (``interface=stlink``)
``st-flash:ADAPTER-SERIAL``                         an ST-Link, with the tools of stlink-org
``dfu:USB-SERIAL``                                  the boot loader in ROM over the board's own USB (BOOT0 high)
``stm32loader:USB-SERIAL-OF-THE-PORT?baud=115200``  the boot loader in ROM over a UART (AN3155); or a path in /dev
==================================================  ==================================================================

They are programs of their own, with licences of their own: run, never imported.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

from hal.errors import FlashError, LinkError, PortError

WORD = re.compile(r"[A-Za-z0-9_.:/+-]+")
"""What may stand in a command line of another program, some of which interpret theirs."""


@dataclass(frozen=True, slots=True)
class FlashUrl:
    """A parsed ``flash`` entry: which program, which adapter or port, options."""

    tool: str
    target: str
    options: dict[str, str]
    text: str


Command = Callable[[FlashUrl, Path, int], list[str]]
"""(entry, flat file, address) -> arguments of the program"""


@dataclass(frozen=True, slots=True)
class Tool:
    """One program. package: how it is installed; options: what its entries may say, each a word; numbers: which of
    them are numbers."""

    program: str
    package: str
    target: str
    options: tuple[str, ...]
    numbers: tuple[str, ...]
    command: Command


def _openocd(url: FlashUrl, file: Path, address: int) -> list[str]:
    interface, target = url.options.get("interface", "stlink"), url.options.get("target", "stm32f4x")
    program = f"program {{{file}}} verify reset exit 0x{address:08x}"
    chosen = ["-f", f"interface/{interface}.cfg", "-c", f"adapter serial {url.target}"]
    return [*chosen, "-f", f"target/{target}.cfg", "-c", program]


def _st_flash(url: FlashUrl, file: Path, address: int) -> list[str]:
    return ["--serial", url.target, "--reset", "write", str(file), f"0x{address:08x}"]


def _dfu(url: FlashUrl, file: Path, address: int) -> list[str]:
    return ["-d", "0483:df11", "-S", url.target, "-a", "0", "-s", f"0x{address:08x}:leave", "-D", str(file)]


def _stm32loader(url: FlashUrl, file: Path, address: int) -> list[str]:
    from hal import ports
    from hal.backends.serial import resolve

    interface = int(url.options["interface"]) if "interface" in url.options else None
    device = resolve(url.target, interface)
    holders = ports.HOST.holders(device)
    if holders:  # this program would not look, and both would read half of the answers
        raise PortError(f"{url.text}: {device} is busy: {holders[0]} has it open, expected to have it alone", "busy")
    baud, at = url.options.get("baud", "115200"), f"0x{address:08x}"
    # The whole flash is erased: its sectors are not the pages that this program counts in.
    where = ["-p", device, "-b", baud, "-f", "F4"]
    return [*where, "-e", "-w", "-v", "-a", at, "-g", at, str(file)]


TOOLS = {
    "openocd": Tool("openocd", "apt-get install openocd", "ADAPTER-SERIAL", ("interface", "target"), (), _openocd),
    "st-flash": Tool("st-flash", "apt-get install stlink-tools", "ADAPTER-SERIAL", (), (), _st_flash),
    "dfu": Tool("dfu-util", "apt-get install dfu-util", "USB-SERIAL", (), (), _dfu),
    "stm32loader": Tool(
        "stm32loader",
        "pip install stm32loader",
        "USB-SERIAL",
        ("baud", "interface"),
        ("baud", "interface"),
        _stm32loader,
    ),
}


def parse_flash(text: str) -> FlashUrl:
    """Split a ``flash`` entry. Raises `LinkError`: unknown program or option, nothing named, a word that is none."""
    name, colon, rest = text.partition(":")
    if not colon or name not in TOOLS:
        raise LinkError(f"'{text}': unknown program, expected one of {', '.join(f'{t}:' for t in TOOLS)}")
    tool = TOOLS[name]
    target, _, query = rest.partition("?")
    if not target:
        raise LinkError(f"'{text}': names no {tool.target}, expected {name}:{tool.target}")
    options = dict(parse_qsl(query, keep_blank_values=True))
    for key, value in options.items():
        if key not in tool.options:
            raise LinkError(f"'{text}': unknown option '{key}', expected {', '.join(tool.options) or 'none'}")
        if key in tool.numbers and not (value.isdecimal() and int(value) <= 100_000_000):
            raise LinkError(f"'{text}': {key}={value}, expected a whole number")
    for word in (target, *options.values()):
        if not WORD.fullmatch(word) or word.startswith("-"):
            raise LinkError(f"'{text}': '{word}' is no word, expected letters, digits and _.:/+-")
    return FlashUrl(name, target, options, text)


def command_line(url: FlashUrl, file: Path, address: int) -> list[str]:
    """The whole command line. Raises `FlashError` when the program is not installed, `LinkError` for an absent port."""
    tool = TOOLS[url.tool]
    beside = Path(sys.executable).with_name(tool.program)
    found = shutil.which(tool.program) or (str(beside) if beside.exists() else None)
    if found is None:
        raise FlashError(f"{url.text}: {tool.program} is not installed, expected it: `{tool.package}`")
    return [found, *tool.command(url, file, address)]
