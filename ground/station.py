"""The ground station as a script sees it: connect, command, wait, read. Every wait is in simulated time."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from types import TracebackType
from typing import Any

from ground import icd, packets
from ground.commanding import Command, encode
from ground.errors import CommandRefused, LinkError, UsageError, WaitTimeout
from ground.link import DEFAULT_URL, Link, wall_s
from ground.packets import Packet, Splitter
from ground.telemetry import Event, Report, Sample, Telemetry

SILENCE_S = 30.0  # of wall-clock time without a byte: the outer guard against a hang
ICD_WITHIN_S = 5.0  # simulated; housekeeping comes every second unless an operator changed it
FIRST_STEP_US = 100_000
_PUMP_S = 0.1
_ALL_ACKS = packets.ACK_ACCEPT | packets.ACK_START | packets.ACK_COMPLETE
Predicate = Callable[[Sample], bool]


class Station:
    """A connection to one satellite.

    A station that holds time makes the satellite stand still whenever the script is not waiting, so that the same
    script sees the same telemetry at any speed; a live station (hold=False) lets it fly on.
    """

    def __init__(
        self, link: Link, *, reconnect: bool = False, step_s: float = 1.0, silence_s: float = SILENCE_S
    ) -> None:
        self.telemetry_state = Telemetry()
        self.commands: list[Command] = []
        self.holding = False
        self.reconnections = 0
        self.reconnect_within_s = silence_s  # wall-clock time that a lost line may take to come back
        self.taps: list[Callable[[bytes], None]] = []  # called with every chunk received
        self.idlers: list[Callable[[], None]] = []  # called at least every 0.1 s of wall-clock time while waiting
        self._link = link
        self._reconnect = reconnect
        self._step_us = int(step_s * 1e6)
        self._silence_s = silence_s
        self._splitter = Splitter(packets.TM, _APIDS)
        self._watchers: list[Callable[[Sample | Event], None]] = []
        self._pending: dict[int, Command] = {}
        self._sequences: dict[int, int] = {}
        self._icd_hash: int | None = None
        self._held_at_us: int | None = None

    @classmethod
    def connect(
        cls,
        url: str = DEFAULT_URL,
        *,
        hold: bool = True,
        within_s: float = 10.0,
        reconnect: bool = False,
        step_s: float = 1.0,
        silence_s: float = SILENCE_S,
    ) -> Station:
        """Connects to the radio at url (tcp:HOST:PORT), trying again for within_s of wall-clock time.

        hold: the satellite waits for this station (see hold). reconnect: connect again when the line ends, instead of
        raising LinkError. step_s: how far a held satellite runs between two looks at its telemetry.
        silence_s: wall-clock time without a byte after which a wait gives up.
        """
        link = Link(url)
        link.open(within_s)
        station = cls(link, reconnect=reconnect, step_s=step_s, silence_s=silence_s)
        if hold:
            station.hold()
        return station

    def __enter__(self) -> Station:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection; a held satellite flies on."""
        self._link.close()

    # ------------------------------------------------------------------ what is known
    @property
    def url(self) -> str:
        """Where the satellite is."""
        return self._link.url

    @property
    def up(self) -> bool:
        """Whether the line is up."""
        return self._link.up

    @property
    def t_us(self) -> int:
        """Simulated time: where a held satellite stands, else the newest telemetry; 0 before any."""
        return max(self.telemetry_state.t_us, self._held_at_us or 0)

    @property
    def t_s(self) -> float:
        """Simulated time, s."""
        return self.t_us / 1e6

    @property
    def telemetry(self) -> dict[str, Sample]:
        """The latest sample of every packet by its name, such as telemetry["hk_power"].bus_mv."""
        return self.telemetry_state.latest

    @property
    def nodes(self) -> list[Sample]:
        """The rows of the latest hk_nodes."""
        return self.telemetry_state.nodes

    @property
    def health(self) -> list[Sample]:
        """The rows of the latest hk_health: the power board, then the nodes."""
        return self.telemetry_state.health

    @property
    def jobs(self) -> dict[int, Sample]:
        """The last row of every job that the satellite has spoken of."""
        return self.telemetry_state.jobs

    @property
    def events(self) -> list[Event]:
        """The events received, oldest first."""
        return list(self.telemetry_state.events)

    @property
    def link_counters(self) -> dict[str, int]:
        """What the line lost: skipped bytes, damaged, lost and unknown packets, reconnections."""
        return {
            "packets": self.telemetry_state.packets,
            "lost_packets": self.telemetry_state.lost_packets,
            "unknown_packets": self.telemetry_state.unknown_packets,
            "skipped_bytes": self._splitter.skipped_bytes,
            "crc_errors": self._splitter.crc_errors,
            "reconnections": self.reconnections,
        }

    # ------------------------------------------------------------------ commanding
    def send(self, name: str, **arguments: Any) -> Command:
        """Sends a telecommand and returns it at once; wait with .accepted(), .started() or .completed().

        Raises UsageError (unknown command or argument, out of range: nothing is sent), CommandRefused (the satellite
        speaks another ICD), LinkError.
        """
        message, data = encode(name, arguments)
        if icd.Apid[message.apid.upper()] == icd.Apid.RADIO:
            raise UsageError(f"command {name} controls the radio: use hold(), go() and release()")
        self.check_icd()
        return self._transmit(name, message, data, arguments)

    def check_icd(self) -> None:
        """Makes sure that the satellite speaks our ICD, asking it if it has not said yet. Raises CommandRefused."""
        if self._icd_hash is None and not self._run(lambda: self._icd_hash is not None, ICD_WITHIN_S):
            self._transmit("hk_request", *encode("hk_request", {"structure": 1}), {"structure": 1})
            self._run(lambda: self._icd_hash is not None, ICD_WITHIN_S)
        if self._icd_hash is None:
            raise CommandRefused(f"{self.url} sent no hk_flight, so its ICD is unknown: no command was sent")
        if self._icd_hash != icd.ICD_HASH:
            raise CommandRefused(
                f"{self.url} speaks ICD {self._icd_hash:016x}, ground speaks {icd.ICD_HASH:016x}: no command was sent; "
                "build flight and ground from one ICD"
            )

    def parameters(self, *names: str, within: float = 10.0) -> dict[str, float]:
        """Reads parameters of the satellite. Raises as send, and WaitTimeout."""
        wanted = {icd.PARAMETERS[name].id if name in icd.PARAMETERS else 0 for name in names}
        command = self.send("parameter_get", parameters=list(names))
        report = self._await_sample(
            "parameter_report", lambda s: wanted <= {row["parameter"] for row in s["values"]}, within
        )
        command.completed(within=within)
        by_id = {p.id: p.name for p in icd.PARAMETERS.values()}
        return {by_id[row["parameter"]]: row["value"] for row in report["values"]}

    # ------------------------------------------------------------------ waiting
    def wait(self, name: str, predicate: Predicate | None = None, *, within: float) -> Sample:
        """Waits for a NEW sample of a packet that fulfils predicate; returns it.

        within: simulated seconds. Samples received before the call never count. Raises WaitTimeout, LinkError,
        UsageError (no such packet).
        """
        if name not in icd.PACKETS:
            raise UsageError(f"unknown packet {name!r}: expected one of {' '.join(icd.PACKETS)}")
        self._drain()
        return self._await_sample(name, predicate, within)

    def wait_event(self, name: str, predicate: Callable[[Event], bool] | None = None, *, within: float) -> Event:
        """Waits for a NEW event of this name. Raises WaitTimeout, LinkError, UsageError (no such event)."""
        if name not in icd.EVENTS:
            raise UsageError(f"unknown event {name!r}: expected one of {' '.join(icd.EVENTS)}")
        self._drain()
        found: list[Event] = []

        def look(item: Sample | Event) -> None:
            if isinstance(item, Event) and item.name == name and (predicate is None or predicate(item)):
                found.append(item)

        if not self._watching(look, lambda: bool(found), within):
            raise WaitTimeout(f"no event {name} within {within:g} s (simulated time {self.t_s:.1f} s)")
        return found[0]

    def advance(self, seconds: float) -> None:
        """Lets simulated time pass."""
        self._run(lambda: False, seconds)

    def until(self, t_s: float) -> None:
        """Lets simulated time pass up to t_s after mission start; returns at once if it is over."""
        if self.t_us < t_s * 1e6:
            self.advance(t_s - self.t_s)

    # ------------------------------------------------------------------ holding time
    def hold(self) -> None:
        """Makes the satellite stand still except in waits. Raises LinkError."""
        self.holding = True
        self._request_hold()
        self._guarded(lambda: self._held_at_us is not None)

    def release(self) -> None:
        """Lets a held satellite fly on by its own pace."""
        self.holding = False
        self._held_at_us = None
        self._send_radio("link_hold", hold=0)

    def go(self, until_s: float) -> None:
        """Lets a held satellite run until simulated time until_s (to its first tick at or after it)."""
        if not self.holding:
            raise UsageError("go() needs a station that holds time: call hold() first")
        self._go(round(until_s * 1e6))

    def _request_hold(self) -> None:
        self._held_at_us = None
        self._send_radio("link_hold", hold=1)

    def _go(self, until_us: int) -> None:
        asked: tuple[int, int] | None = None

        def there() -> bool:
            nonlocal asked
            if self._held_at_us is None or self._held_at_us >= until_us:
                return self._held_at_us is not None
            standing = (self.reconnections, self._held_at_us)
            if asked != standing:  # a standstill short of the goal: at first, and after a reconnection
                asked = standing
                self._send_radio("link_go", t_us=until_us)
            return False

        self._guarded(there)

    # ------------------------------------------------------------------ the machinery
    def _await_sample(self, name: str, predicate: Predicate | None, within: float) -> Sample:
        found: list[Sample] = []

        def look(item: Sample | Event) -> None:
            if isinstance(item, Sample) and item.name == name and (predicate is None or predicate(item)):
                found.append(item)

        if not self._watching(look, lambda: bool(found), within):
            what = "fulfilled the condition" if predicate else "came"
            raise WaitTimeout(f"no {name} {what} within {within:g} s (simulated time {self.t_s:.1f} s)")
        return found[0]

    def _watching(self, look: Callable[[Sample | Event], None], done: Callable[[], bool], within: float) -> bool:
        self._watchers.append(look)
        try:
            return self._run(done, within)
        finally:
            self._watchers.remove(look)

    def _run(self, done: Callable[[], bool], within: float) -> bool:
        """Lets time pass until done, or for `within` simulated seconds; returns whether it is done."""
        if not self.holding:
            return self._run_live(done, within)
        deadline_us = self.t_us + round(within * 1e6)
        step_us = FIRST_STEP_US
        while not done() and self.t_us < deadline_us:
            self._go(min(self.t_us + step_us, deadline_us))
            step_us = min(2 * step_us, self._step_us)
        return done()

    def _run_live(self, done: Callable[[], bool], within: float) -> bool:
        # Before the first packet nobody knows the time; the wait starts with it.
        self._guarded(lambda: done() or self.telemetry_state.packets > 0)
        deadline_us = self.t_us + round(within * 1e6)
        self._guarded(lambda: done() or self.t_us >= deadline_us)
        return done()

    def _guarded(self, done: Callable[[], bool]) -> None:
        """Pumps until done. Raises LinkError when the line ends (unless it reconnects) or is silent for too long."""
        heard_s = wall_s()
        while not done():
            if self.pump(_PUMP_S):
                heard_s = wall_s()
            elif wall_s() - heard_s > self._silence_s:
                raise LinkError(
                    f"{self.url} was silent for {self._silence_s:g} s of wall-clock time "
                    f"(simulated time {self.t_s:.1f} s)"
                )

    def _drain(self) -> None:
        while self.pump(0.0):
            pass

    def pump(self, timeout_s: float) -> bool:
        """Takes what has arrived, waiting up to timeout_s of wall-clock time; returns whether anything had.

        Raises LinkError when the line has ended and this station does not reconnect.
        """
        data = self._link.receive(timeout_s)
        for idler in self.idlers:
            idler()
        if data is None:
            self._line_ended()
            return False
        if not data:
            return False
        for tap in self.taps:
            tap(data)
        for packet in self._splitter.feed(data):
            self._packet(packet)
        return True

    def _line_ended(self) -> None:
        if not self._reconnect:
            raise LinkError(f"the link to {self.url} ended (simulated time {self.t_s:.1f} s)")
        self._link.open(self.reconnect_within_s)
        self.reconnections += 1
        self._splitter = Splitter(packets.TM, _APIDS)
        self.telemetry_state.forget_sequence()
        self._icd_hash = None
        if self.holding:
            self._request_hold()

    def _packet(self, packet: Packet) -> None:
        if packet.apid == icd.Apid.RADIO:
            fields = icd.decode("link_time", packet.data)
            self._held_at_us = fields["t_us"] if fields["holding"] and self.holding else None
            return
        item = self.telemetry_state.take(packet)
        if isinstance(item, Report):
            if item.request in self._pending:
                self._pending[item.request].report(item)
        elif item is not None:
            if isinstance(item, Sample) and item.name == "hk_flight":
                self._icd_hash = item["icd_hash"]
            for watcher in tuple(self._watchers):
                watcher(item)

    def _send_radio(self, name: str, **arguments: int) -> None:
        message = icd.COMMANDS[name]
        self._uplink(packets.pack(self._telecommand(message, icd.encode(name, **arguments), 0)))

    def _uplink(self, data: bytes) -> None:
        try:
            self._link.send(data)
        except LinkError:
            self._line_ended()
            self._link.send(data)

    def _transmit(self, name: str, message: icd.Message, data: bytes, arguments: dict[str, Any]) -> Command:
        packet = self._telecommand(message, data, _ALL_ACKS)
        command = Command(name, arguments, packet.request_id, self.t_us, self._run)
        self._pending[packet.request_id] = command
        self.commands.append(command)
        self._uplink(packets.pack(packet))
        return command

    def _telecommand(self, message: icd.Message, data: bytes, acks: int) -> Packet:
        apid = int(icd.Apid[message.apid.upper()])
        # Held flights are the same every time; live stations must not take each other's reports for their own.
        sequence = self._sequences.get(apid, 0 if self.holding else secrets.randbelow(1 << 14))
        self._sequences[apid] = (sequence + 1) & 0x3FFF
        return Packet(packets.TC, apid, message.service, message.subtype, data, sequence, acks)


_APIDS = frozenset(int(apid) for apid in icd.Apid)
