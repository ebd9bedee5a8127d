"""What the sink hears in place of what was lost or not sent, through `RtpStream`."""

import numpy as np
import pytest

from rtp.codec.audio import decoder_of, encoder_of
from rtp.codec.format import G722, L16_8K, PayloadFormat
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
    stream = make_stream(
        sink, StreamParameters(remote=FAR_END, payload_format=G722, telephone_event_payload_type_rx=101)
    )
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


def test_what_was_made_up_before_a_new_packet_time_counts_for_one_pause_only() -> None:
    sink, far_end = RecordingSink(), FarEnd()
    stream = make_stream(sink)
    now = feed(stream, far_end.packets(5))
    run(stream, (), start=now, until=now + 0.6)
    now += 0.6
    parameters = StreamParameters(remote=FAR_END, ptime_ms=30)
    stream.update(parameters, now)
    now = feed(stream, far_end.packets(5), now)  # its clock stood still meanwhile
    far_end.timestamp += 1600
    before = stream.statistics().rx.filled_ms
    feed(stream, far_end.packets(5), now)
    assert stream.statistics().rx.filled_ms - before == 200
