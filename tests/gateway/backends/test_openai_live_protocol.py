"""GPT-Live without a socket: what is said, and what the tests let the service say, fits the official types."""

import base64
import json
from collections.abc import Mapping

import pytest
from openai.types.live import ClientEvent, ServerEvent
from pydantic import TypeAdapter

from gateway.backends.openai_live.payload import MAX_HISTORY_MESSAGES
from gateway.backends.openai_live.protocol import EVENTS, OpenAiLiveProtocol
from gateway.realtime.capability import AudioFormat
from gateway.realtime.conversation import AgentTurn, CallerTurn, SystemNote, ToolExchange
from gateway.realtime.errors import ModelSettingsError
from gateway.realtime.event import (
    AgentTranscript,
    AudioDelta,
    AudioDone,
    BackendError,
    CallerTranscript,
    FailureReason,
    RealtimeEvent,
    ResponseDone,
    ResponseStarted,
    ResponseStatus,
    SessionFailed,
    SessionUsage,
    ToolCall,
)
from gateway.realtime.session import TextRole
from gateway.realtime.settings import SessionSettings, ToolDefinition
from tests.helpers.model_message import append_message

CLIENT_EVENT: TypeAdapter[ClientEvent] = TypeAdapter(ClientEvent)
SERVER_EVENT: TypeAdapter[ServerEvent] = TypeAdapter(ServerEvent)
TOOLS = (ToolDefinition("look_up", "Looks up.", {"type": "object", "properties": {}}),)
Event = dict[str, object]


class Conversation:
    """A protocol core; the test plays the service."""

    def __init__(self, settings: SessionSettings | None = None) -> None:
        self.protocol = OpenAiLiveProtocol("gpt-live-1", "gpt-5.5")
        self.protocol.start(settings or SessionSettings(instructions="Be brief."), ())
        self.start = self.said()[0]
        self.tell(
            {
                "type": "session.started",
                "event_id": "event_1",
                "session": {
                    "id": "live_1",
                    "object": "live.session",
                    "created_at": 1,
                    "expires_at": 2,
                    "model": "gpt-live-1",
                    "status": "active",
                    "type": "live",
                },
            }
        )
        assert self.protocol.configured

    def tell(self, *events: Mapping[str, object]) -> list[RealtimeEvent]:
        for event in events:
            if event["type"] != "session.started":
                SERVER_EVENT.validate_python(event)
            self.protocol.receive_message(json.dumps(event).encode())
        told = list(self.protocol.events)
        self.protocol.events.clear()
        return told

    def said(self) -> list[Event]:
        events: list[Event] = [json.loads(message) for message in self.protocol.transmits]
        self.protocol.transmits.clear()
        for event in events:
            CLIENT_EVENT.validate_python(event)
        return events


def audio(piece: bytes) -> Event:
    return {"type": "session.output_audio.delta", "delta": base64.b64encode(piece).decode()}


def words(side: str, delta: str) -> Event:
    kind = f"session.{side}_transcript.delta"
    return {"type": kind, "event_id": "event_t", "delta": delta, "start_ms": 0, "end_ms": 10}


def delegate(delegation_id: str, **event: object) -> Event:
    return {"type": "response.event", "event_id": "event_r", "delegation_id": delegation_id, "event": event}


def function_call(call_id: str) -> Event:
    return {"type": "function_call", "id": "fc", "call_id": call_id, "name": "look_up", "arguments": '{"q":1}'}


def test_session_starts_with_everything_at_once() -> None:
    conversation = Conversation(SessionSettings(instructions="Be brief.", voice="marin", tools=TOOLS))
    assert conversation.start["session"] == {
        "model": "gpt-live-1",
        "instructions": "Be brief.",
        "audio": {"format": {"type": "audio/pcmu", "rate": 8000}, "output": {"voice": "marin"}},
        "delegation": {
            "type": "responses",
            "responses": {
                "model": "gpt-5.5",
                "instructions": "Be brief.",
                "tools": [
                    {
                        "type": "function",
                        "name": "look_up",
                        "description": "Looks up.",
                        "parameters": {"type": "object", "properties": {}},
                        "strict": False,
                    }
                ],
                "tool_choice": "auto",
            },
        },
    }


@pytest.mark.parametrize("audio_format", AudioFormat)
def test_every_format_is_taken(audio_format: AudioFormat) -> None:
    Conversation(SessionSettings(input_format=audio_format, output_format=audio_format))


def test_history_is_text_and_its_end() -> None:
    protocol = OpenAiLiveProtocol("gpt-live-1", "gpt-5.5")
    history = [CallerTurn(f"word {number}") for number in range(200)]
    last = (AgentTurn("good day"), SystemNote("pressed 5"), ToolExchange("call_1", "look_up", "{}", "found"))
    protocol.start(SessionSettings(), (*history, *last))
    CLIENT_EVENT.validate_json(protocol.transmits[0])
    messages = json.loads(protocol.transmits[0])["session"]["input"]
    assert len(messages) == MAX_HISTORY_MESSAGES
    assert [message["role"] for message in messages[-4:]] == ["user", "assistant", "developer", "developer"]
    assert "found" in messages[-1]["content"][0]["text"]


def test_result_of_a_tool_that_an_earlier_session_asked_for_is_told_to_the_speaking_model() -> None:
    protocol = OpenAiLiveProtocol("gpt-live-1", "gpt-5.5")
    protocol.start(SessionSettings(), (ToolExchange("call_1", "pay", "{}", None),))
    protocol.transmits.clear()
    protocol.send_tool_result("call_1", "paid")
    (said,) = protocol.transmits
    CLIENT_EVENT.validate_json(said)
    assert json.loads(said)["type"] == "session.commentary.append"
    assert json.loads(said)["content"] == "The tool pay has answered: paid"


def test_refused_start_is_a_rejection() -> None:
    protocol = OpenAiLiveProtocol("gpt-live-1", "gpt-5.5")
    protocol.start(SessionSettings(), ())
    protocol.receive_message(b'{"type":"error","error":{"code":"invalid_value","message":"no such voice"}}')
    assert isinstance(protocol.rejection, ModelSettingsError)


def test_append_is_base64_of_the_bytes_as_they_are() -> None:
    message = append_message(Conversation().protocol, bytes(range(160)))
    CLIENT_EVENT.validate_json(message)
    assert base64.b64decode(json.loads(message)["audio"]) == bytes(range(160))


def test_item_ends_when_the_caller_is_heard() -> None:
    conversation = Conversation()
    told = conversation.tell(
        words("input", "My order?"),
        audio(b"aa"),
        words("output", "It is "),
        audio(b"bb"),
        words("output", "ready."),
        words("input", "Thanks"),
        audio(b"cc"),
    )
    assert told == [
        CallerTranscript("live_caller_1", "My order?", False),
        CallerTranscript("live_caller_1", "My order?", True),
        ResponseStarted("live_response_1"),
        AudioDelta("live_response_1", "live_item_1", b"aa"),
        AgentTranscript("live_item_1", "It is ", False),
        AudioDelta("live_response_1", "live_item_1", b"bb"),
        AgentTranscript("live_item_1", "ready.", False),
        AudioDone("live_response_1", "live_item_1"),
        AgentTranscript("live_item_1", "It is ready.", True),
        ResponseDone("live_response_1", ResponseStatus.COMPLETED, "", None),
        CallerTranscript("live_caller_2", "Thanks", False),
        CallerTranscript("live_caller_2", "Thanks", True),
        ResponseStarted("live_response_2"),
        AudioDelta("live_response_2", "live_item_2", b"cc"),
    ]


def test_item_ends_when_no_audio_comes_for_a_second() -> None:
    conversation = Conversation()
    states = [conversation.protocol.awaits]
    conversation.tell(audio(b"aa"))
    states.append(conversation.protocol.awaits)
    assert states == [False, True]
    for now in (10.0, 10.5, 10.9):
        conversation.protocol.handle_timer(now)
        assert not conversation.protocol.events
    conversation.protocol.handle_timer(11.0)
    assert conversation.tell() == [
        AudioDone("live_response_1", "live_item_1"),
        ResponseDone("live_response_1", ResponseStatus.COMPLETED, "", None),
    ]


def test_item_that_begins_with_words_waits_as_long_for_its_audio() -> None:
    conversation = Conversation()
    conversation.tell(audio(b"aa"))
    conversation.protocol.handle_timer(10.0)
    conversation.protocol.handle_timer(11.0)
    conversation.tell()
    conversation.tell(words("output", "Well,"))
    conversation.protocol.handle_timer(60.0)
    assert conversation.tell() == []
    conversation.protocol.handle_timer(61.0)
    assert not conversation.protocol.awaits


def test_cut_item_is_dropped_until_the_next() -> None:
    conversation = Conversation()
    conversation.tell(audio(b"aa"))
    conversation.protocol.truncate("live_item_1", 10)
    assert conversation.tell(audio(b"bb"), words("output", "late")) == []
    told = conversation.tell(words("input", "Stop"), audio(b"cc"))
    assert told[0] == ResponseDone("live_response_1", ResponseStatus.CANCELLED, "", None)
    assert told[-1] == AudioDelta("live_response_2", "live_item_2", b"cc")
    assert conversation.said() == []


def test_tools_are_called_by_the_delegate_and_answered_together() -> None:
    conversation = Conversation(SessionSettings(tools=TOOLS))
    assert conversation.tell(
        delegate("dlg_1", type="response.output_item.done", item=function_call("call_1")),
        delegate("dlg_1", type="response.output_item.done", item=function_call("call_2")),
        delegate("dlg_1", type="response.completed", response={"id": "resp_1"}),
    ) == [
        ToolCall("resp_1", "call_1", "look_up", '{"q":1}'),
        ToolCall("resp_1", "call_2", "look_up", '{"q":1}'),
    ]
    conversation.protocol.send_tool_result("call_2", "two")
    assert [event["type"] for event in conversation.said()] == ["response.item.create"]
    conversation.protocol.send_tool_result("call_1", "one")
    assert [event["type"] for event in conversation.said()] == ["response.item.create", "response.create"]


def test_calls_of_a_delegate_that_failed_are_not_made() -> None:
    conversation = Conversation(SessionSettings(tools=TOOLS))
    assert (
        conversation.tell(
            delegate("dlg_1", type="response.output_item.done", item=function_call("call_1")),
            delegate("dlg_1", type="response.incomplete"),
            delegate("dlg_1", type="response.completed", response={"id": "resp_1"}),
        )
        == []
    )


def test_words_for_the_model_are_said_as_the_api_takes_them() -> None:
    conversation = Conversation()
    conversation.protocol.create_response("Greet the caller.")
    conversation.protocol.create_response(None)
    conversation.protocol.send_text("The caller pressed 5.", TextRole.SYSTEM)
    conversation.protocol.send_text("I am at home.", TextRole.USER)
    conversation.protocol.end_turn()
    said = conversation.said()
    assert [event["type"] for event in said] == [
        "session.commentary.append",
        "session.commentary.append",
        "session.instructions.append",
        "session.thinking.append",
    ]
    assert said[0]["content"] == "Greet the caller."
    assert all(event["delegation_id"] is None for event in said)


@pytest.mark.parametrize(
    ("reason", "failure", "retryable"),
    [
        ("expired", FailureReason.EXPIRED, True),
        ("content", FailureReason.PROTOCOL, False),
        ("connection_lost", FailureReason.CONNECTION_LOST, True),
        ("remote_hangup", FailureReason.CLOSED, True),
    ],
)
def test_closed_session_says_why(reason: str, failure: FailureReason, retryable: bool) -> None:
    conversation = Conversation()
    conversation.protocol.receive_message(json.dumps({"type": "session.closed", "reason": reason}).encode())
    [told] = conversation.protocol.events
    assert isinstance(told, SessionFailed)
    assert (told.reason, told.retryable) == (failure, retryable)


def test_errors_are_told_and_quota_is_the_end() -> None:
    def error(code: str) -> Event:
        return {"type": "error", "event_id": "e", "error": {"type": "error", "code": code, "message": "why"}}

    conversation = Conversation()
    assert conversation.tell(error("weird")) == [BackendError("weird", "why")]
    assert conversation.tell(error("insufficient_quota")) == [SessionFailed(FailureReason.QUOTA, "why", False)]
    assert conversation.tell(error("session_expired")) == [SessionFailed(FailureReason.EXPIRED, "why", True)]


def test_the_time_that_is_charged_is_told_as_the_service_counts_it() -> None:
    conversation = Conversation()
    usage: Event = {
        "type": "session.usage.updated",
        "event_id": "event_u",
        "usage": {"type": "duration", "seconds": 12.5},
    }
    assert conversation.tell({**usage, "context_window": {"usage_ratio": 0.2}}) == [SessionUsage(12.5)]


@pytest.mark.parametrize("seconds", [-1, True, "12", None, 1e300])
def test_a_count_that_is_none_is_not_charged(seconds: object) -> None:
    conversation = Conversation()
    message = {"type": "session.usage.updated", "usage": {"seconds": seconds}}
    conversation.protocol.receive_message(json.dumps(message).encode())
    assert not conversation.protocol.events


def test_every_server_event_of_a_media_connection_is_in_the_table() -> None:
    definitions = SERVER_EVENT.json_schema(mode="serialization")["$defs"].values()
    official = {
        definition["properties"]["type"]["const"]
        for definition in definitions
        if "const" in definition.get("properties", {}).get("type", {})
        and "." in str(definition["properties"]["type"]["const"])
    }
    assert len(official) > 20
    # Sidebands of SIP and WebRTC sessions, fixtures, and the delegation by decisions, which is never asked for.
    elsewhere = {
        name for name in official if name.startswith(("transport.", "session.output_audio.fixture", "decision."))
    }
    elsewhere |= {"session.input_audio.append"}
    assert official - elsewhere - set(EVENTS) == set()


@pytest.mark.parametrize("kind", sorted(EVENTS))
def test_no_event_raises_whatever_its_fields_hold(kind: str) -> None:
    values: tuple[object, ...] = (
        None,
        5,
        "text",
        "AAAA",
        [],
        {},
        {"type": "response.completed", "response": {"output": [5]}},
    )
    for value in values:
        conversation = Conversation()
        fields = dict.fromkeys(("session", "delta", "event", "reason", "error", "delegation_id"), value)
        conversation.protocol.receive_message(json.dumps({"type": kind, **fields}).encode())
