"""What the tests of `hal flash` stand on: one board (node1), and a rig that says what flashes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from hal import cli
from tests.hal.desk import Desk
from tests.hal.images import write_image
from tests.hal.talker import small_rig

ENTRY = '[boards.node1]\nlink = "serial:BUS"\nimage = "node.elf"\nflash = "{flash}"\n'


@dataclass
class Bench:
    """One board (node1) on the port BUS; what flashes it is named by the rig."""

    desk: Desk
    folder: Path
    capsys: pytest.CaptureFixture[str]

    def rig(self, flash: str = "openocd:ADAPTER", more: str = "") -> str:
        small_rig(self.folder, ENTRY.format(flash=flash) + more)
        return str(self.folder / "rig.toml")

    def image(self, image: bytes, name: str = "node.elf") -> Path:
        return write_image(self.folder / name, image)

    def flash(self, *arguments: str, rig: str | None = None) -> tuple[int, str, str]:
        """(exit code, stdout, stderr) of `hal flash node1`."""
        code = cli.main(["flash", "node1", "--rig", rig or self.rig(), *arguments])
        said = self.capsys.readouterr()
        return code, said.out, said.err

    def refuses(self, *arguments: str, rig: str | None = None) -> str:
        """The one line of a `hal flash node1` that fails, and nothing else but what the program says."""
        code, out, err = self.flash(*arguments, rig=rig)
        assert (code, out) == (1, "")
        assert err.splitlines()[-1].startswith("hal: ")
        return err.splitlines()[-1]
