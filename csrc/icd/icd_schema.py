"""What may stand in an ICD's TOML: the keys of each kind of entry, their types, and the names that are taken."""

import keyword

# The keys of each kind of entry, and their types.
NUMBER = (int, float)
TOP = {"icd", "import", "header", "enum", "record", "message", "packet", "command", "event", "parameter"}
NAMED = {"name": str, "doc": str}
ICD = {"name": str, "version": int, "byte_order": str, "title": str, "max_payload": int}
ENUM = NAMED | {"values": dict, "open": bool, "bits": bool}
FIELD = NAMED | {"type": str, "unit": str, "min": NUMBER, "max": NUMBER, "enum": str, "count": str, "default": int}
RECORD = NAMED | {"fields": list}
MESSAGE = NAMED | {"type": int, "from": list, "command": bool, "hashed": bool, "fields": list}
PACKET = NAMED | {"apid": str, "service": int, "subtype": (int, str), "structure": int, "period": str, "fields": list}
COMMAND = NAMED | {"apid": str, "service": int, "subtype": int, "function": int, "fields": list}
EVENT = NAMED | {"code": int, "severity": str, "args": list}
PARAMETER = NAMED | {"id": int, "unit": str, "min": NUMBER, "max": NUMBER, "default": NUMBER}
OPTIONAL = {
    "open",
    "bits",
    "doc",
    "unit",
    "min",
    "max",
    "enum",
    "count",
    "command",
    "hashed",
    "apid",
    "structure",
    "function",
    "period",
}

# Names that the generated code cannot have.
RESERVED = set(keyword.kwlist) | {
    "auto",
    "break",
    "case",
    "char",
    "const",
    "continue",
    "default",
    "do",
    "double",
    "else",
    "enum",
    "extern",
    "float",
    "for",
    "goto",
    "if",
    "inline",
    "int",
    "long",
    "register",
    "restrict",
    "return",
    "short",
    "signed",
    "sizeof",
    "static",
    "struct",
    "switch",
    "typedef",
    "union",
    "unsigned",
    "void",
    "volatile",
    "while",
}
