"""Limits on connections, in virtual time."""

from collections import Counter

from sip.transport.census import SOURCE_LIMIT, Census, ConnectionLimits, Patience, source_of

LIMITS = ConnectionLimits()


def test_sixty_four_connections_of_an_address_and_1024_in_all() -> None:
    counters: Counter[str] = Counter()
    census = Census(LIMITS, counters)
    assert [census.enter("192.0.2.1", 0.0) for _ in range(66)] == [True] * 64 + [False] * 2
    assert all(census.enter(f"192.0.2.{host}", 0.0) for host in range(2, 17) for _ in range(64))
    assert not census.enter("192.0.2.99", 0.0)
    assert counters == {"connection_limit_of_address": 2, "connection_limit": 1}
    census.leave("192.0.2.1")
    assert census.enter("192.0.2.1", 0.0)
    assert census.total == 1024


def test_whoever_left_leaves_nothing_behind() -> None:
    census = Census(LIMITS, Counter())
    census.enter("192.0.2.1", 0.0)
    census.leave("192.0.2.1")
    assert census.total == 0
    assert not census._by_source


def test_new_connections_of_an_address_have_a_rate() -> None:
    counters: Counter[str] = Counter()
    census = Census(LIMITS, counters)

    def come_and_go(host: str, now: float) -> bool:
        is_in = census.enter(host, now)
        if is_in:
            census.leave(host)
        return is_in

    assert [come_and_go("192.0.2.1", 0.0) for _ in range(130)] == [True] * 128 + [False] * 2
    assert come_and_go("192.0.2.2", 0.0), "others have theirs"
    assert [come_and_go("192.0.2.1", 0.1) for _ in range(6)] == [True] * 5 + [False]
    assert [come_and_go("192.0.2.1", 60.0) for _ in range(129)] == [True] * 128 + [False]
    assert counters == {"connection_rate_of_address": 4}


def test_the_memory_of_rates_is_bounded() -> None:
    census = Census(LIMITS, Counter())
    for number in range(SOURCE_LIMIT + 10):
        host = f"10.0.{number // 256}.{number % 256}"
        assert census.enter(host, 0.0)
        census.leave(host)
    assert len(census._allowances) == SOURCE_LIMIT


def test_a_site_of_ipv6_counts_as_one_address() -> None:
    assert source_of("2001:db8::1") == source_of("2001:db8::ffff:1") == "2001:db8::/64"
    assert source_of("2001:db8:0:1::1") != source_of("2001:db8::1")
    assert source_of("fe80::1%eth0") == "fe80::/64"
    assert source_of("::ffff:192.0.2.1") == source_of("192.0.2.1") == "192.0.2.1"


def test_an_idle_connection_goes_after_120_s_unless_it_carries_a_call() -> None:
    patience = Patience(LIMITS, 0.0, handshake=False)
    patience.heard(50.0)
    assert patience.fault(169.9) is None
    assert patience.fault(170.0) == "connection_idle"
    assert patience.fault(170.0, in_use=True) is None


def test_a_message_has_10_s_from_its_first_byte_however_slowly_it_drips() -> None:
    patience = Patience(LIMITS, 0.0, handshake=False)
    for second in range(100, 110):
        patience.heard(second)
        patience.note_partial(second, unfinished=True, progressed=False)
    assert patience.fault(109.9) is None
    assert patience.fault(110.0) == "partial_message_timeout"


def test_a_message_that_was_completed_starts_the_clock_anew() -> None:
    patience = Patience(LIMITS, 0.0, handshake=False)
    patience.note_partial(0.0, unfinished=True, progressed=False)
    patience.note_partial(9.0, unfinished=True, progressed=True)
    assert patience.fault(10.0) is None
    patience.note_partial(11.0, unfinished=False, progressed=True)
    assert patience.fault(30.0) is None


def test_a_handshake_has_10_s() -> None:
    patience = Patience(LIMITS, 0.0, handshake=True)
    patience.heard(9.0)
    assert patience.fault(9.9) is None
    assert patience.fault(10.0) == "handshake_timeout"
    patience.shake_hands()
    assert patience.fault(10.0) is None


def test_a_farewell_is_short() -> None:
    patience = Patience(LIMITS, 0.0, handshake=False)
    patience.bid_farewell(5.0)
    assert patience.fault(6.9) is None
    assert patience.fault(7.0) == "connection_closed"
