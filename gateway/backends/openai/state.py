"""The state of one session of the OpenAI Realtime protocol, and what is sent from it."""

from collections import Counter, OrderedDict, deque
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Final

from gateway.backends.json_message import JsonObject, encode
from gateway.backends.openai import payload
from gateway.backends.openai.aside import AsideLedger
from gateway.backends.openai.dialect import Dialect
from gateway.backends.openai.output import OutputLedger
from gateway.backends.openai.response import ResponseQueue
from gateway.backends.openai.tool import ToolCallLedger
from gateway.fast import SpeechReader
from gateway.realtime.conversation import ConversationTurn
from gateway.realtime.errors import ModelError
from gateway.realtime.event import FailureReason, RealtimeEvent, SessionFailed
from gateway.realtime.settings import SessionSettings

# Client events whose answers are still awaited; an error names one of them.
MAX_AWAITED_EVENTS: Final = 64


class Phase(Enum):
    """How far a session has come."""

    NEW = "new"
    AWAITING_SESSION = "awaiting session"
    AWAITING_SETTINGS = "awaiting settings"
    CONFIGURED = "configured"


class OpenAiState:
    """What is known of one session. The receivers change it and the protocol's verbs do; both only by these methods.

    Args:
        dialect: the family of servers.
    """

    def __init__(self, dialect: Dialect) -> None:
        self.transmits: deque[bytes] = deque()
        self.events: deque[RealtimeEvent] = deque()
        self.rejection: ModelError | None = None
        self.session_id = ""
        self.counters: Counter[str] = Counter()
        self.dialect = dialect
        self.phase = Phase.NEW
        self.settings = SessionSettings()
        self.history: Sequence[ConversationTurn] = ()
        self.responses = ResponseQueue()
        self.output = OutputLedger()
        self.tools = ToolCallLedger()
        self.asides = AsideLedger()
        self.reader = SpeechReader()
        self.awaited: OrderedDict[str, str] = OrderedDict()
        self.caller_words_so_far = ("", "")
        self._event_count = 0

    def send_settings(self) -> None:
        """Tells the server what the session shall be."""
        session = payload.session_payload(self.settings, self.dialect)
        self.send({"type": "session.update", "session": session})
        self.phase = Phase.AWAITING_SETTINGS
        if not self.dialect.confirms:
            self.become_configured()

    def become_configured(self) -> None:
        """The settings hold: what was said before is added."""
        self.phase = Phase.CONFIGURED
        for turn in self.history:
            for item in payload.history_items(turn, self.dialect.shape):
                self.send({"type": "conversation.item.create", "item": item})
        self.history = ()

    def send_next_request(self) -> None:
        """Asks for the next response, where one waits and none runs."""
        request = self.responses.next_request()
        if request is None:
            return
        event: JsonObject = {"type": "response.create"}
        if request.instructions is not None:
            event["response"] = {"instructions": request.instructions}
        self.send(event)

    def cancel(self, response_id: str) -> None:
        """Stops a response, and drops what still comes of it."""
        self.output.cut_response(response_id)
        self.send({"type": "response.cancel", "response_id": response_id})

    def send(self, event: Mapping[str, object]) -> str:
        """Sends a client event under an id by which an error can name it, and returns the id."""
        self._event_count += 1
        event_id = f"trunkline_{self._event_count}"
        self.awaited[event_id] = str(event["type"])
        if len(self.awaited) > MAX_AWAITED_EVENTS:
            self.awaited.popitem(last=False)
        self.transmits.append(encode({"event_id": event_id, **event}))
        return event_id

    def fail(self, reason: FailureReason, detail: str, *, retryable: bool) -> None:
        """The session is over."""
        self.events.append(SessionFailed(reason, detail, retryable))
