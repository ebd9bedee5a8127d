"""Talk-off: speech must never dial. The embedded voice speaks for minutes and the detector must hear no digit."""

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from gateway.embedded.voice import Voice
from rtp.codec import g711
from rtp.codec.resampling import Resampler
from rtp.inband_digit import InbandDigitDetector

TEXTS = (
    "Please dial one, two, three, four, five, six, seven, eight, nine, zero, star, and then the hash key.",
    "We really were away all year, you know, and nearly everyone knew our names. Who are you? Where are you now?",
    "The doctor's surgery is open on Tuesday and Wednesday, from half past eight until a quarter to six.",
    "Her appointment number is seven oh two, nine one one, eight eight six, and the reference is alpha echo India.",
    "Ooh, eerie weather! He heard a wheezing hyena who chewed blue shoes, and she sees three green trees.",
)
SPEEDS = (0.8, 0.9, 1.0, 1.1, 1.25)
"""Played at other speeds the voice is other people: a man's, a child's."""


def voices() -> Iterator[NDArray[np.int16]]:
    voice = Voice()
    for text in TEXTS:
        spoken = voice.speak(text)
        for speed in SPEEDS:
            yield Resampler(round(24_000 * speed), 8000).process(spoken)


@pytest.mark.timeout(120)
def test_minutes_of_speech_contain_no_digit() -> None:
    digits: list[str] = []
    seconds = 0.0
    for samples in voices():
        detector = InbandDigitDetector(8000, lambda digit, duration_ms: digits.append(digit))
        for level in (1.0, 0.25):
            heard = g711.decode_ulaw(g711.encode_ulaw((samples * level).astype(np.int16)))
            for start in range(0, len(heard), 160):
                detector.hear(heard[start : start + 160])
            seconds += len(heard) / 8000
    assert seconds > 240
    assert digits == []
