"""What the boards cost a microcontroller: flash, memory, and nothing in .data or .bss (built for this machine)."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLASH, RAM = 32 * 1024, 16 * 1024
FLAGS = ["-std=c11", "-Os", "-ffp-contract=off", "-fno-math-errno", "-fno-asynchronous-unwind-tables"]
FLAGS += ["-ffunction-sections", "-fdata-sections", "-DBUS_CRC_SMALL", "-DPOWER_BOARD_MAX_CHANNELS=192"]
FLAGS += [f"-I{ROOT / 'csrc'}"]
POWER_ONLY = {"power_side", "power_nvm", "power_board", "channels", "charger", "mppt", "shed", "soc", "strings"}
NODE_ONLY = {"node_side", "compute_node", "throttle", "over_cap", "heartbeat", "job", "lease"}
KINDS = {1: NODE_ONLY, 2: POWER_ONLY}


def sources(*without: str) -> list[str]:
    found = sorted((ROOT / "csrc" / "boards").glob("*.c"))
    return [str(path) for path in found if path.stem not in without]


def bus() -> list[str]:
    return [str(ROOT / "csrc" / "bus" / f"{name}.c") for name in ("bus_icd", "cobs", "crc32c", "frame", "receiver")]


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_of_one_kind_fits(tmp_path: Path, kind: int):
    """Linked without the other kind's files, everything that is not reached thrown away; C library not counted."""
    (tmp_path / "main.c").write_text(
        '#include "boards/board.h"\nint main(int argc, char **argv) {\n    struct board *b = (struct board *)argv[0];\n'
        "    board_boot(b, (struct board_identity *)argv[1], (struct board_port *)argv[2], 1);\n"
        "    board_receive(b, (uint8_t *)argv[3], (size_t)argc);\n    return board_reset_pending(b);\n}\n"
    )
    image = tmp_path / "image.o"
    entry = ["-r", "-nostdlib", "-Wl,--gc-sections", "-Wl,--entry=main", f"-DBOARD_KIND={kind}"]
    files = [str(tmp_path / "main.c"), *sources(*KINDS[kind]), *bus()]
    subprocess.run(["gcc", *FLAGS, *entry, *files, "-o", str(image)], check=True)
    listing = subprocess.run(["size", str(image)], capture_output=True, text=True, check=True).stdout
    text, data, bss, *_ = map(int, listing.splitlines()[1].split()[:3])
    assert (data, bss) == (0, 0)
    assert text < FLASH
    needed = subprocess.run(["nm", "-u", str(image)], capture_output=True, text=True, check=True).stdout.split()
    assert set(needed) - {"U"} <= {"memcpy", "memset", "memcmp", "memmove", "memchr"}


def test_the_states_fit_the_memory(tmp_path: Path):
    """With 192 channels, as firmware sets it; the sizes are this machine's, a 32-bit one needs no more."""
    program = tmp_path / "sizes.c"
    program.write_text(
        '#include <stdio.h>\n#include "boards/board.h"\n'
        'int main(void) {\n    printf("%zu %zu\\n", board_bytes(2), board_bytes(1));\n    return 0;\n}\n'
    )
    out = tmp_path / "sizes"
    subprocess.run(["gcc", *FLAGS, str(program), *sources(), *bus(), "-o", str(out)], check=True)
    node, power = map(int, subprocess.run([str(out)], capture_output=True, text=True, check=True).stdout.split())
    assert node < RAM // 8
    assert power < RAM // 2
