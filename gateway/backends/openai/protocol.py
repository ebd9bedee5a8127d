"""The client's side of OpenAI Realtime, sans-I/O: GA, and the beta's names where compatible servers still use them."""

from collections.abc import Sequence
from typing import Final

from gateway.backends.json_message import JsonObject, MalformedMessageError, decode, text
from gateway.backends.openai import payload
from gateway.backends.openai.aside import aside_request
from gateway.backends.openai.delta import learn
from gateway.backends.openai.dialect import OPENAI, Dialect
from gateway.backends.openai.fault import describe_closure
from gateway.backends.openai.response import ResponseRequest
from gateway.backends.openai.response_event import receive_audio_delta
from gateway.backends.openai.server_event import EVENTS
from gateway.backends.openai.state import OpenAiState, Phase
from gateway.realtime.conversation import ConversationTurn, answered_tools
from gateway.realtime.event import SessionFailed, TextAnswer
from gateway.realtime.session import TextRole
from gateway.realtime.settings import SessionSettings

_APPEND_HEAD: Final = b'{"type":"input_audio_buffer.append","audio":"'
_APPEND_TAIL: Final = b'"}'


class OpenAiProtocol(OpenAiState):
    """One session's state with its verbs, for which see `ModelProtocol`."""

    def __init__(self, dialect: Dialect = OPENAI) -> None:
        super().__init__(dialect)
        self._told_results: frozenset[str] = frozenset()

    @property
    def configured(self) -> bool:
        """The service has confirmed the settings."""
        return self.phase is Phase.CONFIGURED

    @property
    def resumption_handle(self) -> str | None:
        """A lost session cannot be taken up again: it is replayed."""
        return None

    # --- commands ---

    def start(self, settings: SessionSettings, history: Sequence[ConversationTurn] = ()) -> None:
        """Waits for the server's greeting, where it gives one, and then sends the settings."""
        self.settings = settings
        self.history = history
        self._told_results = answered_tools(history)
        self.output.bytes_per_ms = settings.output_format.bytes_per_ms
        turns = settings.turn_detection
        self.responses.answers_turns = turns is not None and turns.create_response
        self.phase = Phase.AWAITING_SESSION
        if not self.dialect.announces:
            self.send_settings()

    @property
    def append_envelope(self) -> tuple[bytes, bytes]:
        """What stands around the audio: bytes of a template, for it is sent fifty times a second."""
        return _APPEND_HEAD, _APPEND_TAIL

    def create_response(self, instructions: str | None) -> None:
        """Asks for a response, now or after the present one."""
        self.responses.ask(ResponseRequest(instructions))
        self.send_next_request()

    def ask_aside(self, request_id: str, instructions: str) -> None:
        """Asks for a response beside the conversation, whatever is being said meanwhile."""
        if not self.dialect.capabilities.answers_aside:
            self.events.append(TextAnswer(request_id, None))
            return
        event_id = self.send({"type": "response.create", "response": aside_request(request_id, instructions)})
        forgotten = self.asides.asked(request_id, event_id)
        if forgotten is not None:
            self.events.append(TextAnswer(forgotten, None))

    def cancel_response(self) -> None:
        """Stops the active response, or the one that was asked for and has not begun."""
        response_id = self.responses.active_response_id
        if response_id is not None:
            self.cancel(response_id)
        elif self.responses.requested is not None:
            self.responses.cancel_on_start = True

    def truncate(self, item_id: str, audio_end_ms: int) -> None:
        """Cuts an item at what was played, clamped to what was received."""
        end_ms = self.output.truncate(item_id, audio_end_ms)
        if end_ms is None:
            self.counters["truncation_without_need"] += 1
            return
        if self.dialect.capabilities.can_truncate:
            event = {"type": "conversation.item.truncate", "item_id": item_id, "content_index": 0}
            self.send({**event, "audio_end_ms": end_ms})

    def start_turn(self) -> None:
        """Stops what the model is saying. The server's buffer is not cleared: it holds the beginning of the turn."""
        self.cancel_response()

    def end_turn(self) -> None:
        """Commits what the caller said, and asks for an answer."""
        self.send({"type": "input_audio_buffer.commit"})
        self.create_response(None)

    def send_tool_result(self, call_id: str, output: str) -> None:
        """Adds a result; the last one of its response asks for the next response.

        One that came while this session was sought stands in its history already: it is not told again.
        """
        if call_id not in self._told_results:
            self.send({"type": "conversation.item.create", "item": payload.tool_output_item(call_id, output)})
        answered = self.tools.answer(call_id)
        if answered is not None:
            self.responses.ask(ResponseRequest(answers=answered))
            self.send_next_request()

    def send_text(self, text: str, role: TextRole) -> None:
        """Adds a message to the conversation."""
        self.send({"type": "conversation.item.create", "item": payload.text_item(text, role)})

    @property
    def awaits(self) -> bool:
        """Whether the server owes word of a request."""
        return self.responses.is_unanswered

    def handle_timer(self, now: float) -> None:
        """Frees the queue of a request that the server never answered."""
        if self.responses.release_overdue(now):
            self.counters["response_request_unanswered"] += 1
            self.send_next_request()

    def describe_closure(self, code: int | None, reason: str) -> SessionFailed:
        """What the service's close frame means."""
        return describe_closure(code, reason)

    # --- receiving ---

    def receive_message(self, message: bytes) -> None:
        """Takes one server event."""
        try:
            event = decode(message)
            receive = EVENTS.get(text(event, "type"))
            if receive is None:
                self.counters["unknown_event"] += 1
                return
            if self.asides and self.asides.owns(event):
                self._receive_aside(event)
                return
            receive(self, event)
        except MalformedMessageError:
            self.counters["malformed_message"] += 1
            return
        if receive is receive_audio_delta:
            learn(self.reader, message, event, self.output)

    def _receive_aside(self, event: JsonObject) -> None:
        """Of a response beside the conversation nothing counts but its end."""
        if text(event, "type") == "response.done" and (answer := self.asides.answered(event)) is not None:
            self.events.append(TextAnswer(*answer))
