"""The client's side of OpenAI Realtime, sans-I/O: GA, and the beta's names where compatible servers still use them.

`EVENTS` is the whole of what is understood. An event that does not stand there is counted and ignored, as the API asks:
new ones appear without notice.
"""

import binascii
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Final

from gateway.backends.json_message import (
    JsonObject,
    MalformedMessageError,
    decode,
    encode,
    objects,
    optional_integer,
    optional_object,
    optional_text,
    text,
)
from gateway.backends.openai import payload
from gateway.backends.openai.delta import DeltaTemplate, decode_audio, learn
from gateway.backends.openai.dialect import OPENAI, Dialect
from gateway.backends.openai.fault import (
    ALREADY_ACTIVE,
    QUOTA_CODES,
    SESSION_EXPIRED,
    describe_closure,
    is_harmless,
)
from gateway.backends.openai.output import OutputLedger
from gateway.backends.openai.response import ResponseQueue, ResponseRequest
from gateway.backends.openai.tool import ToolCallLedger
from gateway.backends.openai.usage import read_usage
from gateway.realtime.conversation import ConversationTurn
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
    SpeechStarted,
    SpeechStopped,
    ToolCall,
    Truncated,
)
from gateway.realtime.session import TextRole
from gateway.realtime.settings import SessionSettings

_APPEND_HEAD: Final = b'{"type":"input_audio_buffer.append","audio":"'
_APPEND_TAIL: Final = b'"}'
# Client events whose answers are still awaited; an error names one of them.
MAX_AWAITED_EVENTS: Final = 64


class Phase(Enum):
    """How far a session has come."""

    NEW = "new"
    AWAITING_SESSION = "awaiting session"
    AWAITING_SETTINGS = "awaiting settings"
    CONFIGURED = "configured"


class OpenAiProtocol:
    """One session's state. See `ModelProtocol` for the verbs."""

    def __init__(self, dialect: Dialect = OPENAI) -> None:
        self.transmits: deque[bytes] = deque()
        self.events: deque[RealtimeEvent] = deque()
        self.rejection: ModelError | None = None
        self.session_id = ""
        self.counters: Counter[str] = Counter()
        self._dialect = dialect
        self._phase = Phase.NEW
        self._settings = SessionSettings()
        self._history: Sequence[ConversationTurn] = ()
        self._responses = ResponseQueue()
        self._output = OutputLedger()
        self._tools = ToolCallLedger()
        self._template: DeltaTemplate | None = None
        self._event_count = 0
        self._awaited: OrderedDict[str, str] = OrderedDict()
        self._caller_words_so_far = ("", "")

    @property
    def configured(self) -> bool:
        """The service has confirmed the settings."""
        return self._phase is Phase.CONFIGURED

    @property
    def resumption_handle(self) -> str | None:
        """A lost session cannot be taken up again: it is replayed."""
        return None

    # --- commands ---

    def start(self, settings: SessionSettings, history: Sequence[ConversationTurn] = ()) -> None:
        """Waits for the server's greeting, where it gives one, and then sends the settings."""
        self._settings = settings
        self._history = history
        self._output.bytes_per_ms = settings.output_format.bytes_per_ms
        turns = settings.turn_detection
        self._responses.answers_turns = turns is not None and turns.create_response
        self._phase = Phase.AWAITING_SESSION
        if not self._dialect.announces:
            self._send_settings()

    def encode_append(self, payload: bytes) -> bytes:
        """The message that appends audio: bytes from a template, for it is sent fifty times a second."""
        return _APPEND_HEAD + binascii.b2a_base64(payload, newline=False) + _APPEND_TAIL

    def create_response(self, instructions: str | None) -> None:
        """Asks for a response, now or after the present one."""
        self._responses.ask(ResponseRequest(instructions))
        self._send_next_request()

    def cancel_response(self) -> None:
        """Stops the active response, or the one that was asked for and has not begun."""
        response_id = self._responses.active_response_id
        if response_id is not None:
            self._cancel(response_id)
        elif self._responses.requested is not None:
            self._responses.cancel_on_start = True

    def truncate(self, item_id: str, audio_end_ms: int) -> None:
        """Cuts an item at what was played, clamped to what was received."""
        end_ms = self._output.truncate(item_id, audio_end_ms)
        if end_ms is None:
            self.counters["truncation_without_need"] += 1
            return
        if self._dialect.capabilities.can_truncate:
            event = {"type": "conversation.item.truncate", "item_id": item_id, "content_index": 0}
            self._send({**event, "audio_end_ms": end_ms})

    def start_turn(self) -> None:
        """Stops what the model is saying. The server's buffer is not cleared: it holds the beginning of the turn."""
        self.cancel_response()

    def end_turn(self) -> None:
        """Commits what the caller said, and asks for an answer."""
        self._send({"type": "input_audio_buffer.commit"})
        self.create_response(None)

    def send_tool_result(self, call_id: str, output: str) -> None:
        """Adds a result; the last one of its response asks for the next response."""
        self._send({"type": "conversation.item.create", "item": payload.tool_output_item(call_id, output)})
        answered = self._tools.answer(call_id)
        if answered is not None:
            self._responses.ask(ResponseRequest(answers=answered))
            self._send_next_request()

    def send_text(self, text: str, role: TextRole) -> None:
        """Adds a message to the conversation."""
        self._send({"type": "conversation.item.create", "item": payload.text_item(text, role)})

    def handle_timer(self, now: float) -> None:
        """Frees the queue of a request that the server never answered."""
        if self._responses.release_overdue(now):
            self.counters["response_request_unanswered"] += 1
            self._send_next_request()

    def describe_closure(self, code: int | None, reason: str) -> SessionFailed:
        """What the service's close frame means."""
        return describe_closure(code, reason)

    # --- receiving ---

    def receive_message(self, message: bytes) -> None:
        """Takes one server event."""
        template = self._template
        if template is not None:
            audio = template.read(message)
            if audio is not None:
                if self._output.receive(template.response_id, template.item_id, len(audio)):
                    self.events.append(AudioDelta(template.response_id, template.item_id, audio))
                return
        try:
            event = decode(message)
            receive = EVENTS.get(text(event, "type"))
            if receive is None:
                self.counters["unknown_event"] += 1
                return
            receive(self, event)
        except MalformedMessageError:
            self.counters["malformed_message"] += 1
            return
        if receive is OpenAiProtocol._receive_audio_delta:
            self._learn_template(message, event)

    def _learn_template(self, message: bytes, event: JsonObject) -> None:
        response_id, item_id = optional_text(event, "response_id"), optional_text(event, "item_id")
        self._template = learn(message, optional_text(event, "event_id"), text(event, "delta"), response_id, item_id)

    def _receive_session_created(self, event: JsonObject) -> None:
        self.session_id = optional_text(optional_object(event, "session"), "id") or self.session_id
        if self._phase is Phase.AWAITING_SESSION:
            self._send_settings()

    def _receive_session_updated(self, _event: JsonObject) -> None:
        if self._phase is Phase.AWAITING_SETTINGS:
            self._become_configured()

    def _receive_speech_started(self, event: JsonObject) -> None:
        self._responses.caller_speaks = True
        turns = self._settings.turn_detection
        active = self._responses.active_response_id
        if active is not None and turns is not None and turns.interrupt_response:
            # The server has cancelled it, and the caller has stopped listening: late deltas are not wanted.
            self._output.cut_response(active)
        self.events.append(SpeechStarted(optional_text(event, "item_id"), optional_integer(event, "audio_start_ms")))

    def _receive_speech_stopped(self, event: JsonObject) -> None:
        self._responses.caller_speaks = False
        self.events.append(SpeechStopped(optional_text(event, "item_id"), optional_integer(event, "audio_end_ms")))
        self._send_next_request()

    def _receive_committed(self, _event: JsonObject) -> None:
        self._responses.caller_speaks = False  # for servers that commit a turn without speech_stopped

    def _receive_response_created(self, event: JsonObject) -> None:
        response_id = optional_text(optional_object(event, "response"), "id") or optional_text(event, "response_id")
        if not response_id:
            raise MalformedMessageError("response.created names no response")
        cancelled = self._responses.started(response_id)
        self.events.append(ResponseStarted(response_id))
        if cancelled:
            self._cancel(response_id)

    def _receive_audio_delta(self, event: JsonObject) -> None:
        response_id, item_id = optional_text(event, "response_id"), optional_text(event, "item_id")
        audio = decode_audio(text(event, "delta"))
        if audio is None:
            raise MalformedMessageError("audio delta is not base64")
        if self._output.receive(response_id, item_id, len(audio)):
            self.events.append(AudioDelta(response_id, item_id, audio))

    def _receive_audio_done(self, event: JsonObject) -> None:
        response_id, item_id = optional_text(event, "response_id"), optional_text(event, "item_id")
        self._output.finish(item_id)
        if not self._output.is_cut(response_id):
            self.events.append(AudioDone(response_id, item_id))

    def _receive_agent_transcript_delta(self, event: JsonObject) -> None:
        if not self._output.is_cut(optional_text(event, "response_id")):
            self.events.append(AgentTranscript(optional_text(event, "item_id"), text(event, "delta"), final=False))

    def _receive_agent_transcript_done(self, event: JsonObject) -> None:
        self.events.append(AgentTranscript(optional_text(event, "item_id"), text(event, "transcript"), final=True))

    def _receive_caller_transcript_delta(self, event: JsonObject) -> None:
        self.events.append(CallerTranscript(optional_text(event, "item_id"), text(event, "delta"), final=False))

    def _receive_caller_transcript_done(self, event: JsonObject) -> None:
        self.events.append(CallerTranscript(optional_text(event, "item_id"), text(event, "transcript"), final=True))

    def _receive_caller_transcript_so_far(self, event: JsonObject) -> None:
        """All words so far come again and again, as xAI tells them; where they change, the final text puts it right."""
        item_id, words = optional_text(event, "item_id"), text(event, "transcript")
        told_id, told = self._caller_words_so_far
        told = told if told_id == item_id else ""
        if words.startswith(told) and words != told:
            self.events.append(CallerTranscript(item_id, words[len(told) :], final=False))
        self._caller_words_so_far = (item_id, words)

    def _receive_transcription_failed(self, event: JsonObject) -> None:
        error = optional_object(event, "error")
        self.events.append(BackendError("transcription_failed", optional_text(error, "message")))

    def _receive_item(self, event: JsonObject) -> None:
        item = optional_object(event, "item")
        if optional_text(item, "type") == "function_call_output":
            self._responses.acknowledged(optional_text(item, "call_id"))

    def _receive_output_item_done(self, event: JsonObject) -> None:
        self._tools.collect(optional_text(event, "response_id"), optional_object(event, "item"))

    def _receive_arguments_done(self, event: JsonObject) -> None:
        self._tools.collect(optional_text(event, "response_id"), {**event, "type": "function_call"})

    def _receive_truncated(self, event: JsonObject) -> None:
        end_ms = optional_integer(event, "audio_end_ms")
        self.events.append(Truncated(text(event, "item_id"), end_ms if end_ms is not None else 0))

    def _receive_response_done(self, event: JsonObject) -> None:
        response = optional_object(event, "response")
        response_id = optional_text(response, "id") or self._responses.active_response_id or ""
        status = _STATUSES.get(optional_text(response, "status"), ResponseStatus.FAILED)
        details = optional_object(response, "status_details")
        error = optional_object(details, "error")
        reason = optional_text(details, "reason") or optional_text(error, "code") or optional_text(error, "type")
        completed = status is ResponseStatus.COMPLETED
        # Arguments of a response that was cut short may be half a JSON text: such calls are never told.
        calls = self._tools.complete(response_id, objects(response, "output")) if completed else ()
        if not completed:
            self._tools.discard(response_id)
        request = self._responses.requested
        self._responses.ended(completed=completed)
        self._template = None
        self.events.extend(ToolCall(response_id, call.call_id, call.name, call.arguments) for call in calls)
        if status is ResponseStatus.FAILED:
            self._consider_failure(response_id, reason, request or ResponseRequest())
        self.events.append(ResponseDone(response_id, status, reason, read_usage(response)))
        if reason in QUOTA_CODES:
            self._fail(FailureReason.QUOTA, optional_text(error, "message") or reason, retryable=False)
        self._send_next_request()

    def _consider_failure(self, response_id: str, reason: str, request: ResponseRequest) -> None:
        if reason == "server_error" and not request.is_retry and not self._output.has_audio(response_id):
            self.counters["response_retried"] += 1
            self._responses.retry(request)

    def _receive_error(self, event: JsonObject) -> None:
        error = optional_object(event, "error")
        code = optional_text(error, "code") or optional_text(error, "type")
        message = optional_text(error, "message")
        about = self._awaited.pop(optional_text(error, "event_id"), "")
        if code == ALREADY_ACTIVE:
            self.counters["response_race"] += 1
            self._responses.lost_race()
        elif code == SESSION_EXPIRED:
            self._fail(FailureReason.EXPIRED, message, retryable=True)
        elif code in QUOTA_CODES:
            self._fail(FailureReason.QUOTA, message, retryable=False)
        elif is_harmless(code, message):
            self.counters["harmless_error"] += 1
        elif self._phase is not Phase.CONFIGURED and about in ("", "session.update"):
            self.rejection = ModelSettingsError(f"the service did not take the settings: {code}: {message}")
        else:
            if about == "response.create":
                self._responses.rejected()
            self.events.append(BackendError(code, message))
            self._send_next_request()

    def _ignore(self, _event: JsonObject) -> None:
        """Known, and of no use to a call."""

    # --- sending ---

    def _send_settings(self) -> None:
        session = payload.session_payload(self._settings, self._dialect)
        self._send({"type": "session.update", "session": session})
        self._phase = Phase.AWAITING_SETTINGS
        if not self._dialect.confirms:
            self._become_configured()

    def _become_configured(self) -> None:
        self._phase = Phase.CONFIGURED
        for turn in self._history:
            for item in payload.history_items(turn, self._dialect.shape):
                self._send({"type": "conversation.item.create", "item": item})
        self._history = ()

    def _send_next_request(self) -> None:
        request = self._responses.next_request()
        if request is None:
            return
        event: JsonObject = {"type": "response.create"}
        if request.instructions is not None:
            event["response"] = {"instructions": request.instructions}
        self._send(event)

    def _cancel(self, response_id: str) -> None:
        self._output.cut_response(response_id)
        self._send({"type": "response.cancel", "response_id": response_id})

    def _send(self, event: Mapping[str, object]) -> None:
        self._event_count += 1
        event_id = f"trunkline_{self._event_count}"
        self._awaited[event_id] = str(event["type"])
        if len(self._awaited) > MAX_AWAITED_EVENTS:
            self._awaited.popitem(last=False)
        self.transmits.append(encode({"event_id": event_id, **event}))

    def _fail(self, reason: FailureReason, detail: str, *, retryable: bool) -> None:
        self.events.append(SessionFailed(reason, detail, retryable))


_STATUSES: Final = {status.value: status for status in ResponseStatus}


# Every server event that is understood, under its GA name and under the beta's where that differs.
EVENTS: Final[Mapping[str, Callable[[OpenAiProtocol, JsonObject], None]]] = {
    "error": OpenAiProtocol._receive_error,
    "session.created": OpenAiProtocol._receive_session_created,
    "conversation.created": OpenAiProtocol._receive_session_created,  # xAI may greet with this one
    "session.updated": OpenAiProtocol._receive_session_updated,
    "transcription_session.updated": OpenAiProtocol._receive_session_updated,  # beta
    "input_audio_buffer.speech_started": OpenAiProtocol._receive_speech_started,
    "input_audio_buffer.speech_stopped": OpenAiProtocol._receive_speech_stopped,
    "input_audio_buffer.committed": OpenAiProtocol._receive_committed,
    "conversation.item.input_audio_transcription.delta": OpenAiProtocol._receive_caller_transcript_delta,
    "conversation.item.input_audio_transcription.updated": OpenAiProtocol._receive_caller_transcript_so_far,  # xAI
    "conversation.item.input_audio_transcription.completed": OpenAiProtocol._receive_caller_transcript_done,
    "conversation.item.input_audio_transcription.failed": OpenAiProtocol._receive_transcription_failed,
    "conversation.item.added": OpenAiProtocol._receive_item,
    "conversation.item.created": OpenAiProtocol._receive_item,  # beta
    "conversation.item.done": OpenAiProtocol._receive_item,
    "conversation.item.truncated": OpenAiProtocol._receive_truncated,
    "response.created": OpenAiProtocol._receive_response_created,
    "response.output_audio.delta": OpenAiProtocol._receive_audio_delta,
    "response.audio.delta": OpenAiProtocol._receive_audio_delta,  # beta
    "response.output_audio.done": OpenAiProtocol._receive_audio_done,
    "response.audio.done": OpenAiProtocol._receive_audio_done,  # beta
    "response.output_audio_transcript.delta": OpenAiProtocol._receive_agent_transcript_delta,
    "response.audio_transcript.delta": OpenAiProtocol._receive_agent_transcript_delta,  # beta
    "response.output_audio_transcript.done": OpenAiProtocol._receive_agent_transcript_done,
    "response.audio_transcript.done": OpenAiProtocol._receive_agent_transcript_done,  # beta
    "response.output_item.done": OpenAiProtocol._receive_output_item_done,
    "response.function_call_arguments.done": OpenAiProtocol._receive_arguments_done,
    "response.done": OpenAiProtocol._receive_response_done,
} | dict.fromkeys(
    (
        "conversation.item.deleted",
        "conversation.item.input_audio_transcription.segment",
        "conversation.item.retrieved",
        "input_audio_buffer.cleared",
        "input_audio_buffer.timeout_triggered",
        "mcp_list_tools.completed",
        "mcp_list_tools.failed",
        "mcp_list_tools.in_progress",
        "rate_limits.updated",
        "response.content_part.added",
        "response.content_part.done",
        "response.function_call_arguments.delta",
        "response.mcp_call.completed",
        "response.mcp_call.failed",
        "response.mcp_call.in_progress",
        "response.mcp_call_arguments.delta",
        "response.mcp_call_arguments.done",
        "response.output_item.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.text.delta",  # beta
        "response.text.done",  # beta
    ),
    OpenAiProtocol._ignore,
)
