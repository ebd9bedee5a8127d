"""In-band DTMF against the limits of ITU-T Q.24, as G.711 carries it."""

import numpy as np
import pytest
from numpy.typing import NDArray

from rtp.codec import g711
from rtp.inband_digit import DIGITS, HIGH_HZ, LOW_HZ, InbandDigitDetector

RATE = 8000
ALL = "".join(DIGITS)


def amplitude(dbm0: float) -> float:
    return 32767 * 10 ** ((dbm0 - 3.17) / 20)


def silence(milliseconds: float) -> NDArray[np.float64]:
    return np.zeros(int(RATE * milliseconds / 1000))


def digit(
    key: str,
    milliseconds: float,
    *,
    low_dbm0: float = -10,
    high_dbm0: float = -10,
    deviation: float = 0,
    phase: float = 0,
) -> NDArray[np.float64]:
    row = next(row for row in range(4) if key in DIGITS[row])
    low, high = LOW_HZ[row] * (1 + deviation), HIGH_HZ[DIGITS[row].index(key)] * (1 + deviation)
    time = np.arange(int(RATE * milliseconds / 1000)) / RATE
    return amplitude(low_dbm0) * np.sin(2 * np.pi * low * time + phase) + amplitude(high_dbm0) * np.sin(
        2 * np.pi * high * time
    )


def detected(*parts: NDArray[np.float64], noise: float = 0, seed: int = 1, piece: int = 160) -> list[tuple[str, int]]:
    sound = np.concatenate((*parts, silence(100)))
    sound = sound + np.random.default_rng(seed).normal(0, noise, len(sound))
    heard = g711.decode_ulaw(g711.encode_ulaw(np.clip(sound, -32768, 32767).astype(np.int16)))
    result: list[tuple[str, int]] = []
    detector = InbandDigitDetector(RATE, lambda key, duration_ms: result.append((key, duration_ms)))
    for start in range(0, len(heard), piece):
        detector.hear(heard[start : start + piece])
    return result


def keys(*parts: NDArray[np.float64], noise: float = 0, seed: int = 1) -> str:
    return "".join(key for key, _ in detected(*parts, noise=noise, seed=seed))


def dialled(number: str, tone_ms: float = 40, pause_ms: float = 40, lead_ms: float = 13, **how: float) -> str:
    parts = [silence(lead_ms)]
    for key in number:
        parts += [digit(key, tone_ms, **how), silence(pause_ms)]
    return keys(*parts)


@pytest.mark.parametrize("lead_ms", [0, 1.25, 2.5, 3.75, 7, 11])
def test_every_digit_of_40_ms_with_pauses_of_40_ms_is_detected__q24(lead_ms: float) -> None:
    assert dialled(ALL, lead_ms=lead_ms) == ALL


@pytest.mark.parametrize("lead_ms", [0, 1.25, 2.5, 3.75, 5, 8])
def test_a_tone_of_23_ms_is_no_digit__q24(lead_ms: float) -> None:
    assert dialled(ALL, tone_ms=23, lead_ms=lead_ms) == ""


@pytest.mark.parametrize("dbm0", [0, -3, -10, -20, -25, -29])
def test_levels_of_0_to_minus_29_dbm_are_digits(dbm0: float) -> None:
    assert dialled(ALL, tone_ms=50, low_dbm0=dbm0 - 3, high_dbm0=dbm0 - 3) == ALL


def test_minus_55_dbm_is_no_digit__q24() -> None:
    assert dialled(ALL, tone_ms=100, low_dbm0=-55, high_dbm0=-55) == ""


@pytest.mark.parametrize(("low_dbm0", "high_dbm0"), [(-10, -6), (-10, -18)])
def test_twist_of_4_db_and_of_8_db_reversed_is_accepted(low_dbm0: float, high_dbm0: float) -> None:
    assert dialled(ALL, tone_ms=50, low_dbm0=low_dbm0, high_dbm0=high_dbm0) == ALL


@pytest.mark.parametrize(("low_dbm0", "high_dbm0"), [(-20, -8), (-8, -20)])
def test_twist_of_12_db_is_refused(low_dbm0: float, high_dbm0: float) -> None:
    assert dialled(ALL, tone_ms=100, low_dbm0=low_dbm0, high_dbm0=high_dbm0) == ""


@pytest.mark.parametrize("deviation", [-0.015, 0.015])
def test_a_deviation_of_one_and_a_half_percent_is_accepted__q24(deviation: float) -> None:
    assert dialled(ALL, tone_ms=50, deviation=deviation) == ALL


@pytest.mark.parametrize("deviation", [-0.035, 0.035])
def test_a_deviation_of_three_and_a_half_percent_is_refused__q24(deviation: float) -> None:
    assert dialled(ALL, tone_ms=100, deviation=deviation) == ""


def test_a_break_of_10_ms_does_not_make_two_digits() -> None:
    assert keys(silence(30), digit("5", 60), silence(10), digit("5", 60)) == "5"


def test_two_presses_of_a_key_are_two_digits() -> None:
    assert keys(silence(30), digit("5", 60), silence(40), digit("5", 60)) == "55"


def test_digits_without_a_pause_are_told_apart() -> None:
    assert keys(digit("1", 80), digit("2", 80), digit("3", 80)) == "123"


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_noise_15_db_below_the_digits_is_borne(seed: int) -> None:
    noise = amplitude(-7) / np.sqrt(2) * 10 ** (-15 / 20)
    parts = [part for key in ALL for part in (digit(key, 60), silence(60))]
    assert keys(*parts, noise=float(noise), seed=seed) == ALL


def test_noise_and_single_tones_are_no_digits() -> None:
    assert keys(silence(60_000), noise=3000) == ""
    for hertz in (*LOW_HZ, *HIGH_HZ, 350, 440, 480, 620, 1100, 2100):
        time = np.arange(RATE) / RATE
        assert keys(8000 * np.sin(2 * np.pi * hertz * time)) == "", hertz


def test_dial_tone_ringing_and_busy_are_no_digits() -> None:
    time = np.arange(RATE * 2) / RATE
    for low, high in ((350, 440), (440, 480), (480, 620), (400, 450), (425, 425)):
        assert keys(5000 * np.sin(2 * np.pi * low * time) + 5000 * np.sin(2 * np.pi * high * time)) == ""


@pytest.mark.parametrize("milliseconds", [50, 100, 500, 3000])
def test_the_duration_is_told_within_15_ms(milliseconds: int) -> None:
    [(key, duration_ms)] = detected(silence(33), digit("#", milliseconds))
    assert key == "#"
    assert abs(duration_ms - milliseconds) <= 15


@pytest.mark.parametrize("piece", [1, 37, 80, 1000])
def test_samples_may_come_in_pieces_of_any_size(piece: int) -> None:
    parts = [part for key in "159D" for part in (digit(key, 50), silence(50))]
    assert "".join(key for key, _ in detected(*parts, piece=piece)) == "159D"


def test_it_says_while_a_tone_is_heard() -> None:
    detector = InbandDigitDetector(RATE, lambda key, duration_ms: None)
    detector.hear(digit("7", 60).astype(np.int16))
    assert detector.is_hearing_tone
    detector.hear(silence(100).astype(np.int16))
    assert not detector.is_hearing_tone


def test_sixteen_kilohertz_serves_as_well() -> None:
    time = np.arange(1600) / 16000
    sound = 5000 * (np.sin(2 * np.pi * 852 * time) + np.sin(2 * np.pi * 1477 * time))
    result: list[str] = []
    detector = InbandDigitDetector(16000, lambda key, duration_ms: result.append(key))
    detector.hear(np.concatenate((sound, np.zeros(1600))).astype(np.int16))
    assert result == ["9"]
