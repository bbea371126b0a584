"""Which files are images of boards that take updates, and what such a board may run to be who it says it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hal import icd
from hal.errors import ImageError
from hal.firmware import FACTORY_AT, FLASH_BASE, firmware_hash, read_image
from hal.icd import BoardKind
from hal.identity import Hello, refusal
from hal.images import image_of, slots_like, slots_of
from hal.link import Board
from tests.hal.images import crc_of, elf_of, image_bytes

KIND = BoardKind.COMPUTE_NODE


def test_names():
    a, b = slots_of(KIND)
    assert (a.name, b.name) == ("dawnline-compute_node-slot-a.elf", "dawnline-compute_node-slot-b.elf")
    assert slots_of(KIND, "flight")[1].name == "dawnline-compute_node-flight-slot-b.elf"
    for path in (a, b, a.with_name("dawnline-compute_node-factory.bin")):
        assert slots_like(path) == [a, b]
    assert slots_like(image_of(KIND)) == []


def test_what_a_factory_writes_is_an_image(tmp_path: Path):
    """Boot loader and all, and named by the image behind it."""
    image, file = image_bytes(), tmp_path / "x-factory.bin"
    content = bytes(range(256)) * 12
    file.write_bytes(content + b"\xff" * (FACTORY_AT - len(content)) + image)
    found = read_image(file)
    assert (found.base, found.data, found.crc) == (FLASH_BASE, file.read_bytes(), crc_of(image))
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ImageError, match=r"is cut: its header says 3000 bytes, the file holds 2999"):
        read_image(file)
    file.write_bytes(content + b"\xff" * (FACTORY_AT - len(content)))
    with pytest.raises(ImageError, match="has no header"):
        read_image(file)


@pytest.mark.parametrize("named", ["x-slot-a.elf", "x-slot-b.elf", "x-factory.bin"])
def test_a_board_may_run_from_either_slot(tmp_path: Path, named: str):
    images = [image_bytes(seed=seed) for seed in (1, 2)]
    for slot, image in zip("ab", images, strict=True):
        (tmp_path / f"x-slot-{slot}.elf").write_bytes(elf_of(image))
    (tmp_path / "x-factory.bin").write_bytes(b"\xff" * FACTORY_AT + images[0])
    board = Board("node0", KIND, 256, bytes(12), image=tmp_path / named, rig="bench.toml")
    hello = Hello(KIND, 256, bytes(12), firmware_hash(), crc_of(images[0]), icd.ICD_HASH, 1, 1, 1)
    assert refusal(hello, board, {}) is None
    assert refusal(replace(hello, image_crc=crc_of(images[1])), board, {}) is None
    said = refusal(replace(hello, image_crc=7), board, {})
    assert said is not None
    assert said.startswith("its image CRC is 00000007, expected ")
