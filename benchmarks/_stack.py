"""The deepest that the stack of a firmware image can get, from its machine code: python -m benchmarks._stack ELF.

Every instruction of every function is followed, with the bytes that are on the stack before it. What is assumed:

- a call through a pointer reaches what its source line says: a member of a struct, as in `port->tx(...)`, holds
  functions of the member's name, or those that POINTED names; a call whose line is not known, or names no such member,
  may reach every function whose address the image holds, but for those that only vector table and fault handler hold;
- interrupts do not interrupt each other (all have the priority of reset: the highest), a fault may come on top of one;
- an exception pushes 32 bytes and 4 to align (no floating-point registers: the unit is never switched on);
- the fault handler takes a stack of its own, from the top: it needs as much for itself alone.

Recursion, a stack that grows by a computed amount and an instruction that this file does not know are errors.
"""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.report import ROOT
from hal.elf import Elf, read_elf

OBJDUMP = "arm-none-eabi-objdump"
EXCEPTION_BYTES = 36
VECTOR_BYTES = 0x200
MOST_BYTES = 1 << 16
RESET, FAULT, CRASH = "reset_handler", "fault_handler", "crash"
ADDR2LINE = "arm-none-eabi-addr2line"
POINTED = {"drain": "usart_handler"}
"""Members whose functions have another name."""
_VENEER = re.compile(r"__(?:Thumbv\w+Thunk_)?(\w+?)(?:_veneer)?")
"""What a linker puts between a call and a function that is too far away."""
_MEMBER = re.compile(r"(?:->|\.)(\w+)\(")

_SYMBOL = re.compile(r"^([0-9a-f]+) .{6}F \S+\s+([0-9a-f]+) .*$")
_LABEL = re.compile(r"^([0-9a-f]+) <([^>]+)>:$")
_INSTRUCTION = re.compile(r"^\s*([0-9a-f]+):\t(\S+)\s*(.*?)\s*(?:[@;].*)?$")
_TARGET = re.compile(r"([0-9a-f]+) <[^>]+>$")
_CONDITIONS = {"eq", "ne", "cs", "cc", "mi", "pl", "vs", "vc", "hi", "ls", "ge", "lt", "gt", "le", "hs", "lo"}
_BASES = [
    "push",
    "pop",
    "stmdb",
    "ldmia",
    "sub",
    "subw",
    "add",
    "addw",
    "str",
    "strd",
    "ldr",
    "ldrd",
    "mov",
    "b",
    "bl",
    "bx",
    "blx",
    "cbz",
    "cbnz",
    "tbb",
    "tbh",
    "vpush",
    "vpop",
]


class StackError(Exception):
    """What keeps the bound from being known."""


@dataclass(frozen=True, slots=True)
class Instruction:
    address: int
    name: str
    """without width and condition"""
    conditional: bool
    operands: str


@dataclass(slots=True)
class Function:
    """frame: its own greatest depth in bytes. calls: depth at the call, address of who is called. pointers: depth,
    address of the call through a pointer."""

    name: str
    body: list[Instruction] = field(default_factory=list)
    frame: int = 0
    calls: set[tuple[int, int]] = field(default_factory=set)
    pointers: set[tuple[int, int]] = field(default_factory=set)

    @property
    def address(self) -> int:
        return self.body[0].address


@dataclass(frozen=True, slots=True)
class Bound:
    """Bytes: of main and all it calls; of the deepest interrupt, with what it pushes; of a crash report; of main, an
    interrupt and a fault. path: functions from reset to the deepest of main's."""

    main: int
    interrupt: int
    crash: int
    worst: int
    path: tuple[str, ...]


# ------------------------------------------------------------------ one instruction
def _parse(address: int, mnemonic: str, operands: str) -> Instruction:
    name = mnemonic.removesuffix(".w").removesuffix(".n")
    for base in _BASES:
        if name.startswith(base) and name[len(base) :] in _CONDITIONS:
            return Instruction(address, base, True, operands)
    return Instruction(address, name, False, operands)


def _registers(text: str) -> int:
    """How many a list like {r4-r7, lr} names."""
    numbers = {**{f"r{i}": i for i in range(16)}, "sl": 10, "fp": 11, "ip": 12, "sp": 13, "lr": 14, "pc": 15}
    count = 0
    for part in text.strip("{} ").split(","):
        first, _, last = part.strip().partition("-")
        count += numbers[last] - numbers[first] + 1 if last else 1
    return count


def _growth(i: Instruction) -> int:
    """By how many bytes the stack grows. Raises `StackError`."""
    text = i.operands
    if i.name in ("push", "pop"):
        return 4 * _registers(text) * (1 if i.name == "push" else -1)
    if text.startswith("sp!, {") and i.name in ("stmdb", "ldmia"):
        return 4 * _registers(text[5:]) * (1 if i.name == "stmdb" else -1)
    if match := re.search(r"\[sp, #(-?\d+)\]!$|\[sp\], #(-?\d+)$", text):
        return -int(match[1] or match[2])
    if i.name in ("sub", "subw", "add", "addw") and (match := re.fullmatch(r"sp, (?:sp, )?#(\d+)", text)):
        return int(match[1]) * (1 if i.name.startswith("sub") else -1)
    if re.match(r"sp!|sp,", text) and not i.name.startswith(("cmp", "tst", "str")) and not text.startswith("sp, {"):
        raise StackError(f"{i.address:#x}: {i.name} {text} changes the stack by an amount that is not known")
    if i.name.startswith(("vpush", "vpop")):
        raise StackError(f"{i.address:#x}: {i.name}: the floating-point unit is off")
    return 0


def _leaves(i: Instruction) -> bool:
    """Nothing follows it in this function (unless it is conditional)."""
    to_pc = i.name in ("pop", "ldmia") and "pc}" in i.operands.replace(" ", "")
    loads_pc = i.name == "ldr" and i.operands.startswith("pc,")
    new_stack = i.name == "msr" and i.operands.startswith("MSP")  # a boot loader that starts an image
    return to_pc or loads_pc or new_stack or i.name in ("b", "bx", "tbb", "tbh", "udf")


# ------------------------------------------------------------------ one function
def _follow(function: Function, following: int | None, owner: dict[int, int]) -> None:
    """Fills in frame and calls. following: the function that this one may run into; None: a compiler made it, and its
    end is only reached by a call that does not return. owner: address of an instruction -> that of its function."""
    at = {i.address: k for k, i in enumerate(function.body)}
    depths: dict[int, int] = {}
    tables: list[int] = []
    waiting = [(0, 0)]
    while waiting or (tables and len(depths) < len(function.body)):
        # What no branch leads to, a table of branches does.
        k, depth = waiting.pop() if waiting else (next(k for k in range(len(at)) if k not in depths), max(tables))
        if k == len(function.body):
            function.calls |= {(depth, following)} if following is not None else set()
            continue
        if depths.get(k, -1) >= depth:
            continue
        if depth > MOST_BYTES:
            raise StackError(f"{function.name}: the stack grows in a loop")
        depths[k] = depth
        i = function.body[k]
        growth = _growth(i)
        if growth and i.conditional and not _leaves(i):
            raise StackError(f"{function.name}: {i.address:#x}: {i.name} {i.operands} under a condition")
        if i.name in ("tbb", "tbh"):
            tables.append(depth)
        elif i.name in ("blx", "bx") and i.operands != "lr":
            function.pointers.add((depth, i.address))
        elif i.name in ("b", "bl", "cbz", "cbnz"):
            target = _TARGET.search(i.operands)
            if target is None:
                raise StackError(f"{function.name}: {i.address:#x}: {i.name} {i.operands} leads nowhere")
            address = int(target[1], 16)
            if i.name != "bl" and address in at:
                waiting.append((at[address], depth))
            else:
                function.calls.add((depth, owner[address]))
        if i.conditional or not _leaves(i):
            waiting.append((k + 1, depth + (0 if i.conditional else growth)))
    function.frame = max(depths.values())


def functions(elf: Path) -> dict[int, Function]:
    """Every function of the image, by address. Raises `StackError`."""
    if shutil.which(OBJDUMP) is None:
        raise StackError(f"{OBJDUMP} is not installed, expected the package binutils-arm-none-eabi")
    command = [OBJDUMP, "-t", "-d", "--no-show-raw-insn", str(elf)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    found, sizes = _read(lines)
    owner = {i.address: function.address for function in found for i in function.body}
    by_name = {function.name: function.address for function in found}
    for k, function in enumerate(found):
        behind = _VENEER.fullmatch(function.name)
        if behind and behind[1] in by_name:
            function.calls.add((0, by_name[behind[1]]))
        elif function.name != FAULT:  # written by hand, on a stack of its own
            runs_on = not sizes[function.address] and k + 1 < len(found)
            _follow(function, found[k + 1].address if runs_on else None, owner)
    return {function.address: function for function in found}


def _read(lines: list[str]) -> tuple[list[Function], dict[int, int]]:
    """Functions of a listing in the order of addresses; address -> size, 0 for one that was written by hand."""
    sizes: dict[int, int] = {}
    for symbol in filter(None, map(_SYMBOL.match, lines)):
        address = int(symbol[1], 16)
        sizes[address] = max(int(symbol[2], 16), sizes.get(address, 0))
    found: list[Function] = []
    now: Function | None = None  # None: data that lies among the code
    for line in lines:
        if match := _LABEL.match(line):
            start = int(match[1], 16)
            now, end = (Function(match[2]), start + sizes[start]) if start in sizes else (None, 0)
            found += [now] if now else []
        elif now and (match := _INSTRUCTION.match(line)) and match[2] not in (".word", ".short", ".byte"):
            address = int(match[1], 16)
            if address < end or not sizes[start]:  # behind it, linkers fill up with instructions
                now.body.append(_parse(address, match[2], match[3]))
    return found, sizes


# ------------------------------------------------------------------ the image
def _words(elf: Elf) -> Iterator[tuple[int, int]]:
    """(address, value) of every aligned word that is loaded."""
    for segment in elf.segments:
        for offset in range(0, len(segment.data) - 3, 4):
            yield segment.address + offset, struct.unpack_from("<I", segment.data, offset)[0]


def _halves(body: list[Instruction]) -> Iterator[int]:
    """Values that are put together by movw and movt."""
    low: dict[str, int] = {}
    for i in body:
        if i.name in ("movw", "movt") and (match := re.fullmatch(r"(\w+), #(\d+)", i.operands)):
            if i.name == "movw":
                low[match[1]] = int(match[2])
            elif match[1] in low:
                yield int(match[2]) << 16 | low[match[1]]


def _held(elf: Elf, code: dict[int, Function]) -> set[int]:
    """Functions whose address the image holds, so that a pointer may lead to them."""
    hidden = [range(elf.address, elf.address + VECTOR_BYTES)]
    hidden += [range(f.address, f.body[-1].address + 16) for f in code.values() if f.name == FAULT]
    held = {value for address, value in _words(elf) if not any(address in place for place in hidden)}
    for function in code.values():
        held |= set(_halves(function.body)) if function.name != FAULT else set()
    return {value - 1 for value in held if value - 1 in code}


def _members(elf: Path, addresses: list[int]) -> dict[int, set[str]]:
    """The struct members that the source line of each of these instructions calls; none where no line is known."""
    if not addresses:
        return {}
    command = [ADDR2LINE, "-e", str(elf), *map(hex, addresses)]
    places = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    members = {}
    for address, place in zip(addresses, places, strict=True):
        file, _, number = place.partition(" ")[0].rpartition(":")
        lines = (ROOT / file).read_text().splitlines() if number.isdecimal() and (ROOT / file).is_file() else []
        members[address] = set(_MEMBER.findall(lines[int(number) - 1])) if lines else set()
    return members


def _resolve(path: Path, elf: Elf, code: dict[int, Function]) -> None:
    """Turns calls through pointers into calls of all that they may reach."""
    held = _held(elf, code)
    members = _members(path, sorted({address for f in code.values() for _, address in f.pointers}))
    for function in code.values():
        for depth, address in function.pointers:
            names = {POINTED.get(member, member) for member in members[address]}
            named = {one for one in held if code[one].name in names}
            known = named or members[address] & POINTED.keys()  # an image may have no function for a member
            function.calls |= {(depth, one) for one in (named if known else held)}


def _handlers(elf: Elf, code: dict[int, Function]) -> set[int]:
    """The interrupt handlers of the vector table."""
    vectors = {value for address, value in _words(elf) if elf.address < address < elf.address + VECTOR_BYTES}
    return {v - 1 for v in vectors if v - 1 in code and code[v - 1].name not in (RESET, FAULT)}


class _Walk:
    """Depths below a function, each found once."""

    def __init__(self, code: dict[int, Function]) -> None:
        self._code = code
        self._known: dict[int, tuple[int, tuple[str, ...]]] = {}
        self._under_way: list[int] = []

    def worst(self, address: int) -> tuple[int, tuple[str, ...]]:
        """Bytes, and the functions on the way to them. Raises `StackError`."""
        if address in self._known:
            return self._known[address]
        if address in self._under_way:
            names = [self._code[one].name for one in (*self._under_way, address)]
            raise StackError(f"{' -> '.join(names)}: recursion")
        self._under_way.append(address)
        function = self._code[address]
        deepest: tuple[int, tuple[str, ...]] = (function.frame, (function.name,))
        for depth, callee in function.calls:
            below, path = self.worst(callee)
            deepest = max(deepest, (depth + below, (function.name, *path)))
        self._under_way.pop()
        self._known[address] = deepest
        return deepest


def bound(path: Path) -> Bound:
    """Of an image. Raises `StackError`, `hal.errors.ImageError`."""
    elf, code = read_elf(path), functions(path)
    _resolve(path, elf, code)
    walk = _Walk(code)
    address = {function.name: function.address for function in code.values()}
    main, main_path = walk.worst(address[RESET])
    interrupt = max((EXCEPTION_BYTES + walk.worst(handler)[0] for handler in _handlers(elf, code)), default=0)
    fault = EXCEPTION_BYTES if FAULT in address else 0
    crash = walk.worst(address[CRASH])[0] if CRASH in address else 0
    return Bound(main, interrupt, crash, max(main + interrupt + fault, crash), main_path)


def main() -> int:
    """Print the bound of an image."""
    try:
        found = bound(Path(sys.argv[1]))
    except (StackError, IndexError) as error:
        print(f"stack: {error if sys.argv[1:] else 'expected an ELF file'}", file=sys.stderr)
        return 1
    print(f"main {found.main}, interrupt {found.interrupt}, crash {found.crash}: at worst {found.worst} bytes")
    print(" -> ".join(found.path))
    return 0


if __name__ == "__main__":
    sys.exit(main())
