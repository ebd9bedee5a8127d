"""Concealment of losses in G.711."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from rtp.codec import g711
from rtp.concealment import Concealer, PayloadConcealer

RATE = 8000


def tone(hertz: float, milliseconds: int, amplitude: float = 8000) -> NDArray[np.int16]:
    time = np.arange(RATE * milliseconds // 1000) / RATE
    return (amplitude * np.sin(2 * math.pi * hertz * time)).astype(np.int16)


def level(samples: NDArray[np.int16]) -> float:
    return float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))


@pytest.mark.parametrize("hertz", [80, 100, 125, 200, 250, 320])
def test_a_tone_goes_on_with_its_own_pitch(hertz: int) -> None:
    whole = tone(hertz, 120)
    invented = Concealer(RATE).conceal(whole[: 100 * 8], 10 * 8)
    error = level((invented - whole[800:880]).astype(np.int16)) / level(whole)
    assert error < 0.35


def test_the_seam_makes_no_click() -> None:
    whole = tone(150, 100)
    invented = Concealer(RATE).conceal(whole, 160)
    largest_step = np.max(np.abs(np.diff(whole.astype(np.int32))))
    joined = np.concatenate((whole, invented)).astype(np.int32)
    assert np.max(np.abs(np.diff(joined))) <= 1.5 * largest_step


def test_the_sound_fades_to_silence_within_60_ms() -> None:
    concealer = Concealer(RATE)
    levels = [level(concealer.conceal(tone(200, 100), 80)) for _ in range(8)]
    assert levels[0] > 0.9 * level(tone(200, 100))
    assert levels == sorted(levels, reverse=True)
    assert levels[6:] == [0.0, 0.0]
    assert concealer.is_faded


def test_the_return_is_blended_and_makes_no_click() -> None:
    concealer = Concealer(RATE)
    whole = tone(200, 200)
    invented = concealer.conceal(whole[:800], 320)
    real = whole[1120:1280]
    head = concealer.recover(real)
    assert 0 < len(head) <= 80
    joined = np.concatenate((invented, head, real[len(head) :])).astype(np.int32)
    assert np.max(np.abs(np.diff(joined))) <= 1.5 * np.max(np.abs(np.diff(whole.astype(np.int32))))
    assert not concealer.is_concealing
    assert len(concealer.recover(real)) == 0


@pytest.mark.parametrize("length", [0, 1, 30, 160])
def test_little_or_no_past_is_no_fault(length: int) -> None:
    invented = Concealer(RATE).conceal(tone(200, 100)[:length], 160)
    assert invented.shape == (160,)


@pytest.mark.parametrize("value", [0, 32767, -32768])
def test_constant_signals_neither_overflow_nor_warn(value: int) -> None:
    concealer = Concealer(RATE)
    invented = concealer.conceal(np.full(480, value, dtype=np.int16), 480)
    assert abs(int(invented[0])) <= 32768
    concealer.recover(np.full(160, value, dtype=np.int16))


def test_payloads_are_concealed_in_their_own_law() -> None:
    concealer = PayloadConcealer(RATE, g711.decode_alaw, g711.encode_alaw)
    past = g711.encode_alaw(tone(200, 60))
    history = [past[index : index + 160] for index in range(0, 480, 160)]
    invented = concealer.conceal(history, 160)
    assert level(g711.decode_alaw(invented)) > 0.7 * level(tone(200, 60))
    after = g711.encode_alaw(tone(200, 20))
    recovered = concealer.recover(after)
    assert recovered != after
    assert recovered[80:] == after[80:]
    assert concealer.recover(after) is after


def test_reset_forgets_the_gap() -> None:
    concealer = PayloadConcealer(RATE, g711.decode_ulaw, g711.encode_ulaw)
    concealer.conceal([b"\x10" * 160], 160)
    concealer.reset()
    assert concealer.recover(b"\x01" * 160) == b"\x01" * 160
    assert not concealer.is_faded
