"""From packets to samples, events and command reports; what the ground knows of the satellite right now."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from ground import icd, words
from ground.packets import Packet

EVENTS_KEPT = 10_000
NO_NODE = 0xFFFF  # of a job that no node has
_PAGED = {  # tables that come in pages: their rows, the record of a row, and what orders them
    "hk_nodes": ("nodes", "node_row", "node"),
    "hk_health": ("boards", "health_row", "address"),
}
REPORTS = ("accepted", "acceptance_failed", "started", "completed", "failed")


class Sample(dict[str, Any]):
    """One telemetry packet: its fields by name, as items and as attributes, and its simulated time."""

    def __init__(self, name: str, t_us: int, fields: dict[str, Any]) -> None:
        super().__init__(fields)
        self.name = name
        self.t_us = t_us

    @property
    def t_s(self) -> float:
        """Simulated time of the packet, s."""
        return self.t_us / 1e6

    def __getattr__(self, field_name: str) -> Any:
        try:
            return self[field_name]
        except KeyError:
            raise AttributeError(f"{self.name} has no field {field_name!r}: it has {', '.join(self)}") from None


@dataclass(frozen=True, slots=True)
class Event:
    """One event of the flight computer or of a board."""

    t_us: int
    code: int
    name: str
    severity: icd.Severity
    source: int  # bus address
    arguments: dict[str, int] = field(default_factory=dict)

    @property
    def t_s(self) -> float:
        """Simulated time of the event, s."""
        return self.t_us / 1e6

    @property
    def source_name(self) -> str:
        """Who sent it: flight, power board, node 3."""
        return address_name(self.source)

    @property
    def text(self) -> str:
        """The event in words, without its time and source: job started: job id 3, node 5."""
        arguments = ", ".join(words.argument(self.name, name, value) for name, value in self.arguments.items())
        return f"{self.name.replace('_', ' ')}: {arguments}" if arguments else self.name.replace("_", " ")


@dataclass(frozen=True, slots=True)
class Report:
    """One verification report of a telecommand."""

    t_us: int
    stage: str  # one of REPORTS
    request: int
    reason: str = "none"
    detail: int = 0


class Telemetry:
    """The latest of everything. `take` is a pure step: the same packets give the same state."""

    def __init__(self) -> None:
        self.latest: dict[str, Sample] = {}
        self.events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self.jobs: dict[int, Sample] = {}
        self.t_us = 0
        self.packets = 0
        self.lost_packets = 0
        self.unknown_packets = 0
        self._sequences: dict[int, int] = {}
        self._pages: dict[str, dict[int, Sample]] = {name: {} for name in _PAGED}

    @property
    def nodes(self) -> list[Sample]:
        """The rows of the last whole hk_nodes, in node order."""
        sample = self.latest.get("hk_nodes")
        return [] if sample is None else sample["nodes"]

    @property
    def health(self) -> list[Sample]:
        """The rows of the last whole hk_health: the power board, then the nodes."""
        sample = self.latest.get("hk_health")
        return [] if sample is None else sample["boards"]

    def forget_sequence(self) -> None:
        """After a reconnection: the next packet of each APID is the first one."""
        self._sequences.clear()

    def take(self, packet: Packet) -> Sample | Event | Report | None:
        """Takes one packet; returns what it completed. None: unknown, or a page of a table that is not whole yet."""
        self.count(packet)
        name = packet_name(packet)
        if name is None:
            self.unknown_packets += 1
            return None
        try:
            fields = icd.decode(name, packet.data)
        except icd.IcdError:
            self.unknown_packets += 1
            return None
        self.t_us = max(self.t_us, packet.t_us)
        if name in REPORTS:
            reason = words.enum_name("failure", fields.get("reason", 0))
            return Report(packet.t_us, name, fields["request"], reason, fields.get("detail", 0))
        if name == "event_report":
            event = _event(packet, fields)
            self.events.append(event)
            return event
        return self._sample(Sample(name, packet.t_us, fields))

    def _sample(self, sample: Sample) -> Sample | None:
        if sample.name in _PAGED:
            whole = self._join(sample)
            if whole is None:
                return None
            sample = whole
        elif sample.name == "hk_jobs":
            for row in sample["jobs"]:
                self.jobs[row["job_id"]] = Sample("job_row", sample.t_us, row)
        self.latest[sample.name] = sample
        return sample

    def _join(self, page: Sample) -> Sample | None:
        """All pages of one report carry the same time; the table is whole when every row is in it."""
        pages = self._pages[page.name]
        rows_name, row_name, key = _PAGED[page.name]
        if any(held.t_us != page.t_us for held in pages.values()):
            pages.clear()
        pages[page["base"]] = page
        rows = [Sample(row_name, page.t_us, row) for held in pages.values() for row in held[rows_name]]
        if len(rows) < page["total"]:
            return None
        pages.clear()
        rows.sort(key=lambda row: int(row[key]))
        return Sample(page.name, page.t_us, {"total": page["total"], rows_name: rows})

    def count(self, packet: Packet) -> None:
        """Counts a packet, and those that are missing before it."""
        self.packets += 1
        expected = self._sequences.get(packet.apid, packet.sequence)
        self.lost_packets += (packet.sequence - expected) & 0x3FFF
        self._sequences[packet.apid] = (packet.sequence + 1) & 0x3FFF


def packet_name(packet: Packet) -> str | None:
    """The ICD's name of a telemetry packet, or None."""
    selector = packet.data[0] if packet.data else None
    for key in ((packet.subtype, selector), (packet.subtype, None), (None, None)):
        name = _NAMES.get((packet.service, *key))
        if name is not None:
            return name
    return None


def _key(message: icd.Message) -> tuple[int, int | None, int | None]:
    """Service, subtype (None: it is the value of an enum) and structure id (None: it has none)."""
    return message.service, None if message.subtype_enum else message.subtype, message.selector


_NAMES = {_key(message): name for name, message in icd.PACKETS.items()}
_EVENTS = {event.code: event for event in icd.EVENTS.values()}


def address_name(address: int) -> str:
    """The name of a bus address: flight, power board, node 3."""
    if icd.Address.NODE_BASE <= address < icd.Address.ANY:
        return f"node {address - icd.Address.NODE_BASE}"
    return words.enum_name("address", address)


def _event(packet: Packet, fields: dict[str, Any]) -> Event:
    known = _EVENTS.get(fields["event"])
    names = known.args if known else ("arg0", "arg1")
    values = zip(names, (fields["arg0"], fields["arg1"]), strict=True)
    severity = icd.Severity(min(max(packet.subtype, icd.Severity.INFO), icd.Severity.HIGH))
    return Event(
        packet.t_us,
        fields["event"],
        known.name if known else f"event_{fields['event']}",
        severity,
        fields["source"],
        {name: value for name, value in values if name != "unused"},
    )
