"""InbandDigitDetector: DTMF as sound, for calls where telephone-event was not negotiated (ITU-T Q.23, limits of Q.24).

Windows of 20 ms, one every 5 ms, are held against the eight frequencies and against their neighbours 4.5 % away: a tone
must be nearer to its own frequency, the pair must be nearly all of the sound, steady within the window, neither tone
much louder than the other. Speech does that for a window now and then, but not for several in a row.
"""

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]
Signal = NDArray[np.float32]

LOW_HZ: Final = (697, 770, 852, 941)
HIGH_HZ: Final = (1209, 1336, 1477, 1633)
DIGITS: Final = ("123A", "456B", "789C", "*0#D")
WINDOW_MS: Final = 20
HOP_MS: Final = 5
_ACCEPTED: Final = (-0.015, 0.0, 0.015)
"""Q.24: a deviation of 1.5 % and 2 Hz is to be accepted."""
_REFUSED: Final = (-0.045, 0.045)
"""Q.24: 3.5 % is to be refused. A tone beyond 3 % is nearer to one of these than to the accepted ones."""
_MIN_TONE_DBM0: Final = -33.0
"""Q.24: AT&T wants -25 dBm a tone accepted, and lines lose some of it; Q.24 wants -55 dBm refused."""
_FULL_SCALE_DBM0: Final = 3.17
"""ITU-T G.711: the largest sine of µ-law; that of A-law is 3.14."""
_MAX_NORMAL_TWIST_DB: Final = 6.0
"""The high tone louder than the low one: Q.24 has 4 (AT&T) to 5 dB (NTT), and concealment bends a little."""
_MAX_REVERSE_TWIST_DB: Final = 9.5
"""The low tone louder than the high one, as long lines make it: AT&T wants 8 dB accepted."""
_MIN_PURITY: Final = 0.82
"""Share of the power that the two tones are: 15 dB of noise leave 0.97."""
_MAX_IMBALANCE: Final = 1.6
"""Between the two halves of the window, in power: a tone that fills less than four fifths of it is more."""
_MIN_WINDOWS: Final = 4
"""A tone of 40 ms fills five windows or six, one of 23 ms (Q.24: to be refused) three at most."""
_MAX_BREAK_WINDOWS: Final = 6
"""A break of 10 ms is no end (AT&T): it spoils the windows of 30 ms."""


class InbandDigitDetector:
    """Listens to one stream of samples.

    Args:
        on_digit: is called when a tone has ended, with its approximate duration in milliseconds.
    """

    def __init__(self, sample_rate_hz: int, on_digit: Callable[[str, int], None]) -> None:
        self._on_digit = on_digit
        self._window = sample_rate_hz * WINDOW_MS // 1000
        self._hop = sample_rate_hz * HOP_MS // 1000
        self._shape = np.hanning(self._window + 2)[1:-1].astype(np.float32)
        self._turns = _turns(self._window, sample_rate_hz) * self._shape[:, None]
        # Of the power of a sine, what its windowed projection measures; and of any sound, what the window leaves.
        self._tone_power = 2.0 / float(self._shape.sum()) ** 2
        self._mean_power = 1.0 / float(self._shape @ self._shape)
        floor_dbfs = _MIN_TONE_DBM0 - _FULL_SCALE_DBM0
        self._min_power = 32768.0**2 / 2 * 10 ** (floor_dbfs / 10)
        self._quiet = float(np.sqrt(2 * self._min_power)) / 2
        self._held: Samples = np.empty(0, dtype=np.int16)
        self._candidate: str | None = None
        self._windows = 0
        self._missed = 0

    @property
    def is_hearing_tone(self) -> bool:
        """Whether a digit is being heard: whoever must not hear it as sound can be given silence."""
        return self._candidate is not None and self._windows >= 2

    def hear(self, samples: Samples) -> None:
        """Takes the next samples, of any number."""
        held = np.concatenate((self._held, samples))
        if self._candidate is None and max(int(held.max(initial=0)), -int(held.min(initial=0))) < self._quiet:
            # Most of a call is silence in one direction: no window of this can hold a tone.
            self._held = held[-self._window :]
            return
        count = (len(held) - self._window) // self._hop + 1
        if count <= 0:
            self._held = held
            return
        windows = np.lib.stride_tricks.sliding_window_view(held, self._window)[: count * self._hop : self._hop]
        for digit in self._digits(windows.astype(np.float32)):
            self._take(digit)
        self._held = held[count * self._hop :]

    def _digits(self, windows: Signal) -> Iterator[str | None]:
        """The digit that each window holds."""
        square = windows * windows
        half = self._window // 2
        halves = square[:, :half].sum(axis=1), square[:, half:].sum(axis=1)
        total = square @ (self._shape * self._shape) * self._mean_power
        loud = total > 2 * self._min_power * (1 - _MIN_PURITY)
        if not loud.any():
            yield from [None] * len(windows)
            return
        projected = windows @ self._turns
        cosine, sine = np.split(projected, 2, axis=1)
        power = ((cosine * cosine + sine * sine) * self._tone_power).reshape(len(windows), 8, -1)
        accepted = power[:, :, : len(_ACCEPTED)].max(axis=2)
        refused = power[:, :, len(_ACCEPTED) :].max(axis=2)
        low, high = accepted[:, :4].argmax(axis=1), accepted[:, 4:].argmax(axis=1)
        for row in range(len(windows)):
            low_power, high_power = float(accepted[row, low[row]]), float(accepted[row, 4 + high[row]])
            is_digit = (
                min(low_power, high_power) >= self._min_power
                and high_power <= low_power * 10 ** (_MAX_NORMAL_TWIST_DB / 10)
                and low_power <= high_power * 10 ** (_MAX_REVERSE_TWIST_DB / 10)
                and low_power + high_power >= _MIN_PURITY * float(total[row])
                and refused[row, low[row]] < low_power
                and refused[row, 4 + high[row]] < high_power
                and max(halves[0][row], halves[1][row]) <= _MAX_IMBALANCE * min(halves[0][row], halves[1][row])
            )
            yield DIGITS[low[row]][high[row]] if is_digit else None

    def _take(self, digit: str | None) -> None:
        """One window's verdict."""
        if digit is not None and digit == self._candidate:
            self._windows += 1 + (self._missed if self._is_confirmed else 0)
            self._missed = 0
        elif self._candidate is None or (digit is not None and not self._is_confirmed):
            self._candidate, self._windows, self._missed = digit, int(digit is not None), 0
        else:
            self._missed += 1
            if digit is not None or not self._is_confirmed or self._missed > _MAX_BREAK_WINDOWS:
                self._end()
                if digit is not None:
                    self._candidate, self._windows = digit, 1

    @property
    def _is_confirmed(self) -> bool:
        return self._windows >= _MIN_WINDOWS

    def _end(self) -> None:
        if self._candidate is not None and self._is_confirmed:
            # The first and the last accepted window are about four fifths full: three fifths of one are added.
            self._on_digit(self._candidate, (self._windows - 1) * HOP_MS + WINDOW_MS * 3 // 5)
        self._candidate, self._windows, self._missed = None, 0, 0


def _turns(window: int, sample_rate_hz: int) -> Signal:
    """Cosines, then sines, of every frequency that is looked at: the tones, each with its deviations."""
    deviations = np.array(_ACCEPTED + _REFUSED)
    hertz = (np.array(LOW_HZ + HIGH_HZ)[:, None] * (1 + deviations)).ravel()
    angle = 2 * np.pi * np.arange(window)[:, None] * hertz / sample_rate_hz
    return np.concatenate((np.cos(angle), np.sin(angle)), axis=1).astype(np.float32)
