"""What a service's sans-I/O protocol core offers to the session that drives it."""

from collections import deque
from collections.abc import Sequence
from typing import Protocol

from gateway.fast import SpeechReader
from gateway.realtime.conversation import ConversationTurn
from gateway.realtime.errors import ModelError
from gateway.realtime.event import RealtimeEvent, SessionFailed
from gateway.realtime.session import TextRole
from gateway.realtime.settings import SessionSettings


class ModelProtocol(Protocol):
    """One session's protocol state. It reads no clock and no socket.

    Mutate once, then drain `transmits` and `events`. An event of the class `SessionFailed` is the last one.
    """

    transmits: deque[bytes]
    """Messages to send, in order."""
    events: deque[RealtimeEvent]
    """Events to tell, in order."""

    @property
    def reader(self) -> SpeechReader | None:
        """Reads messages with more speech of an item, and counts it. None: all messages are for `receive_message`."""
        ...

    @property
    def configured(self) -> bool:
        """The service has confirmed the settings."""
        ...

    @property
    def resumption_handle(self) -> str | None:
        """By which a lost session can be taken up again, where the service has such a thing."""
        ...

    @property
    def rejection(self) -> ModelError | None:
        """Why the service did not take the settings."""
        ...

    def start(self, settings: SessionSettings, history: Sequence[ConversationTurn]) -> None:
        """Begins a session. What it wants to send first waits in `transmits` until the connection is open."""
        ...

    def receive_message(self, message: bytes) -> None:
        """Takes one message of the service. Nothing that it holds can raise."""
        ...

    @property
    def awaits(self) -> bool:
        """Whether anything may become overdue."""
        ...

    def handle_timer(self, now: float) -> None:
        """Looks after what is overdue; called about once a second while it `awaits` something."""
        ...

    @property
    def append_envelope(self) -> tuple[bytes, bytes]:
        """What stands before and after the base64 of audio in the message that appends it. Fixed once `configured`."""
        ...

    def describe_closure(self, code: int | None, reason: str) -> SessionFailed:
        """What it means that the service closed the connection with this code and reason."""
        ...

    def create_response(self, instructions: str | None) -> None:
        """See `RealtimeSession`."""
        ...

    def ask_aside(self, request_id: str, instructions: str) -> None:
        """See `RealtimeSession`."""
        ...

    def cancel_response(self) -> None:
        """See `RealtimeSession`."""
        ...

    def truncate(self, item_id: str, audio_end_ms: int) -> None:
        """See `RealtimeSession`."""
        ...

    def start_turn(self) -> None:
        """See `RealtimeSession`."""
        ...

    def end_turn(self) -> None:
        """See `RealtimeSession`."""
        ...

    def send_tool_result(self, call_id: str, output: str) -> None:
        """See `RealtimeSession`."""
        ...

    def send_text(self, text: str, role: TextRole) -> None:
        """See `RealtimeSession`."""
        ...
