"""Resampling by one filter: exact in length, in any pieces, compiled or not."""

import random

import numpy as np
import pytest

from rtp.codec import polyphase
from rtp.codec.polyphase import PolyphaseResampler, Samples, filtered, is_served

RATES = [
    (8000, 16_000),
    (16_000, 8000),
    (24_000, 8000),
    (8000, 24_000),
    (24_000, 16_000),
    (16_000, 24_000),
    (48_000, 8000),
]
BOTH_WAYS = pytest.mark.parametrize(("rate_in", "rate_out"), RATES)


def noise(count: int) -> Samples:
    return np.random.default_rng(count).integers(-32_768, 32_768, count).astype(np.int16)


@BOTH_WAYS
def test_pieces_of_any_size_give_what_the_whole_gives(rate_in: int, rate_out: int) -> None:
    chance, sent = random.Random(rate_in + rate_out), noise(rate_in)
    whole = PolyphaseResampler(rate_in, rate_out).process(sent)
    resampler, pieces, start = PolyphaseResampler(rate_in, rate_out), [], 0
    while start < len(sent):
        size = chance.randrange(0, 500)
        pieces.append(resampler.process(sent[start : start + size]))
        start += size
    assert np.array_equal(np.concatenate(pieces), whole)
    assert len(whole) == rate_out


@BOTH_WAYS
def test_compiled_products_are_those_of_numpy_to_the_bit(
    rate_in: int, rate_out: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The edges of a square overshoot full scale, so that results are clipped too.
    square = np.where(np.arange(rate_in // 10) // (rate_in // 500) % 2, 32_767, -32_768).astype(np.int16)
    sent = np.concatenate((noise(rate_in), square))
    chosen = PolyphaseResampler(rate_in, rate_out).process(sent)
    monkeypatch.setattr(polyphase, "fast_filtered", filtered)
    assert np.array_equal(PolyphaseResampler(rate_in, rate_out).process(sent), chosen)
    assert (chosen.min(), chosen.max()) == (-32_768, 32_767)


@BOTH_WAYS
def test_what_comes_out_is_two_milliseconds_late(rate_in: int, rate_out: int) -> None:
    click = np.zeros(rate_in // 10, dtype=np.int16)
    click[rate_in // 20] = 20_000
    heard = PolyphaseResampler(rate_in, rate_out).process(click)
    late_ms = (int(np.argmax(np.abs(heard))) / rate_out - 0.05) * 1000
    assert 0.5 < late_ms < 2.1
    # Two taps of 8 kHz are the finest that a click can be told to.
    assert late_ms == pytest.approx(16_000 / min(rate_in, rate_out), abs=0.13)


def test_a_constant_stays_what_it_is() -> None:
    for rate_in, rate_out in RATES:
        heard = PolyphaseResampler(rate_in, rate_out).process(np.full(rate_in // 10, 1000, dtype=np.int16))
        assert np.abs(heard[rate_out // 50 :].astype(int) - 1000).max() <= 3


def test_ratios_that_would_need_a_long_filter_are_not_served() -> None:
    assert is_served(8000, 48_000)
    assert not is_served(8000, 44_100)
    assert not is_served(22_050, 8000)


@BOTH_WAYS
@pytest.mark.parametrize("is_compiled", [True, False])
def test_nothing_gives_nothing_and_changes_nothing(
    rate_in: int, rate_out: int, is_compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_compiled:
        monkeypatch.setattr(polyphase, "fast_filtered", filtered)
    sent, resampler = noise(rate_in), PolyphaseResampler(rate_in, rate_out)
    assert len(resampler.process(sent[:0])) == 0
    assert np.array_equal(resampler.process(sent), PolyphaseResampler(rate_in, rate_out).process(sent))
