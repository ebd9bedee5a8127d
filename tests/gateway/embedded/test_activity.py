"""Voice activity with the real detector and real speech."""

import numpy as np
import pytest

from gateway.embedded.activity import ActivityDetector, ActivitySettings, Edge, silero_probability
from gateway.embedded.audio import DetectionResampler, WireFormat
from gateway.embedded.voice import Voice


@pytest.mark.parametrize("wire_format", list(WireFormat))
def test_speech_between_silences_is_found_where_it_is(wire_format: WireFormat) -> None:
    rate_hz = wire_format.rate_hz
    speech = wire_format.decode(wire_format.encode(Voice().speak("What are your opening hours?"), 24_000))
    voiced = np.flatnonzero(np.abs(speech.astype(np.int32)) > 500) * 1000 / rate_hz
    quiet = np.random.default_rng(1).normal(0, 8, rate_hz).astype(np.int16)
    stream = np.concatenate([quiet, speech, quiet])
    detector = ActivityDetector(ActivitySettings(), rate_hz, silero_probability(), origin_ms=0)
    step = rate_hz // 50
    changes = [change for at in range(0, len(stream), step) for change in detector.append(stream[at : at + step])]
    assert [change.edge for change in changes] == [Edge.STARTED, Edge.STOPPED]
    assert changes[0].audio_ms == pytest.approx(1000 + voiced[0] - 300, abs=150)
    assert changes[1].audio_ms == pytest.approx(1000 + voiced[-1] + 500, abs=200)


def test_noise_and_tones_are_no_speech() -> None:
    noise = np.random.default_rng(2).normal(0, 300, 24_000).astype(np.int16)
    tone = (6000 * np.sin(2 * np.pi * 425 * np.arange(24_000) / 8000)).astype(np.int16)
    for sound in (noise, tone):
        detector = ActivityDetector(ActivitySettings(), 8000, silero_probability(), origin_ms=0)
        assert list(detector.append(sound)) == []


def test_silence_does_not_ask_the_model() -> None:
    probability = silero_probability()
    assert probability(np.full(512, 0.001, dtype=np.float32)) == 0.0


@pytest.mark.parametrize("rate_hz", [8000, 24_000])
def test_resampling_in_pieces_is_the_same_as_in_one(rate_hz: int) -> None:
    sound = np.random.default_rng(3).normal(0, 3000, rate_hz // 2).astype(np.int16)
    whole = DetectionResampler(rate_hz).convert(sound)
    resampler = DetectionResampler(rate_hz)
    step = rate_hz // 1000 * 7
    pieces = np.concatenate([resampler.convert(sound[at : at + step]) for at in range(0, len(sound), step)])
    assert len(whole) == pytest.approx(len(sound) * 16_000 / rate_hz, abs=1)
    assert np.allclose(whole, pieces, atol=1e-6)


@pytest.mark.parametrize("rate_hz", [8000, 24_000])
def test_resampling_keeps_a_tone_and_its_level(rate_hz: int) -> None:
    tone = (10_000 * np.sin(2 * np.pi * 1000 * np.arange(rate_hz) / rate_hz)).astype(np.int16)
    converted = DetectionResampler(rate_hz).convert(tone)[100:-100]
    spectrum = np.abs(np.fft.rfft(converted * np.hanning(len(converted))))
    assert np.argmax(spectrum) * 16_000 / len(converted) == pytest.approx(1000, abs=2)
    assert np.sqrt(2) * np.std(converted) == pytest.approx(10_000 / 32768, rel=0.05)
