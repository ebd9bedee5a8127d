"""A recording of one speaker, cut into what was said between pauses."""

from dataclasses import dataclass

from gateway.embedded.activity import ActivityDetector, ActivitySettings, Edge, silero_probability
from gateway.embedded.audio import Samples


@dataclass(frozen=True, slots=True)
class Utterance:
    """A stretch of speech with some silence around it. Times count from the recording's beginning."""

    start_ms: int
    end_ms: int
    samples: Samples


def split_utterances(samples: Samples, rate_hz: int, *, pause_ms: int = 500) -> list[Utterance]:
    """What was said in a recording at 8 or 24 kHz. A pause of `pause_ms` parts two utterances."""
    detector = ActivityDetector(
        ActivitySettings(silence_duration_ms=pause_ms), rate_hz, silero_probability(), origin_ms=0
    )
    utterances: list[Utterance] = []
    start_ms = 0
    for change in detector.append(samples):
        if change.edge is Edge.STARTED:
            start_ms = change.audio_ms
        else:
            utterances.append(_cut(samples, rate_hz, start_ms, change.audio_ms))
    if detector.speaking:
        utterances.append(_cut(samples, rate_hz, start_ms, len(samples) * 1000 // rate_hz))
    return utterances


def _cut(samples: Samples, rate_hz: int, start_ms: int, end_ms: int) -> Utterance:
    return Utterance(start_ms, end_ms, samples[start_ms * rate_hz // 1000 : end_ms * rate_hz // 1000])
