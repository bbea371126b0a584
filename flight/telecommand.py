"""A telecommand as it enters flight: from the radio, or from a rig's timeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from flight import icd
from flight._native import ffi, lib

ACK_ACCEPT, ACK_START, ACK_COMPLETE = int(lib.SPACE_ACK_ACCEPT), int(lib.SPACE_ACK_START), int(lib.SPACE_ACK_COMPLETE)
FUNCTION_SERVICE = 8
_BY_KIND = {(m.service, m.subtype, m.selector): m for m in icd.COMMANDS.values()}


class Telecommand(NamedTuple):
    """One telecommand. request: what verification reports name it by; ack: the reports that its sender wants."""

    request: int
    apid: int
    service: int
    subtype: int
    ack: int
    data: bytes


def from_packet(packet: Any) -> Telecommand:
    """From a parsed `struct space_packet` (cffi)."""
    h = packet.header
    data = ffi.buffer(packet.data, packet.data_length)[:]
    request = int(lib.space_request_id(ffi.addressof(packet, "header")))
    return Telecommand(request, h.apid, h.service, h.subtype, h.status, data)


def from_timeline(name: str, args: Mapping[str, Any], count: int) -> Telecommand:
    """From a timeline's entry; args may name the values of enums, and parameters. Raises `icd.IcdError`."""
    message = icd.COMMANDS.get(name)
    if message is None:
        raise icd.IcdError(f"unknown command '{name}', expected one of {', '.join(sorted(icd.COMMANDS))}")
    fields = {f.name: f for f in message.fields}
    values = {key: _value(fields[key], value) if key in fields else value for key, value in args.items()}
    header = ffi.new("struct space_header *")
    header.type, header.apid, header.sequence = lib.SPACE_TC, int(icd.Apid.FLIGHT), count & 0x3FFF
    request = int(lib.space_request_id(header))
    return Telecommand(request, header.apid, message.service, message.subtype, 0, icd.encode(name, **values))


def _value(field: icd.Field, value: Any) -> Any:
    """A named enum value as its number; the rows of a tail one by one."""
    if field.tail and isinstance(value, list | tuple):
        row = icd.RECORDS.get(field.type, ())
        return [
            {f.name: _value(f, v[f.name]) for f in row if f.name in v} | {k: x for k, x in v.items() if not _in(row, k)}
            if isinstance(v, Mapping)
            else v
            for v in value
        ]
    if isinstance(value, str) and field.enum in icd.ENUMS:
        try:
            return int(icd.ENUMS[field.enum][value.upper()])
        except KeyError:
            names = ", ".join(m.name.lower() for m in icd.ENUMS[field.enum] if m.name)
            raise icd.IcdError(f"{field.name}: '{value}' is not in enum {field.enum}, expected {names}") from None
    return value


def _in(fields: tuple[icd.Field, ...], name: str) -> bool:
    return any(f.name == name for f in fields)


def decode(tc: Telecommand) -> tuple[str, dict[str, Any]] | icd.Failure:
    """Name and arguments of a telecommand, or why it is none."""
    selector = tc.data[0] if tc.service == FUNCTION_SERVICE and tc.data else None
    message = _BY_KIND.get((tc.service, tc.subtype, selector))
    if message is None:
        return icd.Failure.UNKNOWN_COMMAND
    if message.fields:
        struct = ffi.new(f"struct space_{message.name} *")
        code = getattr(lib, f"space_{message.name}_decode")(struct, tc.data, len(tc.data))
    else:
        code = getattr(lib, f"space_{message.name}_decode")(tc.data, len(tc.data))
    if code == lib.SPACE_ERR_LENGTH:
        return icd.Failure.BAD_LENGTH
    if code != 0:
        return icd.Failure.OUT_OF_RANGE
    return message.name, icd.decode(message.name, tc.data)
