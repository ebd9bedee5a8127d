"""Whole streams: long calls in virtual time, two peers through a bad network, and any octets at all."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtp.codec.format import OPUS
from rtp.packet import RtpPacket
from rtp.parameters import StreamParameters
from rtp.source_lock import SourcePolicy
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


def test_two_streams_hear_each_other_bit_exact() -> None:
    here, there = RecordingSink(), RecordingSink()
    speaker, listener = make_stream(here), make_stream(there)
    speech = random.Random(5).randbytes(160 * 100)
    speaker.playout.enqueue("a", speech)
    for turn in range(110):
        packet = speaker.tick(turn * TICK_S)
        assert packet is not None
        listener.receive_datagram(packet, FAR_END, turn * TICK_S)
    assert there.heard == speech + b"\xff" * 1600
    assert not any(concealed for _, concealed in there.audio)


@pytest.mark.parametrize("minutes", [22, 120])
def test_a_long_call_neither_drifts_nor_stumbles_at_its_wraps(minutes: int) -> None:
    packets = minutes * 60 * 50
    sink, far_end = RecordingSink(), FarEnd(sequence_number=65_000, timestamp=2**32 - 160 * 1000)
    stream = make_stream(sink, sequence_number=65_000, timestamp=2**32 - 1600)
    heard = expected = 0
    sequence_number, timestamp = 65_000, 2**32 - 1600
    payload = bytes(range(160))
    for turn in range(packets):
        now = turn * TICK_S
        stream.receive_datagram(far_end.audio(payload), FAR_END, now + 0.003)
        packet = stream.tick(now + 0.005)
        assert packet is not None
        sent = RtpPacket.parse(packet)
        assert (sent.sequence_number, sent.timestamp) == (sequence_number, timestamp)
        sequence_number, timestamp = (sequence_number + 1) & 0xFFFF, (timestamp + 160) & 0xFFFFFFFF
        expected += 1
        heard += len(sink.audio)
        assert all(entry == (payload, False) for entry in sink.audio)
        sink.audio.clear()
        sink.sent.clear()
    statistics = stream.statistics()
    assert heard == expected == packets
    assert statistics.rx.played_ms == minutes * 60_000
    assert (statistics.rx.lost, statistics.rx.restarts, dict(statistics.rx.discards)) == (0, 0, {})
    assert statistics.rx.extended_highest_sequence == 65_000 + packets - 1
    assert statistics.rx.jitter_ms < 0.001


@pytest.mark.parametrize("seed", range(4))
def test_a_bad_network_costs_only_what_it_lost(seed: int) -> None:
    sink, far_end = RecordingSink(), FarEnd(sequence_number=65_400, timestamp=2**32 - 16_000)
    stream = make_stream(sink)
    datagrams = far_end.packets(1500)
    run(stream, delivery(datagrams, seed=seed, loss=0.03, jitter_ms=30, duplicates=0.02), until=30.2)
    statistics = stream.statistics().rx
    assert statistics.packets + statistics.lost == pytest.approx(1500, abs=3)
    # 3 % are lost in the network; waiting no longer than 60 ms adds next to nothing to that.
    assert statistics.lost <= 1500 * 0.03 * 1.5
    assert statistics.restarts == 0
    in_order = {payload_of(datagram)[80:]: index for index, datagram in enumerate(datagrams)}
    played = [in_order[payload[80:]] for payload in sink.genuine if payload[80:] in in_order]
    assert played == sorted(set(played))
    assert len(played) > 1400


def test_hold_of_both_halves_and_digits_together() -> None:
    sink = RecordingSink()
    stream = make_stream(sink, WITH_EVENTS)
    assert stream.send_digits("1")
    stream.pause()
    assert stream.tick(0.0) is None
    stream.resume()
    packet = stream.tick(0.02)
    assert packet is not None
    assert RtpPacket.parse(packet).payload_type == 101
    assert stream.ssrc == 0xCAFE0001
    stream.skip(3)
    assert stream.statistics().tx.skipped_frames == 3


@given(st.lists(st.binary(max_size=80), max_size=30), st.sampled_from(list(SourcePolicy)))
def test_no_octets_raise_through_a_stream(datagrams: list[bytes], policy: SourcePolicy) -> None:
    parameters = StreamParameters(remote=FAR_END, telephone_event_payload_type_rx=101, source_policy=policy)
    stream = make_stream(RecordingSink(), parameters)
    for index, datagram in enumerate(datagrams):
        stream.receive_datagram(datagram, FAR_END if index % 3 else STRANGER, index * 0.01)
        stream.tick(index * 0.01)


packets = st.builds(
    RtpPacket,
    payload_type=st.sampled_from([0, 0, 0, 0, 8, 13, 101, 101]),
    sequence_number=st.integers(0, 12) | st.integers(0xFFFF - 5, 0xFFFF) | st.integers(0, 0xFFFF),
    timestamp=st.integers(0, 12).map(lambda number: number * 160) | st.integers(0, 2**32 - 1),
    ssrc=st.sampled_from([1, 1, 1, 2]),
    payload=st.binary(max_size=12) | st.just(b"\x05\x8a\x03\x20") | st.just(b"\x42" * 160) | st.just(bytes(4000)),
    marker=st.booleans(),
    csrcs=st.just(()) | st.just((1, 2)),
    padding_octets=st.integers(0, 3),
)


@settings(max_examples=300)
@given(st.lists(st.tuples(packets, st.floats(0, 0.3)), max_size=60))
def test_no_packets_raise_through_a_stream_nor_stop_it(arrivals: list[tuple[RtpPacket, float]]) -> None:
    sink = RecordingSink()
    stream = make_stream(sink, WITH_EVENTS)
    now = 0.0
    for packet, pause in arrivals:
        now += pause
        stream.receive_datagram(bytes(packet), FAR_END, now)
        stream.tick(now)
    # Whatever came, a well-behaved far end is heard again after its first few packets.
    sink.audio.clear()
    recovery = FarEnd(ssrc=3).packets(12)
    for index, datagram in enumerate(recovery):
        stream.receive_datagram(datagram, FAR_END, now + 0.1 + index * TICK_S)
        stream.tick(now + 0.1 + index * TICK_S)
    assert sink.genuine[-1] == payload_of(recovery[-1])


@pytest.mark.parametrize("event_clock_hz", [8000, 48_000])
def test_digits_beside_opus_last_what_they_should_on_either_clock(event_clock_hz: int) -> None:
    parameters = StreamParameters(
        payload_format=OPUS,
        payload_type_tx=107,
        payload_type_rx=107,
        remote=FAR_END,
        telephone_event_payload_type_tx=101,
        telephone_event_payload_type_rx=101,
        telephone_event_clock_rate_hz=event_clock_hz,
    )
    here, there = RecordingSink(), RecordingSink()
    speaker, listener = make_stream(here, parameters), make_stream(there, parameters)
    assert speaker.send_digits("12", 140, 100)
    events: list[RtpPacket] = []
    for turn in range(40):
        packet = speaker.tick(turn * TICK_S)
        assert packet is not None
        listener.receive_datagram(packet, FAR_END, turn * TICK_S)
        events += [sent for sent in [RtpPacket.parse(packet)] if sent.payload_type == 101]
    assert there.digits == [("1", 140), ("2", 140)]
    starts = sorted({event.timestamp for event in events})
    assert starts[1] - starts[0] == 240 * 48
    assert {TelephoneEvent.parse(event.payload).duration for event in events if event.timestamp == starts[0]} == {
        event_clock_hz * elapsed_ms // 1000 for elapsed_ms in range(20, 160, 20)
    }


def test_digits_outlast_a_change_of_their_clock() -> None:
    """Those that wait are sent on the new clock; the one that was held down is told, and was begun only once."""
    opus = StreamParameters(
        payload_format=OPUS,
        payload_type_tx=107,
        payload_type_rx=107,
        remote=FAR_END,
        telephone_event_payload_type_tx=101,
        telephone_event_payload_type_rx=101,
    )
    here, there = RecordingSink(), RecordingSink()
    speaker, listener = make_stream(here, WITH_EVENTS), make_stream(there, WITH_EVENTS)
    speaker.send_digits("123", 100, 80)
    for turn in range(40):
        if turn == 3:
            speaker.update(opus, turn * TICK_S)
            listener.update(opus, turn * TICK_S)
        packet = speaker.tick(turn * TICK_S)
        assert packet is not None
        listener.receive_datagram(packet, FAR_END, turn * TICK_S)
    assert there.digits == [("1", 60), ("2", 100), ("3", 100)]


def test_a_digit_is_told_when_a_stream_loses_its_events() -> None:
    sink, far_end = RecordingSink(), FarEnd()
    stream = make_stream(sink, WITH_EVENTS)
    stream.receive_datagram(far_end.audio(), FAR_END, 0.0)
    event = bytes(TelephoneEvent(5, end=False, volume=10, duration=480))
    stream.receive_datagram(far_end.other(101, event), FAR_END, 0.02)
    stream.update(StreamParameters(remote=FAR_END), 0.03)
    assert sink.digits == [("5", 60)]
