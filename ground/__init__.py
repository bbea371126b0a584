"""The ground station of Dawnline: commands a satellite over its radio, shows and records what it does.

from ground import Mode, Station

with Station.connect("tcp:127.0.0.1:10025") as station:
    station.wait("hk_flight", lambda s: s.mode == Mode.NOMINAL, within=60)
    station.send("node_on", node=3).completed(within=120)
"""

from ground.commanding import Command, State
from ground.errors import (
    CommandFailed,
    CommandRefused,
    CommandTimeout,
    GroundError,
    LinkError,
    UsageError,
    WaitTimeout,
)
from ground.icd import BoardStatus, ChargeMode, JobState, Mode, NodeState, Severity, Workload
from ground.station import Station
from ground.telemetry import Event, Sample

__all__ = [
    "BoardStatus",
    "ChargeMode",
    "Command",
    "CommandFailed",
    "CommandRefused",
    "CommandTimeout",
    "Event",
    "GroundError",
    "JobState",
    "LinkError",
    "Mode",
    "NodeState",
    "Sample",
    "Severity",
    "State",
    "Station",
    "UsageError",
    "WaitTimeout",
    "Workload",
]
