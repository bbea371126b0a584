"""C of the tests, with modules of csrc, as a shared library: what the extension modules do not offer."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cffi import FFI

ROOT = Path(__file__).resolve().parents[1]


def struct_of(text: str, name: str) -> str:
    """The declaration of a struct in C, without its comments."""
    body = re.search(rf"struct {name} {{.*?^}};", text, re.DOTALL | re.MULTILINE)
    assert body is not None
    return re.sub(r"/\*.*?\*/", "", body[0], flags=re.DOTALL)


def load(ffi: FFI, sources: Iterable[Path], modules: Iterable[str]) -> Any:
    """These sources and folders of csrc, built as those of the extension modules are."""
    files = [*sources, *(path for module in modules for path in sorted((ROOT / "csrc" / module).glob("*.c")))]
    out = Path(tempfile.mkdtemp(prefix="dawnline-c-")) / "library.so"
    flags = ["-std=c11", "-O2", "-fPIC", "-shared", "-ffp-contract=off", "-fno-math-errno"]
    flags += ["-Wall", "-Wextra", "-Werror", f"-I{ROOT / 'csrc'}", f"-I{ROOT / 'tests'}"]
    compiler = shlex.split(os.environ.get("CC", "cc"))
    subprocess.run([*compiler, *flags, *map(str, files), "-o", str(out)], check=True)
    return ffi.dlopen(str(out))
