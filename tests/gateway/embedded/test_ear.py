"""Recognition of the default script's phrases, spoken by the embedded voice, through G.711 as on a telephone line."""

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from gateway.embedded.audio import WireFormat
from gateway.embedded.ear import Ear, Recognition
from gateway.embedded.errors import SpeechError
from gateway.embedded.phrase import split_words, word_error_rate
from gateway.embedded.pronunciation import pronounce
from gateway.embedded.script import load_script
from gateway.embedded.server import DEFAULT_SCRIPT
from gateway.embedded.voice import Voice

CALLER_PITCH = 0.87
SCRIPT = load_script(DEFAULT_SCRIPT)
FIXED_PHRASES = [phrase for phrase, meaning in SCRIPT.meanings.items() if not meaning.slots]
BOOKINGS = [phrase for phrase, meaning in SCRIPT.meanings.items() if meaning.slots]
OTHER_SPEECH = [
    "The train to London leaves from platform nine.",
    "My dog ate the newspaper this morning.",
    "How much does a new bicycle cost?",
    "Purple elephants dance on the moon.",
    "I would like to hire a car for two weeks.",
    "Seventeen blue boxes.",
    "What is the capital of France?",
    "I have a headache.",
    "The weather will be fine tomorrow at noon.",
    "Where is my car?",
]


@cache
def ear() -> Ear:
    return Ear(SCRIPT.meanings)


@cache
def voice(pitch: float) -> Voice:
    return Voice(pitch=pitch)


def by_telephone(
    text: str, pitch: float = CALLER_PITCH, wire_format: WireFormat = WireFormat.PCMU
) -> NDArray[np.int16]:
    return wire_format.decode(wire_format.encode(voice(pitch).speak(text), voice(pitch).rate_hz))


@pytest.mark.parametrize("pitch", [1.0, CALLER_PITCH])
@pytest.mark.parametrize("phrase", [*FIXED_PHRASES, *BOOKINGS[::9]])
def test_every_phrase_of_the_script_is_recognised_through_g711(phrase: str, pitch: float) -> None:
    recognition = ear().recognise(by_telephone(phrase, pitch), 8000)
    assert recognition is not None
    assert recognition.text == phrase


@pytest.mark.parametrize("wire_format", [WireFormat.PCMA, WireFormat.PCM])
def test_other_formats_are_recognised_too(wire_format: WireFormat) -> None:
    speech = by_telephone("What are your opening hours?", wire_format=wire_format)
    recognition = ear().recognise(speech, wire_format.rate_hz)
    assert recognition == Recognition("What are your opening hours?", 1.0)


@pytest.mark.parametrize("text", OTHER_SPEECH)
def test_speech_that_is_not_in_the_script_is_rejected(text: str) -> None:
    assert ear().recognise(by_telephone(text), 8000) is None


@pytest.mark.parametrize("gain", [0.03, 0.3, 2.5])
def test_loudness_does_not_matter(gain: float) -> None:
    speech = by_telephone("What are your opening hours?")
    scaled = np.clip(speech * gain, -32768, 32767).astype(np.int16)
    recognition = ear().recognise(scaled, 8000)
    assert recognition is not None
    assert recognition.text == "What are your opening hours?"


def test_line_noise_does_not_matter() -> None:
    speech = by_telephone("I would like to book a table for two tomorrow at seven.")
    noise = np.random.default_rng(1).normal(0, 30, len(speech))
    recognition = ear().recognise((speech + noise).astype(np.int16), 8000)
    assert recognition is not None
    assert recognition.text == "I would like to book a table for two tomorrow at seven."


@pytest.mark.parametrize(
    "sound",
    [
        np.zeros(0, dtype=np.int16),
        np.zeros(16_000, dtype=np.int16),
        np.random.default_rng(2).normal(0, 20, 16_000).astype(np.int16),
        np.random.default_rng(3).normal(0, 3000, 16_000).astype(np.int16),
        (8000 * np.sin(np.arange(16_000))).astype(np.int16),
    ],
    ids=["nothing", "silence", "hiss", "noise", "tone"],
)
def test_what_is_no_speech_is_rejected(sound: NDArray[np.int16]) -> None:
    assert ear().recognise(sound, 8000) is None


def test_the_agent_s_own_sentences_are_heard_word_by_word() -> None:
    sentences = [SCRIPT.greeting, "We are open every day from noon until ten in the evening."]
    listener = Ear([*sentences, *FIXED_PHRASES])
    for sentence in sentences:
        heard = listener.hear(by_telephone(sentence, 1.0), 8000)
        assert word_error_rate(split_words(heard), split_words(sentence)) <= 0.1
        recognition = listener.recognise(by_telephone(sentence, 1.0), 8000)
        assert recognition is not None
        assert recognition.text == sentence


def test_words_that_the_dictionary_lacks_are_pronounced_by_the_voice() -> None:
    assert pronounce("harbour") == "HH AA R B ER"
    listener = Ear(["Miss Quennevelle is expected", "Nobody is expected"])
    recognition = listener.recognise(by_telephone("Miss Quennevelle is expected"), 8000)
    assert recognition is not None
    assert recognition.text == "Miss Quennevelle is expected"


@pytest.mark.parametrize(
    ("phrases", "reason"),
    [([], "at least one"), (["..."], "no words"), (["A table for 2"], "write '2' as it is spoken")],
)
def test_phrases_that_cannot_be_recognised_are_refused(phrases: list[str], reason: str) -> None:
    with pytest.raises(SpeechError, match=reason):
        Ear(phrases)


def test_the_same_words_are_the_same_samples() -> None:
    again = Voice(pitch=1.0)
    assert np.array_equal(again.speak("Good evening."), voice(1.0).speak("Good evening."))
    assert again.speak("Good evening.") is again.speak("Good evening.")


def test_speech_is_loud_and_does_not_clip() -> None:
    speech = np.abs(voice(1.0).speak("We are open every day.").astype(np.int32))
    assert 0.2 * 32768 < np.percentile(speech, 99.5) < 0.35 * 32768
    assert speech.max() < 32767


def test_pitch_keeps_the_pace() -> None:
    text = "We are open every day from noon until ten in the evening."
    assert len(voice(CALLER_PITCH).speak(text)) == pytest.approx(len(voice(1.0).speak(text)), rel=0.15)


def test_a_text_without_words_is_silence_and_an_endless_one_is_refused() -> None:
    assert len(voice(1.0).speak("")) == 0
    with pytest.raises(SpeechError, match="too long to speak"):
        voice(1.0).speak("a" * 3000)
