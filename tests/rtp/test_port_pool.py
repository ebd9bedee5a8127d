"""The port pool."""

import random

import pytest

from rtp.errors import PortsExhaustedError
from rtp.port_pool import PortPool


def pool(first: int = 20000, last: int = 20009, quarantine_s: float = 5.0) -> PortPool:
    return PortPool(first, last, choose=random.Random(3).randrange, quarantine_s=quarantine_s)


def test_ports_are_even_and_their_successor_lies_in_the_range() -> None:
    subject = pool(20001, 20010)
    ports = sorted(subject.acquire(0.0) for _ in range(subject.capacity))
    assert ports == [20002, 20004, 20006, 20008]


def test_ports_are_drawn_in_no_order_and_never_twice() -> None:
    subject = pool(20000, 20999)
    ports = [subject.acquire(0.0) for _ in range(500)]
    assert len(set(ports)) == 500
    assert ports != sorted(ports)


def test_exhaustion_is_503_and_says_why() -> None:
    subject = pool()
    for _ in range(5):
        subject.acquire(0.0)
    with pytest.raises(PortsExhaustedError) as caught:
        subject.acquire(0.0)
    assert str(caught.value) == "No media port is free: 5 in use, 0 in quarantine"
    assert (caught.value.status, caught.value.label) == (503, "rtp_ports_exhausted")


def test_a_released_port_rests_before_it_is_used_again() -> None:
    subject = pool(20000, 20001)
    port = subject.acquire(0.0)
    subject.release(port, 1.0)
    subject.release(port, 1.0)
    assert subject.in_use == 0
    assert subject.available(5.9) == 0
    with pytest.raises(PortsExhaustedError):
        subject.acquire(5.9)
    assert subject.acquire(6.0) == port


@pytest.mark.parametrize(("first", "last"), [(0, 10), (10, 10), (5000, 70000), (20001, 20002)])
def test_ranges_that_hold_no_pair_are_refused(first: int, last: int) -> None:
    with pytest.raises(ValueError, match="Media ports"):
        pool(first, last)
