"""The C source of an ICD's codecs and lookups.

The code is plain: one store or load per field at a constant offset, checks in a function of their own, no struct ever
laid over bytes. Everything is const or on the caller's stack.
"""

from __future__ import annotations

from gen_c import C_TYPES, Style, has_types, notice, signatures
from icd_model import Enum, Field, Icd, Message, Number, Record

_NARROW = {"u24": 24, "u48": 48}  # wire types narrower than the C type that holds them


def _helpers(icd: Icd, used: set[str]) -> list[str]:
    """Store and load functions for the wire types in use, in the ICD's byte order."""
    out = []
    for bits in sorted({int(t[1:]) for t in used} - {8}):
        holder = 16 if bits == 16 else 32 if bits <= 32 else 64
        octets = bits // 8
        shifts = [8 * (i if icd.byte_order == "little" else octets - 1 - i) for i in range(octets)]
        stores = [f"    p[{i}] = (uint8_t)({f'v >> {s}' if s else 'v'});" for i, s in enumerate(shifts)]
        wide = "uint64_t" if holder == 64 else "uint32_t"
        terms = [f"(({wide})p[{i}] << {s})" if s else f"({wide})p[{i}]" for i, s in enumerate(shifts)]
        value = " | ".join(terms)
        value = f"(uint16_t)({value})" if holder == 16 else value
        out.append("\n".join([f"static inline void put_u{bits}(uint8_t *p, uint{holder}_t v) {{", *stores, "}"]))
        out.append(
            "\n".join([f"static inline uint{holder}_t get_u{bits}(const uint8_t *p) {{", f"    return {value};", "}"])
        )
    for t in sorted(x for x in used if x[0] == "f"):
        width, c = t[1:], C_TYPES[t]
        out.append(
            "\n".join(
                [
                    f"static inline void put_{t}(uint8_t *p, {c} v) {{",
                    f"    uint{width}_t u;",
                    "    memcpy(&u, &v, sizeof u);",
                    f"    put_u{width}(p, u);",
                    "}",
                ]
            )
        )
        out.append(
            "\n".join(
                [
                    f"static inline {c} get_{t}(const uint8_t *p) {{",
                    f"    uint{width}_t u = get_u{width}(p);",
                    f"    {c} v;",
                    "    memcpy(&v, &u, sizeof v);",
                    "    return v;",
                    "}",
                ]
            )
        )
    return out


def _at(base: str, offset: int) -> str:
    return f"{base} + {offset}" if offset else base


def _store(f: Field, base: str, offset: int, value: str) -> str:
    if f.record is not None:
        return f"put_{f.record.name}({_at(base, offset)}, &{value});"
    if f.type == "bytes":
        return f"memcpy({_at(base, offset)}, {value}, {f.fixed});"
    if f.type in ("u8", "i8"):
        return f"{base}[{offset}] = {value if f.type == 'u8' else f'(uint8_t){value}'};"
    if f.type[0] == "i":
        return f"put_u{f.type[1:]}({_at(base, offset)}, (u{C_TYPES[f.type]}){value});"
    return f"put_{f.type}({_at(base, offset)}, {value});"


def _load(f: Field, base: str, offset: int, target: str) -> str:
    if f.record is not None:
        return f"get_{f.record.name}(&{target}, {_at(base, offset)});"
    if f.type == "bytes":
        return f"memcpy({target}, {_at(base, offset)}, {f.fixed});"
    if f.type in ("u8", "i8"):
        return f"{target} = {'' if f.type == 'u8' else '(int8_t)'}{base}[{offset}];"
    if f.type[0] == "i":
        return f"{target} = ({C_TYPES[f.type]})get_u{f.type[1:]}({_at(base, offset)});"
    return f"{target} = get_{f.type}({_at(base, offset)});"


def _record_code(style: Style, r: Record) -> list[str]:
    out = []
    for verb, step, argument in (
        ("put", _store, "uint8_t *p, const struct {} *r"),
        ("get", _load, "struct {} *r, const uint8_t *p"),
    ):
        lines = [f"static inline void {verb}_{r.name}({argument.format(f'{style.prefix}_{r.name}')}) {{"]
        offset = 0
        for f in r.fields:
            lines.append(f"    {step(f, 'p', offset, f'r->{f.name}')}")
            offset += f.element_bytes
        out.append("\n".join([*lines, "}"]))
    return out


def _literal(f: Field, value: Number) -> str:
    if f.is_float:
        return repr(float(value)) + ("f" if f.type == "f32" else "")
    wide = f.type in ("u48", "u64", "i64")
    macro = ("UINT64_C" if f.type[0] == "u" else "INT64_C") if wide else ""
    return f"{macro}({value})" if macro else f"{value}{'u' if f.type[0] == 'u' else ''}"


def _bad(f: Field, value: str, closed: bool) -> list[str]:
    """C conditions, each true when the value of this field is not allowed."""
    if f.record is not None:
        return [c for g in f.record.fields for c in _bad(g, f"{value}.{g.name}", closed)]
    if f.type == "bytes":
        return []
    out = []
    least, greatest = f.limits()
    if f.is_float and (f.min is not None or f.max is not None):
        low, high = f.min is not None, f.max is not None
        terms = ([f"{value} >= {_literal(f, f.min)}"] if f.min is not None and low else []) + (
            [f"{value} <= {_literal(f, f.max)}"] if f.max is not None and high else []
        )
        return [f"!({' && '.join(terms)})"]  # also true for NaN
    if f.min is not None and f.min > least:
        out.append(f"{value} < {_literal(f, f.min)}")
    if f.max is not None and f.max < greatest:
        out.append(f"{value} > {_literal(f, f.max)}")
    elif f.type in _NARROW:
        out.append(f"{value} > {'UINT64_C(' if f.type == 'u48' else ''}{greatest}{')' if f.type == 'u48' else 'u'}")
    if closed and f.enum is not None and not f.enum.open:
        out += _bad_enum(f, f.enum, value)
    return out


def _bad_enum(f: Field, enum: Enum, value: str) -> list[str]:
    if enum.bits:
        return [f"({value} & ~{enum.mask()}u) != 0"]
    numbers = sorted(enum.values.values())
    if numbers == list(range(numbers[0], numbers[-1] + 1)):
        low = f.min if f.min is not None else 0
        high = f.max if f.max is not None else f.limits()[1]
        out = [f"{value} < {numbers[0]}u"] if numbers[0] > low else []
        return out + ([f"{value} > {numbers[-1]}u"] if numbers[-1] < high else [])
    return ["(" + " && ".join(f"{value} != {n}u" for n in numbers) + ")"]


def _check_code(style: Style, m: Message) -> str:
    """The function that refuses values outside the ICD, or nothing when every value is legal."""
    simple = [c for f in m.fields if not f.tail for c in _bad(f, f"m->{f.name}", m.closed)]
    tail = m.tail
    element = _bad(tail, f"m->{tail.name}[i]", m.closed) if tail else []
    if not simple and not element:
        return ""
    lines = [f"static int check_{m.name}(const struct {style.prefix}_{m.name} *m) {{"]
    if simple:
        lines += [
            "    if (" + " ||\n        ".join(simple) + ") {",
            f"        return {style.upper}_ERR_RANGE;",
            "    }",
        ]
    if tail and element:
        lines += [
            f"    for (size_t i = 0; i < m->{tail.count}; i++) {{",
            "        if (" + " ||\n            ".join(element) + ") {",
            f"            return {style.upper}_ERR_RANGE;",
            "        }",
            "    }",
        ]
    return "\n".join([*lines, "    return 0;", "}"])


def _count_field(m: Message, tail: Field) -> Field:
    return next(f for f in m.fields if f.name == tail.count)


def _size(m: Message) -> str:
    tail = m.tail
    return f"{m.fixed_size}u + {tail.element_bytes}u * (size_t)m->{tail.count}" if tail else f"{m.fixed_size}u"


def _loop(m: Message, tail: Field, body: str, base: str) -> list[str]:
    start = _at(base, m.fixed_size)
    const = "const " if base == "in" else ""
    return [
        f"    {const}uint8_t *at = {start};",
        f"    for (size_t i = 0; i < m->{tail.count}; i++, at += {tail.element_bytes}) {{",
        f"        {body}",
        "    }",
    ]


def _encode(style: Style, m: Message, checked: bool) -> str:
    lines = [signatures(style, m)[0] + " {"]
    if checked:
        lines += [f"    if (check_{m.name}(m) != 0) {{", "        return 0;", "    }"]
    if m.selector is not None:
        lines.append(f"    out[0] = {m.selector};")
    offset = m.selector_bytes
    for f in m.fields:
        if not f.tail:
            lines.append(f"    {_store(f, 'out', offset, f'm->{f.name}')}")
            offset += f.element_bytes
    if tail := m.tail:
        lines += _loop(m, tail, _store(tail, "at", 0, f"m->{tail.name}[i]"), "out")
    if m.fixed_size == 0:
        lines.append("    (void)out;")
    return "\n".join([*lines, f"    return {_size(m)};", "}"])


def _decode(style: Style, m: Message, checked: bool) -> str:
    up, tail = style.upper, m.tail
    lines = [signatures(style, m)[1] + " {"]
    lines += [f"    if (n {'<' if tail else '!='} {m.fixed_size}u) {{", f"        return {up}_ERR_LENGTH;", "    }"]
    if m.selector is not None:
        lines += [f"    if (in[0] != {m.selector}) {{", f"        return {up}_ERR_ID;", "    }"]
    elif m.fixed_size == 0:
        lines.append("    (void)in;")
    offset = m.selector_bytes
    for f in m.fields:
        if not f.tail:
            lines.append(f"    {_load(f, 'in', offset, f'm->{f.name}')}")
            offset += f.element_bytes
    if tail:
        if tail.tail < _count_field(m, tail).limits()[1]:
            lines += [f"    if (m->{tail.count} > {tail.tail}u) {{", f"        return {up}_ERR_RANGE;", "    }"]
        lines += [f"    if (n != {_size(m)}) {{", f"        return {up}_ERR_LENGTH;", "    }"]
        lines += _loop(m, tail, _load(tail, "at", 0, f"m->{tail.name}[i]"), "in")
    return "\n".join([*lines, f"    return check_{m.name}(m);" if checked else "    return 0;", "}"])


def _switch(signature: str, subject: str, cases: list[str], default: str, before: str = "", after: str = "") -> str:
    """A function that is one switch; `before` and `after` are whole lines around it."""
    return (
        f"{signature} {{\n{before}    switch ({subject}) {{\n{''.join(cases)}    default:\n{default}    }}\n{after}}}"
    )


def _severity_code(style: Style, icd: Icd) -> str:
    cases = []
    for severity in icd.enums["severity"].values:
        codes = [f"    case {style.upper}_EVENT_{e.name.upper()}:\n" for e in icd.events if e.severity == severity]
        cases += [*codes, f"        return {style.upper}_SEVERITY_{severity.upper()};\n"] if codes else []
    return _switch(f"int {style.prefix}_event_severity(uint16_t code)", "code", cases, "        return 0;\n")


def _facts_code(style: Style, icd: Icd) -> str:
    up = style.upper
    cases = []
    for m in icd.messages:
        facts = (
            [f"FROM_{sender.upper()}" for sender in m.senders] + ["IS_COMMAND"] * m.command + ["IS_HASHED"] * m.hashed
        )
        union = " | ".join(f"{up}_{fact}" for fact in facts)
        cases.append(f"    case {up}_MSG_{m.name.upper()}:\n        return {union};\n")
    return _switch(f"unsigned {style.prefix}_message_facts(uint8_t type)", "type", cases, "        return 0;\n")


def _head_code(style: Style) -> str:
    arguments = "const uint8_t *in, size_t n, uint32_t *session, uint32_t *command_seq"
    lines = [
        f"int {style.prefix}_command_head({arguments}) {{",
        "    if (n < 8) {",
        f"        return {style.upper}_ERR_LENGTH;",
        "    }",
        "    *session = get_u32(in);",
        "    *command_seq = get_u32(in + 4);",
        "    return 0;",
        "}",
    ]
    return "\n".join(lines)


def _parameter_code(style: Style, icd: Icd) -> list[str]:
    p, up = style.prefix, style.upper
    values, info = f"struct {p}_parameters *p", f"{p}_parameter_info"
    rows = [f'    {{{q.id}, "{q.name}", "{q.unit}", {q.min!r}, {q.max!r}, {q.default!r}}},' for q in icd.parameters]
    defaults = [f"    p->{q.name} = {info}[{i}].default_value;" for i, q in enumerate(icd.parameters)]
    places = [f"    case {q.id}:\n        return {i};\n" for i, q in enumerate(icd.parameters)]
    gets = [f"    case {i}:\n        return p->{q.name};\n" for i, q in enumerate(icd.parameters)]
    sets = [f"    case {i}:\n        p->{q.name} = value;\n        break;\n" for i, q in enumerate(icd.parameters)]
    refuse = (
        f"    if (index >= {up}_PARAMETER_COUNT ||\n"
        f"        !(value >= {info}[index].min && value <= {info}[index].max)) {{\n"
        f"        return {up}_ERR_RANGE;\n    }}\n"
    )
    set_signature = f"int {p}_parameter_set({values}, size_t index, double value)"
    return [
        "\n".join([f"const struct {info} {info}[{up}_PARAMETER_COUNT] = {{", *rows, "};"]),
        "\n".join([f"void {p}_parameters_default({values}) {{", *defaults, "}"]),
        _switch(f"int {p}_parameter_index(uint16_t id)", "id", places, "        return -1;\n"),
        _switch(f"double {p}_parameter_get(const {values}, size_t index)", "index", gets, "        return 0.0;\n"),
        _switch(set_signature, "index", sets, "        break;\n", refuse, "    return 0;\n"),
    ]


def _wire_types(icd: Icd) -> set[str]:
    fields = [f for r in icd.records.values() for f in r.fields] + [f for m in icd.messages for f in m.fields]
    return {f.type for f in fields if f.type in C_TYPES}


def source(style: Style, icd: Icd) -> str:
    out = [notice(icd) + f'#include "{style.stem}.h"\n\n#include <string.h>']
    out += _helpers(icd, _wire_types(icd))
    wanted = {f.record.name for m in icd.messages for f in m.fields if f.record}
    for r in icd.records.values():
        if r.name in wanted:
            out += _record_code(style, r)
    for m in icd.messages:
        check = _check_code(style, m)
        out += [check] if check else []
        out += [_encode(style, m, bool(check)), _decode(style, m, bool(check))]
    if icd.events:
        out.append(_severity_code(style, icd))
    if has_types(icd):
        out.append(_facts_code(style, icd))
    if any(m.command for m in icd.messages):
        out.append(_head_code(style))
    if icd.parameters:
        out += _parameter_code(style, icd)
    return "\n\n".join(out) + "\n"
