"""Going through the addresses of a target: RFC 3263 §4.3."""

from sip.transport.flow import Address
from sip.transport.hunt import HUNT_LIMIT, HUNT_SECONDS, Hunts

A, B, C = (Address(f"192.0.2.{host}", 5060) for host in (1, 2, 3))


def test_a_hunt_goes_from_address_to_address_and_ends() -> None:
    hunt = Hunts().begin("b1", [A, B], 0.0)
    assert [hunt.advance(), hunt.advance(), hunt.advance()] == [A, B, None]


def test_the_next_attempt_begins_behind_the_one_that_failed() -> None:
    hunts = Hunts()
    hunts.begin("b1", [A, B, C], 0.0).advance()
    second = hunts.resume("b1", "b2", 1.0)
    assert second is not None
    assert second.advance() == B
    third = hunts.resume("b2", "b3", 2.0)
    assert third is not None
    assert [third.advance(), third.advance()] == [C, None]
    assert hunts.resume("unknown", "b4", 3.0) is None


def test_a_lost_connection_is_tried_once_more_and_only_once() -> None:
    hunt = Hunts().begin("b1", [A, B], 0.0)
    hunt.advance()
    hunt.retry()
    assert hunt.advance() == A
    hunt.retry()
    assert hunt.advance() == B


def test_hunts_are_forgotten_in_time_and_bounded_in_number() -> None:
    hunts = Hunts()
    hunts.begin("old", [A], 0.0)
    hunts.begin("new", [A], HUNT_SECONDS)
    assert hunts.get("old") is None
    for number in range(HUNT_LIMIT + 10):
        hunts.begin(f"b{number}", [A], HUNT_SECONDS)
    assert len(hunts) == HUNT_LIMIT
    hunts.begin("", [A], HUNT_SECONDS)
    assert hunts.get("") is None
