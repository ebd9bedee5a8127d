"""InboundOrder: in order at once, a gap for a bounded time."""

import random

import pytest

from rtp.ordering import MAX_HELD, MAX_WAIT_S, MIN_WAIT_S, Arrival, InboundOrder, adapted_wait


def released(order: InboundOrder[str], now: float) -> list[tuple[int, str]]:
    return [(lost, name) for lost, _, name in order.release(now)]


def test_packets_in_order_pass_at_once() -> None:
    order: InboundOrder[str] = InboundOrder(65534)
    assert [order.place(number, "x", 0.0) for number in (65534, 65535, 0, 1)] == [Arrival.NEXT] * 4
    assert order.expected == 2


def test_a_gap_waits_for_the_missing_packet() -> None:
    order: InboundOrder[str] = InboundOrder(10)
    assert order.place(11, "b", 0.0) is Arrival.HELD
    assert released(order, 0.005) == []
    assert order.place(10, "a", 0.006) is Arrival.HELD
    assert released(order, 0.006) == [(0, "a"), (0, "b")]
    assert order.place(12, "c", 0.02) is Arrival.NEXT


def test_a_gap_is_declared_lost_after_the_wait() -> None:
    order: InboundOrder[str] = InboundOrder(65535)
    order.place(1, "b", 0.0)
    assert released(order, MIN_WAIT_S - 0.001) == []
    assert released(order, MIN_WAIT_S) == [(2, "b")]


def test_each_gap_has_its_own_wait() -> None:
    order: InboundOrder[str] = InboundOrder(0)
    order.place(1, "b", 0.000)
    order.place(3, "d", 0.008)
    assert released(order, 0.010) == [(1, "b")]
    assert released(order, 0.017) == []
    assert released(order, 0.0181) == [(1, "d")]


@pytest.mark.parametrize(("jitter_ms", "wait_ms"), [(0, 10), (5, 30), (12.5, 60), (200, 60)])
def test_the_wait_follows_the_jitter_up_to_60_ms(jitter_ms: float, wait_ms: float) -> None:
    assert adapted_wait(jitter_ms / 1000) == pytest.approx(wait_ms / 1000)
    assert adapted_wait(jitter_ms / 1000) <= MAX_WAIT_S


def test_late_and_duplicate_packets_are_told_apart() -> None:
    order: InboundOrder[str] = InboundOrder(0)
    order.place(0, "a", 0.0)
    order.place(2, "c", 0.02)
    assert order.place(2, "c", 0.02) is Arrival.DUPLICATE
    assert released(order, 0.1) == [(1, "c")]
    assert order.place(1, "b", 0.1) is Arrival.LATE
    assert order.place(1, "b", 0.1) is Arrival.DUPLICATE
    assert order.place(0, "a", 0.1) is Arrival.DUPLICATE


def test_a_far_jump_is_followed_at_the_second_packet__rfc3550_a1() -> None:
    order: InboundOrder[str] = InboundOrder(100)
    order.place(101, "held", 0.0)
    assert order.place(40_000, "x", 0.0) is Arrival.STRAY
    assert order.place(20_000, "y", 0.0) is Arrival.STRAY
    assert order.place(20_001, "z", 0.0) is Arrival.RESTART
    assert order.place(20_002, "z", 0.0) is Arrival.NEXT


def test_a_burst_beyond_the_bound_does_not_wait() -> None:
    order: InboundOrder[str] = InboundOrder(0)
    for number in range(1, MAX_HELD + 2):
        order.place(number, str(number), 0.0)
    assert released(order, 0.0)[0] == (1, "1")
    assert not order.held


def test_nothing_is_handed_out_twice_or_out_of_order() -> None:
    chance = random.Random(4)
    order: InboundOrder[str] = InboundOrder(65000)
    arrivals = sorted((index * 0.02 + chance.random() * 0.05, index) for index in range(3000) if chance.random() > 0.05)
    played: list[int] = []
    lost_in_all = 0
    for now, index in arrivals:
        arrival = order.place((65000 + index) & 0xFFFF, str(index), now)
        if arrival is Arrival.NEXT:
            played.append(index)
        for lost, _, name in order.release(now):
            lost_in_all += lost
            played.append(int(name))
    assert played == sorted(set(played))
    assert len(played) + lost_in_all == played[-1] + 1


def test_a_gap_that_is_skipped_is_lost_at_once_and_the_next_one_waits_again() -> None:
    order: InboundOrder[str] = InboundOrder(0)
    order.place(1, "b", 0.000)
    order.place(3, "d", 0.001)
    order.skip_gap()
    assert released(order, 0.002) == [(1, "b")]
    assert released(order, 0.002) == []
    assert order.place(0, "a", 0.003) is Arrival.LATE
    assert released(order, 0.012) == [(1, "d")]


def test_what_waited_says_when_it_came() -> None:
    order: InboundOrder[str] = InboundOrder(0)
    order.place(1, "b", 0.003)
    order.place(2, "c", 0.004)
    assert list(order.release(0.1)) == [(1, 0.003, "b"), (0, 0.004, "c")]
