"""A new image for a board, over the board bus: whatever interrupts it, the board starts a whole one (docs/update.md).

One message at a time, each answered by an ACK and an update_status; the board says where to go on. What is not answered
is sent again under the same number, which the board executes once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hal import icd
from hal.errors import UpdateError
from hal.firmware import Image
from hal.icd import AckCode, BoardKind, ImageSlot, SlotState, UpdateReason
from hal.identity import Hello
from hal.talk import Frame, Talk

CHUNK_BYTES = 160
ANSWER_S = 0.5
"""A message that is not answered is sent again after so long."""
TRIES = 10
ERASE_TRIES = 30
BOOT_TRIES = 30
"""A new image that hangs is ended by its watchdog, after some seconds; then the board goes back and answers."""
BEGINNINGS = 3
"""A memory that did not take its bytes is erased and filled again, so often in all."""
TRANSFER = (SlotState.ERASING, SlotState.RECEIVING, SlotState.NEW)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is. stage: erase, transfer, boot, confirm; offset, size: bytes of the image."""

    stage: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it. changed: False when the board ran this image already."""

    changed: bool
    slot: str
    """a or b"""
    image: Image
    resumed_at: int
    """bytes that were there already, from an interrupted transfer"""
    messages: int
    repeated: int
    """messages that were sent again because nothing answered"""


class Updater:
    """The update of one board.

    talk: a conversation with it. report: called with the progress. Raises `UpdateError` with one line: not a board that
    takes images, no image that fits, refused, silent; and what `hal.talk.Talk` raises.
    """

    def __init__(self, talk: Talk, role: str, report: Callable[[Progress], None] = lambda progress: None) -> None:
        self.talk = talk
        self.role = role
        self.messages = 0
        self.repeated = 0
        self._report = report
        self._session = 1
        self._sequence = 0
        self._status: dict[str, Any] = {}

    # ------------------------------------------------------------ the whole way
    def run(self, images: Sequence[Image]) -> Result:
        """Bring one of `images` onto the board, start it, and confirm it once it has proven itself."""
        hello = self.hello()
        status = self.status()
        for image in images:
            if image.crc == hello.image_crc:
                return self._confirm_running(image, hello)
        image = self._choose(images, status, hello)
        resumed_at = self.transfer(image)
        return self._try(image, hello, resumed_at)

    def transfer(self, image: Image) -> int:
        """Bring an image into the slot that is not running, checked whole. Returns how many bytes were there before."""
        self._begin(image)
        resumed_at = int(self._status["offset"])
        beginnings = 1
        while not (self._send_bytes(image) and self._end(image)):
            if beginnings == BEGINNINGS:
                raise self._refused(f"did not take {image.path.name} in {BEGINNINGS} attempts")
            beginnings += 1
            self._command("update_abort")
            self._begin(image)
        return resumed_at

    def boot(self, hello: Hello) -> Hello:
        """Reset the board; its new HELLO. hello: the one before."""
        self._command("update_boot")
        for _ in range(BOOT_TRIES):
            fresh = self.hello(BOOT_TRIES)
            if fresh.boot_count != hello.boot_count:
                return fresh
        raise UpdateError(f"board {self.role}: did not start again (boot count is still {hello.boot_count})")

    def confirm(self, image_crc: int) -> None:
        """Confirm the running image."""
        if self._command("update_confirm", image_crc=image_crc) != AckCode.OK:
            raise self._refused("did not take the confirmation")

    # ------------------------------------------------------------ single questions
    def hello(self, tries: int = TRIES) -> Hello:
        """The board's HELLO. Asked for as the bench too, so that a board that was ticked waits for a new clock."""

        def send() -> None:
            self.talk.send("hello_req", icd.Address.BENCH)
            self.talk.send("hello_req")

        frames = self._ask(send, lambda frame: frame.name == "hello", "a HELLO", tries)
        return next(Hello(**frame.values) for frame in reversed(frames) if frame.name == "hello")

    def status(self) -> dict[str, Any]:
        """The board's update_status."""

        def send() -> None:
            self.talk.send("update_query")

        self._note(self._ask(send, _is_status, "an update_status"))
        if self._status["running"] == ImageSlot.NONE:
            raise UpdateError(
                f"board {self.role}: takes no images, expected firmware that runs from a slot (docs/update.md)"
            )
        return self._status

    # ------------------------------------------------------------ steps
    def _confirm_running(self, image: Image, hello: Hello) -> Result:
        """It runs this one already: an update that was interrupted behind its transfer ends here."""
        slot = ImageSlot(self._status["running"])
        changed = self._state(slot) != SlotState.CONFIRMED
        if changed:
            self._prove(image, hello, hello)
            self._report(Progress("confirm", len(image.data), len(image.data)))
            self.confirm(image.crc)
        return self._result(image, changed, len(image.data))

    def _choose(self, images: Sequence[Image], status: dict[str, Any], hello: Hello) -> Image:
        slot = ImageSlot(status["running"])
        if self._state(slot) != SlotState.CONFIRMED:
            raise UpdateError(
                f"board {self.role}: runs image {hello.image_crc:08x}, which nobody has confirmed, expected a "
                "confirmed one to go back to; reset it, or confirm it with --confirm"
            )
        other = ImageSlot.B if slot == ImageSlot.A else ImageSlot.A
        where = f"for slot {other.name.lower()} at 0x{status['base']:08x}"
        fitting = [image for image in images if fits(image, status["base"])]
        names = ", ".join(image.path.name for image in images)
        if not fitting:
            raise UpdateError(f"board {self.role}: {names}: not linked {where}, expected an image that is")
        image = fitting[0]
        if image.kind != hello.kind:
            kinds = f"a {image.kind.name.lower()}, expected one for a {BoardKind(hello.kind).name.lower()}"
            raise UpdateError(f"board {self.role}: {image.path.name} is an image for {kinds}")
        size, room = len(image.data), status["slot_bytes"]
        if size > room:
            raise UpdateError(f"board {self.role}: {image.path.name} has {size} bytes, expected at most {room}")
        return image

    def _begin(self, image: Image) -> None:
        self._report(Progress("erase", 0, len(image.data)))
        facts = {"kind": image.kind, "size": len(image.data), "image_crc": image.crc, "version": image.version}
        if self._command("update_begin", **facts) != AckCode.OK:
            raise self._refused(f"does not take {image.path.name}")
        for _ in range(ERASE_TRIES):
            if self._target_state() != SlotState.ERASING or self._status["reason"] == UpdateReason.STORAGE:
                break
            self._note(self.talk.ask(lambda: None, _is_status, ANSWER_S))
        if self._target_state() not in (SlotState.RECEIVING, SlotState.NEW):
            raise self._refused(f"could not make room for {image.path.name}")

    def _send_bytes(self, image: Image) -> bool:
        """False when the slot has to be filled anew."""
        while (offset := self._status["offset"]) < len(image.data):
            self._report(Progress("transfer", offset, len(image.data)))
            chunk = image.data[offset : offset + CHUNK_BYTES]
            code = self._command("update_data", image_crc=image.crc, offset=offset, bytes=chunk)
            if code != AckCode.OK and self._status["reason"] != UpdateReason.GAP:
                return False
        return True

    def _end(self, image: Image) -> bool:
        self._report(Progress("transfer", len(image.data), len(image.data)))
        return self._command("update_end", image_crc=image.crc) == AckCode.OK

    def _try(self, image: Image, before: Hello, resumed_at: int) -> Result:
        self._report(Progress("boot", len(image.data), len(image.data)))
        hello = self.boot(before)
        status = self.status()
        slot = ImageSlot(status["running"])
        if hello.image_crc != image.crc and hello.image_crc == before.image_crc:
            raise UpdateError(
                f"board {self.role}: went back to image {before.image_crc:08x} (version "
                f"{status['version_' + slot.name.lower()]}): {image.path.name} did not start"
            )
        self._prove(image, hello, before)
        self._report(Progress("confirm", len(image.data), len(image.data)))
        self.confirm(image.crc)
        return self._result(image, True, resumed_at)

    def _prove(self, image: Image, hello: Hello, before: Hello) -> None:
        """Raises, and lets the board go back, unless the running image is this one on the same board."""
        proof = {name: getattr(hello, name) == getattr(before, name) for name in ("kind", "role", "hardware_id")}
        proof["image_crc"] = hello.image_crc == image.crc
        proof["icd_hash"] = hello.icd_hash == icd.ICD_HASH
        wrong = ", ".join(name for name, good in proof.items() if not good)
        if wrong:
            self.boot(hello)
            raise UpdateError(
                f"board {self.role}: {image.path.name} started, but its HELLO is wrong in {wrong}; it was not "
                "confirmed, and the board was reset to go back"
            )

    def _result(self, image: Image, changed: bool, resumed_at: int) -> Result:
        slot = ImageSlot(self._status["running"]).name.lower()
        return Result(changed, slot, image, resumed_at, self.messages, self.repeated)

    # ------------------------------------------------------------ one message
    def _command(self, name: str, **values: Any) -> int:
        """Send a command until it is answered; the code of its ACK, with the status behind it kept."""
        self._sequence += 1
        for _ in range(TRIES):
            number = {"session": self._session, "command_seq": self._sequence}
            answer = self._ask(
                lambda number=number: self.talk.send(name, **number, **values),  # type: ignore[misc]
                _is_status,
                f"an answer to {name}",
            )
            self._note(answer)
            code = self._code(answer, name)
            if code in (AckCode.STALE_SESSION, AckCode.STALE_SEQUENCE):
                continue
            if code is not None:
                return AckCode.OK if code == AckCode.REPEATED else code
        raise UpdateError(f"board {self.role}: did not acknowledge {name} in {TRIES} attempts")

    def _code(self, answer: list[Frame], name: str) -> int | None:
        """The code of the ACK that is among the frames, None without one. A stale session is left for a newer one."""
        for frame in answer:
            if frame.name != "ack" or frame.values["type"] != icd.MESSAGES[name].type:
                continue
            code = int(frame.values["code"])
            if code in (AckCode.STALE_SESSION, AckCode.STALE_SEQUENCE):
                self._session = frame.values["session"] + 1
                return code
            if frame.values["command_seq"] == self._sequence:
                if code == AckCode.NOT_SUPPORTED:
                    raise UpdateError(f"board {self.role}: its firmware knows no {name}")
                return code
        return None

    def _ask(
        self, send: Callable[[], None], wanted: Callable[[Frame], bool], what: str, tries: int = TRIES
    ) -> list[Frame]:
        for attempt in range(tries):
            self.messages += 1
            self.repeated += attempt > 0
            got = self.talk.ask(send, wanted, ANSWER_S)
            if got:
                return got
        raise UpdateError(f"board {self.role}: silent, expected {what} within {tries * ANSWER_S:g} s")

    def _note(self, frames: list[Frame]) -> None:
        for frame in frames:
            if _is_status(frame):
                self._status = frame.values

    def _state(self, slot: ImageSlot) -> SlotState:
        return SlotState(self._status["state_" + slot.name.lower()])

    def _target_state(self) -> SlotState:
        return self._state(ImageSlot.B if self._status["running"] == ImageSlot.A else ImageSlot.A)

    def _refused(self, what: str) -> UpdateError:
        reason = UpdateReason(self._status["reason"]).name.lower()
        return UpdateError(f"board {self.role}: {what}: {reason}")


def fits(image: Image, base: int) -> bool:
    """True when the image is linked for this address: its reset handler lies in the image that begins there."""
    reset = int.from_bytes(image.data[4:8], "little")
    return bool(reset & 1) and base <= reset < base + len(image.data)


def _is_status(frame: Frame) -> bool:
    return frame.name == "update_status"
