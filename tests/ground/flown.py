"""Whole flights of the packet-level satellite without a socket: for the recorder and the report."""

from typing import Any

import numpy as np

from ground import icd, packets
from ground.packets import Packet
from ground.recorder import Recorder
from tests.ground.satellite import Satellite

ORBIT_S = 5924


def command(satellite: Satellite, name: str, **values: Any) -> None:
    """Hands a telecommand to the satellite."""
    message = icd.COMMANDS[name]
    data = icd.encode(name, **values)
    satellite.telecommand(Packet(packets.TC, int(icd.Apid.FLIGHT), message.service, message.subtype, data))


def fly(satellite: Satellite, until_s: int = ORBIT_S, jobs: int = 19) -> tuple[Recorder, dict[str, np.ndarray]]:
    """Flies with all nodes on and jobs of the three classes; returns what came down, and a truth every 10 s."""
    recorder = Recorder()
    rows: list[tuple[float, ...]] = []
    for second in range(1, until_s + 1):
        satellite.step(second * 1_000_000)
        if second == 5:
            command(satellite, "node_on", node=0xFFFF)
        if second == 20:
            for number in range(1, jobs + 1):
                work_mu = 500_000 + 130_000 * (number % 7)
                kind = 1 + number % 3
                command(
                    satellite, "job_submit", job_id=number, workload=kind, priority=1, work_mu=work_mu, checkpoint_s=30
                )
        if second == 3000:
            satellite.event("node_latch_up", int(icd.Address.NODE_BASE) + 4, 27_000, 25_000)
        if second % 10 == 0:
            rows.append((second, satellite.available_w * 1.02, satellite.soc - 0.004, satellite.work_mu / 1e3))
        recorder.feed(satellite.take())
    table = np.array(rows)
    return recorder, {name: table[:, i] for i, name in enumerate(("t_s", "available_w", "soc", "work"))}
