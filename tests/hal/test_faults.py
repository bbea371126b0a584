"""Every kind of fault in a world: the same bytes on every back end, every byte accounted for, lifted at the end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hal import icd
from hal.errors import RigError, WorldError
from hal.fault_kinds import BOARD, KINDS, LINK, PLANT, SENSOR, Fault, Kind, names
from hal.link import open_link
from hal.rig import Rig
from hal.world import World
from tests.hal.faulty import AT_S, FOR_S, NODE1, TICKS, Flown, a_fault, fly, ids, with_faults
from tests.hal.talker import Talker, small_rig
from tests.tools import NEEDS_QEMU

DIRECTIONS = ("to_board", "from_board", "both")


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return small_rig(tmp_path)


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
