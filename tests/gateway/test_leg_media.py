"""What a far end may do to a leg's media: packet times, suites and new keys, noise, new sources, digits."""

import itertools
import os
from base64 import b64encode

import numpy as np
import pytest

from gateway.config.trunk import Codec
from gateway.leg import AudioLeg
from gateway.realtime.capability import AudioFormat
from rtp.codec.audio import encoder_of
from rtp.codec.format import G722, L16_8K, OPUS, PCMA, PCMU, PayloadFormat
from rtp.codec.g711 import decode_ulaw
from rtp.packet import RtpPacket
from rtp.srtp import SrtpKey, SrtpProtector, SrtpSuite, SrtpUnprotector
from rtp.telephone_event import TelephoneEvent
from sip.sdp.crypto import CryptoLine
from sip.sdp.description import SessionDescription
from tests.helpers.leg import HOST, SSRC, Peer, Plane, Sink, loudest_hertz, policy, port_of, run, tone

LINES = {
    Codec.PCMU: ("0", ()),
    Codec.PCMA: ("8", ()),
    Codec.G722: ("9", ()),
    Codec.OPUS: ("111", ("a=rtpmap:111 opus/48000/2",)),
    Codec.L16: ("112", ("a=rtpmap:112 L16/8000",)),
}
FORMATS = {Codec.PCMU: PCMU, Codec.PCMA: PCMA, Codec.G722: G722, Codec.OPUS: OPUS, Codec.L16: L16_8K}


def sent(peer: Peer) -> RtpPacket:
    return RtpPacket.parse(peer.rtp.recv(4000))


def ptime_of(description: bytes) -> list[str]:
    return list(SessionDescription.parse(description).media[0].values("ptime"))


@pytest.mark.parametrize("ptime_ms", [10, 20, 30, 40, 50, 60])
@pytest.mark.parametrize("codec", [Codec.PCMU, Codec.PCMA, Codec.G722, Codec.L16])
def test_every_packet_time_is_answered_kept_and_heard(plane: Plane, peer: Peer, codec: Codec, ptime_ms: int) -> None:
    formats, lines = LINES[codec]
    payload_format: PayloadFormat = FORMATS[codec]
    leg, sink = plane.leg(policy(codec)), Sink()
    answer = leg.answer(peer.offer(formats, *lines, f"a=ptime:{ptime_ms}"))
    assert ptime_of(answer) == [str(ptime_ms)]
    leg.start(sink, input_format=AudioFormat.PCM16_16K, output_format=AudioFormat.PCM16_16K)
    leg.resume()
    encoder = encoder_of(payload_format)
    block = encoder.sample_rate_hz // 50
    sound = tone(ptime_ms * 20, encoder.sample_rate_hz)
    octets = b"".join(encoder.encode(sound[start : start + block]) for start in range(0, len(sound), block))
    size = payload_format.frame_octets(ptime_ms)
    packets = []
    for number in range(20):
        payload = octets[number * size : (number + 1) * size]
        peer.speak(payload, port_of(answer), int(formats), payload_format.frame_samples(ptime_ms))
        plane.sockets.drain(plane.now)
        leg.tick(plane.now)
        packets.append(sent(peer))
        plane.now += ptime_ms / 1000
    stamps = [packet.timestamp for packet in packets]
    assert {(later - earlier) & 0xFFFF_FFFF for earlier, later in itertools.pairwise(stamps)} == {
        payload_format.frame_samples(ptime_ms)
    }
    assert {len(packet.payload) for packet in packets} == {payload_format.frame_octets(ptime_ms)}
    heard = np.frombuffer(bytes(sink.heard), dtype="<i2").astype(np.int16)
    assert len(heard) == pytest.approx(20 * ptime_ms * 16, abs=200)
    assert loudest_hertz(heard, 16_000) == pytest.approx(440, abs=10)
    assert ptime_of(leg.answer(peer.offer(formats, *lines, f"a=ptime:{ptime_ms}", version=2))) == [str(ptime_ms)]
    leg.close()


def inline(suite: SrtpSuite) -> tuple[str, SrtpKey]:
    material = os.urandom(suite.material_octets)
    return f"inline:{b64encode(material).decode()}", SrtpKey(suite, material)


def crypto_of(answer: bytes) -> CryptoLine:
    (value,) = SessionDescription.parse(answer).media[0].values("crypto")
    line = CryptoLine.parse(value)
    assert line is not None
    return line


def speak_secretly(peer: Peer, protector: SrtpProtector, payload: bytes, to: int) -> None:
    packet = RtpPacket(0, peer.number, peer.number * 160, SSRC, payload)
    peer.number += 1
    peer.rtp.sendto(protector.protect(bytes(packet)), (HOST, to))


@pytest.mark.parametrize("suite", list(SrtpSuite))
def test_every_suite_is_mirrored_and_carries_sound_both_ways__rfc4568_rfc7714(
    plane: Plane, peer: Peer, suite: SrtpSuite
) -> None:
    leg, sink = plane.leg(), Sink()
    key_line, key = inline(suite)
    answer = leg.answer(peer.offer("0", f"a=crypto:3 {suite.value} {key_line}", profile="RTP/SAVP"))
    ours = crypto_of(answer)
    assert (ours.tag, ours.suite.value) == (3, suite.value)
    leg.start(sink)
    leg.resume()
    speak_secretly(peer, SrtpProtector(key), b"\x33" * 160, port_of(answer))
    plane.sockets.drain(plane.now)
    assert bytes(sink.heard) == b"\x33" * 160
    leg.tick(plane.now)
    heard = SrtpUnprotector(SrtpKey(suite, ours.key_and_salt)).unprotect(peer.rtp.recv(2000))
    assert RtpPacket.parse(heard).payload == b"\xff" * 160
    assert leg.statistics().encrypted == suite.value
    leg.close()


@pytest.mark.parametrize("suite", list(SrtpSuite))
def test_new_keys_of_a_reinvite_replace_the_old_ones_and_the_stream_runs_on__rfc4568_7_1_4(
    plane: Plane, peer: Peer, suite: SrtpSuite
) -> None:
    leg, sink = plane.leg(), Sink()
    first_line, first = inline(suite)
    answer = leg.answer(peer.offer("0", f"a=crypto:1 {suite.value} {first_line}", profile="RTP/SAVP"))
    port, ours = port_of(answer), crypto_of(answer)
    leg.start(sink)
    leg.resume()
    old = SrtpProtector(first)
    speak_secretly(peer, old, b"\x01" * 160, port)
    plane.sockets.drain(plane.now)
    leg.tick(plane.now)
    before = RtpPacket.parse(SrtpUnprotector(SrtpKey(suite, ours.key_and_salt)).unprotect(peer.rtp.recv(2000)))

    second_line, second = inline(suite)
    answer = leg.answer(peer.offer("0", f"a=crypto:2 {suite.value} {second_line}", profile="RTP/SAVP", version=2))
    renewed = crypto_of(answer)
    assert renewed.tag == 2
    assert renewed.key_and_salt != ours.key_and_salt, "who is given a new key gives a new one"
    speak_secretly(peer, SrtpProtector(second), b"\x03" * 160, port)
    speak_secretly(peer, old, b"\x02" * 160, port)
    plane.sockets.drain(plane.now)
    leg.tick(plane.now + 0.02)
    after = RtpPacket.parse(SrtpUnprotector(SrtpKey(suite, renewed.key_and_salt)).unprotect(peer.rtp.recv(2000)))
    assert (after.ssrc, after.sequence_number) == (before.ssrc, (before.sequence_number + 1) & 0xFFFF)
    for _ in range(5):
        plane.now += 0.02
        leg.tick(plane.now)
    assert b"\x02" * 40 not in sink.heard
    assert b"\x03" * 160 in sink.heard
    assert leg.statistics().discarded == {"authentication": 1}
    leg.close()


def test_keys_that_a_reinvite_repeats_stay_and_nothing_is_replayed__rfc4568_7_1_4(plane: Plane, peer: Peer) -> None:
    suite = SrtpSuite.AES_CM_128_HMAC_SHA1_80
    leg, sink = plane.leg(), Sink()
    line, key = inline(suite)
    answer = leg.answer(peer.offer("0", f"a=crypto:1 {suite.value} {line}", profile="RTP/SAVP"))
    leg.start(sink)
    leg.resume()
    protector = SrtpProtector(key)
    speak_secretly(peer, protector, b"\x01" * 160, port_of(answer))
    plane.sockets.drain(plane.now)
    again = leg.answer(peer.offer("0", f"a=crypto:1 {suite.value} {line}", profile="RTP/SAVP", version=2))
    assert crypto_of(again).key_and_salt == crypto_of(answer).key_and_salt
    speak_secretly(peer, protector, b"\x02" * 160, port_of(answer))
    plane.sockets.drain(plane.now)
    assert bytes(sink.heard) == b"\x01" * 160 + b"\x02" * 160
    leg.close()


def test_comfort_noise_is_agreed_and_heard_until_speech_returns__rfc3389(plane: Plane, peer: Peer) -> None:
    leg, sink = plane.leg(), Sink()
    answer = leg.answer(peer.offer("0 13"))
    assert "13" in SessionDescription.parse(answer).media[0].formats
    leg.start(sink)
    peer.speak(b"\x80" * 160, port_of(answer))
    plane.sockets.drain(plane.now)
    peer.speak(bytes([50]), port_of(answer), 13)  # -50 dBov
    plane.sockets.drain(plane.now)
    run(plane, leg, 0.5)
    noise = decode_ulaw(bytes(sink.heard[320:])).astype(np.float64)
    assert len(noise) >= 8 * 400
    assert 20 * np.log10(np.sqrt(np.mean(noise**2)) / 32768) == pytest.approx(-50, abs=2)
    assert leg.statistics().concealed_ms == 0
    leg.close()


def test_a_new_source_of_the_same_far_end_is_followed__rfc3550_8_2(plane: Plane, peer: Peer) -> None:
    leg, sink = plane.leg(), Sink()
    port = port_of(leg.answer(peer.offer("0")))
    leg.start(sink)
    for _ in range(5):
        peer.speak(b"\x01" * 160, port)
        plane.sockets.drain(plane.now)
        plane.now += 0.02
    plane.now += 0.2
    for number in range(5):  # a transfer behind the far end: another SSRC, another clock
        packet = RtpPacket(0, 40_000 + number, 9_000_000 + number * 160, SSRC + 1, b"\x02" * 160)
        peer.rtp.sendto(bytes(packet), (HOST, port))
        plane.sockets.drain(plane.now)
        plane.now += 0.02
    assert bytes(sink.heard).count(b"\x02") >= 160 * 4
    leg.close()


@pytest.mark.parametrize(("codec", "clock_hz"), [(Codec.PCMU, 8000), (Codec.OPUS, 48_000)])
def test_digits_are_sent_with_their_exact_durations__rfc4733_2_5(
    plane: Plane, peer: Peer, codec: Codec, clock_hz: int
) -> None:
    formats, lines = LINES[codec]
    leg = plane.leg(policy(codec))
    leg.answer(peer.offer(f"{formats} 101", *lines, f"a=rtpmap:101 telephone-event/{clock_hz}"))
    leg.start(Sink())
    leg.resume()
    assert leg.send_digits("19")
    packets = []
    for _ in range(30):
        leg.tick(plane.now)
        packets.append(sent(peer))
        plane.now += 0.02
    events = [packet for packet in packets if packet.payload_type == 101]
    for stamp, digit in zip(dict.fromkeys(packet.timestamp for packet in events), (1, 9), strict=True):
        own = [TelephoneEvent.parse(packet.payload) for packet in events if packet.timestamp == stamp]
        assert {event.event for event in own} == {digit}
        assert [event.duration for event in own if event.end] == [clock_hz // 10] * 3
        steps = [event.duration for event in own if not event.end]
        assert steps == [clock_hz // 50 * number for number in range(1, len(steps) + 1)]
    starts = list(dict.fromkeys(packet.timestamp for packet in events))
    assert (starts[1] - starts[0]) & 0xFFFF_FFFF == clock_hz * 180 // 1000, "100 ms and a pause of 80"
    numbers = [packet.sequence_number for packet in packets]
    assert all((later - earlier) & 0xFFFF == 1 for earlier, later in itertools.pairwise(numbers))
    leg.close()


def test_a_change_to_the_other_law_in_mid_call_is_heard_as_before__rfc3264_8_3_2(plane: Plane, peer: Peer) -> None:
    from rtp.codec import g711

    leg, sink = plane.leg(), Sink()
    port = port_of(leg.answer(peer.offer("0 8")))
    leg.start(sink)
    sound = tone(200, 8000)
    for start in range(0, len(sound), 160):
        is_second_half = start >= len(sound) // 2
        encode = g711.encode_alaw if is_second_half else g711.encode_ulaw
        peer.speak(encode(sound[start : start + 160]), port, 8 if is_second_half else 0)
        plane.sockets.drain(plane.now)
        plane.now += 0.02
    difference = decode_ulaw(bytes(sink.heard)).astype(np.int32) - sound
    assert len(sink.heard) == len(sound)
    assert np.abs(difference).max() < 500
    leg.close()


@pytest.mark.parametrize(("law", "second", "other"), [(Codec.PCMU, Codec.PCMA, 8), (Codec.PCMA, Codec.PCMU, 0)])
def test_every_octet_of_the_other_law_is_translated__rfc3264_8_3_2(
    plane: Plane, peer: Peer, law: Codec, second: Codec, other: int
) -> None:
    from rtp.codec import g711

    leg, sink = plane.leg(policy(law, second)), Sink()
    port = port_of(leg.answer(peer.offer(f"{8 - other} {other}")))
    spoken = AudioFormat(law.value)
    leg.start(sink, input_format=spoken, output_format=spoken)
    payload = bytes(range(256)) + bytes(64)
    for start in range(0, len(payload), 160):
        peer.speak(payload[start : start + 160], port, other)
        plane.sockets.drain(plane.now)
        plane.now += 0.02
    in_ulaw, in_alaw = g711.encode_ulaw(g711.decode_alaw(payload)), g711.encode_alaw(g711.decode_ulaw(payload))
    assert bytes(sink.heard) == (in_ulaw if other == 8 else in_alaw)
    leg.close()


def test_a_held_leg_sends_nothing_and_its_sequence_goes_on_afterwards__rfc3264_8_4(plane: Plane, peer: Peer) -> None:
    leg: AudioLeg = plane.leg()
    leg.answer(peer.offer("0"))
    leg.start(Sink())
    leg.resume()
    leg.tick(plane.now)
    before = sent(peer)
    leg.answer(peer.offer("0", "a=inactive", version=2))
    run(plane, leg, 0.5)
    leg.answer(peer.offer("0", version=3))
    leg.tick(plane.now)
    after = sent(peer)
    assert (after.ssrc, after.sequence_number) == (before.ssrc, (before.sequence_number + 1) & 0xFFFF)
    leg.close()


def test_events_of_8000_hz_are_heard_and_sent_beside_opus__rfc7160(plane: Plane, peer: Peer) -> None:
    """As Twilio offers them."""
    leg, sink = plane.leg(policy(Codec.OPUS)), Sink()
    answer = leg.answer(
        peer.offer("107 101", "a=rtpmap:107 opus/48000/2", "a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-15")
    )
    assert SessionDescription.parse(answer).media[0].formats == ("107", "101")
    leg.start(sink)
    leg.resume()
    for _ in range(3):
        peer.speak(bytes(TelephoneEvent(5, end=True, volume=10, duration=800)), port_of(answer), 101, step=0)
    plane.sockets.drain(plane.now)
    assert sink.digits == ["5"]
    assert leg.send_digits("7")
    leg.tick(plane.now)
    event = sent(peer)
    assert (event.payload_type, TelephoneEvent.parse(event.payload).duration) == (101, 160)
    leg.close()


def test_a_static_number_may_be_given_to_events__rfc8866_6_6(plane: Plane, peer: Peer) -> None:
    leg, sink = plane.leg(policy(Codec.PCMU, Codec.PCMA)), Sink()
    answer = leg.answer(peer.offer("0 8", "a=rtpmap:8 telephone-event/8000"))
    leg.start(sink)
    peer.speak(b"\x80" * 160, port_of(answer))
    peer.speak(bytes(TelephoneEvent(5, end=True, volume=10, duration=800)), port_of(answer), 8)
    plane.sockets.drain(plane.now)
    assert (sink.digits, bytes(sink.heard)) == (["5"], b"\x80" * 160)
    leg.close()


@pytest.mark.parametrize("ptime_ms", [10, 20, 30, 40, 50, 60])
def test_opus_is_answered_with_the_packet_time_that_is_sent__rfc6716_2_1_4(
    plane: Plane, peer: Peer, ptime_ms: int
) -> None:
    formats, lines = LINES[Codec.OPUS]
    leg = plane.leg(policy(Codec.OPUS))
    (answered,) = ptime_of(leg.answer(peer.offer(formats, *lines, f"a=ptime:{ptime_ms}")))
    assert int(answered) == (20 if ptime_ms in {30, 50} else ptime_ms)
    leg.start(Sink())
    leg.resume()
    leg.tick(plane.now)
    assert OPUS.samples(sent(peer).payload) == int(answered) * 48
    leg.close()


@pytest.mark.parametrize(
    ("fmtp", "limit"),
    [
        ("stereo=1; sprop-stereo=1;maxaveragebitrate=8000;useinbandfec=1", 8000),
        ("maxaveragebitrate=16000", 16_000),
        ("maxaveragebitrate=510000", 32_000),
        ("maxaveragebitrate=99", 32_000),
        ("useinbandfec=1;minptime=10", 32_000),
    ],
)
def test_opus_takes_no_more_bits_than_the_far_end_wants__rfc7587_6_1(
    plane: Plane, peer: Peer, fmtp: str, limit: int
) -> None:
    leg = plane.leg(policy(Codec.OPUS))
    leg.answer(peer.offer("111", "a=rtpmap:111 opus/48000/2", f"a=fmtp:111 {fmtp}"))
    leg.start(Sink(), output_format=AudioFormat.PCM16_24K)
    leg.resume()
    noise = np.random.default_rng(1).normal(0, 3000, 24_000 * 4).astype("<i2")
    leg.enqueue("item", noise.tobytes())
    octets = 0
    for _ in range(200):
        leg.tick(plane.now)
        octets += len(sent(peer).payload)
        plane.now += 0.02
    assert octets * 8 / 4 == pytest.approx(limit, rel=0.3)
    leg.close()
