"""What of QEMU the bytes do not show."""

from __future__ import annotations

import os

from hal.rig import load_rig
from hal.world import World
from tests.tools import NEEDS_QEMU


@NEEDS_QEMU
def test_every_qemu_stays_on_one_core_and_together_they_use_all():
    rig = load_rig("desk")
    allowed = os.sched_getaffinity(0)
    with World(rig, "qemu") as world:
        pids = [world.pid(board.role) for board in rig.boards]
        cores = [os.sched_getaffinity(pid) for pid in pids if pid is not None]
    assert len(cores) == 5
    assert all(len(mine) == 1 for mine in cores)
    assert len(set().union(*cores)) == min(len(allowed), 5)
