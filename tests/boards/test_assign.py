"""The address of a board that no host gives one to: assigned once, kept in persistent memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal import icd
from tests.boards.harness import ANY, BENCH, FLIGHT, HARDWARE_ID, ROLE, Board, Frame, Memory, encode

KINDS = list(ROLE)
NONE = int(icd.Address.NONE)


def assign(board: Board, role: int, hardware_id: bytes = HARDWARE_ID, source: int = BENCH) -> list[Frame]:
    payload = icd.encode("assign", hardware_id=hardware_id, role=role)
    return board.receive(encode("assign", source, ANY, 0, 0, payload))


def role_of(frames: list[Frame]) -> int:
    (hello,) = frames
    assert hello.name == "hello"
    assert hello.src == hello.fields["role"]
    return int(hello.fields["role"])


@pytest.mark.parametrize("capabilities", [0, 1], ids=["flight", "bench"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_address_is_assigned_and_kept(kind: int, capabilities: int) -> None:
    board = Board(kind, capabilities=capabilities, role=NONE)
    assert role_of([board.hello]) == NONE
    assert role_of(board.send("hello_req")) == NONE
    assert role_of(assign(board, ROLE[kind])) == ROLE[kind]
    assert role_of([board.boot(icd.ResetCause.POWER_ON)]) == ROLE[kind]
    assert role_of(assign(board, 300)) == 300
    assert role_of([Board(kind, board.memory, role=NONE).hello]) == 300


@pytest.mark.parametrize("kind", KINDS)
def test_without_an_address_nothing_is_stepped_or_executed(kind: int) -> None:
    board = Board(kind, role=NONE)
    assert board.tick() == []
    assert board.send("reset", session=1, command_seq=1) == []
    assert board.receive(encode("reset", FLIGHT, ANY, 0, 0, icd.encode("reset", session=1, command_seq=2))) == []
    assert role_of(assign(board, ROLE[kind])) == ROLE[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_from_then_on_it_is_the_board_that_has_that_address_by_its_host(kind: int) -> None:
    given_one, assigned = Board(kind), Board(kind, role=NONE)
    assign(assigned, ROLE[kind])
    assigned.role = ROLE[kind]
    for _ in range(120):
        assert [f.wire for f in given_one.tick()] == [f.wire for f in assigned.tick()]


@given(other=st.binary(min_size=12, max_size=12).filter(lambda b: b != HARDWARE_ID), role=st.integers(1, 65534))
def test_another_hardware_id_is_not_meant(other: bytes, role: int) -> None:
    board = Board(2, role=NONE)
    writes = board.memory.writes
    assert assign(board, role, hardware_id=other) == []
    assert role_of(board.send("hello_req")) == NONE
    assert board.memory.writes == writes


def test_an_address_that_the_host_gives_stays() -> None:
    board = Board(2)
    assert role_of(assign(board, 300)) == ROLE[2]
    assert role_of([Board(2, board.memory, role=NONE).hello]) == NONE, "nothing was stored"


@pytest.mark.parametrize("role", [0, 65535])
def test_no_board_can_be_none_or_any(role: int) -> None:
    board = Board(2, role=NONE)
    payload = HARDWARE_ID + role.to_bytes(2, "little")
    assert board.receive(encode("assign", BENCH, ANY, 0, 0, payload)) == []
    assert role_of(board.send("hello_req")) == NONE


def test_the_same_address_again_costs_no_write() -> None:
    board = Board(2, role=NONE)
    assign(board, 258)
    writes = board.memory.writes
    assert role_of(assign(board, 258)) == 258
    assert board.memory.writes == writes


@pytest.mark.parametrize("budget", range(25))
def test_power_cut_while_it_is_written(budget: int) -> None:
    """After any cut it has the old address or the new one; and it never says the new one while that is not kept."""
    board = Board(2, role=NONE)
    assign(board, 258)
    board.memory.budget = budget
    said = role_of(assign(board, 259))
    board.memory.budget = None
    kept = role_of([Board(2, board.memory, role=NONE).hello])
    assert kept in (258, 259)
    assert said == kept or (said, kept) == (258, 259)


def test_memory_that_refuses_leaves_the_old_address() -> None:
    memory = Memory()
    board = Board(2, memory, role=NONE)
    memory.broken = True
    assert role_of(assign(board, 258)) == NONE
