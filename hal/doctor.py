"""Why a link does not work: each thing that has to be right, from the cable to the image, checked on its own."""

from __future__ import annotations

import contextlib
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hal import icd, ports
from hal._native import lib
from hal.backends.serial import DEFAULT_BAUD, resolve
from hal.errors import HalError, LinkDownError, PortError
from hal.identity import Hello, describe, firmware_fault, place_fault, role_name
from hal.images import image_of
from hal.link import BACKENDS, Board, Link, Url, open_link, parse_url
from hal.probe import Probe, bench_frame

ANSWER_S = 1.0
OTHER_BAUDS = (1_000_000, 115_200, 2_000_000, 460_800, 230_400, 921_600, 9_600)
"""Rates that are tried when a board does not answer at its own."""
PROBE_GUARD_S = 0.25
SLOW_MS = 50.0
"""Half a tick of 100 ms: a line that answers later leaves no room for a step."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that has to be right. cure: what to do when it is not; values: numbers, for JSON."""

    name: str
    ok: bool
    what: str
    cure: str = ""
    values: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{'ok  ' if self.ok else 'FAIL'}  {self.name:12}  {self.what}{'; ' + self.cure if self.cure else ''}"


def diagnose(url: str, board: Board | None, others: dict[bytes, str], probes: int) -> Iterator[Check]:
    """Every check of one link, in the order in which things break; ends early when the rest cannot be checked.

    board: who is expected; None: any of our boards. others: hardware id -> role of boards seen before; this one is
    added. Raises `LinkError` for a malformed URL.
    """
    parsed = parse_url(url)
    with tempfile.TemporaryDirectory(prefix="dawnline-") as folder:
        memory = Path(folder) / "board.nvm"
        memory.write_bytes(b"\xff" * int(lib.WORLD_NVM_BYTES))  # as erased flash
        asked = replace(board or _anybody(parsed), nvm=memory)
        if not BACKENDS[parsed.scheme].made:
            yield from _of_the_machine(parsed)
        try:
            link = open_link(url, asked)
        except HalError as error:
            yield _not_opened(error)
            return
        with contextlib.closing(link):
            yield Check("open", True, "started" if BACKENDS[parsed.scheme].made else "opened, and nobody else has it")
            yield from _of_the_adapter(parsed)
            yield from _of_the_board(link, parsed, asked, board is None, others, probes)


def _anybody(url: Url) -> Board:
    """A node, for back ends that make the board that they are asked for."""
    kind = icd.BoardKind.COMPUTE_NODE
    image = image_of(kind) if BACKENDS[url.scheme].image else None
    made = BACKENDS[url.scheme].made
    return Board("node0", kind, int(lib.bus_address_of(1)), bytes(range(12)), image=image, made=made)


# ---------------------------------------------------------------- the machine
def _of_the_machine(url: Url) -> Iterator[Check]:
    if url.scheme == "serial":
        yield from _of_the_port(url)
    modem_manager = ports.HOST.running("ModemManager")
    device = _device(url)
    if modem_manager is None:
        yield Check("ModemManager", True, "not running")
    elif device is not None and ports.HOST.modem_manager_ignores(device):
        yield Check("ModemManager", True, f"{modem_manager} is running, and a udev rule keeps it away from this port")
    else:
        cure = "install the udev rules of docs/bring-up.md, or `sudo systemctl stop ModemManager`"
        yield Check("ModemManager", False, f"{modem_manager} talks to every new port as to a modem", cure)
    brltty = ports.HOST.running("brltty")
    if brltty is None:
        yield Check("brltty", True, "not running")
    else:
        cure = "`sudo apt remove brltty` unless a braille display is in use"
        yield Check("brltty", False, f"{brltty} takes CH340, CP210x and FTDI adapters for braille displays", cure)


def _of_the_port(url: Url) -> Iterator[Check]:
    device = _device(url)
    if device is None:
        return  # opening it says why
    port = ports.HOST.port_of(device)
    if port is None:
        yield Check("cable", True, f"{device}, which is not on USB")
    elif port.driver == "no driver":
        yield Check("cable", False, f"{port}", "load its driver: `sudo modprobe cdc_acm ftdi_sio cp210x ch341`")
    else:
        yield Check("cable", True, f"{port}")


def _device(url: Url) -> str | None:
    """Path of the port of a serial link; None when it cannot be told."""
    if url.scheme != "serial":
        return None
    with contextlib.suppress(PortError):
        return resolve(url.target, int(url.options["interface"]) if "interface" in url.options else None)
    return None


def _not_opened(error: HalError) -> Check:
    why = error.why if isinstance(error, PortError) else "other"
    name = {"absent": "cable", "busy": "busy", "permission": "permission"}.get(why, "open")
    return Check(name, False, str(error), "end that program" if why == "busy" else "")


def _of_the_adapter(url: Url) -> Iterator[Check]:
    """Read while the port is open: opening it asks the driver for a low latency."""
    device = _device(url)
    port = ports.HOST.port_of(device) if device is not None else None
    latency_ms = ports.HOST.latency_ms(port) if port is not None else None
    if port is None or latency_ms is None:
        return
    cure = (
        f"`echo 1 | sudo tee /sys/bus/usb-serial/devices/{port.name}/latency_timer`, or the rules of docs/bring-up.md"
    )
    slow = latency_ms > 1
    yield Check("latency timer", not slow, f"the adapter keeps bytes for {latency_ms} ms", cure if slow else "")


# ---------------------------------------------------------------- the board
def _of_the_board(
    link: Link, url: Url, board: Board, anybody: bool, others: dict[bytes, str], probes: int
) -> Iterator[Check]:
    probe = Probe(link)
    try:
        hello = probe.hello(ANSWER_S)
        if hello is None:
            yield _no_answer(probe, url, board)
            return
        yield Check("answer", True, describe(hello))
        yield from _identity(hello, _as_it_says(hello, board) if anybody else board, others)
        yield from _quality(probe, probes)
    except LinkDownError as error:
        yield Check("line", False, f"it ended: {error}", "check the cable and the board's power")


def _as_it_says(hello: Hello, board: Board) -> Board:
    """Nobody in particular is expected: a board of its own kind and address, with the image of that kind."""
    kind = hello.kind if hello.kind in set(icd.BoardKind) else board.kind
    image = image_of(kind) if hello.image_crc else None
    role = role_name(hello.role) if hello.role else "ROLE"
    return Board(role, kind, hello.role, b"", image=image, made=board.made)


def _no_answer(probe: Probe, url: Url, board: Board) -> Check:
    """Silence, another rate, or something that is no board of ours."""
    heard = probe.bytes_received
    if probe.other_version:
        return Check("answer", False, "it speaks another version of the board bus", "flash this version's image")
    if not BACKENDS[url.scheme].made:
        probe.link.close()
        own = url.number("baud", DEFAULT_BAUD, 1, 100_000_000)
        for baud in (b for b in OTHER_BAUDS if b != own):
            if _answers_at(url, board, baud):
                return Check(
                    "answer", False, f"it answers at {baud} baud, not at {own}", f"write baud={baud} in the link"
                )
    if heard:
        what = f"{heard} bytes came, and {probe.frames_received} frames, but no HELLO at any usual baud rate"
        return Check("answer", False, what, "flash it, or look what is on this port")
    return Check(
        "answer", False, "silent at every usual baud rate", "check power, wiring (TX to RX) and image: flash it"
    )


def _answers_at(url: Url, board: Board, baud: int) -> bool:
    options = "&".join(f"{key}={value}" for key, value in (url.options | {"baud": str(baud)}).items())
    with (
        contextlib.suppress(HalError),
        contextlib.closing(open_link(f"{url.scheme}:{url.target}?{options}", board)) as line,
    ):
        return Probe(line).hello(PROBE_GUARD_S) is not None
    return False


def _identity(hello: Hello, board: Board, others: dict[bytes, str]) -> Iterator[Check]:
    fault = firmware_fault(hello, board)
    right = f"{hello.firmware_hash.hex()}, image CRC {hello.image_crc:08x}, ICD {hello.icd_hash:016x}: as expected"
    yield Check("firmware", fault is None, fault or right)
    fault = place_fault(hello, board, others)
    right = f"address {hello.role} ({role_name(hello.role)}), hardware id {hello.hardware_id.hex()}"
    yield Check("identity", fault is None, fault or right)
    others.setdefault(hello.hardware_id, board.role)


def _quality(probe: Probe, probes: int, clock: Callable[[], float] = time.perf_counter) -> Iterator[Check]:
    """Round trips of HELLO_REQ and HELLO, one after the other."""
    request, times_ms = bench_frame("hello_req"), []
    damaged = probe.damaged
    for _ in range(probes):
        began = clock()
        if probe.ask(request, PROBE_GUARD_S) is not None:
            times_ms.append((clock() - began) * 1000)
    lost, damaged = probes - len(times_ms), probe.damaged - damaged
    if times_ms:
        median_ms, p99_ms = statistics.median(times_ms), sorted(times_ms)[math.ceil(0.99 * len(times_ms)) - 1]
        slow = median_ms > SLOW_MS
        what = f"{median_ms:.2f} ms there and back, 99 % within {p99_ms:.2f} ms"
        cure = "raise the baud rate, or look at the adapter and the load of this machine" if slow else ""
        yield Check("latency", not slow, what, cure, {"median_ms": median_ms, "p99_ms": p99_ms})
    bad = lost + damaged > 0
    what = f"{lost} of {probes} probes lost, {damaged} frames damaged"
    cure = "look at the cable and the ground, and try a lower baud rate" if bad else ""
    yield Check("loss", not bad, what, cure, {"probes": probes, "lost": lost, "damaged": damaged})


def facts(checks: list[Check]) -> list[Mapping[str, Any]]:
    """As JSON shows them."""
    return [{"name": c.name, "ok": c.ok, "what": c.what, "cure": c.cure, **c.values} for c in checks]
