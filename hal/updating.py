"""`hal update`: which board, which image, and what is said of it. The way of the bytes is hal/update.py."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from hal.assign import ANSWER_S, on_a_port
from hal.errors import UpdateError
from hal.firmware import Image, read_image
from hal.identity import Hello, expected_board, kind_name, role_name
from hal.images import slots_like, slots_of
from hal.link import Board, Link, open_link
from hal.probe import Probe
from hal.rig import Rig
from hal.talk import Talk
from hal.update import Progress, Result, Updater

Report = Callable[[Progress], None]


def update(rig: Rig, role: str, files: Sequence[Path], report: Report) -> tuple[Result, Hello]:
    """Bring an image onto the board of `role`: one of `files`, or without any the one that its rig (or else this hal)
    has for it. Returns what came of it, and the board's last HELLO.

    Raises `RigError`, `LinkError`, `ImageError`, `UpdateError`, `LinkDownError`. However it ends, the board starts a
    whole image, and the same call goes on where this one stopped.
    """
    images = [read_image(file) for file in files]
    with _reached(rig, role) as (board, hello, link):
        updater = Updater(Talk(link, board.address), role, report)
        result = updater.run(images or default_images(board, hello))
        return result, updater.hello()


def confirm(rig: Rig, role: str) -> Hello:
    """Confirm the image that the board of `role` runs, whatever it is. Returns its HELLO. Raises as `update`."""
    with _reached(rig, role) as (board, hello, link):
        updater = Updater(Talk(link, board.address), role)
        updater.status()
        updater.confirm(hello.image_crc)
        return hello


@contextlib.contextmanager
def _reached(rig: Rig, role: str) -> Iterator[tuple[Board, Hello, Link]]:
    """The line to the board that is meant, which has said who it is."""
    spec = on_a_port(rig, role)
    board = expected_board(rig, spec)
    with contextlib.closing(open_link(spec.link, board)) as link:
        hello = Probe(link).hello(ANSWER_S)
        if hello is None:
            raise UpdateError(f"board {role} on {spec.link}: no HELLO within {ANSWER_S:g} s, expected a board")
        check_place(hello, board, spec.link)
        yield board, hello, link


def check_place(hello: Hello, board: Board, link: str) -> None:
    """A cable may be in the wrong place: raises `UpdateError` unless this is the board that is meant.

    Its firmware and ICD may be older: that is what an update is for. The messages of the update stay as they are.
    """
    where = f"board {board.role} on {link} is not updated"
    if hello.kind != board.kind:
        raise UpdateError(f"{where}: the board there is a {kind_name(hello.kind)}, expected a {kind_name(board.kind)}")
    if hello.role != board.address:
        raise UpdateError(f"{where}: the board there is {role_name(hello.role)}, expected {board.role}")
    if board.hardware_id and hello.hardware_id != board.hardware_id:
        raise UpdateError(f"{where}: hardware id {hello.hardware_id.hex()}, expected {board.hardware_id.hex()}")


def default_images(board: Board, hello: Hello) -> list[Image]:
    """For both slots: beside the image that the rig names, or those that ship, in the flavour that it flies now.

    Raises `ImageError` when they are not built.
    """
    files = slots_like(board.image) if board.image is not None else []
    return [read_image(file) for file in files or slots_of(board.kind, "bench" if hello.bench else "flight")]
