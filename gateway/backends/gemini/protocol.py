"""The client's side of Gemini Live, sans-I/O.

The service names neither responses nor items, so they are numbered here. It decides by itself when to speak and when to
stop: `interrupted` is all it says of a caller who speaks up, and there is nothing to truncate.
"""

import json
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from gateway.backends.gemini import payload
from gateway.backends.gemini.fault import describe_closure, read_duration_s, read_usage
from gateway.backends.json_message import (
    JsonObject,
    MalformedMessageError,
    decode,
    encode,
    objects,
    optional_object,
    optional_text,
)
from gateway.fast import SpeechReader, decode_base64
from gateway.realtime.conversation import ConversationTurn, unanswered_tools
from gateway.realtime.errors import ModelError
from gateway.realtime.event import (
    AgentTranscript,
    AudioDelta,
    AudioDone,
    CallerTranscript,
    RealtimeEvent,
    ResponseDone,
    ResponseStarted,
    ResponseStatus,
    SessionExpiring,
    SessionFailed,
    SpeechStarted,
    SpeechStopped,
    TextAnswer,
    ToolCall,
    ToolCallCancelled,
    Usage,
)
from gateway.realtime.session import TextRole
from gateway.realtime.settings import SessionSettings

_APPEND_TAIL: Final = b'"}}}'
# Tool calls whose names are remembered until their results come.
MAX_PENDING_CALLS: Final = 64
# What the model is told when it is to speak, and nobody says what about.
DEFAULT_PROMPT: Final = "[Say something to the caller now.]"


class GeminiProtocol:
    """One session's state. See `ModelProtocol` for the verbs."""

    def __init__(self, model: str, resumption_handle: str | None = None) -> None:
        self.transmits: deque[bytes] = deque()
        self.events: deque[RealtimeEvent] = deque()
        self.reader: SpeechReader | None = None
        self.rejection: ModelError | None = None
        self.configured = False
        self.resumption_handle = resumption_handle
        self.counters: Counter[str] = Counter()
        self._model = model
        self._history: Sequence[ConversationTurn] = ()
        self._append_head = b""
        self._response_count = 0
        self._responding = False
        self._cut = False
        self._interrupted = False
        self._audio_done = False
        self._agent_words: list[str] = []
        self._caller_count = 1
        self._caller_words: list[str] = []
        self._usage: Usage | None = None
        self._calls: OrderedDict[str, str] = OrderedDict()
        self._earlier_calls: dict[str, str] = {}

    @property
    def _response_id(self) -> str:
        return f"gemini_response_{self._response_count}"

    @property
    def _item_id(self) -> str:
        return f"gemini_item_{self._response_count}"

    @property
    def _caller_item_id(self) -> str:
        return f"gemini_caller_{self._caller_count}"

    # --- commands ---

    def start(self, settings: SessionSettings, history: Sequence[ConversationTurn] = ()) -> None:
        """Sends the setup. What was said before follows when it is confirmed; a resumed session knows it already."""
        self._history = history if self.resumption_handle is None else ()
        self._earlier_calls = unanswered_tools(self._history)
        rate_hz = settings.input_format.sample_rate_hz
        self._append_head = b'{"realtimeInput":{"audio":{"mimeType":"audio/pcm;rate=%d","data":"' % rate_hz
        handle = self.resumption_handle
        self._send(payload.setup(self._model, settings, with_history=bool(self._history), resumption_handle=handle))

    @property
    def append_envelope(self) -> tuple[bytes, bytes]:
        """What stands around the audio."""
        return self._append_head, _APPEND_TAIL

    def create_response(self, instructions: str | None) -> None:
        """Asks the model to speak. It takes this as the caller's word, and may be speaking already."""
        self._send({"realtimeInput": {"text": DEFAULT_PROMPT if instructions is None else f"[{instructions}]"}})

    def ask_aside(self, request_id: str, instructions: str) -> None:
        """The service gives no words beside the conversation."""
        self.events.append(TextAnswer(request_id, None))

    def cancel_response(self) -> None:
        """The service has no such request: its audio is dropped here until the turn is over."""
        self._cut = self._responding

    def truncate(self, item_id: str, audio_end_ms: int) -> None:
        """The service knows by itself what was not played: only late audio is dropped."""
        if item_id == self._item_id:
            self.cancel_response()

    def start_turn(self) -> None:
        """Begins an activity of the caller; the service interrupts itself."""
        self._send({"realtimeInput": {"activityStart": {}}})

    def end_turn(self) -> None:
        """Ends the activity of the caller."""
        self._send({"realtimeInput": {"activityEnd": {}}})

    def send_tool_result(self, call_id: str, output: str) -> None:
        """Answers a call, unless it was cancelled. The model goes on by itself.

        A call of an earlier session is none that the service waits for: its result is told in words.
        """
        if (earlier := self._earlier_calls.pop(call_id, None)) is not None:
            self.create_response(f"The tool {earlier} has answered: {output}")
            return
        name = self._calls.pop(call_id, None)
        if name is None:
            self.counters["result_without_call"] += 1
            return
        self._send(payload.tool_response(call_id, name, output))

    def send_text(self, text: str, role: TextRole) -> None:
        """Adds text without asking for an answer. There is no system role inside a conversation."""
        words = text if role is TextRole.USER else f"[{text}]"
        self._send({"clientContent": {"turns": [payload.content("user", words)], "turnComplete": False}})

    @property
    def awaits(self) -> bool:
        """Nothing here is ever overdue."""
        return False

    def handle_timer(self, now: float) -> None:
        """Nothing here is ever overdue."""

    def describe_closure(self, code: int | None, reason: str) -> SessionFailed:
        """What the service's close frame means."""
        return describe_closure(code, reason)

    # --- receiving ---

    def receive_message(self, message: bytes) -> None:
        """Takes one server message. Several of its parts may stand in one object."""
        try:
            event = decode(message)
        except MalformedMessageError:
            self.counters["malformed_message"] += 1
            return
        if "usageMetadata" in event:
            self._usage = read_usage(optional_object(event, "usageMetadata"))
        known = False
        for name, receive in MESSAGES.items():
            if name in event:
                known = True
                receive(self, optional_object(event, name))
        if not known and "usageMetadata" not in event:
            self.counters["unknown_event"] += 1

    def _receive_setup_complete(self, _body: JsonObject) -> None:
        if self._history:
            self._send(payload.history(self._history))
            self._history = ()
        self.configured = True

    def _receive_server_content(self, body: JsonObject) -> None:
        if body.get("interrupted") is True:
            self._interrupt()
        if "inputTranscription" in body:
            self._receive_caller_words(optional_object(body, "inputTranscription"))
        for part in objects(optional_object(body, "modelTurn"), "parts"):
            self._receive_part(part)
        words = optional_text(optional_object(body, "outputTranscription"), "text")
        if words:
            self._begin_response()
            if not self._cut:
                self._agent_words.append(words)
                self.events.append(AgentTranscript(self._item_id, words, final=False))
        if body.get("generationComplete") is True:
            self._finish_audio()
        if body.get("turnComplete") is True:
            self._finish_turn(optional_text(body, "turnCompleteReason"))

    def _receive_part(self, part: JsonObject) -> None:
        data = optional_object(part, "inlineData")
        if not optional_text(data, "mimeType").startswith("audio/"):
            return  # thoughts, or code that was run
        audio = decode_base64(optional_text(data, "data"))
        if audio is None:
            self.counters["malformed_message"] += 1
            return
        self._begin_response()
        if self._cut:
            self.counters["dropped_delta"] += 1
        elif audio:
            self.events.append(AudioDelta(self._response_id, self._item_id, audio))

    def _receive_caller_words(self, transcription: JsonObject) -> None:
        words = optional_text(transcription, "text")
        if words:
            self._caller_words.append(words)
            self.events.append(CallerTranscript(self._caller_item_id, words, final=False))
        if transcription.get("finished") is True:
            self._finish_caller_words()

    def _finish_caller_words(self) -> None:
        if self._caller_words:
            self.events.append(CallerTranscript(self._caller_item_id, "".join(self._caller_words).strip(), final=True))
            self._caller_words = []
            self._caller_count += 1

    def _begin_response(self) -> None:
        if self._responding:
            return
        self._finish_caller_words()
        self._response_count += 1
        self._responding = True
        self._cut = self._interrupted = self._audio_done = False
        self.events.append(ResponseStarted(self._response_id))

    def _interrupt(self) -> None:
        self._interrupted = self._cut = self._responding
        self.events.append(SpeechStarted(self._caller_item_id, None))

    def _finish_audio(self) -> None:
        if self._responding and not self._audio_done:
            self._audio_done = True
            if not self._cut:
                self.events.append(AudioDone(self._response_id, self._item_id))
        if self._agent_words:
            self.events.append(AgentTranscript(self._item_id, "".join(self._agent_words).strip(), final=True))
            self._agent_words = []

    def _finish_turn(self, reason: str) -> None:
        self._finish_audio()
        if not self._responding:
            return
        if self._interrupted:
            status, reason = ResponseStatus.CANCELLED, "turn_detected"
        else:
            status = ResponseStatus.COMPLETED if reason in _GOOD_ENDS else ResponseStatus.INCOMPLETE
        self.events.append(ResponseDone(self._response_id, status, reason, self._usage))
        self._responding = self._cut = False
        self._usage = None

    def _receive_tool_call(self, body: JsonObject) -> None:
        self._begin_response()
        for call in objects(body, "functionCalls"):
            call_id, name = optional_text(call, "id"), optional_text(call, "name")
            if not call_id or not name:
                self.counters["malformed_message"] += 1
                continue
            if call_id in self._calls:  # said twice: a tool must not run twice
                continue
            self._calls[call_id] = name
            if len(self._calls) > MAX_PENDING_CALLS:
                self._calls.popitem(last=False)
            arguments = json.dumps(optional_object(call, "args"), separators=(",", ":"))
            self.events.append(ToolCall(self._response_id, call_id, name, arguments))

    def _receive_tool_call_cancellation(self, body: JsonObject) -> None:
        ids = body.get("ids")
        for call_id in ids if isinstance(ids, list) else ():
            if isinstance(call_id, str) and self._calls.pop(call_id, None) is not None:
                self.events.append(ToolCallCancelled(call_id))

    def _receive_voice_activity(self, body: JsonObject) -> None:
        """Told on the Enterprise platform alone, and with it the place in the caller's audio."""
        offset_s = read_duration_s(optional_text(body, "audioOffset"))
        audio_ms = None if offset_s is None else int(offset_s * 1000)
        kind = optional_text(body, "voiceActivityType")
        if kind == "ACTIVITY_END":
            self.events.append(SpeechStopped(self._caller_item_id, audio_ms))
        elif kind == "ACTIVITY_START" and not self._responding:
            self.events.append(SpeechStarted(self._caller_item_id, audio_ms))

    def _receive_go_away(self, body: JsonObject) -> None:
        self.events.append(SessionExpiring(read_duration_s(optional_text(body, "timeLeft")) or 0.0))

    def _receive_resumption(self, body: JsonObject) -> None:
        # While the model generates, a handle is not resumable: the last good one stays.
        if body.get("resumable") is True:
            self.resumption_handle = optional_text(body, "newHandle") or self.resumption_handle

    def _send(self, message: Mapping[str, object]) -> None:
        self.transmits.append(encode(message))


_GOOD_ENDS: Final = frozenset(("", "TURN_COMPLETE_REASON_UNSPECIFIED", "NEED_MORE_INPUT"))

# Every server message that is understood.
MESSAGES: Final[Mapping[str, Callable[[GeminiProtocol, JsonObject], None]]] = {
    "setupComplete": GeminiProtocol._receive_setup_complete,
    "toolCallCancellation": GeminiProtocol._receive_tool_call_cancellation,
    "voiceActivity": GeminiProtocol._receive_voice_activity,
    "serverContent": GeminiProtocol._receive_server_content,
    "toolCall": GeminiProtocol._receive_tool_call,
    "sessionResumptionUpdate": GeminiProtocol._receive_resumption,
    "goAway": GeminiProtocol._receive_go_away,
}
