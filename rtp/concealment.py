"""Concealment of lost G.711 packets by repeating the last pitch periods, after ITU-T G.711 appendix I.

The invented sound keeps the pitch of what was heard, fades to silence within 60 ms, and the first packet after the loss
is blended in over a few milliseconds, so neither end clicks. Unlike appendix I nothing is delayed: what was already
played cannot be blended, so the seam lies inside the repeated period. Samples are decoded only when a loss happens.
"""

from collections.abc import Callable, Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]
Signal = NDArray[np.float32]

_MIN_PITCH_HZ: Final = 66
_MAX_PITCH_HZ: Final = 400
_MATCH_MS: Final = 20
"""The stretch of the past that is compared with itself."""
_FULL_MS: Final = 10
"""Full level for this long, as in appendix I."""
_FADED_MS: Final = 60
"""Silence from here on."""
_MAX_BLEND_MS: Final = 10


class Concealer:
    """Invents samples after a loss. One object serves one stream; `conceal` may be called several times for one gap."""

    def __init__(self, sample_rate_hz: int) -> None:
        self._rate = sample_rate_hz
        self._shortest = sample_rate_hz // _MAX_PITCH_HZ
        self._longest = sample_rate_hz // _MIN_PITCH_HZ
        self._match = sample_rate_hz * _MATCH_MS // 1000
        self._synthetic: Signal | None = None
        self._position = 0
        self._period = 0
        self.history_samples = self._match + self._longest * 2
        """How much of the past `conceal` can use."""

    @property
    def is_concealing(self) -> bool:
        """Whether the next real samples must go through `recover`."""
        return self._synthetic is not None

    @property
    def is_faded(self) -> bool:
        """Whether only silence is left to invent."""
        return self._synthetic is not None and self._position >= len(self._synthetic)

    def reset(self) -> None:
        """Forgets a gap that is not followed by the same signal."""
        self._synthetic = None

    def conceal(self, history: Samples, count: int) -> Samples:
        """The next `count` samples of the gap.

        `history` (what was played before it) is read on the first call of a gap.
        """
        if self._synthetic is None:
            self._synthetic = self._extrapolate(history)
            self._position = 0
        return self._advance(self._synthetic, count).astype(np.int16)

    def recover(self, samples: Samples) -> Samples:
        """Ends the gap: the head of the first real samples, blended with what would have been invented next.

        What follows the returned head (10 ms at most) is to be played as it came.
        """
        synthetic = self._synthetic
        if synthetic is None:
            return samples[:0]
        gap_ms = self._position * 1000 // self._rate
        # Appendix I, I.2.7: a quarter of the pitch period, and 4 ms more for every 10 ms of gap, 10 ms at most.
        blend = self._period // 4 + self._rate * 4 * (gap_ms // 10) // 1000
        blend = min(blend, self._rate * _MAX_BLEND_MS // 1000, len(samples))
        tail = self._advance(synthetic, blend)
        self._synthetic = None
        rise = np.arange(1, blend + 1, dtype=np.float32) / (blend + 1)
        return (samples[:blend] * rise + tail * (1 - rise)).astype(np.int16)

    def _advance(self, synthetic: Signal, count: int) -> Signal:
        piece = synthetic[self._position : self._position + count]
        self._position += count
        if len(piece) == count:
            return piece
        return np.concatenate((piece, np.zeros(count - len(piece), dtype=np.float32)))

    def _extrapolate(self, history: Samples) -> Signal:
        """The whole invented signal of one gap: 60 ms, faded."""
        length = self._rate * _FADED_MS // 1000
        past = np.zeros(self.history_samples, dtype=np.float32)
        usable = history[-self.history_samples :]
        if len(usable):
            past[-len(usable) :] = usable
        self._period = self._pitch(past)
        signal = np.empty(length, dtype=np.float32)
        filled = 0
        # One period for 10 ms, then two in turn: a single one repeated for longer sounds like a buzzer.
        one, two = self._loop(past, self._period), self._loop(past, 2 * self._period)
        while filled < length:
            source = one if filled * 1000 < _FULL_MS * self._rate else two
            piece = source[: length - filled]
            signal[filled : filled + len(piece)] = piece
            filled += len(piece)
        full = self._rate * _FULL_MS // 1000
        signal[full:] *= np.linspace(1.0, 0.0, length - full, dtype=np.float32)
        return signal

    def _loop(self, past: Signal, length: int) -> Signal:
        """The last `length` samples, with an end that leads into their own beginning."""
        loop = past[-length:].copy()
        seam = self._period // 4
        rise = np.arange(1, seam + 1, dtype=np.float32) / (seam + 1)
        loop[-seam:] = loop[-seam:] * (1 - rise) + past[-length - seam : -length] * rise
        return loop

    def _pitch(self, past: Signal) -> int:
        """The lag, in samples, at which the last 20 ms resemble what came before them best."""
        template = past[-self._match :]
        candidates = np.lib.stride_tricks.sliding_window_view(
            past[-self._match - self._longest : -self._shortest], self._match
        )
        energy = np.einsum("ij,ij->i", candidates, candidates)
        likeness = candidates @ template / np.sqrt(np.maximum(energy, 1.0))
        # Windows run from the longest lag to the shortest; of equals the shortest is wanted.
        return self._shortest + int(np.argmax(likeness[::-1]))


class PayloadConcealer:
    """Concealment between payloads of a codec with one sample an octet: decodes the past only when it is needed."""

    def __init__(
        self, sample_rate_hz: int, decode: Callable[[bytes], Samples], encode: Callable[[Samples], bytes]
    ) -> None:
        self._concealer = Concealer(sample_rate_hz)
        self._decode = decode
        self._encode = encode

    @property
    def is_faded(self) -> bool:
        """Whether only silence is left to invent."""
        return self._concealer.is_faded

    def reset(self) -> None:
        """Forgets a gap that is not followed by the same signal."""
        self._concealer.reset()

    def conceal(self, history: Iterable[bytes], octets: int) -> bytes:
        """`octets` octets in place of lost ones. `history`: the payloads played last, oldest first."""
        past = np.empty(0, dtype=np.int16)
        if not self._concealer.is_concealing:
            past = self._decode(b"".join(history)[-self._concealer.history_samples :])
        return self._encode(self._concealer.conceal(past, octets))

    def recover(self, payload: bytes) -> bytes:
        """The first payload after the gap, its head blended and the rest untouched."""
        if not self._concealer.is_concealing:
            return payload
        head = self._encode(self._concealer.recover(self._decode(payload)))
        return head + payload[len(head) :]
