"""What `pip install` gives: an sdist that can be built anywhere, and from it a wheel that holds all that runs."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.repo import tree

NATIVE = {f"{package}/_native.abi3.so" for package in ("hal", "flight", "ground")}
DATA_SUFFIXES = {".toml", ".tle", ".js", ".css", ".html", ".typed"}


def build(hook: str, source: Path, out: Path) -> Path:
    """Runs one hook of the build back end in `source`, as pip does; returns the file that it made."""
    code = f"import setuptools.build_meta as b; print(b.{hook}({str(out)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist of the tracked files alone: what is not committed or ignored must not be needed."""
    folder = tmp_path_factory.mktemp("sdist")
    clone = folder / "clone"
    for path in tree.tracked():
        target = clone / tree.relative(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    return build("build_sdist", clone, folder)


@pytest.fixture(scope="module")
def wheel(sdist: Path) -> Path:
    folder = sdist.parent / "unpacked"
    # Debian 12's Python 3.11.2 has no extraction filters yet; from 3.12 on leaving them out is a warning.
    options = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, **options)
    return build("build_wheel", next(folder.iterdir()), sdist.parent)


def test_wheel_serves_every_python(wheel: Path):
    assert "-cp311-abi3-" in wheel.name


def test_wheel_holds_modules_data_and_the_board(wheel: Path):
    packages = ("hal/", "flight/", "ground/")
    files = [tree.relative(path) for path in tree.tracked("hal/*", "flight/*", "ground/*")]
    expected = {name for name in files if Path(name).suffix in DATA_SUFFIXES | {".py", ".pyi"}}
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        board = archive.getinfo("hal/bin/dawnline-board")
    assert (expected | NATIVE) - names == set()
    assert board.external_attr >> 16 & 0o111, "the board must stay executable"
    assert {name.split("/")[0] + "/" for name in names if ".dist-info" not in name} == set(packages)


def test_wheel_runs_without_the_source_tree(wheel: Path, tmp_path: Path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = "import hal._native, flight._native, ground._native; print(hal._native.__file__)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith(str(tmp_path)), done.stderr
