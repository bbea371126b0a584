"""Every back end, compiler and optimisation gives the bytes of the mock; a difference is named."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hal import frames, icd
from hal.cli import main
from hal.errors import ImageError, RigError
from hal.parity.fly import Flown, first_difference, fly, records
from hal.rig import load_rig
from tests.tools import NEEDS_ARM_GCC, NEEDS_QEMU

ROOT = Path(__file__).parents[2]
TICKS = 300
ROLES = ["power", "node0", "node1", "node2", "node3"]


def flown(backend: str, ticks: int = TICKS, images: Path | None = None) -> Flown:
    return fly(load_rig("desk"), backend, ticks, images, lambda done: None)


@pytest.fixture(scope="module")
def mock() -> Flown:
    return flown("mock")


@pytest.mark.parametrize(
    "backend",
    ["process", "unicorn", pytest.param("qemu", marks=NEEDS_QEMU), pytest.param("mixed", marks=NEEDS_QEMU)],
)
def test_a_back_end_has_the_bytes_of_the_mock(mock: Flown, backend: str) -> None:
    other = flown(backend)
    assert first_difference(mock.log, other.log, ROLES) == ""
    assert other.bus_sha256 == mock.bus_sha256
    assert other.link_errors == mock.link_errors
    assert not other.link_errors["unexplained_bytes"]
    assert not other.link_errors["retransmissions"]


@pytest.mark.parametrize("level", ["0", "2", "s"])
@pytest.mark.parametrize("compiler", [pytest.param("gcc", marks=NEEDS_ARM_GCC), "zig"])
def test_compilers_and_optimisation_change_no_byte(mock: Flown, compiler: str, level: str, tmp_path: Path) -> None:
    build = [sys.executable, "csrc/firmware/build.py", "--compiler", compiler, f"-O{level}", "--flavour", "bench"]
    done = subprocess.run([*build, "--out", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert flown("unicorn", images=tmp_path).bus_sha256 == mock.bus_sha256


def test_the_scenario_uses_the_bus(mock: Flown) -> None:
    """Eclipse or not, most of what can happen on the bus happens within 3,000 ticks; every command is there."""
    seen = [frame for record in records(flown("mock", 3000).log) for frame in frames.decode(record.data)]
    names = {frame.name for frame in seen}
    assert names >= {name for name, message in icd.MESSAGES.items() if message.hashed} - NOT_FLOWN
    events = {icd.BoardEvent(frame.fields()["code"]).name for frame in seen if frame.name == "event"}
    assert events >= {"NODE_BOOT_DONE", "NODE_LEASE_EXPIRED", "NODE_JOB_DONE", "NODE_POWER_LOST", "NODE_HANG"}
    assert events >= {"POWER_CHANNEL_TRIPPED", "POWER_SHED"}
    charge = {frame.fields()["mode"] for frame in seen if frame.name == "power_tlm"}
    assert charge >= {icd.ChargeMode.OFF, icd.ChargeMode.MPPT, icd.ChargeMode.CONSTANT_VOLTAGE, icd.ChargeMode.SWEEP}


# Bench talk outside lock-step, and the update of firmware, have tests of their own.
NOT_FLOWN = {name for name in icd.MESSAGES if name.startswith(("assign", "update"))}


def test_the_first_difference_is_named(mock: Flown) -> None:
    changed = list(records(mock.log))
    at = next(i for i, r in enumerate(changed) if r.tick == 40 and r.board == 2 and r.direction == 1)
    frame = next(frames.decode(changed[at].data))
    values = icd.decode(frame.name, frame.payload) | {"cap_mw": 77}
    head = (frame.src, frame.dst, frame.seq, frame.t_us)
    changed[at] = changed[at]._replace(data=frames.encode(frame.name, *head, **values))
    said = first_difference(mock.log, log_of(changed), ROLES)
    assert said.startswith(f"tick 40, node1, from the board: {frame.name}: cap_mw ")
    assert said.endswith("against 77")


def test_a_missing_frame_is_named(mock: Flown) -> None:
    fewer = list(records(mock.log))
    at = next(i for i, r in enumerate(fewer) if r.tick == 50 and r.board == 0)
    gone = next(frames.decode(fewer.pop(at).data))
    assert gone.name in first_difference(mock.log, log_of(fewer), ROLES)
    assert "tick 50, power" in first_difference(mock.log, log_of(fewer), ROLES)


def log_of(rows: list) -> bytes:
    out = b""
    for r in rows:
        head = r.tick.to_bytes(8, "little") + r.board.to_bytes(2, "little") + bytes([r.direction])
        out += head + len(r.data).to_bytes(2, "little") + r.data
    return out


def test_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["parity", "--backends", "mock,process", "--ticks", "20", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["backends"]
    assert [row["backend"] for row in rows] == ["mock", "process"]
    assert len({row["bus_sha256"] for row in rows}) == 1


@pytest.mark.parametrize("arguments", [["--backends", "mock,serial"], ["--ticks", "0"], ["--ticks", "x"]])
def test_wrong_usage_is_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["parity", *arguments])
    assert stopped.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_images_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no such image"):
        flown("unicorn", images=tmp_path)


def test_a_rig_without_an_element_set(tmp_path: Path) -> None:
    shipped = load_rig("desk").path.read_text()
    computed = 'altitude_km = 600.0\nsun_synchronous = true\nltan_h = 18.0\nepoch = "2027-06-21T00:00:00Z"'
    (tmp_path / "rig.toml").write_text(shipped.replace('tle = "sentinel-1a.tle"', computed))
    with pytest.raises(RigError, match="element set"):
        fly(load_rig(str(tmp_path / "rig.toml")), "mock", 10, None, lambda done: None)
