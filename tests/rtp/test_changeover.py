"""A far end that goes over to another agreed codec in mid-call, and back: all is heard, and the counts stay sane."""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Final

import numpy as np
import pytest
from numpy.typing import NDArray

from rtp.codec.audio import decoder_of, encoder_of
from rtp.codec.format import G722, L16_8K, L16_16K, OPUS, PCMA, PCMU, PayloadFormat
from rtp.codec.g711 import ALAW_TO_ULAW
from rtp.parameters import StreamParameters
from rtp.receiver import RtpReceiver
from rtp.statistics import Discard
from rtp.stream import RtpStream
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

NUMBERS: Final = {PCMU: 0, PCMA: 8, G722: 9, L16_8K: 96, L16_16K: 97, OPUS: 111}
PAIRS: Final = [
    pytest.param(own, further, id=f"{own.name}{own.clock_rate_hz}-{further.name}{further.clock_rate_hz}")
    for own, further in permutations(NUMBERS, 2)
]
BETWEEN_CLOCKS: Final = [(PCMU, OPUS), (OPUS, PCMU), (G722, L16_16K)]
PACKETS: Final = 25


def agreed(own: PayloadFormat, *further: PayloadFormat) -> StreamParameters:
    return StreamParameters(
        remote=FAR_END,
        payload_format=own,
        payload_type_rx=NUMBERS[own],
        further_formats={NUMBERS[payload_format]: payload_format for payload_format in further},
    )


@dataclass
class Speaker(FarEnd):
    """Speaks tones in any codec, in one stream."""

    def speak(
        self, spoken: PayloadFormat, hertz: float, packets: int = PACKETS, packet_ms: int = 20
    ) -> Iterator[bytes]:
        self.payload_type = NUMBERS[spoken]
        encoder = encoder_of(spoken, packet_ms)
        size = encoder.sample_rate_hz * packet_ms // 1000
        sound = tone(packets * size, encoder.sample_rate_hz, hertz)
        for start in range(0, len(sound), size):
            yield self.audio(encoder.encode(sound[start : start + size]), samples=spoken.frame_samples(packet_ms))


def tone(samples: int, rate_hz: int, hertz: float) -> NDArray[np.int16]:
    return np.asarray(8000 * np.sin(2 * math.pi * hertz * np.arange(samples) / rate_hz), dtype=np.int16)


class Ear(RecordingSink):
    """Hears everything in the stream's own codec, as whoever stands behind a stream does."""

    def __init__(self, own: PayloadFormat) -> None:
        super().__init__()
        self._decoder = decoder_of(own)
        self.sound = np.empty(0, dtype=np.int16)

    def on_audio(self, payload: bytes, concealed: bool) -> None:
        super().on_audio(payload, concealed)
        rate_hz = self._decoder.sample_rate_hz
        heard = self._decoder.decode(payload) if payload else self._decoder.conceal(rate_hz // 50)
        self.sound = np.concatenate((self.sound, heard))

    @property
    def heard_ms(self) -> float:
        return len(self.sound) * 1000 / self._decoder.sample_rate_hz

    def hertz(self, from_ms: int, to_ms: int) -> float:
        """The loudest frequency between two moments; 0 where it is quiet."""
        rate_hz = self._decoder.sample_rate_hz
        part = self.sound[from_ms * rate_hz // 1000 : to_ms * rate_hz // 1000].astype(np.float64)
        if np.sqrt(np.mean(part**2)) < 2000:
            return 0.0
        return float(np.argmax(np.abs(np.fft.rfft(part * np.hanning(len(part))))) * rate_hz / len(part))


def assert_clean(stream: RtpStream, played_ms: int) -> None:
    rx = stream.statistics().rx
    assert (rx.lost, rx.restarts, rx.concealed_ms, rx.filled_ms, rx.played_ms) == (0, 0, 0, 0, played_ms)
    assert rx.discards == {}
    assert rx.jitter_ms == pytest.approx(0.0, abs=0.01)
    assert rx.peak_jitter_ms == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize(("own", "further"), PAIRS)
def test_each_codec_is_heard_on_a_stream_of_each_other__rfc3264_6_1(own: PayloadFormat, further: PayloadFormat) -> None:
    ear, far_end = Ear(own), Speaker(timestamp=2**32 - 3000)
    stream = make_stream(ear, agreed(own, further))
    datagrams = [*far_end.speak(own, 440), *far_end.speak(further, 1000), *far_end.speak(own, 600)]
    run(stream, [(index * TICK_S, datagram) for index, datagram in enumerate(datagrams)], until=1.49)
    assert [ear.hertz(at + 60, at + 460) for at in (0, 500, 1000)] == pytest.approx([440, 1000, 600], abs=5)
    assert ear.heard_ms == pytest.approx(1500, abs=0.1)
    assert stream.statistics().rx.packets == 75
    assert_clean(stream, 1500)


@pytest.mark.parametrize(("own", "further"), PAIRS)
def test_a_codec_that_was_not_agreed_on_is_not_heard_and_counted(own: PayloadFormat, further: PayloadFormat) -> None:
    ear, far_end = Ear(own), Speaker()
    stream = make_stream(ear, agreed(own))
    datagrams = [*far_end.speak(own, 440), *far_end.speak(further, 1000)]
    run(stream, [(index * TICK_S, datagram) for index, datagram in enumerate(datagrams)], until=0.99)
    assert ear.hertz(60, 460) == pytest.approx(440, abs=5)
    assert len(ear.genuine) == PACKETS
    assert discards(stream) == {Discard.PAYLOAD_TYPE: PACKETS}


def test_a_law_becomes_the_other_octet_by_octet() -> None:
    sink, far_end = RecordingSink(), FarEnd(payload_type=8)
    stream = make_stream(sink, agreed(PCMU, PCMA))
    datagrams = far_end.packets(5)
    feed(stream, datagrams)
    assert sink.genuine == [payload_of(datagram).translate(ALAW_TO_ULAW) for datagram in datagrams]


def continued(far_end: FarEnd, now: float, rate_hz: int) -> None:
    """Each packet's length is added, counted on its own clock."""


def by_the_wall_clock(far_end: FarEnd, now: float, rate_hz: int) -> None:
    far_end.timestamp = int(now * rate_hz) & 0xFFFFFFFF


def a_little_on(far_end: FarEnd, now: float, rate_hz: int) -> None:
    """A step that would be a pause, were it not another clock."""
    far_end.timestamp += 4000


@pytest.mark.parametrize("numbering", [continued, by_the_wall_clock, a_little_on])
@pytest.mark.parametrize(("own", "further"), BETWEEN_CLOCKS)
def test_neither_gap_nor_jitter_is_read_out_of_another_clock__rfc7160(
    own: PayloadFormat, further: PayloadFormat, numbering: Callable[[FarEnd, float, int], None]
) -> None:
    ear, far_end = Ear(own), Speaker()
    stream = make_stream(ear, agreed(own, further))
    now = 0.0
    for spoken, hertz in ((own, 440), (further, 1000), (own, 600), (further, 800)):
        numbering(far_end, now, spoken.clock_rate_hz)
        now = feed(stream, list(far_end.speak(spoken, hertz)), now)
    heard = [ear.hertz(at + 60, at + 460) for at in (0, 500, 1000, 1500)]
    assert heard == pytest.approx([440, 1000, 600, 800], abs=5)
    assert_clean(stream, 2000)


@pytest.mark.parametrize(("own", "further"), BETWEEN_CLOCKS)
def test_jitter_is_that_of_the_network_whatever_the_clock(own: PayloadFormat, further: PayloadFormat) -> None:
    def jitter_ms(*spoken: PayloadFormat) -> float:
        far_end = Speaker()
        stream = make_stream(Ear(own), agreed(own, further))
        datagrams = [datagram for part in spoken for datagram in far_end.speak(part, 440, 100)]
        run(stream, delivery(datagrams, seed=5, jitter_ms=15), until=4.2)
        return stream.statistics().rx.jitter_ms

    assert jitter_ms(own, own) == pytest.approx(jitter_ms(further, further), rel=0.05)
    assert jitter_ms(own, further) == pytest.approx(jitter_ms(own, own), rel=0.05)


@pytest.mark.parametrize(("own", "further"), BETWEEN_CLOCKS)
def test_what_is_lost_while_another_codec_is_spoken_is_concealed(own: PayloadFormat, further: PayloadFormat) -> None:
    """Within the other codec, where timestamps tell; at its beginning and at its end, where numbers do."""
    ear, far_end = Ear(own), Speaker()
    stream = make_stream(ear, agreed(own, further))
    datagrams = [*far_end.speak(own, 440), *far_end.speak(further, 440), *far_end.speak(own, 440)]
    arrivals = [
        (index * TICK_S, datagram)
        for index, datagram in enumerate(datagrams)
        if index not in (PACKETS, PACKETS + 10, PACKETS + 11, 2 * PACKETS)
    ]
    run(stream, arrivals, until=1.49)
    rx = stream.statistics().rx
    assert (rx.lost, rx.concealed_ms, rx.filled_ms, rx.played_ms) == (4, 80, 0, 1500)
    assert rx.discards == {}
    assert ear.heard_ms == pytest.approx(1500, abs=0.1)


@pytest.mark.parametrize(("own", "further"), BETWEEN_CLOCKS)
def test_packets_that_overtake_each_other_at_the_change_are_heard_in_order(
    own: PayloadFormat, further: PayloadFormat
) -> None:
    def heard(order: list[int]) -> bytes:
        far_end, sink = Speaker(), RecordingSink()
        stream = make_stream(sink, agreed(own, further))
        datagrams = [*far_end.speak(own, 440, 5), *far_end.speak(further, 1000, 5), *far_end.speak(own, 600, 5)]
        for turn, index in enumerate(order):
            stream.receive_datagram(datagrams[index], FAR_END, turn * 0.001)
        assert stream.statistics().rx.packets == 15
        assert not any(concealed for _, concealed in sink.audio)
        assert stream.statistics().rx.codec_changes == 2
        return sink.heard

    shuffled = [0, 1, 2, 3, 5, 4, 6, 8, 7, 10, 9, 11, 13, 12, 14]
    assert heard(shuffled) == heard(list(range(15)))


@pytest.mark.parametrize(("own", "further"), BETWEEN_CLOCKS)
def test_an_ssrc_for_each_clock_is_followed_without_losing_a_packet__rfc7160_4_1(
    own: PayloadFormat, further: PayloadFormat
) -> None:
    ear = Ear(own)
    stream = make_stream(ear, agreed(own, further))
    now = feed(stream, list(Speaker(ssrc=1).speak(own, 440)))
    now = feed(stream, list(Speaker(ssrc=2, sequence_number=9, timestamp=77).speak(further, 1000)), now)
    feed(stream, list(Speaker(ssrc=3, sequence_number=60_000, timestamp=2**31).speak(own, 600)), now)
    assert [ear.hertz(at + 60, at + 460) for at in (0, 500, 1000)] == pytest.approx([440, 1000, 600], abs=5)
    rx = stream.statistics().rx
    assert (rx.packets, rx.restarts, rx.ssrc, rx.played_ms, rx.discards) == (75, 2, 3, 1500, {})


@pytest.mark.parametrize("packet_ms", [10, 30, 40, 60])
@pytest.mark.parametrize(("own", "further"), [(PCMU, L16_16K), (G722, L16_8K), (OPUS, PCMA), (OPUS, G722)])
def test_another_codec_may_come_in_packets_of_another_length(
    own: PayloadFormat, further: PayloadFormat, packet_ms: int
) -> None:
    ear, far_end = Ear(own), Speaker()
    stream = make_stream(ear, agreed(own, further))
    now = feed(stream, list(far_end.speak(own, 440)))
    datagrams = list(far_end.speak(further, 1000, 600 // packet_ms, packet_ms))
    for index, datagram in enumerate(datagrams):
        stream.receive_datagram(datagram, FAR_END, now + index * packet_ms / 1000)
    assert ear.hertz(560, 1060) == pytest.approx(1000, abs=5)
    assert ear.heard_ms == pytest.approx(1100, abs=0.1)
    assert_clean(stream, 1100)
    if own == OPUS:
        assert {OPUS.samples(payload) for payload in ear.genuine} == {960}, "its packets keep the agreed length"


@pytest.mark.parametrize("pause_s", [0.0, 0.1])
@pytest.mark.parametrize(("own", "further"), BETWEEN_CLOCKS)
def test_copies_on_another_clock_that_come_late_and_in_a_row_renumber_nothing(
    own: PayloadFormat, further: PayloadFormat, pause_s: float
) -> None:
    sink, far_end = RecordingSink(), Speaker()
    stream = make_stream(sink, agreed(own, further))
    before = list(far_end.speak(own, 440, 10))
    now = feed(stream, [*before, *far_end.speak(further, 1000, 10)])
    feed(stream, before[-5:], now + pause_s)
    now = feed(stream, list(far_end.speak(further, 1000, 10)), now + pause_s)
    rx = stream.statistics().rx
    assert (rx.packets, rx.restarts, rx.lost, rx.discards) == (30, 0, 0, {Discard.DUPLICATE: 5})
    assert rx.codec_changes == 1


@pytest.mark.parametrize(("own", "further"), BETWEEN_CLOCKS)
def test_a_far_end_that_goes_back_in_its_numbers_to_another_clock_is_heard_once_they_are_through(
    own: PayloadFormat, further: PayloadFormat
) -> None:
    sink, far_end = RecordingSink(), Speaker()
    stream = make_stream(sink, agreed(own, further))
    now = feed(stream, list(far_end.speak(own, 440, 150)))
    far_end.skip(-100, 0)
    feed(stream, list(far_end.speak(further, 1000, 120)), now)
    rx = stream.statistics().rx
    assert (rx.packets, rx.discards) == (170, {Discard.DUPLICATE: 100})


def test_silence_in_another_codec_is_made_up_on_the_streams_clock() -> None:
    ear, far_end = Ear(PCMU), Speaker()
    stream = make_stream(ear, agreed(PCMU, OPUS))
    arrivals = [(index * TICK_S, datagram) for index, datagram in enumerate(far_end.speak(OPUS, 440, 50))]
    far_end.skip(0, 48_000)
    arrivals += [(2.0 + index * TICK_S, datagram) for index, datagram in enumerate(far_end.speak(OPUS, 1000, 50))]
    run(stream, arrivals, until=2.99)
    rx = stream.statistics().rx
    assert (rx.lost, rx.concealed_ms, rx.filled_ms, rx.played_ms) == (0, 0, 1000, 3000)
    assert [ear.hertz(100, 900), ear.hertz(1100, 1900), ear.hertz(2100, 2900)] == pytest.approx([440, 0, 1000], abs=5)


def test_comfort_noise_beside_another_codec_is_silence_at_once__rfc3389() -> None:
    ear, far_end = Ear(OPUS), Speaker()
    stream = make_stream(ear, replace(agreed(OPUS, PCMU), comfort_noise_payload_type=13))
    arrivals = [(index * TICK_S, datagram) for index, datagram in enumerate(far_end.speak(PCMU, 440))]
    arrivals.append((PACKETS * TICK_S, far_end.other(13, b"\x40")))
    far_end.skip(0, 800)
    arrivals += [(0.6 + index * TICK_S, datagram) for index, datagram in enumerate(far_end.speak(PCMU, 1000))]
    run(stream, arrivals, until=1.09)
    rx = stream.statistics().rx
    assert (rx.lost, rx.concealed_ms, rx.filled_ms, rx.played_ms, rx.discards) == (0, 0, 100, 1100, {})
    assert [concealed for _, concealed in ear.audio[PACKETS : PACKETS + 5]] == [True] * 5
    assert ear.hertz(700, 1100) == pytest.approx(1000, abs=5)


def test_digits_are_known_on_each_clock_that_was_agreed__rfc4733_2_1() -> None:
    sink, far_end = RecordingSink(), Speaker()
    stream = make_stream(
        sink,
        replace(agreed(OPUS, PCMU), telephone_event_payload_type_rx=102, further_telephone_events={101: 8000}),
    )
    now = 0.0
    for spoken, number, code in ((OPUS, 102, 1), (PCMU, 101, 2), (OPUS, 102, 3)):
        now = feed(stream, list(far_end.speak(spoken, 440, 5)), now)
        units = spoken.frame_samples(20)
        for count in (1, 2, 3, 3, 3):
            event = TelephoneEvent(code, end=len(sink.digits) == code or count == 3, volume=10, duration=count * units)
            stream.receive_datagram(far_end.other(number, bytes(event)), FAR_END, now)
            stream.tick(now)
            now += TICK_S
        far_end.skip(0, 5 * units)
    assert sink.digits == [("1", 60), ("2", 60), ("3", 60)]
    assert discards(stream) == {}


def test_a_digit_on_another_clock_whose_end_was_lost_ends_by_itself_and_with_the_agreement() -> None:
    sink, far_end = RecordingSink(), Speaker()
    parameters = replace(agreed(OPUS, PCMU), telephone_event_payload_type_rx=102, further_telephone_events={101: 8000})
    stream = make_stream(sink, parameters)
    stream.receive_datagram(far_end.other(101, bytes(TelephoneEvent(4, False, 10, 480))), FAR_END, 0.0)
    run(stream, [], until=1.0)
    assert sink.digits == [("4", 60)]
    far_end.timestamp += 48_000
    now = feed(stream, list(far_end.speak(PCMU, 440, 5)), 1.0)
    stream.receive_datagram(far_end.other(101, bytes(TelephoneEvent(7, False, 10, 320))), FAR_END, now)
    for datagram in far_end.speak(PCMU, 440, 30):
        stream.receive_datagram(datagram, FAR_END, now)
        stream.tick(now)
        now += TICK_S
    assert sink.digits.pop() == ("7", 40), "also where speech goes on"
    stream.receive_datagram(far_end.other(101, bytes(TelephoneEvent(5, False, 10, 800))), FAR_END, now)
    stream.update(replace(parameters, further_telephone_events={}), now)
    assert sink.digits == [("4", 60), ("5", 100)]
    stream.receive_datagram(far_end.other(101, bytes(TelephoneEvent(6, True, 10, 800))), FAR_END, now)
    assert discards(stream) == {Discard.PAYLOAD_TYPE: 1}


@pytest.mark.parametrize("is_over_rtcp", [False, True])
def test_a_far_end_may_begin_with_any_agreed_codec(is_over_rtcp: bool) -> None:
    """Also with one whose marked packets look like reports (RFC 5761 section 4)."""
    ear, far_end = Ear(PCMU), Speaker()
    parameters = agreed(PCMU, OPUS)
    datagrams = list(far_end.speak(OPUS, 1000))
    if is_over_rtcp:
        parameters = replace(parameters, further_formats={72: OPUS})
        datagrams = [bytes((datagram[0], 0x80 | 72)) + datagram[2:] for datagram in datagrams]
    stream = make_stream(ear, parameters)
    for index, datagram in enumerate(datagrams):
        stream.receive_datagram(datagram, (FAR_END[0], 7000), index * TICK_S)
    assert stream.remote == (FAR_END[0], 7000)
    assert ear.hertz(60, 460) == pytest.approx(1000, abs=5)
    assert discards(stream) == {}


def test_each_codec_has_its_own_greatest_length() -> None:
    sink, far_end = RecordingSink(), FarEnd()
    stream = make_stream(sink, agreed(PCMU, L16_16K))
    longest = {0: 1600, 97: 6400}
    for number, octets in longest.items():
        far_end.payload_type = number
        stream.receive_datagram(far_end.audio(bytes(octets), samples=octets >> (number == 97)), FAR_END, 0.0)
        stream.receive_datagram(far_end.audio(bytes(octets + 1), samples=0), FAR_END, 0.0)
        far_end.sequence_number -= 1
    assert len(sink.heard) == 3200
    assert discards(stream) == {Discard.OVERSIZED: 2}


@pytest.mark.parametrize("own", NUMBERS)
def test_nonsense_in_another_codec_is_heard_as_a_loss_and_nothing_worse(own: PayloadFormat) -> None:
    chance, ear, far_end = random.Random(3), Ear(own), Speaker()
    stream = make_stream(ear, agreed(own, *(payload_format for payload_format in NUMBERS if payload_format != own)))
    for index in range(400):
        far_end.payload_type = chance.choice((0, 8, 9, 96, 97, 111))
        payload = chance.randbytes(chance.choice((0, 1, 2, 3, 161, 1275)))
        stream.receive_datagram(far_end.audio(payload, samples=160), FAR_END, index * TICK_S)
        stream.tick(index * TICK_S)
    far_end.skip(0, 1_000_000)
    feed(stream, list(far_end.speak(OPUS, 1000, 50)), 400 * TICK_S)
    end = round(ear.heard_ms)
    assert ear.hertz(end - 400, end) == pytest.approx(1000, abs=5), "half a second later all is forgotten"
    assert set(discards(stream)) == {Discard.EMPTY}
    assert all(ear.genuine)


def test_a_packet_that_does_not_tell_its_length_is_taken_for_a_usual_one() -> None:
    ear, far_end = Ear(PCMU), Speaker()
    stream = make_stream(ear, agreed(PCMU, OPUS))
    datagrams = [*far_end.speak(OPUS, 440, 5), far_end.audio(b"\x03", samples=960), *far_end.speak(OPUS, 440, 5)]
    feed(stream, datagrams)
    assert ear.heard_ms == pytest.approx(220, abs=0.1)
    assert_clean(stream, 220)


def test_a_new_agreement_says_what_may_come_from_then_on() -> None:
    ear, far_end = Ear(PCMU), Speaker()
    stream = make_stream(ear, agreed(PCMU, OPUS))
    now = feed(stream, list(far_end.speak(OPUS, 1000)))
    stream.update(agreed(PCMU, G722), now)
    now = feed(stream, list(far_end.speak(OPUS, 1000, 5)), now)
    assert discards(stream) == {Discard.PAYLOAD_TYPE: 5}
    feed(stream, list(far_end.speak(G722, 600)), now)
    assert ear.hertz(round(ear.heard_ms) - 400, round(ear.heard_ms)) == pytest.approx(600, abs=5)
    assert discards(stream) == {Discard.PAYLOAD_TYPE: 5}


@pytest.mark.parametrize(("own", "further"), PAIRS)
def test_another_codec_of_ours_hears_the_others_too(own: PayloadFormat, further: PayloadFormat) -> None:
    """After a new agreement everything is made into the new codec, with the old one's SSRC and numbers."""
    sink, far_end = RecordingSink(), Speaker()
    third = next(payload_format for payload_format in NUMBERS if payload_format not in (own, further))
    stream = make_stream(sink, agreed(own, third))
    now = feed(stream, [*far_end.speak(own, 440), *far_end.speak(third, 440)])
    stream.update(agreed(further, own, third), now)
    sink.audio.clear()
    feed(stream, [*far_end.speak(own, 1000), *far_end.speak(third, 800), *far_end.speak(further, 600)], now)
    ear = Ear(further)
    for payload, concealed in sink.audio:
        ear.on_audio(payload, concealed)
    assert [ear.hertz(at + 60, at + 460) for at in (0, 500, 1000)] == pytest.approx([1000, 800, 600], abs=5)
    rx = stream.statistics().rx
    assert (rx.played_ms, rx.lost, rx.filled_ms, rx.discards) == (2500, 0, 0, {})
    assert rx.jitter_ms == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize(("own", "further"), BETWEEN_CLOCKS)
def test_a_new_agreement_on_another_clock_is_no_jitter(own: PayloadFormat, further: PayloadFormat) -> None:
    far_end = Speaker(timestamp=0)
    stream = make_stream(Ear(own), agreed(own))
    now = feed(stream, list(far_end.speak(own, 440, 5)))
    stream.update(agreed(further), now)
    feed(stream, list(far_end.speak(further, 440, 5)), now)
    assert_clean(stream, 200)


def test_jitter_of_another_clock_is_not_measured_across_a_new_agreement() -> None:
    far_end = Speaker(timestamp=0)
    stream = make_stream(Ear(PCMU), agreed(PCMU, OPUS))
    now = feed(stream, [*far_end.speak(PCMU, 440, 5), *far_end.speak(OPUS, 440, 5), *far_end.speak(PCMU, 440, 5)])
    stream.update(agreed(L16_16K, OPUS), now)
    feed(stream, list(far_end.speak(OPUS, 440, 5)), now)
    assert_clean(stream, 400)


def test_what_was_counted_on_a_former_clock_is_not_taken_for_media_time() -> None:
    """Both accounts come to the same number once, and just then the far end pauses."""
    far_end = Speaker()
    stream = make_stream(RecordingSink(), agreed(OPUS, L16_16K))
    now = feed(stream, list(far_end.speak(L16_16K, 440, 6)))
    stream.update(agreed(PCMU, L16_16K), now)
    assert 6 * OPUS.frame_samples(20) == 6 * PCMU.frame_samples(20) + 30 * PCMU.frame_samples(20)
    now = feed(stream, list(far_end.speak(PCMU, 440, 30)), now)
    far_end.skip(0, 160)
    feed(stream, list(far_end.speak(PCMU, 440, 5)), now + TICK_S)
    assert stream.statistics().rx.filled_ms == 20


def changes(stream: RtpStream) -> int:
    return stream.statistics().rx.codec_changes


@pytest.mark.parametrize("numbering", [continued, by_the_wall_clock])
@pytest.mark.parametrize(("own", "further"), PAIRS)
def test_each_change_is_counted_there_and_back(
    own: PayloadFormat, further: PayloadFormat, numbering: Callable[[FarEnd, float, int], None]
) -> None:
    far_end, third = Speaker(), next(one for one in NUMBERS if one not in (own, further))
    stream = make_stream(Ear(own), agreed(own, further, third))
    now, counts = 0.0, []
    for spoken in (own, further, own, own, further, third, own, third, further):
        numbering(far_end, now, spoken.clock_rate_hz)
        now = feed(stream, list(far_end.speak(spoken, 440, 3)), now)
        counts.append(changes(stream))
    assert counts == [0, 1, 2, 2, 3, 4, 5, 6, 7]


def test_changes_are_counted_whether_somebody_asks_in_between_or_not() -> None:
    far_end = Speaker()
    stream = make_stream(RecordingSink(), agreed(PCMU, PCMA, G722))
    feed(stream, [datagram for spoken in (PCMA, PCMU, G722, PCMU, PCMA) for datagram in far_end.speak(spoken, 440, 3)])
    assert changes(stream) == 4


def test_the_codec_that_a_far_end_begins_with_is_no_change() -> None:
    far_end = Speaker()
    stream = make_stream(RecordingSink(), agreed(PCMU, PCMA))
    now = feed(stream, list(far_end.speak(PCMA, 440, 3)))
    assert changes(stream) == 0
    feed(stream, list(far_end.speak(PCMU, 440, 3)), now)
    assert changes(stream) == 1


def test_neither_digits_nor_noise_nor_what_was_not_agreed_on_is_a_change_of_codec() -> None:
    far_end = Speaker()
    parameters = replace(
        agreed(PCMU, OPUS), telephone_event_payload_type_rx=101, comfort_noise_payload_type=13, ptime_ms=20
    )
    stream = make_stream(RecordingSink(), parameters)
    for spoken, expected in ((PCMU, 0), (OPUS, 1)):
        feed(stream, list(far_end.speak(spoken, 440, 3)))
        feed(stream, [far_end.other(101, bytes(TelephoneEvent(1, True, 10, 800))), far_end.other(13, b"\x40")])
        feed(stream, [far_end.other(9, bytes(160))])
        feed(stream, list(far_end.speak(spoken, 440, 3)))
        assert changes(stream) == expected


def test_a_number_that_is_listed_twice_is_the_same_codec() -> None:
    far_end = Speaker()
    stream = make_stream(RecordingSink(), replace(agreed(PCMU), further_formats={100: replace(PCMU)}))
    for far_end.payload_type in (0, 100, 0):
        feed(stream, far_end.packets(3))
    assert changes(stream) == 0


def test_what_a_new_agreement_brings_is_no_change_and_what_was_counted_stays() -> None:
    far_end = Speaker()
    stream = make_stream(RecordingSink(), agreed(PCMU, OPUS))
    now = feed(stream, [*far_end.speak(PCMU, 440, 3), *far_end.speak(OPUS, 440, 3), *far_end.speak(PCMU, 440, 3)])
    stream.update(agreed(G722, OPUS), now)
    assert changes(stream) == 2
    now = feed(stream, list(far_end.speak(G722, 440, 3)), now)
    assert changes(stream) == 2
    now = feed(stream, list(far_end.speak(OPUS, 440, 3)), now)
    stream.update(agreed(G722, OPUS, PCMU), now)
    feed(stream, list(far_end.speak(PCMU, 440, 3)), now)
    assert changes(stream) == 4, "more to choose from, but the stream goes on"


class CountingReceiver(RtpReceiver):
    """Counts what does not pass on the regular path."""

    irregular = 0

    def _receive_irregular(self, data: bytes, now: float) -> None:
        self.irregular += 1
        super()._receive_irregular(data, now)


@pytest.mark.parametrize("own", [PCMU, PCMA, G722, L16_16K])
def test_the_codec_of_the_stream_goes_on_by_the_regular_path(own: PayloadFormat) -> None:
    receiver, far_end = CountingReceiver(agreed(own, OPUS), RecordingSink(), 0.0), Speaker()
    counts = []
    now = 0.0
    for spoken in (own, OPUS, own):
        for datagram in far_end.speak(spoken, 440):
            receiver.receive_datagram(datagram, FAR_END, now)
            receiver.poll(now)
            now += TICK_S
        counts.append(receiver.irregular)
    assert counts == [1, 1 + PACKETS, 1 + PACKETS], "its first packet alone, and those of the other codec"
