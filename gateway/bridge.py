"""The bridge: audio between one leg and one model session, and the bookkeeping that hangs on its timing.

Everything here is a synchronous call from the socket to the WebSocket's queue or back. Nothing is queued in between,
nothing awaits, and what the call must decide goes to its inbox as an event.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.call.conversation import Conversation, Utterance
from gateway.fast import BridgePath
from gateway.realtime.event import (
    AgentTranscript,
    AudioDelta,
    AudioDone,
    CallerTranscript,
    RealtimeEvent,
    ResponseDone,
    ResponseStarted,
    SessionFailed,
    SpeechStarted,
    SpeechStopped,
    ToolCall,
    ToolCallCancelled,
    Usage,
)
from gateway.realtime.session import RealtimeSession
from rtp.codec.format import PayloadFormat
from rtp.playout import PlayedItem
from rtp.sink import NullSink, ignore_frame

# How much of a caller's audio goes into one message, by how many calls there are: (calls from which on, milliseconds).
# A message costs the same whatever its length, so a full process trades delay for calls; a quiet one does not.
APPEND_STEPS: Final = ((450, 60), (120, 40), (0, 20))
# The caller's first sound may be so long ago when it is told (`interruption.minimum_speech_ms`, and a service's own
# delay); what lies further back is a service that counts otherwise.
LONGEST_HESITATION_SECONDS: Final = 6.0


def append_ms_for(calls: int) -> int:
    """Milliseconds of audio in one message when so many calls run."""
    return next(append_ms for least, append_ms in APPEND_STEPS if calls >= least)


class Speech(Protocol):
    """The side of a leg that speaks: rtp.stream.RtpStream is one."""

    def enqueue(self, item_id: str, audio: bytes) -> None:
        """Appends audio to an item."""

    def finish(self, item_id: str) -> None:
        """No more audio of this item will come."""

    def flush(self) -> list[PlayedItem]:
        """Drops what waits and says what was sent."""

    def sent_ms(self, item_id: str) -> int:
        """Milliseconds of an item that left the socket."""


class Voice(Speech, Protocol):
    """A leg, as far as a model's side needs to know it: gateway.leg.AudioLeg is one, a seat in a room another."""

    @property
    def payload_format(self) -> PayloadFormat:
        """What it carries."""

    @property
    def queued_ms(self) -> int:
        """Speech that waits."""

    def hold(self) -> None:
        """Sends silence from the next packet on; what waits goes on waiting."""

    def release(self) -> None:
        """Goes on where `hold` stopped it."""


class Recorder(Protocol):
    """Takes both channels of a recording: gateway.recording.CallRecording is one."""

    def add_caller(self, payload: bytes) -> None:
        """The caller's audio, in order."""

    def add_agent(self, frame: bytes) -> None:
        """A frame as it left the socket."""


class BridgeListener(Protocol):
    """The call, as far as the bridge knows it."""

    def on_digit(self, digit: str, duration_ms: int) -> None:
        """The caller pressed a key."""

    def on_tool_call(self, call: ToolCall) -> None:
        """The model wants a tool."""

    def on_tool_cancelled(self, tool_call_id: str) -> None:
        """The model no longer wants a tool's result."""

    def on_model_failed(self, failure: SessionFailed) -> None:
        """The model session is over."""

    def on_playout_drained(self) -> None:
        """All that the agent had to say has left the socket."""

    def on_said(self, utterance: Utterance) -> None:
        """One side's words are complete."""

    def on_interrupted(self, heard_ms: int) -> None:
        """The caller spoke over the agent, of whose words so much had been sent."""

    def on_turn(self, latency_ms: int | None) -> None:
        """The first packet of an answer left the socket; latency from the caller's last word, None for a greeting."""


@dataclass(slots=True)
class _Item:
    """What the bridge knows of one item of the agent's speech."""

    response_id: str
    utterance: Utterance
    generated_octets: int = 0


class Bridge(BridgePath, NullSink):
    """Carries audio both ways and turns interruptions into a flush and a truncation.

    Args:
        session: the model's side; its `sink` is this bridge's `on_model_event`.
        conversation: takes what is said and when.
        listener: is told what the call must act upon.
        clock: monotonic seconds.
        octets_per_ms: of the model's audio (8 for G.711).
        recorder: takes both channels, or None.
        pause_ms: how much of the silence after the caller's last word the model waits before it says speech_stopped.
    """

    recorder: Recorder | None
    speech: Speech | None

    def __init__(
        self,
        session: RealtimeSession,
        conversation: Conversation,
        listener: BridgeListener,
        clock: Callable[[], float],
        *,
        octets_per_ms: int = 8,
        recorder: Recorder | None = None,
        pause_ms: int = 0,
    ) -> None:
        self.session = session
        self.conversation = conversation
        self.usage: dict[str, int] = {}
        self._listener = listener
        self._clock = clock
        self.octets_per_ms = octets_per_ms
        self.recorder = recorder
        if recorder is None:
            self.on_frame_sent = ignore_frame  # type: ignore[method-assign]  # fifty calls a second are spared
        self._pause_ms = pause_ms
        self.speech = None
        self.append = session.append_audio
        self.first_audio_at = None
        self.item_id = None
        self.generated_octets = 0
        self._items: dict[str, _Item] = {}

    def attach(self, speech: Speech) -> None:
        """Gives the bridge the leg that it speaks on."""
        self.speech = speech

    # The leg's side: rtp.sink.StreamSink.

    def _note_first_audio(self) -> None:
        self.first_audio_at = self._clock()

    def on_digit(self, digit: str, duration_ms: int) -> None:
        """A key: an event, never sound."""
        self._listener.on_digit(digit, duration_ms)

    def on_frame_sent(self, frame: bytes, item_id: str | None) -> None:
        """A frame leaves the socket now."""
        if self.recorder is not None:
            self.recorder.add_agent(frame)

    def on_item_started(self, item_id: str) -> None:
        """The first frame of an item leaves the socket now."""
        turn = self.conversation.agent_heard_from(item_id, self._clock())
        if turn is not None:
            self._listener.on_turn(turn.latency_ms)

    def on_item_finished(self, item_id: str) -> None:
        """All of an item has left the socket."""
        if self.speech is not None:
            self.conversation.agent_item_played(item_id, self.speech.sent_ms(item_id))

    def on_playout_drained(self) -> None:
        """Nothing of the agent's speech waits."""
        self._listener.on_playout_drained()

    def on_load(self, calls: int) -> None:
        """So many calls run now."""
        self.session.append_ms = append_ms_for(calls)

    # The model's side.

    def _receive_irregular(self, event: RealtimeEvent) -> None:
        handler = _HANDLERS.get(type(event))
        if handler is not None:
            handler(self, event)

    def _tool_call(self, event: ToolCall) -> None:
        self._listener.on_tool_call(event)

    def _tool_call_cancelled(self, event: ToolCallCancelled) -> None:
        self._listener.on_tool_cancelled(event.call_id)

    def _session_failed(self, event: SessionFailed) -> None:
        self._listener.on_model_failed(event)

    def _audio_delta(self, event: AudioDelta) -> None:
        """Another item than before speaks."""
        if self.item_id is not None:
            self._items[self.item_id].generated_octets = self.generated_octets
        item = self._items.get(event.item_id)
        if item is None:
            utterance = self.conversation.agent_audio(event.response_id, event.item_id, 0, self._clock())
            item = self._items[event.item_id] = _Item(event.response_id, utterance)
        self.item_id, self.utterance, self.generated_octets = event.item_id, item.utterance, item.generated_octets
        self.on_model_event(event)

    def _audio_done(self, event: AudioDone) -> None:
        if self.speech is not None:
            self.speech.finish(event.item_id)

    def _speech_started(self, event: SpeechStarted) -> None:
        """The caller speaks: what waits is dropped at once, and the model forgets what was not heard."""
        now = self._clock()
        began = now
        if event.audio_ms is not None and self.first_audio_at is not None:  # told late, where it did not count at once
            began = max(now - LONGEST_HESITATION_SECONDS, min(now, self.first_audio_at + event.audio_ms / 1000))
        self.conversation.caller_started(event.item_id, now, began)
        if self.speech is None:
            return
        for played in self.on_playout_flushed(self.speech.flush()):
            if played.sent_ms:
                self._listener.on_interrupted(played.sent_ms)

    def on_playout_flushed(self, dropped: list[PlayedItem]) -> list[PlayedItem]:
        """Takes note of speech that will not be heard: the model forgets it. Returns what it was given."""
        for played in dropped:
            self.conversation.agent_interrupted(played.item_id, played.sent_ms)
            self.session.truncate(played.item_id, played.sent_ms)
        return dropped

    def _speech_stopped(self, event: SpeechStopped) -> None:
        now = self._clock()
        stopped = now - self._pause_ms / 1000
        if event.audio_ms is not None and self.first_audio_at is not None:
            # The model counts in appended audio; the caller's last word lies before the silence that it waited for.
            stopped = min(now, self.first_audio_at + (event.audio_ms - self._pause_ms) / 1000)
        self.conversation.caller_stopped(stopped, now, event.item_id)

    def _response_started(self, event: ResponseStarted) -> None:
        self.conversation.response_started(event.response_id, self._clock())

    def _response_done(self, event: ResponseDone) -> None:
        for item_id in [item_id for item_id, item in self._items.items() if item.response_id == event.response_id]:
            if self.speech is not None:
                self.speech.finish(item_id)
            del self._items[item_id]
            if item_id == self.item_id:
                self.item_id = None
        if event.usage is not None:
            self._add_usage(event.usage)

    def _agent_transcript(self, event: AgentTranscript) -> None:
        if not event.final:
            self.conversation.agent_fragment(event.item_id, event.text, self._clock())
            return
        self._listener.on_said(self.conversation.agent_said(event.item_id, event.text, self._clock()))

    def _caller_transcript(self, event: CallerTranscript) -> None:
        if event.final:
            self._listener.on_said(self.conversation.caller_said(event.item_id, event.text, self._clock()))

    def _add_usage(self, usage: Usage) -> None:
        for name in Usage.__dataclass_fields__:
            if value := getattr(usage, name):
                self.usage[name] = self.usage.get(name, 0) + value


# A table of the class, not of each bridge: bound methods in an instance would be a reference cycle for every call.
_HANDLERS: Final[Mapping[type[RealtimeEvent], Callable[..., None]]] = {
    AudioDelta: Bridge._audio_delta,
    AudioDone: Bridge._audio_done,
    SpeechStarted: Bridge._speech_started,
    SpeechStopped: Bridge._speech_stopped,
    ResponseStarted: Bridge._response_started,
    ResponseDone: Bridge._response_done,
    AgentTranscript: Bridge._agent_transcript,
    CallerTranscript: Bridge._caller_transcript,
    ToolCall: Bridge._tool_call,
    ToolCallCancelled: Bridge._tool_call_cancelled,
    SessionFailed: Bridge._session_failed,
}
