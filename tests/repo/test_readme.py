"""What the pages promise is run: every command line of README.md and docs/, and the README's Python example."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.repo import tree

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
JOBS = ("ground send job_", "ground jobs")
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")

# Lines that are not run here, each with the reason.
NOT_RUN_HERE = {
    "make demo": "sets up an environment of its own; what it starts is run by tests/system",
    "make test": "is what runs this",
    "make firmware": "needs the tree's Makefile; `make test` runs it",
    "python csrc/firmware/build.py --part nrf51 --out out/nrf51": "needs the tree; tests/firmware/test_port.py",
    "hal parity --backends mock,qemu:microbit --images out/nrf51 --ticks 300": "flies the line before; the same",
    "make bench": "takes minutes; tests/repo/test_benchmarks.py runs each benchmark shortly",
    "ground watch": "watches until stopped; tests/ground run it",
    "hal serve demo --speed 10 --json": "serves until stopped; run by tests/system",
    "flight run --world /run/user/1000/dawnline-demo.sock --storage flight-storage --radio tcp:127.0.0.1:10025": "same",
    "hal flash node3 --rig bench.toml": "needs a board; tests/hal/test_flash.py",
    "hal update node3 --rig bench.toml": "needs a board; tests/update/test_cli.py",
    "hal doctor --rig bench.toml": "needs a board; tests/hal/test_doctor.py",
    "hal scan --rig bench.toml": "needs a board; tests/hal/test_scan.py",
    "flight run --rig bench.toml --orbits 1": "needs a board",
    "hal board off node3 --rig demo": "needs a served world; tests/hal/test_server.py",
    "hal fault stuck --board node3 --sensor die_cdeg --for 60 --rig demo": "needs a served world; tests/hal",
    "hal score demo": "needs a served world; tests/system",
}


def pages() -> list[Path]:
    return tree.tracked("README.md", "docs/*.md")


def blocks(text: str, language: str) -> list[str]:
    return [body for kind, body in BLOCK.findall(text) if kind == language]


def command_lines(text: str) -> list[str]:
    """Each command of the ```sh blocks; a line that ends in a backslash goes on in the next. Lines about jobs, which
    lean on the ones before, are one command."""
    lines = []
    for body in blocks(text, "sh"):
        jobs = []
        for line in body.replace("\\\n", " ").splitlines():
            command = " ".join(re.sub(r"\s+#\s.*$", "", line).split())
            if command.startswith(JOBS):
                jobs.append(command)
            elif command and not command.startswith("#"):
                lines.append(command)
        lines += [" && ".join(jobs)] if jobs else []
    return lines


def all_commands() -> list[str]:
    return sorted({line for page in pages() for line in command_lines(page.read_text(encoding="utf-8"))})


def listens(command: str) -> bool:
    """A flight that goes on until it is stopped, for the ground commands of the pages to talk to."""
    return command.startswith("flight run ") and "--radio" in command and "--world" not in command


@pytest.fixture(scope="module")
def shell_env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which `flight`, `hal` and `ground` are those of this tree, installed or not."""
    scripts = tmp_path_factory.mktemp("scripts")
    for name in ("flight", "hal", "ground"):
        code = f"import sys; from {name}.cli import main; sys.exit(main())"
        script = scripts / name
        script.write_text(f'#!/bin/sh\nPYTHONPATH="{tree.ROOT}" exec "{sys.executable}" -c "{code}" "$@"\n')
        script.chmod(0o755)
    return {**os.environ, "PATH": f"{scripts}:{os.environ['PATH']}"}


@pytest.fixture(scope="module")
def satellite(shell_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The flight that the pages tell a reader to start, on a free port; gives the radio's URL."""
    (command,) = filter(listens, all_commands())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{port}", command).split()
    flight = subprocess.Popen(words, cwd=tmp_path_factory.mktemp("flight"), env=shell_env)
    try:
        yield f"tcp:127.0.0.1:{port}"
        assert flight.poll() is None, "the flight ended by itself"
    finally:
        flight.kill()
        flight.wait()


@pytest.mark.parametrize("command", [line for line in all_commands() if line not in NOT_RUN_HERE and not listens(line)])
def test_command_works(command: str, shell_env: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest):
    if command.startswith("ground "):
        radio = f" --radio {request.getfixturevalue('satellite')}"
        command = " && ".join(part + radio for part in command.split(" && "))
    done = subprocess.run(
        ["sh", "-c", command], cwd=tmp_path, env=shell_env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_python_example_works(shell_env: dict[str, str], tmp_path: Path):
    example = "\n".join(blocks((tree.ROOT / "README.md").read_text(encoding="utf-8"), "python"))
    (tmp_path / "test_example.py").write_text(example)
    command = [
        sys.executable,
        "-P",
        "-m",
        "pytest",
        "-q",
        "-p",
        "flight.testing",
        "--rootdir",
        str(tmp_path),
        str(tmp_path),
    ]
    env = {**shell_env, "PYTHONPATH": str(tree.ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


def test_exceptions_are_still_in_the_pages():
    assert set(NOT_RUN_HERE) - set(all_commands()) <= {"make bench"}


def test_links_lead_somewhere():
    dead = [
        f"{tree.relative(page)}: {target}"
        for page in pages()
        for target in LINK.findall(page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert dead == []


def test_commands_are_found():
    block = "flight run \\\n  --rig demo   # what it does\n\n# only a comment\nmake test\n"
    text = f"text\n```sh\n{block}```\n```\nnot a command\n```\n"
    assert command_lines(text) == ["flight run --rig demo", "make test"]
