"""ruff, its formatter and mypy --strict over the tree, each with a proof that it can fail."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.repo import tree

CONFIG = str(tree.ROOT / "pyproject.toml")


def run(*command: str, cwd: Path = tree.ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *command], cwd=cwd, capture_output=True, text=True, check=False)


def test_ruff():
    done = run("ruff", "check", "--quiet", ".")
    assert done.returncode == 0, done.stdout + done.stderr


def test_ruff_format():
    done = run("ruff", "format", "--check", "--quiet", ".")
    assert done.returncode == 0, "run: make fmt\n" + done.stdout + done.stderr


def test_mypy_strict():
    done = run("mypy")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (("ruff", "check", "--config", CONFIG), "import os\n"),
        (("ruff", "format", "--check", "--config", CONFIG), "x  =  1\n"),
        (("mypy", "--config-file", CONFIG), "def f(a):\n    return a\n"),
    ],
    ids=["ruff", "ruff format", "mypy"],
)
def test_checks_can_fail(tmp_path: Path, command: tuple[str, ...], text: str):
    (tmp_path / "bad.py").write_text(text)
    assert run(*command, "bad.py", cwd=tmp_path).returncode == 1
