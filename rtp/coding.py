"""Coding: samples as octets without memory from one to the next, so that sound can be cut anywhere.

What waits in a buffer or goes to a mixer is kept in one of these. G.711 stays G.711 until somebody wants samples.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rtp.codec import g711

Samples = NDArray[np.int16]


def _linear_samples(octets: bytes) -> Samples:
    return np.frombuffer(octets, dtype=np.int16)


def _linear_octets(samples: Samples) -> bytes:
    return samples.tobytes()


@dataclass(frozen=True, slots=True)
class Coding:
    """One sample is `octets_per_sample` octets; `silence` is one sample of silence."""

    name: str
    octets_per_sample: int
    silence: bytes
    decode: Callable[[bytes], Samples]
    encode: Callable[[Samples], bytes]

    def silence_of(self, samples: int) -> bytes:
        """`samples` samples of silence."""
        return self.silence * samples


ULAW: Final = Coding("ulaw", 1, b"\xff", g711.decode_ulaw, g711.encode_ulaw)
ALAW: Final = Coding("alaw", 1, b"\xd5", g711.decode_alaw, g711.encode_alaw)
LINEAR: Final = Coding("linear", 2, b"\x00\x00", _linear_samples, _linear_octets)
"""int16 in the machine's own order."""
