"""PolyphaseResampler: between rates whose ratio is small, in one pass of products over each piece of a stream.

A windowed sinc of 32 taps for each sample of the lower rate: flat within 0.1 dB to 0.85 of the lower rate's half, below
-60 dB from 1.15 of it, 2 ms late at 8 kHz. Samples and taps are integers, so the compiled products and those of numpy
are the same to the bit. FFmpeg's resampler costs ten times as much for 20 ms, most of it for frames and planes.
"""

from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from rtp.fast import IS_WANTED

Samples = NDArray[np.int16]

MAX_FACTOR: Final = 6
"""Of the terms of the ratio: 8 to 48 kHz. Beyond, the filter grows long and nobody has asked."""
_TAPS: Final = 32
_KAISER_BETA: Final = 6.0
"""Stop band below -60 dB."""
_UNITY: Final = 1 << 14
"""Taps have 14 bits behind the point: one that is 1.0 must fit, and a sum of products stays within 32 bits."""


def is_served(rate_in_hz: int, rate_out_hz: int) -> bool:
    """Whether the ratio of these rates is small enough."""
    ratio = Fraction(rate_out_hz, rate_in_hz)
    return max(ratio.numerator, ratio.denominator) <= MAX_FACTOR


class PolyphaseResampler:
    """A stream of mono int16 samples from one rate to another; `is_served` says which."""

    def __init__(self, rate_in_hz: int, rate_out_hz: int) -> None:
        ratio = Fraction(rate_out_hz, rate_in_hz)
        self._up, self._down = ratio.numerator, ratio.denominator
        self._phases = _phases(self._up, self._down)
        self._past: Samples = np.zeros(self._phases.shape[1] - 1, dtype=np.int16)
        self._offset = 0

    def process(self, samples: Samples) -> Samples:
        """The samples of the same stretch of time, as they were 2 ms ago."""
        up, down, offset = self._up, self._down, self._offset
        whole = np.concatenate((self._past, samples))
        # In steps of the common multiple of both rates: results lie `down` apart, samples `up`.
        reach = len(samples) * up
        count = max(0, -((offset - reach) // down))
        result: Samples = np.empty(count, dtype=np.int16)
        fast_filtered(whole, self._phases, result, offset, down)
        self._offset = offset + count * down - reach
        self._past = whole[len(samples) :]
        return result


@cache
def _phases(up: int, down: int) -> NDArray[np.int16]:
    """The filter of a ratio: a row for each phase, in the order in which its taps meet the samples."""
    factor = max(up, down)
    taps = -(-_TAPS * factor // up)  # of each phase
    length = taps * up
    place = np.arange(length) - (length - 1) / 2 if up == 1 else np.arange(length) - length // 2
    sinc = np.sinc(place / factor) * np.kaiser(length + 1, _KAISER_BETA)[:length]
    rows = sinc.reshape(taps, up).T[:, ::-1]
    # Every phase passes a constant unchanged; without this a tone would ripple at the lower rate.
    rows = rows / rows.sum(axis=1, keepdims=True)
    return np.ascontiguousarray(np.rint(rows * _UNITY).astype(np.int16))


def filtered(samples: Samples, phases: NDArray[np.int16], result: Samples, offset: int, step: int) -> None:
    """Fills `result`: the nth is the product of phase and samples at `offset + n * step`, in steps of all phases."""
    if not len(result):
        return  # there may be fewer samples than taps then
    count, taps = phases.shape
    places = offset + step * np.arange(len(result))
    windows = np.lib.stride_tricks.sliding_window_view(samples, taps)[places // count]
    totals = np.einsum("ij,ij->i", windows.astype(np.int32), phases[places % count].astype(np.int32))
    result[:] = np.clip((totals + _UNITY // 2) >> 14, -32768, 32767)


# Compiled where it could be, as `rtp.fast` has it.
fast_filtered: Callable[[Samples, NDArray[np.int16], Samples, int, int], None] = filtered
if not TYPE_CHECKING and IS_WANTED:
    with suppress(ImportError):
        from rtp.codec._polyphase import filtered as fast_filtered
