"""Which speech of the caller counts as an interruption, where that is not left to the model's service.

It stands between the model and the bridge and holds a `SpeechStarted` back until it counts: after enough voiced sound,
or never while a protected greeting runs. Until then the agent speaks on, so that a cough cuts nobody off. The service
then neither interrupts nor answers by itself (`gateway.call.settings`), and the guard asks for the answers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from gateway.realtime.capability import AudioFormat
from gateway.realtime.event import RealtimeEvent, SpeechStarted, SpeechStopped
from gateway.realtime.session import EventSink
from rtp.codec.g711 import decode_alaw, decode_ulaw

# Speech on a telephone line lies between -35 and -15 dBFS, a quiet room's noise below -50.
VOICED_DBFS: Final = -42.0
_VOICED_RMS: Final = 32768 * 10 ** (VOICED_DBFS / 20)


@dataclass(frozen=True, slots=True)
class GuardPolicy:
    """What counts.

    `interruptible`: whether the caller can interrupt at all. `protects_greeting`: not before the first words are over.
    `minimum_speech_ms`: of voiced sound over the agent's words.
    """

    interruptible: bool = True
    protects_greeting: bool = False
    minimum_speech_ms: int = 0

    @property
    def decides(self) -> bool:
        """Whether the guard, and not the service, decides about turns."""
        return self.interruptible and (self.protects_greeting or self.minimum_speech_ms > 0)

    @property
    def is_needed(self) -> bool:
        """Whether a call needs a guard at all."""
        return self.decides or not self.interruptible


class Answering(Protocol):
    """The model, as far as the guard commands it."""

    def create_response(self, instructions: str | None = None) -> None:
        """Asks for an answer."""

    def cancel_response(self) -> None:
        """Stops the present one."""


class TurnGuard:
    """Filters the events of one call's model.

    Args:
        policy: what counts.
        model: is told to answer and to stop.
        sink: where events go.
        is_speaking: whether speech of the agent waits to be sent.
        audio_format: of the caller's audio.
    """

    def __init__(
        self,
        policy: GuardPolicy,
        model: Answering,
        sink: EventSink,
        is_speaking: Callable[[], bool],
        audio_format: AudioFormat,
    ) -> None:
        self._policy = policy
        self._model = model
        self._sink = sink
        self._is_speaking = is_speaking
        self._format = audio_format
        self._held: SpeechStarted | None = None
        self._voiced_ms = 0.0
        self._greets = policy.protects_greeting

    def on_model_event(self, event: RealtimeEvent) -> None:
        """Takes an event of the model, in its order."""
        match event:
            case SpeechStarted() if self._is_speaking():
                self._held, self._voiced_ms = event, 0.0
            case SpeechStopped():
                self._end_turn(event)
            case _:
                self._sink(event)

    def on_caller_audio(self, payload: bytes) -> None:
        """Takes the caller's audio, in order."""
        if self._held is None or self._greets or not self._policy.interruptible:
            return
        if is_voiced(payload, self._format):
            self._voiced_ms += len(payload) / self._format.bytes_per_ms
        if self._voiced_ms >= self._policy.minimum_speech_ms:
            self._release()
            self._model.cancel_response()

    def on_playout_drained(self) -> None:
        """The agent has said what it had to say: whoever speaks now interrupts nobody."""
        self._greets = False
        self._release()

    def _end_turn(self, event: SpeechStopped) -> None:
        if self._held is not None:
            self._held = None
            if self._policy.decides and not self._greets:
                return  # too short to count: a cough
        self._sink(event)
        if self._policy.decides:
            self._model.create_response()

    def _release(self) -> None:
        """What was held back is told: the bridge drops what waits, and the model forgets it."""
        held, self._held = self._held, None
        if held is not None:
            self._sink(held)


def is_voiced(payload: bytes, audio_format: AudioFormat) -> bool:
    """Whether a packet is loud enough to be speech."""
    match audio_format:
        case AudioFormat.PCMU:
            samples = decode_ulaw(payload)
        case AudioFormat.PCMA:
            samples = decode_alaw(payload)
        case AudioFormat.PCM16_16K | AudioFormat.PCM16_24K:
            samples = np.frombuffer(payload, np.dtype("<i2"))
    if not samples.size:
        return False
    wide = samples.astype(np.float32)
    return float(np.sqrt(np.mean(wide * wide))) >= _VOICED_RMS
