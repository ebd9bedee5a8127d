"""Tap: what a leg's stream speaks to. It hands everything to the leg's sink of the moment, converted where it must be.

The stream keeps one tap for its life; the sink behind it may change in mid-call. In the common case, one model whose
audio is the payload and digits that come as telephone-events, the stream holds the sink's own methods and nothing
stands between.
"""

from collections.abc import Callable
from typing import Final

from gateway.realtime.capability import AudioFormat
from gateway.transcoding import Ear, samples_of, silence_of
from rtp.codec.format import PayloadFormat
from rtp.inband_digit import InbandDigitDetector
from rtp.sink import NullSink, StreamSink

ECHO_S: Final = 0.5
"""A far end that sends a key both ways sends them at once; the second within this time is the same key."""

Tuning = tuple[PayloadFormat, int, bool]
"""Payload format, packet time, and whether digits are listened for in the sound."""


class DigitMonitor:
    """Listens for digits in what a sink is about to hear, and gives it silence while there is one.

    A tone is known for one after about 25 ms, so at most the first packet of it is heard.
    """

    def __init__(self, audio_format: AudioFormat, on_digit: Callable[[str, int], None]) -> None:
        self._format = audio_format
        self._detector = InbandDigitDetector(audio_format.sample_rate_hz, on_digit)

    def screen(self, audio: bytes) -> bytes:
        """The same audio, or as much silence."""
        detector = self._detector
        detector.hear(samples_of(audio, self._format))
        return silence_of(self._format, len(audio)) if detector.is_hearing_tone else audio


class Tap:
    """The sink of one leg's stream, for as long as the stream lives.

    Args:
        sink: hears at first.
        now: monotonic seconds.
    """

    on_audio: Callable[[bytes, bool], None]

    def __init__(self, sink: StreamSink, now: Callable[[], float]) -> None:
        self._now = now
        self._ear: Ear | None = None
        self._monitor: DigitMonitor | None = None
        self._hears_events = False
        self._heard: tuple[str, float] | None = None
        self.tuned_to: Tuning | None = None
        self._attach(sink)

    def redirect(self, sink: StreamSink) -> None:
        """Another sink from now on. `tune` and the stream's `refresh_sink` must follow."""
        self.tuned_to = None
        self._attach(sink)

    def tune(self, ear: Ear | None, to: Tuning, audio_format: AudioFormat) -> None:
        """Converts from now on, or passes on what comes."""
        self.tuned_to = to
        self._ear = ear
        listens = to[2] and not self._hears_events
        self._monitor = DigitMonitor(audio_format, self._on_tone) if listens else None
        if self._monitor is not None:
            self.on_audio = self._screen
        else:
            self.on_audio = self._sink.on_audio if ear is None else self._convert

    def on_digit(self, digit: str, duration_ms: int) -> None:
        """A telephone-event (rtp.sink.StreamSink). Who sends them needs no ear for tones."""
        self._hears_events, self._monitor = True, None
        if not self._is_echo(digit):
            self._sink.on_digit(digit, duration_ms)

    def release(self) -> None:
        """Lets the sink go: what it holds is not to live until the garbage collector comes by."""
        self._attach(NullSink())
        self._ear = self._monitor = None

    def _attach(self, sink: StreamSink) -> None:
        self._sink = sink
        # Attributes and not methods: a stream that looks them up once calls the sink itself ever after.
        self.on_audio = sink.on_audio
        self.on_frame_sent = sink.on_frame_sent
        self.on_item_started = sink.on_item_started
        self.on_item_finished = sink.on_item_finished
        self.on_playout_drained = sink.on_playout_drained

    def _convert(self, payload: bytes, concealed: bool) -> None:
        if self._ear is not None and (audio := self._ear(payload)):
            self._sink.on_audio(audio, concealed)

    def _screen(self, payload: bytes, concealed: bool) -> None:
        audio = payload if self._ear is None else self._ear(payload)
        if not audio:
            return
        if (monitor := self._monitor) is not None:
            audio = monitor.screen(audio)
        self._sink.on_audio(audio, concealed)

    def _on_tone(self, digit: str, duration_ms: int) -> None:
        self._heard = (digit, self._now())
        self._sink.on_digit(digit, duration_ms)

    def _is_echo(self, digit: str) -> bool:
        heard, self._heard = self._heard, None
        return heard is not None and heard[0] == digit and self._now() - heard[1] < ECHO_S
