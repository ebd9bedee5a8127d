"""The embedded voice: text to speech with a model that its package carries (docs/decisions/embedded-speech.md)."""

from collections import OrderedDict
from typing import Final

import numpy as np
import soxr
from hibari import Hibari
from numpy.typing import NDArray

from gateway.embedded.errors import SpeechError

VOICE_RATE_HZ: Final = 24_000
# The one voice that lies in the package. Every other name would be fetched from a network.
_BUNDLED_VOICE: Final = "heart"
# Speech is brought to this level (99.5th percentile of the magnitude): -11 dBFS, loud and clear without clipping.
_LEVEL: Final = 0.28 * 32768
_LEVEL_PERCENTILE: Final = 99.5
# The model leaves 0.7 s and more between sentences, which turn detection takes for the end of a turn. This pause and
# twice the margin make 0.37 s, as people speak.
_PAUSE_SAMPLES: Final = 130 * VOICE_RATE_HZ // 1000
_MARGIN_SAMPLES: Final = 120 * VOICE_RATE_HZ // 1000
_QUIET: Final = 0.01
# Sentences of a script and of some greetings; 512 of them are about 50 MB.
_CACHED_SENTENCES: Final = 512
# Longer texts take the worker from other calls for more than a second.
MAX_TEXT_CHARACTERS: Final = 2_000
# The noise part of the synthesis is seeded, so that the same words are the same samples in every run.
_SEED: Final = 0


class Voice:
    """Speaks English. `pitch` makes another person of the same voice: 0.87 is lower, 1.1 higher; the pace stays.

    Loading takes about half a second. One thread at a time may use it.
    """

    rate_hz: Final = VOICE_RATE_HZ

    def __init__(self, *, pitch: float = 1.0) -> None:
        self._pitch = pitch
        self._model = Hibari(voice=_BUNDLED_VOICE)
        self._spoken: OrderedDict[str, NDArray[np.int16]] = OrderedDict()

    def speak(self, text: str) -> NDArray[np.int16]:
        """Mono samples at `rate_hz`. The same text is the same samples; they are shared, so never write into them."""
        if len(text) > MAX_TEXT_CHARACTERS:
            raise SpeechError(f"A text of {len(text)} characters is too long to speak, at most {MAX_TEXT_CHARACTERS}")
        if text in self._spoken:
            self._spoken.move_to_end(text)
            return self._spoken[text]
        samples = self._synthesise(text)
        samples.flags.writeable = False
        self._spoken[text] = samples
        if len(self._spoken) > _CACHED_SENTENCES:
            self._spoken.popitem(last=False)
        return samples

    def phonemes(self, word: str) -> str:
        """How the voice pronounces a word, in the International Phonetic Alphabet with the voice's abbreviations."""
        return "".join(self._model.phonemize(word))

    def _synthesise(self, text: str) -> NDArray[np.int16]:
        sentences = [_trim(sentence) for sentence in self._model.stream(text, speed=1 / self._pitch, seed=_SEED)]
        if not sentences:
            return np.zeros(0, dtype=np.int16)
        pause = np.zeros(_PAUSE_SAMPLES, dtype=np.float32)
        samples = np.concatenate([part for sentence in sentences for part in (pause, sentence)][1:])
        if self._pitch != 1.0:
            samples = soxr.resample(samples, VOICE_RATE_HZ * self._pitch, VOICE_RATE_HZ)
        loudness = float(np.percentile(np.abs(samples), _LEVEL_PERCENTILE))
        if loudness > 0:
            samples = samples * (_LEVEL / loudness)
        return np.clip(samples, -32768, 32767).astype(np.int16)


def _trim(sentence: NDArray[np.float32]) -> NDArray[np.float32]:
    """The sentence with only a margin of the silence around it."""
    loud = np.flatnonzero(np.abs(sentence) > _QUIET * np.abs(sentence).max(initial=0))
    if not len(loud):
        return np.zeros(0, dtype=np.float32)
    start, end = max(int(loud[0]) - _MARGIN_SAMPLES, 0), int(loud[-1]) + _MARGIN_SAMPLES
    return np.asarray(sentence[start:end], dtype=np.float32)
