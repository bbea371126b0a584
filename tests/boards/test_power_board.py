"""The power board over its line: configuration, autonomy, under-voltage, heater, pages, what survives a reset."""

from typing import Any

import pytest

from hal.icd import AckCode, ChannelState, ChargeMode, ElectronicsFlag, PowerFlag
from tests.boards.harness import CURVE_MV, POWER_BOARD, POWER_CONFIG, Board, Frame, Memory, events, one

COUNT = POWER_CONFIG["channels"]
OFF = (0, 0, 0)
ON = (1000, 1100, 1)
TIERS = [
    {"enter_cpct": 3000, "leave_cpct": 4000, "enter_mv": 78_000},
    {"enter_cpct": 2500, "leave_cpct": 3500, "enter_mv": 76_000},
]


class Power:
    """A power board whose channels do as they are told, with a battery at rest at 50 %."""

    def __init__(self, memory: Memory | None = None, configure: bool = True, **config: Any) -> None:
        self.board = Board(POWER_BOARD, memory)
        self.on = [False] * COUNT
        self.sensors: dict[str, Any] = {}
        self.tlm: dict[str, Any] = {}
        self.done: dict[str, Any] = {}
        self.states = [ChannelState.OFF] * COUNT
        if configure:
            assert self.board.command("power_config", **(POWER_CONFIG | config)) == AckCode.OK
            assert self.board.command("battery_curve", ocv_mv=CURVE_MV) == AckCode.OK
            assert self.board.command("shed_tiers", tiers=TIERS) == AckCode.OK

    def step(self) -> list[Frame]:
        channels = [ON if on else OFF for on in self.on]
        frames = self.board.tick(channels=channels, strings=[7000] * 16, **self.sensors)
        self.done = one(frames, "done_power").fields
        self.tlm = one(frames, "power_tlm").fields
        pages = [frame.fields for frame in frames if frame.name == "done_channels"]
        assert self.done["pages"] == len(pages)
        for page in pages:
            for k, setting in enumerate(page["channels"]):
                self.on[page["base"] + k] = bool(setting["on"])
                limits = (setting["limit_ma"], setting["trip_ms"])
                assert limits == (POWER_CONFIG["limit_ma"], POWER_CONFIG["trip_ms"])
        for frame in frames:
            if frame.name == "power_channels":
                for k, report in enumerate(frame.fields["channels"]):
                    self.states[frame.fields["base"] + k] = report["state"]
        return frames

    def run(self, seconds: float, talk: bool = True) -> list[Frame]:
        """talk: flight says something every second."""
        sent = []
        for k in range(round(seconds * 10)):
            if talk and k % 10 == 0:
                self.board.send("channel_clear", session=1, command_seq=0, channel=0)
            sent += self.step()
        return sent

    def want(self, channels: set[int]) -> int:
        mask = [0] * ((COUNT + 7) // 8)
        for i in channels:
            mask[i // 8] |= 1 << i % 8
        return self.board.command("channels_set", base=0, count=COUNT, mask=mask)

    @property
    def flags(self) -> int:
        return int(self.tlm["flags"])


def names(frames: list[Frame]) -> list[str]:
    return [name for name, _, _ in events(frames)]


def test_before_a_configuration_no_channel_and_little_charge():
    power = Power(configure=False)
    power.sensors = {"flags": ElectronicsFlag.ARRAY_PRESENT, "array_mv": 120_000, "array_ma": 10_000}
    power.run(1)
    assert (power.done["charge_ma"], power.done["pages"]) == (0, 0)
    power.run(31)
    assert (power.done["charge_ma"], power.done["charge_mv"]) == (1000, 91_800), "but not never"
    assert power.done["uvlo_mv"] == 0
    assert power.flags & PowerFlag.UNCONFIGURED
    assert power.want({0}) == AckCode.OUT_OF_RANGE


def test_channels_follow_their_orders():
    power = Power()
    power.step()
    assert power.want({0, 5, 29}) == AckCode.OK
    power.run(3)
    assert [i for i in range(COUNT) if power.on[i]] == [0, 5, 29]
    assert (power.tlm["channels_on"], power.tlm["load_mw"]) == (3, 270_000)
    assert [power.states[i] for i in (0, 1, 29)] == [ChannelState.ON, ChannelState.OFF, ChannelState.ON]
    power.want({5})
    power.run(0.2)
    assert [i for i in range(COUNT) if power.on[i]] == [5]


def test_settings_are_sent_when_one_changed_at_the_first_tick_and_once_a_second():
    power = Power()
    assert [f.fields["base"] for f in power.step() if f.name == "done_channels"] == [0, 24]
    again = [f.fields["base"] for f in power.run(5) if f.name == "done_channels"]
    assert (again.count(0), again.count(24)) == (5, 5)
    power.step()
    power.want({25})
    assert 24 in [f.fields["base"] for f in power.step() if f.name == "done_channels"]


def test_every_page_is_reported_once_a_second_and_a_changed_one_at_once():
    power = Power()
    power.run(2)
    bases = [f.fields["base"] for f in power.run(5) if f.name == "power_channels"]
    assert (bases.count(0), bases.count(24)) == (5, 5)
    power.want({25})
    assert [f.fields["base"] for f in power.step() if f.name == "power_channels"][-1] == 24


def test_autonomous_when_flight_is_silent_and_back_when_it_talks():
    power = Power()
    power.run(2)
    power.want({1, 2})
    power.run(3)
    sent = power.run(9.0, talk=False)
    assert names(sent) == []
    sent = power.run(0.6, talk=False)
    assert names(sent) == ["power_autonomous"]
    assert power.flags & PowerFlag.AUTONOMOUS
    power.run(60, talk=False)
    assert [i for i in range(COUNT) if power.on[i]] == [1, 2], "the last orders hold"
    assert power.done["charge_ma"] > 0
    sent = power.run(0.2)
    assert names(sent) == ["power_flight_back"]
    assert not power.flags & PowerFlag.AUTONOMOUS


def test_hello_requests_do_not_count_as_talk():
    power = Power()
    power.run(1)
    for _ in range(11):
        power.board.send("hello_req")
        power.run(1, talk=False)
    assert power.flags & PowerFlag.AUTONOMOUS


def test_sheds_by_its_table_also_without_flight():
    power = Power()
    power.run(3)
    assert power.board.command("shed_channels", base=0, tier=[1, 2] * (COUNT // 2)) == AckCode.OK
    power.want({0, 1, 2, 3})
    power.run(4)
    power.sensors = {"bus_mv": 77_000}
    sent = power.run(0.5, talk=False)
    assert ("power_shed", 1, power.tlm["soc_cpct"]) in events(sent)
    assert [i for i in range(COUNT) if power.on[i]] == [1, 3]
    assert power.states[0] == ChannelState.SHED
    power.sensors = {"bus_mv": 75_000}
    power.run(0.5, talk=False)
    assert not any(power.on)
    assert power.tlm["tier"] == 2
    power.sensors = {}
    sent = power.run(65, talk=False)
    assert names(sent).count("power_recovered") == 2
    assert [i for i in range(COUNT) if power.on[i]] == [0, 1, 2, 3]


def test_under_voltage_latch_is_cleared_when_the_bus_is_well_and_nothing_comes_back_by_itself():
    power = Power()
    power.run(3)
    power.want({0, 1})
    power.run(2)
    power.on = [False] * COUNT
    power.sensors = {"flags": ElectronicsFlag.UVLO_TRIPPED, "bus_mv": 71_000, "bus_min_mv": 71_000}
    sent = power.run(1)
    assert names(sent)[0] == "power_uvlo"
    assert power.want({0}) == AckCode.WRONG_STATE
    power.sensors = {"flags": ElectronicsFlag.UVLO_TRIPPED}
    power.run(9.5)
    assert power.done["clear_latches"] == 0
    power.run(1)
    assert power.done["clear_latches"] == 1
    power.sensors = {}
    power.run(70)
    assert power.done["clear_latches"] == 0
    assert not any(power.on)
    assert power.want({0}) == AckCode.OK
    power.run(1)
    assert power.on[0]


def test_heater_with_hysteresis():
    power = Power()
    heater = []
    for cdeg in (900, 301, 300, 500, 799, 800, 500, 301, 300):
        power.sensors = {"batt_cdeg": cdeg}
        power.step()
        heater.append(power.done["heater"])
    assert heater == [0, 0, 1, 1, 1, 0, 0, 0, 1]


def test_an_impossible_battery_temperature_stops_charge_and_heater():
    power = Power()
    power.run(4)
    power.sensors = {"batt_cdeg": -32_768}
    power.run(0.9)
    assert power.done["charge_ma"] > 0, "bridged by the last good one"
    power.run(0.3)
    assert (power.done["charge_ma"], power.done["heater"]) == (0, 0)
    assert power.flags & PowerFlag.SENSOR_FAULT
    power.sensors = {}
    power.run(0.2)
    assert power.done["charge_ma"] > 0


def test_no_charge_in_the_cold_and_it_is_said():
    power = Power()
    power.sensors = {"batt_cdeg": -100, "flags": ElectronicsFlag.ARRAY_PRESENT, "array_mv": 150_000}
    sent = power.run(4)
    assert ("power_charge_blocked", -100, ChargeMode.TOO_COLD) in events(sent)
    assert (power.done["charge_ma"], power.tlm["mode"]) == (0, ChargeMode.TOO_COLD)


def test_everything_that_was_loaded_survives_a_reset():
    memory = Memory()
    power = Power(memory)
    power.run(4)
    power.board.command("shed_channels", base=0, tier=[1, 2] * (COUNT // 2))
    power.want({0, 1})
    power.run(3)
    soc = power.tlm["soc_cpct"]
    assert 4900 <= soc <= 5000
    on = list(power.on)
    again = Power(memory, configure=False)
    assert again.board.hello.fields["boot_count"] == 2
    again.on = on  # the electronics kept them on
    again.step()
    assert not again.flags & PowerFlag.UNCONFIGURED
    assert again.on == on, "adopted"
    assert abs(again.tlm["soc_cpct"] - soc) <= 100
    again.sensors = {"bus_mv": 77_000}
    again.run(0.6)
    assert [i for i in range(COUNT) if again.on[i]] == [1], "the shed table is still there"


@pytest.mark.parametrize(
    "wrong",
    [
        {"heater_on_cdeg": 800, "heater_off_cdeg": 800},
        {"uvlo_mv": 98_400},
        {"array_vmp_mv": 205_000},
        {"array_vmp_mv": 0},
        {"capacity_mah": 100_000_001},
    ],
    ids=str,
)
def test_a_wrong_configuration_changes_nothing(wrong: dict[str, int]):
    power = Power()
    power.step()
    before = bytes(power.board.memory.content)
    assert power.board.command("power_config", **(POWER_CONFIG | wrong)) == AckCode.OUT_OF_RANGE
    assert bytes(power.board.memory.content) == before
    power.step()
    assert power.done["uvlo_mv"] == POWER_CONFIG["uvlo_mv"]


def test_a_wrong_curve_or_table_changes_nothing():
    power = Power()
    before = bytes(power.board.memory.content)
    assert power.board.command("battery_curve", ocv_mv=[*CURVE_MV[:-1], CURVE_MV[-2]]) == AckCode.OUT_OF_RANGE
    assert power.board.command("shed_tiers", tiers=TIERS[::-1]) == AckCode.OUT_OF_RANGE
    assert power.board.command("shed_channels", base=COUNT - 1, tier=[1, 1]) == AckCode.OUT_OF_RANGE
    assert bytes(power.board.memory.content) == before


def test_the_same_configuration_again_is_not_written_again():
    power = Power()
    writes = power.board.memory.writes
    assert power.board.command("power_config", **POWER_CONFIG) == AckCode.OK
    assert power.board.memory.writes == writes


def test_fewer_channels_only_when_none_is_on():
    power = Power()
    power.run(1)
    power.want({0})
    power.run(1)
    assert power.board.command("power_config", **(POWER_CONFIG | {"channels": 4})) == AckCode.WRONG_STATE
    power.want(set())
    power.run(1)
    assert power.board.command("power_config", **(POWER_CONFIG | {"channels": 4})) == AckCode.OK


def test_string_lost_while_tracking():
    power = Power()
    power.step()
    frames = []
    for k in range(20):
        lit = {"flags": ElectronicsFlag.ARRAY_PRESENT, "batt_ma": -5000, "array_ma": 90_000}
        strings = [7000] * 15 + [0 if k > 10 else 7000]
        sent = power.board.tick(strings=strings, array_mv=power.done["array_mv"], **lit)
        power.done = one(sent, "done_power").fields
        frames += sent
    assert events(frames) == [("power_string_lost", 15, 15)]
    assert one(sent, "power_tlm").fields["strings_live"] == 15
