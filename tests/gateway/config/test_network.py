"""The range of RTP ports."""

import pytest

from gateway.config.network import RtpSettings


@pytest.mark.parametrize(
    ("first", "last", "calls"),
    [(20000, 29999, 5000), (20000, 20001, 1), (20000, 20000, 0), (20001, 20002, 0), (20001, 20003, 1), (5, 1, 0)],
)
def test_range_carries_a_call_for_each_even_port_with_its_neighbour(first: int, last: int, calls: int) -> None:
    assert RtpSettings(first_port=first, last_port=last).calls == calls
