"""The cffi modules: API mode, out of line. setup.py runs this file; each name below is one extension module.

Declarations come from csrc/MODULE/MODULE_icd.cdef.h (generated) and csrc/MODULE/MODULE.cdef.h, in the order of
sources.EXTENSIONS; a module without them has nothing that Python calls.
"""

import sources
from cffi import FFI


def _builder(name: str) -> FFI:
    ffi = FFI()
    included = []
    for module in sources.EXTENSIONS[name]:
        folder = sources.ROOT / "csrc" / module
        declared = [p for p in (folder / f"{module}_icd.cdef.h", folder / f"{module}.cdef.h") if p.exists()]
        for declarations in declared:
            ffi.cdef(declarations.read_text())
        if declared:
            included += sources.public_headers(module)
    text = "".join(f'#include "{path.relative_to("csrc").as_posix()}"\n' for path in included)
    # cffi's own C is not clean under our warnings, so only our include path reaches it.
    ffi.set_source(
        name,
        text,
        include_dirs=["csrc", "build/generated"],
        extra_compile_args=["-std=c11", "-O1", "-g0"],
        libraries=sources.LIBRARIES.get(name, []),
    )
    return ffi


hal = _builder("hal._native")
flight = _builder("flight._native")
ground = _builder("ground._native")
