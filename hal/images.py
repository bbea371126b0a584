"""The firmware images that ship, made by `make firmware`."""

from __future__ import annotations

from pathlib import Path

from hal.icd import BoardKind

FOLDER = Path(__file__).parent / "bin"


def image_of(kind: int, flavour: str = "bench") -> Path:
    """The image of a kind of board (enum board_kind); it may not have been built."""
    suffix = "" if flavour == "bench" else f"-{flavour}"
    return FOLDER / f"dawnline-{BoardKind(kind).name.lower()}{suffix}.elf"
