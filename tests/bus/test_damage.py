"""A million damaged frames: none accepted wrong, back in step within one frame, every byte and every run counted.

The loop is C (damage.c), over the same sources that fly; here as the host builds them and as the boards do.
"""

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILDS = {"host": ("-O2",), "board": ("-O2", "-DBUS_CRC_SMALL")}
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def run(folder: Path, flags: tuple[str, ...], trials: int, seed: int) -> dict[str, int]:
    program = folder / "damage"
    sources = [ROOT / "tests/bus/damage.c", *sorted((ROOT / "csrc/bus").glob("*.c"))]
    compiler = shlex.split(os.environ.get("CC", "cc"))
    command = [*compiler, "-std=c11", *flags, f"-I{ROOT / 'csrc'}", *map(str, sources), "-o", str(program)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    done = subprocess.run([str(program), str(trials), str(seed)], check=True, capture_output=True, text=True)
    tally: dict[str, int] = json.loads(done.stdout)
    return tally


def judge(tally: dict[str, int], trials: int) -> None:
    print(tally)
    assert tally["damaged"] == trials
    assert tally["wrong"] == 0
    assert tally["lost_other"] == 0  # with delimiters of its own, damage to a frame costs no other frame
    assert tally["misaccounted"] == 0
    # The harness is no use if it does not damage: the frame behind is lost with a shared delimiter now and then, most
    # damage is seen, and each kind of error occurs.
    assert tally["lost_next_shared"] > trials // 50
    assert tally["harmless"] < trials // 20
    assert min(tally[f"{kind}_errors"] for kind in ("crc", "cobs", "length")) > trials // 50


@pytest.mark.parametrize(("build", "trials"), [("host", 1_000_000), ("board", 200_000)])
def test_a_million_damaged_frames(tmp_path, build, trials):
    judge(run(tmp_path, BUILDS[build], trials, seed=1), trials)


def test_damaged_frames_under_sanitizers(tmp_path):
    """No byte read or written outside its memory, no undefined behaviour."""
    probe = tmp_path / "probe.c"
    probe.write_text("int main(void) {\n    return 0;\n}\n")
    command = [*shlex.split(os.environ.get("CC", "cc")), *SANITIZERS, str(probe), "-o", str(tmp_path / "probe")]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("the compiler has no sanitizers; install libasan and libubsan")
    judge(run(tmp_path, ("-O1", *SANITIZERS), 40_000, seed=2), 40_000)
