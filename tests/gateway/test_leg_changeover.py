"""Which codecs a far end may change to in mid-call, by what offer and answer say; with each side's own numbers."""

from collections.abc import Iterator
from itertools import permutations
from typing import Final

import numpy as np
import pytest

from gateway.config.trunk import Codec
from gateway.leg import AudioLeg
from gateway.realtime.capability import AudioFormat
from rtp.codec.audio import encoder_of
from rtp.codec.format import G722, L16_16K, OPUS, PCMA, PCMU, PayloadFormat
from rtp.packet import RtpPacket
from rtp.telephone_event import TelephoneEvent
from sip.sdp.codec import payload_formats
from sip.sdp.description import SessionDescription
from tests.helpers.leg import HOST, Peer, Plane, Sink, loudest_hertz, policy, tone
from tests.helpers.rtp_peer import FarEnd

FORMATS: Final = {Codec.PCMU: PCMU, Codec.PCMA: PCMA, Codec.G722: G722, Codec.OPUS: OPUS, Codec.L16: L16_16K}
# As the far end writes them: the numbers that it is sent, which are not ours where they are dynamic.
THEIRS: Final = {
    Codec.PCMU: (0, "PCMU/8000"),
    Codec.PCMA: (8, "PCMA/8000"),
    Codec.G722: (9, "G722/8000"),
    Codec.OPUS: (121, "opus/48000/2"),
    Codec.L16: (122, "L16/16000"),
}
EVENTS: Final = {8000: (123, "telephone-event/8000"), 48000: (124, "telephone-event/48000")}
PAIRS: Final = list(permutations(FORMATS, 2))
PACKETS: Final = 25


def described(peer: Peer, *formats: tuple[int, str], version: int = 1) -> bytes:
    numbers = " ".join(str(number) for number, _ in formats)
    return peer.offer(numbers, *(f"a=rtpmap:{number} {rtpmap}" for number, rtpmap in formats), version=version)


def numbers_in(description: bytes) -> dict[str, int]:
    """Under which number each format is to come."""
    return {str(item): item.payload_type for item in payload_formats(SessionDescription.parse(description).media[0])}


class Call:
    """A leg that hears, and its far end, which speaks tones in any codec: 16 kHz samples come out."""

    def __init__(self, plane: Plane, peer: Peer, leg: AudioLeg, described_by_us: bytes) -> None:
        self.plane, self.peer, self.leg, self.sink = plane, peer, leg, Sink()
        self.far_end = FarEnd()
        self.numbers = numbers_in(described_by_us)
        self._port = SessionDescription.parse(described_by_us).media[0].port
        leg.start(self.sink, input_format=AudioFormat.PCM16_16K, output_format=AudioFormat.PCM16_16K)
        leg.resume()

    def send(self, datagram: bytes) -> RtpPacket:
        """One turn: what comes, and what goes."""
        self.peer.rtp.sendto(datagram, (HOST, self._port))
        self.plane.sockets.drain(self.plane.now)
        self.leg.tick(self.plane.now)
        self.plane.now += 0.02
        return RtpPacket.parse(self.peer.rtp.recv(4000))

    def speak(self, codec: Codec, hertz: float, number: int | None = None) -> float:
        """Half a second in a codec; returns which tone was heard, 0 for none."""
        spoken = FORMATS[codec]
        self.far_end.payload_type = self.numbers[THEIRS[codec][1]] if number is None else number
        self.sink.heard.clear()
        for payload in payloads(spoken, hertz):
            self.send(self.far_end.audio(payload, samples=spoken.frame_samples(20)))
        samples = np.frombuffer(bytes(self.sink.heard), dtype="<i2")[-PACKETS * 160 :].astype(np.int16)
        return loudest_hertz(samples, 16_000) if len(samples) and np.abs(samples).max() > 3000 else 0.0

    @property
    def heard_ms(self) -> int:
        return len(self.sink.heard) // 32

    @property
    def discarded(self) -> dict[str, int]:
        return dict(self.leg.statistics().discarded)


def payloads(spoken: PayloadFormat, hertz: float) -> Iterator[bytes]:
    encoder = encoder_of(spoken)
    block = encoder.sample_rate_hz // 50
    sound = tone(PACKETS * 20, encoder.sample_rate_hz, hertz)
    for start in range(0, len(sound), block):
        yield encoder.encode(sound[start : start + block])


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_every_codec_that_an_answer_lists_is_heard_and_its_first_is_sent__rfc3264_6_1(
    plane: Plane, peer: Peer, first: Codec, second: Codec
) -> None:
    leg = plane.leg(policy(second, first))
    offer = leg.offer()
    assert leg.complete(described(peer, THEIRS[first], THEIRS[second]))
    call = Call(plane, peer, leg, offer)
    for codec, hertz in ((first, 440.0), (second, 1000.0), (first, 600.0)):
        assert call.speak(codec, hertz) == pytest.approx(hertz, abs=10)
        assert call.heard_ms == 500
    sent = call.send(call.far_end.audio(b""))
    assert sent.payload_type == THEIRS[first][0], "their number, and the first of the answer"
    record = leg.statistics()
    assert (record.codec.lower(), record.discarded) == (first.value, {"empty": 1})
    assert (record.lost, record.concealed_ms, record.codec_changes) == (0, 0, 2)
    assert record.jitter_ms == pytest.approx(0.0, abs=0.02)
    leg.close()


@pytest.mark.parametrize(("first", "second"), [pair for pair in PAIRS if set(pair) != {Codec.PCMU, Codec.PCMA}])
def test_our_answer_names_one_codec_and_what_else_was_offered_is_not_heard__rfc3264_6_1(
    plane: Plane, peer: Peer, first: Codec, second: Codec
) -> None:
    leg = plane.leg(policy(first, second))
    answer = leg.answer(described(peer, THEIRS[second], THEIRS[first], EVENTS[8000]))
    assert numbers_in(answer).keys() == {THEIRS[first][1], EVENTS[8000][1]}
    call = Call(plane, peer, leg, answer)
    assert call.speak(first, 440) == pytest.approx(440, abs=10)
    assert call.speak(second, 1000, THEIRS[second][0]) == 0
    assert call.discarded == {"payload_type": PACKETS}
    assert call.speak(first, 600) == pytest.approx(600, abs=10)
    leg.close()


def test_a_number_of_the_answer_is_what_we_send_and_not_what_we_hear__rfc3264_6_1(plane: Plane, peer: Peer) -> None:
    leg = plane.leg(policy(Codec.PCMU, Codec.OPUS, Codec.L16))
    offer = leg.offer()
    assert leg.complete(described(peer, THEIRS[Codec.PCMU], THEIRS[Codec.OPUS]))
    call = Call(plane, peer, leg, offer)
    assert call.speak(Codec.PCMU, 440) == pytest.approx(440, abs=10)
    assert call.speak(Codec.OPUS, 1000, THEIRS[Codec.OPUS][0]) == 0
    assert call.speak(Codec.L16, 1000) == 0, "offered, and not in the answer"
    assert call.discarded == {"payload_type": 2 * PACKETS}
    assert call.speak(Codec.OPUS, 1000) == pytest.approx(1000, abs=10)
    leg.close()


def test_an_answer_with_all_our_codecs_lets_each_come_at_any_time__rfc3264_6_1(plane: Plane, peer: Peer) -> None:
    leg = plane.leg(policy(*FORMATS))
    offer = leg.offer()
    assert leg.complete(described(peer, *THEIRS.values(), *EVENTS.values()))
    call = Call(plane, peer, leg, offer)
    for round_trip in range(2):
        for index, codec in enumerate(FORMATS):
            hertz = 400.0 + 200 * index
            assert call.speak(codec, hertz) == pytest.approx(hertz, abs=10), (round_trip, codec)
            assert call.heard_ms == 500
    assert call.discarded == {}
    leg.close()


def test_digits_come_on_the_clock_of_the_codec_that_is_spoken__rfc4733_2_1(plane: Plane, peer: Peer) -> None:
    leg = plane.leg(policy(Codec.OPUS, Codec.PCMU))
    offer = leg.offer()
    assert leg.complete(described(peer, THEIRS[Codec.PCMU], THEIRS[Codec.OPUS], EVENTS[8000], EVENTS[48000]))
    call = Call(plane, peer, leg, offer)
    for codec, digit in ((Codec.PCMU, 1), (Codec.OPUS, 2), (Codec.PCMU, 3)):
        rate_hz = FORMATS[codec].clock_rate_hz
        call.speak(codec, 440)
        event = TelephoneEvent(digit, end=True, volume=10, duration=rate_hz // 10)
        call.send(call.far_end.other(call.numbers[EVENTS[rate_hz][1]], bytes(event)))
        call.far_end.skip(0, rate_hz // 10)
    assert (call.sink.digits, call.discarded) == (["1", "2", "3"], {})
    leg.close()


def test_a_later_answer_with_fewer_codecs_takes_the_others_away__rfc3264_8(plane: Plane, peer: Peer) -> None:
    leg = plane.leg(policy(Codec.PCMU, Codec.G722))
    offer = leg.offer()
    assert leg.complete(described(peer, THEIRS[Codec.PCMU], THEIRS[Codec.G722]))
    call = Call(plane, peer, leg, offer)
    assert call.speak(Codec.G722, 440) == pytest.approx(440, abs=10)
    leg.offer()
    assert leg.complete(described(peer, THEIRS[Codec.PCMU], version=2))
    assert call.speak(Codec.G722, 1000) == 0
    assert call.discarded == {"payload_type": PACKETS}
    leg.offer()
    assert leg.complete(described(peer, THEIRS[Codec.PCMU], THEIRS[Codec.G722], version=3))
    assert call.speak(Codec.G722, 600) == pytest.approx(600, abs=10)
    leg.close()


@pytest.mark.parametrize("codecs", [(Codec.PCMU,), (Codec.PCMU, Codec.PCMA)])
def test_the_other_law_is_understood_where_the_trunk_has_it(
    plane: Plane, peer: Peer, codecs: tuple[Codec, ...]
) -> None:
    leg = plane.leg(policy(*codecs))
    call = Call(plane, peer, leg, leg.answer(described(peer, THEIRS[Codec.PCMU], THEIRS[Codec.PCMA])))
    assert call.speak(Codec.PCMU, 440) == pytest.approx(440, abs=10)
    heard = call.speak(Codec.PCMA, 1000, 8)
    assert (round(heard, -2), call.discarded) == (
        (1000, {}) if Codec.PCMA in codecs else (0, {"payload_type": PACKETS})
    )
    leg.close()


def test_a_static_number_that_once_had_another_meaning_keeps_it__rfc3264_8_3_2(plane: Plane, peer: Peer) -> None:
    """8 is PCMA for everybody else: here the far end has named it for Opus, then for events of its clock."""
    for named in ((8, "opus/48000/2"), (8, "telephone-event/48000")):
        leg = plane.leg(policy(Codec.PCMU, Codec.OPUS, Codec.PCMA))
        opus = named if named[1].startswith("opus") else THEIRS[Codec.OPUS]
        leg.answer(described(peer, *dict.fromkeys((opus, named))))
        offer = leg.offer()
        assert numbers_in(offer)[named[1]] == 8
        assert leg.complete(described(peer, THEIRS[Codec.PCMU], *dict.fromkeys((opus, named)), version=2))
        call = Call(plane, peer, leg, offer)
        assert call.speak(Codec.PCMU, 440) == pytest.approx(440, abs=10)
        assert call.speak(Codec.OPUS, 1000) == pytest.approx(1000, abs=10)
        if opus is not named:
            call.send(call.far_end.other(8, bytes(TelephoneEvent(5, end=True, volume=10, duration=4800))))
            assert call.sink.digits == ["5"]
        assert call.discarded == {}
        leg.close()
