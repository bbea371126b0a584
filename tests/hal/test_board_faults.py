"""Faults of boards: how each comes back, what it drives meanwhile, cut writes, flipped bits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hal import icd
from hal._native import lib
from hal.fault_kinds import BOARD, KINDS, Fault
from hal.link import Board, Link, open_link
from hal.rig import Rig, load_rig
from hal.world import World
from tests.hal.faulty import AT_S, FOR_S, NODE1, Flown, a_fault, fly, with_faults
from tests.hal.talker import Damaged, Talker, small_rig


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return small_rig(tmp_path)


def causes(flown: Flown) -> list[tuple[int, int, int]]:
    """(tick, boot count, reset cause) of every HELLO of node1 that flight heard unasked."""
    talker, found = Talker(3), []
    for tick, heard in enumerate(flown.heard, 1):
        talker.heard = [heard]
        for payload in talker.of_type("hello", NODE1):
            hello = icd.decode("hello", payload)
            found.append((tick, hello["boot_count"], hello["reset_cause"]))
    return [one for one in found if one[0] not in (2, 31)]  # answers to the talker


CAUSES = {
    "off": [(101, 2, icd.ResetCause.POWER_ON)],
    "reset": [(11, 2, icd.ResetCause.BENCH)],
    "hang": [],
    "brown_out": [(101, 2, icd.ResetCause.BROWN_OUT)],
    "boot_loop": [(11 + 17 * i, 2 + i, icd.ResetCause.WATCHDOG) for i in range(6)],
    "bit_flip": [],
}


@pytest.mark.parametrize("kind", CAUSES)
def test_how_a_board_comes_back(rig: Rig, kind: str) -> None:
    (found,) = [k for k in KINDS if (k.on, k.name) == (BOARD, kind)]
    flown = fly(with_faults(rig, a_fault(found)))
    assert causes(flown) == [(1, 1, icd.ResetCause.POWER_ON), *CAUSES[kind]]
    spoke = [tick for tick, heard in enumerate(flown.heard, 1) if NODE1 in heard]
    away = set(range(11, 101)) if kind in ("off", "brown_out", "hang") else set()
    assert not away & set(spoke)
    assert flown.links["node1"]["absences"] == (kind in ("off", "brown_out"))


@pytest.mark.parametrize("backend", ["mock", "process"])
@pytest.mark.parametrize("watchdog", [0, 1])
def test_a_board_that_hung_goes_on_or_is_reset(rig: Rig, backend: str, watchdog: int) -> None:
    flown = fly(with_faults(rig, Fault("hang", AT_S, FOR_S, board="node1", value=watchdog)), backend)
    expected = [(101, 2, icd.ResetCause.WATCHDOG)] if watchdog else []
    assert causes(flown)[1:] == expected
    assert flown.links["node1"]["epochs"] == 1 + watchdog
    refused = [icd.decode("event", p) for p in _payloads(flown, "event") if p[:2] == b"\x41\x00"]
    assert refused == [], "no TICK was refused"


def _payloads(flown: Flown, kind: str) -> list[bytes]:
    talker = Talker(3)
    talker.heard = flown.heard
    return talker.of_type(kind, NODE1)


def test_a_board_behind_a_lossy_line_goes_on_although_the_first_word_to_it_is_lost(
    rig: Rig,
) -> None:
    transfers = 0

    def lose(data: bytes) -> bytes:
        nonlocal transfers
        transfers += 1
        return b"" if transfers == 11 else data  # ten ticks, a hang, and what follows it

    def opener(url: str, board: Board) -> Link:
        link = open_link(url, board)
        return Damaged(link, to_board=lose) if board.role == "node1" else link

    faulty = with_faults(rig, Fault("hang", AT_S, 2.0, board="node1"))
    with World(faulty) as whole, World(faulty, opener=opener) as hit:
        for _ in range(60):
            whole.step(None)
            hit.step(None)
            assert hit.link("node1")["state_hash"] == whole.link("node1")["state_hash"]
        assert hit.link("node1")["retransmissions"] >= 1
        assert hit.link("node1")["absences"] == 0


def test_a_reset_leaves_what_the_controller_drives(tmp_path: Path) -> None:
    """The bench keeps the outputs over a reset and over a hang, and lets a board's lines fall when its power goes."""
    seen = {}
    for kind in ("reset", "hang", "off", "brown_out"):
        with World(load_rig("desk")) as world:
            world.run(10)
            actuators = lib.plant_node_in(world.plant.pointer)[1]
            actuators.command, actuators.cap_w = icd.AccelCommand.RUN, 300.0
            world.fault(kind, board="node1")
            seen[kind] = (actuators.command, actuators.cap_w)
    kept, fallen = (icd.AccelCommand.RUN, 300.0), (icd.AccelCommand.OFF, 0.0)
    assert seen == {"reset": kept, "hang": kept, "off": fallen, "brown_out": fallen}


def test_a_cut_write_leaves_the_block_as_it_was_or_as_it_became(rig: Rig) -> None:
    """The talker configures node1 in tick 3: its block is written in two copies; the power fails at every byte."""
    size = 2 * (36 + 8)  # node_config twice, with sequence and CRC
    configured = []
    for at in range(size + 3):
        faulty = with_faults(rig, Fault("nvm_cut", 0.2, 1.0, board="node1", value=at))
        talker = Talker(rig.nodes)
        with World(faulty) as world:
            for _ in range(20):
                world.step(talker)
            (report,) = world.score()["faults"]
            struck = report["hits"]
            identity = world.identity("node1")
            assert struck == (at < size)
            if struck:
                assert (identity["boot_count"], identity["reset_cause"]) == (2, icd.ResetCause.BROWN_OUT)
            errors = world.score()["link_errors"]
            assert not any(errors.values()), errors
            last = icd.decode("node_tlm", talker.of_type("node_tlm", NODE1)[-1])
            configured.append(not last["flags"] & icd.NodeFlag.UNCONFIGURED)
    first = configured.index(True)
    assert 36 <= first <= 44, "the first copy is whole: it is as it was to become from here on"
    assert configured == [False] * first + [True] * (len(configured) - first)


@pytest.mark.parametrize("at", [*range(0, 40, 3), 40, 500])
def test_a_cut_on_the_way_through_a_commanded_reset(rig: Rig, at: int) -> None:
    """Node 0 writes 20 bytes when it is told to reset (tick 50) and 20 when it boots: the power fails in either."""
    flown = fly(with_faults(rig, Fault("nvm_cut", 4.0, 2.0, board="node0", value=at)))
    assert not any(flown.score["link_errors"].values())
    assert not flown.score["absent_boards"]
    (report,) = flown.score["faults"]
    assert report["hits"] == (at < 40)
    talker = Talker(3)
    talker.heard = flown.heard
    last = [icd.decode("hello", p) for p in talker.of_type("hello", 1)][-1]
    assert last["reset_cause"] == (icd.ResetCause.BROWN_OUT if at < 40 else icd.ResetCause.COMMANDED)
    assert last["boot_count"] in (2, 3)


def test_bits_flip_by_the_seed_and_the_board_still_answers(rig: Rig) -> None:
    faulty = with_faults(
        rig, *(Fault("bit_flip", 1.0 + i, board=b, value=50) for i in range(5) for b in ("power", "node1"))
    )
    first = fly(faulty)
    assert first == fly(faulty)
    assert first.sha256 not in (fly(rig).sha256, fly(replace(faulty, seed=99)).sha256)
    assert not first.score["absent_boards"]
    assert [report["hits"] for report in first.score["faults"]] == [50] * 10


def test_bit_flips_over_a_link_are_those_of_the_world_itself(rig: Rig) -> None:
    faulty = with_faults(rig, Fault("bit_flip", 1.0, board="node1", value=20))
    assert fly(faulty, opener=open_link) == fly(faulty)
