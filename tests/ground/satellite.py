"""A small satellite of packets for the tests of the ground station: it speaks the space-link ICD and nothing else.

Its physics is only good enough to look at. Every packet that it sends is a function of simulated time and of the
commands received, so that a held test sees the same telemetry every time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from ground import icd, packets
from ground.packets import Packet

HEALTH_ROWS = icd.PACKETS["hk_health"].fields[-1].tail
ECLIPSE_S = (3893.0, 4926.0)
CAPACITY_J = 13.5e6
HOTEL_W = 800.0
RATE_MU_PER_J = {1: 2.0, 2: 2.6, 3: 1.5}


@dataclass
class Node:
    index: int
    wanted: bool = False
    state: int = 0
    booted_us: int = 0
    power_w: float = 0.0
    cap_w: float = 0.0
    die_c: float = 20.0
    job: int = 0


@dataclass
class Job:
    job_id: int
    workload: int
    priority: int
    total_mu: int
    state: int = 0
    node: int = 0xFFFF
    progress_mu: float = 0.0
    told: bool = False


@dataclass
class Answer:
    """How a command is answered: (delay in simulated s, report, failure) for each report."""

    reports: list[tuple[float, str, str]] = field(
        default_factory=lambda: [(0.1, "accepted", ""), (0.1, "started", ""), (1.0, "completed", "")]
    )


class Satellite:
    """step() lets a second pass; outbox holds the telemetry since it was last taken."""

    def __init__(self, nodes: int = 16, icd_hash: int = icd.ICD_HASH, soc: float = 0.85) -> None:
        self.t_us = 0
        self.icd_hash = icd_hash
        self.nodes = [Node(i) for i in range(nodes)]
        self.jobs: dict[int, Job] = {}
        self.mode = int(icd.Mode.SAFE)
        self.soc = soc
        self.scale = nodes / 16
        self.coolant_c = 20.0
        self.work_mu = 0.0
        self.answers: dict[str, Answer] = {}
        self.parameters = {p.id: p.default for p in icd.PARAMETERS.values()}
        self.received: list[tuple[str, dict[str, Any]]] = []
        self.harm: dict[int, dict[str, int]] = {}  # counters of hk_health by the board's address
        self.estimate: dict[str, int] = {}  # what hk_estimate says else
        self.muted: set[str] = set()  # packets that it never sends
        self._due: list[tuple[int, int, str, dict[str, int]]] = []
        self._sequence = 0
        self._outbox: list[bytes] = []
        self._event("flight_started", 1, 1, boot=True)

    # ------------------------------------------------------------------ telecommands
    def telecommand(self, packet: Packet) -> None:
        name = next(
            n
            for n, m in icd.COMMANDS.items()
            if (m.service, m.subtype) == (packet.service, packet.subtype)
            and (m.selector is None or m.selector == packet.data[0])
        )
        values = icd.decode(name, packet.data)
        self.received.append((name, values))
        for order, (delay_s, report, reason) in enumerate(self.answers.get(name, Answer()).reports):
            fields: dict[str, int] = {"request": packet.request_id}
            if report in ("failed", "acceptance_failed"):
                fields |= {"reason": int(icd.Failure[reason.upper()]), "detail": 3}
            self._due.append((self.t_us + round(delay_s * 1e6), order, report, fields))
        if name not in self.answers:
            self._execute(name, values)

    def _execute(self, name: str, values: dict[str, Any]) -> None:
        if name in ("node_on", "node_off"):
            for node in self.nodes:
                if values["node"] in (node.index, 0xFFFF):
                    node.wanted = name == "node_on"
                    node.booted_us = self.t_us + 90_000_000 + node.index * 3_000_000
        elif name == "set_mode":
            self.mode = values["mode"]
        elif name == "job_submit":
            self.jobs[values["job_id"]] = Job(
                values["job_id"], values["workload"], values["priority"], values["work_mu"]
            )
        elif name == "job_cancel" and values["job_id"] in self.jobs:
            self.jobs[values["job_id"]].state = int(icd.JobState.CANCELLED)
        elif name == "parameter_get":
            rows = [{"parameter": p, "value": self.parameters[p]} for p in values["parameters"]]
            self.send("parameter_report", values=rows)
        elif name == "parameter_set":
            self.parameters |= {row["parameter"]: row["value"] for row in values["values"]}
        elif name == "hk_request" and values["structure"] == 1:
            self._hk_flight()
        elif name == "hk_request" and values["structure"] == 4:
            self._hk_jobs()
        elif name == "hk_request" and values["structure"] == 5:
            self._hk_health()
        elif name == "hk_request" and values["structure"] == 6:
            self._hk_estimate()

    # ------------------------------------------------------------------ telemetry
    def take(self) -> bytes:
        """The bytes to downlink since the last call."""
        out = b"".join(self._outbox)
        self._outbox.clear()
        return out

    def send(self, name: str, subtype: int | None = None, **values: Any) -> None:
        message = icd.PACKETS[name]
        packet = Packet(
            packets.TM,
            int(icd.Apid[message.apid.upper()]),
            message.service,
            message.subtype if subtype is None else subtype,
            icd.encode(name, **values),
            self._sequence,
            t_us=self.t_us,
        )
        if message.apid != "radio":
            self._sequence = (self._sequence + 1) & 0x3FFF
        self._outbox.append(packets.pack(packet))

    def step(self, until_us: int) -> None:
        """Runs up to until_us, at most to the next whole second."""
        second = (self.t_us // 1_000_000 + 1) * 1_000_000
        target = min(until_us, second)
        for due in sorted(d for d in self._due if d[0] <= target):
            self.t_us = max(self.t_us, due[0])
            self.send(due[2], **due[3])
        self._due = [d for d in self._due if d[0] > target]
        self.t_us = target
        if target == second:
            self._second()

    @property
    def sunlit(self) -> bool:
        return not ECLIPSE_S[0] <= self.t_us / 1e6 % 5924 < ECLIPSE_S[1]

    def _second(self) -> None:
        t_s = self.t_us / 1e6
        if t_s == 3:
            self.mode = int(icd.Mode.NOMINAL)
            self._event("mode_changed", int(icd.Mode.NOMINAL), int(icd.ModeReason.STEADY))
        before = self.sunlit
        self._physics(t_s)
        if t_s in ECLIPSE_S:
            name = "eclipse_exit" if before else "eclipse_entry"
            self._event(name, round(self.soc * 1e4), round(self.available_w))
        self._hk_flight()
        self._hk_power()
        if t_s % 2 == 0:
            self._hk_nodes()
        if t_s % 5 == 0:
            self._hk_jobs()
        if t_s % 10 == 0:
            self._hk_health()

    def _physics(self, t_s: float) -> None:
        since_exit = t_s - ECLIPSE_S[1]
        cold = 0.28 * math.exp(-since_exit / 160) if since_exit >= 0 else 0.0
        self.available_w = (13_400 * (1 + cold) + 120 * math.sin(t_s / 290)) * self.scale if self.sunlit else 0.0
        want = sum(n.state == icd.NodeState.ACTIVE for n in self.nodes)
        budget = max(self.available_w * 0.93, 4000.0 * self.scale * (self.soc > 0.35)) - HOTEL_W * self.scale
        self.budget_w = max(budget, 0.0)
        for node in self.nodes:
            self._node(node, min(800.0, self.budget_w / max(want, 1)), t_s)
        self.nodes_w = sum(n.power_w for n in self.nodes)
        load = self.nodes_w + HOTEL_W * self.scale
        charge = (
            min(self.available_w - load, 2600.0 * self.scale) if self.soc < 1 else min(self.available_w - load, 0.0)
        )
        self.batt_w = charge
        self.soc = min(1.0, self.soc + charge / (CAPACITY_J * self.scale))
        self.used_w = max(load + charge, 0.0) if self.sunlit else 0.0
        self.coolant_c += (20 + 35 * self.nodes_w / (12_800 * self.scale) - self.coolant_c) / 400

    def _node(self, node: Node, cap_w: float, t_s: float) -> None:
        if not node.wanted:
            node.state, node.power_w, node.cap_w, node.job = 0, 0.0, 0.0, 0
            return
        if self.t_us < node.booted_us:
            node.state, node.power_w, node.cap_w = int(icd.NodeState.BOOT), 320.0, 320.0
            return
        if node.job == 0:
            self._assign(node)
        node.state = int(icd.NodeState.ACTIVE if node.job else icd.NodeState.IDLE)
        node.cap_w = cap_w if node.job else 120.0
        ripple = 0.96 + 0.03 * math.sin(t_s / 7 + node.index)
        node.power_w = cap_w * ripple if node.job else 105.0
        node.die_c += (self.coolant_c + 0.035 * node.power_w - node.die_c) / 5
        if node.job:
            self._progress(node)

    def _assign(self, node: Node) -> None:
        queue = [j for j in self.jobs.values() if j.state == icd.JobState.QUEUED]
        if queue:
            job = max(queue, key=lambda j: j.priority)
            job.state, job.node, node.job = int(icd.JobState.RUNNING), node.index, job.job_id
            self._event("job_started", job.job_id, node.index)

    def _progress(self, node: Node) -> None:
        job = self.jobs[node.job]
        gain = min(node.power_w * RATE_MU_PER_J[job.workload] / 10, job.total_mu - job.progress_mu)
        job.progress_mu += gain
        self.work_mu += gain
        if job.progress_mu >= job.total_mu:
            job.state, node.job = int(icd.JobState.DONE), 0
            self._event("job_finished", job.job_id, node.index)

    def _event(self, name: str, arg0: int, arg1: int, boot: bool = False) -> None:
        info = icd.EVENTS[name]
        source = int(icd.Address.FLIGHT)
        self.send("event_report", subtype=int(info.severity), event=info.code, source=source, arg0=arg0, arg1=arg1)

    def event(self, name: str, source: int, arg0: int = 0, arg1: int = 0) -> None:
        info = icd.EVENTS[name]
        self.send("event_report", subtype=int(info.severity), event=info.code, source=source, arg0=arg0, arg1=arg1)

    def _hk(self, name: str, **values: Any) -> None:
        if name not in self.muted:
            known = {f.name: 0 for f in icd.PACKETS[name].fields if not f.tail and f.name != "count"}
            self.send(name, **{**known, **values})

    def _hk_flight(self) -> None:
        self._hk(
            "hk_flight",
            icd_hash=self.icd_hash,
            boot_count=1,
            session=1,
            mode=self.mode,
            boards_ready=len(self.nodes) + 1,
            tick_us=100_000,
            frames_received=self.t_us // 10_000,
            frames_sent=self.t_us // 20_000,
            commands_accepted=len(self.received),
        )

    def _hk_power(self) -> None:
        bus_v = 86.0 + 12.0 * self.soc + 3.0 * self.batt_w / (10_000 * self.scale)
        self._hk(
            "hk_power",
            charge_mode=int(icd.ChargeMode.MPPT if self.sunlit else icd.ChargeMode.OFF),
            bus_mv=round(bus_v * 1000),
            batt_ma=round(self.batt_w / bus_v * 1000),
            batt_cdeg=1850,
            soc_cpct=round(self.soc * 10_000),
            array_mw=round(self.used_w * 1000),
            array_mv=149_000 if self.sunlit else 0,
            array_cdeg=(62 - 130 * (not self.sunlit)) * 100,
            strings_live=16,
            load_mw=round(self.nodes_w * 1000),
            hotel_mw=round(HOTEL_W * self.scale * 1000),
            guaranteed_mw=round((self.available_w * 0.94 + 4000 * self.scale) * 1000),
            lease_sum_mw=round(sum(n.cap_w for n in self.nodes) * 1000),
            available_mw=round(self.available_w * 1000),
            budget_mw=round(self.budget_w * 1000),
            sunlit=int(self.sunlit),
        )

    def _hk_nodes(self) -> None:
        for base in range(0, len(self.nodes), 28):
            rows = [self._node_row(node) for node in self.nodes[base : base + 28]]
            self._hk("hk_nodes", base=base, total=len(self.nodes), nodes=rows)

    def _hk_health(self) -> None:
        addresses = [int(icd.Address.POWER_BOARD), *(icd.Address.NODE_BASE + n.index for n in self.nodes)]
        zeros = {f.name: 0 for f in icd.RECORDS["health_row"]}
        for base in range(0, len(addresses), HEALTH_ROWS):
            page = addresses[base : base + HEALTH_ROWS]
            rows = [{**zeros, **self.harm.get(address, {}), "address": address} for address in page]
            self._hk("hk_health", base=base, total=len(addresses), boards=rows)

    def _hk_estimate(self) -> None:
        loops = [
            {"radiator_permille": share, "known": 90, "heat_mw": 6_000_000, "coolant_cdeg": 4800}
            for share in (981, 604)
        ]
        values = {"capacity_mah": 30_760, "resistance_uohm": 133_200, "array_permille": 951} | self.estimate
        self._hk("hk_estimate", loops=loops, **values)

    def _node_row(self, node: Node) -> dict[str, int]:
        job = self.jobs.get(node.job)
        return {
            "node": node.index,
            "status": int(icd.BoardStatus.READY),
            "state": node.state,
            "channel": int(node.wanted),
            "workload": job.workload if job else 0,
            "flags": 0,
            "wanted": int(node.wanted),
            "power_mw": round(node.power_w * 1000),
            "cap_mw": round(node.cap_w * 1000),
            "lease_mw": round(node.cap_w * 1000),
            "die_cdeg": round(node.die_c * 100),
            "hbm_cdeg": round(node.die_c * 100 + 400),
            "coolant_cdeg": round(self.coolant_c * 100),
            "job_id": node.job,
            "progress_mu": round(job.progress_mu) if job else 0,
        }

    def _hk_jobs(self) -> None:
        told = [j for j in self.jobs.values() if not j.told]
        for job in told:
            job.told = job.state >= icd.JobState.DONE
        states = [j.state for j in self.jobs.values()]
        counts = {"queued": states.count(0), "running": states.count(2), "done": states.count(3)}
        for at in range(0, max(len(told), 1), 30):
            rows = [
                {
                    "job_id": j.job_id,
                    "state": j.state,
                    "workload": j.workload,
                    "priority": j.priority,
                    "node": j.node,
                    "total_mu": j.total_mu,
                    "progress_mu": round(j.progress_mu),
                    "checkpoint_mu": round(j.progress_mu * 0.95),
                    "restarts": 0,
                    "nodes": 1,
                    "deadline_s": 0,
                }
                for j in told[at : at + 30]
            ]
            self._hk("hk_jobs", **counts, work_mu=round(self.work_mu), jobs=rows)
