"""Whom a stream hears, and whom again after a negotiation, through `RtpStream`."""

from dataclasses import replace

import pytest

from rtp.parameters import StreamParameters
from rtp.source_lock import SourcePolicy
from rtp.statistics import Discard
from tests.helpers.rtp_peer import (
    FAR_END,
    STRANGER,
    TICK_S,
    FarEnd,
    RecordingSink,
    discards,
    feed,
    make_stream,
    payload_of,
)


def test_strangers_are_counted_and_not_heard() -> None:
    sink, far_end, stranger = RecordingSink(), FarEnd(), FarEnd(seed=66)
    stream = make_stream(sink)
    datagrams = far_end.packets(50)
    for index, datagram in enumerate(datagrams):
        stream.receive_datagram(datagram, FAR_END, index * TICK_S)
        for _ in range(20):
            stream.receive_datagram(stranger.audio(), STRANGER, index * TICK_S)
    assert sink.audio == [(payload_of(datagram), False) for datagram in datagrams]
    assert discards(stream) == {Discard.STRANGER: 1000}
    assert stream.remote == FAR_END


def test_a_latched_source_is_heard_from_its_first_packet_and_sent_to() -> None:
    sink, far_end = RecordingSink(), FarEnd()
    stream = make_stream(sink)
    datagrams = far_end.packets(6)
    behind_nat = ("192.0.2.200", 31_000)
    for index, datagram in enumerate(datagrams):
        assert stream.remote == (FAR_END if index < 4 else behind_nat)
        stream.receive_datagram(datagram, behind_nat, index * TICK_S)
    assert sink.genuine == [payload_of(datagram) for datagram in datagrams]


def test_a_candidate_with_rtcp_noise_or_a_foreign_payload_type_is_no_candidate() -> None:
    stream, far_end = make_stream(RecordingSink()), FarEnd(payload_type=34)
    for datagram in far_end.packets(6):
        stream.receive_datagram(datagram, STRANGER, 0.1)
    stream.receive_datagram(bytes([0x80, 200]) + bytes(26), STRANGER, 0.1)
    stream.receive_datagram(b"\x80", STRANGER, 0.1)
    assert discards(stream) == {Discard.PAYLOAD_TYPE: 6, Discard.RTCP: 1, Discard.HEADER: 1}
    assert stream.remote == FAR_END


def test_a_moved_address_is_heard_and_the_old_one_is_a_stranger() -> None:
    sink, far_end = RecordingSink(), FarEnd()
    stream = make_stream(sink)
    now = feed(stream, far_end.packets(5))
    moved = ("198.51.100.99", 20_000)
    stream.update(StreamParameters(remote=moved, source_policy=SourcePolicy.NEGOTIATED), now)
    assert stream.remote == moved
    stream.receive_datagram(far_end.audio(), FAR_END, now)
    new = FarEnd(ssrc=5, sequence_number=1, timestamp=1).packets(3)
    for datagram in new:
        stream.receive_datagram(datagram, moved, now)
    assert sink.genuine[5:] == [payload_of(datagram) for datagram in new]
    assert discards(stream) == {Discard.STRANGER: 1}


def test_a_renegotiation_that_changes_nothing_keeps_the_latch() -> None:
    sink, far_end = RecordingSink(), FarEnd()
    stream = make_stream(sink)
    behind_nat = (FAR_END[0], 31_000)
    stream.receive_datagram(far_end.audio(), behind_nat, 0.0)
    stream.update(StreamParameters(remote=FAR_END), 10.0)
    assert stream.remote == behind_nat
    stream.receive_datagram(far_end.audio(), behind_nat, 10.0)
    assert len(sink.genuine) == 2


@pytest.mark.parametrize("policy", list(SourcePolicy))
@pytest.mark.parametrize("moved", [(FAR_END[0], 20000), ("198.51.100.99", 20000)])
def test_a_far_end_that_moves_is_heard_from_its_new_place_while_old_packets_still_arrive(
    policy: SourcePolicy, moved: tuple[str, int]
) -> None:
    sink, far_end = RecordingSink(), FarEnd()
    stream = make_stream(sink, StreamParameters(remote=FAR_END, source_policy=policy))
    now = feed(stream, far_end.packets(20))
    stream.update(StreamParameters(remote=moved, source_policy=policy), now)
    now = feed(stream, far_end.packets(6), now)
    assert stream.remote == moved
    sink.audio.clear()
    for datagram in far_end.packets(50):
        stream.receive_datagram(datagram, moved, now)
        now += TICK_S
    assert len(sink.genuine) == 50
    assert stream.remote == moved


@pytest.mark.parametrize("policy", [SourcePolicy.SAME_HOST, SourcePolicy.LATCH])
def test_a_port_that_a_nat_forgot_during_hold_is_found_again(policy: SourcePolicy) -> None:
    sink, far_end, mapped, mapped_anew = RecordingSink(), FarEnd(), (FAR_END[0], 7000), (FAR_END[0], 8000)
    parameters = StreamParameters(remote=FAR_END, source_policy=policy)
    stream = make_stream(sink, parameters)
    stream.receive_datagram(far_end.audio(), mapped, 0.0)
    stream.update(replace(parameters, receives=False), 1.0)
    stream.update(parameters, 120.0)
    assert stream.remote == mapped, "until somebody speaks"
    sink.audio.clear()
    for index, datagram in enumerate(far_end.packets(20)):
        stream.receive_datagram(datagram, mapped_anew, 120.0 + index * TICK_S)
    assert len(sink.genuine) == 20
    assert stream.remote == mapped_anew
