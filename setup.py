"""Build of Dawnline: our C as strict objects, three cffi modules over them, and the board as an executable.

cffi generates one C file per extension module (csrc/ffi/build.py); our own C is compiled apart from it, once per file,
with the strict flags of csrc/ffi/sources.py, and linked into every module that may know it. The same objects make
`hal/bin/dawnline-board`, the board as a child process.
"""

import os
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "csrc" / "ffi"))

import sources  # noqa: E402  (csrc/ffi/sources.py: which C belongs to what, and its flags)

BOARD = Path("hal/bin/dawnline-board")


class BuildNative(build_ext):
    """build_ext that compiles our C itself, then lets cffi's code be compiled and linked with it."""

    def finalize_options(self):
        super().finalize_options()
        self.parallel = self.parallel or 2

    def build_extensions(self):
        generated = ROOT / "build" / "generated"
        sources.write_firmware_header(generated)
        modules = [*sources.EXTENSIONS.values(), sources.BOARD]
        wanted = sorted({path for names in modules for path in sources.c_files(names)})
        objects = self._compile(wanted, generated)
        for ext in self.extensions:
            names = sources.EXTENSIONS[ext.name]
            ext.extra_objects = [str(objects[path]) for path in sources.c_files(names)]
            ext.depends = ext.extra_objects + [str(ROOT / path) for path in sources.headers(names)]
        super().build_extensions()
        self._link_board([objects[path] for path in sources.c_files(sources.BOARD)])

    def _compile(self, paths, generated):
        """Compiles what is older than its inputs; returns {source: object}."""
        base = Path(self.build_temp) / "c"
        objects = {path: base / path.with_suffix(".o") for path in paths}
        stale = [path for path in paths if self.force or _is_stale(objects[path])]
        for path in stale:
            objects[path].parent.mkdir(parents=True, exist_ok=True)
        cc = sources.compiler()

        def one(path):
            out = objects[path]
            command = [*cc, *sources.flags(path, generated), "-MMD", "-MF", f"{out}.d", "-c", str(path), "-o", str(out)]
            return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

        # Object paths may be relative to the caller's directory; the compiler runs in the root, so make them absolute.
        objects = {path: out.resolve() for path, out in objects.items()}
        with ThreadPoolExecutor(max_workers=2) as pool:
            results = list(pool.map(one, stale))
        for result in results:
            sys.stderr.write(result.stderr)
        if any(result.returncode for result in results):
            raise SystemExit("setup.py: the C sources did not compile, see above")
        return objects

    def _link_board(self, objects):
        target = Path(self.build_lib).resolve() / BOARD
        if not (ROOT / sources.BOARD_MAIN).exists() or not _is_older(target, objects):
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        flags = shlex.split(os.environ.get("LDFLAGS", ""))
        subprocess.run([*sources.compiler(), *map(str, objects), *flags, "-o", str(target)], check=True)

    def copy_extensions_to_source(self):
        """For a build in place. The copy is moved into place: a board that is running keeps its file."""
        super().copy_extensions_to_source()
        built, target = Path(self.build_lib) / BOARD, ROOT / BOARD
        if built.exists() and _is_older(target, [built]):
            target.parent.mkdir(parents=True, exist_ok=True)
            fresh = target.with_suffix(".new")
            shutil.copy(built, fresh)
            fresh.replace(target)

    def get_outputs(self):
        outputs = super().get_outputs()
        if (ROOT / sources.BOARD_MAIN).exists():
            outputs.append(str(Path(self.build_lib) / BOARD))
        return outputs


def _is_older(target, inputs):
    """True when the target is absent or older than one of its inputs."""
    return not target.exists() or any(target.stat().st_mtime < path.stat().st_mtime for path in inputs)


def _is_stale(out):
    """True unless the object is newer than its source, every header it read, and the build's own files."""
    listing = Path(f"{out}.d")
    if not out.exists() or not listing.exists():
        return True
    inputs = listing.read_text().split(":", 1)[1].replace("\\\n", " ").split()
    inputs += ["setup.py", "csrc/ffi/sources.py"]
    paths = [ROOT / name for name in inputs]
    return any(not path.exists() for path in paths) or _is_older(out, paths)


setup(
    cffi_modules=[f"csrc/ffi/build.py:{name}" for name in ("hal", "flight", "ground")],
    cmdclass={"build_ext": BuildNative},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
