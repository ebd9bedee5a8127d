"""Keys that come as sound: events to the sink, silence in their place, and only where they are listened for."""

import numpy as np
import pytest
from numpy.typing import NDArray

from gateway.config.trunk import Codec, InbandDigits
from gateway.embedded.voice import Voice
from gateway.leg import AudioLeg
from gateway.realtime.capability import AudioFormat
from gateway.transcoding import samples_of
from rtp.codec import g711
from rtp.codec.resampling import Resampler
from rtp.inband_digit import DIGITS, HIGH_HZ, LOW_HZ
from tests.helpers.leg import Peer, Plane, Sink, policy, port_of

EVENTS = ("0 101", "a=rtpmap:101 telephone-event/8000")
LOUD = 1000
Samples = NDArray[np.int16]


def key(digit: str, milliseconds: int = 100, pause_ms: int = 100) -> Samples:
    row = next(row for row in range(4) if digit in DIGITS[row])
    time_s = np.arange(8 * milliseconds) / 8000
    angles = 2 * np.pi * time_s * LOW_HZ[row], 2 * np.pi * time_s * HIGH_HZ[DIGITS[row].index(digit)]
    sound = 5000 * (np.sin(angles[0]) + np.sin(angles[1]))
    return np.concatenate((sound, np.zeros(8 * pause_ms))).astype(np.int16)


def speak(plane: Plane, leg: AudioLeg, peer: Peer, port: int, samples: Samples) -> None:
    octets = g711.encode_ulaw(samples)
    for start in range(0, len(octets) // 160 * 160, 160):
        peer.speak(octets[start : start + 160], port)
        plane.sockets.drain(plane.now)
        leg.tick(plane.now)
        plane.now += 0.02


def loud_ms(sink: Sink, audio_format: AudioFormat = AudioFormat.PCMU) -> int:
    """How much of what the sink heard is louder than a whisper."""
    samples = samples_of(bytes(sink.heard), audio_format).astype(np.int32)
    per_ms = audio_format.sample_rate_hz // 1000
    whole = samples[: len(samples) // per_ms * per_ms].reshape(-1, per_ms)
    return int((np.abs(whole).max(axis=1) > LOUD).sum())


@pytest.mark.parametrize("audio_format", [AudioFormat.PCMU, AudioFormat.PCMA, AudioFormat.PCM16_16K])
def test_tones_are_keys_and_the_model_hears_no_more_than_a_packet_of_each(
    plane: Plane, peer: Peer, audio_format: AudioFormat
) -> None:
    leg, sink = plane.leg(policy()), Sink()
    port = port_of(leg.answer(peer.offer("0")))
    leg.start(sink, input_format=audio_format)
    speak(plane, leg, peer, port, np.concatenate([key(digit) for digit in "0123456789*#ABCD"]))
    assert "".join(sink.digits) == "0123456789*#ABCD"
    assert loud_ms(sink, audio_format) <= 16 * 20
    leg.close()


def test_a_tone_that_begins_within_a_packet_is_heard_no_longer(plane: Plane, peer: Peer) -> None:
    for offset_ms in range(0, 20, 5):
        leg, sink = plane.leg(policy()), Sink()
        port = port_of(leg.answer(peer.offer("0")))
        leg.start(sink)
        before = np.zeros(8 * (40 + offset_ms), dtype=np.int16)
        speak(plane, leg, peer, port, np.concatenate((before, key("7", pause_ms=200 - offset_ms))))
        assert sink.digits == ["7"]
        assert loud_ms(sink) <= 20
        leg.close()


def test_a_far_end_with_telephone_events_is_not_listened_to(plane: Plane, peer: Peer) -> None:
    leg, sink = plane.leg(policy()), Sink()
    port = port_of(leg.answer(peer.offer(*EVENTS)))
    leg.start(sink)
    sound = key("5")
    speak(plane, leg, peer, port, sound)
    assert sink.digits == []
    assert bytes(sink.heard) == g711.encode_ulaw(sound)  # to the octet: nothing stands between
    leg.close()


def test_the_trunk_may_say_never(plane: Plane, peer: Peer) -> None:
    leg, sink = plane.leg(policy(inband_digits=InbandDigits.OFF)), Sink()
    port = port_of(leg.answer(peer.offer("0")))
    leg.start(sink)
    speak(plane, leg, peer, port, key("5"))
    assert sink.digits == []
    leg.close()


def test_the_trunk_may_say_always_and_the_first_event_ends_it(plane: Plane, peer: Peer) -> None:
    leg, sink = plane.leg(policy(inband_digits=InbandDigits.ON)), Sink()
    port = port_of(leg.answer(peer.offer(*EVENTS)))
    leg.start(sink)
    speak(plane, leg, peer, port, key("5"))
    assert sink.digits == ["5"]
    peer.speak(b"\x05\x8a\x01\x40", port, 101)  # the same key, said again as an event
    plane.sockets.drain(plane.now)
    assert sink.digits == ["5"]
    plane.now += 1
    peer.speak(b"\x06\x8a\x01\x40", port, 101)
    plane.sockets.drain(plane.now)
    speak(plane, leg, peer, port, key("6"))
    assert sink.digits == ["5", "6"]
    leg.close()


def test_a_reinvite_without_telephone_events_begins_to_listen(plane: Plane, peer: Peer) -> None:
    leg, sink = plane.leg(policy()), Sink()
    port = port_of(leg.answer(peer.offer(*EVENTS)))
    leg.start(sink)
    leg.answer(peer.offer("0", version=2))
    speak(plane, leg, peer, port, key("9"))
    assert sink.digits == ["9"]
    leg.close()


def test_a_redirected_leg_listens_for_whoever_hears_now(plane: Plane, peer: Peer) -> None:
    leg, first, second = plane.leg(policy()), Sink(), Sink()
    port = port_of(leg.answer(peer.offer("0")))
    leg.start(first)
    leg.redirect(second, input_format=AudioFormat.PCM16_24K)
    speak(plane, leg, peer, port, key("1"))
    assert first.digits == []
    assert second.digits == ["1"]
    leg.close()


def test_tones_are_found_in_wideband_codecs_too(plane: Plane, peer: Peer) -> None:
    from rtp.codec.audio import encoder_of
    from rtp.codec.format import G722

    leg, sink = plane.leg(policy(Codec.G722)), Sink()
    port = port_of(leg.answer(peer.offer("9")))
    leg.start(sink, input_format=AudioFormat.PCM16_24K)
    encoder, resampler = encoder_of(G722), Resampler(8000, 16_000)
    sound = resampler.process(np.concatenate([key(digit) for digit in "159#"]))
    for start in range(0, len(sound) // 320 * 320, 320):
        peer.speak(encoder.encode(sound[start : start + 320]), port, 9)
        plane.sockets.drain(plane.now)
        plane.now += 0.02
    assert "".join(sink.digits) == "159#"
    leg.close()


@pytest.mark.timeout(60)
def test_speech_dials_nothing_and_is_hardly_touched(plane: Plane, peer: Peer) -> None:
    """Talk-off by the leg: no digit, and next to none of the speech taken for the beginning of one."""
    spoken = Resampler(24_000, 8000).process(
        Voice().speak("Please dial nine, one, one, or say who you are; we really were away all year, you know.")
    )
    leg, sink = plane.leg(policy()), Sink()
    port = port_of(leg.answer(peer.offer("0")))
    leg.start(sink)
    speak(plane, leg, peer, port, spoken)
    sent = g711.encode_ulaw(spoken)[: len(sink.heard)]
    changed = sum(
        sent[start : start + 160] != bytes(sink.heard[start : start + 160]) for start in range(0, len(sent), 160)
    )
    assert sink.digits == []
    assert changed * 20 <= 40
    leg.close()
