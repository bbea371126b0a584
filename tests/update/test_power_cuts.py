"""The power fails at any moment of an update: the board always starts a whole image, and the transfer goes on.

A moment is one byte that is programmed, or a sixteenth of an erasure; what is left of it is a clean beginning, some of
the bits, or garbage (device.c). The random ones are seeded: a failure names its seed, and
`pytest tests/update/test_power_cuts.py -k "SEED"` repeats it.
"""

from __future__ import annotations

import contextlib
import random

import pytest

from hal.errors import UpdateError
from hal.firmware import Image
from hal.frames import decode
from hal.icd import ImageSlot, SlotState
from hal.talk import Talk
from hal.update import CHUNK_BYTES, Updater
from tests.update.device import ADDRESS, TORN, Device, DeviceLink, pair, updater

OLD, NEW = pair(1), pair(2, 3001)
LARGE = 32 * 1024
ERASED = 64  # bytes of an image that read as erased are sent again


def factory(images: list[Image] = OLD) -> Device:
    device = Device(images[0])
    assert device.power_on() == ImageSlot.A
    return device


class Watched(DeviceLink):
    """Knows whether anybody has confirmed an image."""

    confirmed = False

    def send(self, data: bytes) -> None:
        self.confirmed = self.confirmed or any(frame.name == "update_confirm" for frame in decode(data))
        super().send(data)


def update(device: Device, images: list[Image]) -> bool:
    """As far as the power lasts. Returns whether the new image was confirmed, or may have been."""
    link = Watched(device)
    with contextlib.suppress(UpdateError):
        Updater(Talk(link, ADDRESS), "node0").run(images)
    return link.confirmed


def check_starts_whole(device: Device, old: list[Image], new: list[Image], confirmed: bool = False) -> None:
    """Switched on with lasting power it starts one of these images, whole: a new one, that nobody has confirmed, on
    trial. A slot that goes on to receive is erased behind its torn word."""
    device.cut_after(-1)
    assert device.power_on() in (ImageSlot.A, ImageSlot.B)
    image = device.running_image()
    assert image in [i.data for i in old + new]
    assert confirmed or device.on_trial == (image in [i.data for i in new])
    status = updater(device).status()
    other = 1 - device.running
    if status["state_b" if other else "state_a"] == SlotState.RECEIVING:
        rest = bytes(device.area(other))[status["offset"] + 4 :]
        assert rest == b"\xff" * len(rest)


def check_goes_on(device: Device, images: list[Image], torn: str = "garbage") -> None:
    """The update ends well now, and the board stays with it; it is erased again only where it has to be."""
    status = updater(device).status()
    state = status["state_a" if device.running else "state_b"]
    erasures = device.busy_frames
    updater(device).run(images)
    if torn != "garbage" and state in (SlotState.RECEIVING, SlotState.NEW):
        assert device.busy_frames == erasures
    assert device.running_image() == images[device.running].data
    device.power_cycle()
    assert device.running_image() == images[device.running].data
    assert not device.on_trial
    assert device.violations == 0


def units_of_an_update() -> int:
    device = factory()
    before = device.units
    update(device, NEW)
    return device.units - before


UNITS = units_of_an_update()


class CutBehindChunks(DeviceLink):
    """The power fails `units` behind so many chunks, so in the next one."""

    def __init__(self, device: Device, chunks: int, units: int, torn: str) -> None:
        super().__init__(device)
        self.left, self.units, self.torn = chunks, units, torn

    def send(self, data: bytes) -> None:
        self.left -= len(data) > CHUNK_BYTES
        if self.left == -1:
            self.device.cut_after(self.units, self.torn, self.units)
        super().send(data)


@pytest.mark.parametrize("torn", TORN)
def test_a_cut_at_every_chunk_boundary(torn: str):
    """Of an image as large as they may be: as many updates as it has chunks, each cut behind another one."""
    images = pair(2, LARGE)
    fresh = Device(OLD[0], slot_bytes=LARGE)
    fresh.power_on()
    memory = fresh.memory()
    for chunk in range(LARGE // CHUNK_BYTES):
        device = Device(None, slot_bytes=LARGE)
        device.restore(memory)
        device.power_on()
        u = Updater(Talk(CutBehindChunks(device, chunk, chunk % 4, torn), ADDRESS), "node0")
        u.hello()
        with pytest.raises(UpdateError, match="silent"):
            u.transfer(images[1])
        check_starts_whole(device, OLD, [])
        resumed_at = updater(device).run(images).resumed_at
        assert chunk * CHUNK_BYTES - ERASED - 4 <= resumed_at <= chunk * CHUNK_BYTES + 4
        check_goes_on(device, images)


@pytest.mark.parametrize("torn", ["prefix", "bits"])
def test_a_cut_behind_every_chunk(torn: str):
    """One chunk, and a cut, again and again until all of the image is there."""
    images = pair(2, LARGE)
    device = Device(OLD[0], slot_bytes=LARGE)
    device.power_on()
    offsets = [0]
    while LARGE - offsets[-1] > 2 * CHUNK_BYTES:
        u = Updater(Talk(CutBehindChunks(device, 1, len(offsets) % 4, torn), ADDRESS), "node0")
        u.hello()
        with pytest.raises(UpdateError, match="silent"):
            u.transfer(images[1])
        check_starts_whole(device, OLD, [])
        offsets.append(updater(device).status()["offset"])
        assert CHUNK_BYTES - ERASED - 4 <= offsets[-1] - offsets[-2] <= CHUNK_BYTES + 4
    check_goes_on(device, images)
    assert LARGE // CHUNK_BYTES - 2 <= len(offsets) <= LARGE // CHUNK_BYTES + 10


def test_power_cut_at_every_unit_of_a_small_update():
    """Each moment there is, in each way; images small enough to do them all, and logs that are full all the time."""
    old, new = pair(1, 600), pair(2, 604)
    ready = Device(old[0], log_bytes=128)
    ready.power_on()
    memory, first = ready.memory(), ready.units
    update(ready, new)
    for torn in TORN:
        for unit in range(ready.units - first):
            device = Device(None, log_bytes=128)
            device.restore(memory)
            device.power_on()
            device.cut_after(unit, torn, unit)
            confirmed = update(device, new)
            assert device.dead, f"unit {unit} torn {torn}: the power did not fail"
            check_starts_whole(device, old, new, confirmed)
            check_goes_on(device, new, torn)


@pytest.mark.parametrize("seed", range(1000))
def test_power_cut_at_a_random_instant(seed: int):
    """Up to four cuts in one update, at any moment of it or of the boot behind a cut, then one that ends."""
    chance = random.Random(seed)
    device = Device(OLD[0], log_bytes=chance.choice([128, 192, 512]))
    device.power_on()
    confirmed = False
    for _ in range(chance.randint(1, 4)):
        device.cut_after(chance.randrange(UNITS if chance.random() < 0.7 else 64), chance.choice(list(TORN)), seed)
        if device.dead:
            device.power_on()
        confirmed = update(device, NEW) or confirmed
        if chance.random() < 0.5:
            check_starts_whole(device, OLD, NEW, confirmed)
    check_starts_whole(device, OLD, NEW, confirmed)
    check_goes_on(device, NEW)


def test_power_cut_in_the_boot_loader():
    """At every moment of its own writing: a trial that begins, one that ends, a first start."""
    fresh = Device(OLD[0])
    tried = factory()
    u = updater(tried)
    u.hello()
    u.transfer(NEW[1])
    new = tried.memory()
    tried.power_cycle()
    assert tried.on_trial
    for memory in (fresh.memory(), new, tried.memory()):
        for torn in TORN:
            for unit in range(40):
                device = Device(None)
                device.restore(memory)
                device.cut_after(unit, torn, unit)
                device.power_on()
                if not device.dead:  # behind its last write
                    assert unit >= 32
                    continue
                check_starts_whole(device, OLD, NEW)
                check_goes_on(device, NEW)


def test_progress_is_kept_across_cuts():
    """Half an image, a cut, and the rest: no byte but the last word's is sent twice."""
    device = factory()
    device.cut_after(16 + 64 + 1500, "bits", 1)  # an erasure, two records, and half of the image
    update(device, NEW)
    check_starts_whole(device, OLD, [])
    result = updater(device).run(NEW)
    assert 1400 < result.resumed_at <= 1500
    assert device.running_image() == NEW[1].data
