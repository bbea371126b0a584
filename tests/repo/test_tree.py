"""The shape of the tree: files short enough to read, nothing of one machine in them, generated code fresh."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repo import tree

MAX_LINES = 450
# Somebody else's, unchanged.
VENDORED = ("ground/static/vendor/",)
# Absolute paths that exist on one machine only.
MACHINE_PATHS = re.compile(r"(?<![\w.~}$-])/(?:home|root|Users|work|tmp|mnt|scratch)/[\w.-]+")
PATH_EXEMPT = ("tests/repo/test_tree.py", "LICENSE")


def too_long(path: Path) -> bool:
    return len(path.read_text(encoding="utf-8").splitlines()) > MAX_LINES


def machine_paths(text: str) -> list[str]:
    return MACHINE_PATHS.findall(text)


def texts() -> list[Path]:
    found = []
    for path in tree.tracked():
        name = tree.relative(path)
        if not name.startswith((*VENDORED, *PATH_EXEMPT)) and b"\0" not in path.read_bytes():
            found.append(path)
    return found


def test_files_are_short():
    files = [path for path in tree.tracked("*.py", "*.c", "*.h") if not tree.relative(path).startswith(VENDORED)]
    assert [tree.relative(path) for path in files if too_long(path) and not tree.is_generated(path)] == []


def test_no_path_of_one_machine():
    found = {tree.relative(path): machine_paths(path.read_text(encoding="utf-8")) for path in texts()}
    assert {name: paths for name, paths in found.items() if paths} == {}


def test_generated_code_is_fresh():
    """`make icd` would change nothing."""
    done = subprocess.run(
        [sys.executable, "csrc/icd/generate.py", "--check"], cwd=tree.ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, "run: make icd\n" + done.stdout + done.stderr


def test_packages_say_that_they_are_typed():
    assert all((tree.ROOT / package / "py.typed").exists() for package in ("hal", "flight", "ground"))


def test_length_check_can_fail(tmp_path: Path):
    path = tmp_path / "long.py"
    path.write_text("x = 1\n" * (MAX_LINES + 1))
    assert too_long(path)


@pytest.mark.parametrize("text", ['"/home/ann/rig.toml"', "see /tmp/x.log", "cd /root/src"])
def test_path_check_can_fail(text: str):
    assert machine_paths(text)


@pytest.mark.parametrize("text", ["docs/work/x", "https://example.org/home/page", "$HOME/work/x", "./tmp/x"])
def test_path_check_knows_what_is_not_a_machine(text: str):
    assert not machine_paths(text)
