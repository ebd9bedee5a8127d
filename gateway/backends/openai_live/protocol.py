"""The client's side of GPT-Live, sans-I/O.

Speech is one stream without items, responses or ends, so all three are made here: an item ends when the caller is
heard after it, or when no audio has come for a while. What the model calls tools with is another model behind it,
whose events arrive wrapped in `response.event`.
"""

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from gateway.backends.json_message import (
    JsonObject,
    MalformedMessageError,
    decode,
    encode,
    objects,
    optional_object,
    optional_text,
    text,
)
from gateway.backends.openai.fault import QUOTA_CODES, SESSION_EXPIRED, describe_closure
from gateway.backends.openai.payload import tool_output_item
from gateway.backends.openai.tool import ToolCallLedger
from gateway.backends.openai_live import payload
from gateway.fast import SpeechReader, decode_base64
from gateway.realtime.conversation import ConversationTurn, unanswered_tools
from gateway.realtime.errors import ModelError, ModelSettingsError
from gateway.realtime.event import (
    AgentTranscript,
    AudioDelta,
    AudioDone,
    BackendError,
    CallerTranscript,
    FailureReason,
    RealtimeEvent,
    ResponseDone,
    ResponseStarted,
    ResponseStatus,
    SessionFailed,
    SessionUsage,
    TextAnswer,
    ToolCall,
)
from gateway.realtime.session import TextRole
from gateway.realtime.settings import SessionSettings

_APPEND_HEAD: Final = b'{"type":"session.input_audio.append","audio":"'
_APPEND_TAIL: Final = b'"}'
# An item is over when so long no audio of it has come.
OUTPUT_GAP_S: Final = 1.0
# No session lasts for a week: such a count is none.
LONGEST_USAGE_S: Final = 7 * 86_400.0
# What the model is told when it is to speak, and nobody says what about.
DEFAULT_COMMENTARY: Final = "Say something to the caller now."

_CLOSE_REASONS: Final = {
    "expired": (FailureReason.EXPIRED, True),
    "content": (FailureReason.PROTOCOL, False),
    "connection_lost": (FailureReason.CONNECTION_LOST, True),
}


class OpenAiLiveProtocol:
    """One session's state. See `ModelProtocol` for the verbs."""

    def __init__(self, model: str, delegate_model: str) -> None:
        self.transmits: deque[bytes] = deque()
        self.events: deque[RealtimeEvent] = deque()
        self.reader: SpeechReader | None = None
        self.rejection: ModelError | None = None
        self.configured = False
        self.session_id = ""
        self.counters: Counter[str] = Counter()
        self._model = model
        self._delegate_model = delegate_model
        self._event_count = 0
        self._item_count = 0
        self._speaking = False
        self._cut = False
        self._audio_came = False
        self._audio_at: float | None = None
        self._agent_words: list[str] = []
        self._caller_count = 1
        self._caller_words: list[str] = []
        self._tools = ToolCallLedger()
        self._earlier_calls: dict[str, str] = {}

    @property
    def resumption_handle(self) -> str | None:
        """A lost session cannot be taken up again: it is replayed."""
        return None

    @property
    def _item_id(self) -> str:
        return f"live_item_{self._item_count}"

    @property
    def _response_id(self) -> str:
        return f"live_response_{self._item_count}"

    # --- commands ---

    def start(self, settings: SessionSettings, history: Sequence[ConversationTurn] = ()) -> None:
        """Sends the settings, with what was said before."""
        self._earlier_calls = unanswered_tools(history)
        self._send(payload.session_start(self._model, self._delegate_model, settings, history))

    @property
    def append_envelope(self) -> tuple[bytes, bytes]:
        """What stands around the audio."""
        return _APPEND_HEAD, _APPEND_TAIL

    def create_response(self, instructions: str | None) -> None:
        """Gives the model something to say; it decides when."""
        content = DEFAULT_COMMENTARY if instructions is None else instructions
        self._send({"type": "session.commentary.append", "content": content, "delegation_id": None})

    def ask_aside(self, request_id: str, instructions: str) -> None:
        """The service gives no words beside the conversation."""
        self.events.append(TextAnswer(request_id, None))

    def cancel_response(self) -> None:
        """The service has no such request: what it still sends of this item is dropped here."""
        self._cut = self._speaking

    def truncate(self, item_id: str, audio_end_ms: int) -> None:
        """The service keeps the time of its stream by itself: only late audio is dropped."""
        if item_id == self._item_id:
            self.cancel_response()

    def start_turn(self) -> None:
        """The model hears by itself that the caller has begun; what it still says of its item is not wanted."""
        self.cancel_response()

    def end_turn(self) -> None:
        """The model hears by itself that the caller has ended."""

    def send_tool_result(self, call_id: str, output: str) -> None:
        """Adds a result; the last one of its response lets the delegate go on.

        A call of an earlier session is none that the delegate knows: its result is told to the speaking model.
        """
        if (earlier := self._earlier_calls.pop(call_id, None)) is not None:
            self.create_response(f"The tool {earlier} has answered: {output}")
            return
        self._send({"type": "response.item.create", "item": tool_output_item(call_id, output)})
        if self._tools.answer(call_id) is not None:
            self._send({"type": "response.create"})

    def send_text(self, text: str, role: TextRole) -> None:
        """Tells the model something silently."""
        kind = "session.instructions.append" if role is TextRole.SYSTEM else "session.thinking.append"
        self._send({"type": kind, "content": text, "delegation_id": None})

    @property
    def awaits(self) -> bool:
        """Whether an item goes on whose end nobody tells."""
        return self._speaking

    def handle_timer(self, now: float) -> None:
        """Ends an item of which no more audio comes."""
        if self._audio_came or self._audio_at is None:
            self._audio_came, self._audio_at = False, now
        elif self._speaking and now - self._audio_at >= OUTPUT_GAP_S:
            self._finish_item()

    def describe_closure(self, code: int | None, reason: str) -> SessionFailed:
        """What the service's close frame means."""
        return describe_closure(code, reason)

    # --- receiving ---

    def receive_message(self, message: bytes) -> None:
        """Takes one server event."""
        try:
            event = decode(message)
            receive = EVENTS.get(text(event, "type"))
            if receive is None:
                self.counters["unknown_event"] += 1
                return
            receive(self, event)
        except MalformedMessageError:
            self.counters["malformed_message"] += 1

    def _receive_started(self, event: JsonObject) -> None:
        self.session_id = optional_text(optional_object(event, "session"), "id")
        self.configured = True

    def _receive_audio_delta(self, event: JsonObject) -> None:
        audio = decode_base64(text(event, "delta"))
        if audio is None:
            raise MalformedMessageError("audio delta is not base64")
        self._audio_came = True
        self._begin_item()
        if self._cut:
            self.counters["dropped_delta"] += 1
        else:
            self.events.append(AudioDelta(self._response_id, self._item_id, audio))

    def _receive_agent_words(self, event: JsonObject) -> None:
        words = text(event, "delta")
        self._begin_item()
        if not self._cut:
            self._agent_words.append(words)
            self.events.append(AgentTranscript(self._item_id, words, final=False))

    def _receive_caller_words(self, event: JsonObject) -> None:
        words = text(event, "delta")
        self._finish_item()
        self._caller_words.append(words)
        self.events.append(CallerTranscript(f"live_caller_{self._caller_count}", words, final=False))

    def _begin_item(self) -> None:
        if self._speaking:
            return
        if self._caller_words:
            said = "".join(self._caller_words).strip()
            self.events.append(CallerTranscript(f"live_caller_{self._caller_count}", said, final=True))
            self._caller_words = []
            self._caller_count += 1
        self._item_count += 1
        self._speaking, self._cut = True, False
        self._audio_came = True  # words may come first: the wait for audio begins with them
        self.events.append(ResponseStarted(self._response_id))

    def _finish_item(self) -> None:
        if not self._speaking:
            return
        self._speaking = False
        if not self._cut:
            self.events.append(AudioDone(self._response_id, self._item_id))
        if self._agent_words:
            self.events.append(AgentTranscript(self._item_id, "".join(self._agent_words).strip(), final=True))
            self._agent_words = []
        status = ResponseStatus.CANCELLED if self._cut else ResponseStatus.COMPLETED
        self.events.append(ResponseDone(self._response_id, status, "", None))

    def _receive_response_event(self, event: JsonObject) -> None:
        """The delegate's own events, of the Responses API."""
        inner = optional_object(event, "event")
        delegation_id = optional_text(event, "delegation_id")
        kind = optional_text(inner, "type")
        if kind == "response.output_item.done":
            self._tools.collect(delegation_id, optional_object(inner, "item"))
        elif kind in ("response.failed", "response.incomplete", "response.cancelled"):
            self._tools.discard(delegation_id)
        elif kind == "response.completed":
            response = optional_object(inner, "response")
            response_id = optional_text(response, "id") or delegation_id
            for call in self._tools.complete(delegation_id, objects(response, "output")):
                self.events.append(ToolCall(response_id, call.call_id, call.name, call.arguments))

    def _receive_usage(self, event: JsonObject) -> None:
        """The service charges by the second, and its count is the one that is paid."""
        seconds = optional_object(event, "usage").get("seconds")
        if isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 <= seconds < LONGEST_USAGE_S:
            self.events.append(SessionUsage(float(seconds)))

    def _receive_closed(self, event: JsonObject) -> None:
        if "usage" in event:
            self._receive_usage(event)
        reason = optional_text(event, "reason")
        failure, retryable = _CLOSE_REASONS.get(reason, (FailureReason.CLOSED, True))
        self.events.append(
            SessionFailed(failure, f"the service closed the session: {reason or 'no reason'}", retryable)
        )

    def _receive_error(self, event: JsonObject) -> None:
        error = optional_object(event, "error")
        code = optional_text(error, "code") or optional_text(error, "type")
        message = optional_text(error, "message")
        if code == SESSION_EXPIRED:
            self.events.append(SessionFailed(FailureReason.EXPIRED, message, retryable=True))
        elif code in QUOTA_CODES:
            self.events.append(SessionFailed(FailureReason.QUOTA, message, retryable=False))
        elif not self.configured:
            self.rejection = ModelSettingsError(f"the service did not take the settings: {code}: {message}")
        else:
            self.events.append(BackendError(code, message))

    def _ignore(self, _event: JsonObject) -> None:
        """Known, and of no use to a call."""

    def _send(self, event: Mapping[str, object]) -> None:
        self._event_count += 1
        self.transmits.append(encode({"event_id": f"trunkline_{self._event_count}", **event}))


# Every server event that is understood. Those of transports and fixtures never come on a media WebSocket.
EVENTS: Final[Mapping[str, Callable[[OpenAiLiveProtocol, JsonObject], None]]] = {
    "error": OpenAiLiveProtocol._receive_error,
    "session.started": OpenAiLiveProtocol._receive_started,
    "session.output_audio.delta": OpenAiLiveProtocol._receive_audio_delta,
    "session.output_transcript.delta": OpenAiLiveProtocol._receive_agent_words,
    "session.input_transcript.delta": OpenAiLiveProtocol._receive_caller_words,
    "response.event": OpenAiLiveProtocol._receive_response_event,
    "session.closed": OpenAiLiveProtocol._receive_closed,
    "session.usage.updated": OpenAiLiveProtocol._receive_usage,
} | dict.fromkeys(
    (
        "info",
        "session.commentary.appended",
        "session.delegation.created",
        "session.input_audio.muted",
        "session.input_audio.unmuted",
        "session.instructions.appended",
        "session.thinking.appended",
        "session.updated",
    ),
    OpenAiLiveProtocol._ignore,
)
