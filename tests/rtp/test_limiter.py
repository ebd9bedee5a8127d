"""The limiter: nothing is changed below the knee, nothing is cut above it."""

import numpy as np

from rtp.limiter import KNEE, Limiter


def serving(count: int = 1) -> Limiter:
    limiter = Limiter(8000)
    limiter.serve([str(number) for number in range(count)])
    return limiter


def test_what_fits_passes_to_the_last_bit() -> None:
    sums = np.random.default_rng(1).integers(-int(KNEE), int(KNEE), (3, 160)).astype(np.float32)
    assert np.array_equal(serving(3).process(sums.copy()), sums.astype(np.int16))


def test_eight_full_voices_fit_without_flat_tops() -> None:
    limiter = serving()
    time = np.arange(1600) / 8000
    sums = (8 * 30000 * np.sin(2 * np.pi * 200 * time)).astype(np.float32)
    heard = np.concatenate([limiter.process(sums[None, start : start + 160])[0] for start in range(0, 1600, 160)])
    # The first 2 ms are bent while the gain falls; then the tone is a tone again, at the knee.
    settled = heard[160:].astype(np.float64)
    assert np.abs(settled).max() <= KNEE + 1
    shape = np.sin(2 * np.pi * 200 * time[160:])
    error = settled - shape * (settled @ shape) / (shape @ shape)
    assert np.sqrt(np.mean(error**2)) < 0.001 * np.sqrt(np.mean(settled**2))
    assert np.max(np.abs(heard.astype(np.int32))) <= 32767


def test_the_gain_comes_back_within_half_a_second_and_reaches_unity() -> None:
    limiter = serving()
    limiter.process(np.full((1, 160), 100000.0, dtype=np.float32))
    levels = [int(limiter.process(np.full((1, 160), 1000.0, dtype=np.float32))[0, -1]) for _ in range(60)]
    assert levels == sorted(levels)
    assert levels[25] > 950
    assert levels[-1] == 1000


def test_one_loud_conference_does_not_turn_down_another_listener() -> None:
    limiter = serving(2)
    sums = np.stack((np.full(160, 90000.0), np.full(160, 5000.0))).astype(np.float32)
    assert np.all(limiter.process(sums)[1] == 5000)
