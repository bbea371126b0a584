"""The C that flies, with random boards, lines and supplies (fly.c), as a function of a scenario."""

from __future__ import annotations

import functools
from typing import Any

from cffi import FFI

from tests.c_library import ROOT, load, struct_of

HERE = ROOT / "tests/leases"
MODULES = ("bus", "boards", "control", "space")

ffi = FFI()
_header = (HERE / "scenario.h").read_text(encoding="utf-8")
ffi.cdef("\n".join(struct_of(_header, name) for name in ("scenario", "tally")))
ffi.cdef("int leases_fly(const struct scenario *s, struct tally *t);")


@functools.cache
def library() -> Any:
    """Built once for each process."""
    return load(ffi, sorted(HERE.glob("*.c")), MODULES)


def fly(**scenario: int) -> dict[str, int]:
    """What came of it: struct tally."""
    tally = ffi.new("struct tally *")
    assert library().leases_fly(ffi.new("struct scenario *", scenario), tally)
    return {name: getattr(tally, name) for name, _ in ffi.typeof("struct tally").fields}
