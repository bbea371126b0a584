"""The firmware images that ship, made by `make firmware`."""

from __future__ import annotations

import re
from pathlib import Path

from hal.icd import BoardKind

FOLDER = Path(__file__).parent / "bin"
_PLACED = re.compile(r"-(slot-a|slot-b|factory)$")


def image_of(kind: int, flavour: str = "bench") -> Path:
    """The image of a kind of board (enum board_kind); it may not have been built."""
    suffix = "" if flavour == "bench" else f"-{flavour}"
    return FOLDER / f"dawnline-{BoardKind(kind).name.lower()}{suffix}.elf"


def slots_of(kind: int, flavour: str = "bench") -> list[Path]:
    """The images of a kind of board for slots A and B."""
    alone = image_of(kind, flavour)
    return [alone.with_stem(f"{alone.stem}-slot-{slot}") for slot in "ab"]


def slots_like(path: Path) -> list[Path]:
    """The images for slots A and B that belong together with one of them, or with what a factory writes; [] for an
    image that stands alone."""
    stem = _PLACED.sub("", path.stem)
    return [] if stem == path.stem else [path.with_name(f"{stem}-slot-{slot}.elf") for slot in "ab"]
