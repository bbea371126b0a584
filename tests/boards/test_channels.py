"""Switched channels against a model of their electronics: trips, retries, quarantine, stagger, shedding, adoption."""

from itertools import pairwise
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hal._native import ffi, lib
from hal.icd import BoardEvent, ChannelState, ChannelStatus

COUNT = 30
STEP_MS = 100
RULES = {"retry_ms": 5000, "stagger_ms": 500, "retries": 2}
DRIVEN = (ChannelState.ON, ChannelState.STARTING)


class Bench:
    """The C channels with their electronics: a channel that is short-circuited trips one step after it is driven."""

    def __init__(self) -> None:
        self.c = ffi.new("struct channels *")
        self.rules = ffi.new("struct channels_rules *", RULES)
        self.shed = ffi.new("struct shed *")
        tier = ffi.new("struct bus_shed_tier[]", [{"enter_cpct": 3000, "leave_cpct": 4000, "enter_mv": 0}])
        assert lib.shed_load(self.shed, tier, 1) == 0
        self.events = ffi.new("struct events *")
        self.t_ms = 2**32 - 3000  # wraps early on
        self.shorted: set[int] = set()
        self.tripped: set[int] = set()
        self.wanted = [False] * COUNT
        self.starts: list[int] = []
        self.said: list[tuple[int, int, int]] = []
        lib.channels_configure(self.c, COUNT, self.now)
        self.sense()

    @property
    def now(self) -> int:
        return self.t_ms % 2**32

    def state(self, i: int) -> int:
        return int(self.c.list[i].state)

    def sense(self, on: dict[int, int] | None = None) -> None:
        for base in range(0, COUNT, lib.CHANNELS_PER_PAGE):
            rows = []
            for i in range(base, min(base + lib.CHANNELS_PER_PAGE, COUNT)):
                driven = self.state(i) in DRIVEN or i in (on or {})
                status = ChannelStatus.TRIPPED if i in self.tripped else driven * ChannelStatus.ON
                rows.append({"mean_ma": 1000 * (driven and i not in self.tripped), "status": status})
            page = ffi.new("struct bus_tick_channels *", {"base": base, "count": len(rows), "channels": rows})
            lib.channels_sense(self.c, page, self.now)

    def step(self) -> None:
        before = [self.state(i) in DRIVEN for i in range(COUNT)]
        self.t_ms += STEP_MS
        self.tripped = {i for i in range(COUNT) if before[i] and (i in self.shorted or i in self.tripped)}
        self.sense()
        lib.channels_step(self.c, self.now, self.rules, self.shed, self.events)
        for k in range(self.events.count):
            entry = self.events.list[k]
            self.said.append((entry.code, entry.arg0, entry.arg1))
        self.events.count = 0
        started = [i for i in range(COUNT) if self.state(i) in DRIVEN and not before[i]]
        assert len(started) <= 1
        if started:
            self.starts.append(self.t_ms)

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * 1000 / STEP_MS)):
            self.step()

    def want(self, channels: dict[int, bool]) -> None:
        for i, on in channels.items():
            self.wanted[i] = on
        mask = [0] * 20
        for i, on in enumerate(self.wanted):
            mask[i // 8] |= on << i % 8
        message = {"base": 0, "count": COUNT, "mask_bytes": 20, "mask": mask}
        assert lib.channels_want(self.c, ffi.new("struct bus_channels_set *", message)) == 0

    def told(self, code: int) -> list[tuple[int, int]]:
        return [(arg0, arg1) for c, arg0, arg1 in self.said if c == code]


def test_channels_start_one_after_another():
    bench = Bench()
    bench.want(dict.fromkeys(range(10), True))
    bench.run(7)
    assert bench.c.on == 10
    assert {b - a for a, b in pairwise(bench.starts)} == {500}


def test_a_count_of_waiting_channels_that_is_wrong_starts_none():
    bench = Bench()
    bench.c.waiting = 3
    bench.run(2)
    assert (bench.starts, bench.c.waiting) == ([], 0)
    bench.want({29: True})
    bench.run(2)
    assert bench.c.on == 1


def test_trips_are_retried_and_then_quarantined():
    bench = Bench()
    bench.shorted = {3}
    bench.want({3: True, 4: True})
    bench.run(30)
    assert bench.told(BoardEvent.POWER_CHANNEL_TRIPPED) == [(3, 2), (3, 1)]
    assert bench.told(BoardEvent.POWER_CHANNEL_QUARANTINED) == [(3, 3)]
    assert (bench.state(3), bench.state(4)) == (ChannelState.QUARANTINED, ChannelState.ON)
    bench.shorted = set()
    bench.run(60)
    assert bench.state(3) == ChannelState.QUARANTINED, "released by command only"
    assert lib.channels_clear(bench.c, 3) == 0
    bench.run(2)
    assert bench.state(3) == ChannelState.ON


def test_off_and_on_does_not_shorten_the_off_time():
    bench = Bench()
    bench.shorted = {0}
    bench.want({0: True})
    bench.run(1)
    tripped_at = bench.t_ms
    assert bench.state(0) == ChannelState.TRIPPED
    bench.want({0: False})
    bench.run(0.5)
    assert bench.state(0) == ChannelState.OFF
    bench.want({0: True})
    bench.starts.clear()
    bench.run(6)
    assert bench.starts[0] >= tripped_at - 1000 + RULES["retry_ms"]


def test_retries_are_forgotten_after_a_minute():
    bench = Bench()
    bench.want({0: True})
    for _ in range(6):
        bench.shorted = {0}
        bench.run(0.7)
        bench.shorted = set()
        bench.run(70)
        assert bench.state(0) == ChannelState.ON
    assert bench.told(BoardEvent.POWER_CHANNEL_TRIPPED) == [(0, 2)] * 6


def test_more_trips_than_room_for_events_are_all_said():
    bench = Bench()
    bench.want(dict.fromkeys(range(COUNT), True))
    bench.run(20)
    assert bench.c.on == COUNT
    bench.shorted = set(range(COUNT))
    bench.run(1)
    assert sorted(bench.told(BoardEvent.POWER_CHANNEL_TRIPPED)) == [(i, 2) for i in range(COUNT)]


def test_channels_that_are_on_at_boot_are_adopted():
    bench = Bench()
    fresh = ffi.new("struct channels *")
    lib.channels_configure(fresh, COUNT, bench.now)
    bench.c = fresh
    bench.sense(on={2: 1, 27: 1})
    lib.channels_step(fresh, bench.now, bench.rules, bench.shed, bench.events)
    assert [i for i in range(COUNT) if bench.state(i) == ChannelState.ON] == [2, 27]
    bench.sense(on={5: 1})
    lib.channels_step(fresh, bench.now, bench.rules, bench.shed, bench.events)
    assert bench.state(5) == ChannelState.OFF, "only what is on at the first look"


class ChannelsModel(RuleBasedStateMachine):
    """Whatever flight wants and the electronics do, these hold."""

    @initialize()
    def begin(self) -> None:
        self.bench = Bench()

    @rule(channels=st.dictionaries(st.integers(0, COUNT - 1), st.booleans(), max_size=COUNT))
    def want(self, channels: dict[int, bool]) -> None:
        self.bench.want(channels)

    @rule(steps=st.integers(1, 80))
    def run(self, steps: int) -> None:
        self.bench.run(steps / 10)

    @rule(shorted=st.sets(st.integers(0, COUNT - 1), max_size=5))
    def short(self, shorted: set[int]) -> None:
        self.bench.shorted = shorted

    @rule(channel=st.integers(0, COUNT - 1))
    def clear(self, channel: int) -> None:
        lib.channels_clear(self.bench.c, channel)

    @rule(soc=st.sampled_from([1000, 9000]), steps=st.sampled_from([3, 301]))
    def charge(self, soc: int, steps: int) -> None:
        for _ in range(steps):
            lib.shed_step(self.bench.shed, STEP_MS * 1000, 1, soc, 90_000)
        self.bench.want({})  # as power_board_step does when the tier changes: there is something to do
        self.bench.run(0.1)

    @rule()
    def drop_all(self) -> None:
        lib.channels_drop_all(self.bench.c)
        self.bench.wanted = [False] * COUNT

    @invariant()
    def holds(self) -> None:
        if not hasattr(self, "bench"):
            return
        c = self.bench.c
        states = [self.bench.state(i) for i in range(COUNT)]
        assert c.on == states.count(ChannelState.ON)
        assert c.waiting == states.count(ChannelState.WAIT)
        assert c.sum_ma == sum(c.list[i].mean_ma for i in range(COUNT))
        assert all(b - a >= RULES["stagger_ms"] for a, b in pairwise(self.bench.starts))
        assert all(c.list[i].trips <= RULES["retries"] + 1 for i in range(COUNT))

    @rule()
    def settled(self) -> None:
        """Left alone, every channel ends where it belongs."""
        self.bench.shorted = set()
        self.bench.run(COUNT * 0.5 + 6)
        for i in range(COUNT):
            state = self.bench.state(i)
            if state == ChannelState.QUARANTINED:
                continue
            if not self.bench.wanted[i]:
                assert state == ChannelState.OFF
            elif self.bench.shed.tier:
                assert state == ChannelState.SHED
            else:
                assert state == ChannelState.ON


TestChannels = ChannelsModel.TestCase


def test_commands_for_channels_that_are_not_there_change_nothing():
    bench = Bench()
    message: dict[str, Any] = {"base": 1, "count": COUNT, "mask_bytes": 4, "mask": [255] * 4}
    assert lib.channels_want(bench.c, ffi.new("struct bus_channels_set *", message)) == -1
    message = {"base": 0, "count": 17, "mask_bytes": 2, "mask": [255] * 2}
    assert lib.channels_want(bench.c, ffi.new("struct bus_channels_set *", message)) == -1
    assert lib.channels_clear(bench.c, COUNT) == -1
    bench.run(1)
    assert bench.c.on == 0
