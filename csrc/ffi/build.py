"""The cffi modules: API mode, out of line. setup.py runs this file; each name below is one extension module.

Declarations come from csrc/MODULE/MODULE.cdef.h, in the order of sources.EXTENSIONS; a module without one has nothing
that Python calls.
"""

import sources
from cffi import FFI


def _builder(name: str) -> FFI:
    ffi = FFI()
    included = []
    for module in sources.EXTENSIONS[name]:
        declarations = sources.ROOT / "csrc" / module / f"{module}.cdef.h"
        if declarations.exists():
            ffi.cdef(declarations.read_text())
            included += [p for p in sources.headers((module,)) if not p.name.endswith(".cdef.h")]
    text = "".join(f'#include "{path.relative_to("csrc").as_posix()}"\n' for path in included)
    # cffi's own C is not clean under our warnings, so only our include path reaches it.
    ffi.set_source(name, text, include_dirs=["csrc", "build/generated"], extra_compile_args=["-std=c11"])
    return ffi


hal = _builder("hal._native")
flight = _builder("flight._native")
ground = _builder("ground._native")
