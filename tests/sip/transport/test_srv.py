"""Choices among DNS records: RFC 2782 and RFC 3263."""

import random
from collections import Counter

from sip.transport.srv import NaptrRecord, SrvRecord, order_servers, preferred_transport, services_for

NAPTR = (
    NaptrRecord(50, 50, "s", "SIPS+D2T", "_sips._tcp.example.net"),
    NaptrRecord(90, 50, "S", "sip+d2t", "_sip._tcp.example.net"),
    NaptrRecord(100, 50, "s", "SIP+D2U", "_sip._udp.example.net"),
    NaptrRecord(10, 10, "u", "E2U+sip", ""),
)


def test_lower_priority_values_come_first__rfc2782() -> None:
    records = [SrvRecord(20, 1, 5060, "c"), SrvRecord(10, 1, 5060, "a"), SrvRecord(10, 1, 5060, "b")]
    for seed in range(20):
        names = [record.target for record in order_servers(records, random.Random(seed))]
        assert sorted(names[:2]) == ["a", "b"]
        assert names[2] == "c"


def test_weights_share_the_load__rfc2782() -> None:
    records = [SrvRecord(10, 60, 5060, "big"), SrvRecord(10, 30, 5060, "middle"), SrvRecord(10, 10, 5060, "small")]
    randomness = random.Random(7)
    first = Counter(order_servers(records, randomness)[0].target for _ in range(5000))
    assert abs(first["big"] / 5000 - 0.60) < 0.03
    assert abs(first["middle"] / 5000 - 0.30) < 0.03
    assert abs(first["small"] / 5000 - 0.10) < 0.03


def test_weight_zero_is_seldom_first_and_never_lost__rfc2782() -> None:
    records = [SrvRecord(10, 0, 5060, "spare"), SrvRecord(10, 100, 5060, "main")]
    randomness = random.Random(7)
    orders = [[record.target for record in order_servers(records, randomness)] for _ in range(1000)]
    assert all(sorted(order) == ["main", "spare"] for order in orders)
    assert sum(order[0] == "spare" for order in orders) < 50
    assert len(order_servers([SrvRecord(1, 0, 1, "a"), SrvRecord(1, 0, 2, "b")], randomness)) == 2


def test_a_dot_means_that_there_is_no_service__rfc2782() -> None:
    assert order_servers([SrvRecord(0, 0, 0, ".")], random.Random(1)) == []


def test_naptr_says_where_a_transport_is_served__rfc3263_4_1() -> None:
    assert services_for(NAPTR, "tcp") == ["_sip._tcp.example.net"]
    assert services_for(NAPTR, "sctp") == []


def test_naptr_chooses_among_what_we_speak__rfc3263_4_1() -> None:
    assert preferred_transport(NAPTR, ["udp", "tcp", "tls"], sips=False) == "tls"
    assert preferred_transport(NAPTR, ["udp", "tcp"], sips=False) == "tcp"
    assert preferred_transport(NAPTR, ["udp", "tcp"], sips=True) is None
    assert preferred_transport((), ["udp"], sips=False) is None
