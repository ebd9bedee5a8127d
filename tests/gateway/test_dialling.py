"""Caps on what is dialled (promise 15), in virtual time."""

from gateway.config.dialling import DiallingSettings
from gateway.dialling import WINDOW_SECONDS, DialCaps, DialRule
from sip.uri import Uri


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def caps(clock: Clock, **settings: object) -> DialCaps:
    return DialCaps(DiallingSettings.model_validate(settings), clock)


def number(digits: str) -> Uri:
    return Uri.parse(f"tel:{digits}")


def test_a_minute_holds_so_many_and_then_it_passes() -> None:
    clock = Clock()
    dialled = caps(clock, per_minute=3, per_prefix=10)
    assert [dialled.take(number(f"+1555000000{digit}")) for digit in range(4)] == [None, None, None, DialRule.MINUTE]
    clock.now += WINDOW_SECONDS - 0.1
    assert dialled.take(number("+15550000009")) is DialRule.MINUTE
    clock.now += 0.1
    assert dialled.take(number("+15550000009")) is None
    assert dialled.counters == {"dialled": 4, "not_dialled_per_minute": 2}


def test_numbers_of_one_prefix_share_a_cap() -> None:
    dialled = caps(Clock(), per_prefix=2, prefix_digits=6)
    assert dialled.take(number("+15557770001")) is None
    assert dialled.take(Uri.parse("sip:+15557770002@carrier.example")) is None
    assert dialled.take(number("+15557779999")) is DialRule.PREFIX
    assert dialled.take(number("+15558880001")) is None


def test_uris_of_one_host_share_a_cap() -> None:
    dialled = caps(Clock(), per_prefix=1)
    assert dialled.take(Uri.parse("sip:101@pbx.example.net")) is None
    assert dialled.take(Uri.parse("sip:102@PBX.example.net")) is DialRule.PREFIX
    assert dialled.take(Uri.parse("sip:101@other.example.net")) is None


def test_the_longest_prefix_that_is_named_holds() -> None:
    dialled = caps(Clock(), per_prefix=1, prefixes={"+1": 3, "+1900": 0})
    assert dialled.take(number("+19005550001")) is DialRule.FORBIDDEN
    assert [dialled.take(number(f"+1{digit}055500001")) for digit in "2345"] == [None, None, None, DialRule.PREFIX]
    assert dialled.take(number("+498912345")) is None


def test_what_was_not_dialled_does_not_count() -> None:
    clock = Clock()
    dialled = caps(clock, per_minute=1)
    assert dialled.take(number("+15550000001")) is None
    for _ in range(5):
        clock.now += 11.0
        dialled.take(number("+15550000001"))
    clock.now += 5.0
    assert dialled.take(number("+15550000001")) is None
