"""Rig and satellite files: what ships loads, and every mistake gets one clear line that names file, key and range."""

from __future__ import annotations

from pathlib import Path

import pytest

from ground.scripts import demo
from hal.errors import RigError
from hal.identity import expected_board
from hal.rig import SHIPPED, load_rig
from hal.satellite import SHIPPED as SATELLITES
from hal.satellite import load_satellite

RIG = """
name = "test"
satellite = "demo"
[orbit]
tle = "sentinel-1a.tle"
[boards.power]
link = "mock:"
[boards.nodes]
link = "mock:"
"""
ORBIT = 'tle = "sentinel-1a.tle"'
NODES = '[boards.nodes]\nlink = "mock:"'


@pytest.mark.parametrize("name", sorted(p.stem for p in SHIPPED.glob("*.toml")))
def test_every_rig_that_ships_loads(name: str) -> None:
    rig = load_rig(name)
    assert rig.name == name
    assert [b.index for b in rig.boards] == list(range(rig.nodes + 1))
    assert rig.boards[0].role == "power"
    assert rig.timeline
    assert list(rig.timeline) == sorted(rig.timeline, key=lambda e: e.at_s)


def test_the_demo_rig_flies_the_steps_of_the_demo_script() -> None:
    entries = load_rig("demo").timeline
    assert (entries[0].command, entries[0].args) == ("node_on", {"node": 65535})
    assert [tuple(e.args.values()) for e in entries[1:]] == [
        (job_id, workload, priority, work * 1000, checkpoint_s)
        for job_id, workload, priority, work, checkpoint_s in demo.JOBS
    ]


@pytest.mark.parametrize("name", sorted(p.stem for p in SATELLITES.glob("*.toml")))
def test_every_satellite_that_ships_loads(name: str) -> None:
    assert load_satellite(name).name == name


def test_one_board_may_have_a_link_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "rig.toml"
    path.write_text(RIG + '[boards.node3]\nlink = "serial:066DFF54?baud=1000000"\n')
    rig = load_rig(str(path))
    assert rig.boards[4].link == "serial:066DFF54?baud=1000000"
    assert {b.backend for b in rig.boards if b.role != "node3"} == {"mock"}
    assert {b.backend for b in rig.with_backend("process").boards} == {"process"}


def test_repeat_counts_arguments_up(tmp_path: Path) -> None:
    path = tmp_path / "rig.toml"
    path.write_text(
        RIG + '[[timeline]]\nat_s = 10\ncommand = "job_submit"\nargs = { job_id = 7, priority = 1 }\n'
        'repeat = 3\nevery_s = 2.0\ncount_up = ["job_id"]\n[[timeline]]\nat_s = 11\ncommand = "ping"\n'
    )
    entries = load_rig(str(path)).timeline
    assert [(e.at_s, e.command, e.args.get("job_id")) for e in entries] == [
        (10, "job_submit", 7),
        (11, "ping", None),
        (12, "job_submit", 8),
        (14, "job_submit", 9),
    ]


# What is added to the rig (or replaced in it), and what the one line must say.
OFF = '[[fault]]\nkind = "off"\nat_s = {at_s}\nfor_s = {for_s}\nboard = "node1"\n'

MISTAKES = [
    (("name =", "nane ="), "nane: unknown key, expected one of boards, fault, "),
    (('satellite = "demo"', ""), "satellite: missing, expected a string"),
    (('satellite = "demo"', 'satellite = "dmo"'), "satellite 'dmo': none of that name ships, expected one of"),
    (('satellite = "demo"', 'satellite = "my.toml"'), "my.toml: no such satellite file"),
    (('name = "test"', 'name = "test'), "malformed TOML: "),
    (('name = "test"', "name = 3"), "name: expected a string, got 3"),
    (('name = "test"', 'name = "t"\ntick_s = 60.0'), "tick_s: 60 is out of range, expected a number from 0.01 to 2 s"),
    (
        ('name = "test"', 'name = "t"\ntick_s = 0.0123'),
        "tick_s: 0.0123 is out of range, expected 0.01 to 2 s in whole",
    ),
    (('name = "test"', 'name = "t"\ntick_s = nan'), "tick_s: expected a number from 0.01 to 2 s, got nan"),
    (('name = "test"', 'name = "t"\nseed = 1.5'), "seed: expected an integer from 0 to 9.22337e+18, got 1.5"),
    (('name = "test"', 'name = "t"\nseed = true'), "seed: expected an integer"),
    ((ORBIT, 'tle = "other.tle"'), "orbit.tle: no such file 'other.tle'"),
    ((ORBIT, ""), "orbit: expected either tle or altitude_km, and not both"),
    ((ORBIT, "altitude_km = 100"), "orbit.altitude_km: 100 is out of range, expected a number from 160 to 36000 km"),
    ((ORBIT, "altitude_km = 550"), "orbit: expected either inclination_deg or sun_synchronous"),
    ((ORBIT, "altitude_km = 550\ninclination_deg = 30"), "orbit.ltan_h: missing, expected beside altitude_km"),
    (('[boards.power]\nlink = "mock:"', ""), "boards.power: missing, expected a table"),
    ((NODES, ""), "boards.node0: missing, expected a table of its own or a default"),
    (("[boards.nodes]", "[boards.nodez]"), "boards.nodez: unknown key, expected power, nodes, or node0 .. node15"),
    (("[boards.nodes]", "[boards.node16]"), "boards.node16: out of range, the satellite has node0 .. node15"),
    ((NODES, '[boards.nodes]\nlink = "mok:"'), "link 'mok:': unknown back end, expected one of mock:"),
    (
        (NODES, '[boards.nodes]\nlink = "serial:"'),
        "link 'serial:': names no USB-SERIAL-NUMBER, expected serial:USB-SERIAL-NUMBER",
    ),
    (
        '[boards.node1]\nlink = "serial:AB"\nhardware_id = "12AB"',
        "boards.node1.hardware_id: hardware id '12AB', expected 24 hexadecimal digits",
    ),
    (
        f'[boards.node1]\nlink = "mock:"\nhardware_id = "{"12" * 12}"',
        "boards.node1.hardware_id: the world makes a board on mock:, expected none",
    ),
    (
        (NODES, f'[boards.nodes]\nlink = "mock:"\nhardware_id = "{"12" * 12}"'),
        "boards.nodes.hardware_id: is of one board, expected it in a table [boards.nodeI]",
    ),
    (
        "".join(f'[boards.node{i}]\nlink = "serial:AB{i}"\nhardware_id = "{"12" * 12}"\n' for i in range(2)),
        "boards: two boards have the hardware id 121212121212121212121212, expected one each",
    ),
    (
        '[boards.node1]\nlink = "serial:AB"\nflash = "magic:1"',
        "boards.node1.flash: 'magic:1': unknown program, expected one of openocd:, st-flash:, dfu:, stm32loader:",
    ),
    (
        '[boards.node1]\nlink = "mock:"\nflash = "dfu:1"',
        "boards.node1.flash: the world makes a board on mock:, expected none",
    ),
    (
        (NODES, '[boards.nodes]\nlink = "mock:"\nflash = "dfu:1"'),
        "boards.nodes.flash: is of one board, expected it in a table [boards.nodeI]",
    ),
    (
        f'[boards.node1]\nlink = "hardware:{"ab" * 12}"\nhardware_id = "{"cd" * 12}"',
        f"boards.node1.hardware_id: {'cd' * 12} is not that of the link, expected one of the two",
    ),
    (
        '[boards.node1]\nlink = "process:"\nimage = "node.elf"',
        "boards.node1.image: a board on process: runs no image, expected none",
    ),
    ((NODES, '[boards.nodes]\nlink = "serial:AB"'), "two boards share the link 'serial:AB', expected a port each"),
    ('[[fault]]\nkind = "off"\nat_s = 1\nboard = "node99"', "fault[0].board: no board 'node99', expected power, node0"),
    ('[[fault]]\nkind = "explode"\nat_s = 1', "fault[0].kind: 'explode' cannot be injected, expected one of off, "),
    ('[[fault]]\nkind = "string_open"\nat_s = 1\nindex = 16', "fault[0].index: 16 is out of range, expected 0 to 15"),
    ('[[fault]]\nkind = "overdraw"\nat_s = 1\nboard = "node1"', "fault[0].board: a fault of the plant has an index"),
    ('[[fault]]\nkind = "hang"\nat_s = -1', "fault[0].at_s: -1 is out of range, expected a number from 0 to 1e+09 s"),
    (
        '[boards.node1]\nlink = "serial:AB"\n[[fault]]\nkind = "off"\nat_s = 1\nboard = "node1"',
        "fault[0].kind: a board on serial:AB cannot do off, expected one of hang",
    ),
    (
        OFF.format(at_s=9, for_s=0) + OFF.format(at_s=1, for_s=8),
        "fault: node1 is off already at 9 s, expected apart in time",
    ),
    ('[[timeline]]\ncommand = "ping"', "timeline[0].at_s: missing, expected a number from 0 to 1e+09 s"),
    (
        '[[timeline]]\nat_s = 1\ncommand = "ping"\ncount_up = ["node"]',
        "timeline[0].count_up: 'node' is not an integer argument of ping",
    ),
]


@pytest.mark.parametrize(("change", "message"), MISTAKES, ids=[m for _, m in MISTAKES])
def test_a_mistake_gets_one_clear_line(change: str | tuple[str, str], message: str, tmp_path: Path) -> None:
    text = RIG + change if isinstance(change, str) else RIG.replace(*change)
    assert text != RIG
    path = tmp_path / "rig.toml"
    path.write_text(text)
    with pytest.raises(RigError) as error:
        load_rig(str(path))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_rig_is_named() -> None:
    with pytest.raises(RigError, match=r"nowhere\.toml: no such rig file"):
        load_rig("nowhere.toml")
    with pytest.raises(RigError, match="rig 'nowhere': none of that name ships, expected one of "):
        load_rig("nowhere")


SATELLITE_MISTAKES = [
    (("strings = 16", "strings = 65"), "array.strings: 65 is out of range, expected an integer from 1 to 64"),
    (("count = 16", "count = 2000"), "node.count: 2000 is out of range, expected an integer from 1 to 1024"),
    (("soc_floor = 0.20", "soc_floor = 1.0"), "battery.soc_floor: inconsistent, expected below battery.soc_limit"),
    (("uvlo_v = 72.0", "uvlo_v = 75.0"), "bus.uvlo_v: inconsistent, expected not above bus.undervoltage_v"),
    (("shed_tiers = [1, 2]", "shed_tiers = [1, 9]"), "node.shed_tiers[1]: 9 is out of range, expected 1 to 2, or 255"),
    (
        ("shed_tiers = [1, 2]", 'shed_tiers = "all"'),
        "node.shed_tiers: expected an array of 1 to 1024 entries, got 'all'",
    ),
    (("[thermal]", "[thermals]"), "thermals: unknown key, expected one of array, battery, bus, "),
    (("soc_leave = 0.40", "soc_leave = 0.10"), "shed[0].soc_leave: 0.1, expected above soc_enter 0.3"),
    (("clock = [0.0, 0.349, ", "clock = [0.0, 0.949, "), "workload[1].clock: expected one for each share"),
    (("clock = [0.0, 0.0, 0.0, ", "clock = [0.0, "), "workload[2].clock: expected one for each share"),
]


@pytest.mark.parametrize(("change", "message"), SATELLITE_MISTAKES, ids=[m for _, m in SATELLITE_MISTAKES])
def test_a_mistake_in_a_satellite_gets_one_clear_line(change: tuple[str, str], message: str, tmp_path: Path) -> None:
    text = (SATELLITES / "demo.toml").read_text()
    assert change[0] in text
    (tmp_path / "mine.toml").write_text(text.replace(*change))
    with pytest.raises(RigError) as error:
        load_satellite("mine.toml", beside=tmp_path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_what_a_board_has_to_prove(tmp_path: Path) -> None:
    text = RIG + f'[boards.node1]\nlink = "serial:AB"\nhardware_id = "{"aB" * 12}"\nimage = "mine.elf"\n'
    (tmp_path / "rig.toml").write_text(text + '[boards.node2]\nlink = "serial:CD"\nimage = "none"\n')
    rig = load_rig(str(tmp_path / "rig.toml"))
    power, node1, node2 = (expected_board(rig, rig.boards[i]) for i in (0, 2, 3))
    assert (power.image, len(power.hardware_id)) == (None, 12)
    assert (node1.image, node1.hardware_id) == (tmp_path / "mine.elf", bytes.fromhex("ab" * 12))
    assert (node2.image, node2.hardware_id) == (None, b"")
    assert expected_board(rig, rig.boards[1]).hardware_id != power.hardware_id
    assert (node1.role, node1.address, node1.rig) == ("node1", 257, str(tmp_path / "rig.toml"))
