"""What became of a board after a flip, in one word, by what the bench and flight heard of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from hal import icd
from hal.seu.bench import Said, values_of
from hal.seu.rules import Limit, Settings, broken

BEHAVES_TICKS = 3
"""A board that has not answered the last so many ticks is lost."""
_TELLING = ("ack", "hello", "crash", "node_health")
_LINK_ERRORS = ("crc_errors", "cobs_errors", "length_errors", "sequence_gaps", "unknown_frames")
_EVENTS = {int(event): event.name.lower() for event in icd.BoardEvent}
_OUTSIDE = ("hardware_report",)


class Outcome(StrEnum):
    """In the order in which they are judged, worst first."""

    LOST = "lost"
    HUNG = "hung"
    CRASHED = "crashed"
    MASKED = "masked"
    DETECTED = "detected"
    SILENT = "silent"


MEANING = {
    Outcome.MASKED: "every byte as without the flip",
    Outcome.DETECTED: "other bytes, and told of (an event, an answer, a counter, a frame again), or soon right again",
    Outcome.CRASHED: "a fault or a reset; it said HELLO and works",
    Outcome.HUNG: "the watchdog reset it; it said HELLO and works",
    Outcome.SILENT: "other bytes to the end, and nothing told",
    Outcome.LOST: "it answers no more",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """told: what gave it away; broken: rules -> first tick."""

    outcome: Outcome
    told: tuple[str, ...]
    broken: dict[str, int]


def judge(
    undisturbed: list[Said],
    said: list[Said],
    *,
    converged: bool,
    resets: int,
    bites: int,
    limits: list[Limit],
    channels: dict[int, Settings],
) -> Verdict:
    """said: as far as it was run; converged: it ended in the undisturbed run's state. resets, bites: more than the
    undisturbed run had, of the core in all and by the watchdog."""
    told = tuple(sorted(_told(undisturbed, said)))
    rules = broken(undisturbed, said, limits, channels)
    if said[-1].heard.stuck or not (converged or any(s.done for s in said[-BEHAVES_TICKS:])):
        return Verdict(Outcome.LOST, told, rules)
    if bites:
        return Verdict(Outcome.HUNG, told, rules)
    if resets or "crash" in told:
        return Verdict(Outcome.CRASHED, told, rules)
    if all(map(_same, undisturbed, said)):
        return Verdict(Outcome.MASKED, told, rules)
    return Verdict(Outcome.DETECTED if told or converged else Outcome.SILENT, told, rules)


def _same(a: Said, b: Said) -> bool:
    """Whether two ticks are the same in everything but the report of the hardware."""
    if a.heard == b.heard:
        return True
    frames = [[f for f in s.frames if f.name not in _OUTSIDE] for s in (a, b)]
    return a.heard.asked == b.heard.asked and frames[0] == frames[1]


def _told(undisturbed: list[Said], said: list[Said]) -> set[str]:
    """What was heard that would not have been heard otherwise."""
    before = undisturbed[: len(said)]
    extra = Counter(_telling(said)) - Counter(_telling(before))
    found = {name for name, _ in extra}
    if any(s.heard.asked for s in said):
        found.add("no answer")
    if any(sum(len(f.wire) for f in s.frames) != len(s.heard.data) for s in said):
        found.add("damaged frame")
    if any(b.done and a.done and b.done["rx_errors"] > a.done["rx_errors"] for a, b in zip(before, said, strict=True)):
        found.add("input errors")
    if not set(_sequences(said)) <= set(_sequences(before)):
        found.add("sequence gap")
    if not set(_accounts(said)) <= set(_accounts(before)):
        found.add("link report")
    return found


def _telling(said: list[Said]) -> Iterator[tuple[str, bytes]]:
    """Frames that tell of something; of an event its code alone, as its arguments may be what is wrong."""
    for f in (f for one in said for f in one.frames):
        if (event := values_of(f, "event")) is not None:
            yield _EVENTS.get(event["code"], "unknown event"), b""
        elif f.name in _TELLING:
            yield f.name, f.payload


def _sequences(said: list[Said]) -> Iterator[tuple[int, int]]:
    """Receiver, and how far a frame's number is ahead of what has been sent to it since the flip: always the same."""
    sent: Counter[int] = Counter()
    for f in (f for one in said for f in one.frames):
        if f.hashed and not f.flags & icd.FrameFlag.REPEAT:
            yield f.dst, (f.seq - sent[f.dst]) & 0xFFFF
            sent[f.dst] += 1


def _accounts(said: list[Said]) -> Iterator[tuple[int, ...]]:
    """What each link report counts beyond what has passed since the flip: the same in all of them, when all is well."""
    rx_bytes = rx_frames = tx_bytes = tx_frames = 0
    for one in said:
        given = one.tick.given(one.heard.asked)
        rx_bytes, rx_frames = rx_bytes + given[0], rx_frames + given[1]
        for f in one.frames:
            if (r := values_of(f, "link_report")) is not None:
                passed: tuple[int, ...] = (r["rx_bytes"] - rx_bytes, r["rx_frames"] - rx_frames)
                passed += (r["tx_bytes"] - tx_bytes, r["tx_frames"] - tx_frames)
                yield (*(n & 0xFFFF_FFFF for n in passed), *(r[name] for name in _LINK_ERRORS))
            if f.hashed:
                tx_bytes, tx_frames = tx_bytes + len(f.wire), tx_frames + 1
