"""Which speech of the caller counts as an interruption, where that is not left to the model's service.

It stands between the model and the bridge and holds a `SpeechStarted` back until it counts: after enough voiced sound,
or never while a protected greeting runs. Until then the agent pauses, and where it was a cough it goes on in the midst
of its word. The service then neither interrupts nor answers by itself (`gateway.call.settings`), and the guard asks for
the answers.
"""

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
# After so much quiet the agent goes on, although the service may wait longer before it says that speech has stopped:
# longer than the gaps between the words of a sentence, shorter than a pause that anyone would wonder about.
RESUME_QUIET_MS: Final = 300.0


@dataclass(frozen=True, slots=True)
class GuardPolicy:
    """What counts.

    `interruptible`: whether the caller can interrupt at all. `protects_greeting`: not before the first words are over.
    `minimum_speech_ms`: of voiced sound over the agent's words. `pauses`: the agent is silent until it is decided.
    `detects`: the gateway finds the turns too (`gateway.call.turn_detector`), so the model is told of all of them.
    """

    interruptible: bool = True
    protects_greeting: bool = False
    minimum_speech_ms: int = 0
    pauses: bool = True
    detects: bool = False

    @property
    def decides(self) -> bool:
        """Whether the guard, and not the service, decides about turns."""
        return self.detects or (self.interruptible and (self.protects_greeting or self.minimum_speech_ms > 0))

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

    def dismiss_turn(self) -> None:
        """What the caller said was no turn."""


class Speaking(Protocol):
    """The leg, as far as the guard commands it: gateway.leg.AudioLeg is one."""

    @property
    def queued_ms(self) -> int:
        """Speech of the agent that waits to be sent."""

    def hold(self) -> None:
        """Sends silence from the next packet on; what waits goes on waiting."""

    def release(self) -> None:
        """Goes on where `hold` stopped it."""


class TurnGuard:
    """Filters the events of one call's model.

    Args:
        policy: what counts.
        model: is told to answer and to stop.
        sink: where events go.
        speech: what the agent says, and can be made to pause.
        audio_format: of the caller's audio.
    """

    def __init__(
        self,
        policy: GuardPolicy,
        model: Answering,
        sink: EventSink,
        speech: Speaking,
        audio_format: AudioFormat,
    ) -> None:
        self.coughs = 0
        """Sounds that were too short to count."""
        self._policy = policy
        self._model = model
        self._sink = sink
        self._speech = speech
        self._format = audio_format
        self._held: SpeechStarted | None = None
        self._voiced_ms = self._quiet_ms = 0.0
        self._greets = policy.protects_greeting
        self._is_paused = False

    def attach(self, speech: Speaking) -> None:
        """Another leg speaks from now on, and nothing of it waits or pauses."""
        self._speech = speech
        self._is_paused = False

    def on_model_event(self, event: RealtimeEvent) -> None:
        """Takes an event of the model, in its order."""
        match event:
            case SpeechStarted() if self._speech.queued_ms > 0:
                self._held, self._voiced_ms, self._quiet_ms = event, 0.0, 0.0
                self._pause()
            case SpeechStarted() if self._policy.detects:
                self._model.cancel_response()
                self._sink(event)
            case SpeechStopped():
                self._end_turn(event)
            case _:
                self._sink(event)

    def on_caller_audio(self, payload: bytes) -> None:
        """Takes the caller's audio, in order."""
        if self._held is None or self._greets or not self._policy.interruptible:
            return
        duration_ms = len(payload) / self._format.bytes_per_ms
        if is_voiced(payload, self._format):
            self._voiced_ms += duration_ms
            self._quiet_ms = 0.0
            self._pause()
        else:
            self._quiet_ms += duration_ms
            if self._quiet_ms >= RESUME_QUIET_MS:
                self._resume()
        if self._voiced_ms >= self._policy.minimum_speech_ms:
            self._tell_held()
            self._model.cancel_response()

    def on_playout_drained(self) -> None:
        """The agent has said what it had to say: whoever speaks now interrupts nobody."""
        self._greets = False
        if self._held is not None and self._policy.detects:
            self._model.cancel_response()
        self._tell_held()

    def _end_turn(self, event: SpeechStopped) -> None:
        if self._held is not None:
            self._held = None
            self._resume()
            if self._policy.decides and (self._policy.detects or not self._greets):
                self.coughs += 1
                self._model.dismiss_turn()
                return
        self._sink(event)
        if self._policy.decides:
            self._model.create_response()

    def _tell_held(self) -> None:
        """What was held back is told: the bridge drops what waits, and the model forgets it."""
        held, self._held = self._held, None
        if held is not None:
            self._sink(held)
        self._resume()

    def _pause(self) -> None:
        undecided = self._policy.decides and self._policy.minimum_speech_ms > 0 and not self._greets
        if self._policy.pauses and undecided and not self._is_paused:
            self._is_paused = True
            self._speech.hold()

    def _resume(self) -> None:
        if self._is_paused:
            self._is_paused = False
            self._speech.release()


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
