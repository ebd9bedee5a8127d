"""Limiter: keeps sums of many voices within 16 bits, smoothly.

The gain falls within 2 ms when a frame would be too loud and recovers over a third of a second; what is still above the
knee meanwhile is bent and not cut. Sums that stay below the knee pass as they are, to the last bit.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

Signal = NDArray[np.float32]
Samples = NDArray[np.int16]

KNEE: Final = 26000.0
"""-2 dBFS. Below it nothing is changed."""
_CEILING: Final = 32767.0
_ATTACK_MS: Final = 2
_RECOVERY: Final = 0.15
"""Of what is missing to full gain, regained with each frame."""


class Limiter:
    """One for a set of listeners, a row each."""

    def __init__(self, sample_rate_hz: int) -> None:
        self._attack = sample_rate_hz * _ATTACK_MS // 1000
        self._gain: Signal = np.ones(0, dtype=np.float32)
        self._names: tuple[str, ...] = ()

    def serve(self, names: Sequence[str]) -> None:
        """The rows of `process` are these listeners from now on. Those that stay keep their gain."""
        gains = dict(zip(self._names, self._gain, strict=True))
        self._gain = np.array([gains.get(name, 1.0) for name in names], dtype=np.float32)
        self._names = tuple(names)

    def process(self, sums: Signal) -> Samples:
        """Samples that fit. `sums` may be changed."""
        peak = np.abs(sums).max(axis=1, initial=0.0)
        wanted = np.minimum(1.0, KNEE / np.maximum(peak, 1.0))
        before = self._gain
        if wanted.min(initial=1.0) >= 1.0 and before.min(initial=1.0) >= 1.0:
            return np.rint(sums, out=sums).astype(np.int16)
        recovered = before + (1 - before) * _RECOVERY
        recovered[recovered > 0.999] = 1.0
        self._gain = gain = np.minimum(wanted, recovered).astype(np.float32)
        ramp = np.linspace(0.0, 1.0, self._attack, dtype=np.float32)
        sums[:, : self._attack] *= before[:, None] + (gain - before)[:, None] * ramp
        sums[:, self._attack :] *= gain[:, None]
        return np.rint(bent(sums)).astype(np.int16)


def bent(sums: Signal) -> Signal:
    """What is above the knee, bent so that it approaches full scale and never passes it."""
    magnitude = np.abs(sums)
    above = magnitude > KNEE
    if above.any():
        room = _CEILING - KNEE
        sums[above] = np.sign(sums[above]) * (KNEE + room * np.tanh((magnitude[above] - KNEE) / room))
    return sums
