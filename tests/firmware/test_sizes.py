"""What the images that ship need of a microcontroller, and that the bound of their stack is one."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

import pytest

from benchmarks._stack import EXCEPTION_BYTES, StackError, bound, functions
from benchmarks.sizes import BOOT_FLASH_BYTES, BOOT_RAM_BYTES, FLASH_BYTES, RAM_BYTES, build, fly_node, fly_power, sizes
from hal.firmware import FLAVOURS
from hal.icd import BoardKind
from hal.images import image_of
from tests.tools import NEEDS_ARM_GCC

pytestmark = NEEDS_ARM_GCC


@pytest.fixture(scope="module")
def gcc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the images that gcc makes."""
    out = tmp_path_factory.mktemp("gcc")
    build("gcc", "s", FLAVOURS, out)
    return out


@pytest.fixture(scope="module")
def zig(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the images that zig makes."""
    out = tmp_path_factory.mktemp("zig")
    build("zig", "s", FLAVOURS, out)
    return out


@pytest.mark.parametrize("compiler", ["gcc", "zig"])
def test_every_image_fits_with_its_deepest_stack(compiler: str, request: pytest.FixtureRequest):
    folder = request.getfixturevalue(compiler)
    for flavour in FLAVOURS:
        for kind in BoardKind:
            found = sizes(folder / image_of(kind, flavour).name)
            assert found.flash <= FLASH_BYTES, (kind, flavour, found)
            assert found.stack <= found.room, (kind, flavour, found)
            assert found.ram + found.room == RAM_BYTES, (kind, flavour, found)
    for boot in folder.glob("dawnline-boot-*.elf"):
        found = sizes(boot)
        assert found.flash <= BOOT_FLASH_BYTES, (boot.name, found)
        assert found.stack <= found.room <= BOOT_RAM_BYTES, (boot.name, found)


def test_frames_are_those_that_gcc_says(gcc: Path):
    """Each function's own part of the stack, against -fstack-usage; not those whose name several have."""
    compared = 0
    for elf in gcc.glob("*.elf"):
        folder = next(path.parent for path in (gcc / "work").glob(f"*/{elf.name}"))
        said: dict[str, list[int]] = {}
        for line in "".join(path.read_text() for path in folder.glob("*.su")).splitlines():
            where, size, how = line.split("\t")
            assert how == "static", line
            said.setdefault(where.rsplit(":", 1)[1], []).append(int(size))
        code = functions(elf).values()
        names = Counter(function.name for function in code)
        for function in code:
            sizes_said = said.get(function.name, [])
            if len(sizes_said) == names[function.name] == 1 and function.name != "fault_handler":
                assert function.frame == sizes_said[0], (elf.name, function.name)
                compared += 1
    assert compared > 600


def test_no_flight_needs_more_than_the_bound(gcc: Path):
    power, node = (gcc / image_of(kind).name for kind in (BoardKind.POWER_BOARD, BoardKind.COMPUTE_NODE))
    assert 0 < fly_power(power, "desk").stack <= bound(power).worst
    assert 0 < max(flown.stack for flown in fly_node(node)) <= bound(node).worst


# ------------------------------------------------------------------ programs of known depth
PROGRAM = """
    typedef void function(void);
    static volatile int n;
    #define EAT(bytes) volatile char eaten[bytes]; eaten[n] = 1
    __attribute__((noinline)) void leaf(void) { EAT(400); }
    __attribute__((noinline)) void deep(void) { EAT(1000); }
    __attribute__((noinline)) void handler(void) { EAT(96); }
    __attribute__((noinline)) void crash(void) { EAT(200); }
    void fault_handler(void) { n = (int)&crash; }
    BODY
    void reset_handler(void);
    __attribute__((section(".vectors"), used)) static function *const vectors[128] = {
        (function *)0x20004000, reset_handler, fault_handler, handler};
    __attribute__((noinline)) void reset_handler(void) { EAT(104); work(); n = 0; }
"""


def depth(tmp_path: Path, body: str) -> int:
    """Bytes that `main` of a program with this function work() may take."""
    source, elf = tmp_path / "program.c", tmp_path / "program.elf"
    source.write_text(PROGRAM.replace("BODY", body))
    (tmp_path / "program.ld").write_text(
        "SECTIONS { .text 0x8000000 : { KEEP(*(.vectors)) *(.text*) *(.rodata*) } .bss 0x20000000 : { *(.bss*) } }"
    )
    flags = ["-mcpu=cortex-m4", "-mthumb", "-Os", "-ffreestanding", "-nostdlib", f"-T{tmp_path / 'program.ld'}"]
    flags += ["-Wl,-e,reset_handler", "-Wl,--build-id=none", "-fno-ipa-sra", "-g"]
    subprocess.run(["arm-none-eabi-gcc", *flags, str(source), "-o", str(elf)], check=True, capture_output=True)
    found = bound(elf)
    assert found.worst == found.main + found.interrupt + EXCEPTION_BYTES
    assert found.interrupt in range(EXCEPTION_BYTES + 96, EXCEPTION_BYTES + 112)
    return found.main


def test_calls_add_up_and_the_deepest_counts(tmp_path: Path):
    calls = "__attribute__((noinline)) void work(void) { leaf(); n = 1; leaf(); n = 2; }"
    assert depth(tmp_path, calls) in range(504, 504 + 32)
    assert depth(tmp_path, calls.replace("leaf(); n = 2", "if (n) deep(); n = 2")) in range(1104, 1104 + 32)


def test_a_pointer_may_lead_to_whatever_is_pointed_to(tmp_path: Path):
    pointer = """static function *volatile chosen = NAME;
        __attribute__((noinline)) void work(void) { function *f = chosen; f(); n = 1; }"""
    pointer = pointer.replace("volatile chosen = NAME", "const chosen[2] = {leaf, NAME}").replace(
        "= chosen", "= chosen[n]"
    )
    assert depth(tmp_path, pointer.replace("NAME", "leaf")) in range(504, 504 + 32)
    assert depth(tmp_path, pointer.replace("NAME", "deep")) in range(1104, 1104 + 32)


MEMBERS = """struct port { function *deep, *leaf; };
    static const struct port ports[2] = {{deep, leaf}, {deep, leaf}};
    __attribute__((noinline)) void work(void) { const struct port *p = &ports[n]; p->leaf(); n = 1; }"""


def test_a_member_of_a_struct_leads_to_the_functions_of_its_name(tmp_path: Path):
    assert depth(tmp_path, MEMBERS) in range(504, 504 + 32)
    assert depth(tmp_path, MEMBERS.replace("p->leaf()", "p->deep()")) in range(1104, 1104 + 32)
    unknown = "function *f = p->leaf; f()"
    assert depth(tmp_path, MEMBERS.replace("p->leaf()", unknown)) in range(1104, 1104 + 32), "any function may be meant"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("__attribute__((noinline)) void work(void) { if (n) { EAT(8); work(); n = 1; } }", "work -> work: recursion"),
        ("__attribute__((noinline)) void work(void) { volatile char a[n]; a[n - 1] = 1; }", "an amount that is not"),
    ],
)
def test_what_has_no_bound_is_refused(tmp_path: Path, body: str, why: str):
    with pytest.raises(StackError, match=why):
        depth(tmp_path, body)
