"""Payloads of one codec as those of another: the same sound, of the same length, in packets that fit."""

from itertools import permutations
from typing import Final

import numpy as np
import pytest

from rtp.codec.audio import decoder_of, encoder_of
from rtp.codec.format import G722, L16_8K, L16_16K, OPUS, PCMA, PCMU, PayloadFormat
from rtp.codec.transcoder import Transcoder
from tests.helpers.leg import loudest_hertz, tone

FORMATS: Final = (PCMU, PCMA, G722, L16_8K, L16_16K, OPUS)
LENGTH_MS: Final = 1200


@pytest.mark.parametrize("packet_ms", [10, 20, 40, 60])
@pytest.mark.parametrize(("before", "after"), list(permutations(FORMATS, 2)))
def test_a_tone_stays_what_it_is_and_as_long_as_it_is(
    before: PayloadFormat, after: PayloadFormat, packet_ms: int
) -> None:
    transcoder, encoder, decoder = Transcoder(before, after, 20), encoder_of(before, packet_ms), decoder_of(after)
    size = encoder.sample_rate_hz * packet_ms // 1000
    sound = tone(LENGTH_MS, encoder.sample_rate_hz, 1000)
    packets = [
        packet
        for start in range(0, len(sound), size)
        for packet in transcoder.convert(encoder.encode(sound[start : start + size]))
    ]
    heard = np.concatenate([decoder.decode(packet) for packet in packets])
    assert len(heard) == LENGTH_MS * decoder.sample_rate_hz // 1000
    assert loudest_hertz(heard, decoder.sample_rate_hz) == pytest.approx(1000, abs=2)
    middle = heard[len(heard) // 4 : -len(heard) // 4].astype(np.float64)
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(8000 / np.sqrt(2), rel=0.05)
    if after == OPUS:
        assert {OPUS.samples(packet) for packet in packets} == {960}


@pytest.mark.parametrize("after", [G722, OPUS])
def test_what_fills_no_packet_waits_for_the_next(after: PayloadFormat) -> None:
    """15 ms at a time: blocks of 10 ms, packets of 20 ms."""
    transcoder = Transcoder(L16_16K, after, 20)
    lasted_ms = []
    for _ in range(4):
        packets = transcoder.convert(bytes(480))
        lasted_ms.append([after.samples(packet) * 1000 // after.clock_rate_hz for packet in packets])
    assert lasted_ms == ([[10], [20], [10], [20]] if after == G722 else [[], [20], [20], [20]])


@pytest.mark.parametrize("after", [PCMU, PCMA, G722, L16_8K, OPUS])
def test_half_a_sample_is_nothing(after: PayloadFormat) -> None:
    assert Transcoder(L16_16K, after, 20).convert(b"\x7f") == []
