"""Comfort noise, RFC 3389: what a far end sends instead of silence, and what is heard for it.

Only the level is followed; the spectrum that the payload may describe is left alone, white noise is close enough to a
quiet room. The noise is drawn once and the same for everybody: it must be dull, not unpredictable.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]

_TABLE_SAMPLES: Final = 8192
_FULL_SCALE: Final = 32768.0
_SILENT_BELOW_DBOV: Final = 78
"""Quieter than the smallest step of G.711."""
_LOUDEST_DBOV: Final = 26
"""The nominal level of speech: what claims to be a louder silence is a fault, or meant to deafen somebody."""
_NOISE: Final[NDArray[np.float64]] = np.random.default_rng(3389).standard_normal(_TABLE_SAMPLES)


def noise_level(payload: bytes) -> int | None:
    """The level in dB below overload (section 3: the first octet's low seven bits); None for an empty payload."""
    return payload[0] & 0x7F if payload else None


class ComfortNoise:
    """Noise of one stream, in its own format."""

    def __init__(self, encode: Callable[[Samples], bytes]) -> None:
        self._encode = encode
        self._position = 0

    def frame(self, samples: int, level_dbov: int) -> bytes:
        """The next samples of noise at `level_dbov` below full scale, encoded."""
        if level_dbov > _SILENT_BELOW_DBOV:
            return self._encode(np.zeros(samples, dtype=np.int16))
        amplitude = _FULL_SCALE * 10 ** (-max(level_dbov, _LOUDEST_DBOV) / 20)
        index = np.arange(self._position, self._position + samples) % _TABLE_SAMPLES
        self._position = (self._position + samples) % _TABLE_SAMPLES
        return self._encode(np.clip(_NOISE[index] * amplitude, -32768, 32767).astype(np.int16))
