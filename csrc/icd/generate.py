"""Writes everything that the two ICDs say: C codecs, cffi declarations, Python data, documentation.

python csrc/icd/generate.py            writes what changed
python csrc/icd/generate.py --check    writes nothing; exit 1 when a committed file is stale
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import gen_c
import gen_c_code
import gen_docs
import gen_python
from icd_model import IcdError
from icd_reader import load

HERE = Path(__file__).resolve().parent


def outputs(source: Path) -> dict[str, str]:
    """Every generated file: path from the repository's root -> content. Raises IcdError."""
    bus = load(source / "board_bus.toml")
    space = load(source / "space_link.toml", bus)
    files: dict[str, str] = {}
    for icd, style, folder in (
        (bus, gen_c.Style("bus", "bus_icd"), "bus"),
        (space, gen_c.Style("space", "space_icd"), "space"),
    ):
        files[f"csrc/{folder}/{style.stem}.h"] = gen_c.header(style, icd)
        files[f"csrc/{folder}/{style.stem}.c"] = gen_c_code.source(style, icd)
        files[f"csrc/{folder}/{style.stem}.cdef.h"] = gen_c.cdef(style, icd)
    files["hal/icd.py"] = gen_python.module(bus)
    # flight and ground know nothing of each other: each holds the same module.
    files["flight/icd.py"] = files["ground/icd.py"] = gen_python.module(space)
    files["docs/icd-board-bus.md"] = gen_docs.page(bus)
    files["docs/icd-space-link.md"] = gen_docs.page(space)
    return files


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="generate.py", description="Generate code and pages from the ICDs.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a generated file is stale")
    parser.add_argument("--source", type=Path, default=HERE, help="folder of the two TOML files")
    parser.add_argument("--root", type=Path, default=HERE.parent.parent, help="where the generated files live")
    args = parser.parse_args(argv)
    try:
        files = outputs(args.source)
    except IcdError as error:
        print(f"generate.py: {error}", file=sys.stderr)
        return 1
    stale = [name for name, text in files.items() if _read(args.root / name) != text]
    if args.check:
        for name in stale:
            print(f"generate.py: {name} is stale: run `make icd`", file=sys.stderr)
        return 1 if stale else 0
    for name in stale:
        (args.root / name).parent.mkdir(parents=True, exist_ok=True)
        (args.root / name).write_text(files[name], encoding="utf-8")
        print(name)
    return 0


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
