"""Image files: what is whole is read, whatever it is wrapped in; what is not is refused in one line."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal.errors import ImageError
from hal.firmware import firmware_hash, read_image
from hal.icd import BoardKind
from hal.images import image_of
from tests.hal.images import BASE, crc_of, elf_of, image_bytes, write_image


@pytest.mark.parametrize("name", ["node.elf", "node.bin"])
def test_an_image_is_read_from_either_file(tmp_path: Path, name: str) -> None:
    made = image_bytes(BoardKind.COMPUTE_NODE, flavour=1, version=7)
    image = read_image(write_image(tmp_path / name, made))
    assert (image.base, image.data, image.crc) == (BASE, made, crc_of(made))
    assert (image.kind, image.flavour, image.version) == (BoardKind.COMPUTE_NODE, "flight", 7)
    assert image.firmware_hash == firmware_hash()


def test_what_lies_behind_the_image_in_the_file_is_not_of_it(tmp_path: Path) -> None:
    made = image_bytes()
    assert read_image(write_image(tmp_path / "padded.bin", made + bytes(100))).data == made


@given(at=st.integers(0, 2999), bit=st.integers(0, 7))
def test_no_flipped_bit_goes_unseen(tmp_path_factory: pytest.TempPathFactory, at: int, bit: int) -> None:
    damaged = bytearray(image_bytes())
    damaged[at] ^= 1 << bit
    path = write_image(tmp_path_factory.mktemp("image") / "node.bin", bytes(damaged))
    with pytest.raises(ImageError, match=r"node\.bin: (is damaged|is cut|has no header)"):
        read_image(path)


@pytest.mark.parametrize("name", ["node.elf", "node.bin"])
@given(share=st.floats(0, 0.999))
def test_a_file_that_is_cut_anywhere_is_refused(
    tmp_path_factory: pytest.TempPathFactory, name: str, share: float
) -> None:
    path = write_image(tmp_path_factory.mktemp("image") / name, image_bytes())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ImageError):
        read_image(path)


@given(data=st.binary(max_size=200))
def test_rubbish_behind_an_elf_mark_is_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("image") / "node.elf"
    path.write_bytes(b"\x7fELF\x01\x01" + data)
    with pytest.raises(ImageError):
        read_image(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (image_bytes(kind=9), "names kind 9 and flavour 0"),
        (image_bytes(flavour=2), "names kind 2 and flavour 2"),
        (random.Random(1).randbytes(2000), "has no header at 0x200"),
        (b"\x7fELF\x02\x01" + bytes(60), "not an ELF executable for ARM"),
        (elf_of(image_bytes(), base=0x0800_0000)[:52], "truncated or damaged, expected an ELF executable"),
    ],
)
def test_what_is_not_an_image_of_ours_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "node.elf"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=says):
        read_image(path)


def test_an_absent_image_says_how_it_is_made(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"expected it from `make firmware`"):
        read_image(tmp_path / "none.elf")
    with pytest.raises(ImageError, match="cannot read the image"):
        read_image(tmp_path)


def test_every_kind_has_an_image_of_its_own() -> None:
    paths = {image_of(kind, flavour) for kind in BoardKind for flavour in ("bench", "flight")}
    assert len(paths) == 4
