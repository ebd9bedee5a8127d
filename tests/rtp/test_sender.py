"""The outbound half: one SSRC, no gap, media time."""

import numpy as np
import pytest
from numpy.typing import NDArray

from rtp.codec import g711
from rtp.codec.audio import decoder_of
from rtp.codec.format import G722, L16_8K, L16_16K, OPUS, OPUS_PLAYOUT, PCMA, PCMU, PayloadFormat
from rtp.codec.recoding import recoding
from rtp.errors import EventRefusedError
from rtp.packet import RtpPacket
from rtp.parameters import StreamParameters
from rtp.playout import PlayedItem
from rtp.sender import RtpSender
from tests.helpers.rtp_peer import FAR_END, RecordingSink

PARAMETERS = StreamParameters(remote=FAR_END, telephone_event_payload_type_tx=101)
SILENCE = b"\xff" * 160


def sender(parameters: StreamParameters = PARAMETERS, sink: RecordingSink | None = None) -> RtpSender:
    return RtpSender(parameters, sink or RecordingSink(), ssrc=9, sequence_number=65534, timestamp=2**32 - 160)


def turns(subject: RtpSender, count: int) -> list[RtpPacket]:
    return [RtpPacket.parse(packet) for _ in range(count) if (packet := subject.tick()) is not None]


def test_silence_is_sent_while_nothing_is_said() -> None:
    sink = RecordingSink()
    packets = turns(sender(sink=sink), 3)
    assert [packet.payload for packet in packets] == [SILENCE] * 3
    assert sink.sent == [(SILENCE, None)] * 3


def test_sequence_and_timestamp_wrap_without_a_gap() -> None:
    packets = turns(sender(), 4)
    assert [packet.sequence_number for packet in packets] == [65534, 65535, 0, 1]
    assert [packet.timestamp for packet in packets] == [2**32 - 160, 0, 160, 320]
    assert {packet.ssrc for packet in packets} == {9}


def test_the_marker_stands_on_the_first_packet_and_on_speech_after_silence() -> None:
    subject = sender()
    first = turns(subject, 2)
    subject.playout.enqueue("a", bytes(320))
    speech = turns(subject, 2)
    quiet = turns(subject, 2)
    subject.playout.enqueue("a", bytes(320))
    again = turns(subject, 2)
    marks = [[packet.marker for packet in part] for part in (first, speech, quiet, again)]
    assert marks == [[True, False], [True, False], [False, False], [True, False]]


def test_speech_is_sent_as_it_was_queued() -> None:
    sink = RecordingSink()
    subject = sender(sink=sink)
    subject.playout.enqueue("item", bytes(range(160)) + b"\x07" * 160)
    packets = turns(subject, 2)
    assert b"".join(packet.payload for packet in packets) == bytes(range(160)) + b"\x07" * 160
    assert [item for _, item in sink.sent] == ["item", "item"]


def test_flush_takes_effect_within_one_packet_time() -> None:
    subject = sender()
    subject.playout.enqueue("a", b"\x01" * 16000)
    turns(subject, 5)
    assert subject.playout.flush() == [PlayedItem("a", 100, 1900)]
    assert turns(subject, 1)[0].payload == SILENCE


def test_a_pause_keeps_sequence_and_lets_media_time_go_on() -> None:
    subject = sender()
    turns(subject, 1)
    subject.pause()
    assert turns(subject, 10) == []
    subject.resume()
    subject.playout.enqueue("a", bytes(160))
    packet = turns(subject, 1)[0]
    assert (packet.sequence_number, packet.timestamp, packet.marker) == (65535, 10 * 160, True)


def test_missed_turns_move_media_time_and_nothing_else() -> None:
    subject = sender()
    subject.playout.enqueue("a", bytes(480))
    before = turns(subject, 1)[0]
    subject.skip(5)
    after = turns(subject, 1)[0]
    assert after.sequence_number == (before.sequence_number + 1) & 0xFFFF
    assert after.timestamp == (before.timestamp + 6 * 160) & 0xFFFFFFFF
    assert after.marker
    assert subject.playout.sent_ms("a") == 40
    assert subject.statistics().skipped_frames == 5


def test_nothing_is_sent_where_the_direction_or_the_address_forbids_it() -> None:
    for parameters in (StreamParameters(remote=FAR_END, sends=False), StreamParameters(remote=None)):
        subject = sender(parameters)
        subject.resume()
        assert turns(subject, 3) == []


def test_hold_and_unhold_keep_ssrc_sequence_and_playout() -> None:
    subject = sender()
    subject.playout.enqueue("a", bytes(480))
    turns(subject, 1)
    assert subject.update(StreamParameters(remote=FAR_END, sends=False)) == []
    assert turns(subject, 5) == []
    subject.update(PARAMETERS)
    packet = turns(subject, 1)[0]
    assert (packet.sequence_number, packet.timestamp) == (65535, 5 * 160)
    assert subject.playout.queued_ms == 20


def test_a_pause_outlasts_a_new_negotiation() -> None:
    subject = sender()
    subject.pause()
    subject.update(PARAMETERS)
    assert turns(subject, 1) == []


def test_the_other_law_says_what_waits() -> None:
    sink = RecordingSink()
    subject = sender(sink=sink)
    speech = bytes(range(256)) * 5
    subject.playout.enqueue("a", speech)
    turns(subject, 1)
    assert subject.update(StreamParameters(PCMA, 8, 8, remote=FAR_END)) == []
    assert subject.playout.sent_ms("a") == 20
    assert subject.playout.queued_ms == 140
    packets = turns(subject, 2)
    assert [(packet.payload_type, packet.sequence_number) for packet in packets] == [(8, 65535), (8, 0)]
    assert b"".join(packet.payload for packet in packets) == speech[160:480].translate(g711.ULAW_TO_ALAW)
    subject.playout.enqueue("a", b"\x55" * 160)
    subject.playout.finish("a")
    assert subject.playout.sent_ms("a") == 60
    assert turns(subject, 8)[5].payload == b"\x55" * 160
    assert sink.happenings == ["started a", "finished a", "drained"]


FORMATS = [PCMU, PCMA, G722, L16_8K, L16_16K, OPUS]


@pytest.mark.parametrize("after", FORMATS, ids=lambda codec: f"to-{codec.name}-{codec.clock_rate_hz}")
@pytest.mark.parametrize("before", FORMATS, ids=lambda codec: f"from-{codec.name}-{codec.clock_rate_hz}")
def test_speech_that_waits_is_said_in_another_codec(before: PayloadFormat, after: PayloadFormat) -> None:
    one, other = (StreamParameters(codec, 96, 96, remote=FAR_END) for codec in (before, after))
    subject = sender(one)
    tone = 8000 * np.sin(2 * np.pi * 440 * np.arange(24_000) / 24_000)
    subject.playout.enqueue("a", recoding(OPUS_PLAYOUT, one.playout_format)(tone.astype(np.int16).tobytes()))
    turns(subject, 10)
    assert subject.update(other) == []
    assert subject.playout.sent_ms("a") == 200
    assert subject.playout.queued_ms == pytest.approx(800, abs=2)
    decoder = decoder_of(after)
    heard = np.concatenate([decoder.decode(packet.payload) for packet in turns(subject, 39)])
    loud = heard[decoder.sample_rate_hz // 20 :]
    spectrum = np.abs(np.fft.rfft(loud * np.hanning(len(loud))))
    assert np.argmax(spectrum) * decoder.sample_rate_hz / len(loud) == pytest.approx(440, abs=3)
    assert np.sqrt(np.mean(loud.astype(float) ** 2)) == pytest.approx(8000 / np.sqrt(2), rel=0.1)


def tone_of(first: int, count: int) -> NDArray[np.int16]:
    return (8000 * np.sin(2 * np.pi * 440 * np.arange(first, first + count) / 16_000)).astype(np.int16)


def test_speech_in_g722_begins_and_returns_after_silence_as_it_was_spoken() -> None:
    """Its decoder follows the encoder's state: octets of silence from elsewhere would make the first word a bang."""
    subject = sender(StreamParameters(G722, 9, 9, remote=FAR_END))
    decoder = decoder_of(G722)
    for ptime_ms in (20, 10, 30, 60, 20):
        subject.update(StreamParameters(G722, 9, 9, remote=FAR_END, ptime_ms=ptime_ms))
        silent = [decoder.decode(packet.payload) for packet in turns(subject, 100)]
        assert np.abs(np.concatenate(silent[-20:])).max() <= 16
        spoken = tone_of(0, 16 * 600)
        subject.playout.enqueue("a", spoken.tobytes())
        packets = turns(subject, 600 // ptime_ms)
        assert {len(packet.payload) for packet in packets} == {8 * ptime_ms}
        heard = np.concatenate([decoder.decode(packet.payload) for packet in packets])
        delay = 22  # of its two filters, in samples
        error = heard[delay:].astype(float) - spoken[:-delay]
        assert np.abs(heard).max() < 9500
        assert np.sqrt(np.mean(error[800:] ** 2)) < 400
        assert np.sqrt(np.mean(error[:800] ** 2)) < 1000, "the first 50 ms"


def test_what_no_codec_can_turn_into_the_new_format_is_flushed() -> None:
    subject = sender()
    subject.playout.enqueue("a", bytes(480))
    turns(subject, 1)
    unknown = PayloadFormat("clear", 8000, 8, b"\x00")
    assert subject.update(StreamParameters(unknown, 97, 97, remote=FAR_END)) == [PlayedItem("a", 20, 40)]
    packet = turns(subject, 1)[0]
    assert (packet.payload_type, packet.payload, packet.sequence_number) == (97, bytes(160), 65535)


def test_a_new_packet_time_keeps_what_waits() -> None:
    subject = sender()
    subject.playout.enqueue("a", bytes(480))
    assert subject.update(StreamParameters(PCMU, remote=FAR_END, ptime_ms=30)) == []
    assert [len(packet.payload) for packet in turns(subject, 2)] == [240, 240]


def test_digits_go_out_as_events_and_speech_waits() -> None:
    sink = RecordingSink()
    subject = sender(sink=sink)
    subject.playout.enqueue("a", b"\x01" * 320)
    turns(subject, 1)
    assert subject.send_digits("4", 60, 40)
    packets = turns(subject, 8)
    types = [packet.payload_type for packet in packets]
    assert types == [101] * 5 + [0, 0, 0]
    assert [packet.sequence_number for packet in packets] == [65535, *range(7)]
    assert [packet.marker for packet in packets[:6]] == [True, False, False, False, False, True]
    assert packets[5].payload == b"\x01" * 160
    # Media time went on meanwhile: five turns after the event began.
    assert packets[5].timestamp == packets[0].timestamp + 5 * 160
    assert subject.statistics().event_packets == 5


def test_silence_between_two_digits_goes_out_as_audio() -> None:
    subject = sender()
    subject.send_digits("12", 40, 160)
    types = [packet.payload_type for packet in turns(subject, 20)]
    assert types == [101] * 4 + [0] * 6 + [101] * 4 + [0] * 6
    assert [packet.marker for packet in turns(subject, 2)] == [False, False]


def test_digits_without_negotiation_are_declined() -> None:
    assert not sender(StreamParameters(remote=FAR_END)).send_digits("1", 100, 80)
    with pytest.raises(EventRefusedError):
        sender().send_digits("x", 100, 80)


def test_counts_are_those_of_the_sender_report() -> None:
    subject = sender()
    subject.playout.enqueue("a", bytes(160))
    turns(subject, 3)
    statistics = subject.statistics()
    assert (statistics.packets, statistics.octets) == (3, 480)
    assert (statistics.speech_packets, statistics.silence_packets) == (1, 2)
    assert statistics.timestamp == 320
