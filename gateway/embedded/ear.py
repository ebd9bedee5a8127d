"""The embedded ear: which of the known phrases was said (docs/decisions/embedded-speech.md).

Two views of the same sound have to agree. A word model of the phrases' own words, in any order that their
word triples allow, writes down what it hears: speech that is no phrase comes out as word salad. Where that is near a
phrase but not the phrase, a grammar that knows whole phrases only must find the same one, and its likelihood must not
fall far behind a free loop of phones, which models any speech at all.
"""

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pocketsphinx
from pocketsphinx.lm import ArpaBoLM

from gateway.embedded.audio import Samples, resample
from gateway.embedded.errors import SpeechError
from gateway.embedded.phrase import edit_distance, split_words, word_error_rate
from gateway.embedded.pronunciation import pronounce

_MODEL: Final = Path(pocketsphinx.__file__).parent / "model" / "en-us"
_RATE_HZ: Final = 16_000
# The recogniser needs silence around an utterance to settle its cepstral mean and to end the last word.
_PADDING_SAMPLES: Final = 4_800
_LEVEL: Final = 0.25 * 32768
_LEVEL_PERCENTILE: Final = 99.5
# Quieter than this (99.5th percentile) there is nothing to amplify but noise: -50 dBFS.
_FAINTEST: Final = 100
# Longer than any phrase, and a bound on the time that one utterance takes from others.
MAX_UTTERANCE_S: Final = 30
# A fifth of a second holds no phrase.
MIN_UTTERANCE_S: Final = 0.2
# Measured with in-script and out-of-script speech (tests/gateway/embedded/test_ear.py): words as heard differ by at
# most a fifth from the phrase that was said, word salad by two thirds and more. Between the two the grammar decides.
_SURE_ERROR_RATE: Final = 0.25
_DOUBTFUL_ERROR_RATE: Final = 0.6
# The grammar's log likelihood per frame of speech, less the phone loop's (pocketsphinx's units). Said phrases lie
# between -0.16 and -0.09, forced ones between -0.16 and -0.5.
_LOWEST_LIKELIHOOD_RATIO: Final = -0.155
# Word salad comes near a short phrase by chance. An unstressed word that was not heard ("where you") is no salad.
_SHORT_PHRASE_WORDS: Final = 3
# A grammar of all phrases would take seconds; the right one is always among the nearest.
_CANDIDATES: Final = 8
_DOUBTFUL_CONFIDENCE: Final = 0.5
_WORDS, _PHRASES, _PHONES = "words", "phrases", "phones"
_NOT_SPEECH: Final = frozenset(
    {"<sil>", "SIL", "(NULL)", "[NOISE]", "[SPEECH]", "[COUGH]", "[SMACK]", "[UH]", "<s>", "</s>"}
)


@dataclass(frozen=True, slots=True)
class Recognition:
    """What was understood: the phrase as it was given to the ear, and how sure that is, 0 to 1."""

    text: str
    confidence: float


@dataclass(frozen=True, slots=True)
class _Hypothesis:
    words: tuple[str, ...]
    likelihood: float
    speech_frames: int


class Ear:
    """Recognises phrases that it was given. Every phrase is words, without digits; case and punctuation do not matter.

    It works best where each piece of sound holds one phrase. One thread at a time may use it.
    """

    def __init__(self, phrases: Iterable[str]) -> None:
        self._phrases: dict[tuple[str, ...], str] = {}
        for phrase in phrases:
            self._phrases.setdefault(_check_words(phrase), phrase)
        if not self._phrases:
            raise SpeechError("An ear needs at least one phrase to listen for")
        with tempfile.TemporaryDirectory() as folder:
            dictionary = Path(folder) / "words.dict"
            dictionary.write_text(_dictionary({word for words in self._phrases for word in words}))
            self._decoder = pocketsphinx.Decoder(lm=None, dict=str(dictionary), loglevel="FATAL")
        self._decoder.add_lm(_WORDS, self._word_model())
        self._decoder.add_allphone_file(_PHONES, str(_MODEL / "en-us-phone.lm.bin"))

    def hear(self, samples: Samples, rate_hz: int) -> str:
        """The words as they sound, out of all words of the phrases but in any order; empty for silence."""
        prepared = _prepare(samples, rate_hz)
        return "" if prepared is None else " ".join(self._decode(_WORDS, prepared).words)

    def recognise(self, samples: Samples, rate_hz: int) -> Recognition | None:
        """The phrase that was said, or None for silence, noise and other speech."""
        prepared = _prepare(samples, rate_hz)
        if prepared is None:
            return None
        heard = self._decode(_WORDS, prepared).words
        ranked = sorted((word_error_rate(heard, words), words) for words in self._phrases)
        error_rate, nearest = ranked[0]
        if error_rate <= _SURE_ERROR_RATE:
            return Recognition(self._phrases[nearest], 1 - error_rate)
        only_lacks_words = len(heard) > 1 and edit_distance(heard, nearest) == len(nearest) - len(heard)
        if len(nearest) <= _SHORT_PHRASE_WORDS and not only_lacks_words:
            return None
        return self._decide(prepared, [words for rate, words in ranked[:_CANDIDATES] if rate <= _DOUBTFUL_ERROR_RATE])

    def _decide(self, prepared: Samples, candidates: list[tuple[str, ...]]) -> Recognition | None:
        """The candidate that the sound itself bears out, where the words alone were not enough."""
        if not candidates:
            return None
        alternatives = " | ".join(f"( {' '.join(words)} )" for words in candidates)
        self._decoder.add_jsgf_string(_PHRASES, f"#JSGF V1.0;\ngrammar phrases;\npublic <phrase> = {alternatives};\n")
        found = self._decode(_PHRASES, prepared)
        if found.words not in candidates:
            return None
        anything = self._decode(_PHONES, prepared)
        ratio = (found.likelihood - anything.likelihood) / max(found.speech_frames, 1)
        if ratio < _LOWEST_LIKELIHOOD_RATIO:
            return None
        return Recognition(self._phrases[found.words], _DOUBTFUL_CONFIDENCE)

    def _decode(self, search: str, prepared: Samples) -> _Hypothesis:
        self._decoder.activate_search(search)
        self._decoder.start_utt()
        self._decoder.process_raw(prepared.tobytes(), full_utt=True)
        self._decoder.end_utt()
        hypothesis = self._decoder.hyp()
        segments = list(self._decoder.seg() or ())
        return _Hypothesis(
            words=split_words(hypothesis.hypstr) if hypothesis and search != _PHONES else (),
            likelihood=float(sum(segment.ascore for segment in segments)),
            speech_frames=sum(s.end_frame - s.start_frame + 1 for s in segments if s.word not in _NOT_SPEECH),
        )

    def _word_model(self) -> pocketsphinx.NGramModel:
        text = "\n".join(f"<s> {' '.join(words)} </s>" for words in self._phrases)
        model = ArpaBoLM(text=text)
        model.compute()
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "words.arpa")
            model.write_file(path)
            return pocketsphinx.NGramModel(self._decoder.config, self._decoder.logmath, path)


def _check_words(phrase: str) -> tuple[str, ...]:
    words = split_words(phrase)
    if not words:
        raise SpeechError(f"The phrase {phrase!r} has no words")
    for word in words:
        if any(character.isdigit() for character in word):
            raise SpeechError(f"The phrase {phrase!r} has digits; write {word!r} as it is spoken")
    return words


def _dictionary(words: set[str]) -> str:
    """The pronunciations of these words only: the whole dictionary takes three seconds to load."""
    known: dict[str, list[str]] = {}
    with (_MODEL / "cmudict-en-us.dict").open() as lines:
        for line in lines:
            entry, _, phones = line.strip().partition(" ")
            word = entry.partition("(")[0]
            if word in words:
                known.setdefault(word, []).append(phones)
    for word in words - known.keys():
        known[word] = [pronounce(word)]
    return "".join(
        f"{word} {phones}\n" if index == 1 else f"{word}({index}) {phones}\n"
        for word, variants in sorted(known.items())
        for index, phones in enumerate(variants, start=1)
    )


def _prepare(samples: Samples, rate_hz: int) -> Samples | None:
    """The utterance at 16 kHz and an even level between silences; None where there is nothing to hear."""
    if len(samples) < MIN_UTTERANCE_S * rate_hz:
        return None
    samples = samples[: MAX_UTTERANCE_S * rate_hz]
    loudness = float(np.percentile(np.abs(samples.astype(np.int32)), _LEVEL_PERCENTILE))
    if loudness < _FAINTEST:
        return None
    levelled = np.clip(samples * (_LEVEL / loudness), -32768, 32767).astype(np.int16)
    wide = levelled if rate_hz == _RATE_HZ else resample(levelled, rate_hz, _RATE_HZ)
    silence = np.zeros(_PADDING_SAMPLES, dtype=np.int16)
    return np.concatenate([silence, wide, silence])
