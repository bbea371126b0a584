"""Firmware images for the Cortex-M4: flash, memory, the deepest stack, instructions of a step.

Sizes are those of the linked image. The deepest stack is computed from the machine code (benchmarks/_stack.py says what
is assumed), beside it is what was used in an emulated flight. Instructions are counted in Unicorn, all of a tick of
100 ms: bytes received and sent, frames, the step. The images that ship are built with -Os and are held to 32 KiB of
flash and 16 KiB of memory; -O2 is for comparison.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import unicorn

from benchmarks._stack import bound
from benchmarks.report import ROOT, Row, need, step
from benchmarks.ticks import work
from flight.executive import Executive
from flight.storage import Storage
from hal.cortexm import CortexM
from hal.elf import Elf, read_elf
from hal.firmware import FLAVOURS
from hal.icd import BoardKind
from hal.images import image_of
from hal.rig import Entry, Rig, load_rig
from hal.world import World

BUILDS = (("gcc", "s"), ("zig", "s"), ("gcc", "2"), ("zig", "2"))
"""compiler, optimisation"""
SHIPPED = "s"
FLASH_BYTES, RAM_BYTES = 32 * 1024, 16 * 1024
BOOT_FLASH_BYTES, BOOT_RAM_BYTES = 16 * 1024, 8 * 1024
HEADLINES = ("160 channels", "computing")
PAINT = b"\xc5"
COUNTED_TICKS = 20
"""As many as something that a board does once a second needs to come twice."""


@dataclass(frozen=True)
class Sizes:
    """Of an image, in bytes. room: what its memory leaves for the stack; stack: how much of that it can take."""

    flash: int
    ram: int
    room: int
    stack: int


def sizes(elf: Path) -> Sizes:
    """Of an image or a boot loader. Raises `benchmarks._stack.StackError`, `hal.errors.ImageError`."""
    loaded = read_elf(elf)
    limit, top = stack_of(loaded)
    memory = loaded.symbols["__data_start"][0] & ~0xFFF
    return Sizes(len(loaded.image), limit - memory, top - limit, bound(elf).worst)


def stack_of(elf: Elf) -> tuple[int, int]:
    """Where the stack's memory begins and ends."""
    return elf.symbols["__stack_limit"][0], elf.symbols["__stack_top"][0]


def build(compiler: str, level: str, flavours: tuple[str, ...], out: Path) -> None:
    """Builds the images of both kinds into a folder, with the object files in its folder work."""
    command = [sys.executable, "csrc/firmware/build.py", "--compiler", compiler, f"-O{level}"]
    command += ["--out", str(out), "--work", str(out / "work")]
    command += [word for flavour in flavours for word in ("--flavour", flavour)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


# ------------------------------------------------------------------ in flight
@dataclass(frozen=True)
class Flown:
    """What a board did in flight: instructions of every counted tick, and how much of its stack it had used by then."""

    instructions: list[int]
    stack: int

    @property
    def mean(self) -> float:
        return sum(self.instructions) / len(self.instructions)


def small(rig: Rig, *timeline: Entry) -> Rig:
    """The rig with nodes that boot fast, and another timeline."""
    satellite = replace(rig.satellite, node=replace(rig.satellite.node, boot_s=10.0))
    return replace(rig, satellite=satellite, timeline=timeline)


@contextlib.contextmanager
def flying(rig: Rig, role: str, elf: Path) -> Iterator[tuple[Executive, CortexM]]:
    """A flight with this board in Unicorn, the others on mocks."""
    boards = tuple(replace(b, link=f"unicorn:{elf}", image=elf) if b.role == role else b for b in rig.boards)
    rig = replace(rig, boards=boards)
    with tempfile.TemporaryDirectory() as folder, World(rig) as world:
        executive = Executive(world, Storage(Path(folder)), timeline=rig.timeline, batch=1)
        line: Any = world.line(role)
        yield executive, line.machine
        executive.close()


def count(executive: Executive, machine: CortexM) -> Flown:
    """Count the instructions of some ticks."""
    executed = [0]

    def one(*_: object) -> None:
        executed[0] += 1

    hook = machine.uc.hook_add(unicorn.UC_HOOK_CODE, one)
    machine.uc.ctl_flush_tb()  # what is translated already has no hook
    per_tick = []
    for _ in range(COUNTED_TICKS):
        executed[0] = 0
        executive.run(executive.port.t_us + executive.port.tick_us)
        per_tick.append(executed[0])
    machine.uc.hook_del(hook)
    machine.uc.ctl_flush_tb()
    limit, top = stack_of(machine.elf)
    memory = bytes(machine.uc.mem_read(limit, top - limit))
    return Flown(per_tick, len(memory.lstrip(PAINT)))


def fly_power(elf: Path, rig_name: str) -> Flown:
    """A power board while all nodes compute."""
    rig = load_rig(rig_name)
    with flying(small(rig, *work(rig.nodes)), "power", elf) as (executive, machine):
        executive.run(90_000_000)
        return count(executive, machine)


def fly_node(elf: Path) -> tuple[Flown, Flown]:
    """A node that is on and has no job, and one that computes."""
    job = {"workload": "training", "priority": 1, "work_mu": 1_000_000_000, "checkpoint_s": 60}
    jobs = (Entry(20.0 + i, "job_submit", {"job_id": 1 + i, **job}) for i in range(4))
    with flying(small(load_rig("desk"), Entry(1.0, "node_on", {"node": 65535}), *jobs), "node0", elf) as flight:
        flight[0].run(18_000_000)
        idle = count(*flight)
        flight[0].run(40_000_000)
        return idle, count(*flight)


# ------------------------------------------------------------------ rows
def kib(name: str, value: int, note: str, headline: bool) -> Row:
    return Row(name, value / 1024, "KiB", f"{value:,} bytes{note}", headline)


def size_rows(what: str, found: Sizes, note: str = "", headline: bool = False) -> list[Row]:
    return [
        kib(f"{what}: flash", found.flash, "", headline),
        kib(f"{what}: memory and stack", found.ram + found.stack, f"; {found.room - found.stack:,} left", headline),
        kib(f"{what}: stack at worst", found.stack, f", with an interrupt and a fault{note}", False),
    ]


def step_row(what: str, flown: Flown, headline: bool) -> Row:
    note = f"{max(flown.instructions):,} at most; {flown.mean / 16e3:.1f} ms at 16 MHz, if each took one cycle"
    return Row(f"{what}: a step", flown.mean, "instructions", note, headline)


def of_image(kind: BoardKind, flavour: str, compiler: str, level: str, folder: Path) -> list[Row]:
    """Rows of one image of a folder; a bench image is flown, too."""
    elf = folder / image_of(kind, flavour).name
    steps: dict[str, Flown] = {}
    if flavour == "bench" and kind == BoardKind.POWER_BOARD:
        steps = {"16 channels": fly_power(elf, "demo"), "160 channels": fly_power(elf, "ai1")}
    elif flavour == "bench":
        steps = dict(zip(("idle", "computing"), fly_node(elf), strict=True))
    what = f"{kind.name.lower().replace('_', ' ')}, {flavour}, {compiler} -O{level}"
    headline = (compiler, level, flavour) == ("gcc", SHIPPED, "bench")
    used = f"; {max(one.stack for one in steps.values()):,} used in flight" if steps else ""
    rows = size_rows(what, sizes(elf), used, headline)
    return rows + [step_row(f"{what}, {name}", one, headline and name in HEADLINES) for name, one in steps.items()]


def measure(quick: bool) -> list[Row]:
    """Sizes and a stack for each image, two steps for each bench image."""
    need("arm-none-eabi-gcc", "gcc-arm-none-eabi")
    rows = []
    for compiler, level in BUILDS[:1] if quick else BUILDS:
        step(f"{compiler} -O{level}")
        flavours = FLAVOURS if level == SHIPPED and not quick else FLAVOURS[:1]
        with tempfile.TemporaryDirectory() as folder:
            build(compiler, level, flavours, Path(folder))
            for flavour in flavours:
                for kind in BoardKind:
                    rows += of_image(kind, flavour, compiler, level, Path(folder))
            boot = Path(folder) / f"dawnline-boot-{BoardKind.POWER_BOARD.name.lower()}.elf"
            rows += size_rows(f"boot loader, {compiler} -O{level}", sizes(boot))
    return rows
