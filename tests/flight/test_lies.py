"""Whatever sensors read, flight stays within what can be, and believes them again when they are right again."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from flight import icd
from flight.icd import BoardStatus, Mode, SensorState
from hal.rig import load_rig
from tests.flight.fake import FakePort

RIG = load_rig("demo")
SMALL = replace(RIG, satellite=replace(RIG.satellite, node=replace(RIG.satellite.node, count=4)), boards=RIG.boards[:5])
U32, I32, I16 = st.integers(0, 2**32 - 1), st.integers(-(2**31), 2**31 - 1), st.integers(-(2**15), 2**15 - 1)


def _some(**values: st.SearchStrategy[int]) -> st.SearchStrategy[dict[str, int]]:
    return st.fixed_dictionaries({}, optional=values)


POWER = _some(
    bus_mv=U32 | st.integers(60_000, 120_000), batt_ma=I32 | st.integers(-200_000, 200_000), hotel_mw=U32,
    array_mw=U32 | st.integers(0, 20_000_000), array_mv=U32, array_cdeg=I16, largest_string_mw=U32,
    load_mw=U32 | st.integers(0, 4_000_000), strings_live=st.integers(0, 255),
)  # fmt: skip
NODE = _some(power_mw=U32 | st.integers(0, 800_000), die_cdeg=I16, hbm_cdeg=I16, coolant_cdeg=I16,
             bus_cv=st.integers(0, 65_535))  # fmt: skip


@settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.tuples(POWER, st.lists(NODE, min_size=4, max_size=4)), min_size=1, max_size=3))
def test_any_lies_are_lived_through(fly, tmp_path_factory, lies):
    port = FakePort(SMALL)
    flown = fly(port, tmp_path_factory.mktemp("storage"))
    flown.command("node_on", node=65535)
    for job in range(1, 5):
        flown.command("job_submit", job_id=job, workload=1, priority=1, work_mu=4_000_000_000, checkpoint_s=5)
    flown.run(25)
    floor_mw, most_mw = (round(w * 1000) for w in (RIG.satellite.node.floor_w, RIG.satellite.node.max_w))
    for power, nodes in lies:
        port.power.lies = power
        for node, told in zip(port.nodes, nodes, strict=True):
            node.lies = told
        flown.run(3)
        assert all(n.cap_mw in (0, floor_mw) or floor_mw <= n.cap_mw <= most_mw for n in port.nodes)
        assert flown.executive.loop.board_status(0) == BoardStatus.READY
        assert all(-10_000 <= flown.executive.loop.nodes[i].tlm.die_cdeg <= 32_767 for i in range(4))
    for board in port.boards:
        board.lies = {}
    port.power.soc_cpct = 9000
    for second in range(100):  # what stands still is not trusted again: let it all move a little
        port.power.lies = {"bus_mv": 90_000 + 10 * (second % 3)}
        port.power.array_mw = 10_000_000 + 1000 * (second % 7)
        port.power.hotel_mw = 200_000 + 100 * (second % 5)
        for node in port.nodes:
            node.die_cdeg = 4000 + second % 3
            node.appetite_mw = 110_000 + 100 * (second % 4)
        flown.run(1)
    estimate = flown.last("hk_estimate")
    power = {f.name: estimate[f.name] for f in icd.PACKETS["hk_estimate"].fields if f.enum == "sensor_state"}
    assert {name for name, state in power.items() if state != SensorState.TRUSTED} <= {"soc"}
    assert flown.executive.loop.status().mode == Mode.NOMINAL
    assert all(n.cap_mw >= floor_mw for n in port.nodes)
