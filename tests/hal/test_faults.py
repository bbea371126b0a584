"""Every kind of fault in a world: the same bytes on every back end, every byte accounted for, lifted at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from hal import icd
from hal._native import lib
from hal.errors import RigError, WorldError
from hal.fault_kinds import BOARD, KINDS, LINK, PLANT, SENSOR, Fault, Kind, names
from hal.link import Board, Link, open_link
from hal.rig import Rig, load_rig
from hal.world import World
from tests.hal.talker import Damaged, Talker, small_rig
from tests.tools import NEEDS_QEMU

TICKS = 320  # reports of both ends every 10 s, the last well behind the end of every fault
NODE1 = 2
AT_S, FOR_S = 1.0, 9.0
DIRECTIONS = ("to_board", "from_board", "both")
VALUES = {"delay": 0.45, "slow": 0.7, "delayed": 0.7, "bias": 250, "scale": -1.5, "noise": 300, "boot_loop": 1.7}
NO_SEED = {"off", "stuck", "wrong", "slow", "delayed", "bias", "scale"}


@dataclass
class Flown:
    """What a run left behind."""

    sha256: str
    heard: list[dict[int, bytes]]
    score: dict[str, Any]
    links: dict[str, dict[str, int]]

    def heard_of(self, board: int) -> int:
        return sum(len(heard.get(board, b"")) for heard in self.heard)


def fly(rig: Rig, backend: str | None = None, opener: Callable[[str, Board], Link] | None = None) -> Flown:
    talker = Talker(rig.nodes)
    with World(rig, backend, opener=opener) as world:
        for _ in range(TICKS):
            world.step(talker)
        links = {b.role: world.link(b.role) for b in rig.boards}
        return Flown(world.bus_sha256(), talker.heard, world.score(), links)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return small_rig(tmp_path)


def a_fault(kind: Kind, **more: Any) -> Fault:
    """One of this kind on node1, with a value where it needs one."""
    sensor = "die_cdeg" if kind.on == SENSOR else None
    value = VALUES.get(kind.name) if kind.value else None
    board = None if kind.on == PLANT else "node1"
    at_s = 0.2 if kind.name == "nvm_cut" else AT_S  # the talker lets it write in tick 3
    whole = Fault(kind.name, at_s, FOR_S if kind.lasts else 0.0, board=board, sensor=sensor, value=value)
    return replace(whole, **more)


def with_faults(rig: Rig, *faults: Fault) -> Rig:
    return replace(rig, faults=faults)


def ids(kinds: list[Kind]) -> list[str]:
    return [f"{kind.on} {kind.name}" for kind in kinds]


ON_BOARDS = [kind for kind in KINDS if kind.on != PLANT]
MADE = [kind for kind in KINDS if kind.on == BOARD and "unicorn" in kind.backends]
EVERYWHERE = [kind for kind in ON_BOARDS if "process" in kind.backends]


# ---------------------------------------------------------------- every kind
@pytest.mark.parametrize("kind", EVERYWHERE, ids=ids(EVERYWHERE))
def test_the_same_bytes_on_every_back_end(rig: Rig, kind: Kind) -> None:
    faulty = with_faults(rig, a_fault(kind))
    mock, process = fly(faulty, "mock"), fly(faulty, "process")
    assert process == mock
    assert mock.score["bus_sha256"] != fly(rig).score["bus_sha256"] or mock.heard != fly(rig).heard, "it did something"


def same_flight(microcontroller: Flown, mock: Flown) -> None:
    """A microcontroller sends reports of its hardware besides; they stand outside the hash, chance and counters."""
    assert microcontroller.sha256 == mock.sha256
    assert microcontroller.score["faults"] == mock.score["faults"]
    assert microcontroller.score["link_errors"] == mock.score["link_errors"]


@pytest.mark.parametrize("kind", MADE, ids=ids(MADE))
def test_boards_on_emulated_microcontrollers_have_the_same_faults(rig: Rig, kind: Kind) -> None:
    faulty = with_faults(rig, a_fault(kind))
    same_flight(fly(faulty, "unicorn"), fly(faulty, "mock"))


@pytest.mark.parametrize("kind", names(LINK))
def test_lines_of_emulated_microcontrollers_have_the_same_faults(rig: Rig, kind: str) -> None:
    """Over two reports of the hardware: they take no chance away from what a mock sends as well."""
    (found,) = [k for k in KINDS if k.name == kind]
    rate = {"flip": 0.01}.get(kind, 0.4) if found.rate is not None else None
    faulty = with_faults(rig, a_fault(found, for_s=25.0, rate=rate))
    same_flight(fly(faulty, "unicorn"), fly(faulty, "mock"))


@NEEDS_QEMU
@pytest.mark.parametrize("kind", ["reset", "hang", "brown_out"])
def test_boards_in_qemu_have_the_same_faults(rig: Rig, kind: str) -> None:
    (found,) = [k for k in KINDS if (k.on, k.name) == (BOARD, kind)]
    faulty = with_faults(rig, a_fault(found))
    same_flight(fly(faulty, "qemu"), fly(faulty, "mock"))


@pytest.mark.parametrize("kind", ON_BOARDS, ids=ids(ON_BOARDS))
def test_both_ends_count_the_same(rig: Rig, kind: Kind) -> None:
    flown = fly(with_faults(rig, a_fault(kind)))
    errors = flown.score["link_errors"]
    assert errors["unexplained_bytes"] == errors["unexplained_frames"] == 0
    assert errors["dropped_bytes"] == errors["dropped_records"] == errors["dropped_hash_bytes"] == 0
    assert errors["stray_done"] == errors["retransmissions"] == 0
    assert not flown.score["absent_boards"]
    (report,) = flown.score["faults"]
    fault = a_fault(kind)
    assert (report["kind"], report["board"], report["begun_s"]) == (kind.name, "node1", fault.at_s)
    assert report["lifted_s"] == fault.at_s + fault.for_s
    assert report["hits"] > 0


@pytest.mark.parametrize("kind", ON_BOARDS, ids=ids(ON_BOARDS))
def test_it_leaves_the_other_boards_alone(rig: Rig, kind: Kind) -> None:
    clean, flown = fly(rig), fly(with_faults(rig, a_fault(kind)))
    for heard, expected in zip(flown.heard, clean.heard, strict=True):
        assert {b: x for b, x in heard.items() if b in (1, 3)} == {b: x for b, x in expected.items() if b in (1, 3)}


SEEDED = [kind for kind in EVERYWHERE if kind.rate is not None or kind.name in ("garbage", "noise")]


@pytest.mark.parametrize("kind", SEEDED, ids=ids(SEEDED))
def test_the_seed_decides(rig: Rig, kind: Kind) -> None:
    rate = None if kind.rate is None else 0.02 if kind.name == "flip" else 0.5
    faulty = with_faults(rig, a_fault(kind, rate=rate))
    again, other = fly(faulty), fly(replace(faulty, seed=rig.seed + 1))
    assert again == fly(faulty)
    clean = replace(rig, seed=rig.seed + 1)
    assert [heard.get(NODE1) for heard in other.heard] != [heard.get(NODE1) for heard in again.heard] or (
        other.links["node1"]["tx_bytes"] - fly(clean).links["node1"]["tx_bytes"]
        != again.links["node1"]["tx_bytes"] - fly(rig).links["node1"]["tx_bytes"]
    )


def test_the_same_bytes_whatever_runs_at_once(rig: Rig) -> None:
    faults = [Fault("reset", 1.0, board="node0"), Fault("boot_loop", 2.0, 5.0, board="node1", value=0.7)]
    faults += [
        Fault("noise", 0.55, 6.0, board="nodes", sensor="die_cdeg", value=90),
        Fault("hang", 3, 2, board="power"),
    ]
    faulty = with_faults(rig, *faults)

    def quiet(batch: int) -> str:
        with World(faulty) as world:
            while world.tick < TICKS:
                world.run(min(batch, TICKS - world.tick))
            return world.bus_sha256()

    assert len({quiet(1), quiet(7), quiet(TICKS)}) == 1


# ---------------------------------------------------------------- links
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("kind", names(LINK))
def test_every_byte_on_a_faulty_line_is_accounted_for(rig: Rig, kind: str, direction: str) -> None:
    """The talker's script does not depend on what it hears, so a run without the fault says what was sent."""
    (found,) = [k for k in KINDS if k.name == kind]
    rate = {"flip": 0.01}.get(kind, 0.4) if found.rate is not None else None
    fault = a_fault(found, direction=direction, rate=rate)
    clean, flown = fly(rig), fly(with_faults(rig, fault))
    (report,) = flown.score["faults"]
    gained = flown.links["node1"]["tx_bytes"] - clean.links["node1"]["tx_bytes"]
    if direction != "to_board":
        sent = flown.links["node1"]["rx_bytes"] - clean.links["node1"]["rx_bytes"]  # by the board, at the bench's tap
        gained += flown.heard_of(NODE1) - clean.heard_of(NODE1) - sent
    assert gained == report["bytes_added"] - report["bytes_lost"]
    assert report["hits"] > 0
    damaged = flown.score["link_errors"]["damaged_at_board"]
    assert (damaged > 0) == (kind in ("flip", "truncate", "insert") and direction != "from_board")
    assert flown.score["link_errors"]["damaged_received"] == 0, "TICK and DONE are never touched"


def test_delayed_frames_come_later_in_their_order(rig: Rig) -> None:
    fault = Fault("delay", AT_S, FOR_S, board="node1", value=0.4, direction="from_board")
    clean, flown = fly(rig), fly(with_faults(rig, fault))
    assert b"".join(h.get(NODE1, b"") for h in flown.heard) == b"".join(h.get(NODE1, b"") for h in clean.heard)
    for tick in range(11, 97):
        assert flown.heard[tick + 4 - 1].get(NODE1) == clean.heard[tick - 1].get(NODE1)
    assert flown.heard[9] == clean.heard[9]
    assert not any(NODE1 in flown.heard[tick - 1] for tick in range(11, 15))


def test_a_stall_ends_with_everything_at_once(rig: Rig) -> None:
    fault = Fault("stall", AT_S, FOR_S, board="node1", direction="from_board")
    clean, flown = fly(rig), fly(with_faults(rig, fault))
    assert not any(NODE1 in flown.heard[tick - 1] for tick in range(11, 101))
    assert flown.heard[100][NODE1] == b"".join(h.get(NODE1, b"") for h in clean.heard[10:101])
    assert flown.heard[101] == clean.heard[101]


def test_a_line_holds_only_so_much(rig: Rig) -> None:
    with World(rig) as world:
        talker = Talker(rig.nodes)
        fault = world.fault("stall", board="power", direction="from_board")
        for _ in range(4000):
            world.step(talker)
        world.lift(fault)
        for _ in range(20):
            world.step(talker)
        (report,) = world.score()["faults"]
        assert report["bytes_lost"] > 0
        assert not any(world.score()["link_errors"].values())
        largest = max(len(heard.get(0, b"")) for heard in talker.heard)
        assert 7_000 < largest <= 8_192
        assert talker.heard[-1].get(0, b"") == b"" or len(talker.heard[-1][0]) < 1000


def test_several_faults_share_a_line(rig: Rig) -> None:
    faults = [
        Fault("duplicate", 1.0, 9.0, board="node1"),
        Fault("drop", 2.0, 5.0, board="node1", rate=0.5),
        Fault("delay", 3.0, 4.0, board="node1", value=0.2),
    ]
    flown = fly(with_faults(rig, *faults), "mock")
    assert flown == fly(with_faults(rig, *faults), "process")
    assert [report["kind"] for report in flown.score["faults"]] == ["duplicate", "drop", "delay"]
    assert flown.score["link_errors"]["unexplained_bytes"] == 0


# ---------------------------------------------------------------- sensors
def test_a_sensor_lies_to_its_board_and_the_plant_does_not_hear_of_it(rig: Rig) -> None:
    with World(rig) as world:
        talker = Talker(rig.nodes)
        for _ in range(30):
            world.step(talker)
        world.fault("wrong", board="node1", sensor="die_cdeg", value=6500, for_s=2.0)
        for _ in range(40):
            world.step(talker)
        told = [icd.decode("node_tlm", p)["die_cdeg"] for p in talker.of_type("node_tlm", NODE1)]
        assert world.plant.node_out[1].die_c < 30
    assert 6500 in told
    assert told[0] != 6500
    assert told[-1] != 6500


def test_pages_of_channels_and_strings_are_reached(rig: Rig) -> None:
    with World(rig) as world:
        talker = Talker(rig.nodes)
        world.fault("wrong", board="power", sensor="channel_mean_ma", index=2, value=777)
        world.fault("wrong", board="power", sensor="string_ma", index=1, value=0)
        for _ in range(30):
            world.step(talker)
        pages = [icd.decode("power_channels", p) for p in talker.of_type("power_channels", 0)]
        hits = [report["hits"] for report in world.score()["faults"]]
    assert hits[0] == 30
    assert hits[1] in (3, 4), "a page of strings every second, and one after the boot"
    assert pages == [] or all(row["mean_ma"] in (0, 777) for page in pages for row in page["channels"])


# ---------------------------------------------------------------- boards
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


# ---------------------------------------------------------------- lifted at the end
def test_everything_is_lifted_when_the_world_ends(rig: Rig) -> None:
    faults = [
        a_fault(kind, for_s=0.0)
        for kind in KINDS
        if (kind.on, kind.name)
        in ((LINK, "drop"), (LINK, "stall"), (SENSOR, "stuck"), (PLANT, "string_open"), (BOARD, "off"))
    ]
    world = World(with_faults(rig, *faults))
    for _ in range(30):
        world.step(None)
    assert [report["lifted_s"] for report in world.score()["faults"]] == [None] * 5
    world.close()
    assert [report["lifted_s"] for report in world.score()["faults"]] == [3.0] * 5


def test_a_fault_may_be_lifted_early_and_twice(rig: Rig) -> None:
    talker = Talker(rig.nodes)
    with World(rig) as world:
        active = world.fault("disconnect", board="node1", for_s=5.0)
        for _ in range(10):
            world.step(talker)
        world.lift(active)
        world.lift(active)
        for _ in range(90):
            world.step(talker)
        assert active.lifted_us == 1_000_000
        again = world.fault("disconnect", board="node1")
        with pytest.raises(WorldError, match="node1 is disconnect already"):
            world.fault("disconnect", board="node1")
        world.fault("disconnect", board="node2")
        world.lift_kind("disconnect", board="node1")
        assert again.lifted_us == world.t_us
    assert NODE1 not in talker.heard[5]
    assert NODE1 in talker.heard[12]


# ---------------------------------------------------------------- refused
REFUSED = [
    (
        Fault("bit_flip", 1, board="node1"),
        "fault[0].kind: a board on process: cannot do bit_flip, expected one of off, reset, hang, brown_out, boot_loop",
    ),
    (Fault("nvm_cut", 1, board="all"), "fault[0].kind: a board on process: cannot do nvm_cut, expected"),
]


@pytest.mark.parametrize(("fault", "message"), REFUSED, ids=[f.kind for f, _ in REFUSED])
def test_what_a_back_end_cannot_do_is_refused_at_load(rig: Rig, fault: Fault, message: str) -> None:
    with_faults(rig, fault).checked()
    with pytest.raises(RigError) as error:
        with_faults(rig, fault).with_backend("process")
    assert message in str(error.value)


def test_a_write_cannot_be_cut_in_a_board_behind_a_link(rig: Rig) -> None:
    with World(rig, opener=open_link) as world, pytest.raises(WorldError, match="node1 is not in this process"):
        world.fault("nvm_cut", board="node1")


def test_a_group_is_for_rig_files(tmp_path: Path) -> None:
    faulty = small_rig(tmp_path, '[[fault]]\nkind = "drop"\nat_s = 1\nboard = "nodes"\nrate = 0.5\n')
    assert [f.board for f in faulty.faults] == ["node0", "node1", "node2"]
    talker = Talker(3)
    with World(faulty) as world:
        for _ in range(100):
            world.step(talker)
    silent = {tuple(node + 1 in heard for heard in talker.heard) for node in range(3)}
    assert len(silent) == 3, "each has its own chance"
    with World(faulty) as world, pytest.raises(WorldError, match="'all' is for rig files, expected one board"):
        world.fault("drop", board="all")
