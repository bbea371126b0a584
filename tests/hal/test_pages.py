"""The rig that docs/rigs.md shows is one that loads, and the page names every fault and link."""

import re
from pathlib import Path

from hal.cli.faults import rate_text, value_text
from hal.fault_kinds import BOARD, KINDS, PLANT, Kind
from hal.link import BACKENDS
from hal.rig import load_rig

PAGE = (Path(__file__).parents[2] / "docs" / "rigs.md").read_text(encoding="utf-8")


def test_the_example_is_a_rig(tmp_path: Path):
    (example,) = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    path = tmp_path / "evening.toml"
    path.write_text(example, encoding="utf-8")
    rig = load_rig(str(path))
    assert [board.backend for board in rig.boards] == ["mock", "mock", "mock", "mock", "process"]
    assert [entry.command for entry in rig.timeline] == ["node_on"] + ["job_submit"] * 4
    assert [fault.kind for fault in rig.faults] == ["off", "string_open"]


def row(kind: Kind) -> str:
    """The line of the page's tables that tells of a kind."""
    if kind.on == BOARD:
        cells = (kind.text, value_text(kind), ", ".join(kind.backends))
    elif kind.on == PLANT:
        cells = (kind.text, kind.index, value_text(kind))
    else:
        cells = (kind.text, value_text(kind), rate_text(kind))
    return f"| `{kind.name}` | {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |")


def test_every_fault_and_link_is_on_the_page():
    assert [kind.name for kind in KINDS if row(kind) not in PAGE.splitlines()] == []
    for link in BACKENDS:
        assert f"`{link}:" in PAGE
