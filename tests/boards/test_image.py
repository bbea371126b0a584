"""What the boards cost a microcontroller: flash, memory, and nothing in .data or .bss (built for this machine)."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NODE_FLASH, NODE_RAM, POWER_RAM = 32 * 1024, 16 * 1024, 16 * 1024
FLAGS = ["-std=c11", "-Os", "-ffp-contract=off", "-fno-math-errno", "-ffunction-sections", "-DBUS_CRC_SMALL"]
FLAGS += ["-DPOWER_BOARD_MAX_CHANNELS=192", f"-I{ROOT / 'csrc'}"]
# The generated codec is linked by function, so that only what a board uses counts (section sizes below).
NODE_ONLY_POWER = {"power_side", "power_board", "channels", "charger", "mppt", "shed", "soc", "strings"}


def sources() -> list[Path]:
    return sorted((ROOT / "csrc" / "boards").glob("*.c"))


@pytest.fixture(scope="module")
def sizes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, int]]:
    """(flash, writable bytes) of every object."""
    folder = tmp_path_factory.mktemp("image")
    found = {}
    for source in sources():
        target = folder / (source.stem + ".o")
        subprocess.run(["gcc", *FLAGS, "-c", str(source), "-o", str(target)], check=True)
        listing = subprocess.run(["size", str(target)], capture_output=True, text=True, check=True).stdout
        text, data, bss, *_ = map(int, listing.splitlines()[1].split()[:3])
        found[source.stem] = (text, data + bss)
    return found


def test_no_writable_memory_of_its_own(sizes: dict[str, tuple[int, int]]):
    assert {name: bytes_ for name, (_, bytes_) in sizes.items() if bytes_} == {}


def test_a_node_fits_its_flash(sizes: dict[str, tuple[int, int]]):
    node = sum(text for name, (text, _) in sizes.items() if name not in NODE_ONLY_POWER)
    assert node < NODE_FLASH, sizes


def test_the_states_fit_the_memory(tmp_path: Path):
    """With 192 channels, as firmware sets it; the sizes are this machine's, a 32-bit one needs no more."""
    program = tmp_path / "sizes.c"
    program.write_text(
        '#include <stdio.h>\n#include "boards/board.h"\n'
        'int main(void) {\n    printf("%zu %zu\\n", board_bytes(2), board_bytes(1));\n    return 0;\n}\n'
    )
    out = tmp_path / "sizes"
    bus = [str(path) for path in sorted((ROOT / "csrc" / "bus").glob("*.c"))]
    command = ["gcc", *FLAGS, str(program), *map(str, sources()), *bus, "-o", str(out)]
    subprocess.run(command, check=True)
    node, power = map(int, subprocess.run([str(out)], capture_output=True, text=True, check=True).stdout.split())
    assert node < NODE_RAM // 4, "the rest is stack and the receive ring"
    assert power < POWER_RAM // 2
