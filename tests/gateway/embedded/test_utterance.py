"""A recording of one channel, cut at its pauses and understood piece by piece."""

import numpy as np

from gateway.embedded.audio import WireFormat
from gateway.embedded.ear import Ear
from gateway.embedded.utterance import split_utterances
from gateway.embedded.voice import Voice

SAID = ["What are your opening hours?", "Where is the restaurant?", "Thank you, goodbye."]


def test_a_channel_is_cut_at_pauses_and_every_piece_is_understood() -> None:
    voice = Voice(pitch=0.87)
    quiet = np.random.default_rng(1).normal(0, 4, 8000).astype(np.int16)
    parts = [quiet]
    for text in SAID:
        parts += [WireFormat.PCMU.decode(WireFormat.PCMU.encode(voice.speak(text), voice.rate_hz)), quiet]
    recording = np.concatenate(parts)
    ear = Ear([*SAID, "Can I speak to a person?"])
    utterances = split_utterances(recording, 8000)
    recognitions = [ear.recognise(utterance.samples, 8000) for utterance in utterances]
    assert [recognition.text if recognition else None for recognition in recognitions] == SAID
    assert [utterance.start_ms < utterance.end_ms for utterance in utterances] == [True] * 3


def test_speech_up_to_the_last_sample_is_an_utterance() -> None:
    speech = WireFormat.PCM.decode(WireFormat.PCM.encode(Voice().speak(SAID[0]), 24_000))[:24_000]
    assert len(split_utterances(speech, 24_000)) == 1


def test_silence_holds_no_utterance() -> None:
    assert split_utterances(np.zeros(80_000, dtype=np.int16), 8000) == []
