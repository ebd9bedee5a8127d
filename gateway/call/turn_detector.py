"""The caller's turns as the gateway hears them itself, for models that do not: by loudness against the line's noise.

A service's own detection hears more than loudness and is the better choice where there is one. This one costs a few
microseconds a packet, and the turns that it finds are told as if the model had found them.
"""

from dataclasses import dataclass
from enum import Enum, unique
from typing import Final, Protocol

import numpy as np

from gateway.realtime.capability import AudioFormat
from gateway.transcoding import samples_of

FULL_SCALE: Final = 32768.0
# A packet without any sound: below what 16 bits can say.
SILENCE_DBFS: Final = -96.0
# Speech stands out from the line's noise by this much at least.
NOISE_MARGIN_DB: Final = 9.0
# The noise is what is quiet: the estimate falls at once, and rises by this much a second, as a car or a street would.
NOISE_RISE_DB_A_SECOND: Final = 3.0


@unique
class TurnEdge(Enum):
    """What a packet brought."""

    STARTED = "started"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class VoicePolicy:
    """What counts as speech.

    `threshold_dbfs`: the quietest speech. `start_ms`: of it until a turn begins. `silence_ms`: after which it ends.
    """

    threshold_dbfs: float = -42.0
    start_ms: int = 60
    silence_ms: int = 500


class Steered(Protocol):
    """The model, as far as it is told of turns: gateway.call.model.CallModel is one."""

    def begin_turn(self) -> None:
        """The caller has begun to speak."""

    def finish_turn(self) -> None:
        """The caller has stopped speaking."""


class TurnDetector:
    """Hears one caller.

    Args:
        policy: what counts.
        audio_format: of the caller's audio.
        model: is told of turns.
    """

    def __init__(self, policy: VoicePolicy, audio_format: AudioFormat, model: Steered) -> None:
        self.is_speaking = False
        self._policy = policy
        self._format = audio_format
        self._model = model
        self._noise_dbfs = SILENCE_DBFS
        self._voiced_ms = self._quiet_ms = 0.0

    def on_caller_audio(self, payload: bytes) -> None:
        """Takes the caller's audio, in order, and tells the model of the turns in it."""
        match self.hear(payload):
            case TurnEdge.STARTED:
                self._model.begin_turn()
            case TurnEdge.STOPPED:
                self._model.finish_turn()

    def hear(self, payload: bytes) -> TurnEdge | None:
        """Takes a packet. Returns what changed with it."""
        duration_ms = len(payload) / self._format.bytes_per_ms
        level = level_dbfs(payload, self._format)
        voiced = level >= max(self._policy.threshold_dbfs, self._noise_dbfs + NOISE_MARGIN_DB)
        self._noise_dbfs = min(level, self._noise_dbfs + NOISE_RISE_DB_A_SECOND * duration_ms / 1000)
        if self.is_speaking:
            self._quiet_ms = 0.0 if voiced else self._quiet_ms + duration_ms
            if self._quiet_ms < self._policy.silence_ms:
                return None
            self.is_speaking, self._voiced_ms = False, 0.0
            return TurnEdge.STOPPED
        # A crack is shorter than a syllable: what is quiet counts against what was loud.
        self._voiced_ms = self._voiced_ms + duration_ms if voiced else max(0.0, self._voiced_ms - duration_ms)
        if self._voiced_ms < self._policy.start_ms:
            return None
        self.is_speaking, self._quiet_ms = True, 0.0
        return TurnEdge.STARTED


class OwnTurns:
    """A model whose turns the gateway detects, as `gateway.call.turn_guard` commands it: see its `Answering`."""

    def __init__(self, model: "SteeredModel") -> None:
        self._model = model

    def create_response(self, instructions: str | None = None) -> None:
        """Says that the turn is over, which asks for the answer."""
        self._model.end_turn()

    def cancel_response(self) -> None:
        """Says that the caller has the floor: the model falls silent."""
        self._model.start_turn()

    def dismiss_turn(self) -> None:
        """What the caller said was no turn."""
        self._model.dismiss_turn()


class SteeredModel(Protocol):
    """What `OwnTurns` needs of a model."""

    def start_turn(self) -> None:
        """See `RealtimeSession`."""

    def end_turn(self) -> None:
        """See `RealtimeSession`."""

    def dismiss_turn(self) -> None:
        """No answer is owed."""


def level_dbfs(payload: bytes, audio_format: AudioFormat) -> float:
    """The loudness of a packet, in decibels below full scale."""
    samples = samples_of(payload, audio_format).astype(np.float32)
    if not samples.size:
        return SILENCE_DBFS
    power = float(np.mean(samples * samples))
    return max(SILENCE_DBFS, 10 * float(np.log10(power / FULL_SCALE**2))) if power > 0 else SILENCE_DBFS
