"""What a model session tells a call. Every event is a value; unknown things a backend says never become one."""

from dataclasses import dataclass
from enum import Enum


class ResponseStatus(Enum):
    """How a response ended."""

    COMPLETED = "completed"
    CANCELLED = "cancelled"
    INCOMPLETE = "incomplete"
    FAILED = "failed"


class FailureReason(Enum):
    """Why a session ended that the call had not closed. The value is the metric label."""

    CLOSED = "closed"
    """The backend closed the session in good order, and without a reason that is known."""
    CONNECTION_LOST = "connection_lost"
    """The connection broke without a closing handshake."""
    EXPIRED = "expired"
    """The longest time that the service gives a session is over."""
    UNRESPONSIVE = "unresponsive"
    """Neither data nor an answer to a ping arrived in time: the connection is half open."""
    UNANSWERED = "unanswered"
    """The connection is sound, but the model does not answer: the call, and not the backend, finds this out."""
    WRITE_STALLED = "write_stalled"
    """The backend took no data for too long."""
    QUOTA = "quota"
    """The account's quota or rate is used up."""
    SERVER_FAULT = "server_fault"
    """The service says that it failed."""
    PROTOCOL = "protocol"
    """The peer broke the WebSocket protocol or sent a message beyond the limit."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that one response cost. Cached tokens are part of the input tokens of their kind."""

    input_text_tokens: int = 0
    input_audio_tokens: int = 0
    cached_text_tokens: int = 0
    cached_audio_tokens: int = 0
    output_text_tokens: int = 0
    output_audio_tokens: int = 0
    total_tokens: int = 0


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The caller began to speak, `audio_ms` into the audio that was appended (None: not told)."""

    item_id: str
    audio_ms: int | None


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """The caller stopped speaking, `audio_ms` into the audio that was appended (None: not told)."""

    item_id: str
    audio_ms: int | None


@dataclass(frozen=True, slots=True)
class ResponseStarted:
    """The model began a response. Its first audio is still to come."""

    response_id: str


@dataclass(slots=True, unsafe_hash=True)
class AudioDelta:
    """A piece of speech in the session's output format. It comes faster than real time and in pieces of any size.

    Nobody changes it. It is not frozen because making a frozen value takes three times as long, fifty times a second.
    """

    response_id: str
    item_id: str
    audio: bytes


@dataclass(frozen=True, slots=True)
class AudioDone:
    """No more audio of this item will come."""

    response_id: str
    item_id: str


@dataclass(frozen=True, slots=True)
class AgentTranscript:
    """Words of the agent: a fragment to append, or, when `final`, the whole text of the item as it was generated."""

    item_id: str
    text: str
    final: bool


@dataclass(frozen=True, slots=True)
class CallerTranscript:
    """Words of the caller: a fragment to append, or, when `final`, the whole text of the item.

    It may arrive before or after the response that answers it: join on `item_id`.
    """

    item_id: str
    text: str
    final: bool


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model wants a tool to run. `arguments` is its JSON text, complete but not validated.

    All calls of one response follow one another; answer each with `send_tool_result`, in any order and at any time.
    """

    response_id: str
    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ResponseDone:
    """The response is over. Its audio may still be playing. `reason` says more than the status, or is empty."""

    response_id: str
    status: ResponseStatus
    reason: str
    usage: Usage | None


@dataclass(frozen=True, slots=True)
class TextAnswer:
    """The answer to `ask_aside`, which nobody hears; None: the model gave none."""

    request_id: str
    text: str | None


@dataclass(frozen=True, slots=True)
class Truncated:
    """The model has forgotten what it said in this item after `audio_ms`."""

    item_id: str
    audio_ms: int


@dataclass(frozen=True, slots=True)
class ToolCallCancelled:
    """The model no longer wants the result of a call, for the caller interrupted it. A result is ignored."""

    call_id: str


@dataclass(frozen=True, slots=True)
class SessionUsage:
    """The time that the service has charged for this session so far."""

    seconds: float


@dataclass(frozen=True, slots=True)
class SessionExpiring:
    """The service will end the session in `time_left_s`: time to open the next one beside it."""

    time_left_s: float


@dataclass(frozen=True, slots=True)
class BackendError:
    """The backend reported a fault that leaves the session usable."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class SessionFailed:
    """The session is over although the call did not close it. It is told at most once, and nothing follows it.

    `retryable`: a new session with the same backend may be had at once.
    """

    reason: FailureReason
    detail: str
    retryable: bool


RealtimeEvent = (
    SpeechStarted
    | SpeechStopped
    | ResponseStarted
    | AudioDelta
    | AudioDone
    | AgentTranscript
    | CallerTranscript
    | ToolCall
    | ResponseDone
    | TextAnswer
    | Truncated
    | ToolCallCancelled
    | SessionUsage
    | SessionExpiring
    | BackendError
    | SessionFailed
)
