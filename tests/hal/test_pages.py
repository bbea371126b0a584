"""The rig that docs/rigs.md shows is one that loads, and the page names every fault and link."""

import re
from pathlib import Path

from hal.link import BACKENDS
from hal.rig import BOARD_FAULTS, PLANT_FAULTS, load_rig

PAGE = (Path(__file__).parents[2] / "docs" / "rigs.md").read_text(encoding="utf-8")


def test_the_example_is_a_rig(tmp_path: Path):
    (example,) = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    path = tmp_path / "evening.toml"
    path.write_text(example, encoding="utf-8")
    rig = load_rig(str(path))
    assert [board.backend for board in rig.boards] == ["mock", "mock", "mock", "mock", "process"]
    assert [entry.command for entry in rig.timeline] == ["node_on"] + ["job_submit"] * 4
    assert [fault.kind for fault in rig.faults] == ["off", "string_open"]


def test_every_fault_and_link_is_on_the_page():
    for word in (*BOARD_FAULTS, *PLANT_FAULTS):
        assert f"`{word}`" in PAGE
    for link in BACKENDS:
        assert f"`{link}:" in PAGE
