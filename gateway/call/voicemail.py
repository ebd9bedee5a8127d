"""A message that a caller leaves, after a tone, when there is nobody to talk to."""

import asyncio
from collections.abc import Sequence
from enum import Enum, unique
from typing import Final, Protocol

import numpy as np

from gateway.bridge import Recorder
from gateway.config.fallback import VoicemailSettings
from gateway.realtime.capability import AudioFormat
from gateway.transcoding import samples_of
from rtp.codec.g711 import encode_alaw, encode_ulaw
from rtp.playout import PlayedItem
from rtp.sink import NullSink, StreamSink

# What answering machines say: a second is long, a third of one is missed.
TONE_HZ: Final = 1_000
TONE_SECONDS: Final = 0.5
TONE_LEVEL: Final = 0.2 * 32768  # -14 dBFS
# Speech of a telephone lies 20 dB and more above this (-45 dBFS); the noise of a quiet room below.
SPEECH_RMS: Final = 180.0
END_KEY: Final = "#"


@unique
class MessageEnd(Enum):
    """What ended a message; the value stands in the call record."""

    SILENCE = "silence"
    LIMIT = "limit"
    KEY = "key"
    CALL = "call_ended"


class Line(Protocol):
    """The leg, as far as a message needs it."""

    def redirect(
        self,
        sink: StreamSink,
        *,
        input_format: AudioFormat = AudioFormat.PCMU,
        output_format: AudioFormat = AudioFormat.PCMU,
    ) -> list[PlayedItem]:
        """Lets the sink hear and speak from now on."""

    def enqueue(self, item_id: str, audio: bytes) -> None:
        """Appends speech."""

    def finish(self, item_id: str) -> None:
        """No more speech of this item will come."""


class Message(NullSink):
    """Takes one message.

    Args:
        settings: how long it may be, and which silence ends it.
        recorders: take both sides of the line from now on.
        file: takes the message itself, once the tone has been heard.
        heard: the format in which the line is heard.
        spoken: the format in which it is spoken to.
    """

    def __init__(
        self,
        settings: VoicemailSettings,
        recorders: Sequence[Recorder],
        file: Recorder,
        heard: AudioFormat,
        spoken: AudioFormat,
    ) -> None:
        self.end = MessageEnd.CALL
        self._recorders = list(recorders)
        self._file = file
        self._format = heard
        self._spoken = spoken
        self._limit_ms = settings.max_seconds * 1000
        self._patience_ms = settings.silence_seconds * 1000
        self._heard_ms = 0.0
        self._silent_ms = 0.0
        self._is_open = False
        self._ended = asyncio.Event()

    async def take(self, line: Line) -> None:
        """Sounds the tone, and returns when the message has ended."""
        line.redirect(self, input_format=self._format, output_format=self._spoken)
        line.enqueue("tone", tone(self._spoken))
        line.finish("tone")
        await self._ended.wait()

    # What the stream says (rtp.sink.StreamSink).

    def on_playout_drained(self) -> None:
        """The tone has been heard: what is said from now on is the message."""
        if not self._is_open:
            self._is_open = True
            self._recorders.append(self._file)

    def on_audio(self, payload: bytes, concealed: bool) -> None:
        """The caller speaks, or is silent."""
        for recorder in self._recorders:
            recorder.add_caller(payload)
        if not self._is_open or self._ended.is_set():
            return
        ms = len(payload) / self._format.bytes_per_ms
        self._heard_ms += ms
        self._silent_ms = self._silent_ms + ms if concealed or _is_silent(payload, self._format) else 0.0
        if self._silent_ms >= self._patience_ms:
            self._finish(MessageEnd.SILENCE)
        elif self._heard_ms >= self._limit_ms:
            self._finish(MessageEnd.LIMIT)

    def on_frame_sent(self, frame: bytes, item_id: str | None) -> None:
        """A frame goes out: of the tone, or silence."""
        for recorder in self._recorders:
            recorder.add_agent(frame)

    def on_digit(self, digit: str, duration_ms: int) -> None:
        """The key that ends a message, as with every answering machine."""
        if digit == END_KEY and self._is_open:
            self._finish(MessageEnd.KEY)

    def _finish(self, end: MessageEnd) -> None:
        if not self._ended.is_set():
            self.end = end
            self._ended.set()


def tone(audio_format: AudioFormat) -> bytes:
    """The tone after which a message begins."""
    rate_hz = audio_format.sample_rate_hz
    moments = np.arange(round(TONE_SECONDS * rate_hz)) / rate_hz
    samples = (TONE_LEVEL * np.sin(2 * np.pi * TONE_HZ * moments)).astype(np.int16)
    match audio_format:
        case AudioFormat.PCMU:
            return encode_ulaw(samples)
        case AudioFormat.PCMA:
            return encode_alaw(samples)
        case AudioFormat.PCM16_16K | AudioFormat.PCM16_24K:
            return samples.astype("<i2").tobytes()


def _is_silent(payload: bytes, audio_format: AudioFormat) -> bool:
    samples = samples_of(payload, audio_format).astype(np.float32)
    return not len(samples) or float(np.sqrt(np.mean(samples * samples))) < SPEECH_RMS
