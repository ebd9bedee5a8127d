"""Codecs by ear: what goes in comes out, and nonsense raises nothing."""

import math
import random

import numpy as np
import pytest
from numpy.typing import NDArray

from rtp.codec.audio import decoder_of, encoder_of
from rtp.codec.format import G722, L16_8K, L16_16K, OPUS, PCMA, PCMU, PayloadFormat, opus_samples
from rtp.codec.resampling import Resampler
from rtp.packet import RtpPacket
from rtp.parameters import StreamParameters
from tests.helpers.rtp_peer import FAR_END, TICK_S, RecordingSink, make_stream

Samples = NDArray[np.int16]
FORMATS = [PCMU, PCMA, L16_8K, L16_16K, G722, OPUS]


def tone(rate: int, hertz: float, seconds: float, amplitude: float = 8000) -> Samples:
    return (amplitude * np.sin(2 * math.pi * hertz * np.arange(int(rate * seconds)) / rate)).astype(np.int16)


def level(samples: Samples) -> float:
    return float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))


def share_at(samples: Samples, rate: int, hertz: float) -> float:
    """How much of the power lies within 40 Hz of a frequency."""
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    near = np.abs(np.fft.rfftfreq(len(samples), 1 / rate) - hertz) < 40
    return float(power[near].sum() / power.sum())


@pytest.mark.parametrize("payload_format", FORMATS, ids=lambda value: f"{value.name}-{value.clock_rate_hz}")
def test_a_tone_survives_the_codec(payload_format: PayloadFormat) -> None:
    encoder, decoder = encoder_of(payload_format), decoder_of(payload_format)
    frame = encoder.sample_rate_hz // 50
    sent = tone(encoder.sample_rate_hz, 440, 1.0)
    heard = []
    for start in range(0, len(sent), frame):
        payload = encoder.encode(sent[start : start + frame])
        assert (payload_format.samples(payload) or 0) == payload_format.clock_rate_hz // 50
        heard.append(decoder.decode(payload))
    assert {len(samples) for samples in heard[1:]} == {decoder.sample_rate_hz // 50}
    settled = np.concatenate(heard[10:])
    assert share_at(settled, decoder.sample_rate_hz, 440) > 0.98
    assert level(settled) == pytest.approx(level(sent), rel=0.1)


@pytest.mark.parametrize("payload_format", [PCMU, PCMA, L16_8K, L16_16K, G722])
def test_silence_octets_decode_to_silence(payload_format: PayloadFormat) -> None:
    decoder = decoder_of(payload_format)
    decoder.decode(encoder_of(payload_format).encode(tone(decoder.sample_rate_hz, 300, 0.02)))
    silence = payload_format.silence_of(payload_format.frame_octets(20))
    decoder.decode(silence)
    assert np.max(np.abs(decoder.decode(silence))) <= 32


@pytest.mark.parametrize("payload_format", FORMATS, ids=lambda value: f"{value.name}-{value.clock_rate_hz}")
def test_nonsense_raises_nothing(payload_format: PayloadFormat) -> None:
    chance, decoder = random.Random(3), decoder_of(payload_format)
    for _ in range(200):
        decoder.decode(chance.randbytes(chance.randrange(1, 200)))


@pytest.mark.parametrize("payload_format", FORMATS, ids=lambda value: f"{value.name}-{value.clock_rate_hz}")
def test_lost_frames_are_concealed_and_fade(payload_format: PayloadFormat) -> None:
    encoder, decoder = encoder_of(payload_format), decoder_of(payload_format)
    frame, rate = encoder.sample_rate_hz // 50, decoder.sample_rate_hz
    sent = tone(encoder.sample_rate_hz, 200, 0.4)
    for start in range(0, len(sent), frame):
        decoder.decode(encoder.encode(sent[start : start + frame]))
    levels = [level(decoder.conceal(rate // 50)) for _ in range(5)]
    assert levels[0] > 0.7 * level(sent)
    assert levels[3:] == [0.0, 0.0]
    back = decoder.decode(encoder.encode(sent[:frame]))
    assert len(back) == rate // 50


def test_opus_packets_tell_their_duration__rfc6716_3_1() -> None:
    for ptime_ms in (10, 20, 40, 60):
        encoder = encoder_of(OPUS, ptime_ms)
        payload = encoder.encode(tone(24_000, 300, ptime_ms / 1000))
        assert opus_samples(payload) == 48 * ptime_ms
    assert opus_samples(b"") == 0
    assert opus_samples(b"\xff") == 0
    assert opus_samples(b"\xff\xff") == 0
    assert opus_samples(bytes([0b11111_011, 3])) == 3 * 960
    assert opus_samples(bytes([0b01100_001])) == 2 * 480
    assert opus_samples(bytes([0b10000_000])) == 120


def test_opus_is_encoded_when_it_is_sent_and_heard_over_a_stream() -> None:
    parameters = StreamParameters(OPUS, 107, 107, remote=FAR_END)
    here, there = RecordingSink(), RecordingSink()
    speaker, listener = make_stream(here, parameters), make_stream(there, parameters)
    speaker.playout.enqueue("a", tone(24_000, 440, 1.0).tobytes())
    for turn in range(60):
        packet = speaker.tick(turn * TICK_S)
        assert packet is not None
        assert RtpPacket.parse(packet).timestamp == 8000 + turn * 960
        if turn != 30:
            listener.receive_datagram(packet, FAR_END, turn * TICK_S)
    assert speaker.playout.sent_ms("a") == 1000
    assert {len(frame) for frame, _ in here.sent} == {960}
    # The lost packet is an empty payload: the decoder conceals it.
    assert [payload for payload, concealed in there.audio if concealed] == [b""]
    decoder = decoder_of(OPUS)
    heard = [decoder.decode(payload) if payload else decoder.conceal(960) for payload, _ in there.audio]
    assert share_at(np.concatenate(heard[5:28]), 48_000, 440) > 0.98
    assert level(np.concatenate(heard[55:])) < 0.02 * level(np.concatenate(heard[5:28]))


@pytest.mark.parametrize(("rate_in", "rate_out"), [(8000, 16_000), (8000, 24_000), (24_000, 8000), (16_000, 8000)])
def test_resampling_keeps_the_telephone_band_flat_within_1_db(rate_in: int, rate_out: int) -> None:
    for hertz in (300, 1000, 2000, 3000, 3400):
        resampler = Resampler(rate_in, rate_out)
        sent = tone(rate_in, hertz, 1.0)
        frame = rate_in // 50
        heard = np.concatenate([resampler.process(sent[start : start + frame]) for start in range(0, len(sent), frame)])
        settled = heard[rate_out // 10 : -rate_out // 10]
        assert abs(20 * math.log10(level(settled) / level(sent))) < 1.0
        assert len(heard) >= rate_out - rate_out * 0.005


@pytest.mark.parametrize(("rate_in", "rate_out"), [(24_000, 8000), (16_000, 8000), (48_000, 8000)])
def test_resampling_keeps_aliases_50_db_down(rate_in: int, rate_out: int) -> None:
    for hertz in (5000, 6000, 7000):
        resampler = Resampler(rate_in, rate_out)
        sent = tone(rate_in, hertz, 1.0)
        heard = np.concatenate([resampler.process(part) for part in np.array_split(sent, 50)])
        settled = heard[rate_out // 10 : -rate_out // 10]
        assert 20 * math.log10(max(level(settled), 1e-3) / level(sent)) < -50


def test_equal_rates_pass_untouched() -> None:
    samples = tone(8000, 300, 0.02)
    assert Resampler(8000, 8000).process(samples) is samples
