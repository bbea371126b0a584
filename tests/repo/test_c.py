"""What every C file must satisfy: no warning, one format, headers that stand alone.

The flying modules also have no memory of their own and need no symbol of an operating system.
"""

import importlib.util
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from tests.repo import tree
from tests.repo.test_arrows import C_KNOWS, STRICT_MODULES

# Pure functions over bytes (a compiler calls most of them by itself), and how gcc asks an x86 CPU what it can do.
COMPILER_SYMBOLS = {"memcpy", "memmove", "memset", "memcmp", "memchr", "__cpu_model", "__cpu_indicator_init"}
COMPILER_SYMBOLS |= {"_GLOBAL_OFFSET_TABLE_"}
HOSTED = tuple(name for name in C_KNOWS if name != "firmware")
WRITABLE = (".data", ".bss", "COMMON")


def load_sources() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sources", tree.ROOT / "csrc/ffi/sources.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SOURCES = load_sources()


def c_files(*modules: str) -> list[Path]:
    return [path for module in modules for path in tree.tracked(f"csrc/{module}/*.c")]


def compile_c(source: Path, out: Path, generated: Path, *extra: str) -> str:
    """Compiles one file with every warning an error; returns what the compiler said."""
    name = source.relative_to(tree.ROOT) if source.is_relative_to(tree.ROOT) else Path("csrc") / "bus" / source.name
    flags = [*SOURCES.flags(name, generated), "-Werror", *extra]
    command = [*SOURCES.compiler(), *flags, "-c", str(source), "-o", str(out)]
    return subprocess.run(command, cwd=tree.ROOT, capture_output=True, text=True, check=False).stderr


def compile_all(sources: Iterable[Path], folder: Path) -> dict[Path, str]:
    generated = folder / "generated"
    SOURCES.write_firmware_header(generated)
    listed = list(sources)
    outs = [folder / tree.relative(source).replace("/", "_").replace(".c", ".o") for source in listed]
    with ThreadPoolExecutor(max_workers=2) as pool:
        said = list(pool.map(lambda pair: compile_c(*pair, generated), zip(listed, outs, strict=True)))
    return dict(zip(listed, said, strict=True))


@dataclass(frozen=True)
class Compiled:
    folder: Path
    said: dict[Path, str]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """An object of every C file, and what the compiler said of each."""
    folder = tmp_path_factory.mktemp("objects")
    return Compiled(folder, compile_all(c_files(*HOSTED), folder))


@pytest.fixture
def objects(compiled: Compiled) -> Path:
    return compiled.folder


def object_of(folder: Path, source: Path) -> Path:
    return folder / tree.relative(source).replace("/", "_").replace(".c", ".o")


def nm(path: Path, *options: str) -> list[list[str]]:
    listing = subprocess.run(["nm", *options, str(path)], capture_output=True, text=True, check=True).stdout
    return [line.split() for line in listing.splitlines() if line.split()]


def writable_bytes(path: Path) -> int:
    """Bytes of writable memory that an object brings along (System V listing of `size`)."""
    listing = subprocess.run(["size", "-A", str(path)], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in listing.splitlines()]
    # .data.rel.ro is written once by the loader (addresses in constant tables), and read-only from then on.
    return sum(
        int(row[1])
        for row in rows
        if len(row) >= 2 and row[0].startswith(WRITABLE) and not row[0].startswith(".data.rel.ro")
    )


def test_no_warnings(compiled: Compiled):
    assert [text for text in compiled.said.values() if text] == []


def test_headers_stand_alone(tmp_path: Path):
    generated = tmp_path / "generated"
    SOURCES.write_firmware_header(generated)
    text = []
    for header in tree.tracked("csrc/*.h"):
        if not header.name.endswith(".cdef.h") and header.parent.name != "firmware":
            one = tmp_path / "one.c"
            one.write_text(f'#include "{header.relative_to(tree.ROOT / "csrc").as_posix()}"\nextern int one;\n')
            text.append(compile_c(one, tmp_path / "one.o", generated, "-O0"))
    assert [said for said in text if said] == []


def test_format():
    files = [path for path in tree.tracked("csrc/*.c", "csrc/*.h") if not path.name.endswith(".cdef.h")]
    tool = Path(sys.executable).with_name("clang-format")
    command = [str(tool), "--dry-run", "-Werror", *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tree.ROOT)
    assert done.stderr == "", "run: make fmt"


def test_flying_modules_own_no_memory(objects: Path):
    sizes = {tree.relative(path): writable_bytes(object_of(objects, path)) for path in c_files(*STRICT_MODULES)}
    assert {name: size for name, size in sizes.items() if size} == {}


@pytest.mark.parametrize("module", STRICT_MODULES)
def test_flying_modules_need_no_library(objects: Path, module: str):
    """Undefined symbols are those of modules that this one may know, and what the compiler itself calls."""
    known = {
        row[-1]
        for name in (module, *C_KNOWS[module])
        for path in c_files(name)
        for row in nm(object_of(objects, path), "--defined-only", "--extern-only")
    }
    needed = {row[-1] for path in c_files(module) for row in nm(object_of(objects, path), "--undefined-only")}
    assert sorted(needed - known - COMPILER_SYMBOLS) == []


def test_every_symbol_is_defined_once(objects: Path):
    """All modules can be linked together."""
    files = c_files(*HOSTED)
    symbols = [row[-1] for path in files for row in nm(object_of(objects, path), "--defined-only", "--extern-only")]
    assert sorted(name for name, times in Counter(symbols).items() if times > 1) == []


BAD = {
    "conversion": "unsigned char f(int a);\nunsigned char f(int a) {\n    return a;\n}\n",
    "shadow": "int f(int a);\nint f(int a) {\n    {\n        int a = 1;\n        return a;\n    }\n}\n",
    "double": "int f(double a);\nint f(double a) {\n    int b = a;\n    return b;\n}\n",
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD.keys())
def test_warning_check_can_fail(tmp_path: Path, text: str):
    source = tmp_path / "bad.c"
    source.write_text(text)
    assert "error" in compile_c(source, tmp_path / "bad.o", tmp_path)


def test_memory_and_library_checks_can_fail(tmp_path: Path):
    source = tmp_path / "bad.c"
    source.write_text(
        "#include <stdlib.h>\nint count(void);\nvoid *f(void);\n"
        "int count(void) {\n    static int n;\n    return n++;\n}\nvoid *f(void) {\n    return malloc(3);\n}\n"
    )
    assert compile_c(source, tmp_path / "bad.o", tmp_path) == ""
    assert writable_bytes(tmp_path / "bad.o") == 4
    assert "malloc" in {row[-1] for row in nm(tmp_path / "bad.o", "--undefined-only")} - COMPILER_SYMBOLS


def test_format_check_can_fail(tmp_path: Path):
    source = tmp_path / "bad.c"
    source.write_text("int  f( void );\n")
    style = f"--style=file:{tree.ROOT / '.clang-format'}"
    command = [str(Path(sys.executable).with_name("clang-format")), style, "--dry-run", "-Werror", str(source)]
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0
