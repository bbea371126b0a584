"""The emulated microcontroller: pausing and snapshots change nothing, what is stuck is reset by the watchdog, and a
program that has gone astray does no harm outside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from unicorn import arm_const as arm

from hal import frames, icd
from hal.backends.unicorn import HANG_INSTRUCTIONS, UnicornLine, open_link
from hal.cortexm import CortexM
from hal.errors import LinkDownError, LinkError, WorldError
from hal.images import image_of
from hal.link import Board, parse_url

ADDRESS = 256
CAUSE = icd.ResetCause
FOR_EVER, UNDEFINED = b"\xfe\xe7", b"\x00\xde"
"""Instructions: a branch to itself, and one that will never be defined."""
IN_FUNCTION = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)


def tick(k: int) -> bytes:
    sensors = {"bus_mv": 90_000, "mean_ma": 1000, "min_ma": 900, "max_ma": 1100, "ecc_corrected": 0}
    sensors |= {"die_cdeg": 3000, "hbm_cdeg": 3000, "coolant_cdeg": 2000, "ecc_uncorrected": 0, "accel_state": 2}
    more = {"dt_us": 100_000, "heartbeat": k, "work_mu": 100 * k}
    return frames.encode("tick_node", icd.Address.BENCH, ADDRESS, k & 0xFFFF, 100_000 * k, **sensors, **more)


@pytest.fixture
def line(tmp_path: Path) -> Iterator[UnicornLine]:
    """A node that has taken one TICK and counts its instructions."""
    nvm = tmp_path / "node.nvm"
    nvm.write_bytes(b"\xff" * 4096)
    image = image_of(icd.BoardKind.COMPUTE_NODE)
    opened = open_link(parse_url("unicorn:"), Board("node0", 2, ADDRESS, bytes(12), nvm, image))
    assert isinstance(opened, UnicornLine)
    core(opened).limit(HANG_INSTRUCTIONS)
    opened.send(tick(1))
    opened.recv()
    yield opened
    opened.close()


def core(line: UnicornLine) -> CortexM:
    assert line.machine is not None
    return line.machine


def patch(machine: CortexM, name: str, code: bytes) -> bytes:
    """Puts other code where a function begins. Returns what was there."""
    at = machine.elf.symbols[name][0] & ~1
    was = bytes(machine.uc.mem_read(at, len(code)))
    machine.uc.mem_write(at, code)
    machine.uc.ctl_flush_tb()
    return was


def heard(line: UnicornLine) -> list[frames.Frame]:
    return list(frames.decode(line.recv()))


def hello_causes(line: UnicornLine) -> list[int]:
    return [f.fields()["reset_cause"] for f in heard(line) if f.name == "hello"]


def test_injected_bit_flips_are_in_the_state_and_repeat_by_their_seed(line: UnicornLine) -> None:
    machine = core(line)
    at, size = machine.elf.symbols["board"]
    before = machine.snapshot()

    def flipped(seed: int) -> list[int]:
        machine.restore(before)
        line.inject("bit_flip", 20, seed)
        pairs = zip(before.ram, machine.snapshot().ram, strict=True)
        return [i for i, (a, b) in enumerate(pairs) if a != b]

    found = flipped(1)
    assert 15 < len(found) <= 20
    assert all(0 <= i - (at - 0x2000_0000) < size for i in found)
    assert flipped(1) == found != flipped(2)
    with pytest.raises(WorldError, match="nvm_cut cannot be injected"):
        line.inject("nvm_cut", 1, 1)


@IN_FUNCTION
@given(stretch=st.integers(0, 3), after=st.integers(1, 12_000))
def test_a_pause_anywhere_changes_nothing(line: UnicornLine, stretch: int, after: int) -> None:
    machine = core(line)
    before = machine.snapshot()
    line.send(tick(2))
    whole, end = line.recv(), machine.snapshot()
    machine.restore(before)
    line.chip.received.extend(tick(2))
    if not machine.run((stretch, after)):
        middle = machine.snapshot()
        machine.run()
        assert line.recv() == whole
        assert machine.snapshot().ram == end.ram
        machine.restore(middle)
    machine.run()
    assert line.recv() == whole
    assert machine.snapshot().ram == end.ram
    machine.restore(before)


@IN_FUNCTION
@given(damage=st.lists(st.tuples(st.integers(0, 0x3FFF), st.integers(0, 7)), min_size=1, max_size=40))
def test_a_snapshot_brings_everything_back(line: UnicornLine, damage: list[tuple[int, int]]) -> None:
    machine = core(line)
    before = machine.snapshot()
    line.send(tick(2))
    good = line.recv()
    machine.restore(before)
    for offset, bit in damage:
        machine.flip(0x2000_0000 + offset, bit)
    try:
        line.send(tick(2))
    except LinkDownError:
        line.machine = machine
    machine.restore(before)
    line.send(tick(2))
    assert line.recv() == good
    machine.restore(before)


def test_the_watchdog_resets_a_core_that_never_rests(line: UnicornLine) -> None:
    machine = core(line)
    was = patch(machine, "board_receive", FOR_EVER)
    line.send(tick(2))
    patch(machine, "board_receive", was)
    assert (machine.bites, machine.resets) == (1, 1)
    assert hello_causes(line) == [CAUSE.WATCHDOG]
    line.send(tick(3))
    assert [f.name for f in heard(line)][-1] == "done_node"
    assert machine.bites == 1


def test_the_watchdog_resets_a_core_that_is_locked_up(line: UnicornLine) -> None:
    machine = core(line)
    for name in ("crash", "board_receive"):
        patch(machine, name, UNDEFINED)
    line.send(tick(2))
    assert machine.bites == 1
    assert hello_causes(line) == [CAUSE.WATCHDOG]


def test_without_a_watchdog_a_stuck_board_is_gone(line: UnicornLine) -> None:
    machine = core(line)
    machine.limit(100)
    line.chip.watchdog = False
    with pytest.raises(LinkDownError, match="the firmware is stuck: no rest after 100 instructions"):
        line.send(tick(2))
    assert line.machine is None


def test_a_board_that_only_resets_is_gone(line: UnicornLine) -> None:
    for name in ("board_boot", "board_receive"):
        patch(core(line), name, FOR_EVER)
    with pytest.raises(LinkDownError, match="8 resets without a rest"):
        line.send(tick(2))


@pytest.mark.parametrize("stack", [0x3000_0000, 0x0800_1000, 0x0000_0010])
def test_a_crash_is_told_without_a_stack(line: UnicornLine, stack: int) -> None:
    machine = core(line)
    flash = bytes(machine.uc.mem_read(0x0800_0000, 0x8000))
    line.chip.received.extend(tick(2))
    assert not machine.run((1, 500))
    machine.uc.reg_write(arm.UC_ARM_REG_SP, stack)
    machine.uc.reg_write(arm.UC_ARM_REG_PC, 0x3000_0001)
    machine.run()
    crash, hello = heard(line)
    assert (crash.name, crash.fields()["exception"], crash.fields()["pc"]) == ("crash", 3, 0)
    assert hello.fields()["reset_cause"] == CAUSE.CRASH
    assert bytes(machine.uc.mem_read(0x0800_0000, 0x8000)) == flash


def test_a_wild_call_of_the_host_is_refused(line: UnicornLine) -> None:
    machine = core(line)
    host, content = machine.host, machine.host.content()
    block, wild = 0x2000_2000, 0x3000_0000
    for operation in (0x01, 0x05, 0x06, 0x0A, 0x15, 0x99):
        for words in ((wild,) * 3, (0, block, 0x7FFF_FFFF), (0, wild, 16)):
            machine.store(block, b"".join(w.to_bytes(4, "little") for w in words))
            assert host.call(machine, operation, block) >= -1
        assert host.call(machine, operation, wild) == -1
    assert len(host.content()) == len(content)


def test_a_flip_is_of_ram(line: UnicornLine) -> None:
    for address, bit in ((0x0800_0000, 0), (0x2000_0000, 8), (0x2002_0000, 0)):
        with pytest.raises(LinkError, match="is not in RAM"):
            line.flip(address, bit)
    assert not line.lossy
    line.flip(0x2000_0000, 3)
    assert line.lossy
