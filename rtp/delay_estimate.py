"""DelayEstimate: how late frames come, and how long it pays to wait for them.

Only differences count: the earliest arrivals of the last seconds are the baseline, and every other frame is so much
later than they were. A histogram that forgets gives the delay within which all but a given share of frames arrive.
"""

from collections import deque
from typing import Final

import numpy as np
from numpy.typing import NDArray

BIN_MS: Final = 5
"""Fine enough beside frames of 20 ms, coarse enough that a few seconds fill the histogram."""
BINS: Final = 60
"""Up to 300 ms: what comes later than that is in the last bin."""
_BUCKET_S: Final = 2.0
_BUCKETS: Final = 5
"""The baseline is the earliest arrival of ten seconds: a clock that drifts by 100 ppm moves it 1 ms in that time."""
_FORGETTING: Final = 0.995
"""A frame's weight falls to a third within 200 frames, 4 s: bursts return sooner than that, or are forgotten."""
_FIRST_WEIGHT: Final = 2.0
"""The assumption of the beginning counts as so many frames: it is outweighed within four seconds."""


class DelayEstimate:
    """Arrivals of one source. Times are seconds; `media_s` is the place of a frame's end in the source's own time."""

    def __init__(self, *, late_ratio: float, first_target_ms: int) -> None:
        self._late_ratio = late_ratio
        self._first_bin = first_target_ms // BIN_MS
        self.restart()

    def restart(self) -> None:
        """Forgets everything: another source, or the same one with another clock."""
        self._histogram: NDArray[np.float64] = np.zeros(BINS)
        self._histogram[self._first_bin] = 1.0
        self._weight = _FIRST_WEIGHT
        self._minima: deque[tuple[float, float]] = deque(maxlen=_BUCKETS)
        self.target_s = (self._first_bin + 1) * BIN_MS / 1000
        """The delay beyond the baseline within which all frames but the accepted share arrive."""
        self.baseline_s: float | None = None
        """The transit of the earliest arrivals; None before the first."""

    def lateness_s(self, media_s: float, now: float) -> float:
        """How much later than the earliest this frame would be; negative for a new earliest."""
        return 0.0 if self.baseline_s is None else now - media_s - self.baseline_s

    def arrive(self, media_s: float, now: float) -> None:
        """Takes one frame into account."""
        transit = now - media_s
        minima = self._minima
        if not minima or now - minima[-1][0] >= _BUCKET_S:
            minima.append((now, transit))
        elif transit < minima[-1][1]:
            minima[-1] = (minima[-1][0], transit)
        self.baseline_s = min(value for _, value in minima)
        late_bin = min(int((transit - self.baseline_s) * 1000 / BIN_MS), BINS - 1)
        forgetting = min(_FORGETTING, 1 - 1 / (self._weight + 1))
        self._weight += 1
        self._histogram *= forgetting
        self._histogram[late_bin] += 1 - forgetting
        covered = int(np.searchsorted(np.cumsum(self._histogram), 1 - self._late_ratio))
        self.target_s = (min(covered, BINS - 1) + 1) * BIN_MS / 1000
