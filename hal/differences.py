"""Where two streams of frames differ first, in the words of the ICD."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from hal.frames import DAMAGED, Cutter, Frame


def frames_of(data: bytes) -> list[Frame]:
    """The frames of bytes that begin and end with whole ones; what is left over comes last, as damaged."""
    return list(Cutter().feed(data + b"\0"))


def role_of(board: int) -> str:
    """Role of a board index."""
    return f"node{board - 1}" if board else "power"


class Difference(NamedTuple):
    """The first place at which a replay says something else than the recording."""

    t_us: int
    tick: int
    where: str
    """to which board, from which board, or telemetry"""
    what: str
    """message or packet"""
    field: str
    recorded: str
    replayed: str

    def line(self) -> str:
        """As one line."""
        field = f" {self.field}:" if self.field else ":"
        return (
            f"first difference at tick {self.tick} ({self.t_us * 1e-6:.3f} s): {self.where}, {self.what}{field} "
            f"recorded {self.recorded}, replayed {self.replayed}"
        )


def field_difference(recorded: Mapping[str, Any], replayed: Mapping[str, Any]) -> tuple[str, Any, Any] | None:
    """(path, recorded, replayed) of the first field that differs; rows of tables are entered."""
    for name in dict.fromkeys((*recorded, *replayed)):
        a, b = recorded.get(name), replayed.get(name)
        if a == b:
            continue
        if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
            i = next(i for i, (x, y) in enumerate(zip(a, b, strict=True)) if x != y)
            if isinstance(a[i], Mapping) and isinstance(b[i], Mapping):
                found = field_difference(a[i], b[i])
                return found and (f"{name}[{i}].{found[0]}", found[1], found[2])
            return f"{name}[{i}]", a[i], b[i]
        return name, a, b
    return None


def frame_difference(recorded: Frame | None, replayed: Frame | None) -> tuple[str, str, str, str]:
    """(what, field, recorded, replayed) of two frames that differ; None: there is none."""
    if recorded is None or replayed is None or recorded.name != replayed.name:
        there = recorded or replayed
        assert there is not None
        return there.name, "", _shown(recorded), _shown(replayed)
    found = field_difference(recorded.fields(), replayed.fields())
    if found is None:
        return recorded.name, "", recorded.wire.hex(), replayed.wire.hex()
    return recorded.name, found[0], _text(found[1]), _text(found[2])


def _shown(frame: Frame | None) -> str:
    if frame is None:
        return "nothing"
    return frame.name if frame.type == DAMAGED else f"{frame.name} (seq {frame.seq})"


def _text(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
