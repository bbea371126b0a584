"""Which C belongs to which extension module, with which flags. Read by setup.py, csrc/ffi/build.py and the lints."""

import hashlib
import os
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# What each extension module is made of. The build itself holds the arrows: flight has no plant to call.
EXTENSIONS = {
    "hal._native": ("bus", "boards", "plant", "world"),
    "flight._native": ("bus", "space", "control"),
    "ground._native": ("space",),
}
# The board as a child process.
BOARD = ("bus", "boards", "process")
BOARD_MAIN = Path("csrc/process/main.c")

# What the content hash of a board's firmware covers (design.md, rule 1).
FIRMWARE_FOLDERS = ("csrc/bus", "csrc/boards", "csrc/firmware")
FIRMWARE_FILES = ("csrc/icd/board_bus.toml",)
FIRMWARE_SUFFIXES = {".c", ".h", ".S", ".ld"}

WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Wshadow")
# Always errors, in every build. `make lint` makes every warning one; a user's newer compiler does not.
ERRORS = tuple(
    f"-Werror={name}"
    for name in (
        "implicit-function-declaration",
        "incompatible-pointer-types",
        "int-conversion",
        "return-type",
        "discarded-qualifiers",
        "float-conversion",
    )
)
# Rule 3: the same float results everywhere. No -march: the bus module asks the CPU at run time what it has.
SEMANTICS = ("-std=c11", "-ffp-contract=off", "-fno-math-errno")
OPTIMISATION = {"bus": "-O3", "plant": "-O3", "world": "-O3"}
# Only the physics may use libm.
LIBRARIES = {"hal._native": ["m"]}


def compiler() -> list[str]:
    """The C compiler: $CC, or cc."""
    return shlex.split(os.environ.get("CC", "cc"))


def c_files(modules: tuple[str, ...]) -> list[Path]:
    """The C files of these module folders, relative to the root, in a fixed order. A folder may be absent."""
    return [path.relative_to(ROOT) for module in modules for path in sorted((ROOT / "csrc" / module).glob("*.c"))]


def headers(modules: tuple[str, ...]) -> list[Path]:
    """The headers and cffi declarations of these module folders, relative to the root, in a fixed order."""
    return [path.relative_to(ROOT) for module in modules for path in sorted((ROOT / "csrc" / module).glob("*.h"))]


def public_headers(module: str) -> list[Path]:
    """The headers of a module's interface: MODULE.h if there is one (the others are its own matter), else all."""
    found = [path for path in headers((module,)) if not path.name.endswith(".cdef.h")]
    main = [path for path in found if path.name in (f"{module}.h", f"{module}_icd.h")]
    return main if any(path.name == f"{module}.h" for path in main) else found


def flags(path: Path, generated: Path) -> list[str]:
    """Compiler flags for one of our C files, $CFLAGS last; `generated` holds headers that the build wrote."""
    level = OPTIMISATION.get(path.parts[1], "-O2")
    include = ["-Icsrc", f"-I{generated}"]
    ours = [*SEMANTICS, level, "-g", "-fPIC", "-fvisibility=hidden", *WARNINGS, *ERRORS, *include]
    return [*ours, *shlex.split(os.environ.get("CFLAGS", ""))]


def firmware_hash() -> bytes:
    """First 8 bytes of SHA-256 over the sources that make a board what it is: path, length and content of each."""
    paths = [ROOT / name for name in FIRMWARE_FILES]
    for folder in FIRMWARE_FOLDERS:
        found = (ROOT / folder).rglob("*")
        paths += [p for p in found if p.suffix in FIRMWARE_SUFFIXES and not p.name.endswith(".cdef.h")]
    digest = hashlib.sha256()
    for path in sorted(paths):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(ROOT).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.digest()[:8]


def write_firmware_header(folder: Path) -> None:
    """Writes firmware_hash.h (FIRMWARE_HASH, an initialiser of 8 bytes) unless it is there with the same content."""
    values = ", ".join(f"0x{byte:02x}" for byte in firmware_hash())
    text = f"#ifndef FIRMWARE_HASH_H\n#define FIRMWARE_HASH_H\n#define FIRMWARE_HASH {{{values}}}\n#endif\n"
    target = folder / "firmware_hash.h"
    if not target.exists() or target.read_text() != text:
        folder.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
