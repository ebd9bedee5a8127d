"""One Realtime session, sans-I/O: what all modes have in common.

    start(now), receive_message(data, now), finish_work(work, result, now), handle_timer(now) change it;
    after each, drain `transmits` (messages to send) and `work` (hearing and speaking for the worker);
    next_timer() tells when to come back; `closure`, once set, is how to close the connection.

An event that cannot be taken is answered with an error event and changes nothing.
"""

import base64
import binascii
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from gateway.embedded import client_event as c
from gateway.embedded.audio import Samples
from gateway.embedded.client_event import ClientEventError, parse_client_event
from gateway.embedded.conversation import Conversation, Item, item_of
from gateway.embedded.response import (
    CancelReason,
    Hearing,
    Pause,
    Response,
    ResponseStatus,
    ResponseWriter,
    Synthesis,
    text_tokens,
)
from gateway.embedded.session_state import SessionState

SESSION_LIMIT_S: Final = 3600.0
# The service's words, whatever the limit is in a test's compressed time.
_EXPIRED: Final = "Your session hit the maximum duration of 60 minutes."
_APPEND_MARK: Final = b'"input_audio_buffer.append"'
# The mark stands within this many bytes where the event comes from a machine; otherwise JSON is parsed as usual.
_APPEND_MARK_WITHIN: Final = 200
_AUDIO_MARK: Final = b'"audio"'
# Items whose audio can still be retrieved. An hour of speech would be 30 MB a session.
_ITEMS_WITH_AUDIO: Final = 20
_MS_PER_INPUT_TOKEN: Final = 100


@dataclass(frozen=True, slots=True)
class SynthesisWork:
    """Words to be spoken. The result is bytes in the response's output format."""

    response: Response
    text: str


@dataclass(frozen=True, slots=True)
class HearingWork:
    """Speech to be recognised. The result is the phrase, or None."""

    item_id: str
    samples: Samples
    rate_hz: int


Work = SynthesisWork | HearingWork


@dataclass(frozen=True, slots=True)
class Closure:
    """How the server closes the connection."""

    code: int
    reason: str


class Session:
    """The part of a session that modes share: settings, items, responses. A mode says what audio and responses do.

    `token` gives what makes ids unique: random text in the server, counted in tests.
    """

    def __init__(
        self, model: str, *, token: Callable[[], str], wall_time_s: float, limit_s: float = SESSION_LIMIT_S
    ) -> None:
        self._token = token
        self._limit_s = limit_s
        self._expires: float | None = None
        self._event_prefix = f"event_{token()}_"
        self._event_count = 0
        self.state = SessionState(self._new_id("sess"), model, int(wall_time_s + limit_s))
        self.conversation = Conversation(self._new_id("conv"))
        self.transmits: deque[bytes] = deque()
        self.work: deque[Work] = deque()
        self.closure: Closure | None = None
        self._responses: dict[str, Response] = {}
        self._writer = ResponseWriter(self._emit, self.transmits.append, self.conversation, self._new_id)
        self._has_spoken = False

    def start(self, now: float) -> None:
        """The connection is open."""
        self._expires = now + self._limit_s
        self._emit("session.created", session=self.state.value)

    def receive_message(self, data: bytes, now: float) -> None:
        """Takes one message of the client."""
        event_id: str | None = None
        try:
            audio = _append_payload(data)
            if audio is not None:
                self._append(audio, now)
                return
            event = parse_client_event(data)
            event_id = event.event_id
            self._take(event, now)
        except ClientEventError as error:
            self._emit_error(error, event_id or error.event_id)

    def next_timer(self) -> float | None:
        """When `handle_timer` is due, in the clock of `now`."""
        dues = [response.due for response in self._responses.values() if response.due is not None]
        if self._expires is not None:
            dues.append(self._expires)
        return min(dues, default=None)

    def handle_timer(self, now: float) -> None:
        """Does what is due."""
        if self._expires is not None and now >= self._expires:
            self._expire()
            return
        for response in list(self._responses.values()):
            if response.due is not None and now >= response.due:
                response.due = None
                self._advance(response, None, now)

    def finish_work(self, work: Work, result: Any, now: float) -> None:
        """Takes the worker's result."""
        if isinstance(work, SynthesisWork) and work.response.status is ResponseStatus.IN_PROGRESS:
            self._advance(work.response, result, now)

    def fail_response(self, response_id: str, code: str) -> None:
        """Ends a response as the service does when it fails: nothing more is said."""
        response = self._responses.get(response_id)
        if response is not None:
            error = {"type": "server_error", "code": code, "message": f"The response failed: {code}."}
            self._finish(response, ResponseStatus.FAILED, {"type": "failed", "error": error})

    def _take(self, event: c.ClientEvent, now: float) -> None:
        match event:
            case c.SessionUpdate():
                self.state.update(event.session, has_spoken=self._has_spoken)
                self._settings_changed(now)
                self._emit("session.updated", session=self.state.value)
            case c.InputAppend():
                self._append(event.audio.encode(), now)
            case c.InputCommit():
                self._commit(now)
            case c.InputClear():
                self._clear()
                self._emit("input_audio_buffer.cleared")
            case c.OutputClear():
                raise ClientEventError("invalid_value", "output_audio_buffer.clear is for WebRTC and SIP only", "type")
            case c.ItemCreate():
                self._create_item(event)
            case c.ItemRetrieve():
                self._emit("conversation.item.retrieved", item=self._with_audio(self._find(event.item_id)))
            case c.ItemDelete():
                self.conversation.delete(self._find(event.item_id).id)
                self._emit("conversation.item.deleted", item_id=event.item_id)
            case c.ItemTruncate():
                self._truncate(event)
            case c.ResponseCreate():
                self._create_response(event.response, now)
            case c.ResponseCancel():
                self._cancel(event.response_id)

    # What a mode decides.

    def _settings_changed(self, now: float) -> None:
        """The settings were updated."""

    def _append(self, audio: bytes, now: float) -> None:
        """Audio of the caller, as base64 text; a session without ears lets it pass."""

    def _commit(self, now: float) -> None:
        raise ClientEventError(
            "input_audio_buffer_commit_empty", "Error committing input audio buffer: buffer is empty."
        )

    def _clear(self) -> None:
        """The audio that was not committed is to be forgotten."""

    def _item_created(self, item: Item) -> None:
        """The client has put an item into the conversation."""

    def _create_response(self, part: c.ResponsePart, now: float) -> None:
        """The client wants a response."""

    def _response_finished(self, response: Response, now: float) -> None:
        """A response has come to its natural end."""

    # Responses.

    @property
    def _active(self) -> Response | None:
        return next((response for response in self._responses.values() if response.in_conversation), None)

    def _begin(self, part: c.ResponsePart) -> Response:
        outside = part.conversation == "none"
        if not outside and (active := self._active) is not None:
            message = (
                f"Conversation already has an active response in progress: {active.id}. "
                "Wait until the response is finished before creating a new one."
            )
            raise ClientEventError("conversation_already_has_active_response", message)
        output = part.audio.output if part.audio is not None else None
        settings = self.state.value
        heard_ms = 0 if outside else self._heard_ms()
        response = Response(
            id=self._new_id("resp"),
            conversation_id=None if outside else self.conversation.id,
            modality=part.output_modalities[0] if part.output_modalities else self.state.modality,
            output_format=_output_format(output, self.state),
            voice=(output.voice if output is not None else None) or settings["audio"]["output"]["voice"],
            metadata=part.metadata,
            max_output_tokens=part.max_output_tokens or settings["max_output_tokens"],
            input_text_tokens=text_tokens(settings["instructions"] or "") + text_tokens(part.instructions or ""),
            input_audio_tokens=heard_ms // _MS_PER_INPUT_TOKEN,
        )
        self._responses[response.id] = response
        self._writer.begin(response)
        return response

    def _heard_ms(self) -> int:
        """Audio of the caller that is part of the conversation."""
        return 0

    def _advance(self, response: Response, value: Any, now: float) -> None:
        """Lets a response go on until it wants something."""
        if response.steps is None:
            return
        try:
            want = response.steps.send(value)
        except StopIteration:
            self._finish(response, ResponseStatus.COMPLETED)
            self._response_finished(response, now)
            return
        match want:
            case Pause():
                response.due = now + want.seconds
            case Synthesis():
                self.work.append(SynthesisWork(response, want.text))
            case Hearing():
                response.waits_for_item = want.item_id

    def _finish(self, response: Response, status: ResponseStatus, details: dict[str, Any] | None = None) -> None:
        self._has_spoken = self._has_spoken or any(item.duration_ms for item in response.output)
        del self._responses[response.id]
        response.due = None
        if response.steps is not None:
            response.steps.close()
        self._writer.finish(response, status, details)
        self.conversation.forget_audio(_ITEMS_WITH_AUDIO)

    def _interrupt(self, response: Response, reason: CancelReason) -> None:
        self._finish(response, ResponseStatus.CANCELLED, {"type": "cancelled", "reason": reason.value})

    def _cancel(self, response_id: str | None) -> None:
        response = self._active if response_id is None else self._responses.get(response_id)
        if response is None:
            raise ClientEventError("response_cancel_not_active", "Cancellation failed: no active response found")
        self._interrupt(response, CancelReason.CLIENT_CANCELLED)

    # Items.

    def _find(self, item_id: str) -> Item:
        if item_id not in self.conversation:
            message = f"Error: the item with id '{item_id}' does not exist."
            raise ClientEventError("item_not_found", message, "item_id")
        return self.conversation[item_id]

    def _create_item(self, event: c.ItemCreate) -> None:
        _check_item(event.item)
        item_id = event.item.id or self._new_id("item")
        if item_id in self.conversation:
            message = f"Error adding item: an item with id '{item_id}' already exists."
            raise ClientEventError("item_create_duplicate_item_id", message, "item.id")
        previous_id = event.previous_item_id
        if previous_id not in {None, "root"} and previous_id not in self.conversation:
            message = f"Error adding item: the previous item with id '{previous_id}' does not exist."
            raise ClientEventError("item_create_invalid_previous_item_id", message, "previous_item_id")
        item = item_of(event.item, item_id)
        previous = self.conversation.add(item, previous_id)
        self._emit("conversation.item.added", previous_item_id=previous, item=item.as_json())
        self._emit("conversation.item.done", previous_item_id=previous, item=item.as_json())
        self._item_created(item)

    def _truncate(self, event: c.ItemTruncate) -> None:
        item = self._find(event.item_id)
        if item.role != "assistant" or not item.content or item.content[0]["type"] != "output_audio":
            message = "Only the audio of an assistant's message can be truncated"
            raise ClientEventError("item_truncate_invalid_item_id", message, "item_id")
        if event.audio_end_ms > item.duration_ms:
            message = f"Audio content of {item.duration_ms}ms is already shorter than {event.audio_end_ms}ms"
            raise ClientEventError("invalid_value", message, "audio_end_ms")
        item.duration_ms = event.audio_end_ms
        del item.audio[event.audio_end_ms * self.state.output_format.bytes_per_ms :]
        # The service deletes the whole transcript, lest there be text that the caller has not heard.
        item.content[0]["transcript"] = ""
        place = {"item_id": item.id, "content_index": 0, "audio_end_ms": event.audio_end_ms}
        self._emit("conversation.item.truncated", **place)

    @staticmethod
    def _with_audio(item: Item) -> dict[str, Any]:
        value = item.as_json()
        if item.audio:
            value["content"][0]["audio"] = base64.b64encode(item.audio).decode()
        return value

    # Events.

    def _expire(self) -> None:
        self._expires = None
        self._emit_error(ClientEventError("session_expired", _EXPIRED), None)
        self.closure = Closure(1001, _EXPIRED)

    def _emit_error(self, error: ClientEventError, event_id: str | None) -> None:
        fields = {"type": "invalid_request_error", "code": error.code, "message": str(error)}
        self._emit("error", error=fields | {"param": error.param, "event_id": event_id})

    def _emit(self, type_: str, /, **fields: Any) -> None:
        self._event_count += 1
        event = {"type": type_, "event_id": f"{self._event_prefix}{self._event_count}", **fields}
        self.transmits.append(json.dumps(event).encode())

    def _new_id(self, kind: str) -> str:
        return f"{kind}_{self._token()}"


def decode_audio(audio: bytes) -> bytes:
    """The bytes in base64 text. Raises ClientEventError for what is none."""
    try:
        return base64.b64decode(audio, validate=True)
    except binascii.Error as error:
        raise ClientEventError("invalid_value", f"Invalid 'audio': {error}", "audio") from error


def _append_payload(data: bytes) -> bytes | None:
    """The base64 text of an append event that is written plainly, without parsing JSON; None for anything else."""
    if _APPEND_MARK not in data[:_APPEND_MARK_WITHIN] or len(data) > c.MAX_APPEND_BYTES:
        return None
    key = data.find(_AUDIO_MARK)
    start = data.find(b'"', key + len(_AUDIO_MARK)) + 1
    end = data.find(b'"', start)
    if key < 0 or start == 0 or end < 0 or data[key + len(_AUDIO_MARK) : start - 1].strip() != b":":
        return None
    payload = data[start:end]
    return None if b"\\" in payload else payload


def _output_format(output: c.AudioOutputPart | None, state: SessionState) -> Any:
    if output is None or output.format is None:
        return state.output_format
    return type(state.output_format)(output.format.type)


def _check_item(part: c.ItemPart) -> None:
    """What the models cannot say: which fields belong to which kind of item."""
    required = {
        "message": ("role", "content"),
        "function_call": ("name", "arguments"),
        "function_call_output": ("call_id", "output"),
        "item_reference": ("id",),
    }[part.type]
    for name in required:
        if getattr(part, name) is None:
            raise ClientEventError(
                "missing_required_parameter", f"Missing required parameter: 'item.{name}'.", f"item.{name}"
            )
    if part.type == "item_reference":
        raise ClientEventError("invalid_value", "A reference can only stand in the input of a response", "item.type")
    allowed = {"system": {"input_text"}, "user": {"input_text", "input_audio", "input_image"}}
    for index, content in enumerate(part.content or ()):
        where = f"item.content[{index}]"
        if content.type not in allowed.get(part.role or "", {"output_text", "output_audio"}):
            raise ClientEventError(
                "invalid_value", f"A {part.role} message cannot hold {content.type}", f"{where}.type"
            )
        if content.type in {"input_text", "output_text", "output_audio"} and content.text is None:
            raise ClientEventError(
                "missing_required_parameter", f"Missing required parameter: '{where}.text'.", f"{where}.text"
            )
