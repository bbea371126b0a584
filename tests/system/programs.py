"""The three commands as programs of their own, as a user starts them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
GUARD_S = 240  # wall clock: only the outer guard against a hang


def command(name: str, *arguments: object) -> list[str]:
    """The argument list that runs `name` (flight, hal, ground) of this tree."""
    code = f"import sys; from {name}.cli import main; sys.exit(main())"
    return [sys.executable, "-c", code, *map(str, arguments)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def run(name: str, *arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end; never raises for its exit code."""
    return subprocess.run(
        command(name, *arguments),
        env=environment(),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=GUARD_S,
        check=False,
    )


def run_json(name: str, *arguments: object, cwd: Path | None = None) -> dict[str, Any]:
    """Runs a command that must succeed; returns the JSON object that it printed last."""
    done = run(name, *arguments, "--json", cwd=cwd)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert isinstance(result, dict)
    return result


def start(name: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Starts a command and returns at once."""
    return subprocess.Popen(
        command(name, *arguments),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )
