"""Naming the first difference: of what flight sent to boards, of its telemetry, of its state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flight import icd
from hal.differences import Difference, field_difference, frame_difference, frames_of, role_of

HEAD_BYTES, CRC_BYTES = 20, 2
_KINDS = {(m.service, m.subtype, m.selector): name for name, m in icd.PACKETS.items()}


class Diverged(Exception):
    """The replay has left the recording."""

    def __init__(self, difference: Difference) -> None:
        super().__init__(difference.line())
        self.difference = difference


def bus_difference(t_us: int, tick_us: int, recorded: bytes, replayed: bytes) -> Difference:
    """Of two batches (csrc/bus/batch.h) that differ: the first record in which they do."""
    pairs = list(_records(recorded)), list(_records(replayed))
    i = 0
    while i < min(map(len, pairs)) and pairs[0][i] == pairs[1][i]:
        i += 1
    a, b = ((pair[i] if i < len(pair) else None) for pair in pairs)
    board = (a or b or (0, b""))[0]
    if a is None or b is None or a[0] != b[0]:
        what = ("frames", "", *(_record(pair) for pair in (a, b)))
    else:
        what = stream_difference(a[1], b[1])
    return Difference(t_us, t_us // tick_us, f"to {role_of(board)}", *what)


def stream_difference(recorded: bytes, replayed: bytes) -> tuple[str, str, str, str]:
    """(what, field, recorded, replayed) of the first frame in which two streams differ."""
    ours, theirs = frames_of(recorded), frames_of(replayed)
    for i in range(max(len(ours), len(theirs))):
        a, b = (frames[i] if i < len(frames) else None for frames in (ours, theirs))
        if a != b:
            return frame_difference(a, b)
    return "bytes between frames", "", recorded.hex(), replayed.hex()


def _records(batch: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(batch):
        n = int.from_bytes(batch[at + 2 : at + 4], "little")
        yield int.from_bytes(batch[at : at + 2], "little"), batch[at + 4 : at + 4 + n]
        at += 4 + n


def _record(record: tuple[int, bytes] | None) -> str:
    if record is None:
        return "nothing"
    names = ", ".join(f.name for f in frames_of(record[1]))
    return f"{names or 'nothing'} to {role_of(record[0])}"


# ------------------------------------------------------------------ telemetry


def packet_fields(packet: bytes) -> dict[str, Any]:
    """Header and source data of a packet; what cannot be decoded as hex."""
    if len(packet) < HEAD_BYTES + CRC_BYTES:
        return {"packet": packet.hex()}
    data = packet[HEAD_BYTES:-CRC_BYTES]
    seconds = int.from_bytes(packet[13:17], "big")
    fields: dict[str, Any] = {
        "apid": int.from_bytes(packet[:2], "big") & 0x7FF,
        "service": packet[7],
        "subtype": packet[8],
        "sequence": int.from_bytes(packet[2:4], "big") & 0x3FFF,
        "message_count": int.from_bytes(packet[9:11], "big"),
        "t_us": seconds * 1_000_000 + round(int.from_bytes(packet[17:20], "big") * 1e6 / (1 << 24)),
    }
    name = packet_name(packet)
    try:
        return fields | (icd.decode(name, data) if name else {"data": data.hex()})
    except icd.IcdError:
        return fields | {"data": data.hex()}


def packet_name(packet: bytes) -> str:
    """Name in the space-link ICD, "" for none."""
    if len(packet) < HEAD_BYTES + CRC_BYTES:
        return ""
    service, subtype, data = packet[7], packet[8], packet[HEAD_BYTES:-CRC_BYTES]
    for selector in (data[0] if data else None, None):
        if (service, subtype, selector) in _KINDS:
            return _KINDS[service, subtype, selector]
    return ""


def packet_difference(t_us: int, tick_us: int, recorded: bytes | None, replayed: bytes | None) -> Difference:
    """Of two packets that differ; None: there is none. t_us: of flight, where the packet does not tell."""
    there = recorded if recorded is not None else replayed or b""
    fields = packet_fields(there)
    at_us = int(packet_fields(replayed or there).get("t_us", t_us))
    kind = " (APID {apid}, {service}/{subtype})".format(**fields) if "apid" in fields else ""
    what = f"{packet_name(there) or 'packet'}{kind}"
    if recorded is None or replayed is None:
        shown = ("the packet", "nothing") if recorded is not None else ("nothing", "the packet")
        return Difference(at_us, at_us // tick_us, "telemetry", what, "", *shown)
    found = field_difference(fields, packet_fields(replayed)) or ("bytes", recorded.hex(), replayed.hex())
    return Difference(at_us, at_us // tick_us, "telemetry", what, found[0], str(found[1]), str(found[2]))


def state_difference(t_us: int, tick_us: int, recorded: Mapping[str, Any], replayed: Mapping[str, Any]) -> Difference:
    """Of two states that differ."""
    name, a, b = field_difference(recorded, replayed) or ("", None, None)
    return Difference(t_us, t_us // tick_us, "flight", "state", name, str(a), str(b))
