"""GPT-Live, acted out: one stream each way, no turns, no responses, and tools that another model calls.

What the Realtime session inside tells of turns stays inside. Speech goes out at about the pace at which it is heard, so
that a caller who speaks up finds little of it under way.
"""

import json
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.embedded.foreign import (
    PCM_RATE_HZ,
    ForeignError,
    ForeignSession,
    JsonObject,
    MakeSession,
    RateConverter,
    Talk,
    decode_base64,
    functions_of,
    message_item,
    tool_result,
)
from gateway.embedded.session import Closure

PATH: Final = "/v1/live/sessions"
# Times real time: some tenths of a second ahead are what a jittery network needs.
SPEED: Final = 1.25
USAGE_INTERVAL_S: Final = 10.0
_NORMAL: Final = 1000


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PcmFormat(_Part):
    """16-bit samples."""

    type: Literal["audio/pcm"]
    rate: Literal[16000, 24000]


class G711Format(_Part):
    """G.711; the rate is required."""

    type: Literal["audio/pcmu", "audio/pcma"]
    rate: Literal[8000]


class OutputPart(_Part):
    """session.audio.output"""

    voice: str | JsonObject | None = None


class AudioPart(_Part):
    """session.audio"""

    format: Annotated[PcmFormat | G711Format, Field(discriminator="type")] = PcmFormat(type="audio/pcm", rate=24000)
    output: OutputPart | None = None


class DelegatePart(BaseModel):
    """The model that works behind the one that speaks."""

    model_config = ConfigDict(extra="allow")
    model: str | None = None
    instructions: str | None = None
    tools: list[JsonObject] = Field(default_factory=list)


class DelegationPart(_Part):
    """session.delegation"""

    type: Literal["client", "responses"]
    responses: DelegatePart | None = None
    acknowledgement_delay_ms: int | None = None


class TextPart(_Part):
    """One text of an earlier conversation."""

    type: Literal["input_text", "output_text"]
    text: str


class MessagePart(_Part):
    """One message of an earlier conversation."""

    type: Literal["message"]
    role: Literal["developer", "user", "assistant"]
    content: Annotated[list[TextPart], Field(min_length=1, max_length=1)]


class SessionPart(_Part):
    """The session of session.start."""

    model: str
    instructions: str | None = None
    audio: AudioPart = Field(default_factory=AudioPart)
    delegation: DelegationPart | None = None
    input: Annotated[list[MessagePart], Field(max_length=128)] = Field(default_factory=list)
    store: bool | None = None
    safety_identifier: str | None = None


class LiveSession(ForeignSession):
    """One connection."""

    def __init__(self, make: MakeSession, token: Callable[[], str], limit_s: float, wall_time_s: float) -> None:
        super().__init__(make, token)
        self._id = f"live_{token()}"
        self._expires_at = int(wall_time_s + limit_s)
        self._session: SessionPart | None = None
        self._started = 0.0
        self._usage_due: float | None = None
        self._muted = False
        self._event_count = 0
        self._ear = self._mouth = RateConverter(PCM_RATE_HZ, PCM_RATE_HZ)

    # The client's messages.

    def _take(self, message: JsonObject, now: float) -> None:
        take = CLIENT_EVENTS.get(str(message.get("type")))
        if take is None:
            raise ForeignError(f"Invalid value: '{message.get('type')}' is no type of a client event")
        if (self._session is None) != (take is LiveSession._take_start):
            raise ForeignError("session.start is the first event and only the first")
        take(self, message, now)
        if (acknowledgement := ACKNOWLEDGEMENTS.get(message["type"])) is not None:
            times = {} if "audio" in acknowledgement else {"start_ms": self._now_ms(now), "end_ms": self._now_ms(now)}
            self._emit(acknowledgement, client_event_id=message.get("event_id"), **times)

    def _refuse(self, reason: str, now: float) -> None:
        self._emit_error("invalid_value", reason)

    def _take_start(self, message: JsonObject, now: float) -> None:
        session = SessionPart.model_validate(message.get("session"))
        inner = self._make(session.model)
        if inner is None:
            self._emit_error("model_not_found", f"The model `{session.model}` does not exist.")
            self.closure = Closure(_NORMAL, "")
            return
        self._session, self._talk = session, Talk(inner, self)
        self._started, self._usage_due = now, now + USAGE_INTERVAL_S
        rate_hz = session.audio.format.rate
        if session.audio.format.type == "audio/pcm":
            self._ear, self._mouth = RateConverter(rate_hz, PCM_RATE_HZ), RateConverter(PCM_RATE_HZ, rate_hz)
        inner.start(now)
        self._say("session.update", now, session=_session_of(session))
        for item in session.input:
            role = "system" if item.role == "developer" else item.role
            self._say("conversation.item.create", now, item=message_item(role, item.content[0].text))

    def _take_audio(self, message: JsonObject, now: float) -> None:
        audio = self._ear.convert(decode_base64(_text(message, "audio")))
        if audio and not self._muted:
            self._say("input_audio_buffer.append", now, audio=b64encode(audio).decode())

    def _take_commentary(self, message: JsonObject, now: float) -> None:
        self._want_response({"instructions": _text(message, "content")}, now)

    def _take_note(self, message: JsonObject, now: float) -> None:
        self._say("conversation.item.create", now, item=message_item("system", _text(message, "content")))

    def _take_item(self, message: JsonObject, now: float) -> None:
        item = message.get("item")
        if not isinstance(item, dict) or item.get("type") != "function_call_output":
            raise ForeignError("an item is a function_call_output")
        self._say("conversation.item.create", now, item=tool_result(_text(item, "call_id"), _text(item, "output")))

    def _take_response(self, message: JsonObject, now: float) -> None:
        self._want_response({}, now)

    def _take_mute(self, message: JsonObject, now: float) -> None:
        self._muted = message["type"] == "session.input_audio.mute"

    def _take_update(self, message: JsonObject, now: float) -> None:
        """Delegation and triggers could change; here nothing does."""
        self._emit("session.updated", session=self._resource())

    def _take_close(self, message: JsonObject, now: float) -> None:
        self._close("close_requested", now)

    # What the session inside tells.

    def _tell(self, event: JsonObject, now: float) -> None:
        now_ms = self._now_ms(now)
        match event["type"]:
            case "session.updated":
                self._emit("session.started", session=self._resource())
            case "response.output_audio.delta":
                self._speak(event["delta"])
            case "response.output_audio_transcript.delta":
                self._emit("session.output_transcript.delta", delta=event["delta"], start_ms=now_ms, end_ms=now_ms)
            case "conversation.item.input_audio_transcription.completed" if event["transcript"]:
                words = event["transcript"]
                self._emit("session.input_transcript.delta", delta=words, start_ms=now_ms, end_ms=now_ms)
            case "response.done" if event["response"]["status"] == "failed":
                error = event["response"]["status_details"]["error"]
                self._emit_error(error["code"], error["message"], type_=error["type"])
            case "response.done" if event["response"]["status"] == "completed" and self._calls_of_response:
                self._delegate(event["response"]["id"], now_ms)

    def _speak(self, delta: str) -> None:
        audio = self._mouth.convert(decode_base64(delta))
        if audio:
            event = {"type": "session.output_audio.delta", "delta": b64encode(audio).decode()}
            self.transmits.append(json.dumps(event).encode())  # the one event without an id

    def _delegate(self, response_id: str, now_ms: int) -> None:
        """The model behind calls the tools, and its events come wrapped."""
        delegation = {
            "id": f"dlg_{self._token()}",
            "target": "responses",
            "type": "delegation",
            "response_id": response_id,
        }
        self._emit("session.delegation.created", delegation=delegation, offset_ms=now_ms)
        for index, call in enumerate(self._calls_of_response):
            event = {"type": "response.output_item.done", "output_index": index, "item": call}
            self._emit("response.event", delegation_id=delegation["id"], event=event)
        done = {"type": "response.completed", "response": {"id": response_id, "status": "completed", "output": []}}
        self._emit("response.event", delegation_id=delegation["id"], event=done)

    def _expired(self, now: float) -> None:
        self._close("expired", now)

    def _dues(self) -> Sequence[float | None]:
        return (self._usage_due,)

    def _do_due(self, now: float) -> None:
        if self._usage_due is not None and now >= self._usage_due:
            self._usage_due += USAGE_INTERVAL_S
            self._emit("session.usage.updated", usage=self._usage(now))

    # Events.

    def _close(self, reason: str, now: float) -> None:
        self._emit("session.closed", reason=reason, session=self._resource(), usage=self._usage(now))
        self.closure = Closure(_NORMAL, "")

    def _usage(self, now: float) -> JsonObject:
        return {"seconds": round(now - self._started, 3)}

    def _now_ms(self, now: float) -> int:
        return int((now - self._started) * 1000)

    def _resource(self) -> JsonObject:
        given = {} if self._session is None else self._session.model_dump(mode="json", exclude_none=True)
        return given | {"id": self._id, "expires_at": self._expires_at, "status": "active"}

    def _emit_error(self, code: str, message: str, *, type_: str = "invalid_request_error") -> None:
        self._emit("error", error={"type": type_, "code": code, "message": message})

    def _emit(self, type_: str, **fields: Any) -> None:
        self._event_count += 1
        event = {"type": type_, "event_id": f"event_{self._id}_{self._event_count}", **fields}
        self.transmits.append(json.dumps({name: value for name, value in event.items() if value is not None}).encode())


def _text(message: Mapping[str, Any], field: str) -> str:
    value = message.get(field)
    if not isinstance(value, str):
        raise ForeignError(f"Missing required parameter: '{field}'.")
    return value


def _session_of(session: SessionPart) -> JsonObject:
    kind = session.audio.format.type
    wire: JsonObject = {"type": kind} | ({"rate": PCM_RATE_HZ} if kind == "audio/pcm" else {})
    delegate = session.delegation.responses if session.delegation is not None else None
    tools = [tool for tool in delegate.tools if tool.get("type") == "function"] if delegate is not None else []
    return {
        "type": "realtime",
        "instructions": session.instructions or "",
        "tools": functions_of(tools),
        "audio": {
            "input": {
                "format": wire,
                "turn_detection": {"type": "server_vad"},
                "transcription": {"model": "embedded"},
            },
            "output": {"format": wire},
        },
    }


CLIENT_EVENTS: Final[Mapping[str, Callable[[LiveSession, JsonObject, float], None]]] = {
    "session.start": LiveSession._take_start,
    "session.update": LiveSession._take_update,
    "session.close": LiveSession._take_close,
    "session.input_audio.append": LiveSession._take_audio,
    "session.input_audio.mute": LiveSession._take_mute,
    "session.input_audio.unmute": LiveSession._take_mute,
    "session.commentary.append": LiveSession._take_commentary,
    "session.instructions.append": LiveSession._take_note,
    "session.thinking.append": LiveSession._take_note,
    "response.item.create": LiveSession._take_item,
    "response.create": LiveSession._take_response,
}
ACKNOWLEDGEMENTS: Final[Mapping[str, str]] = {
    "session.commentary.append": "session.commentary.appended",
    "session.instructions.append": "session.instructions.appended",
    "session.thinking.append": "session.thinking.appended",
    "session.input_audio.mute": "session.input_audio.muted",
    "session.input_audio.unmute": "session.input_audio.unmuted",
}
