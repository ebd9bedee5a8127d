"""Audio on the wire of a Realtime session: its formats, and the way to and from samples."""

from enum import Enum
from typing import Final

import numpy as np
import soxr
from numpy.typing import NDArray

from rtp.codec.g711 import decode_alaw, decode_ulaw, encode_alaw, encode_ulaw

Samples = NDArray[np.int16]

DETECTION_RATE_HZ: Final = 16_000
# Taps of the interpolation filter; at 8 kHz it delays speech detection by 1 ms.
_TAPS: Final = 33


class WireFormat(Enum):
    """The three formats of the protocol, each by the type that `session.audio.*.format` names."""

    PCMU = "audio/pcmu"
    PCMA = "audio/pcma"
    PCM = "audio/pcm"

    @property
    def rate_hz(self) -> int:
        """Samples a second: 24,000 for PCM, 8,000 for G.711."""
        return 24_000 if self is WireFormat.PCM else 8_000

    @property
    def bytes_per_ms(self) -> int:
        """PCM has 16-bit little-endian samples, G.711 one byte a sample."""
        return 48 if self is WireFormat.PCM else 8

    def duration_ms(self, size: int) -> int:
        """Whole milliseconds in so many bytes."""
        return size // self.bytes_per_ms

    def decode(self, payload: bytes) -> Samples:
        """Samples at `rate_hz`. An odd last byte of PCM is dropped."""
        match self:
            case WireFormat.PCMU:
                return decode_ulaw(payload)
            case WireFormat.PCMA:
                return decode_alaw(payload)
            case WireFormat.PCM:
                return np.frombuffer(payload[: len(payload) & ~1], dtype="<i2").astype(np.int16)

    def encode(self, samples: Samples, rate_hz: int) -> bytes:
        """Samples of any rate as bytes of this format, rounded up to whole milliseconds with silence."""
        if rate_hz != self.rate_hz:
            samples = resample(samples, rate_hz, self.rate_hz)
        per_ms = self.rate_hz // 1000
        samples = np.concatenate([samples, np.zeros(-len(samples) % per_ms, dtype=np.int16)])
        match self:
            case WireFormat.PCMU:
                return encode_ulaw(samples)
            case WireFormat.PCMA:
                return encode_alaw(samples)
            case WireFormat.PCM:
                return samples.astype("<i2").tobytes()


def resample(samples: Samples, from_hz: int, to_hz: int) -> Samples:
    """A whole utterance at another rate. Time does not press here, so the quality is soxr's best."""
    converted = np.asarray(soxr.resample(samples.astype(np.float32), from_hz, to_hz), dtype=np.float32)
    return np.clip(np.rint(converted), -32768, 32767).astype(np.int16)


class DetectionResampler:
    """A stream of samples at 8 or 24 kHz, piece by piece, as floats (-1 to 1) at the 16 kHz that detection needs.

    One low-pass filter on the doubled rate, then every third sample where the stream came at 24 kHz.
    """

    def __init__(self, rate_hz: int) -> None:
        self._step = 1 if rate_hz * 2 == DETECTION_RATE_HZ else 3
        cutoff = 0.25 if self._step == 1 else 1 / 6
        n = np.arange(_TAPS) - (_TAPS - 1) / 2
        taps = np.sinc(2 * cutoff * n) * np.hamming(_TAPS)
        self._filter = (2 * taps / taps.sum() / 32768).astype(np.float32)
        self._tail = np.zeros(_TAPS - 1, dtype=np.float32)
        self._phase = 0

    def convert(self, samples: Samples) -> NDArray[np.float32]:
        """What can be given out after these samples; over time two, or two thirds, for each that came in."""
        doubled = np.zeros(_TAPS - 1 + 2 * len(samples), dtype=np.float32)
        doubled[: _TAPS - 1] = self._tail
        doubled[_TAPS - 1 :: 2] = samples
        self._tail = doubled[-(_TAPS - 1) :]
        smooth = np.convolve(doubled, self._filter, mode="valid")
        kept = smooth[self._phase :: self._step]
        self._phase = (self._phase - len(smooth)) % self._step
        return kept.astype(np.float32)
