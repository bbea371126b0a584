"""A board with flash that can lose its power (device.c), its images, and a link to it."""

from __future__ import annotations

import functools
import os
import random
import shlex
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import crc32c
from cffi import FFI

from hal.firmware import Image
from hal.icd import BoardKind, ImageSlot
from hal.talk import Talk
from hal.update import Updater

ROOT = Path(__file__).resolve().parents[2]
HEADER_AT = 0x200
HEADER = struct.Struct("<4sIII8sBBH")
KIND, ADDRESS = BoardKind.COMPUTE_NODE, 256
BASES = (0x0802_0000, 0x0804_0000)
TORN = {"prefix": 0, "bits": 1, "garbage": 2}

ffi = FFI()
ffi.cdef(
    """
    struct device;
    struct device *device_create(uint8_t kind, uint16_t address, uint32_t base_a, uint32_t base_b, uint32_t slot_bytes,
                                 uint32_t log_bytes);
    void device_destroy(struct device *d);
    uint8_t *device_area(struct device *d, unsigned area);
    void device_cut_after(struct device *d, long long units, uint8_t torn, uint64_t seed);
    uint8_t device_power_on(struct device *d);
    void device_power_off(struct device *d);
    void device_supply(struct device *d);
    void device_receive(struct device *d, const uint8_t *bytes, size_t n);
    size_t device_take(struct device *d, const uint8_t **bytes);
    uint8_t device_is_dead(const struct device *d);
    uint8_t device_on_trial(const struct device *d);
    uint8_t device_running(const struct device *d);
    long long device_units(const struct device *d);
    uint32_t device_violations(const struct device *d);
    uint32_t device_busy_frames(const struct device *d);

    struct flash_nvm;
    struct flash_nvm *nvm_create(struct device *d, uint32_t size0, uint32_t size1);
    void nvm_destroy(struct flash_nvm *n);
    int flash_nvm_read(const struct flash_nvm *n, uint32_t offset, uint8_t *out, size_t count);
    int flash_nvm_write(struct flash_nvm *n, uint32_t offset, const uint8_t *in, size_t count);
    """
)


@functools.cache
def library() -> Any:
    """device.c with the C that flies, built once for each process."""
    folder = Path(tempfile.mkdtemp(prefix="dawnline-device-"))
    out = folder / "device.so"
    flying = [path for module in ("bus", "boards") for path in sorted((ROOT / "csrc" / module).glob("*.c"))]
    firmware = [ROOT / "csrc/firmware" / name for name in ("boot.c", "flash_nvm.c")]
    sources = [ROOT / "tests/update/device.c", ROOT / "tests/update/nvm_device.c", *firmware, *flying]
    flags = ["-std=c11", "-O2", "-fPIC", "-shared", "-ffp-contract=off", "-fno-math-errno", f"-I{ROOT / 'csrc'}"]
    flags += ["-Wall", "-Wextra", "-Werror"]
    compiler = shlex.split(os.environ.get("CC", "cc"))
    subprocess.run([*compiler, *flags, *map(str, sources), "-o", str(out)], check=True)
    return ffi.dlopen(str(out))


def make_image(slot: int, version: int, size: int = 2048, kind: int = KIND, bases: tuple[int, int] = BASES) -> Image:
    """An image for a slot: vector table, header, and bytes of no meaning, some of which read as erased flash."""
    chance = random.Random(f"{slot} {version} {size}")
    data = bytearray(chance.randbytes(size))
    data[-24:-8] = b"\xff" * 16
    data[HEADER_AT - 64 : HEADER_AT] = b"\xff" * 64
    struct.pack_into("<II", data, 0, 0x2000_4000, bases[slot] + HEADER_AT + HEADER.size + 1)
    firmware = version.to_bytes(8, "little")
    HEADER.pack_into(data, HEADER_AT, b"DWNL", size, 0, version, firmware, kind, 0, 0)
    crc = crc32c.crc32c(bytes(data[: HEADER_AT + 8] + data[HEADER_AT + 12 :]))
    struct.pack_into("<I", data, HEADER_AT + 8, crc)
    name = Path(f"version {version} for slot {'ab'[slot]}")
    return Image(name, bases[slot], bytes(data), crc, version, firmware, BoardKind(kind), "bench")


def pair(version: int, size: int = 2048) -> list[Image]:
    """The same program, linked for either slot."""
    return [make_image(slot, version, size) for slot in (0, 1)]


class Device:
    """The board; `image` is what a factory puts into slot A. Off until `power_on`."""

    def __init__(self, image: Image | None, slot_bytes: int = 8192, log_bytes: int = 512, kind: int = KIND) -> None:
        self.lib = library()
        made = self.lib.device_create(kind, ADDRESS, *BASES, slot_bytes, log_bytes)
        self.c = ffi.gc(made, self.lib.device_destroy)
        self.sizes = (slot_bytes, slot_bytes, log_bytes, log_bytes)
        if image is not None:
            self.area(0)[: len(image.data)] = image.data

    def area(self, number: int) -> Any:
        """The bytes of an area: slot A, slot B, and the two logs."""
        return ffi.buffer(self.lib.device_area(self.c, number), self.sizes[number])

    def memory(self) -> list[bytes]:
        return [bytes(self.area(i)) for i in range(4)]

    def restore(self, memory: list[bytes]) -> None:
        for i, content in enumerate(memory):
            self.area(i)[:] = content

    def cut_after(self, units: int, torn: str = "prefix", seed: int = 0) -> None:
        self.lib.device_cut_after(self.c, units, TORN[torn], seed)

    def power_on(self) -> int:
        """The slot whose image has started; `ImageSlot.NONE`: none, or the power failed again."""
        return int(self.lib.device_power_on(self.c))

    def power_cycle(self) -> int:
        self.lib.device_power_off(self.c)
        return self.power_on()

    @property
    def dead(self) -> bool:
        return bool(self.lib.device_is_dead(self.c))

    @property
    def on_trial(self) -> bool:
        return bool(self.lib.device_on_trial(self.c))

    @property
    def running(self) -> ImageSlot:
        return ImageSlot(self.lib.device_running(self.c))

    @property
    def units(self) -> int:
        """Units of writing so far: the moments at which the power could have failed."""
        return int(self.lib.device_units(self.c))

    @property
    def violations(self) -> int:
        return int(self.lib.device_violations(self.c))

    @property
    def busy_frames(self) -> int:
        return int(self.lib.device_busy_frames(self.c))

    def running_image(self) -> bytes:
        """What stands where the running image stands, as long as its header says."""
        slot = bytes(self.area(self.running))
        return slot[: struct.unpack_from("<I", slot, HEADER_AT + 4)[0]]


class DeviceLink:
    """A `hal.link.Link` to a device. `lose`: what is lost of (to the board, from the board) bytes; None: nothing."""

    def __init__(self, device: Device) -> None:
        self.url, self.lossy = "device:", False
        self.device = device
        self.lost_to = self.lost_from = lambda data: False
        self._out = ffi.new("const uint8_t **")

    def fileno(self) -> int:
        return -1

    def send(self, data: bytes) -> None:
        if not self.lost_to(data):
            self.device.lib.device_receive(self.device.c, data, len(data))

    def recv(self) -> bytes:
        n = self.device.lib.device_take(self.device.c, self._out)
        data = bytes(ffi.buffer(self._out[0], n))
        return b"" if self.lost_from(data) else data

    def close(self) -> None:
        pass


def talk(device: Device) -> Talk:
    return Talk(DeviceLink(device), ADDRESS)


def updater(device: Device) -> Updater:
    return Updater(talk(device), "node0")
