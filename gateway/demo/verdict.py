"""Did they understand each other?

The agent's transcript is held against the caller's lines, and the caller's capture against the agent's words,
recognised from the sound that came over RTP.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.audio_file import Samples
from gateway.call.record import CallRecord, UtteranceRecord
from gateway.embedded.ear import Ear
from gateway.embedded.phrase import split_words, word_error_rate
from gateway.embedded.utterance import split_utterances

RATE_HZ: Final = 8000
# A pause inside a sentence is shorter than this, one between two sentences longer (docs/decisions/embedded-speech.md).
PAUSE_MS: Final = 300
SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+")
# Of ten words one may be misheard.
ACCEPTED_WORD_ERROR_RATE: Final = 0.1


@dataclass(frozen=True, slots=True)
class Check:
    """One line that was said, and what the other side understood (empty: nothing)."""

    listener: str
    said: str
    understood: str

    @property
    def is_good(self) -> bool:
        """Whether the words arrived."""
        return word_error_rate(split_words(self.understood), split_words(self.said)) <= ACCEPTED_WORD_ERROR_RATE


def check_agent(record: CallRecord, lines: Sequence[str]) -> list[Check]:
    """What the agent's transcript makes of each of the caller's lines, in order."""
    heard = [utterance.text for utterance in record.transcript if utterance.speaker == "caller"]
    heard += [""] * (len(lines) - len(heard))
    return [Check("agent", line, understood) for line, understood in zip(lines, heard, strict=False)]


def check_caller(record: CallRecord, captured: Samples) -> list[Check]:
    """What a recogniser makes of the agent's sentences in the caller's capture.

    A sentence that the caller spoke over is left out: nobody heard its end.
    """
    agent = [utterance for utterance in record.transcript if utterance.speaker == "agent"]
    said = [sentence for utterance in agent for sentence in heard(utterance)]
    if not said:
        return []
    understood = recognise(captured, said)
    checks = []
    for sentence in said:
        arrived = sentence in understood
        if arrived:
            understood.remove(sentence)
        checks.append(Check("caller", sentence, sentence if arrived else ""))
    return checks


def recognise(channel: Samples, sentences: Sequence[str]) -> list[str]:
    """Which of the sentences are heard in one channel at 8 kHz, in the order of their speaking."""
    ear = Ear(sentences)
    pieces = split_utterances(channel, RATE_HZ, pause_ms=PAUSE_MS)
    found = (ear.recognise(piece.samples, RATE_HZ) for piece in pieces)
    return [recognition.text for recognition in found if recognition is not None]


def heard(utterance: UtteranceRecord) -> list[str]:
    """The sentences of an utterance that were heard to their end."""
    sentences = SENTENCE_END.split(utterance.heard_text or "")
    if utterance.interrupted:
        sentences.pop()
    return [sentence for sentence in sentences if sentence]
