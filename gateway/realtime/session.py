"""The seam: a session with a speech-to-speech model, and what makes one."""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Protocol, runtime_checkable

from gateway.realtime.capability import RealtimeCapabilities
from gateway.realtime.conversation import ConversationTurn
from gateway.realtime.event import RealtimeEvent
from gateway.realtime.settings import SessionSettings

EventSink = Callable[[RealtimeEvent], None]
"""Takes the events of a session, in their order. It is called by the reader: it must neither block nor raise."""


class TextRole(Enum):
    """Whose words `send_text` adds to the conversation."""

    USER = "user"
    SYSTEM = "system"


class RealtimeSession(Protocol):
    """One conversation with one model: audio in, events out.

    Everything except `open` and `aclose` is synchronous, never blocks and never raises: after the session is over
    (it was closed, or `SessionFailed` was told) the calls do nothing.
    """

    @property
    def capabilities(self) -> RealtimeCapabilities:
        """What the backend can do."""
        ...

    append_ms: int
    """How much of the caller's audio goes into one message at least. It may change at any time, with the load."""

    @property
    def dropped_input_ms(self) -> int:
        """Milliseconds of the caller's audio that were dropped, oldest first, because the backend took none."""
        ...

    @property
    def resumption_handle(self) -> str | None:
        """By which another session can go on where this one stands now; None where the service has no such thing."""
        ...

    @property
    def sink(self) -> EventSink:
        """Where the events go. It may be replaced, so that a call can adopt a session that was warmed for it."""
        ...

    @sink.setter
    def sink(self, sink: EventSink, /) -> None: ...

    async def open(self, settings: SessionSettings, history: Sequence[ConversationTurn] = ()) -> None:
        """Connects, configures, and adds what was said before. Returns when the backend has confirmed the settings.

        Raises:
            ModelError: no session; the object is closed and must not be opened again.
        """
        ...

    def append_audio(self, payload: bytes) -> None:
        """Sends the caller's audio, in the session's input format, in the pieces in which it arrives (10–60 ms)."""
        ...

    def create_response(self, instructions: str | None = None) -> None:
        """Asks the model to speak, at once or after what it is saying. `instructions` hold for this response alone."""
        ...

    def ask_aside(self, request_id: str, instructions: str) -> None:
        """Asks for words about the conversation that nobody hears and that do not become part of it.

        They may be asked for while the model speaks. A `TextAnswer` with this id follows, without words where the model
        gives none or the backend cannot do this.
        """
        ...

    def cancel_response(self) -> None:
        """Stops the response that is being generated, if there is one. None of its audio is told any more."""
        ...

    def truncate(self, item_id: str, audio_end_ms: int) -> None:
        """Makes the model forget what the caller did not hear of an item; later audio of its response is not told.

        `audio_end_ms` is what was played of this item; it is clamped to what was received. Unknown items are ignored.
        """
        ...

    def start_turn(self) -> None:
        """Says that the caller has begun to speak, where nobody but the gateway detects turns: the model falls silent.

        What was appended since the last turn belongs to this one, so a sound's beginning is not lost.
        """
        ...

    def end_turn(self) -> None:
        """Says that the caller's turn is over, and asks for an answer, where nobody but the gateway detects turns."""
        ...

    def send_tool_result(self, call_id: str, output: str) -> None:
        """Answers a `ToolCall`. The model speaks once every call of the same response was answered."""
        ...

    def send_text(self, text: str, *, role: TextRole = TextRole.USER) -> None:
        """Adds text to the conversation. It asks for no response."""
        ...

    async def aclose(self) -> None:
        """Ends the session and frees its socket, within a bounded time. It may be called at any moment and again."""
        ...


class RealtimeBackend(Protocol):
    """A configured model service that sessions are had from. It holds what sessions share and no connection."""

    @property
    def name(self) -> str:
        """The backend's name in the configuration."""
        ...

    @property
    def capabilities(self) -> RealtimeCapabilities:
        """What its sessions can do."""
        ...

    def create_session(self, sink: EventSink) -> RealtimeSession:
        """Makes a session that is still to be opened."""
        ...


@runtime_checkable
class ResumingBackend(RealtimeBackend, Protocol):
    """A backend whose capabilities say that it resumes."""

    def resume_session(self, sink: EventSink, handle: str) -> RealtimeSession:
        """Makes a session that is still to be opened, and that will know what the one with this handle knew."""
        ...
