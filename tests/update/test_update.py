"""An update from end to end, against a board with flash: resumed, repeated, refused, tried, gone back from."""

from __future__ import annotations

import random

import pytest

from hal.errors import UpdateError
from hal.icd import BoardKind, ImageSlot, SlotState
from hal.talk import Talk
from hal.update import Progress, Updater
from tests.update.device import ADDRESS, Device, DeviceLink, make_image, pair, talk, updater

OLD, NEW = pair(1), pair(2, 3001)


def factory() -> Device:
    device = Device(OLD[0])
    assert device.power_on() == ImageSlot.A
    return device


def test_a_new_image_is_tried_and_confirmed():
    device = factory()
    stages: list[Progress] = []
    result = Updater(talk(device), "node0", stages.append).run(NEW)
    assert (result.changed, result.slot, result.image.version, result.resumed_at, result.repeated) == (
        True,
        "b",
        2,
        0,
        0,
    )
    assert device.running == ImageSlot.B
    assert device.running_image() == NEW[1].data
    assert not device.on_trial
    assert device.busy_frames == 1  # the board says that it is busy while its slot is erased
    assert device.violations == 0
    assert device.power_cycle() == ImageSlot.B
    assert [stage.stage for stage in stages if stage.offset in (0, 3001)] == [
        "erase",
        "transfer",
        "transfer",
        "boot",
        "confirm",
    ]
    offsets = [stage.offset for stage in stages if stage.stage == "transfer"]
    assert offsets == sorted(offsets)


def test_updates_alternate_between_the_slots():
    device = factory()
    for version in range(2, 40):  # the logs are full several times
        assert updater(device).run(pair(version)).slot == "ba"[version % 2]
        assert device.running_image() == pair(version)[device.running].data
    assert device.violations == 0


def test_an_image_that_runs_already_is_left_alone():
    device = factory()
    before = device.memory()
    result = updater(device).run(OLD)
    assert (result.changed, result.slot) == (False, "a")
    assert device.memory() == before


def test_an_unconfirmed_image_is_gone_back_from():
    device = factory()
    u = updater(device)
    hello = u.hello()
    u.status()
    u.transfer(NEW[1])
    assert u.boot(hello).image_crc == NEW[1].crc
    assert device.on_trial
    assert device.power_cycle() == ImageSlot.A
    status = updater(device).status()
    assert (status["state_a"], status["state_b"]) == (SlotState.CONFIRMED, SlotState.REJECTED)
    # A second attempt needs no bytes: they are there.
    assert updater(device).run(NEW).resumed_at == len(NEW[1].data)
    assert device.running == ImageSlot.B


def test_an_image_that_hangs_is_ended_and_said():
    device = factory()
    link = DeviceLink(device)

    def hangs(data: bytes) -> bool:
        """The new image takes nothing, until its watchdog ends it at the third word to it."""
        if not device.on_trial:
            return False
        nonlocal words
        words += 1
        if words == 3:
            device.power_cycle()
        return True

    words = 0
    link.lost_to = hangs
    with pytest.raises(UpdateError, match=r"node0: went back to image [0-9a-f]{8} \(version 1\): version 2.*not start"):
        Updater(Talk(link, ADDRESS), "node0").run(NEW)
    assert device.running == ImageSlot.A


def test_a_host_that_died_before_it_confirmed_goes_on_with_the_trial():
    device = factory()
    u = updater(device)
    hello = u.hello()
    u.status()
    u.transfer(NEW[1])
    u.boot(hello)
    result = updater(device).run(NEW)
    assert (result.changed, result.slot) == (True, "b")
    assert not device.on_trial


def test_another_image_is_refused_while_one_is_on_trial():
    device = factory()
    u = updater(device)
    hello = u.hello()
    u.status()
    u.transfer(NEW[1])
    u.boot(hello)
    before = device.memory()
    with pytest.raises(UpdateError, match="which nobody has confirmed"):
        updater(device).run(pair(3))
    with pytest.raises(UpdateError, match=r"does not take .*: not_confirmed"):
        updater(device).transfer(make_image(0, 3))
    assert device.memory() == before


@pytest.mark.parametrize("seed", range(20))
def test_lost_frames_cost_time_only(seed: int):
    device = factory()
    link = DeviceLink(device)
    chance = random.Random(seed)
    link.lost_to = link.lost_from = lambda data: chance.random() < 0.1
    result = Updater(Talk(link, ADDRESS), "node0").run(NEW)
    assert result.repeated > 0
    assert device.running_image() == NEW[1].data
    assert device.violations == 0


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([NEW[0]], r"version 2 for slot a: not linked for slot b at 0x08040000"),
        ([make_image(1, 2, 9000)], r"has 9000 bytes, expected at most 8192"),
        ([make_image(1, 2, kind=BoardKind.POWER_BOARD)], r"for a power_board, expected one for a compute_node"),
    ],
)
def test_an_image_that_cannot_run_there_changes_nothing(images, message):
    device = factory()
    before = device.memory()
    with pytest.raises(UpdateError, match=message):
        updater(device).run(images)
    assert device.memory() == before


def test_a_board_without_slots_says_so():
    from hal.backends.mock import MockLine
    from hal.link import Board

    line = MockLine("mock:", Board("node0", BoardKind.COMPUTE_NODE, ADDRESS, bytes(12)))
    with pytest.raises(UpdateError, match="board node0: takes no images"):
        Updater(Talk(line, ADDRESS), "node0").run(NEW)
    # It can be started again all the same.
    u = Updater(Talk(line, ADDRESS), "node0")
    hello = u.hello()
    assert u.boot(hello).boot_count == hello.boot_count + 1


def test_a_silent_board_is_said():
    device = factory()
    link = DeviceLink(device)
    link.lost_to = link.lost_from = lambda data: True
    with pytest.raises(UpdateError, match=r"board node0: silent, expected a HELLO within 5 s"):
        Updater(Talk(link, ADDRESS), "node0").run(NEW)


def test_a_board_of_a_higher_session_is_followed():
    device = factory()
    first = updater(device)
    first._session = 1000
    first._command("update_abort")
    assert updater(device).run(NEW).changed
    assert device.running == ImageSlot.B


def test_a_memory_that_does_not_take_its_bytes_is_erased_and_filled_anew():
    device = factory()
    link = DeviceLink(device)
    at = 1000
    spoils = 1

    def spoil(data: bytes) -> bool:
        """Clears bits that the image needs, before they are programmed."""
        nonlocal spoils
        if spoils and len(data) > 150:
            spoils -= 1
            device.area(1 - device.running)[at : at + 1] = b"\0"
        return False

    link.lost_to = spoil
    assert Updater(Talk(link, ADDRESS), "node0").run(NEW).changed
    assert device.running_image() == NEW[1].data
    spoils = 10_000
    with pytest.raises(UpdateError, match=r"node0: did not take version 3 for slot a in 3 attempts: storage"):
        Updater(Talk(link, ADDRESS), "node0").run(pair(3, 3001))
    assert device.violations == 0
    assert device.power_cycle() == ImageSlot.B
