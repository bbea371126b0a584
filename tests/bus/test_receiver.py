"""The receiver: any chunking gives the same, it is back in step within one frame, and every byte is accounted for."""

import itertools

from hypothesis import example, given
from hypothesis import strategies as st

from tests.bus import native, oracle
from tests.bus.native import lib

good = st.builds(
    oracle.frame,
    st.integers(0, 63),
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFF),
    st.integers(0, 1),
    st.integers(0, 0xFFFF),
    st.integers(0, (1 << 48) - 1),
    st.one_of(st.binary(max_size=60), st.binary(min_size=185, max_size=192), st.just(bytes(192))),
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A frame with a flip, a loss, an insertion, a cut or a second half from elsewhere."""
    wire = bytearray(draw(good))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(len(wire) - 1, 0)))
        kind = draw(st.sampled_from(["flip", "lose", "insert", "cut", "splice"]))
        if kind == "flip" and wire:
            wire[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "lose":
            del wire[at : at + draw(st.integers(1, 4))]
        elif kind == "insert":
            wire[at:at] = draw(st.binary(min_size=1, max_size=4))
        elif kind == "cut":
            del wire[at:]
        else:
            wire[at:] = draw(good)[at:]
    return bytes(wire)


noise = st.one_of(
    st.binary(max_size=40),
    st.integers(1, 12).map(bytes),
    st.integers(205, 440).map(lambda n: b"\x55" * n),
    st.integers(205, 440).map(lambda n: b"\1" * n + b"\0"),
)
streams = st.lists(st.one_of(good, good.map(lambda f: f[1:]), damaged(), noise), max_size=8).map(b"".join)


def chunks_of(stream: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(stream), *(c % (len(stream) + 1) for c in cuts)})
    return [stream[a:b] for a, b in itertools.pairwise(edges)]


@given(streams, st.lists(st.integers(0, 5000), max_size=40))
@example(b"\1" * 212 + b"\0", [212])
@example(b"\1" * 213 + b"\0" + oracle.frame(1, 1, 2, 0, 0, 0, b"x"), [212, 213, 214])
def test_any_chunking_gives_the_same_frames(stream, cuts):
    wanted = oracle.Receiver()
    wanted.feed(stream)
    whole, cut, single = native.Receiver(), native.Receiver(), native.Receiver()
    whole.feed(stream)
    for chunk in chunks_of(stream, cuts):
        cut.feed(chunk)
    for i in range(len(stream)):
        single.feed(stream[i : i + 1])
    for receiver in (whole, cut, single):
        assert receiver.results == wanted.results
        assert receiver.counters == wanted.counters
    assert whole.frames == cut.frames == single.frames


@given(streams)
def test_every_byte_and_every_run_is_accounted_for(stream):
    """rx_bytes counts all bytes; each run of non-zero bytes that ended is in exactly one of the other counters."""
    receiver = native.Receiver()
    receiver.feed(stream + b"\0")
    counted = receiver.counters
    assert counted.pop("rx_bytes") == len(stream) + 1
    assert sum(counted.values()) == len([run for run in stream.split(b"\0") if run])
    assert len(receiver.results) == sum(counted.values())


@given(st.lists(good, min_size=1, max_size=6))
def test_consecutive_frames_may_share_a_delimiter(frames):
    receiver = native.Receiver()
    receiver.feed(frames[0] + b"".join(f[1:] for f in frames[1:]))
    assert receiver.results == [("frame", f) for f in frames]


@given(st.lists(st.tuples(good, st.integers(0, 9)), min_size=1, max_size=4))
def test_runs_of_zeros_are_idle(frames):
    receiver = native.Receiver()
    receiver.feed(b"".join(f + bytes(idle) for f, idle in frames))
    assert receiver.results == [("frame", f) for f, _ in frames]


@given(good, damaged(), good, good)
def test_back_in_step_within_one_frame(before, broken, after, last):
    """Whatever happened to one frame, at most the one behind it is lost with it, and only when a delimiter was hit."""
    receiver = native.Receiver()
    receiver.feed(before + broken + after + last)
    wires = [wire for kind, wire in receiver.results if kind == "frame"]
    assert wires[0] == before
    assert wires[-1] == last
    assert wires[-2] == after  # its own opening delimiter stood: not even the next frame is lost


@given(good, st.binary(min_size=1, max_size=400).map(lambda b: b.replace(b"\0", b"\1")), good)
def test_a_babbling_line_costs_one_frame(first, babble, last):
    """No delimiter at all between two frames, then one frame later all is well."""
    receiver = native.Receiver()
    receiver.feed(first[:-1] + babble + last[1:] + last)
    assert receiver.results[-1] == ("frame", last)
    assert receiver.c.rx_bytes == len(first) + len(babble) + 2 * len(last) - 2


def test_never_waits_for_a_length_it_has_not_verified():
    """An overlong run is reported at its 213th byte, with no delimiter in sight."""
    receiver = native.Receiver()
    receiver.feed(b"\0" + b"\x7f" * 212)
    assert receiver.results == []
    receiver.feed(b"\x7f")
    assert receiver.results == [("damaged", b"\0" + b"\x7f" * 213 + b"\0")]
    receiver.feed(b"\x7f" * 5000)
    assert len(receiver.results) == 1
    assert receiver.counters["length_errors"] == 1


def test_what_a_damaged_run_shows_is_damaged_for_the_next_receiver_too():
    """A run can be forwarded as it is shown, and counts there as one error and never hides the frame behind it."""
    frame = oracle.frame(16, 256, 1, 0, 0, 5, b"telemetry")
    first, second = native.Receiver(), native.Receiver()
    first.feed(b"\x7f" * 300 + b"\0" + frame + frame[:-3] + b"\0" + frame)
    for _, wire in first.results:
        second.feed(wire)
    assert second.results == first.results


def test_a_new_receiver_is_in_step():
    """The first frame is taken even when its opening delimiter was lost."""
    frame = oracle.frame(2, 256, 1, 0, 0, 5, b"hello")
    receiver = native.Receiver()
    receiver.feed(frame[1:])
    assert receiver.results == [("frame", frame)]


@given(st.lists(good, min_size=1, max_size=5))
def test_wire_of_a_whole_frame_is_not_copied(frames):
    """The fast path: `wire` points into the caller's bytes when both delimiters are there."""
    stream = b"".join(frames)
    memory = native.ffi.new("uint8_t[]", stream)
    at, f = native.ffi.new("const uint8_t **", memory), native.ffi.new("struct bus_frame *")
    receiver = native.Receiver()
    place = 0
    for frame in frames:
        assert lib.bus_receiver_next(receiver.c, at, memory + len(stream), f) == lib.BUS_RX_FRAME
        assert f.wire == memory + place
        place += len(frame)


def test_whatever_flips_in_it_writes_nowhere_else_and_it_hears_again():
    wire = oracle.frame(1, 1, 2, 0, 0, 0, bytes(range(1, 100)))
    size = native.ffi.sizeof("struct bus_receiver")
    for bit in range(8 * size):
        receiver = native.Receiver()
        memory = native.ffi.new("uint8_t[]", [0xA5] * (size + 4096))
        receiver.c = native.ffi.cast("struct bus_receiver *", memory)
        lib.bus_receiver_init(receiver.c)
        receiver.feed(wire[:50])
        memory[bit // 8] ^= 1 << bit % 8
        receiver.feed(wire[50:] + wire)
        assert bytes(memory[size : size + 4096]) == b"\xa5" * 4096, bit
        assert receiver.results[-1] == ("frame", wire), bit
