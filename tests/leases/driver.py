"""The C that flies, with random boards, lines and supplies (fly.c), as a function of a scenario."""

from __future__ import annotations

import functools
import os
import re
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from cffi import FFI

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "tests/leases"
MODULES = ("bus", "boards", "control", "space")

ffi = FFI()
_header = (HERE / "scenario.h").read_text(encoding="utf-8")
for name in ("scenario", "tally"):
    body = re.search(rf"struct {name} {{.*?^}};", _header, re.DOTALL | re.MULTILINE)
    assert body is not None
    ffi.cdef(re.sub(r"/\*.*?\*/", "", body[0], flags=re.DOTALL))
ffi.cdef("int leases_fly(const struct scenario *s, struct tally *t);")


@functools.cache
def library() -> Any:
    """Built once for each process."""
    out = Path(tempfile.mkdtemp(prefix="dawnline-leases-")) / "leases.so"
    sources = [path for module in MODULES for path in sorted((ROOT / "csrc" / module).glob("*.c"))]
    flags = ["-std=c11", "-O2", "-fPIC", "-shared", "-ffp-contract=off", "-fno-math-errno"]
    flags += ["-Wall", "-Wextra", "-Werror", f"-I{ROOT / 'csrc'}", f"-I{ROOT / 'tests'}"]
    compiler = shlex.split(os.environ.get("CC", "cc"))
    subprocess.run([*compiler, *flags, *map(str, [*sorted(HERE.glob("*.c")), *sources]), "-o", str(out)], check=True)
    return ffi.dlopen(str(out))


def fly(**scenario: int) -> dict[str, int]:
    """What came of it: struct tally."""
    tally = ffi.new("struct tally *")
    assert library().leases_fly(ffi.new("struct scenario *", scenario), tally)
    return {name: getattr(tally, name) for name, _ in ffi.typeof("struct tally").fields}
