"""csrc/bus as the boards build it, and the promises of docs/board-bus.md, each with its test."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror")
BUILDS = {"host": ("-O2", "-fPIC"), "board": ("-Os", "-DBUS_CRC_SMALL", "-ffreestanding"), "debug": ("-O0",)}


@pytest.mark.parametrize("build", BUILDS)
def test_no_static_memory(tmp_path, build):
    """Compiles without a warning, and has 0 bytes of .data and .bss."""
    for source in sorted((ROOT / "csrc/bus").glob("*.c")):
        out = tmp_path / f"{source.stem}.o"
        compiler = shlex.split(os.environ.get("CC", "cc"))
        flags = ["-std=c11", *BUILDS[build], *WARNINGS, f"-I{ROOT / 'csrc'}"]
        subprocess.run([*compiler, *flags, "-c", str(source), "-o", str(out)], check=True)
        listing = subprocess.run(["size", str(out)], check=True, capture_output=True, text=True).stdout
        _, data, bss, *_ = listing.splitlines()[1].split()
        assert (int(data), int(bss)) == (0, 0), source.name


def test_a_board_carries_the_small_table_alone(tmp_path):
    """The 8 KB of slice-by-8 stay on the host."""
    out = tmp_path / "crc32c.o"
    compiler = shlex.split(os.environ.get("CC", "cc"))
    source = ROOT / "csrc/bus/crc32c.c"
    subprocess.run([*compiler, "-std=c11", *BUILDS["board"], "-c", str(source), "-o", str(out)], check=True)
    listing = subprocess.run(["size", str(out)], check=True, capture_output=True, text=True).stdout
    assert int(listing.splitlines()[1].split()[0]) < 512


def test_every_promise_of_the_page_names_a_test_that_exists():
    page = (ROOT / "docs/board-bus.md").read_text()
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page)
    assert len(named) == len(re.findall(r"^\d+\. ", page, re.MULTILINE)) == 28
    for file, test in named:
        assert f"def {test}(" in (ROOT / file).read_text(), f"{file}::{test}"
