"""The score: what really happened, which nobody on board knows. Its keys are those of ``flight run --json``."""

from __future__ import annotations

from typing import Any

from hal.rig import Rig

# Counters of a line that must be 0 in a run without faults on links.
LINK_ERRORS = (
    "unexplained_bytes",
    "unexplained_frames",
    "lost_to_board_bytes",
    "lost_to_board_frames",
    "lost_from_board_bytes",
    "lost_from_board_frames",
    "noise_to_board_bytes",
    "noise_from_board_bytes",
    "hw_lost_bytes",
    "hw_line_errors",
    "damaged_received",
    "damaged_at_board",
    "gaps_received",
    "gaps_at_board",
    "unknown_at_board",
    "stray_done",
    "dropped_bytes",
    "retransmissions",
)


def score_of(
    rig: Rig,
    t_us: int,
    native: Any,
    truth: Any,
    links: dict[str, dict[str, int]],
    bus_sha256: str,
    late_ticks: int,
) -> dict[str, Any]:
    """The score as a dict that JSON can hold.

    native: struct world_score; truth: struct plant_truth; links: role -> struct world_link as a dict.
    Violations are episodes. Energies in J at the array's terminals (pv) and at the bus (nodes); work in work units.
    """

    def total(name: str) -> int:
        return sum(link[name] for link in links.values())

    return {
        "rig": rig.name,
        "boards": len(rig.boards),
        "ticks": int(native.ticks),
        "sim_s": t_us / 1e6,
        "frames_to_boards": total("tx_frames"),
        "frames_from_boards": total("rx_frames"),
        "bytes": total("tx_bytes") + total("rx_bytes"),
        "link_errors": {name: total(name) for name in LINK_ERRORS}
        | {name: int(getattr(native, name)) for name in ("dropped_records", "dropped_hash_bytes")},
        "undelivered_bytes": total("undelivered_bytes"),
        "lost_at_reset_bytes": total("lost_at_reset_bytes"),
        "lost_at_reset_frames": total("lost_at_reset_frames"),
        "in_doubt_bytes": total("in_doubt_bytes"),
        "in_doubt_frames": total("in_doubt_frames"),
        "crashes": total("crashes"),
        "violations": {
            "undervoltage": int(native.undervoltage),
            "overtemperature": int(native.overtemperature),
            "lease_sum": int(native.lease_sum),
            "soc_floor": int(native.soc_floor),
        },
        "lease_over_ws": float(native.lease_over_ws),
        "energy": {
            "pv_available_j": float(truth.array_available_j),
            "pv_used_j": float(truth.array_used_j),
            "nodes_j": float(truth.nodes_j),
            "hotel_j": float(truth.hotel_j),
            "soc_min": float(native.soc_min),
            "soc": float(truth.soc),
        },
        "compute": {"work": float(truth.work_total), "gpu_hours": float(truth.active_s_total) / 3600},
        "thermal": {"die_peak_c": float(truth.die_peak_c), "hbm_peak_c": float(truth.hbm_peak_c)},
        "bus_v_min": float(truth.bus_min_v),
        "trips": {"uvlo": int(truth.uvlo_trips), "lcl": int(truth.lcl_trips), "brown_outs": int(truth.brown_outs)},
        "eclipse_s": float(truth.eclipse_s),
        "late_ticks": late_ticks,
        "absent_boards": [role for role, link in links.items() if link["state"] != 2],
        "absences": total("absences"),
        "bus_sha256": bus_sha256,
    }
