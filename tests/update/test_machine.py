"""Begin, data, end, trial, confirm, abort, resets and cuts in any order, against a model of what must come of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hal.firmware import Image
from hal.icd import AckCode, BoardKind, ImageSlot, SlotState, UpdateReason
from tests.update.device import KIND, TORN, Device, pair, talk

VERSIONS = {version: pair(version, 600 + 16 * version) for version in range(1, 5)}
IMAGES = {image.crc: image for images in VERSIONS.values() for image in images}
MOVING = (SlotState.ERASING, SlotState.RECEIVING, SlotState.NEW)
OK, REFUSED = AckCode.OK, AckCode.REFUSED


@dataclass(frozen=True)
class Slot:
    """What a slot is, how many bytes of which image are known to be in it, and up to where it may be programmed."""

    state: SlotState = SlotState.EMPTY
    image: Image | None = None
    there: int = 0
    programmed: int = 0

    @property
    def whole(self) -> bool:
        return self.image is not None and self.there == len(self.image.data)

    def after_a_start(self) -> Slot:
        """A transfer goes on from its last word that is not erased; a trial is over."""
        if self.state == SlotState.TRIAL:
            return replace(self, state=SlotState.REJECTED)
        if self.state != SlotState.RECEIVING:
            return self
        assert self.image is not None
        bytes_there = len(self.image.data[: self.programmed].rstrip(b"\xff"))
        return replace(self, there=max(0, bytes_there - 1) // 4 * 4)


def full(state: SlotState, image: Image) -> Slot:
    return Slot(state, image, len(image.data), len(image.data))


class Update(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.device = Device(VERSIONS[1][0], slot_bytes=4096, log_bytes=256)
        self.slots = [full(SlotState.CONFIRMED, VERSIONS[1][0]), Slot()]
        self.running = 0
        self.transfer: Image | None = None
        self.sequence = 0
        self.device.power_on()
        self.talk = talk(self.device)
        self.talk.receive(0)

    # ------------------------------------------------------------ the model
    @property
    def target(self) -> int:
        return 1 - self.running

    def set_target(self, **changes: object) -> None:
        self.slots[self.target] = replace(self.slots[self.target], **changes)  # type: ignore[arg-type]

    def model_start(self) -> None:
        new = self.slots[self.target].state == SlotState.NEW
        self.slots = [slot.after_a_start() for slot in self.slots]
        if new:
            self.running = self.target
            self.slots[self.running] = replace(self.slots[self.running], state=SlotState.TRIAL)
        elif self.slots[self.running].state == SlotState.REJECTED:
            self.running = self.target

    def resync(self) -> None:
        """After a cut: what runs is whole and was whole before; the rest is taken as the board has it."""
        crc = next(frame for frame in self.talk.receive(0) if frame.name == "hello").values["image_crc"]
        allowed = {slot.image.crc for slot in self.slots if slot.image is not None}
        assert crc in allowed
        status = self.status()
        self.running = status["running"]
        assert self.device.running_image() == IMAGES[crc].data
        for i, name in enumerate("ab"):
            memory = bytes(self.device.area(i))
            found = [image for image in IMAGES.values() if memory.startswith(image.data)]
            state = SlotState(status[f"state_{name}"])
            if i != self.running and state in MOVING:
                self.transfer = IMAGES[status["image_crc"]]
                self.slots[i] = Slot(state, self.transfer, status["offset"], len(memory.rstrip(b"\xff")))
            else:
                self.slots[i] = full(state, found[0]) if found else Slot(state)

    # ------------------------------------------------------------ the board
    def command(self, name: str, **values: object) -> tuple[int, int] | None:
        """(code, reason); None when the power failed: then the board is on again and the model follows it."""
        self.sequence += 1
        self.talk.send(name, session=1, command_seq=self.sequence, **values)
        frames = self.talk.receive(0)
        if self.device.dead:
            self.device.cut_after(-1)
            assert self.device.power_on() != ImageSlot.NONE
            self.resync()
            return None
        ack = next(frame for frame in frames if frame.name == "ack").values
        status = next(frame for frame in reversed(frames) if frame.name == "update_status").values
        assert ack["command_seq"] == self.sequence
        return ack["code"], status["reason"]

    def status(self) -> dict:
        self.talk.send("update_query")
        return next(frame for frame in self.talk.receive(0) if frame.name == "update_status").values

    def expect(self, answer: tuple[int, int] | None, code: int, reason: int = UpdateReason.NONE) -> bool:
        """True when the command was executed: the model is to follow."""
        if answer is None:
            return False
        assert answer == (code, reason)
        return code == OK

    # ------------------------------------------------------------ what may happen
    @rule(
        units=st.integers(0, 80) | st.integers(0, 700),
        torn=st.sampled_from(["prefix", "bits"]),
        seed=st.integers(0, 99),
    )
    def cut_soon(self, units: int, torn: str, seed: int) -> None:
        assert torn in TORN
        self.device.cut_after(units, torn, seed)

    @rule()
    def no_cut(self) -> None:
        self.device.cut_after(-1)

    @rule(version=st.sampled_from(list(VERSIONS)), kind=st.sampled_from([KIND, KIND, KIND, BoardKind.POWER_BOARD]))
    def begin(self, version: int, kind: BoardKind) -> None:
        image = VERSIONS[version][self.target]
        facts = {"kind": kind, "size": len(image.data), "image_crc": image.crc, "version": version}
        slot = self.slots[self.target]
        goes_on = slot.state in MOVING and self.transfer == image
        there = slot.image == image and slot.programmed == len(image.data)
        answer = self.command("update_begin", **facts)
        if kind != KIND:
            self.expect(answer, REFUSED, UpdateReason.OTHER_KIND)
        elif answer and self.slots[self.running].state != SlotState.CONFIRMED:
            self.expect(answer, REFUSED, UpdateReason.NOT_CONFIRMED)
        elif self.expect(answer, OK) and not goes_on:
            received = Slot(SlotState.RECEIVING, image)
            self.slots[self.target] = full(SlotState.RECEIVING, image) if there else received
            self.transfer = image
        elif answer and slot.state == SlotState.ERASING:
            self.set_target(state=SlotState.RECEIVING)

    @rule(
        version=st.sampled_from([None, None, None, None, *VERSIONS]),
        shift=st.sampled_from([0, 0, 0, 0, -40, -300, 1, 160]),
        count=st.sampled_from([160, 160, 160, 7, 1, 0]),
        wrong=st.sampled_from([False, False, False, True]),
    )
    def data(self, version: int | None, shift: int, count: int, wrong: bool) -> None:
        slot = self.slots[self.target]
        image = VERSIONS[version][self.target] if version else self.transfer or VERSIONS[2][self.target]
        offset = max(0, slot.there + shift)
        chunk = image.data[offset : offset + count]
        if wrong:
            chunk = bytes(byte ^ 0x10 for byte in chunk)
            self.no_cut()
        answer = self.command("update_data", image_crc=image.crc, offset=offset, bytes=chunk)
        if answer is None:
            return
        known = max(0, min(len(chunk), slot.there - offset))
        if slot.state != SlotState.RECEIVING:
            self.expect(answer, REFUSED, UpdateReason.NO_TRANSFER)
        elif image != slot.image:
            self.expect(answer, REFUSED, UpdateReason.OTHER_IMAGE)
        elif offset + len(chunk) > len(image.data):
            self.expect(answer, REFUSED, UpdateReason.BEYOND_SIZE)
        elif offset > slot.there:
            self.expect(answer, REFUSED, UpdateReason.GAP)
        elif chunk[:known] != image.data[offset : offset + known]:
            self.expect(answer, REFUSED, UpdateReason.DIFFERS)
        elif wrong and len(chunk) > known:
            # Wrong bytes where none were: taken, as nobody can know, and found at the end.
            self.expect(answer, OK)
            self.command("update_abort")
            self.slots[self.target] = Slot()
        elif self.expect(answer, OK):
            end = max(slot.there, offset + len(chunk))
            self.set_target(there=end, programmed=max(slot.programmed, end))

    @rule(other=st.sampled_from([False, False, False, True]))
    def send_the_rest(self, other: bool) -> None:
        while self.slots[self.target].state == SlotState.RECEIVING and not self.slots[self.target].whole:
            before = self.slots[self.target]
            self.data(None, 0, 160, False)
            if self.slots[self.target] == before:
                break
        self.end(other)

    @rule(version=st.sampled_from(list(VERSIONS)))
    def whole_transfer(self, version: int) -> None:
        self.begin(version, KIND)
        self.send_the_rest(False)

    @rule(other=st.sampled_from([False, False, True]))
    def end(self, other: bool) -> None:
        slot = self.slots[self.target]
        crc = 1 if other or self.transfer is None else self.transfer.crc
        answer = self.command("update_end", image_crc=crc)
        if answer is None:
            return
        if slot.state not in (SlotState.RECEIVING, SlotState.NEW):
            self.expect(answer, REFUSED, UpdateReason.NO_TRANSFER)
        elif slot.image is None or crc != slot.image.crc:
            self.expect(answer, REFUSED, UpdateReason.OTHER_IMAGE)
        elif not slot.whole:
            self.expect(answer, REFUSED, UpdateReason.INCOMPLETE)
        elif self.expect(answer, OK):
            self.set_target(state=SlotState.NEW)

    @rule(right=st.sampled_from([True, True, False]))
    def confirm(self, right: bool) -> None:
        running = self.slots[self.running].image
        assert running is not None
        answer = self.command("update_confirm", image_crc=running.crc if right else running.crc ^ 1)
        if answer and not right:
            self.expect(answer, REFUSED, UpdateReason.NOT_RUNNING)
        elif self.expect(answer, OK) and self.slots[self.running].state != SlotState.CONFIRMED:
            if self.slots[self.target].state == SlotState.CONFIRMED:
                self.set_target(state=SlotState.PREVIOUS)
            self.slots[self.running] = replace(self.slots[self.running], state=SlotState.CONFIRMED)

    @rule()
    def abort(self) -> None:
        answer = self.command("update_abort")
        if self.expect(answer, OK) and self.slots[self.target].state in MOVING:
            self.set_target(state=SlotState.EMPTY)

    @rule(how=st.sampled_from(["update_boot", "power"]))
    def restart(self, how: str) -> None:
        if how == "power":
            self.device.power_cycle()
            if self.device.dead:
                self.device.cut_after(-1)
                self.device.power_on()
                self.resync()
                return
        elif self.command(how) is None:
            return
        self.model_start()
        self.talk.receive(0)

    # ------------------------------------------------------------ what always holds
    @invariant()
    def it_is_as_the_model_says(self) -> None:
        status = self.status()
        target = self.slots[self.target]
        assert status["running"] == self.running
        assert (status["state_a"], status["state_b"]) == tuple(slot.state for slot in self.slots)
        if target.state in MOVING:
            assert self.transfer is not None
            assert (status["offset"], status["image_crc"]) == (target.there, self.transfer.crc)
        running = self.slots[self.running].image
        assert running is not None
        assert self.device.running_image() == running.data
        assert self.device.on_trial == (self.slots[self.running].state == SlotState.TRIAL)
        assert self.device.violations == 0


Update.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestUpdate = Update.TestCase
