"""One suite over every back end: the same bytes, the same bus hash, the same counters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from hal import icd
from hal._native import ffi
from hal.link import Board, Link, open_link
from hal.rig import Rig
from hal.world import World
from tests.hal.talker import Talker, chopping, frames, small_rig
from tests.tools import NEEDS_QEMU

TICKS = 250


@dataclass
class Flown:
    """What a run left behind."""

    sha256: str
    heard: list[dict[int, bytes]]
    score: dict[str, object]
    links: dict[str, dict[str, int]]


def fly(rig: Rig, backend: str, opener: Callable[[str, Board], Link] | None = None, ticks: int = TICKS) -> Flown:
    with World(rig, backend, opener=opener) as world:
        talker = Talker(rig.nodes)
        for _ in range(ticks):
            world.step(talker)
        links = {b.role: world.link(b.role) for b in rig.boards}
        return Flown(world.bus_sha256(), talker.heard, world.score(), links)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return small_rig(tmp_path)


# A microcontroller sends a report of its hardware beside everything that a mock sends; its HELLO names its image.
HARDWARE_COUNTS = {"rx_frames", "rx_bytes", "frames_from_boards", "bytes"}


def without(names: set[str], values: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in values.items() if name not in names}


def hashed(flown: Flown) -> list[dict[int, list[tuple[int, bytes]]]]:
    """What flight heard, frame by frame, without the frames that stand outside the hash."""
    outside = {m.type for m in icd.MESSAGES.values() if not m.hashed}
    return [
        {board: [frame for frame in frames(data) if frame[0] not in outside] for board, data in heard.items()}
        for heard in flown.heard
    ]


# How a board can be reached: (back end, opener or None for the fast path in C)
WAYS: dict[str, tuple[str, Callable[[str, Board], Link] | None]] = {
    "mock in C": ("mock", None),
    "mock as a link": ("mock", open_link),
    "process": ("process", None),
    "process, chopped": ("process", chopping(1)),
    "unicorn": ("unicorn", None),
    "qemu": ("qemu", None),
    "qemu, chopped": ("qemu", chopping(1)),
}
MARKED = [pytest.param(way, marks=NEEDS_QEMU if "qemu" in way else ()) for way in WAYS]


@pytest.mark.parametrize("way", MARKED)
def test_same_bytes_and_counters_every_way(rig: Rig, way: str) -> None:
    reference = fly(rig, "mock")
    flown = fly(rig, *WAYS[way])
    assert flown.sha256 == reference.sha256
    assert hashed(flown) == hashed(reference)
    own = HARDWARE_COUNTS if WAYS[way][0] in ("unicorn", "qemu") else set()
    assert {r: without(own, link) for r, link in flown.links.items()} == {
        r: without(own, link) for r, link in reference.links.items()
    }
    assert without(own, flown.score) == without(own, reference.score)


@pytest.mark.parametrize("way", MARKED)
def test_both_ends_count_the_same(rig: Rig, way: str) -> None:
    flown = fly(rig, *WAYS[way])
    assert not any(flown.score["link_errors"].values())  # type: ignore[attr-defined]
    for role, link in flown.links.items():
        assert link["epochs"] == (2 if role == "node0" else 1), role  # the talker resets node 0


def test_boards_report_their_own_counts(rig: Rig) -> None:
    talker = Talker(rig.nodes)
    with World(rig) as world:
        for _ in range(TICKS):
            world.step(talker)
    for board in range(rig.nodes + 1):
        assert len(talker.of_type("link_report", board)) >= 1


def test_mixed_rig_has_the_same_bytes(rig: Rig, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    mixed = small_rig(folder, '[boards.node1]\nlink = "process:"\n')
    assert fly(mixed, None).sha256 == fly(rig, "mock").sha256  # type: ignore[arg-type]


def test_same_hash_twice_and_for_any_length_of_run(rig: Rig) -> None:
    def quiet(batch: int) -> str:
        with World(rig) as world:
            while world.tick < TICKS:
                assert world.run(min(batch, TICKS - world.tick)) >= 1
            return world.bus_sha256()

    assert len({quiet(1), quiet(7), quiet(TICKS), quiet(TICKS)}) == 1


def test_participant_may_stop_a_run(rig: Rig) -> None:
    times = []

    @ffi.callback("int(void *, uint64_t, const struct bus_batch *, struct bus_batch *)")  # type: ignore[misc]
    def step(ctx: object, t_us: int, rx: object, tx: object) -> int:
        times.append(t_us)
        return int(t_us == 500_000)

    with World(rig) as world:
        assert world.run(100, int(ffi.cast("uintptr_t", step)), 0) == 5
        assert times == [100_000 * i for i in range(1, 6)]
        assert world.t_us == 500_000
