"""The inbound half through `RtpStream`: order, loss, causes, restarts, silence that nobody sent."""

import struct
from dataclasses import replace

import numpy as np
import pytest

from rtp.codec import g711
from rtp.codec.audio import decoder_of, encoder_of
from rtp.codec.format import G722, L16_8K, L16_16K, PCMA, PayloadFormat
from rtp.errors import AddressRefusedError
from rtp.packet import HeaderExtension, RtpPacket
from rtp.parameters import StreamParameters
from rtp.source_lock import SourcePolicy
from rtp.statistics import Discard
from rtp.stream import RtpStream
from rtp.telephone_event import TelephoneEvent
from tests.helpers.rtp_peer import (
    FAR_END,
    STRANGER,
    TICK_S,
    FarEnd,
    RecordingSink,
    delivery,
    make_stream,
    payload_of,
    run,
)

WITH_EVENTS = StreamParameters(remote=FAR_END, telephone_event_payload_type_rx=101, telephone_event_payload_type_tx=101)


def feed(stream: RtpStream, datagrams: list[bytes], start: float = 0.0) -> float:
    """Gives one datagram every 20 ms. Returns when the next would be due."""
    for index, datagram in enumerate(datagrams):
        stream.receive_datagram(datagram, FAR_END, start + index * TICK_S)
    return start + len(datagrams) * TICK_S


def discards(stream: RtpStream) -> dict[Discard, int]:
    return dict(stream.statistics().rx.discards)


def test_passthrough_is_bit_exact_over_both_wraps() -> None:
    sink, far_end = RecordingSink(), FarEnd(sequence_number=65_500, timestamp=2**32 - 160 * 40)
    stream = make_stream(sink)
    datagrams = far_end.packets(200)
    feed(stream, datagrams)
    assert sink.audio == [(payload_of(datagram), False) for datagram in datagrams]
    statistics = stream.statistics().rx
    assert (statistics.packets, statistics.lost, statistics.restarts) == (200, 0, 0)
    assert statistics.extended_highest_sequence == 65_500 + 199
    assert statistics.jitter_ms == pytest.approx(0.0, abs=1e-6)
    assert statistics.played_ms == 4000


def test_passthrough_is_bit_exact_through_a_network_that_reorders_and_repeats() -> None:
    sink, far_end = RecordingSink(), FarEnd()
    stream = make_stream(sink)
    datagrams = far_end.packets(500)
    # Delays below two packet times reorder neighbours; the adapted wait covers them.
    arrivals = list(delivery(datagrams, seed=11, jitter_ms=35, duplicates=0.1))
    run(stream, arrivals, until=10.1)
    lost = stream.statistics().rx.lost
    assert lost <= 5
    if not lost:
        assert sink.heard == b"".join(map(payload_of, datagrams))
    assert discards(stream)[Discard.DUPLICATE] > 30
    genuine = [payload_of(datagram) for datagram in datagrams]
    positions = [genuine.index(payload) for payload in sink.genuine if payload in genuine]
    assert positions == sorted(set(positions))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("loss", [0.01, 0.05, 0.2])
def test_the_clock_of_the_sink_stays_true_under_loss(seed: int, loss: float) -> None:
    sink, far_end = RecordingSink(), FarEnd(timestamp=2**32 - 8000)
    stream = make_stream(sink)
    datagrams = far_end.packets(500)
    arrivals = [
        (0.0, datagrams[0]),
        *((at + TICK_S, data) for at, data in delivery(datagrams[1:-1], seed=seed, loss=loss, jitter_ms=10)),
    ]
    arrivals.append((500 * TICK_S, datagrams[-1]))
    run(stream, arrivals, until=10.2)
    statistics = stream.statistics().rx
    assert len(sink.heard) == 500 * 160 + statistics.filled_ms * 0
    assert statistics.packets + statistics.lost == 500
    assert statistics.concealed_ms + statistics.filled_ms == statistics.lost * 20
    assert statistics.loss_ratio == pytest.approx(loss, abs=0.05)


def test_a_lost_packet_is_concealed_and_the_next_is_blended() -> None:
    sink, far_end = RecordingSink(), FarEnd()
    stream = make_stream(sink)
    datagrams = far_end.packets(8)
    del datagrams[4]
    feed(stream, datagrams)
    stream.tick(0.2)
    assert [concealed for _, concealed in sink.audio] == [False] * 4 + [True] + [False] * 3
    assert [len(payload) for payload, _ in sink.audio] == [160] * 8
    # All but the blended one are as they were sent, and the blend ends within 10 ms.
    assert sink.audio[5][0][80:] == payload_of(datagrams[4])[80:]
    assert [payload for payload, _ in sink.audio[6:]] == [payload_of(datagram) for datagram in datagrams[5:]]


def test_a_packet_that_comes_within_the_wait_is_not_lost() -> None:
    sink, far_end = RecordingSink(), FarEnd()
    stream = make_stream(sink)
    first, second, third = far_end.packets(3)
    stream.receive_datagram(first, FAR_END, 0.0)
    stream.receive_datagram(third, FAR_END, 0.035)
    stream.tick(0.04)
    assert len(sink.audio) == 1
    stream.receive_datagram(second, FAR_END, 0.044)
    assert sink.audio == [(payload_of(packet), False) for packet in (first, second, third)]


def test_late_duplicate_and_stray_packets_are_counted_by_cause() -> None:
    sink, far_end = RecordingSink(), FarEnd()
    stream = make_stream(sink)
    datagrams = far_end.packets(6)
    stray = bytes(RtpPacket(0, 40_000, 0, far_end.ssrc, b"\x01" * 160))
    now = feed(stream, [datagrams[0], datagrams[2], datagrams[3]])
    stream.tick(now)
    for datagram in (datagrams[1], datagrams[0], stray):
        stream.receive_datagram(datagram, FAR_END, now)
    feed(stream, datagrams[4:], now)
    assert discards(stream) == {Discard.LATE: 1, Discard.DUPLICATE: 1, Discard.STRAY: 1}
    assert sink.genuine[-1] == payload_of(datagrams[5])
    assert stream.statistics().rx.late == 1


def test_a_sender_that_restarted_its_sequence_is_followed() -> None:
    sink, far_end = RecordingSink(), FarEnd()
    stream = make_stream(sink)
    now = feed(stream, far_end.packets(5))
    far_end.sequence_number, far_end.timestamp = 40_000, 77
    second_life = far_end.packets(5)
    feed(stream, second_life, now)
    assert sink.genuine[5:] == [payload_of(datagram) for datagram in second_life[1:]]
    statistics = stream.statistics().rx
    assert (statistics.restarts, statistics.discards[Discard.STRAY]) == (1, 1)
    assert statistics.extended_highest_sequence == 40_004


def test_a_new_ssrc_is_followed_without_losing_its_first_packets() -> None:
    sink, far_end = RecordingSink(), FarEnd()
    stream = make_stream(sink)
    now = feed(stream, far_end.packets(5))
    other = FarEnd(sequence_number=9, timestamp=5, ssrc=77, seed=3).packets(5)
    feed(stream, other, now)
    assert sink.genuine[5:] == [payload_of(datagram) for datagram in other]
    assert stream.statistics().rx.ssrc == 77
    assert stream.statistics().rx.restarts == 1


def test_a_second_voice_beside_the_first_is_not_heard() -> None:
    sink, far_end, intruder = RecordingSink(), FarEnd(), FarEnd(ssrc=66, seed=9)
    stream = make_stream(sink)
    datagrams = far_end.packets(100)
    for index, datagram in enumerate(datagrams):
        stream.receive_datagram(datagram, FAR_END, index * TICK_S)
        stream.receive_datagram(intruder.audio(), FAR_END, index * TICK_S + 0.01)
    assert sink.audio == [(payload_of(datagram), False) for datagram in datagrams]
    assert discards(stream)[Discard.FOREIGN_SSRC] >= 90


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


def lies() -> list[tuple[bytes, Discard]]:
    header = struct.pack("!BHII", 0, 1005, 160_000 + 5 * 160, 0x1234ABCD)
    body = b"\x55" * 160
    return [
        (b"\x8f" + header + body[:20], Discard.CSRC),
        (b"\x90" + header + body, Discard.EXTENSION),
        (b"\xa0" + header + body[:-1] + b"\xff", Discard.PADDING),
        (b"\x00" + header + body, Discard.VERSION),
        (b"\x80" + header[:5], Discard.HEADER),
        (b"\x80" + header + bytes(60_000), Discard.OVERSIZED),
        (bytes([0x80, 201]) + header[1:] + body, Discard.RTCP),
    ]


@pytest.mark.parametrize(("lie", "cause"), lies())
def test_lies_are_counted_and_never_pause_the_stream(lie: bytes, cause: Discard) -> None:
    sink, far_end = RecordingSink(), FarEnd()
    stream = make_stream(sink)
    datagrams = far_end.packets(10)
    now = feed(stream, datagrams[:5])
    for _ in range(50):
        stream.receive_datagram(lie, FAR_END, now)
    feed(stream, datagrams[5:], now)
    assert sink.audio == [(payload_of(datagram), False) for datagram in datagrams]
    assert discards(stream) == {cause: 50}


def test_extensions_csrcs_and_padding_are_skipped_and_not_played() -> None:
    sink = RecordingSink()
    stream = make_stream(sink)
    for number in range(4):
        packet = RtpPacket(
            0,
            number,
            number * 160,
            5,
            b"\x42" * 160,
            csrcs=(1, 2),
            extension=HeaderExtension(0xBEDE, bytes(8)),
            padding_octets=4,
        )
        stream.receive_datagram(bytes(packet), FAR_END, number * TICK_S)
    assert sink.audio == [(b"\x42" * 160, False)] * 4


def test_an_unknown_payload_type_holds_its_place_and_is_not_heard() -> None:
    sink, far_end = RecordingSink(), FarEnd()
    stream = make_stream(sink)
    now = feed(stream, far_end.packets(3))
    stream.receive_datagram(far_end.other(96, b"video"), FAR_END, now)
    stream.receive_datagram(far_end.other(0, b""), FAR_END, now)
    feed(stream, far_end.packets(3), now)
    assert stream.statistics().rx.lost == 0
    assert len(sink.audio) == 6
    assert discards(stream) == {Discard.PAYLOAD_TYPE: 1, Discard.EMPTY: 1}


def digit(far_end: FarEnd, event: int, packets: int = 5) -> list[bytes]:
    start = far_end.timestamp
    datagrams = [
        far_end.other(
            101,
            bytes(TelephoneEvent(event, index >= packets - 3, 10, min(index + 1, packets - 2) * 160)),
            marker=index == 0,
            timestamp=start,
        )
        for index in range(packets)
    ]
    far_end.skip(0, packets * 160)
    return datagrams


def test_digits_are_events_and_never_sound() -> None:
    sink, far_end = RecordingSink(), FarEnd()
    stream = make_stream(sink, WITH_EVENTS)
    before, event, after = far_end.packets(5), digit(far_end, 11), far_end.packets(5)
    feed(stream, before + event + after)
    assert sink.digits == [("#", 60)]
    assert sink.genuine == [payload_of(datagram) for datagram in before + after]
    # The time of the digit is silence to the sink.
    assert [payload for payload, concealed in sink.audio if concealed] == [b"\xff" * 160] * 5
    assert stream.statistics().rx.filled_ms == 100
    assert stream.statistics().rx.lost == 0


def test_a_digit_survives_the_loss_of_any_two_packets() -> None:
    for first in range(5):
        for second in range(first):
            sink, far_end = RecordingSink(), FarEnd()
            stream = make_stream(sink, WITH_EVENTS)
            before, event, after = far_end.packets(3), digit(far_end, 5), far_end.packets(30)
            event = [datagram for index, datagram in enumerate(event) if index not in (first, second)]
            now = feed(stream, before + event)
            run(
                stream,
                [(index * TICK_S, datagram) for index, datagram in enumerate(after)],
                start=now + 0.04,
                until=now + 0.7,
            )
            assert [name for name, _ in sink.digits] == ["5"]


def test_malformed_events_are_counted_and_never_pause_the_stream() -> None:
    sink, far_end = RecordingSink(), FarEnd()
    stream = make_stream(sink, WITH_EVENTS)
    now = feed(stream, far_end.packets(3))
    for payload in (b"", b"\x01", b"\xff" * 4):
        stream.receive_datagram(far_end.other(101, payload), FAR_END, now)
    feed(stream, far_end.packets(3), now)
    assert discards(stream) == {Discard.EVENT: 3}
    assert len(sink.audio) == 6
    assert sink.digits == []


def test_silence_is_made_up_when_the_far_end_stops_sending() -> None:
    sink, far_end = RecordingSink(), FarEnd()
    stream = make_stream(sink)
    datagrams = far_end.packets(10)
    arrivals = [(index * TICK_S, datagram) for index, datagram in enumerate(datagrams)]
    run(stream, arrivals, until=2.0)
    assert len(sink.heard) == pytest.approx(2.0 * 8000, abs=320)
    assert sink.audio[-1] == (b"\xff" * 160, True)
    assert stream.statistics().rx.lost == 0


def test_speech_after_a_pause_comes_in_its_place() -> None:
    sink, far_end = RecordingSink(), FarEnd()
    stream = make_stream(sink)
    before = far_end.packets(10)
    far_end.skip(0, 100 * 160)
    after = far_end.packets(10)
    arrivals = [(index * TICK_S, datagram) for index, datagram in enumerate(before)]
    arrivals += [((110 + index) * TICK_S, datagram) for index, datagram in enumerate(after)]
    run(stream, arrivals, until=119 * TICK_S + 0.001)
    assert len(sink.heard) == 120 * 160
    assert stream.statistics().rx.filled_ms == 2000


def test_a_stalled_network_loses_no_speech() -> None:
    sink, far_end = RecordingSink(), FarEnd()
    stream = make_stream(sink)
    datagrams = far_end.packets(40)
    arrivals = [
        (index * TICK_S if index < 10 else max(0.5, index * TICK_S), datagram)
        for index, datagram in enumerate(datagrams)
    ]
    run(stream, arrivals, until=0.9)
    assert [payload[80:] for payload in sink.genuine] == [payload_of(datagram)[80:] for datagram in datagrams]


def test_nothing_is_made_up_before_the_first_packet_or_on_hold() -> None:
    sink = RecordingSink()
    run(make_stream(sink), [], until=3.0)
    assert sink.audio == []
    stream = make_stream(sink, StreamParameters(remote=FAR_END, receives=False))
    run(stream, [(index * TICK_S, datagram) for index, datagram in enumerate(FarEnd().packets(10))], until=3.0)
    assert sink.audio == []
    assert discards(stream) == {Discard.ON_HOLD: 10}


def test_hold_and_unhold_hear_the_caller_again_without_counting_loss() -> None:
    sink, far_end = RecordingSink(), FarEnd()
    stream = make_stream(sink)
    now = feed(stream, far_end.packets(5))
    stream.update(StreamParameters(remote=FAR_END, receives=False, sends=False), now)
    now = feed(stream, far_end.packets(200), now)
    stream.update(StreamParameters(remote=FAR_END), now)
    after = far_end.packets(5)
    feed(stream, after, now)
    assert sink.genuine[5:] == [payload_of(datagram) for datagram in after]
    assert stream.statistics().rx.lost == 0


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


def test_another_codec_after_a_renegotiation_is_heard() -> None:
    sink, far_end = RecordingSink(), FarEnd()
    stream = make_stream(sink)
    now = feed(stream, far_end.packets(5))
    stream.update(StreamParameters(PCMA, 8, 8, remote=FAR_END), now)
    far_end.payload_type = 8
    after = far_end.packets(5)
    feed(stream, after, now)
    assert sink.genuine[5:] == [payload_of(datagram) for datagram in after]


@pytest.mark.parametrize("samples", [80, 160, 240, 320, 480])
def test_packets_of_any_length_are_taken_whatever_was_negotiated(samples: int) -> None:
    sink, far_end = RecordingSink(), FarEnd()
    stream = make_stream(sink)
    datagrams = [far_end.audio(samples=samples) for _ in range(20)]
    feed(stream, datagrams[:10] + datagrams[11:])
    assert len(sink.heard) == 20 * samples


def test_linear_audio_counts_two_octets_a_sample() -> None:
    sink, far_end = RecordingSink(), FarEnd(payload_type=96)
    stream = make_stream(sink, StreamParameters(L16_16K, 96, 96, remote=FAR_END))
    for index in range(10):
        datagram = far_end.audio(bytes([index]) * 640, samples=320)
        if index != 5:
            stream.receive_datagram(datagram, FAR_END, index * TICK_S)
    statistics = stream.statistics().rx
    assert (statistics.lost, statistics.concealed_ms, statistics.played_ms) == (1, 20, 200)


def test_jitter_is_measured_as_rfc_3550_says() -> None:
    stream, far_end = make_stream(RecordingSink()), FarEnd()
    estimate, last = 0.0, None
    for index, datagram in enumerate(far_end.packets(300)):
        delay = 0.004 * (index * 7 % 5)
        stream.receive_datagram(datagram, FAR_END, index * TICK_S + delay)
        if last is not None:
            estimate += (abs(delay - last) - estimate) / 16
        last = delay
    assert stream.statistics().rx.jitter_ms == pytest.approx(estimate * 1000, rel=0.02)


def test_when_the_far_end_was_heard_is_known() -> None:
    stream, far_end = make_stream(RecordingSink()), FarEnd()
    assert stream.heard_at is None
    feed(stream, far_end.packets(3), 5.0)
    assert stream.heard_at == pytest.approx(5.04)


def test_a_renegotiation_in_mid_digit_and_mid_loss_forgets_nothing() -> None:
    sink, far_end = RecordingSink(), FarEnd()
    stream = make_stream(sink, WITH_EVENTS)
    datagrams = far_end.packets(6)
    now = feed(stream, datagrams[:3] + datagrams[4:])
    stream.tick(now)
    event = digit(far_end, 7)
    stream.receive_datagram(event[0], FAR_END, now)
    stream.update(WITH_EVENTS, now)
    for datagram in event[1:]:
        stream.receive_datagram(datagram, FAR_END, now)
    stream.update(WITH_EVENTS, now)
    stream.receive_datagram(event[-1], FAR_END, now)
    assert sink.digits == [("7", 60)]
    assert stream.statistics().rx.concealed_ms == 20
    stream.update(StreamParameters(L16_16K, 96, 96, remote=FAR_END), now)
    assert stream.statistics().rx.concealed_ms == 20
    assert stream.statistics().rx.played_ms == 120


def test_a_refused_address_touches_no_stream() -> None:
    stream, far_end = make_stream(RecordingSink()), FarEnd()
    feed(stream, far_end.packets(3))
    with pytest.raises(AddressRefusedError):
        StreamParameters(remote=("0.0.0.0", 4000))
    assert stream.remote == FAR_END


def test_a_far_end_that_changes_to_the_other_law_in_mid_call_is_understood() -> None:
    sink, far_end = RecordingSink(), FarEnd()
    stream = make_stream(sink, StreamParameters(remote=FAR_END, translations={8: g711.ALAW_TO_ULAW}))
    first = far_end.packets(3)
    far_end.payload_type = 8
    second = far_end.packets(3)
    far_end.payload_type = 0
    third = far_end.packets(3)
    feed(stream, first + second + third)
    assert sink.genuine[:3] == [payload_of(datagram) for datagram in first]
    assert sink.genuine[3:6] == [payload_of(datagram).translate(g711.ALAW_TO_ULAW) for datagram in second]
    assert sink.genuine[6:] == [payload_of(datagram) for datagram in third]
    assert discards(stream) == {}


def test_who_hurries_is_given_what_waits_behind_a_gap_and_is_told_when_it_came() -> None:
    class Hurried(RecordingSink):
        arrived: list[float]

        def on_audio(self, payload: bytes, concealed: bool) -> None:
            super().on_audio(payload, concealed)
            self.arrived.append(stream.audio_arrived_at)

    sink, far_end = Hurried(), FarEnd()
    sink.arrived = []
    stream = make_stream(sink)
    packets = far_end.packets(5)
    missing = packets.pop(2)
    now = feed(stream, packets[:2])
    stream.receive_datagram(packets[2], FAR_END, now + 0.001)
    stream.receive_datagram(packets[3], FAR_END, now + 0.002)
    assert len(sink.audio) == 2
    stream.hurry(now + 0.005)
    assert [concealed for _, concealed in sink.audio] == [False, False, True, False, False]
    assert sink.arrived[3:] == [now + 0.001, now + 0.002]
    stream.receive_datagram(missing, FAR_END, now + 0.006)
    assert len(sink.audio) == 5
    assert discards(stream) == {Discard.LATE: 1}
    feed(stream, far_end.packets(3), now + 0.06)
    assert len(sink.genuine) == 7, "the regular path goes on"
    assert sink.arrived[-1] == now + 0.06 + 2 * TICK_S
    stream.hurry(now + 0.2)
    assert len(sink.audio) == 8, "nothing waits, nothing is made up"


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


def test_another_codec_does_not_make_the_far_end_one_that_never_spoke() -> None:
    sink, far_end = RecordingSink(), FarEnd()
    stream = make_stream(sink)
    assert stream.arrived_at is None
    now = feed(stream, far_end.packets(20))
    pcma = StreamParameters(remote=FAR_END, payload_format=PCMA, payload_type_tx=8, payload_type_rx=8)
    stream.update(pcma, now)
    assert stream.arrived_at == pytest.approx(now - TICK_S)
    stream.update(replace(pcma, receives=False), now)
    stream.update(pcma, now + 60)
    assert stream.arrived_at == pytest.approx(now - TICK_S)


def test_a_far_end_that_begins_with_comfort_noise_is_there__rfc3389() -> None:
    sink, far_end = RecordingSink(), FarEnd()
    stream = make_stream(sink, StreamParameters(remote=FAR_END, comfort_noise_payload_type=13))
    stream.receive_datagram(far_end.other(13, b"\x40"), (FAR_END[0], 7000), 1.0)
    assert (stream.arrived_at, stream.heard_at) == (1.0, None)
    assert stream.remote == (FAR_END[0], 7000)
    speech = far_end.packets(2)
    for index, datagram in enumerate(speech):
        stream.receive_datagram(datagram, (FAR_END[0], 7000), 2.0 + index * TICK_S)
    assert sink.genuine == [payload_of(datagram) for datagram in speech]
    assert discards(stream) == {}


def test_a_marked_packet_of_a_payload_type_below_96_is_no_report__rfc5761_4() -> None:
    sink, far_end = RecordingSink(), FarEnd(payload_type=80)
    stream = make_stream(sink, StreamParameters(remote=FAR_END, payload_type_rx=80))
    stream.receive_datagram(far_end.audio(marker=True), FAR_END, 0.0)
    stream.receive_datagram(far_end.audio(), FAR_END, 0.02)
    assert len(sink.genuine) == 2
    assert discards(stream) == {}


@pytest.mark.parametrize("back", [2, 60, 99, 100])
def test_a_far_end_that_goes_back_a_little_in_its_numbers_is_heard_on(back: int) -> None:
    sink, far_end = RecordingSink(), FarEnd(sequence_number=50)
    stream = make_stream(sink)
    now = feed(stream, far_end.packets(200))
    far_end.skip(-back, 0)
    datagrams = far_end.packets(100)
    now = feed(stream, datagrams, now)
    assert sink.genuine[-90:] == [payload_of(datagram) for datagram in datagrams[-90:]]
    assert len(sink.genuine) >= 298
    assert stream.statistics().rx.restarts == 1


def test_what_is_repeated_renumbers_nothing() -> None:
    sink, far_end = RecordingSink(), FarEnd()
    stream = make_stream(sink, WITH_EVENTS)
    speech = far_end.packets(20)
    event = [far_end.other(101, bytes(TelephoneEvent(1, end=False, volume=10, duration=160)))] * 3
    feed(stream, [*speech, *speech[-5:], *event, *event, *far_end.packets(5)])
    assert stream.statistics().rx.restarts == 0


@pytest.mark.parametrize("payload_format", [G722, L16_8K])
def test_lost_packets_of_another_length_than_ours_keep_the_clock_of_a_decoder(payload_format: PayloadFormat) -> None:
    sink, far_end = RecordingSink(), FarEnd(payload_type=96)
    stream = make_stream(
        sink, StreamParameters(remote=FAR_END, payload_format=payload_format, payload_type_rx=96, ptime_ms=20)
    )
    decoder = decoder_of(payload_format, 20)
    octets = payload_format.frame_octets(30)
    for number in range(200):
        datagram = far_end.audio(bytes(octets), samples=240)
        if number % 4 != 2:
            stream.receive_datagram(datagram, FAR_END, number * 0.03)
        stream.tick(number * 0.03 + 0.012)
    samples = sum(
        len(decoder.decode(payload)) if payload else decoder.sample_rate_hz // 50 for payload, _ in sink.audio
    )
    assert samples / decoder.sample_rate_hz * 1000 == pytest.approx(200 * 30, abs=20)


def test_a_pause_in_g722_leaves_the_decoder_where_the_encoder_is() -> None:
    """A digit between two words: the second must neither be a bang nor fade in."""
    sink, far_end, encoder, decoder = RecordingSink(), FarEnd(), encoder_of(G722), decoder_of(G722)
    stream = make_stream(sink, replace(WITH_EVENTS, payload_format=G722))
    spoken = (8000 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)).astype(np.int16)
    now = 0.0
    for start in range(0, 16_000, 320):
        if start == 8000:
            for number in range(1, 13):
                event = TelephoneEvent(5, end=number >= 10, volume=10, duration=min(number, 10) * 160)
                stream.receive_datagram(far_end.other(101, bytes(event)), FAR_END, now)
                stream.tick(now)
                now += TICK_S
            far_end.skip(0, 12 * 160)
        stream.receive_datagram(far_end.audio(encoder.encode(spoken[start : start + 320])), FAR_END, now)
        stream.tick(now)
        now += TICK_S
    heard = np.concatenate([decoder.decode(payload) if payload else decoder.conceal(320) for payload, _ in sink.audio])
    assert len(heard) == 16_000 + 12 * 320
    assert np.abs(heard).max() < 9500
    returned = heard[-8000 + 320 : -8000 + 1280].astype(float)
    assert np.sqrt(np.mean(returned**2)) == pytest.approx(8000 / np.sqrt(2), rel=0.1)
    assert sink.digits == [("5", 200)]
