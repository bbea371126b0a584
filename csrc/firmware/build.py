"""Builds the firmware: one ELF and one flat .bin per kind of board and flavour.

    python csrc/firmware/build.py --out hal/bin                what `make firmware` does
    python csrc/firmware/build.py --compiler zig -O -O2 --out out --flavour bench

The compiler is arm-none-eabi-gcc where it is installed, else the clang of the package ziglang from PyPI.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "csrc" / "ffi")]

import sources  # noqa: E402  (csrc/ffi/sources.py)

from hal.errors import HalError  # noqa: E402
from hal.firmware import FLAVOURS, Image, seal  # noqa: E402

VERSION = 1
KINDS = {"power_board": 1, "compute_node": 2}
POWER_ONLY = {"power_side", "power_board", "channels", "charger", "mppt", "shed", "soc", "strings"}
NODE_ONLY = {"node_side", "compute_node", "throttle", "over_cap", "heartbeat", "job", "lease"}
OTHER_KIND = {"power_board": NODE_ONLY, "compute_node": POWER_ONLY}
BUS = ("bus_icd", "cobs", "crc32c", "frame", "receiver")
CHANNELS = 192
SCRIPT = "image.ld"


@dataclass(frozen=True)
class Part:
    """A microcontroller that images are built for."""

    name: str
    cpu: str  # as gcc names it
    target: str  # as clang names its instruction set
    memory: dict[str, int]
    files: tuple[str, ...]  # of csrc/firmware
    flying: tuple[str, ...] = ()  # and, of a board that reads its own sensors, these and drivers_KIND


SHARED = ("startup", "main", "image", "memory", "ring", "semihost")
STM32F4 = Part(
    "stm32f4",
    "cortex-m4",
    "thumb-freestanding-eabi",
    {"FLASH_ORIGIN": 0x0800_0000, "FLASH_BYTES": 64 * 1024, "RAM_ORIGIN": 0x2000_0000, "RAM_BYTES": 16 * 1024},
    (*SHARED, "port_stm32f4"),
    ("flight", "bus_stm32f4"),
)
NRF51 = Part(
    "nrf51",
    "cortex-m0",
    "thumb-freestanding-eabi",
    {"FLASH_ORIGIN": 0, "FLASH_BYTES": 64 * 1024, "RAM_ORIGIN": 0x2000_0000, "RAM_BYTES": 16 * 1024},
    (*SHARED, "port_nrf51"),
)
PARTS = {part.name: part for part in (STM32F4, NRF51)}


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


def build(compiler: Compiler, part: Part, kind: str, flavour: str, level: str, out: Path, work: Path) -> Image:
    """One image. Raises `SystemExit` with what the compiler said."""
    work.mkdir(parents=True, exist_ok=True)
    generated = work / "generated"
    sources.write_firmware_header(generated)
    script = work / SCRIPT
    text = (ROOT / "csrc" / "firmware" / SCRIPT).read_text()
    for name, value in part.memory.items():
        text = text.replace(name, f"{value:#x}")
    script.write_text(text)
    common = flags(compiler, part, kind, flavour, level, generated)
    objects = {path: work / f"{path.parent.name}_{path.stem}.o" for path in c_files(part, kind, flavour, level)}

    def one(path: Path) -> subprocess.CompletedProcess[str]:
        # A reproducible image: no path of this machine gets into it.
        command = [*compiler.command, *common, f"-ffile-prefix-map={ROOT}=.", "-c", str(path), "-o", str(objects[path])]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    with ThreadPoolExecutor(max_workers=2) as pool:
        results = list(pool.map(one, objects))
    _check(results)
    suffix = "" if flavour == "bench" else f"-{flavour}"
    elf = out / f"dawnline-{kind}{suffix}.elf"
    fresh = work / elf.name
    link = [*compiler.command, *compiler.cpu(part), *compiler.link, "-static", f"-T{script}", "-Wl,--gc-sections"]
    link += ["-Wl,--build-id=none", *map(str, objects.values())]
    link += compiler.libraries
    _check([subprocess.run([*link, "-o", str(fresh)], capture_output=True, text=True, check=False)])
    image = seal(fresh)
    out.mkdir(parents=True, exist_ok=True)
    (out / elf.with_suffix(".bin").name).write_bytes(image.data)
    shutil.copy(fresh, elf.with_suffix(".new"))
    elf.with_suffix(".new").replace(elf)
    return image


def _check(results: list[subprocess.CompletedProcess[str]]) -> None:
    for result in results:
        sys.stderr.write(result.stderr)
    if any(result.returncode for result in results):
        raise SystemExit("build.py: the firmware did not compile, see above")


def main() -> int:
    """Build what the arguments say; one line per image."""
    parser = argparse.ArgumentParser(description="Build the firmware.")
    parser.add_argument("--out", type=Path, default=ROOT / "hal" / "bin", help="folder of the images")
    parser.add_argument("--compiler", choices=("gcc", "zig"), help="default: gcc where it is installed, else zig")
    parser.add_argument("--part", choices=PARTS, default=STM32F4.name, help=f"default: {STM32F4.name}")
    parser.add_argument("--flavour", choices=FLAVOURS, action="append", help="default: all that the part has")
    parser.add_argument("-O", dest="level", default="s", choices=("0", "1", "2", "3", "s"), help="default: -Os")
    args = parser.parse_args()
    compiler, part = find_compiler(args.compiler), PARTS[args.part]
    for flavour in args.flavour or (FLAVOURS if part.flying else FLAVOURS[:1]):
        for kind in KINDS:
            work = ROOT / "build" / "firmware" / f"{part.name}-{compiler.name}-O{args.level}-{kind}-{flavour}"
            try:
                image = build(compiler, part, kind, flavour, f"-O{args.level}", args.out, work)
            except HalError as error:
                raise SystemExit(f"build.py: {error}") from None
            print(
                f"{image.path.name:36} {len(image.data):6} bytes  CRC {image.crc:08x}  ({compiler.name} -O{args.level})"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
