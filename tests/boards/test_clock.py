"""The clock of a board that flies: led by flight, never back."""

from hypothesis import given
from hypothesis import strategies as st

from hal._native import ffi, lib

WRAP = 1 << 32
DAY_US = 86_400_000_000


def now(clock: object, local_us: int) -> int:
    return int(lib.clock_now(clock, local_us % WRAP))


@given(st.lists(st.tuples(st.integers(0, 2_000_000_000), st.integers(-3_000_000, 3_000_000) | st.none()), max_size=40))
def test_it_never_goes_back_and_follows_an_eighth(steps: list[tuple[int, int | None]]):
    """Against arithmetic without limits: time base without wraps, offset as an exact integer."""
    clock = ffi.new("struct clock *")
    local, offset, led, last = 0, 0, False, 0
    for passed, error in steps:
        local += passed
        if error is not None:
            heard = max(0, local + offset + error)
            wrong = heard - (local + offset)
            lib.clock_follow(clock, heard, local % WRAP)
            far = not led or abs(wrong) > lib.CLOCK_JUMP_US
            offset += wrong if far else int(wrong / 8)  # C divides towards zero
            led = True
        got = now(clock, local)
        assert got == max(last, local + offset)
        last = got


@given(st.integers(-80, 80), st.integers(1, DAY_US))
def test_it_stays_with_a_flight_whose_oscillator_differs(ppm: int, start_us: int):
    """A frame a second for ten minutes: within 1 ms of flight, whatever the crystals."""
    clock = ffi.new("struct clock *")
    for second in range(600):
        local = second * 1_000_000
        flight = start_us + local + second * ppm
        lib.clock_follow(clock, flight, local % WRAP)
        assert abs(now(clock, local) - flight) <= 1000
