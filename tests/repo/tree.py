"""The files of the source tree, and what the lints share to read them."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GENERATED_MARK = "generated"
_INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)


def tracked(*patterns: str) -> list[Path]:
    """Files of the tree that match the git pathspecs: committed, or new and not ignored."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return sorted({ROOT / name for name in listing.split("\0") if name and (ROOT / name).is_file()})


def relative(path: Path, root: Path = ROOT) -> str:
    return path.relative_to(root).as_posix()


def is_generated(path: Path) -> bool:
    """Generated files say so in their first lines."""
    head = path.read_text(encoding="utf-8").split("\n", 6)[:6]
    return any(GENERATED_MARK in line.lower() for line in head)


def module_name(path: Path, root: Path = ROOT) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, root: Path = ROOT) -> Iterator[tuple[int, str]]:
    """Each (line, module) that a Python file imports anywhere, but for type checking.

    `from a import b` gives a.b: a caller that wants modules checks whether a.b or a is one.
    """
    source = ast.parse(path.read_text(encoding="utf-8"))
    here = module_name(path, root).split(".")
    package = here if path.name == "__init__.py" else here[:-1]
    skip: set[int] = set()
    for node in ast.walk(source):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            skip.update(id(inner) for body in node.body for inner in ast.walk(body))
        if id(node) in skip:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *(node.module.split(".") if node.module else [])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def includes(path: Path) -> Iterator[tuple[bool, str]]:
    """Each (is a system header, name) that a C file includes."""
    for mark, name in _INCLUDE.findall(path.read_text(encoding="utf-8")):
        yield mark == "<", name
