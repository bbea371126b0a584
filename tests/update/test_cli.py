"""`hal update` on a terminal line: what it prints, what it refuses, and that it goes on where it was stopped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hal import cli
from hal.icd import BoardKind, ImageSlot, SlotState
from tests.hal.desk import Terminal
from tests.hal.images import elf_of
from tests.hal.talker import small_rig
from tests.update.device import BASES, Device, DeviceLink, make_image, pair, updater


class Plugged(Terminal):
    """A device at the far end of a terminal line; the cable is pulled out behind so many messages (0: never)."""

    def __init__(self, device: Device, messages: int = 0) -> None:
        super().__init__()
        self.link, self.left = DeviceLink(device), messages or 1 << 30
        self.start()

    def receive(self, data: bytes) -> None:
        self.left -= data.count(b"\0\0") + 1
        if self.left < 0:
            self.hang_up()
            return
        self.link.send(data)
        self.say(self.link.recv())


@pytest.fixture
def device() -> Device:
    made = Device(pair(1)[0])
    made.power_on()
    return made


class Cli:
    """`hal update node0` on a rig whose node0 is that device."""

    def __init__(self, device: Device, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.device, self.folder, self.capsys = device, folder, capsys
        self.messages = 0

    def files(self, version: int) -> list[str]:
        """Images of a version, as a user has them."""
        paths = []
        for slot, image in zip("ab", pair(version), strict=True):
            path = self.folder / f"v{version}-slot-{slot}.elf"
            path.write_bytes(elf_of(image.data, base=image.base))
            paths.append(str(path))
        return paths

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        """(exit code, stdout, stderr)."""
        plugged = Plugged(self.device, self.messages)
        try:
            small_rig(self.folder, f'[boards.node0]\nlink = "serial:{plugged.path}"\n')
            code = cli.main(["update", "node0", "--rig", str(self.folder / "rig.toml"), *arguments])
        finally:
            plugged.close()
        said = self.capsys.readouterr()
        return code, said.out, said.err

    def update(self, version: int, *more: str) -> tuple[int, str, str]:
        return self(*more, *(word for file in self.files(version) for word in ("--image", file)))

    def refuses(self, *arguments: str) -> str:
        code, out, err = self(*arguments)
        assert (code, out) == (1, "")
        (line,) = err.splitlines()
        return line


@pytest.fixture
def hal(device: Device, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(device, tmp_path, capsys)


def test_it_says_what_runs_now(hal: Cli, device: Device) -> None:
    code, out, err = hal.update(2)
    assert (code, err) == (0, "")
    crc = pair(2)[1].crc
    file = hal.folder / "v2-slot-b.elf"
    assert out == f"node0: board {'00' * 12} runs {file} (version 2, CRC {crc:08x}) in slot b\n"
    assert device.running == ImageSlot.B
    code, out, _ = hal.update(2)
    assert (code, out[-11:]) == (0, ", as before\n"[-11:])


def test_json(hal: Cli, device: Device) -> None:
    code, out, err = hal.update(2, "--json")
    assert (code, err) == (0, "")
    facts = json.loads(out)
    assert facts.pop("messages") > 10
    assert facts == {
        "role": "node0",
        "changed": True,
        "image": str(hal.folder / "v2-slot-b.elf"),
        "image_crc": f"{pair(2)[1].crc:08x}",
        "version": 2,
        "bytes": 2048,
        "slot": "b",
        "resumed_at": 0,
        "repeated": 0,
        "hardware_id": "00" * 12,
    }


def test_a_cable_that_was_pulled_out_costs_what_was_under_way(hal: Cli, device: Device) -> None:
    hal.messages = 12
    code, out, err = hal.update(2)
    assert (code, out) == (1, "")
    assert err.startswith("hal: serial:")
    assert device.running == ImageSlot.A
    hal.messages = 0
    code, out, _ = hal.update(2)
    assert code == 0
    assert "bytes were there already" in out
    assert device.running_image() == pair(2)[1].data


def test_without_a_file_the_image_is_the_rigs(hal: Cli, device: Device, tmp_path: Path) -> None:
    a, _ = hal.files(2)
    plugged = Plugged(device)
    small_rig(tmp_path, f'[boards.node0]\nlink = "serial:{plugged.path}"\nimage = "{a}"\n')
    assert cli.main(["update", "node0", "--rig", str(tmp_path / "rig.toml"), "--json"]) == 0
    plugged.close()
    assert device.running_image() == pair(2)[1].data


def test_confirm_confirms_what_runs(hal: Cli, device: Device) -> None:
    u = updater(device)
    hello = u.hello()
    u.status()
    u.transfer(pair(2)[1])
    u.boot(hello)
    said = hal.refuses("--image", hal.files(3)[0])
    assert said.startswith(f"hal: board node0: runs image {pair(2)[1].crc:08x}, which nobody has confirmed")
    code, out, _ = hal("--confirm")
    assert (code, out) == (0, f"node0: image {pair(2)[1].crc:08x} is confirmed\n")
    assert updater(device).status()["state_b"] == SlotState.CONFIRMED


def test_what_cannot_be_is_refused_in_one_line(hal: Cli, device: Device) -> None:
    before = device.memory()
    a, b = hal.files(2)
    other = hal.folder / "other.elf"
    wrong = make_image(1, 2, kind=BoardKind.POWER_BOARD)
    other.write_bytes(elf_of(wrong.data, base=BASES[1]))
    for arguments, line in (
        (["--image", a], "board node0: v2-slot-a.elf: not linked for slot b at 0x08040000, expected an image that is"),
        (
            ["--image", str(other)],
            "board node0: other.elf is an image for a power_board, expected one for a compute_node",
        ),
        (["--image", "absent.elf"], "absent.elf: no such image, expected it from `make firmware`"),
        (["--confirm", "--image", b], "--confirm sends no image, expected either --confirm or --image"),
    ):
        assert hal.refuses(*arguments) == f"hal: {line}"
    assert device.memory() == before


def test_a_board_in_the_wrong_place_is_left_alone(device: Device, tmp_path: Path, capsys) -> None:
    power = Device(make_image(0, 1, kind=BoardKind.POWER_BOARD), kind=BoardKind.POWER_BOARD)
    power.power_on()
    before = device.memory(), power.memory()
    for role, there, more, what in (
        ("node1", device, "", "the board there is node0, expected node1"),
        ("node0", power, "", "the board there is a power_board, expected a compute_node"),
        ("node0", device, f'hardware_id = "{"11" * 12}"\n', f"hardware id {'00' * 12}, expected {'11' * 12}"),
    ):
        plugged = Plugged(there)
        small_rig(tmp_path, f'[boards.{role}]\nlink = "serial:{plugged.path}"\n{more}')
        assert cli.main(["update", role, "--rig", str(tmp_path / "rig.toml")]) == 1
        said = capsys.readouterr().err
        assert said == f"hal: board {role} on serial:{plugged.path} is not updated: {what}\n"
        plugged.close()
    assert (device.memory(), power.memory()) == before


def test_a_board_that_the_world_makes_is_not_updated(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["update", "node0", "--rig", "demo"]) == 1
    assert capsys.readouterr().err.startswith("hal: board node0 on mock: is made by the world")


def test_a_silent_line_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    silent = Terminal()
    small_rig(tmp_path, f'[boards.node0]\nlink = "serial:{silent.path}"\n')
    assert cli.main(["update", "node0", "--rig", str(tmp_path / "rig.toml")]) == 1
    said = capsys.readouterr().err
    assert said == f"hal: board node0 on serial:{silent.path}: no HELLO within 3 s, expected a board\n"
    silent.close()
