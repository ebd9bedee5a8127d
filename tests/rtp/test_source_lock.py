"""The source lock: who is heard, and where to send."""

import pytest

from rtp.errors import AddressRefusedError
from rtp.source_lock import LATCH_WINDOW_S, SourceLock, SourcePolicy, Verdict, validated_address

NEGOTIATED = ("198.51.100.7", 12692)
OTHER_PORT = ("198.51.100.7", 40000)
OTHER_HOST = ("203.0.113.9", 7000)


def lock(policy: SourcePolicy = SourcePolicy.LATCH) -> SourceLock:
    return SourceLock(policy, NEGOTIATED, 0.0)


def offer(subject: SourceLock, source: tuple[str, int], first: int, count: int, now: float = 0.1) -> list[Verdict]:
    return [
        subject.consider(source, bytes([number & 0xFF]), number & 0xFFFF, 1, now)
        for number in range(first, first + count)
    ]


def test_the_negotiated_address_locks_at_its_first_packet() -> None:
    subject = lock(SourcePolicy.NEGOTIATED)
    assert offer(subject, NEGOTIATED, 5, 1, now=60.0) == [Verdict.LOCKED]
    assert subject.source == subject.remote == NEGOTIATED
    assert subject.take_held() == [b"\x05"]


def test_the_negotiated_policy_hears_nobody_else() -> None:
    subject = lock(SourcePolicy.NEGOTIATED)
    assert offer(subject, OTHER_PORT, 0, 5) == [Verdict.STRANGER] * 5
    assert subject.remote == NEGOTIATED


@pytest.mark.parametrize("policy", [SourcePolicy.SAME_HOST, SourcePolicy.LATCH])
def test_another_port_of_the_host_latches_at_once(policy: SourcePolicy) -> None:
    subject = lock(policy)
    assert offer(subject, OTHER_PORT, 0, 1) == [Verdict.LOCKED]
    assert subject.remote == OTHER_PORT


def test_another_host_latches_after_four_packets_in_sequence() -> None:
    subject = lock()
    assert offer(subject, OTHER_HOST, 65534, 4) == [Verdict.CANDIDATE] * 3 + [Verdict.LOCKED]
    assert subject.remote == OTHER_HOST
    assert subject.take_held() == [b"\xfe", b"\xff", b"\x00", b"\x01"]
    assert subject.take_held() == []


def test_packets_out_of_sequence_never_latch() -> None:
    subject = lock()
    verdicts = [subject.consider(OTHER_HOST, b"", number, 1, 0.1) for number in range(0, 40, 2)]
    assert verdicts == [Verdict.CANDIDATE] * 20


def test_the_ssrc_must_stay_the_same_while_a_source_proves_itself() -> None:
    subject = lock()
    verdicts = [subject.consider(OTHER_HOST, b"", number, number, 0.1) for number in range(8)]
    assert Verdict.LOCKED not in verdicts


def test_the_window_closes_three_seconds_after_negotiation() -> None:
    subject = lock()
    assert offer(subject, OTHER_PORT, 0, 5, now=LATCH_WINDOW_S + 0.001) == [Verdict.STRANGER] * 5
    assert offer(subject, NEGOTIATED, 0, 1, now=100.0) == [Verdict.LOCKED]


def test_the_latch_is_taken_once() -> None:
    subject = lock()
    offer(subject, OTHER_PORT, 0, 1)
    assert offer(subject, NEGOTIATED, 0, 1) == [Verdict.STRANGER]
    assert subject.remote == OTHER_PORT


def test_the_same_host_policy_never_follows_another_host() -> None:
    assert offer(lock(SourcePolicy.SAME_HOST), OTHER_HOST, 0, 8) == [Verdict.STRANGER] * 8


def test_a_trunk_may_narrow_the_latch_to_its_media_range() -> None:
    subject = SourceLock(SourcePolicy.LATCH, NEGOTIATED, 0.0, allowed=lambda host: host.startswith("168.86."))
    assert offer(subject, OTHER_HOST, 0, 8) == [Verdict.STRANGER] * 8
    assert offer(subject, ("168.86.138.121", 9000), 0, 4)[-1] is Verdict.LOCKED


def test_forged_sources_cost_no_memory_and_keep_nobody_out_for_long() -> None:
    subject = lock()
    for number in range(1000):
        offer(subject, (f"192.0.2.{number % 250}", 1024 + number), 0, 1)
    assert offer(subject, OTHER_HOST, 10, 4)[-1] is Verdict.LOCKED


def test_nobody_is_heard_while_no_address_is_known() -> None:
    subject = SourceLock(SourcePolicy.LATCH, None, 0.0)
    assert offer(subject, OTHER_HOST, 0, 5) == [Verdict.STRANGER] * 5
    assert subject.remote is None


@pytest.mark.parametrize(
    ("host", "port", "message"),
    [
        ("media.example.net", 4000, "Media address 'media.example.net' is not an IP address"),
        ("0.0.0.0", 4000, "Media address 0.0.0.0 is not one host"),
        ("::", 4000, "Media address :: is not one host"),
        ("224.2.1.1", 4000, "Media address 224.2.1.1 is not one host"),
        ("255.255.255.255", 4000, "Media address 255.255.255.255 is not one host"),
        ("192.0.2.1", 0, "Media port 0 is not between 1 and 65535"),
        ("192.0.2.1", 65536, "Media port 65536 is not between 1 and 65535"),
    ],
)
def test_addresses_that_must_never_reach_sendto_are_refused(host: str, port: int, message: str) -> None:
    with pytest.raises(AddressRefusedError) as caught:
        validated_address(host, port)
    assert str(caught.value) == message
    assert caught.value.status == 488


def test_an_address_is_known_however_the_description_wrote_it() -> None:
    subject = SourceLock(SourcePolicy.NEGOTIATED, ("2001:DB8:0::1", 4000), 0.0)
    assert subject.remote == ("2001:db8::1", 4000)
    assert subject.consider(("2001:db8::1", 4000), b"", 0, 1, 0.0) is Verdict.LOCKED


MOVED = ("198.51.100.7", 20000)


def moved_lock(policy: SourcePolicy, negotiated: tuple[str, int] = MOVED) -> SourceLock:
    """A re-INVITE named another place at 10.0; the source so far was `NEGOTIATED`."""
    return SourceLock(policy, negotiated, 10.0, former=NEGOTIATED)


@pytest.mark.parametrize("policy", [SourcePolicy.SAME_HOST, SourcePolicy.LATCH])
def test_what_was_under_way_when_the_far_end_moved_is_heard_and_latches_nothing(policy: SourcePolicy) -> None:
    subject = moved_lock(policy)
    assert offer(subject, NEGOTIATED, 0, 8, now=10.1) == [Verdict.FORMER] * 8
    assert subject.remote == MOVED
    assert offer(subject, MOVED, 8, 1, now=10.2) == [Verdict.LOCKED]
    assert offer(subject, NEGOTIATED, 9, 1, now=10.2) == [Verdict.STRANGER]


def test_another_host_is_no_longer_heard_after_a_move_unless_the_policy_hears_any() -> None:
    assert offer(moved_lock(SourcePolicy.SAME_HOST, OTHER_HOST), NEGOTIATED, 0, 8, now=10.1) == [Verdict.STRANGER] * 8
    assert offer(moved_lock(SourcePolicy.NEGOTIATED), NEGOTIATED, 0, 8, now=10.1) == [Verdict.STRANGER] * 8
    subject = moved_lock(SourcePolicy.LATCH, OTHER_HOST)
    assert offer(subject, NEGOTIATED, 0, 8, now=10.1) == [Verdict.FORMER] * 8
    assert offer(subject, OTHER_HOST, 8, 1, now=10.2) == [Verdict.LOCKED]


def test_a_far_end_that_names_another_port_and_stays_where_it_was_latches_after_a_second() -> None:
    subject = moved_lock(SourcePolicy.SAME_HOST)
    assert offer(subject, NEGOTIATED, 0, 1, now=10.9) == [Verdict.FORMER]
    assert offer(subject, NEGOTIATED, 1, 1, now=11.1) == [Verdict.LOCKED]


def test_a_source_that_is_negotiated_again_locks_at_its_first_packet() -> None:
    subject = SourceLock(SourcePolicy.LATCH, NEGOTIATED, 10.0, former=OTHER_HOST, has_moved=False)
    assert offer(subject, OTHER_HOST, 0, 1, now=10.1) == [Verdict.LOCKED]
