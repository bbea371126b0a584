"""CRC-32C: the processor's instruction, slice-by-8 and the boards' small table are one function."""

import crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bus.native import lib

BODIES = ("bus_crc32c", "bus_crc32c_small", "bus_crc32c_slice8")


@pytest.mark.parametrize("name", BODIES)
def test_check_value(name):
    """The check value of the CRC catalogue (CRC-32/ISCSI), and the empty string."""
    assert getattr(lib, name)(0, b"123456789", 9) == 0xE3069283
    assert getattr(lib, name)(0, b"", 0) == 0


@pytest.mark.parametrize("name", BODIES)
@given(data=st.binary(max_size=400), cut=st.integers(0, 400))
def test_equals_the_package_in_one_go_and_in_two(name, data, cut):
    function = getattr(lib, name)
    cut = min(cut, len(data))
    assert function(0, data, len(data)) == crc32c.crc32c(data)
    assert function(function(0, data[:cut], cut), data[cut:], len(data) - cut) == crc32c.crc32c(data)


@pytest.mark.parametrize("name", BODIES)
def test_every_length_and_every_byte(name):
    """Each entry of each table and each tail of the unrolled loops takes part."""
    function = getattr(lib, name)
    for n in range(64):
        data = bytes((7 * i + n) & 255 for i in range(n))
        assert function(0, data, n) == crc32c.crc32c(data)
    for byte in range(256):
        for place in range(9):
            data = bytes(place) + bytes([byte]) + bytes(8 - place)
            assert function(0, data, 9) == crc32c.crc32c(data)
