"""Numbers of the ICD in words: a field's name says its unit, an event's argument may be a value of an enum."""

from ground import icd

# Suffix of a name -> (divisor, unit, decimals); the longest suffix that fits counts.
_UNITS: dict[str, tuple[float, str, int]] = {
    "_cdeg": (100, "°C", 1),
    "_cpct": (100, "%", 1),
    "_mw": (1000, "W", 0),
    "_mv": (1000, "V", 2),
    "_ma": (1000, "A", 1),
    "_mu": (1000, "units", 0),
    "_ms": (1000, "s", 1),
    "_us": (1000, "ms", 1),
    "_milli": (1000, "", 3),
    "_pct": (1, "%", 0),
    "_w": (1, "W", 0),
}
# Arguments of events whose enum has another name than the argument.
_ARGUMENT_ENUMS = {"reason": "failure", "accel_state": "node_state", "state": "node_state"}
_EVENT_ENUMS = {("power_charge_blocked", "mode"): "charge_mode"}


def enum_name(enum: str, value: int) -> str:
    """The name of an enum's value in words, or the number if it has none."""
    try:
        return str(icd.ENUMS[enum](value).name).lower().replace("_", " ")
    except ValueError:
        return str(value)


def flag_names(enum: str, value: int) -> list[str]:
    """The names of the bits set in a bit set."""
    return [str(bit.name).lower().replace("_", " ") for bit in icd.ENUMS[enum] if value & bit]


def quantity(name: str, value: float) -> tuple[str, str]:
    """Label and text of a value whose name ends in its unit: ("bus_mv", 96400) -> ("bus", "96.40 V")."""
    for suffix, (divisor, unit, decimals) in _UNITS.items():
        if name.endswith(suffix):
            return name.removesuffix(suffix).replace("_", " "), f"{value / divisor:.{decimals}f} {unit}".rstrip()
    return name.replace("_", " "), f"{value:g}"


def argument(event: str, name: str, value: int) -> str:
    """One argument of an event in words."""
    enum = _EVENT_ENUMS.get((event, name)) or _ARGUMENT_ENUMS.get(name, name)
    if enum in icd.ENUMS:
        return f"{name.replace('_', ' ')} {enum_name(enum, value)}"
    label, text = quantity(name, value)
    return f"{label} {text}"


def watts(value_w: float) -> str:
    """Power with three digits: 120 W, 8.42 kW, 151 kW."""
    size = abs(value_w)
    if size < 1000:
        return f"{value_w:.0f} W"
    return f"{value_w / 1000:.{2 if size < 10_000 else 1 if size < 100_000 else 0}f} kW"


def clock(t_s: float) -> str:
    """Mission time as hours, minutes and seconds: T+01:04:53."""
    whole = int(t_s)
    return f"T+{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"
