"""Who may know whom (docs/design.md, "The house"): Python imports and C includes; each check shown to fail."""

from pathlib import Path

from tests.repo import tree

# What the on-board modules of flight may know of hal: how to reach boards, and what a rig says.
ON_BOARD_HAL = (
    "hal.port",
    "hal.rig",
    "hal.satellite",
    "hal.link",
    "hal.errors",
    "hal.icd",
    "hal.pacing",
    "hal.strict",
    "hal.orbit",
)
# What they may never reach, not even through a module that they may know.
TRUTH = ("hal.world", "hal.plant", "hal.bench", "hal.score", "hal.server", "hal.faults")

C_KNOWS = {
    "bus": (),
    "space": (),
    "plant": (),
    "boards": ("bus",),
    "control": ("bus", "space"),
    "world": ("bus", "boards", "plant"),
    "process": ("bus", "boards"),
    "firmware": ("bus", "boards"),
}
# Headers that exist without an operating system. string.h is for its functions over bytes alone.
FREESTANDING = {"stdint.h", "stddef.h", "stdbool.h", "limits.h", "float.h", "string.h", "assert.h", "inttypes.h"}
CPU_HEADERS = {"bus": {"emmintrin.h", "immintrin.h", "nmmintrin.h", "arm_acle.h"}}
STRICT_MODULES = ("bus", "space", "boards", "control")


def under(name: str, *prefixes: str) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


def may_import(importer: str, name: str) -> bool:
    """May module `importer` (of one of our packages) import `name`?"""
    if not under(name, "hal", "flight", "ground", "tests", "benchmarks"):
        return True
    if under(importer, "hal"):
        return under(name, "hal")
    if under(importer, "ground"):
        return under(name, "ground")
    if under(importer, "flight.cli", "flight.testing"):
        return under(name, "flight", "hal", "ground")
    if under(importer, "flight.replay", "flight.optimum"):
        return under(name, "hal") or (under(name, "flight") and not under(name, "flight.cli", "flight.testing"))
    if under(name, "flight"):
        return not under(name, "flight.cli", "flight.testing", "flight.replay", "flight.optimum")
    return name == "hal" or under(name, *ON_BOARD_HAL) or name in {"hal.Link", "hal.Rig"}


def python_faults(root: Path, files: list[Path]) -> list[str]:
    faults = []
    for path in files:
        importer = tree.module_name(path, root)
        faults += [
            f"{tree.relative(path, root)}:{line}: {importer} may not import {name}"
            for line, name in tree.imports(path, root)
            if not may_import(importer, name)
        ]
    return faults


def reached(root: Path, files: list[Path], start: str) -> dict[str, str]:
    """Every module of ours that importing `start` may load, each with the module that imports it."""
    modules = {tree.module_name(path, root): path for path in files}
    via: dict[str, str] = {start: ""}
    todo = [start]
    while todo:
        importer = todo.pop()
        if importer not in modules:
            continue
        for _, name in tree.imports(modules[importer], root):
            parts = name.split(".")
            for length in range(1, len(parts) + 1):
                prefix = ".".join(parts[:length])
                if prefix in modules and prefix not in via:
                    via[prefix] = importer
                    todo.append(prefix)
    return via


def truth_faults(root: Path, files: list[Path]) -> list[str]:
    """On-board modules from which a world, a plant or a score can be reached."""
    faults = []
    for start in (tree.module_name(path, root) for path in files):
        if under(start, "flight") and not under(start, "flight.cli", "flight.testing", "flight.optimum"):
            for name, importer in reached(root, files, start).items():
                if under(name, *TRUTH):
                    faults.append(f"{start} reaches {name} (imported by {importer})")
    return faults


def c_faults(root: Path, files: list[Path]) -> list[str]:
    faults = []
    for path in files:
        module = path.relative_to(root / "csrc").parts[0]
        for system, name in tree.includes(path):
            where = f"{tree.relative(path, root)}: {module} may not include {name}"
            if system:
                allowed = FREESTANDING | CPU_HEADERS.get(module, set())
                if module in STRICT_MODULES and name not in allowed:
                    faults.append(where)
            elif name == "firmware_hash.h":
                if module not in ("world", "process", "firmware"):
                    faults.append(where)
            else:
                beside = (path.parent / name).resolve()
                target = beside if beside.exists() else (root / "csrc" / name)
                folder = target.resolve().relative_to((root / "csrc").resolve()).parts[0]
                if folder != module and folder not in C_KNOWS.get(module, ()):
                    faults.append(where)
    return faults


def write(root: Path, files: dict[str, str]) -> list[Path]:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return [root / name for name in files]


def test_python_arrows():
    assert python_faults(tree.ROOT, tree.tracked("hal/*.py", "flight/*.py", "ground/*.py")) == []


def test_flight_on_board_never_reaches_the_truth():
    assert truth_faults(tree.ROOT, tree.tracked("hal/*.py", "flight/*.py", "ground/*.py")) == []


def test_c_arrows():
    assert c_faults(tree.ROOT, tree.tracked("csrc/*.c", "csrc/*.h")) == []


def test_every_c_folder_has_its_arrows():
    folders = {path.relative_to(tree.ROOT / "csrc").parts[0] for path in tree.tracked("csrc/*.c", "csrc/*.h")}
    assert folders <= set(C_KNOWS)


def test_python_check_can_fail(tmp_path: Path):
    files = write(
        tmp_path,
        {
            "flight/loop.py": "from hal.port import BusPort\nimport hal.world\nfrom hal import score\n",
            "flight/jobs.py": "def f():\n    from flight import cli\n    from ground import Station\n",
            "flight/storage.py": "from flight.replay.notes import Note\n",
            "flight/replay/fly.py": "from hal.recording import Recording\nfrom ground import Station\n",
            "flight/optimum/fly.py": "from hal.world import World\nfrom flight.cli import run\n",
            "flight/modes.py": "from flight.optimum.cases import CASES\n",
            "flight/cli/run.py": "from hal.world import World\nimport ground\nfrom flight import loop\n",
            "ground/station.py": "from flight import icd\nfrom . import packets\n",
            "hal/world.py": "from flight.loop import Loop\n",
            "flight/types.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from hal.world import World\n",
        },
    )
    assert [fault.split(":")[0] for fault in python_faults(tmp_path, files)] == [
        "flight/loop.py",
        "flight/loop.py",
        "flight/jobs.py",
        "flight/jobs.py",
        "flight/storage.py",
        "flight/replay/fly.py",
        "flight/optimum/fly.py",
        "flight/modes.py",
        "ground/station.py",
        "hal/world.py",
    ]


def test_truth_check_can_fail(tmp_path: Path):
    files = write(
        tmp_path,
        {
            "flight/loop.py": "from hal.port import BusPort\n",
            "hal/port.py": "from hal.rig import Rig\n",
            "hal/rig.py": "def f():\n    from .world import World\n",
            "hal/world.py": "",
        },
    )
    assert truth_faults(tmp_path, files) == ["flight.loop reaches hal.world (imported by hal.rig)"]


def test_c_check_can_fail(tmp_path: Path):
    files = write(
        tmp_path,
        {
            "csrc/bus/frame.h": "#include <stdint.h>\n",
            "csrc/boards/board.h": '#include "bus/frame.h"\n',
            "csrc/boards/soc.c": '#include "board.h"\n#include "../plant/plant.h"\n#include <math.h>\n',
            "csrc/plant/plant.h": "#include <math.h>\n",
            "csrc/control/loop.c": '#include "boards/board.h"\n#include "firmware_hash.h"\n',
        },
    )
    assert c_faults(tmp_path, files) == [
        "csrc/boards/soc.c: boards may not include ../plant/plant.h",
        "csrc/boards/soc.c: boards may not include math.h",
        "csrc/control/loop.c: control may not include boards/board.h",
        "csrc/control/loop.c: control may not include firmware_hash.h",
    ]
