"""Giving a board on a port its address, which it keeps: one image serves every board of a kind."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from hal.errors import BoardRefusedError, RigError
from hal.identity import Hello, expected_board, refusal, role_name
from hal.link import Board, open_link
from hal.probe import Probe
from hal.rig import Rig
from hal.rig_boards import BoardSpec

ANSWER_S = 3.0
ASSIGN_S = 1.0


def on_a_port(rig: Rig, role: str) -> BoardSpec:
    """The entry of a board that is plugged in. Raises `RigError` for one that the world makes."""
    spec = rig.boards[rig.index_of(role)]
    if spec.made:
        raise RigError(f"board {role} on {spec.link} is made by the world, expected one on a port (serial:, hardware:)")
    return spec


def assign(rig: Rig, role: str) -> Hello:
    """Give the board on the link of `role` that role's address; returns its HELLO.

    Raises `RigError`, `LinkError`, and `BoardRefusedError` for a board that may not have it: silent, of another kind or
    version, with another hardware id than the rig says, or one whose address is not its own to keep.
    """
    spec = on_a_port(rig, role)
    board = expected_board(rig, spec)
    with contextlib.closing(open_link(spec.link, board)) as link:
        probe = Probe(link)
        hello = probe.hello(ANSWER_S)
        if hello is None:
            raise BoardRefusedError(f"board {role} on {spec.link}: no HELLO within {ANSWER_S:g} s, expected a board")
        return give_address(probe, hello, board, spec.link)


def give_address(probe: Probe, hello: Hello, board: Board, url: str) -> Hello:
    """Give the board that has said `hello` the address of `board`, unless something else about it is wrong."""
    reason = refusal(replace(hello, role=board.address), board, {})
    if reason is not None:
        raise BoardRefusedError(f"board {board.role} on {url} gets no address: {reason}")
    if hello.role == board.address:
        return hello
    answer = probe.assign(hello.hardware_id, board.address, ASSIGN_S)
    if answer is None or answer.role != board.address:
        has = f"it stays at {hello.role} ({role_name(hello.role)})" if answer is not None else "it does not answer"
        cure = "its memory refused, or its host gives it its address"
        raise BoardRefusedError(f"board {board.role} on {url} did not take address {board.address}: {has}; {cure}")
    return answer
