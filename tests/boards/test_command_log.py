"""Commands are executed at most once for their (session, sequence), whatever the line does to them."""

from hypothesis import given
from hypothesis import strategies as st

from hal._native import ffi, lib
from hal.icd import AckCode

ARRIVALS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 14)), max_size=60)


@given(ARRIVALS)
def test_executed_at_most_once_and_in_order(arrivals: list[tuple[int, int]]):
    log = ffi.new("struct command_log *")
    executed: list[tuple[int, int]] = []
    for session, sequence in arrivals:
        answer = lib.command_log_check(log, session, sequence)
        if answer == lib.COMMAND_LOG_NEW:
            executed.append((session, sequence))
            lib.command_log_add(log, session, sequence, AckCode.OK)
        elif answer == AckCode.REPEATED:
            assert (session, sequence) in executed
        elif answer == AckCode.STALE_SESSION:
            assert session == 0 or session < max(executed)[0]
        else:
            assert answer == AckCode.STALE_SEQUENCE
            assert (session, sequence) < max(executed)
    assert executed == sorted(set(executed))


@given(st.lists(st.integers(0, 30), max_size=60), st.sampled_from([AckCode.OK, AckCode.WRONG_STATE]))
def test_a_repeated_command_is_answered_as_it_was(arrivals: list[int], code: AckCode):
    """The newest COMMAND_LOG_DEPTH answers are kept; an older command is rejected, not executed."""
    log = ffi.new("struct command_log *")
    answered: list[int] = []
    for sequence in arrivals:
        answer = lib.command_log_check(log, 7, sequence)
        if answer == lib.COMMAND_LOG_NEW:
            assert all(sequence > before for before in answered)
            answered.append(sequence)
            lib.command_log_add(log, 7, sequence, code)
        elif sequence in answered[-lib.COMMAND_LOG_DEPTH :]:
            assert answer == (AckCode.REPEATED if code == AckCode.OK else code)
        else:
            assert answer == AckCode.STALE_SEQUENCE


def test_a_session_seen_elsewhere_makes_older_ones_stale():
    log = ffi.new("struct command_log *")
    lib.command_log_add(log, 3, 9, AckCode.OK)
    lib.command_log_raise(log, 5)
    assert lib.command_log_check(log, 4, 10) == AckCode.STALE_SESSION
    assert lib.command_log_check(log, 5, 0) == lib.COMMAND_LOG_NEW
    lib.command_log_raise(log, 2)
    assert log.session == 5
