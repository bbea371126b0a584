"""The README's numbers are those of the results files, and every benchmark still runs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.__main__ import names
from tests.repo import tree
from tests.tools import NEEDS_ARM_GCC, NEEDS_QEMU

NEEDS = {"emulators": NEEDS_QEMU, "realtime": NEEDS_QEMU, "sizes": NEEDS_ARM_GCC}


def test_readme_shows_the_results_files():
    text = (tree.ROOT / "README.md").read_text(encoding="utf-8")
    assert report.headline(report.load(report.RESULTS)) in text, "run: make bench"


def test_results_page_shows_the_results_files():
    page = (report.RESULTS / "README.md").read_text(encoding="utf-8")
    assert page == report.page(report.load(report.RESULTS)), "run: make bench"


def test_every_benchmark_is_published():
    assert sorted(report.load(report.RESULTS)) == names()


@pytest.mark.parametrize("name", [pytest.param(name, marks=NEEDS.get(name, ())) for name in names()])
def test_benchmark_runs(name: str, tmp_path: Path):
    command = [sys.executable, "-m", "benchmarks", name, "--quick", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=tree.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))["rows"]
    assert rows
    assert all(row["value"] >= 0 and row["unit"] for row in rows)


@pytest.mark.parametrize(("name", "package"), [("emulators", "qemu-system-arm"), ("sizes", "gcc-arm-none-eabi")])
def test_a_missing_tool_is_named_in_one_line(name: str, package: str, tmp_path: Path):
    command = [sys.executable, "-m", "benchmarks", name, "--quick", "--out", str(tmp_path)]
    empty = {"PATH": str(tmp_path)}
    done = subprocess.run(command, cwd=tree.ROOT, capture_output=True, text=True, check=False, env=empty)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"apt-get install {package}" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.01234, "0.0123"), (1.2345, "1.23"), (12.345, "12.3"), (123.45, "123"), (12345.6, "12,300")],
)
def test_numbers_have_three_digits(value: float, text: str):
    assert report.number(value) == text


def test_a_changed_number_is_seen():
    results = {"x": {"what": "x", "machine": report.machine(), "rows": [], "command": "x"}}
    row = {"name": "speed", "value": 10.0, "unit": "x", "note": "", "headline": True}
    results["x"]["rows"] = [row]
    before = report.headline(results)
    results["x"]["rows"] = [{**row, "value": 11.0}]
    assert report.headline(results) != before


def test_block_needs_its_marks():
    with pytest.raises(ValueError, match=r"README\.md: expected one block"):
        report.replace_block("no marks", "block")
