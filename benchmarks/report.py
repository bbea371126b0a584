"""Rows, timing, and the files that the numbers are published in."""

import importlib.metadata
import json
import os
import platform
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
BEGIN, END = "<!-- benchmarks: begin (written by make bench) -->", "<!-- benchmarks: end -->"
PACKAGES = ("numpy", "cffi", "cobs", "crc32c", "pymavlink", "scipy", "cvxpy")


@dataclass(frozen=True)
class Row:
    """One number. `headline` rows stand in the project's README as well."""

    name: str
    value: float
    unit: str
    note: str = ""
    headline: bool = False


def best_seconds(function: Callable[[], Any], repeats: int = 5) -> float:
    """The shortest of `repeats` runs, in s: other work on the machine can only lengthen a run."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def step(text: str) -> None:
    """Says what a long benchmark does next."""
    print(f"  {text} ...", flush=True)


class NeededError(Exception):
    """Something that the benchmark needs is not installed."""


def need(program: str, package: str) -> None:
    """Raises `NeededError` when a program is not installed."""
    if shutil.which(program) is None:
        raise NeededError(f"no {program}: apt-get install {package}")


def build_c(program: Path, sources: Sequence[Path], shared: bool = False) -> Path:
    """Builds a C program, or a shared library, as the extension modules are built; returns its path.

    Raises CalledProcessError.
    """
    flags = ["-std=gnu11", "-O3", "-fPIC", "-ffp-contract=off", f"-I{ROOT / 'csrc'}", *(["-shared"] * shared)]
    command = [*shlex.split(os.environ.get("CC", "cc")), *flags, *map(str, sources), "-o", str(program)]
    subprocess.run(command, check=True)
    return program


def machine() -> dict[str, str]:
    """What the numbers were measured on and with."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        cpu = models[0] if models else cpu
    compiler = subprocess.run([os.environ.get("CC", "cc"), "--version"], capture_output=True, text=True, check=False)
    release = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "absent"
    return {
        "cpu": f"{cpu}, {os.cpu_count()} cores",
        "system": release,
        "python": platform.python_version(),
        "compiler": compiler.stdout.splitlines()[0] if compiler.stdout else "unknown",
        **versions,
    }


def write(folder: Path, name: str, what: str, rows: list[Row]) -> None:
    """Writes one benchmark's rows to folder/NAME.json."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "what": what,
        "command": f"python -m benchmarks {name}",
        "machine": machine(),
        "rows": [asdict(row) for row in rows],
    }
    (folder / f"{name}.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def load(folder: Path) -> dict[str, dict[str, Any]]:
    """Every NAME.json of the folder, by name."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def number(value: float) -> str:
    """Three significant digits, with separators: a fourth is noise."""
    if value == 0:
        return "0"
    digits = max(0, 2 - len(str(int(abs(value)))) + 1) if abs(value) >= 1 else 3
    return f"{float(f'{value:.3g}'):,.{digits}f}" if abs(value) >= 1 else f"{value:.3g}"


def _table(rows: list[dict[str, Any]]) -> list[str]:
    lines = ["| what | number | unit | |", "|---|--:|---|---|"]
    return lines + [f"| {row['name']} | {number(row['value'])} | {row['unit']} | {row['note']} |" for row in rows]


def _host(facts: dict[str, str]) -> str:
    return f"{facts['cpu']}; {facts['system']}; Python {facts['python']}; {facts['compiler']}"


def page(results: dict[str, dict[str, Any]]) -> str:
    """benchmarks/results/README.md: every row of every benchmark, each with its machine and command."""
    lines = ["# Benchmark results", "", "Written by `make bench`; change no number by hand.", ""]
    for content in results.values():
        known = [name for name in PACKAGES if name in content["machine"]]
        versions = ", ".join(f"{name} {content['machine'][name]}" for name in known)
        lines += [f"## {content['what']}", "", f"`{content['command']}` on {_host(content['machine'])}.", ""]
        lines += [*_table(content["rows"]), "", f"With {versions}.", ""]
    return "\n".join(lines)


def headline(results: dict[str, dict[str, Any]]) -> str:
    """The block of the project's README: the headline rows."""
    rows = [row for content in results.values() for row in content["rows"] if row["headline"]]
    hosts = sorted({_host(content["machine"]) for content in results.values()})
    named = "; ".join(hosts)
    return "\n".join(
        [BEGIN, *_table(rows), "", f"Measured on {named}. All of them: [results](benchmarks/results/README.md).", END]
    )


def replace_block(text: str, block: str) -> str:
    """README text with its benchmark block replaced. Raises ValueError when the marks are not there."""
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"README.md: expected one block from {BEGIN} to {END}")
    return text[: text.index(BEGIN)] + block + text[text.index(END) + len(END) :]
