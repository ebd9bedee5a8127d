"""The mixer's own way between 8 and 16 kHz: tones through it."""

import numpy as np
import pytest
from numpy.typing import NDArray

from rtp.rate_doubling import RateDoubler, RateHalver

FRAME = 160


def tone(hertz: float, rate_hz: int, seconds: float = 1.0) -> NDArray[np.float32]:
    return (10000 * np.sin(2 * np.pi * hertz * np.arange(int(rate_hz * seconds)) / rate_hz)).astype(np.float32)


def through(convert: RateDoubler | RateHalver, sound: NDArray[np.float32], frame: int) -> NDArray[np.float32]:
    convert.serve(["leg"])
    pieces = [convert.process(sound[None, start : start + frame])[0] for start in range(0, len(sound), frame)]
    return np.concatenate(pieces)


def level_db(sound: NDArray[np.float32], hertz: float, rate_hz: int) -> float:
    """Of one component, against the tone that was put in, after the filter has settled."""
    settled = sound[rate_hz // 10 :]
    window = np.hanning(len(settled))
    turn = np.exp(-2j * np.pi * hertz * np.arange(len(settled)) / rate_hz)
    amplitude = 2 * abs(np.sum(settled * window * turn)) / np.sum(window)
    return float(20 * np.log10(max(amplitude, 1e-9) / 10000))


@pytest.mark.parametrize("hertz", [300, 1000, 2000, 3000, 3400])
def test_the_telephone_band_is_flat_within_a_tenth_of_a_decibel_both_ways(hertz: float) -> None:
    assert abs(level_db(through(RateDoubler(FRAME), tone(hertz, 8000), 160), hertz, 16000)) < 0.1
    assert abs(level_db(through(RateHalver(FRAME), tone(hertz, 16000), 320), hertz, 8000)) < 0.1


@pytest.mark.parametrize("hertz", [300, 1000, 2000, 3000, 3400])
def test_images_of_the_band_are_below_60_db(hertz: float) -> None:
    assert level_db(through(RateDoubler(FRAME), tone(hertz, 8000), 160), 8000 - hertz, 16000) < -60


@pytest.mark.parametrize("hertz", [4600, 5000, 6000, 7700])
def test_aliases_are_below_60_db(hertz: float) -> None:
    assert level_db(through(RateHalver(FRAME), tone(hertz, 16000), 320), 8000 - hertz, 8000) < -60


def test_streams_that_stay_keep_their_past_when_others_come_and_go() -> None:
    sound = tone(440, 8000, 0.2)
    alone = through(RateDoubler(FRAME), sound, FRAME)
    convert = RateDoubler(FRAME)
    convert.serve(["a"])
    pieces = [convert.process(sound[None, :160])[0]]
    convert.serve(["b", "a"])
    pieces.append(convert.process(np.stack((np.zeros(160, dtype=np.float32), sound[160:320])))[1])
    convert.serve(["a"])
    pieces.append(convert.process(sound[None, 320:480])[0])
    assert np.allclose(np.concatenate(pieces), alone[:960], atol=0.01)
