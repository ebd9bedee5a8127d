"""What a client may send, as pydantic models: unknown or wrong fields become the error event that the service sends.

Only what this server acts on is looked into; prompts, tracing and MCP tools are taken as they come.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

JsonObject = dict[str, Any]

# The service's own bound on one append event.
MAX_APPEND_BYTES: Final = 15 * 2**20


class ClientEventError(Exception):
    """An event that cannot be taken. `code`, `param` and `event_id` are those of the error event."""

    def __init__(self, code: str, message: str, param: str | None = None, event_id: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param
        self.event_id = event_id


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PcmFormat(_Part):
    """16-bit samples; 24 kHz is the only rate."""

    type: Literal["audio/pcm"]
    rate: Literal[24000] = 24000


class G711Format(_Part):
    """G.711 at 8 kHz."""

    type: Literal["audio/pcmu", "audio/pcma"]


AudioFormatPart = Annotated[PcmFormat | G711Format, Field(discriminator="type")]


class ServerVadPart(_Part):
    """Turns by silence."""

    type: Literal["server_vad"]
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    prefix_padding_ms: Annotated[int, Field(ge=0, le=10_000)] = 300
    silence_duration_ms: Annotated[int, Field(ge=0, le=60_000)] = 500
    create_response: bool = True
    interrupt_response: bool = True
    idle_timeout_ms: Annotated[int, Field(ge=1)] | None = None


class SemanticVadPart(_Part):
    """Turns by what was said."""

    type: Literal["semantic_vad"]
    eagerness: Literal["low", "medium", "high", "auto"] = "auto"
    create_response: bool = True
    interrupt_response: bool = True


TurnDetectionPart = Annotated[ServerVadPart | SemanticVadPart, Field(discriminator="type")]


class NoiseReductionPart(_Part):
    """Taken, and without effect here."""

    type: Literal["near_field", "far_field"]
    strength: float = 1


class TranscriptionPart(_Part):
    """The caller's words as text."""

    model: str | None = None
    language: str | None = None
    languages: list[str] | None = None
    prompt: str | None = None
    keywords: list[str] | None = None
    delay: Literal["minimal", "low", "medium", "high", "xhigh"] | None = None


class AudioInputPart(_Part):
    """session.audio.input"""

    format: AudioFormatPart | None = None
    noise_reduction: NoiseReductionPart | None = None
    transcription: TranscriptionPart | None = None
    turn_detection: TurnDetectionPart | None = None


class AudioOutputPart(_Part):
    """session.audio.output"""

    format: AudioFormatPart | None = None
    voice: str | JsonObject | None = None
    speed: Annotated[float, Field(ge=0.25, le=1.5)] | None = None


class AudioPart(_Part):
    """session.audio"""

    input: AudioInputPart | None = None
    output: AudioOutputPart | None = None


class FunctionTool(_Part):
    """A function that the model may call."""

    type: Literal["function"]
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: str | None = None
    parameters: JsonObject | None = None


class McpTool(BaseModel):
    """A server of tools; taken, and never called here."""

    model_config = ConfigDict(extra="allow")
    type: Literal["mcp"]


ToolPart = Annotated[FunctionTool | McpTool, Field(discriminator="type")]
Modalities = Annotated[list[Literal["text", "audio"]], Field(min_length=1, max_length=1)]
MaxTokens = Annotated[int, Field(ge=1, le=4096)] | Literal["inf"]


class SessionPart(_Part):
    """The session of session.update: only what is present changes."""

    type: Literal["realtime"]
    model: str | None = None
    output_modalities: Modalities | None = None
    instructions: str | None = None
    audio: AudioPart | None = None
    tools: list[ToolPart] | None = None
    tool_choice: str | JsonObject | None = None
    parallel_tool_calls: bool | None = None
    reasoning: JsonObject | None = None
    max_output_tokens: MaxTokens | None = None
    truncation: str | JsonObject | None = None
    tracing: str | JsonObject | None = None
    prompt: JsonObject | None = None
    include: list[Literal["item.input_audio_transcription.logprobs"]] | None = None


class ContentPart(_Part):
    """One part of a message."""

    type: Literal["input_text", "input_audio", "input_image", "output_text", "output_audio"]
    text: str | None = None
    audio: str | None = None
    transcript: str | None = None
    image_url: str | None = None
    detail: Literal["auto", "low", "high"] | None = None


class ItemPart(_Part):
    """An item of a conversation, of the kinds that a client can make, or a reference to one."""

    type: Literal["message", "function_call", "function_call_output", "item_reference"]
    id: Annotated[str, Field(max_length=64)] | None = None
    object: Literal["realtime.item"] | None = None
    status: Literal["completed", "incomplete", "in_progress"] | None = None
    role: Literal["system", "user", "assistant"] | None = None
    content: list[ContentPart] | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    output: str | None = None


class ResponsePart(_Part):
    """The response of response.create."""

    instructions: str | None = None
    output_modalities: Modalities | None = None
    audio: AudioPart | None = None
    tools: list[ToolPart] | None = None
    tool_choice: str | JsonObject | None = None
    parallel_tool_calls: bool | None = None
    reasoning: JsonObject | None = None
    max_output_tokens: MaxTokens | None = None
    metadata: dict[str, str] | None = None
    prompt: JsonObject | None = None
    conversation: Literal["auto", "none"] | None = None
    input: list[ItemPart] | None = None


class _Event(_Part):
    event_id: Annotated[str, Field(max_length=512)] | None = None


class SessionUpdate(_Event):
    """session.update"""

    type: Literal["session.update"]
    session: SessionPart


class InputAppend(_Event):
    """input_audio_buffer.append"""

    type: Literal["input_audio_buffer.append"]
    audio: Annotated[str, Field(max_length=MAX_APPEND_BYTES)]


class InputCommit(_Event):
    """input_audio_buffer.commit"""

    type: Literal["input_audio_buffer.commit"]


class InputClear(_Event):
    """input_audio_buffer.clear"""

    type: Literal["input_audio_buffer.clear"]


class OutputClear(_Event):
    """output_audio_buffer.clear: for WebRTC and SIP; refused here."""

    type: Literal["output_audio_buffer.clear"]


class ItemCreate(_Event):
    """conversation.item.create"""

    type: Literal["conversation.item.create"]
    item: ItemPart
    previous_item_id: str | None = None


class ItemRetrieve(_Event):
    """conversation.item.retrieve"""

    type: Literal["conversation.item.retrieve"]
    item_id: str


class ItemDelete(_Event):
    """conversation.item.delete"""

    type: Literal["conversation.item.delete"]
    item_id: str


class ItemTruncate(_Event):
    """conversation.item.truncate"""

    type: Literal["conversation.item.truncate"]
    item_id: str
    content_index: Literal[0]
    audio_end_ms: Annotated[int, Field(ge=0)]


class ResponseCreate(_Event):
    """response.create"""

    type: Literal["response.create"]
    response: ResponsePart = Field(default_factory=ResponsePart)


class ResponseCancel(_Event):
    """response.cancel"""

    type: Literal["response.cancel"]
    response_id: str | None = None


ClientEvent = (
    SessionUpdate
    | InputAppend
    | InputCommit
    | InputClear
    | OutputClear
    | ItemCreate
    | ItemRetrieve
    | ItemDelete
    | ItemTruncate
    | ResponseCreate
    | ResponseCancel
)
_ADAPTER: Final[TypeAdapter[ClientEvent]] = TypeAdapter(Annotated[ClientEvent, Field(discriminator="type")])
# The codes of the service for what pydantic finds; anything else is an invalid value.
_CODES: Final[Mapping[str, str]] = {"missing": "missing_required_parameter", "extra_forbidden": "unknown_parameter"}


def parse_client_event(message: bytes | str) -> ClientEvent:
    """One message of a client. Raises ClientEventError only."""
    try:
        value = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise ClientEventError("invalid_json", f"The message is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ClientEventError("invalid_event", "An event is a JSON object")
    event_id = value.get("event_id") if isinstance(value.get("event_id"), str) else None
    try:
        return _ADAPTER.validate_python(value)
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        if not detail["loc"]:
            code, param = ("missing_required_parameter" if "type" not in value else "invalid_value"), "type"
        else:
            code, param = _CODES.get(detail["type"], "invalid_value"), _param(detail["loc"])
        raise ClientEventError(code, f"{param}: {detail['msg']}", param, event_id) from error


def _param(location: tuple[int | str, ...]) -> str:
    """Pydantic's location in the service's notation, without the names of union members."""
    path = ""
    for part in location[1:]:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part not in _UNION_TAGS:
            path += f".{part}" if path else part
    return path


_UNION_TAGS: Final = frozenset(
    {"audio/pcm", "audio/pcmu", "audio/pcma", "server_vad", "semantic_vad", "function", "mcp"}
)
