"""Rule 2 of docs/design.md: nothing on board reads a clock, a random number or a port, but for the owners below."""

import ast
from pathlib import Path

import pytest

from tests.repo import tree

FORBIDDEN_MODULES = {
    "time": "a clock",
    "sched": "a clock",
    "timeit": "a clock",
    "random": "a random number",
    "secrets": "a random number",
    "uuid": "a random number",
    "socket": "a port",
    "select": "a port",
    "selectors": "a port",
    "serial": "a port",
    "asyncio": "a clock",
    "threading": "a clock",
}
FORBIDDEN_CALLS = {
    "datetime.now": "a clock",
    "datetime.utcnow": "a clock",
    "datetime.today": "a clock",
    "date.today": "a clock",
    "os.urandom": "a random number",
    "os.getrandom": "a random number",
    "os.times": "a clock",
    "np.random": "a random number",
    "numpy.random": "a random number",
}
# The one module that owns the clock, and the one that owns the radio's port.
OWNERS = {"flight/pacing.py": {"a clock"}, "flight/radio.py": {"a port"}}
STAND_APART = ("flight/cli/", "flight/testing.py", "flight/optimum/")


def faults(name: str, text: str) -> list[str]:
    """What the on-board module `name` reads that it may not."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            hits = [(alias.name, FORBIDDEN_MODULES.get(alias.name.split(".")[0])) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            hits = [(node.module or "", FORBIDDEN_MODULES.get((node.module or "").split(".")[0]))]
            hits += [(f"{node.module}.{a.name}", FORBIDDEN_CALLS.get(f"{node.module}.{a.name}")) for a in node.names]
        elif isinstance(node, ast.Attribute):
            dotted = ast.unparse(node)
            last_two = ".".join(dotted.split(".")[-2:])
            hits = [(dotted, FORBIDDEN_CALLS.get(last_two))]
        else:
            continue
        found += [
            f"{name}:{node.lineno}: reads {what} ({used})"
            for used, what in hits
            if what and what not in OWNERS.get(name, set())
        ]
    return found


def on_board() -> list[Path]:
    files = tree.tracked("flight/*.py")
    return [path for path in files if not tree.relative(path).startswith(STAND_APART)]


def test_nothing_on_board_reads_a_clock_a_random_number_or_a_port():
    assert [fault for path in on_board() for fault in faults(tree.relative(path), path.read_text())] == []


@pytest.mark.parametrize(
    "text",
    [
        "import time",
        "from time import monotonic",
        "def f():\n    import random",
        "import datetime\ndatetime.datetime.now()",
        "from datetime import datetime\ndatetime.utcnow()",
        "import os\nkey = os.urandom(8)",
        "from os import urandom",
        "import numpy as np\nnp.random.default_rng(1)",
        "import secrets",
        "import socket",
        "import serial.tools.list_ports",
    ],
)
def test_check_can_fail(text: str):
    assert len(faults("flight/loop.py", text)) == 1


def test_owners_are_named_not_excused():
    assert faults("flight/pacing.py", "import time") == []
    assert faults("flight/pacing.py", "import random") == ["flight/pacing.py:1: reads a random number (random)"]
