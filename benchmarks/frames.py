"""Frames of the board bus: cost of one, against the cobs and crc32c packages and pymavlink.

A frame carries 48 bytes of payload, 40 % of them zero (telemetry has many). Three ways do the same work, header, check
sum, stuffing and back, in one run: ours, ours called from Python frame by frame, and the packages called from Python.
"""

import json
import struct
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import crc32c
from cobs import cobs
from pymavlink.dialects.v20 import common as mavlink

from benchmarks.report import ROOT, Row, best_seconds, build_c
from flight._native import ffi, lib

PAYLOAD, ZEROS = 48, 40
HEADER = struct.Struct("<BHHBHIHB")  # t_us in 4 + 2 bytes


def in_c(quick: bool, payload: int = PAYLOAD, zeros: int = ZEROS) -> dict[str, float]:
    """ns a frame from benchmarks/frames.c, built as the extension modules are."""
    with tempfile.TemporaryDirectory() as folder:
        sources = [ROOT / "benchmarks/frames.c", *sorted((ROOT / "csrc/bus").glob("*.c"))]
        program = build_c(Path(folder) / "frames", sources)
        arguments = [str(payload), str(zeros), "20" if quick else "2000"]
        done = subprocess.run([str(program), *arguments], check=True, capture_output=True, text=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def payloads(count: int) -> list[bytes]:
    random = Random(1)
    return [
        bytes(0 if random.random() < ZEROS / 100 else random.randrange(1, 256) for _ in range(PAYLOAD))
        for _ in range(count)
    ]


def ours(data: list[bytes]) -> int:
    """Frames through the C functions, each called from Python; returns the frames that came back."""
    out = ffi.new("uint8_t[]", lib.BUS_MAX_WIRE)
    header = ffi.new("struct bus_header *", {"type": 16, "src": 256, "dst": 1, "length": PAYLOAD})
    receiver, frame = ffi.new("struct bus_receiver *"), ffi.new("struct bus_frame *")
    lib.bus_receiver_init(receiver)
    at = ffi.new("const uint8_t **")
    encode, following = lib.bus_frame_encode, lib.bus_receiver_next
    good = 0
    for seq, payload in enumerate(data):
        header.seq = seq & 0xFFFF
        n = encode(header, payload, out)
        at[0] = out
        good += following(receiver, at, out + n, frame)
    return good


def packages(data: list[bytes]) -> int:
    """The same frames by struct, cobs and crc32c."""
    good = 0
    for seq, payload in enumerate(data):
        body = HEADER.pack(0x50, 256, 1, 0, seq & 0xFFFF, 123456789, 0, PAYLOAD) + payload
        wire = b"\0" + cobs.encode(body + struct.pack("<I", crc32c.crc32c(body))) + b"\0"
        got = cobs.decode(wire[1:-1])
        HEADER.unpack_from(got)
        good += crc32c.crc32c(got[:-4]) == int.from_bytes(got[-4:], "little")
    return good


class _Line:
    """Where pymavlink writes."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data = data


def mavlink_messages(data: list[bytes]) -> int:
    """MAVLink 2 messages of about the same size (BATTERY_STATUS, 54 bytes of payload), packed and parsed."""
    line = _Line()
    link: Any = mavlink.MAVLink(line, srcSystem=1, srcComponent=1)
    good = 0
    for payload in data:
        cells = list(struct.unpack_from("<10H", payload))
        link.battery_status_send(0, 0, 0, 0, cells, 100, 5, 6, 50, 7, 1, [1, 2, 3, 4], 0, 1)
        good += len(link.parse_buffer(line.data))
    return good


def ns_each(way: Callable[[list[bytes]], int], data: list[bytes], repeats: int) -> float:
    assert way(data) == len(data), way.__name__
    return best_seconds(lambda: way(data), repeats) / len(data) * 1e9


def measure(quick: bool) -> list[Row]:
    c, large = in_c(quick), in_c(quick, payload=192)
    # Many short rounds: on a busy machine a long one is never undisturbed.
    data, repeats = payloads(100), 5 if quick else 500
    called, peer = ns_each(ours, data, repeats), ns_each(packages, data, repeats)
    mav = ns_each(mavlink_messages, data, repeats)
    both = c["encode"] + c["receive"]
    return [
        Row("48-byte frame, encoded and received", both, "ns", "in C", headline=True),
        Row("48-byte frame, encoded", c["encode"], "ns", "in C"),
        Row("48-byte frame, received", c["receive"], "ns", "in C"),
        Row("192-byte frame, encoded and received", large["encode"] + large["receive"], "ns", "in C"),
        Row("CRC-32C of 63 bytes", c["crc"], "ns", "as the CPU does it best"),
        Row("CRC-32C of 63 bytes, slice-by-8", c["crc_slice8"], "ns", "a CPU without the instruction"),
        Row("CRC-32C of 63 bytes, table of 16", c["crc_small"], "ns", "as on a board, measured here"),
        Row("48-byte frame, C called from Python", called, "ns", "one call to encode, one to receive"),
        Row("48-byte frame, cobs + crc32c packages", peer, "ns", "with struct, called from Python"),
        Row("pymavlink message of 54 bytes", mav, "ns", "BATTERY_STATUS, packed and parsed"),
        Row("frames, in C against cobs + crc32c packages", peer / both, "x faster", "theirs with Python's calls", True),
        Row("frames, called from Python against the same", peer / called, "x faster", "like for like", True),
        Row("frames, in C against pymavlink", mav / both, "x faster", "pymavlink is Python", True),
        Row(
            "frames, called from Python against pymavlink",
            mav / called,
            "x faster",
            "which packs and unpacks fields too",
        ),
    ]
