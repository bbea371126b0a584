"""The controller of a compute node: states, faults, throttling, counters."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal._native import ffi, lib
from hal.icd import AccelCommand, AckCode, NodeFlag, NodeState, ResetCause
from tests.boards.accelerator import Node
from tests.boards.harness import COMPUTE_NODE, NODE_CONFIG, Board, events, one

FLOOR, LARGEST = NODE_CONFIG["floor_mw"], NODE_CONFIG["max_mw"]


def names(frames: list) -> list[str]:
    return [name for name, _, _ in events(frames)]


def test_before_a_configuration_everything_is_off():
    board = Board(COMPUTE_NODE)
    frames = board.tick()
    assert one(frames, "done_node").fields["command"] == AccelCommand.OFF
    assert one(frames, "done_node").fields["cap_mw"] == 0
    assert board.command("node_power", on=1) == AckCode.WRONG_STATE


def test_boot_takes_the_accelerators_time():
    node = Node()
    assert node.board.command("node_power", on=1) == AckCode.OK
    node.step()
    assert (node.tlm["state"], node.command, node.done["cap_mw"]) == (NodeState.BOOT, AccelCommand.BOOT, FLOOR)
    sent = node.run(1.1)
    (event,) = events(sent)
    assert event == ("node_boot_done", 1100, 0)
    assert (node.tlm["state"], node.command) == (NodeState.IDLE, AccelCommand.IDLE)


def test_boot_fails_after_twice_the_boot_time():
    node = Node(boot_us=60_000_000)
    node.board.command("node_power", on=1)
    sent = node.run(4.0)
    assert names(sent) == []
    assert names(node.run(0.3)) == ["node_boot_failed"]
    assert (node.tlm["state"], node.command) == (NodeState.FAULT, AccelCommand.OFF)
    assert node.board.command("node_power", on=1) == AckCode.WRONG_STATE
    assert node.board.command("node_power", on=0) == AckCode.OK
    assert node.board.command("node_power", on=1) == AckCode.OK
    node.accel.boot_us = 500_000
    node.run(1.5)
    assert node.tlm["state"] == NodeState.IDLE


def test_power_on_needs_the_input_voltage():
    node = Node()
    node.override = {"bus_mv": NODE_CONFIG["bus_min_mv"] - 1}
    node.step()
    assert node.flags & NodeFlag.BUS_ABSENT
    assert node.board.command("node_power", on=1) == AckCode.WRONG_STATE


def test_a_state_that_is_none_is_a_fault():
    node = ffi.new("struct compute_node *")
    lib.compute_node_init(node)
    assert lib.compute_node_configure(node, ffi.new("struct bus_node_config *", NODE_CONFIG)) == AckCode.OK
    sensors = ffi.new("struct bus_tick_node *", {"dt_us": 100_000, "bus_mv": NODE_CONFIG["bus_min_mv"]})
    lib.compute_node_step(node, 100_000, sensors)
    assert node.state == NodeState.OFF
    node.state = 200
    lib.compute_node_step(node, 200_000, sensors)
    assert (node.state, node.command) == (NodeState.FAULT, AccelCommand.OFF)


def test_off_and_on_again_is_a_real_power_cycle():
    node = Node()
    node.power_on()
    node.board.command("node_power", on=0)
    node.board.command("node_power", on=1)
    node.step()
    assert node.command == AccelCommand.OFF
    node.run(2.0)
    assert (node.accel.boots, node.tlm["state"]) == (2, NodeState.IDLE)


def test_input_lost_switches_off_and_keeps_the_job_at_its_checkpoint():
    node = Node()
    node.power_on()
    node.start_job()
    node.run(2.35)
    assert node.tlm["progress_mu"] > node.tlm["checkpoint_mu"] > 0
    checkpoint = node.tlm["checkpoint_mu"]
    node.override = {"bus_mv": 0}
    sent = node.step()
    assert names(sent) == ["node_power_lost"]
    assert (node.tlm["state"], node.tlm["progress_mu"], node.tlm["job_id"]) == (NodeState.OFF, checkpoint, 5)
    node.override = {}
    node.run(1.0)
    assert node.tlm["state"] == NodeState.OFF, "it comes back only when told"


def test_latch_up_cuts_the_accelerator_after_two_steps():
    node = Node()
    node.power_on()
    node.override = {"mean_ma": NODE_CONFIG["latch_up_ma"] + 1}
    assert names(node.step()) == []
    sent = node.step()
    assert names(sent) == ["node_latch_up"]
    assert (node.tlm["state"], node.command, node.done["cap_mw"]) == (NodeState.FAULT, AccelCommand.OFF, 0)
    assert node.flags & NodeFlag.LATCH_UP
    node.override = {}
    node.run(9.0)
    assert (node.tlm["state"], node.health["latch_ups"]) == (NodeState.FAULT, 1)
    node.board.command("node_power", on=0)
    node.step()
    assert node.tlm["state"] == NodeState.OFF
    assert not node.flags & NodeFlag.LATCH_UP


def test_a_single_step_of_high_current_is_no_latch_up():
    node = Node()
    node.power_on()
    for _ in range(5):
        node.override = {"mean_ma": 60_000}
        node.step()
        node.override = {}
        node.step()
    assert node.tlm["state"] == NodeState.IDLE


def test_told_off_before_its_first_step_it_goes_off_and_stays_off():
    """The controller was reset, and finds its accelerator up."""
    node = Node()
    node.power_on()
    node.board.boot(ResetCause.WATCHDOG)
    assert node.board.command("node_power", on=0) == AckCode.OK
    node.run(5.0)
    assert (node.tlm["state"], node.command, node.accel.boots) == (NodeState.OFF, AccelCommand.OFF, 1)


@pytest.mark.parametrize("dt_us", [10_000, 100_000, 1_000_000])
def test_a_hang_resets_the_accelerator_and_the_job_resumes(dt_us: int):
    node = Node()
    node.power_on()
    node.start_job(total_mu=10_000_000)
    node.run(3.5)
    node.accel.hang = 1
    sent = node.run(3.0, dt_us)
    assert names(sent)[0] == "node_hang"
    sent += node.run(4.0)
    assert names(sent) == ["node_hang", "node_boot_done"]
    assert (node.tlm["state"], node.accel.boots) == (NodeState.ACTIVE, 2)
    assert not node.flags & NodeFlag.HANG
    node.run(5.0)
    assert (node.health["hangs"], node.health["accel_resets"]) == (1, 1)


def test_a_hang_that_a_reset_does_not_clear_is_power_cycled():
    node = Node()
    node.power_on()
    node.start_job(total_mu=10_000_000)
    node.run(1.0)
    node.accel.hang = 2
    node.run(6.0)
    assert (node.tlm["state"], node.accel.boots, node.tlm["job_id"]) == (NodeState.ACTIVE, 2, 5)


def test_the_third_hang_in_a_row_is_a_fault():
    node = Node()
    node.power_on()
    for k in range(3):
        node.accel.hang = 1
        node.run(3.0)
        node.run(2.0)
        assert (node.tlm["state"] == NodeState.FAULT) == (k == 2)
    assert node.command == AccelCommand.OFF
    assert node.flags & NodeFlag.HANG


def test_hangs_far_apart_are_not_in_a_row():
    node = Node()
    node.power_on()
    for _ in range(5):
        node.accel.hang = 1
        node.run(5.0)
        node.run(61.0)
        assert node.tlm["state"] == NodeState.IDLE


def test_an_accelerator_that_reboots_by_itself_is_waited_for():
    node = Node()
    node.power_on()
    node.start_job(total_mu=10_000_000)
    node.run(2.45)
    checkpoint = node.tlm["checkpoint_mu"]
    node.accel.boot()
    node.step()
    assert (node.tlm["state"], node.tlm["progress_mu"]) == (NodeState.BOOT, checkpoint)
    node.run(1.5)
    assert (node.tlm["state"], node.tlm["job_id"]) == (NodeState.ACTIVE, 5)
    node.run(8.0)
    assert node.health["accel_resets"] == 1


@given(st.lists(st.tuples(st.integers(0, 60_000), st.integers(0, 60_000)), max_size=12))
def test_ecc_counters_wrap_without_loss(upsets: list[tuple[int, int]]):
    node = Node()
    node.accel.ecc_corrected = node.accel.ecc_uncorrected = 65_000
    node.power_on()
    for corrected, uncorrected in upsets:
        node.accel.ecc_corrected += corrected
        node.accel.ecc_uncorrected += uncorrected
        sent = node.step()
        assert names(sent) == (["node_ecc_uncorrected"] if uncorrected else [])
    node.run(10.0)
    assert node.health["ecc_corrected"] == sum(corrected for corrected, _ in upsets)
    assert node.health["ecc_uncorrected"] == sum(uncorrected for _, uncorrected in upsets)


@pytest.mark.parametrize(
    ("sensor", "limit", "flag"), [("die_cdeg", 8300, NodeFlag.THROTTLE_DIE), ("hbm_cdeg", 9500, NodeFlag.THROTTLE_HBM)]
)
def test_throttle_follows_either_temperature(sensor: str, limit: int, flag: int):
    node = Node()
    node.power_on()
    node.start_job(total_mu=10_000_000)
    last = None
    for seq, cdeg in enumerate(range(limit - 700, limit + 1, 20), start=1):
        lease = {"session": 1, "lease_seq": seq, "cap_mw": LARGEST, "clock_mhz": 0}
        node.board.send("lease", expiry_us=node.board.t_us + 3_000_000, **lease)
        node.override = {sensor: cdeg}
        node.step()
        cap = node.done["cap_mw"]
        below = limit - cdeg
        expected = LARGEST if below >= 150 else FLOOR + (LARGEST - FLOOR) * below // 150
        assert cap == expected
        assert bool(node.flags & flag) == (below < 150)
        assert last is None or cap <= last, "smooth and falling"
        last = cap
    assert cap == FLOOR
    node.step()
    assert node.flags & NodeFlag.OVER_TEMPERATURE
    node.override = {sensor: limit - 100}
    node.run(0.3)
    assert node.done["cap_mw"] == FLOOR, "latched until cooler by the hysteresis"
    node.override = {sensor: limit - 250}
    node.run(0.3)
    assert node.done["cap_mw"] > FLOOR
    assert not node.flags & NodeFlag.OVER_TEMPERATURE


def test_far_too_hot_is_held_in_reset_until_cool():
    node = Node()
    node.power_on()
    node.start_job(total_mu=10_000_000)
    node.override = {"die_cdeg": 8300 + 850}
    node.run(1.0)
    assert (node.tlm["state"], node.command) == (NodeState.HALTED, AccelCommand.RESET)
    node.override = {"die_cdeg": 8300 - 500}
    node.run(1.0)
    assert node.tlm["state"] == NodeState.HALTED
    node.override = {"die_cdeg": 8300 - 1100}
    node.run(3.0)
    assert node.tlm["state"] == NodeState.ACTIVE, "and goes on with its job"


def test_a_broken_temperature_sensor_means_the_floor():
    node = Node()
    node.power_on()
    node.board.send("lease", session=1, lease_seq=1, cap_mw=LARGEST, expiry_us=9_000_000, clock_mhz=0)
    node.override = {"die_cdeg": -32_768}
    node.run(1.0)
    assert node.done["cap_mw"] == LARGEST, "a few samples are bridged"
    node.run(0.3)
    assert node.done["cap_mw"] == FLOOR


def test_drawing_above_the_cap_locks_the_clock_lower_until_it_fits():
    node = Node()
    node.power_on()
    node.start_job(total_mu=10_000_000)
    node.board.send("lease", session=1, lease_seq=1, cap_mw=300_000, expiry_us=90_000_000, clock_mhz=0)
    node.step()
    node.override = {"mean_ma": 4000}  # 384 W
    node.run(0.3)
    assert node.done["clock_mhz"] == 0
    node.run(0.2)
    assert node.flags & NodeFlag.OVER_CAP
    first = node.done["clock_mhz"]
    assert 0 < first < 1980
    node.run(0.5)
    assert 0 < node.done["clock_mhz"] < first
    node.override = {"mean_ma": 2000}
    node.run(60.0)
    assert node.done["clock_mhz"] == 0
    assert not node.flags & (NodeFlag.OVER_CAP | NodeFlag.CLOCK_LOCKED)


def test_a_draw_near_the_cap_is_left_alone():
    node = Node()
    node.power_on()
    node.start_job(total_mu=10_000_000)
    node.board.send("lease", session=1, lease_seq=1, cap_mw=300_000, expiry_us=90_000_000, clock_mhz=0)
    node.override = {"mean_ma": 3270}  # 314 W: within 5 %
    node.run(5.0)
    assert not node.flags & NodeFlag.OVER_CAP


def test_telemetry_every_200_ms_and_at_once_on_news():
    node = Node()
    node.power_on()
    times = [frame.t_us for frame in node.run(4.0) if frame.name == "node_tlm"]
    assert {b - a for a, b in itertools.pairwise(times)} == {200_000}
    node.run(0.1 if (node.board.t_us - times[-1]) else 0.0)
    node.board.send("lease", session=1, lease_seq=1, cap_mw=300_000, expiry_us=90_000_000, clock_mhz=0)
    assert one(node.step(), "node_tlm").fields["lease_seq"] == 1
    node.board.send("lease", session=1, lease_seq=2, cap_mw=300_000, expiry_us=90_000_000, clock_mhz=0)
    assert one(node.step(), "node_tlm").fields["lease_seq"] == 2


@pytest.mark.parametrize(
    "wrong",
    [{"floor_mw": 900_000}, {"latch_up_ma": 0}, {"clock_max_mhz": 0}, {"boot_ms": 999}, {"hang_ms": 70_000}],
    ids=str,
)
def test_a_wrong_configuration_changes_nothing(wrong: dict[str, int]):
    node = Node()
    node.board.command_seq = 2
    frames = node.board.receive(node.board.wire_of("node_config", _config_payload(NODE_CONFIG | wrong)))
    assert one(frames, "ack").fields["code"] == AckCode.OUT_OF_RANGE
    node.power_on()
    assert node.done["cap_mw"] == FLOOR


def _config_payload(values: dict[str, int]) -> bytes:
    """By the C encoder for what the ICD allows, by hand for what it does not."""
    widths = {
        "floor_mw": 4,
        "max_mw": 4,
        "boot_ms": 4,
        "clock_max_mhz": 2,
        "die_limit_cdeg": 2,
        "hbm_limit_cdeg": 2,
        "bus_min_mv": 4,
        "latch_up_ma": 2,
        "hang_ms": 4,
    }
    head = (1).to_bytes(4, "little") + (2).to_bytes(4, "little")
    return head + b"".join(values[name].to_bytes(n, "little") for name, n in widths.items())


def test_the_step_alone_is_a_function_of_its_inputs():
    """Two states, the same inputs: the same outputs and the same bytes, whatever was before in memory."""
    nodes = [ffi.new("struct compute_node *"), ffi.new("struct compute_node *")]
    ffi.buffer(nodes[1])[:] = b"\xee" * ffi.sizeof("struct compute_node")
    config = ffi.new("struct bus_node_config *", NODE_CONFIG)
    for node in nodes:
        lib.compute_node_init(node)
        assert lib.compute_node_configure(node, config) == 0
        sensors = ffi.new("struct bus_tick_node *", {"dt_us": 100_000, "bus_mv": 96_000, "mean_ma": 100})
        for k in range(1, 20):
            lib.compute_node_step(node, k * 100_000, sensors)
    assert ffi.buffer(nodes[0])[:] == ffi.buffer(nodes[1])[:]
