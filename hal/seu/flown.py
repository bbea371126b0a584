"""What boards are told in a flown scenario, tick by tick, and the moments in it that flips are tried in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from hal import frames, icd
from hal.link import Board, Link, open_link
from hal.parity.fly import scenario
from hal.parity.script import Script
from hal.rig import Rig, load_rig
from hal.world import World

TICKS = 400
WINDOW = 12
"""Ticks as flown after a flip; then the challenge."""
_BOOT_S = 8.0  # of an accelerator; the satellite's own takes longer than the scenario


@dataclass(frozen=True, slots=True)
class Phase:
    """A moment of the scenario for the board in `role`: flips come in tick `tick`."""

    name: str
    role: str
    tick: int


def _phase(name: str, role: str, share: float) -> Phase:
    return Phase(name, role, round(share * TICKS))


PHASES = {
    "node": (
        _phase("accelerator boots", "node0", 0.080),
        _phase("job", "node0", 0.220),
        _phase("reset", "node0", 0.300),
        _phase("lease runs out", "node0", 0.410),
        _phase("commands", "node0", 0.600),
        _phase("latch-up", "node1", 0.549),
        _phase("hang", "node2", 0.652),
        _phase("switched off", "node0", 0.905),
    ),
    "power": (
        _phase("channels start", "power", 0.030),
        _phase("sunlight", "power", 0.150),
        _phase("eclipse", "power", 0.320),
        _phase("reset", "power", 0.500),
        _phase("channel trips", "power", 0.554),
        _phase("commands", "power", 0.600),
        _phase("channel off", "power", 0.720),
    ),
}
"""Kind of board -> its phases; shares as in `hal.parity.script`."""


@dataclass
class Flown:
    """The rig, and the bytes that each board got in each tick."""

    rig: Rig
    inputs: dict[str, list[bytes]] = field(default_factory=dict)


class _Overheard:
    """A link that keeps what is sent on it."""

    def __init__(self, inner: Link, keep: Callable[[bytes], None]) -> None:
        self.url, self.lossy = inner.url, inner.lossy
        self._inner, self._keep = inner, keep
        self.fileno, self.recv, self.close = inner.fileno, inner.recv, inner.close

    def send(self, data: bytes) -> None:
        self._keep(data)
        self._inner.send(data)


def fly() -> Flown:
    """Fly the scenario of `hal parity` on mocks, with what breaks in the plant alone. Raises `HalError`."""
    desk = load_rig("desk")
    satellite = replace(desk.satellite, node=replace(desk.satellite.node, boot_s=_BOOT_S))
    rig = scenario(replace(desk, satellite=satellite), TICKS)
    flown = Flown(replace(rig, faults=tuple(f for f in rig.faults if f.board is None)))

    def opener(url: str, board: Board) -> Link:
        heard = flown.inputs.setdefault(board.role, [])

        def keep(data: bytes) -> None:
            heard.extend([b""] * (world.tick - len(heard)))
            heard[-1] += data

        return _Overheard(open_link(url, board), keep)

    with World(flown.rig, "mock", opener=opener) as world:
        script = Script(world.rig, TICKS * world.tick_us)
        for _ in range(TICKS + WINDOW + CHALLENGE):
            world.step(script)
    return flown


# What the board meets when the window is over, by the tick after its end: everything that it protects against.
_HOT_CDEG = 12_000
_CHALLENGE: dict[str, dict[int, dict[str, int]]] = {
    "tick_node": {
        **{k: {"die_cdeg": _HOT_CDEG} for k in (8, 9, 10)},
        **{k: {"mean_ma": 20_000} for k in (15, 16, 17)},
    },
    "tick_power": {
        **{k: {"batt_cdeg": 5000} for k in (2, 3, 4)},
        **{k: {"bus_mv": 73_000, "bus_min_mv": 73_000} for k in (7, 8, 9)},
        **{k: {"flags": icd.ElectronicsFlag.UVLO_TRIPPED} for k in (13, 14, 15)},
    },
}
CHALLENGE = 24
"""Ticks of it; flight is silent in all of them, so that leases run out."""


def challenge(data: bytes, k: int) -> bytes:
    """What a board gets in the k-th tick of the challenge instead of `data`."""
    out = b""
    for frame in frames.decode(data):
        if frame.src != icd.Address.BENCH:
            continue
        changes = _CHALLENGE.get(frame.name, {}).get(k)
        if changes is None:
            out += frame.wire
        else:
            values = icd.decode(frame.name, frame.payload) | changes
            out += frames.encode(frame.name, frame.src, frame.dst, frame.seq, frame.t_us, **values)
    return out


def inputs_of(flown: Flown, phase: Phase) -> list[bytes]:
    """What the board gets from the phase's tick on: as flown, then the challenge."""
    heard = flown.inputs[phase.role]
    end = phase.tick + WINDOW
    return heard[phase.tick : end] + [challenge(heard[end + k], k) for k in range(CHALLENGE)]
