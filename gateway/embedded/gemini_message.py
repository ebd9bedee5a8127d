"""What a client of Gemini Live may send: camelCase or snake_case, and no field that the service does not know."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

JsonObject = dict[str, Any]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Blob(_Part):
    """Audio, as base64."""

    data: str
    mime_type: str


class FunctionCall(_Part):
    """A call of an earlier conversation."""

    id: str | None = None
    name: str
    args: JsonObject = Field(default_factory=dict)


class FunctionResponse(_Part):
    """A tool's result."""

    id: str | None = None
    name: str | None = None
    response: JsonObject = Field(default_factory=dict)
    scheduling: str | None = None
    will_continue: bool | None = None


class ContentPart(_Part):
    """One part of a turn."""

    text: str | None = None
    function_call: FunctionCall | None = None
    function_response: FunctionResponse | None = None


class Content(_Part):
    """One turn, of `user` or `model`."""

    role: str = "user"
    parts: list[ContentPart] = Field(default_factory=list)


class AutomaticActivityDetection(_Part):
    """How turns are found."""

    disabled: bool = False
    start_of_speech_sensitivity: str | None = None
    end_of_speech_sensitivity: str | None = None
    prefix_padding_ms: int | None = None
    silence_duration_ms: int | None = None


class RealtimeInputConfig(_Part):
    """How the caller's audio is taken."""

    automatic_activity_detection: AutomaticActivityDetection = Field(default_factory=AutomaticActivityDetection)
    activity_handling: str | None = None
    turn_coverage: str | None = None


class FunctionDeclaration(_Part):
    """A function that the model may call."""

    name: str
    description: str | None = None
    parameters: JsonObject | None = None
    parameters_json_schema: JsonObject | None = None
    behavior: str | None = None


class Tool(_Part):
    """A group of functions."""

    function_declarations: list[FunctionDeclaration] = Field(default_factory=list)


class SessionResumption(_Part):
    """The wish for handles, and the one by which a session is taken up again."""

    handle: str | None = None
    transparent: bool | None = None


class HistoryConfig(_Part):
    """Whether what was said before follows the setup."""

    initial_history_in_client_content: bool = False


class Setup(_Part):
    """The first message."""

    model: str
    generation_config: JsonObject = Field(default_factory=dict)
    system_instruction: Content | None = None
    tools: list[Tool] = Field(default_factory=list)
    realtime_input_config: RealtimeInputConfig = Field(default_factory=RealtimeInputConfig)
    session_resumption: SessionResumption | None = None
    context_window_compression: JsonObject | None = None
    input_audio_transcription: JsonObject | None = None
    output_audio_transcription: JsonObject | None = None
    proactivity: JsonObject | None = None
    explicit_vad_signal: bool | None = None
    history_config: HistoryConfig | None = None


class RealtimeInput(_Part):
    """What the caller says, and when."""

    audio: Blob | None = None
    text: str | None = None
    audio_stream_end: bool | None = None
    activity_start: JsonObject | None = None
    activity_end: JsonObject | None = None


class ClientContent(_Part):
    """Turns of text."""

    turns: list[Content] = Field(default_factory=list)
    turn_complete: bool = False


class ToolResponse(_Part):
    """Results of tools."""

    function_responses: list[FunctionResponse]


class ClientMessage(_Part):
    """One message: exactly one of its fields is there."""

    setup: Setup | None = None
    realtime_input: RealtimeInput | None = None
    client_content: ClientContent | None = None
    tool_response: ToolResponse | None = None
