"""Fixtures that more than one file of these tests uses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hal import flashing, ports
from hal.backends import hardware
from tests.hal.desk import Desk
from tests.hal.flash_bench import Bench


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Bench]:
    desk = Desk(tmp_path / "machine")
    monkeypatch.setattr(ports, "HOST", desk.system)
    monkeypatch.setattr(hardware, "_found_at", {})
    monkeypatch.setattr(flashing, "BEFORE_S", 0.2)
    monkeypatch.setattr(flashing, "AFTER_S", 0.4)
    monkeypatch.setattr(flashing, "AGAIN_S", 0.1)
    yield Bench(desk, tmp_path, capsys)
    desk.close()
