"""`hal flash`: the file is checked, the program is run, and only a board that proves the new image counts as flashed.

OpenOCD, st-flash and dfu-util are stood in for by a program that keeps its arguments; the real stm32loader is run by
test_stm32loader.py.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hal import cli, flashing
from hal.errors import LinkError
from hal.flash_tools import TOOLS, parse_flash
from tests.hal.desk import FakeBoard, node
from tests.hal.flash_bench import Bench
from tests.hal.images import crc_of, elf_of, image_bytes
from tests.hal.talker import small_rig

ONE, TWO = bytes(range(12)), bytes(range(12, 24))

# ---------------------------------------------------------------- programs, stood in for
FAKE = """#!{python}
import json, os, sys
keep = {{"arguments": sys.argv[1:]}}
for word in sys.argv[1:]:
    path = word.removeprefix("program {{").split("}}")[0]
    if os.path.isfile(path) and not path.endswith(".cfg"):
        keep["file"] = open(path, "rb").read().hex()
json.dump(keep, open({kept!r}, "w"))
print("Info : wrote it", flush=True)
print({says!r}, file=sys.stderr)
sys.exit({code})
"""


@dataclass
class Stand:
    """A stand-in on PATH, and what it was called with."""

    folder: Path

    def install(self, program: str, code: int = 0, says: str = "bye") -> None:
        script = self.folder / "bin" / program
        script.parent.mkdir(exist_ok=True)
        kept = str(self.folder / "kept.json")
        script.write_text(FAKE.format(python=sys.executable, kept=kept, code=code, says=says))
        script.chmod(0o755)

    def kept(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "kept.json").read_text())
        return found

    @property
    def was_run(self) -> bool:
        return (self.folder / "kept.json").exists()


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stand:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/nowhere")
    return Stand(tmp_path)


COMMANDS = {
    "openocd:066DFF54": (
        "openocd",
        ["-f", "interface/stlink.cfg", "-c", "adapter serial 066DFF54", "-f", "target/stm32f4x.cfg",
         "-c", "program {FILE} verify reset exit 0x08000000"],
    ),
    "openocd:E660?interface=cmsis-dap&target=stm32f7x": (
        "openocd",
        ["-f", "interface/cmsis-dap.cfg", "-c", "adapter serial E660", "-f", "target/stm32f7x.cfg",
         "-c", "program {FILE} verify reset exit 0x08000000"],
    ),
    "st-flash:066DFF54": ("st-flash", ["--serial", "066DFF54", "--reset", "write", "FILE", "0x08000000"]),
    "dfu:3366": (
        "dfu-util", ["-d", "0483:df11", "-S", "3366", "-a", "0", "-s", "0x08000000:leave", "-D", "FILE"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("flash", COMMANDS)
def test_command_lines(bench: Bench, stand: Stand, flash: str) -> None:
    program, wanted = COMMANDS[flash]
    made = image_bytes()
    bench.image(made)
    stand.install(program)
    bench.desk.plug(FakeBoard(node(1), image_crc=crc_of(made), hardware_id=ONE), serial="BUS")
    code, out, err = bench.flash(rig=bench.rig(flash))
    assert code == 0
    assert out.startswith(f"node1: board {ONE.hex()} runs {bench.folder / 'node.elf'} (3000 bytes, CRC ")
    assert err == "Info : wrote it\nbye\n"
    kept = stand.kept()
    assert bytes.fromhex(kept["file"]) == made, "the flat image, out of the ELF file"
    file = next(w for w in kept["arguments"] if "image.bin" in w).removeprefix("program {").split("}")[0]
    assert [w.replace(file, "FILE") for w in kept["arguments"]] == wanted
    assert not os.path.exists(file)


@pytest.mark.parametrize("name", TOOLS)
def test_a_program_that_is_not_installed(
    bench: Bench, stand: Stand, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    bench.image(image_bytes())
    bench.desk.plug(FakeBoard(None), serial="BUS")
    said = bench.refuses("--tool", f"{name}:BUS")
    tool = TOOLS[name]
    assert said == f"hal: {name}:BUS: {tool.program} is not installed, expected it: `{tool.package}`"


@pytest.mark.parametrize(
    ("says", "told"),
    [
        ("Error: open failed\nshutdown command invoked", ": Error: open failed"),
        ("it is over", ": it is over"),
    ],
)
def test_a_program_that_fails(bench: Bench, stand: Stand, says: str, told: str) -> None:
    bench.image(image_bytes())
    bench.desk.plug(FakeBoard(None), serial="BUS")
    stand.install("openocd", code=3, says=says)
    assert bench.refuses() == f"hal: openocd:ADAPTER: openocd failed with exit code 3{told}"


def test_a_program_that_cannot_be_started(bench: Bench, stand: Stand) -> None:
    bench.image(image_bytes())
    bench.desk.plug(FakeBoard(None), serial="BUS")
    stand.install("openocd")
    (stand.folder / "bin/openocd").write_text("#!/nowhere/interpreter\n")
    assert "cannot start openocd: " in bench.refuses()


def test_a_program_that_never_ends(bench: Bench, stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.image(image_bytes())
    bench.desk.plug(FakeBoard(None), serial="BUS")
    script = stand.folder / "bin/openocd"
    script.parent.mkdir()
    script.write_text(f"#!{sys.executable}\nimport signal\nprint('working', flush=True)\nsignal.pause()\n")
    script.chmod(0o755)
    monkeypatch.setattr(flashing, "TOOL_GUARD_S", 0.5)
    assert "openocd failed with exit code -9: working" in bench.refuses()


# ---------------------------------------------------------------- refused before anything is written
BAD_IMAGES = {
    "other kind": (image_bytes(kind=1), "is for a power_board, expected one for node1, a compute_node"),
    "other firmware": (image_bytes(firmware=bytes(8)), "is of firmware 0000000000000000, expected"),
    "damaged": (image_bytes()[:-1] + b"?", "is damaged: its CRC is"),
    "not one of ours": (b"just some bytes" * 100, "has no header at 0x200"),
    "for RAM": (elf_of(image_bytes(), base=0x2000_0000), "is linked for 0x20000000, expected an address in flash"),
}


@pytest.mark.parametrize("case", BAD_IMAGES)
def test_an_image_that_must_not_be_put_there(bench: Bench, stand: Stand, case: str) -> None:
    content, says = BAD_IMAGES[case]
    path = bench.folder / "image.bin"
    path.write_bytes(content)
    bench.desk.plug(FakeBoard(None), serial="BUS")
    stand.install("openocd")
    assert says in bench.refuses("--image", str(path))
    assert not stand.was_run


BAD_PLACES = {
    "other kind": ({"kind": 1}, "is not flashed: the board there is a power_board, expected a compute_node"),
    "other role": ({"role": 258}, "is not flashed: the board there is node2, expected node1; swap the cables, or make"),
    "other board": ({"hardware_id": TWO}, f"is not flashed: hardware id {TWO.hex()}, expected {ONE.hex()}"),
}


@pytest.mark.parametrize("case", BAD_PLACES)
def test_a_board_that_is_another_one_is_left_alone(bench: Bench, stand: Stand, case: str) -> None:
    hello, says = BAD_PLACES[case]
    bench.image(image_bytes())
    bench.desk.plug(FakeBoard(node(1), **({"hardware_id": ONE} | hello)), serial="BUS")
    stand.install("openocd")
    assert says in bench.refuses(rig=bench.rig(more=f'hardware_id = "{ONE.hex()}"\n'))
    assert not stand.was_run


def test_old_firmware_and_blank_boards_may_be_flashed(bench: Bench, stand: Stand) -> None:
    """What another ICD's board says of itself is not understood, and a blank one says nothing."""
    made = image_bytes()
    bench.image(made)
    board = FakeBoard(node(1), icd_hash=5, role=258, image_crc=crc_of(made))
    bench.desk.plug(board, serial="BUS")
    stand.install("openocd")
    assert "is another: the board there is node2" in bench.refuses()
    assert stand.was_run


def test_a_blank_board_is_looked_for_by_its_id_only_afterwards(bench: Bench, stand: Stand) -> None:
    made = image_bytes()
    bench.image(made)
    stand.install("openocd")
    link = f'[boards.node1]\nlink = "hardware:{ONE.hex()}"\nimage = "node.elf"\nflash = "openocd:A"\n'
    small_rig(bench.folder, link)
    said = bench.refuses(rig=str(bench.folder / "rig.toml"))
    assert stand.was_run
    assert "was flashed, but hardware:" in said
    assert "no port has a board with this hardware id" in said


@pytest.mark.parametrize(
    ("hello", "says"),
    [
        ({"image_crc": 5}, "was flashed, but it runs the image with CRC 00000005, expected"),
        ({"role": 0}, "was flashed, but took no address; try `hal assign node1 --rig"),
    ],
)
def test_what_a_board_says_afterwards_counts(bench: Bench, stand: Stand, hello: dict[str, Any], says: str) -> None:
    made = image_bytes()
    bench.image(made)
    bench.desk.plug(FakeBoard(node(1), **({"image_crc": crc_of(made)} | hello)), serial="BUS")
    stand.install("openocd")
    assert says in bench.refuses()


def test_a_board_that_is_silent_afterwards(bench: Bench, stand: Stand) -> None:
    bench.image(image_bytes())
    bench.desk.plug(FakeBoard(None), serial="BUS")
    stand.install("openocd")
    assert "was flashed, but it says no HELLO within 0.4 s; set BOOT0 low, reset it" in bench.refuses()


def test_a_flight_build_may_be_flashed(bench: Bench, stand: Stand) -> None:
    made = image_bytes(flavour=1)
    path = bench.image(made, "flight.bin")
    bench.desk.plug(FakeBoard(node(1), image_crc=crc_of(made), capabilities=0), serial="BUS")
    stand.install("openocd")
    code, out, _ = bench.flash("--image", str(path))
    assert code == 0
    assert "flight flavour" in out


@pytest.mark.parametrize(
    ("more", "arguments", "says"),
    [
        ('[boards.node2]\nlink = "serial:X"\n', ["node2"], "boards.node2.flash: missing, expected one of openocd:"),
        ("", ["node0"], "board node0 on mock: is made by the world, expected one on a port"),
        ('[boards.node2]\nlink = "serial:X"\nimage = "none"\nflash = "dfu:1"\n', ["node2"], "runs no image"),
        ("", ["node1", "--tool", "magic:1"], "'magic:1': unknown program, expected one of openocd:, st-flash:, dfu:"),
        ("", ["node1", "--image", "no.elf"], "no.elf: no such image"),
        ("", ["node1"], "serial:BUS: no port with this USB serial number is plugged in"),
    ],
)
def test_wrong_usage(bench: Bench, more: str, arguments: list[str], says: str) -> None:
    bench.image(image_bytes())
    assert cli.main(["flash", *arguments, "--rig", bench.rig(more=more)]) == 1
    error = bench.capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("openocd", "unknown program"),
        ("openocd:", "names no ADAPTER-SERIAL, expected openocd:ADAPTER-SERIAL"),
        ("st-flash:A?x=1", "unknown option 'x', expected none"),
        ("stm32loader:A?baud=fast", "baud=fast, expected a whole number"),
        ("openocd:A; shutdown", "'A; shutdown' is no word"),
        ("openocd:-c", "'-c' is no word"),
        ("openocd:A?interface=$x", r"'\$x' is no word"),
    ],
)
def test_a_bad_entry_is_named(text: str, says: str) -> None:
    with pytest.raises(LinkError, match=says):
        parse_flash(text)
