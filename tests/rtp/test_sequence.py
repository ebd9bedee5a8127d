"""Wrapping arithmetic."""

from hypothesis import given
from hypothesis import strategies as st

from rtp.sequence import sequence_add, sequence_difference, timestamp_add, timestamp_difference


def test_the_number_after_65535_is_0() -> None:
    assert sequence_add(65535, 1) == 0
    assert sequence_difference(0, 65535) == 1
    assert sequence_difference(65535, 0) == -1
    assert timestamp_difference(159, 2**32 - 1) == 160


@given(st.integers(0, 0xFFFF), st.integers(-0x8000, 0x7FFF))
def test_sequence_difference_undoes_add(start: int, count: int) -> None:
    assert sequence_difference(sequence_add(start, count), start) == count


@given(st.integers(0, 2**32 - 1), st.integers(-(2**31), 2**31 - 1))
def test_timestamp_difference_undoes_add(start: int, samples: int) -> None:
    assert timestamp_difference(timestamp_add(start, samples), start) == samples
