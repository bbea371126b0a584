"""System tools that pip cannot bring: without one its tests are skipped, naming the package; with CI=true they fail."""

import shutil

import pytest


def needs(program: str, package: str) -> pytest.MarkDecorator:
    """Skips a test where the program is not installed."""
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"no {program}: apt-get install {package}")


NEEDS_QEMU = needs("qemu-system-arm", "qemu-system-arm")
NEEDS_ARM_GCC = needs("arm-none-eabi-gcc", "gcc-arm-none-eabi")
