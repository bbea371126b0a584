"""What no board may do for longer than a tick, whatever flipped: judged by what the bench was told to set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from hal import frames
from hal.icd import AccelCommand
from hal.seu.bench import Said

TICKS_IN_A_ROW = 2
_POWERED = (AccelCommand.BOOT, AccelCommand.IDLE, AccelCommand.RUN)
_HIGHEST_CDEG = 20_000
Settings = dict[str, Any]

RULES = {
    "cap": "a cap above the lease in force, or without one (or too hot) above the floor",
    "accelerator": "an accelerator powered that must be off or held in reset",
    "report": "a cap in telemetry below the one in force: flight would give it away twice",
    "channel": "a channel on that must be off",
    "charge": "the battery charged where it must not be, or above its limits",
    "latch": "another under-voltage threshold than configured, or its latch cleared too early",
    "limit": "another current limit or trip time of a channel than configured",
}


@dataclass(frozen=True, slots=True)
class Limit:
    """What flight's orders allow a board in one tick."""

    cap_mw: int = 0
    config: Settings | None = None


def limits_of(before: Iterable[bytes], inputs: Iterable[bytes]) -> list[Limit]:
    """The limits in each tick of `inputs`, by what was ordered then and before. Knows nothing of what boards do."""
    config: Settings | None = None
    cap_mw, expiry_us = 0, 0
    found: list[Limit] = []
    history = list(before)
    for data in (*history, *inputs):
        limit = Limit()
        for f in frames.decode(data):
            if f.name in ("node_config", "power_config"):
                config = f.fields()
            elif f.name == "lease":
                cap_mw, expiry_us = f.fields()["cap_mw"], f.fields()["expiry_us"]
            elif f.name == "tick_node":
                limit = Limit(_cap_mw(config, cap_mw if f.t_us < expiry_us else None, f.fields()), config)
            elif f.name == "tick_power":
                limit = Limit(0, config)
        found.append(limit)
    return found[len(history) :]


def _cap_mw(config: Settings | None, leased_mw: int | None, sensors: Settings) -> int:
    if config is None:
        return 0
    hot = any(
        config[f"{part}_limit_cdeg"] <= sensors[f"{part}_cdeg"] <= _HIGHEST_CDEG for part in ("die", "hbm")
    )  # a sensor beyond that is broken
    return int(config["floor_mw"] if leased_mw is None or hot else min(leased_mw, config["max_mw"]))


def broken(
    undisturbed: list[Said], said: list[Said], limits: list[Limit], channels: dict[int, Settings]
) -> dict[str, int]:
    """Rules that were broken for longer than a tick -> first tick of it. channels: settings before the first tick."""
    rows: dict[str, int] = {}
    found: dict[str, int] = {}
    for k, faults in enumerate(_faults(undisturbed, said, limits, channels)):
        rows = {rule: rows.get(rule, 0) + 1 for rule in faults}
        for rule, ticks in rows.items():
            if ticks >= TICKS_IN_A_ROW:
                found.setdefault(rule, k + 1 - ticks)
    return found


def _faults(
    undisturbed: list[Said], said: list[Said], limits: list[Limit], channels: dict[int, Settings]
) -> Iterator[set[str]]:
    """What is wrong in each tick. The bench holds what it was told last."""
    ours, right = dict(channels), dict(channels)
    done: Settings | None = None
    for now, golden, limit in zip(said, undisturbed, limits, strict=False):
        _take_channels(ours, now)
        _take_channels(right, golden)
        done = now.done or done
        if done is None or golden.done is None:
            yield set()
        elif "command" in golden.done:
            yield set(_node_faults(done, golden.done, now, limit))
        else:
            yield set(_power_faults(done, golden.done, limit)) | set(_channel_faults(ours, right, limit))


def _take_channels(settings: dict[int, Settings], said: Said) -> None:
    for values in said.values("done_channels"):
        settings.update({values["base"] + i: s for i, s in enumerate(values["channels"])})


def _node_faults(done: Settings, golden: Settings, said: Said, limit: Limit) -> Iterator[str]:
    powered = done["command"] in _POWERED
    if powered and done["cap_mw"] > limit.cap_mw:
        yield "cap"
    if powered and golden["command"] not in _POWERED:
        yield "accelerator"
    if powered and any(tlm["cap_mw"] < done["cap_mw"] for tlm in said.values("node_tlm")):
        yield "report"


def _power_faults(done: Settings, golden: Settings, limit: Limit) -> Iterator[str]:
    config = limit.config
    if config is None:
        return
    beyond = done["charge_ma"] > config["charge_ma"] or done["charge_mv"] > config["charge_mv"]
    if beyond or (done["charge_ma"] > 0 and golden["charge_ma"] == 0):
        yield "charge"
    if done["uvlo_mv"] != config["uvlo_mv"] or done["clear_latches"] > golden["clear_latches"]:
        yield "latch"


def _channel_faults(ours: dict[int, Settings], right: dict[int, Settings], limit: Limit) -> Iterator[str]:
    config = limit.config
    for i, setting in ours.items():
        if setting["on"] and not right.get(i, {"on": 0})["on"]:
            yield "channel"
        if config and setting["on"] and any(setting[n] != config[n] for n in ("limit_ma", "trip_ms")):
            yield "limit"
