"""What a call asks of a model session. Every backend maps these values to its own words; none adds its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from gateway.realtime.capability import AudioFormat


class Eagerness(Enum):
    """How soon semantic detection takes a pause for the end of a turn (high: at most 2 s; medium: 4 s; low: 8 s)."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    AUTO = "auto"


class NoiseReduction(Enum):
    """What the backend's noise reduction should expect."""

    NEAR_FIELD = "near_field"
    FAR_FIELD = "far_field"


@dataclass(frozen=True, slots=True)
class ServerVad:
    """Turns by voice activity. `threshold` 0–1; a turn ends after `silence_duration_ms`.

    `create_response`: the model answers a turn by itself. `interrupt_response`: it cancels its response when the
    caller speaks. `idle_timeout_ms`: the model speaks up after so much silence of the caller.
    """

    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500
    create_response: bool = True
    interrupt_response: bool = True
    idle_timeout_ms: int | None = None


@dataclass(frozen=True, slots=True)
class SemanticVad:
    """Turns by what was said. The two switches mean the same as in `ServerVad`."""

    eagerness: Eagerness = Eagerness.AUTO
    create_response: bool = True
    interrupt_response: bool = True


TurnDetection = ServerVad | SemanticVad


@dataclass(frozen=True, slots=True)
class Transcription:
    """The caller's words as text. `model` None: the backend's own choice; `language` is ISO 639-1."""

    model: str | None = None
    language: str | None = None
    prompt: str | None = None


@dataclass(frozen=True, slots=True)
class ToolDefinition:
    """A function that the model may call. `parameters` is a JSON Schema of type object."""

    name: str
    description: str
    parameters: Mapping[str, object]


class ToolChoice(Enum):
    """Whether the model may, must not or must call a tool."""

    AUTO = "auto"
    NONE = "none"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """One session's settings. None leaves a choice to the backend.

    `turn_detection` None: the gateway detects turns itself and says so with `end_turn`. `speed` 0.25–1.5.
    `retention_ratio` 0–1: how much of the context the service keeps when its window is full.
    """

    instructions: str = ""
    voice: str | None = None
    language: str | None = None
    speed: float | None = None
    input_format: AudioFormat = AudioFormat.PCMU
    output_format: AudioFormat = AudioFormat.PCMU
    turn_detection: TurnDetection | None = ServerVad()
    transcription: Transcription | None = None
    noise_reduction: NoiseReduction | None = None
    tools: tuple[ToolDefinition, ...] = ()
    tool_choice: ToolChoice = ToolChoice.AUTO
    parallel_tool_calls: bool | None = None
    reasoning_effort: str | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    retention_ratio: float | None = None
