"""What came down, kept as it came: raw packets, decoded only when somebody asks."""

from __future__ import annotations

from collections.abc import Iterator

from ground import icd, packets
from ground.commanding import Command
from ground.packets import Packet, Splitter
from ground.station import Station


class Recorder:
    """Collects telemetry of one flight, from a Station or directly from downlinked bytes."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._station: Station | None = None

    @classmethod
    def of(cls, station: Station) -> Recorder:
        """A recorder of everything that this station receives from now on."""
        recorder = cls()
        recorder._station = station
        station.taps.append(recorder.feed)
        return recorder

    def feed(self, data: bytes) -> None:
        """Takes downlinked bytes: space packets in any chunking. Costs an append."""
        self._chunks.append(data)

    @property
    def commands(self) -> list[Command]:
        """The commands that the station sent; none if the bytes were fed directly."""
        return [] if self._station is None else self._station.commands

    def packets(self) -> Iterator[Packet]:
        """Every telemetry packet in the order of reception."""
        splitter = Splitter(packets.TM, frozenset(int(apid) for apid in icd.Apid))
        for chunk in self._chunks:
            yield from splitter.feed(chunk)
