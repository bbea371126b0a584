"""What speaks to the boards in flight's place: a script that uses every command, rightly and wrongly, by the clock.

It hears nothing, so that what it says is the same whatever the boards do; the boards' answers are what is compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hal import frames, icd
from hal._native import lib
from hal.rig import Rig
from hal.satellite import Satellite

SESSION = 7
LEASE_US = 3_000_000
_ALL_SHED_TIERS = 4


def _node_config(s: Satellite) -> dict[str, int]:
    n = s.node
    return {
        "floor_mw": round(n.floor_w * 1e3), "max_mw": round(n.max_w * 1e3), "boot_ms": round(n.boot_s * 1e3),
        "clock_max_mhz": n.clock_max_mhz, "die_limit_cdeg": round(n.die_limit_c * 100),
        "hbm_limit_cdeg": round(n.hbm_limit_c * 100), "bus_min_mv": round(n.input_min_v * 1e3),
        "latch_up_ma": round(n.latch_up_a * 1e3), "hang_ms": round(n.hang_s * 1e3),
    }  # fmt: skip


def _power_config(s: Satellite) -> dict[str, int]:
    b, bus, a = s.battery, s.bus, s.array
    return {
        "channels": s.node.count, "strings": a.strings, "capacity_mah": round(b.capacity_ah * 1e3),
        "charge_ma": round(b.capacity_ah * b.charge_c_rate * 1e3),
        "charge_mv": round(b.charge_cell_v * b.series_cells * 1e3), "soc_limit_cpct": round(b.soc_limit * 1e4),
        "uvlo_mv": round(bus.uvlo_v * 1e3), "limit_ma": round(bus.lcl_class_a * 1e3), "trip_ms": bus.lcl_trip_ms,
        "retries": bus.lcl_retries, "retry_ms": round(bus.lcl_retry_s * 1e3),
        "stagger_ms": round(bus.stagger_s * 1e3), "silence_ms": round(bus.silence_s * 1e3),
        "heater_on_cdeg": round(b.heater_on_c * 100), "heater_off_cdeg": round(b.heater_off_c * 100),
        "array_voc_mv": round(a.voc_v * 1.2e3), "array_vmp_mv": round(a.vmp_v * 1e3),
    }  # fmt: skip


class Script:
    """A participant for `World.step`. `length_us`: of the whole scenario, whose parts are shares of it."""

    def __init__(self, rig: Rig, length_us: int) -> None:
        self._s = rig.satellite
        self._nodes = rig.nodes
        self._length_us = length_us
        self._dt_us = rig.tick_us
        self._seq: dict[int, int] = {}
        self._command = 0
        self._lease = 0

    def __call__(self, t_us: int, _: memoryview) -> bytes:
        out = b""
        for board in range(self._nodes + 1):
            data = b"".join(self._power(t_us) if board == 0 else self._node(board - 1, t_us))
            if data:
                out += board.to_bytes(2, "little") + len(data).to_bytes(2, "little") + data
        return out

    # ------------------------------------------------------------ when
    def _at(self, t_us: int, share: float) -> bool:
        """True in the tick in which this share of the scenario is reached."""
        moment = round(share * self._length_us)
        return t_us - self._dt_us < moment <= t_us

    def _within(self, t_us: int, begin: float, end: float) -> bool:
        return begin * self._length_us <= t_us < end * self._length_us

    def _every(self, t_us: int, period_s: float) -> bool:
        period_us = round(period_s * 1e6)
        return t_us // period_us != (t_us - self._dt_us) // period_us

    # ------------------------------------------------------------ what
    def _frame(self, board: int, name: str, t_us: int, **values: Any) -> bytes:
        seq = self._seq.get(board, 0)
        self._seq[board] = seq + 1
        address = int(lib.bus_address_of(board))
        return frames.encode(name, icd.Address.FLIGHT, address, seq & 0xFFFF, t_us, **values)

    def _order(self, board: int, name: str, t_us: int, session: int = SESSION, **values: Any) -> bytes:
        self._command += 1
        return self._frame(board, name, t_us, session=session, command_seq=self._command, **values)

    def _power(self, t_us: int) -> Iterator[bytes]:
        s = self._s
        if self._at(t_us, 0.002):
            yield self._order(0, "power_config", t_us, **_power_config(s))
            curve = [round(v * s.battery.series_cells * 1e3) for v in s.battery.ocv_cell_v]
            yield self._order(0, "battery_curve", t_us, count=len(curve), ocv_mv=curve)
        if self._at(t_us, 0.004):
            tiers = [
                {"enter_cpct": round(t.soc_enter * 1e4), "leave_cpct": round(t.soc_leave * 1e4),
                 "enter_mv": round(t.bus_enter_v * 1e3)}
                for t in s.shed[:_ALL_SHED_TIERS]
            ]  # fmt: skip
            yield self._order(0, "shed_tiers", t_us, count=len(tiers), tiers=tiers)
            shed = [s.shed_tier_of(i) for i in range(min(self._nodes, 160))]
            yield self._order(0, "shed_channels", t_us, base=0, count=len(shed), tier=shed)
        if self._every(t_us, 5.0):
            yield self._channels(t_us)
        if self._at(t_us, 0.5):
            yield self._order(0, "reset", t_us)
        if self._at(t_us, 0.6):
            yield self._order(0, "channel_clear", t_us, channel=1)
            yield self._order(0, "channels_set", t_us, session=1, base=0, count=1, mask_bytes=1, mask=[0])  # too old
            yield self._order(0, "node_power", t_us, on=1)  # not for this kind of board

    def _channels(self, t_us: int) -> bytes:
        """All on; node 2's is off for a while."""
        count = min(self._nodes, 160)
        on = [not (i == 2 and self._within(t_us, 0.70, 0.75)) for i in range(count)]
        mask = [sum(on[8 * k + j] << j for j in range(min(8, count - 8 * k))) for k in range((count + 7) // 8)]
        return self._order(0, "channels_set", t_us, base=0, count=count, mask_bytes=len(mask), mask=mask)

    def _node(self, node: int, t_us: int) -> Iterator[bytes]:
        board = node + 1
        if self._at(t_us, 0.002):
            yield self._order(board, "node_config", t_us, **_node_config(self._s))
        if self._within(t_us, 0.01, 1.0) and self._every(t_us, 10.0):
            yield self._order(board, "node_power", t_us, on=1)  # refused until its channel is on
        yield from self._work(node, t_us)
        if self._at(t_us, 0.3 + 0.1 * (node % 4)) and node % 2 == 0:
            yield self._order(board, "reset", t_us)
        if not self._within(t_us, 0.40, 0.42) and self._every(t_us, 1.0):
            yield self._grant(node, t_us)

    def _grant(self, node: int, t_us: int) -> bytes:
        """Caps that wander, now and then with a clock lock; in the silence between two of them leases run out."""
        self._lease += 1
        cap_mw = 150_000 + (self._lease * 7919 + node * 104_729) % 600_000
        clock_mhz = 1200 if self._lease % 7 == 0 else 0
        return self._frame(
            node + 1, "lease", t_us, session=SESSION, lease_seq=self._lease, cap_mw=cap_mw,
            expiry_us=t_us + LEASE_US, clock_mhz=clock_mhz,
        )  # fmt: skip

    def _work(self, node: int, t_us: int) -> Iterator[bytes]:
        board = node + 1
        job: dict[str, Any] = {"total_mu": 40_000_000, "start_mu": 0, "checkpoint_ms": 5000, "checkpoint_cost_ms": 700}
        job["phases"] = [{"workload": 1 + (node + k) % 3, "work_mu": 900 + 700 * k} for k in range(node % 4)]
        workload = 1 + node % 3
        if self._within(t_us, 0.12, 0.35) and self._every(t_us, 20.0):
            yield self._order(board, "node_job", t_us, job_id=10 + node, workload=workload, **job)
        if self._at(t_us, 0.38):
            yield self._order(board, "node_job_stop", t_us, job_id=10 + node)
        if self._at(t_us, 0.39):
            yield self._order(board, "node_job_stop", t_us, job_id=0)
        if self._within(t_us, 0.43, 1.0) and self._every(t_us, 60.0):
            short = job | {"total_mu": 20_000}
            yield self._order(board, "node_job", t_us, job_id=20 + node, workload=workload % 3 + 1, **short)
        if self._at(t_us, 0.9):
            yield self._order(board, "node_power", t_us, on=0)
