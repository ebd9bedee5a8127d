"""The inbound half through `RtpStream`: order, loss, causes, restarts, silence that nobody sent."""

import struct
from dataclasses import replace

import pytest

from rtp.codec import g711
from rtp.codec.format import L16_16K, PCMA
from rtp.errors import AddressRefusedError
from rtp.packet import HeaderExtension, RtpPacket
from rtp.parameters import StreamParameters
from rtp.statistics import Discard
from rtp.telephone_event import TelephoneEvent
from tests.helpers.rtp_peer import (
    FAR_END,
    TICK_S,
    FarEnd,
    RecordingSink,
    delivery,
    discards,
    feed,
    make_stream,
    payload_of,
    run,
)

WITH_EVENTS = StreamParameters(remote=FAR_END, telephone_event_payload_type_rx=101, telephone_event_payload_type_tx=101)


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
    stream = make_stream(sink, StreamParameters(remote=FAR_END, further_formats={8: PCMA}))
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
