"""The range of RTP ports, and the SIP timers."""

import pytest

from gateway.config.network import ListenerSettings, RtpSettings, SipTimerSettings
from sip.transaction.timer import TimerValues


@pytest.mark.parametrize(
    ("first", "last", "calls"),
    [(20000, 29999, 5000), (20000, 20001, 1), (20000, 20000, 0), (20001, 20002, 0), (20001, 20003, 1), (5, 1, 0)],
)
def test_range_carries_a_call_for_each_even_port_with_its_neighbour(first: int, last: int, calls: int) -> None:
    assert RtpSettings(first_port=first, last_port=last).calls == calls


def test_sip_timers_are_the_rfcs_unless_told__rfc3261_17_1_1_1() -> None:
    timers, values = SipTimerSettings(), TimerValues()
    assert (timers.t1_ms / 1000, timers.t2_ms / 1000, timers.t4_ms / 1000) == (values.t1, values.t2, values.t4)


@pytest.mark.parametrize(
    ("given", "port"),
    [
        ({}, 5060),
        ({"transport": "tcp"}, 5060),
        ({"transport": "tls"}, 5061),
        ({"transport": "tls", "port": 5060}, 5060),
    ],
)
def test_ports_are_the_rfcs_unless_told__rfc3261_19_1_2(given: dict[str, object], port: int) -> None:
    assert ListenerSettings.model_validate(given).port == port
