"""Builds the firmware: for each kind of board and flavour an ELF (and flat .bin) that stands alone, and one for each of
the two slots of a board that takes updates; for each kind the boot loader; and what a factory writes: boot loader and
the image for slot A in one .bin (docs/update.md).

    python csrc/firmware/build.py --out hal/bin                what `make firmware` does
    python csrc/firmware/build.py --compiler zig -O -O2 --out out --flavour bench

The compiler is arm-none-eabi-gcc where it is installed, else the clang of the package ziglang from PyPI.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "csrc" / "ffi")]

import sources  # noqa: E402  (csrc/ffi/sources.py)

from hal.elf import read_elf  # noqa: E402
from hal.errors import HalError  # noqa: E402
from hal.firmware import FLAVOURS, Image, seal  # noqa: E402

VERSION = 1
KINDS = {"power_board": 1, "compute_node": 2}
POWER_ONLY = {"power_side", "power_board", "channels", "charger", "mppt", "shed", "soc", "strings"}
NODE_ONLY = {"node_side", "compute_node", "throttle", "over_cap", "heartbeat", "job", "lease"}
OTHER_KIND = {"power_board": NODE_ONLY, "compute_node": POWER_ONLY}
BUS = ("bus_icd", "cobs", "crc32c", "frame", "receiver")
CHANNELS = 192
SCRIPT, BOOT_SCRIPT = "image.ld", "boot.ld"


@dataclass(frozen=True)
class Part:
    """A microcontroller that images are built for."""

    name: str
    cpu: str  # as gcc names it
    target: str  # as clang names its instruction set
    memory: dict[str, int]
    files: tuple[str, ...]  # of csrc/firmware
    flying: tuple[str, ...] = ()  # and, of a board that reads its own sensors, these and drivers_KIND
    slots: tuple[int, ...] = ()  # where an image may also be linked for
    symbols: dict[str, int] = field(default_factory=dict)  # that the linker defines
    boot_memory: dict[str, int] = field(default_factory=dict)


SHARED = ("startup", "main", "image", "memory", "ring", "semihost")
FLASH_DRIVER = ("flash_f4", "flash_nvm")
STM32F4 = Part(
    "stm32f4",
    "cortex-m4",
    "thumb-freestanding-eabi",
    {"FLASH_ORIGIN": 0x0800_0000, "FLASH_BYTES": 96 * 1024, "RAM_ORIGIN": 0x2000_0000, "RAM_BYTES": 16 * 1024},
    (*SHARED, *FLASH_DRIVER, "port_stm32f4"),
    ("flight", "bus_stm32f4"),
    slots=(0x0802_0000, 0x0804_0000),
    symbols={  # the map of flash is explained in flash_f4.h
        "__slot_a": 0x0802_0000,
        "__slot_b": 0x0804_0000,
        "__slot_bytes": 128 * 1024,
        "__slot_log": 0x0800_4000,
        "__slot_other_log": 0x0800_8000,
        "__slot_log_bytes": 16 * 1024,
        "__nvm_area": 0x0800_C000,
        "__nvm_area_bytes": 16 * 1024,
        "__nvm_other_area": 0x0801_0000,
        "__nvm_other_area_bytes": 64 * 1024,
    },
    boot_memory={
        "FLASH_ORIGIN": 0x0800_0000,
        "FLASH_BYTES": 16 * 1024,
        "RAM_ORIGIN": 0x2000_4000,  # above that of the images
        "RAM_BYTES": 8 * 1024,
    },
)
NRF51 = Part(
    "nrf51",
    "cortex-m0",
    "thumb-freestanding-eabi",
    {"FLASH_ORIGIN": 0, "FLASH_BYTES": 64 * 1024, "RAM_ORIGIN": 0x2000_0000, "RAM_BYTES": 16 * 1024},
    (*SHARED, "port_nrf51"),
)
PARTS = {part.name: part for part in (STM32F4, NRF51)}
BOOT_FIRMWARE = ("boot_main", "boot", "memory", *FLASH_DRIVER)
BOOT_BOARDS = ("slots", "flash")
BOOT_BUS = ("crc32c",)


@dataclass(frozen=True)
class Compiler:
    """How to call a cross compiler; name: gcc or zig."""

    name: str
    command: tuple[str, ...]

    @property
    def link(self) -> list[str]:
        """No C library and no start files; zig brings its compiler's functions (64-bit division) by itself."""
        return ["-nostdlib"] if self.name == "gcc" else ["-nostartfiles", "-Wl,--entry=reset_handler"]

    @property
    def libraries(self) -> list[str]:
        return ["-lgcc"] if self.name == "gcc" else []

    def cpu(self, part: Part) -> list[str]:
        if self.name == "gcc":
            return [f"-mcpu={part.cpu}", "-mthumb", "-mfloat-abi=soft", "-fstack-usage"]
        return ["-target", part.target, f"-mcpu={part.cpu.replace('-', '_')}", "-mfloat-abi=soft", "-fno-sanitize=all"]


def find_compiler(name: str | None) -> Compiler:
    """arm-none-eabi-gcc, or zig. Raises `SystemExit` with one line when there is none."""
    gcc = shutil.which("arm-none-eabi-gcc")
    if gcc and name in (None, "gcc"):
        return Compiler("gcc", (gcc,))
    probe = [sys.executable, "-c", "import ziglang"]
    if name in (None, "zig") and subprocess.run(probe, capture_output=True, check=False).returncode == 0:
        return Compiler("zig", (sys.executable, "-m", "ziglang", "cc"))
    wanted = {"gcc": "arm-none-eabi-gcc (Debian: gcc-arm-none-eabi)", "zig": "ziglang (PyPI)"}
    expected = wanted[name] if name else " or ".join(wanted.values())
    raise SystemExit(f"build.py: no compiler for ARM is installed, expected {expected}")


DRIVERS = {"power_board": "drivers_power", "compute_node": "drivers_node"}


def c_files(part: Part, kind: str, flavour: str, level: str) -> list[Path]:
    """What an image of this kind is made of. Without optimisation the calls of what it does not need stay."""
    csrc = ROOT / "csrc"
    unwanted = OTHER_KIND[kind] if level != "-O0" else set()
    boards = [p for p in sorted((csrc / "boards").glob("*.c")) if p.stem not in unwanted]
    flying = (*part.flying, DRIVERS[kind]) if flavour == "flight" or level == "-O0" else ()
    ours = [csrc / "firmware" / f"{name}.c" for name in (*part.files, *flying)]
    return [*(csrc / "bus" / f"{name}.c" for name in BUS), *boards, *ours]


def flags(compiler: Compiler, part: Part, kind: str, flavour: str, level: str, generated: Path) -> list[str]:
    """Compiler flags; the semantics are those of every other build of the boards."""
    return [
        *compiler.cpu(part),
        *sources.SEMANTICS,
        level,
        *("-g", "-ffreestanding", "-ffunction-sections", "-fdata-sections", "-fno-common", "-fno-builtin"),
        *("-fno-unwind-tables", "-fno-asynchronous-unwind-tables"),
        *sources.WARNINGS,
        "-Werror",
        *(f"-I{ROOT / 'csrc'}", f"-I{generated}", f"-I{ROOT / 'csrc/firmware/libc'}"),
        *(f"-DBOARD_KIND={KINDS[kind]}", f"-DIMAGE_FLAVOUR={FLAVOURS.index(flavour)}", f"-DIMAGE_VERSION={VERSION}"),
        *("-DBUS_CRC_SMALL", f"-DPOWER_BOARD_MAX_CHANNELS={CHANNELS}"),
    ]


def boot_files() -> list[Path]:
    """What a boot loader is made of."""
    folders = {"bus": BOOT_BUS, "boards": BOOT_BOARDS, "firmware": BOOT_FIRMWARE}
    return [ROOT / "csrc" / folder / f"{name}.c" for folder, names in folders.items() for name in names]


def compile_all(compiler: Compiler, files: list[Path], options: list[str], work: Path) -> list[Path]:
    """Compile into `work`; the objects. Raises `SystemExit` with what the compiler said."""
    objects = {path: work / f"{path.parent.name}_{path.stem}.o" for path in files}

    def one(path: Path) -> subprocess.CompletedProcess[str]:
        # A reproducible image: no path of this machine gets into it.
        command = [
            *compiler.command,
            *options,
            f"-ffile-prefix-map={ROOT}=.",
            "-c",
            str(path),
            "-o",
            str(objects[path]),
        ]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    with ThreadPoolExecutor(max_workers=2) as pool:
        _check(list(pool.map(one, objects)))
    return list(objects.values())


def link(
    compiler: Compiler, part: Part, script_name: str, memory: dict[str, int], objects: list[Path], out: Path
) -> None:
    """Link an ELF with a script of this part, filled in with `memory`. Raises `SystemExit`."""
    script = out.with_suffix(".ld")
    text = (ROOT / "csrc" / "firmware" / script_name).read_text()
    for name, value in memory.items():
        text = text.replace(name, f"{value:#x}")
    symbols = "".join(f"{name} = {value:#x};\n" for name, value in part.symbols.items())
    script.write_text(text + symbols)  # not by --defsym, which zig does not pass on
    command = [*compiler.command, *compiler.cpu(part), *compiler.link, "-static", f"-T{script}", "-Wl,--gc-sections"]
    command += ["-Wl,--build-id=none", *map(str, objects), *compiler.libraries, "-o", str(out)]
    _check([subprocess.run(command, capture_output=True, text=True, check=False)])


def publish(fresh: Path, out: Path) -> Path:
    """Move a file that was made into place: who has the old one open keeps it."""
    out.mkdir(parents=True, exist_ok=True)
    shutil.copy(fresh, out / f"{fresh.name}.new")
    return (out / f"{fresh.name}.new").replace(out / fresh.name)


def build(
    compiler: Compiler,
    part: Part,
    kind: str,
    flavour: str,
    level: str,
    out: Path,
    work: Path,
    places: dict[str, int] | None = None,
) -> list[Image]:
    """The images of one kind and flavour: the same objects, linked for each place (suffix of the name -> address;
    default: to stand alone). Raises `SystemExit` with what the compiler said."""
    work.mkdir(parents=True, exist_ok=True)
    sources.write_firmware_header(work / "generated")
    options = flags(compiler, part, kind, flavour, level, work / "generated")
    objects = compile_all(compiler, c_files(part, kind, flavour, level), options, work)
    images = []
    for place, origin in (places or {"": part.memory["FLASH_ORIGIN"]}).items():
        elf = work / f"dawnline-{kind}{'' if flavour == 'bench' else f'-{flavour}'}{place}.elf"
        link(compiler, part, SCRIPT, part.memory | {"FLASH_ORIGIN": origin}, objects, elf)
        image = seal(elf)
        elf.with_suffix(".bin").write_bytes(image.data)
        publish(elf, out)
        publish(elf.with_suffix(".bin"), out)
        images.append(image)
    return images


def build_boot(
    compiler: Compiler, part: Part, kind: str, level: str, out: Path, work: Path, more: tuple[Path, ...] = ()
) -> Path:
    """The boot loader of one kind; `more`: files beside those that every one is made of. Raises `SystemExit`."""
    work.mkdir(parents=True, exist_ok=True)
    sources.write_firmware_header(work / "generated")
    options = flags(compiler, part, kind, "bench", level, work / "generated")
    objects = compile_all(compiler, [*boot_files(), *more], options, work)
    elf = work / f"dawnline-boot-{kind}.elf"
    link(compiler, part, BOOT_SCRIPT, part.boot_memory, objects, elf)
    return publish(elf, out)


def build_factory(boot: Path, slot_a: Image, work: Path, out: Path) -> Path:
    """What a factory writes to the beginning of flash: the boot loader, erased flash, and the image for slot A."""
    loader = read_elf(boot)
    gap = slot_a.base - loader.address - len(loader.image)
    factory = work / f"{slot_a.path.stem.replace('-slot-a', '-factory')}.bin"
    factory.write_bytes(loader.image + b"\xff" * gap + slot_a.data)
    return publish(factory, out)


def build_kind(
    compiler: Compiler, part: Part, kind: str, flavours: Sequence[str], level: str, out: Path, work: Path
) -> None:
    """Everything there is of one kind; one line per file. Raises `SystemExit`, `HalError`."""
    note = f"({compiler.name} {level})"
    places = {"": part.memory["FLASH_ORIGIN"], **dict(zip(("-slot-a", "-slot-b"), part.slots, strict=False))}
    boot = build_boot(compiler, part, kind, level, out, work.with_name(f"{work.name}-boot")) if part.slots else None
    if boot is not None:
        print(f"{boot.name:40} {len(read_elf(boot).image):6} bytes {note:>29}")
    for flavour in flavours:
        folder = work.with_name(f"{work.name}-{flavour}")
        images = build(compiler, part, kind, flavour, level, out, folder, places)
        for image in images:
            print(f"{image.path.name:40} {len(image.data):6} bytes  CRC {image.crc:08x}  {note}")
        if boot is not None:
            factory = build_factory(boot, images[1], folder, out)
            print(f"{factory.name:40} {factory.stat().st_size:6} bytes")


def _check(results: list[subprocess.CompletedProcess[str]]) -> None:
    for result in results:
        sys.stderr.write(result.stderr)
    if any(result.returncode for result in results):
        raise SystemExit("build.py: the firmware did not compile, see above")


def main() -> int:
    """Build what the arguments say; one line per image."""
    parser = argparse.ArgumentParser(description="Build the firmware.")
    parser.add_argument("--out", type=Path, default=ROOT / "hal" / "bin", help="folder of the images")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "firmware", help="folder of the object files")
    parser.add_argument("--compiler", choices=("gcc", "zig"), help="default: gcc where it is installed, else zig")
    parser.add_argument("--part", choices=PARTS, default=STM32F4.name, help=f"default: {STM32F4.name}")
    parser.add_argument("--flavour", choices=FLAVOURS, action="append", help="default: all that the part has")
    parser.add_argument("-O", dest="level", default="s", choices=("0", "1", "2", "3", "s"), help="default: -Os")
    args = parser.parse_args()
    compiler, part, level = find_compiler(args.compiler), PARTS[args.part], f"-O{args.level}"
    flavours = args.flavour or (FLAVOURS if part.flying else FLAVOURS[:1])
    try:
        for kind in KINDS:
            work = args.work / f"{part.name}-{compiler.name}{level}-{kind}"
            build_kind(compiler, part, kind, flavours, level, args.out, work)
    except HalError as error:
        raise SystemExit(f"build.py: {error}") from None
    return 0


if __name__ == "__main__":
    sys.exit(main())
