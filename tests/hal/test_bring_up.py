"""docs/bring-up.md: its rig loads, its rules are rules and name the adapters that hal knows, its words are hal's."""

import re
from pathlib import Path

import pytest

from hal import ports
from hal.flash_tools import TOOLS
from hal.rig import load_rig

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "bring-up.md").read_text(encoding="utf-8")
RULES = [line for line in (DOCS / "70-dawnline.rules").read_text().splitlines() if line and not line.startswith("#")]
HAL = "\n".join(path.read_text(encoding="utf-8") for path in (DOCS.parent / "hal").rglob("*.py"))


def test_the_example_is_a_rig(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "bench.toml").write_text(example, encoding="utf-8")
    rig = load_rig(str(tmp_path / "bench.toml"))
    assert [board.made for board in rig.boards] == [True, True, True, True, False]
    assert rig.boards[4].flash is not None


def test_every_program_that_flashes_is_on_the_page() -> None:
    for name in TOOLS:
        assert f"`{name}:" in PAGE
        assert TOOLS[name].package.split()[-1] in PAGE


def test_rules_are_rules() -> None:
    entry = r'[A-Z]+(\{\w+\})?(==|=|\+=)"[^"]*"'
    for line in RULES:
        assert re.fullmatch(rf"{entry}(, {entry})*", line), line


def test_the_rules_keep_modem_manager_from_every_adapter_that_hal_knows() -> None:
    ignored = {line.split('ID_VENDOR_ID}=="')[1][:4] for line in RULES if "ID_MM_DEVICE_IGNORE" in line}
    assert ignored == {f"{vendor:04x}" for vendor, _ in ports.ADAPTERS}


# What differs from one message to the next.
VALUES = re.compile(r"\.\.\.|process \d+ \(\w+\)|/dev/\w+|\(node\d\)|node\d|within|\b\d+\b")
OTHERS = ("openocd: ... open failed",)


def messages() -> list[str]:
    """Every message that the page explains."""
    table = PAGE.split("| it says | then |")[1].split("\n\n")[0]
    said = [said for row in table.splitlines() for said in re.findall(r"`([^`]*)`", row.split(" | ")[0])]
    return [message for message in said if message not in OTHERS]


@pytest.mark.parametrize("message", messages())
def test_what_the_page_explains_is_what_hal_says(message: str) -> None:
    """The fixed words of each message stand in hal's own source."""
    words = [part.strip(" ,") for part in VALUES.split(message)]
    assert [part for part in words if part not in HAL] == []


def test_messages_are_found() -> None:
    assert len(messages()) >= 11
