"""The protocol core without a socket: what it says is what OpenAI's own types allow, and so is what it is told."""

import base64
import json
from collections.abc import Iterator, Mapping

import pytest
from openai.types.realtime import RealtimeClientEvent, RealtimeServerEvent
from pydantic import TypeAdapter

from gateway.backends.openai.aside import MAX_AWAITED
from gateway.backends.openai.dialect import AZURE, BETA, OPENAI, XAI, Dialect
from gateway.backends.openai.protocol import OpenAiProtocol
from gateway.backends.openai.server_event import EVENTS
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
    SpeechStarted,
    SpeechStopped,
    TextAnswer,
    ToolCall,
    Truncated,
    Usage,
)
from gateway.realtime.session import TextRole
from gateway.realtime.settings import SessionSettings
from tests.fakes.realtime_server import (
    Event,
    audio_delta,
    audio_done,
    error,
    function_call,
    response_created,
    response_done,
)
from tests.helpers.model_message import append_message

CLIENT_EVENT: TypeAdapter[RealtimeClientEvent] = TypeAdapter(RealtimeClientEvent)
SERVER_EVENT: TypeAdapter[RealtimeServerEvent] = TypeAdapter(RealtimeServerEvent)


class Conversation:
    """A protocol core; the test plays the server. What the core says is checked against the official types."""

    def __init__(self, dialect: Dialect = OPENAI, settings: SessionSettings | None = None) -> None:
        self.dialect = dialect
        self.protocol = OpenAiProtocol(dialect)
        self.protocol.start(settings or SessionSettings(), ())

    def tell(self, *events: Mapping[str, object]) -> list[RealtimeEvent]:
        for event in events:
            self.take(json.dumps(event, separators=(",", ":")).encode())
        return self.heard()

    def take(self, message: bytes) -> None:
        """As a session does it."""
        speech = self.protocol.reader.read(message)
        if speech is None:
            self.protocol.receive_message(message)
        else:
            self.protocol.events.append(speech)

    def heard(self) -> list[RealtimeEvent]:
        events = list(self.protocol.events)
        self.protocol.events.clear()
        return events

    def said(self) -> list[Event]:
        messages = [json.loads(message) for message in self.protocol.transmits]
        self.protocol.transmits.clear()
        for message in messages:
            if self.dialect is not BETA:
                CLIENT_EVENT.validate_python(message)
        return messages

    def said_types(self) -> list[str]:
        return [str(event["type"]) for event in self.said()]


def configured(dialect: Dialect = OPENAI, settings: SessionSettings | None = None) -> Conversation:
    conversation = Conversation(dialect, settings)
    conversation.tell(
        {"type": "session.created", "session": {"id": "sess_1"}}, {"type": "session.updated", "session": {}}
    )
    assert conversation.protocol.configured
    conversation.said()
    return conversation


# --- opening ---


def test_settings_wait_for_the_greeting_and_history_for_the_confirmation() -> None:
    protocol = OpenAiProtocol()
    protocol.start(SessionSettings(), (CallerTurn("hello"),))
    assert not protocol.transmits
    protocol.receive_message(b'{"type":"session.created","session":{"id":"sess_1"}}')
    assert [json.loads(message)["type"] for message in protocol.transmits] == ["session.update"]
    assert len(protocol.transmits) == 1
    protocol.receive_message(b'{"type":"session.updated","session":{}}')
    assert protocol.configured
    assert json.loads(protocol.transmits[-1])["type"] == "conversation.item.create"
    assert protocol.session_id == "sess_1"


def test_xai_may_greet_with_the_conversation() -> None:
    conversation = Conversation(XAI)
    conversation.tell({"type": "conversation.created", "conversation": {"id": "conv_1"}})
    conversation.tell({"type": "session.created", "session": {}})
    assert conversation.said_types() == ["session.update"]


def test_refused_settings_are_a_rejection_even_without_event_id() -> None:
    conversation = Conversation()
    conversation.tell({"type": "session.created", "session": {}}, error("unknown_parameter", "Unknown: truncation"))
    assert isinstance(conversation.protocol.rejection, ModelSettingsError)
    assert not conversation.protocol.configured


def test_result_that_the_history_tells_is_not_told_again_and_yet_answered() -> None:
    protocol = OpenAiProtocol()
    protocol.start(SessionSettings(), (ToolExchange("call_1", "look_up", "{}", "found"),))
    protocol.receive_message(b'{"type":"session.created","session":{}}')
    protocol.receive_message(b'{"type":"session.updated","session":{}}')
    protocol.transmits.clear()
    protocol.send_tool_result("call_1", "found")
    assert [json.loads(message)["type"] for message in protocol.transmits] == ["response.create"]


def test_history_is_replayed_as_the_api_takes_it__assistant_audio_becomes_text() -> None:
    protocol = OpenAiProtocol()
    history = (
        CallerTurn("What is my balance?"),
        ToolExchange("call_1", "balance", '{"account":1}', '{"balance":5}'),
        AgentTurn("It is five"),
        SystemNote("The caller pressed 5."),
        ToolExchange("call_2", "slow", "{}", None),
    )
    protocol.start(SessionSettings(), history)
    protocol.receive_message(b'{"type":"session.created","session":{}}')
    protocol.receive_message(b'{"type":"session.updated","session":{}}')
    items = []
    for message in list(protocol.transmits)[1:]:
        CLIENT_EVENT.validate_json(message)
        items.append(json.loads(message)["item"])
    assert [item["type"] for item in items] == [
        "message",
        "function_call",
        "function_call_output",
        "message",
        "message",
        "function_call",
        "function_call_output",
    ]
    assert items[1]["call_id"] == items[2]["call_id"] == "call_1"
    assert items[3] == {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "output_text", "text": "It is five"}],
    }
    assert "not answered" in items[6]["output"]


# --- audio ---


def test_append_is_base64_of_the_bytes_as_they_are() -> None:
    payload = bytes(range(160))
    message = append_message(OpenAiProtocol(), payload)
    CLIENT_EVENT.validate_json(message)
    assert base64.b64decode(json.loads(message)["audio"]) == payload


@pytest.mark.parametrize("beta", [False, True])
def test_audio_is_told_with_its_item__ga_and_beta_names(beta: bool) -> None:
    conversation = configured()
    pieces = [bytes([number]) * (number * 7) for number in range(1, 9)]
    for number, piece in enumerate(pieces):
        event = audio_delta(piece, event_id=f"event_{number}", beta=beta)
        assert conversation.tell(event) == [AudioDelta("resp_1", "item_1", piece)]
    assert conversation.protocol.counters == {}


def test_audio_of_another_item_is_not_taken_for_the_last_one() -> None:
    conversation = configured()
    for item_id in ("item_1", "item_2", "item_1"):
        assert conversation.tell(audio_delta(b"abc", item_id=item_id)) == [AudioDelta("resp_1", item_id, b"abc")]


def deltas_in_odd_form() -> Iterator[bytes]:
    """Forms in which a server may write the second delta of an item, none of them the form of the first."""
    fields = audio_delta(b"odd", event_id="event_2")
    yield json.dumps(fields).encode()  # with blanks
    yield json.dumps(dict(sorted(fields.items())), separators=(",", ":")).encode()
    yield json.dumps(dict(reversed(fields.items())), separators=(",", ":")).encode()
    yield json.dumps({**fields, "event_id": 'quo"ted'}, separators=(",", ":")).encode()
    yield json.dumps({**fields, "event_id": "e" * 500}, separators=(",", ":")).encode()
    yield json.dumps({key: value for key, value in fields.items() if key != "event_id"}, separators=(",", ":")).encode()
    yield json.dumps(fields, separators=(",", ":")).replace("b2Rk", "b2\\u0052k").encode()
    yield json.dumps({**fields, "obfuscation": "xyz"}, separators=(",", ":")).encode()


@pytest.mark.parametrize("message", list(deltas_in_odd_form()))
def test_delta_in_another_form_is_read_all_the_same(message: bytes) -> None:
    conversation = configured()
    conversation.tell(audio_delta(b"even", event_id="event_1"))
    conversation.protocol.receive_message(message)
    assert conversation.heard() == [AudioDelta("resp_1", "item_1", b"odd")]


def test_delta_that_is_not_base64_is_counted_and_not_played() -> None:
    conversation = configured()
    for broken in ("@@@@", "abc", "ab=c", 'x","delta":"AAAA'):
        event = audio_delta(b"") | {"delta": broken}
        assert conversation.tell(audio_delta(b"good")) == [AudioDelta("resp_1", "item_1", b"good")]
        assert conversation.tell(event) == []
    assert conversation.protocol.counters["malformed_message"] == 4


@pytest.mark.parametrize("name", ["event_id", "item_id", "response_id", "delta"])
def test_delta_with_half_a_character_raises_nothing(name: str) -> None:
    conversation = configured()
    told = conversation.tell(audio_delta(b"abc") | {name: "\ud800"})
    assert [type(event) for event in told] == ([] if name == "delta" else [AudioDelta])
    assert conversation.tell(audio_delta(b"def")) == [AudioDelta("resp_1", "item_1", b"def")]


def test_end_of_audio_is_told() -> None:
    conversation = configured()
    conversation.tell(audio_delta(b"abc"))
    assert conversation.tell(audio_done()) == [AudioDone("resp_1", "item_1")]


# --- what is not understood ---


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b"{}",
        b'{"type":5}',
        b'{"type":"response.output_audio.delta"}',
        b'{"type":"response.output_audio.delta","delta":7}',
        b'{"type":"response.created"}',
        b'{"type":"response.created","response":[]}',
        b'{"type":"conversation.item.truncated","item_id":null}',
        b"[" * 100_000,
        b'{"type":"error","n":' + b"9" * 5000 + b"}",
    ],
)
def test_malformed_message_is_counted_and_changes_nothing(message: bytes) -> None:
    conversation = configured()
    conversation.protocol.receive_message(message)
    assert conversation.heard() == []
    assert conversation.said() == []
    assert conversation.protocol.counters["malformed_message"] == 1


def test_unknown_event_is_counted_and_ignored() -> None:
    conversation = configured()
    assert conversation.tell({"type": "response.hologram.delta", "delta": "AAAA"}) == []
    assert conversation.protocol.counters == {"unknown_event": 1}


@pytest.mark.parametrize("kind", sorted(EVENTS))
def test_no_event_raises_whatever_its_fields_hold(kind: str) -> None:
    names = ("session", "response", "item", "item_id", "response_id", "delta", "transcript", "error", "audio_end_ms")
    for value in (None, 5, 1.5, True, "text", [], [None], {}, {"id": 5}, {"id": "x", "output": 5, "usage": []}):
        conversation = configured()
        conversation.tell({"type": kind, **dict.fromkeys(names, value)})


def test_every_server_event_of_the_official_package_is_in_the_table() -> None:
    schema = json.dumps(SERVER_EVENT.json_schema(mode="serialization"))
    official = {
        definition["properties"]["type"]["const"]
        for definition in json.loads(schema)["$defs"].values()
        if "const" in definition.get("properties", {}).get("type", {}) and "event_id" in definition["properties"]
    }
    # Only on WebRTC and SIP connections, never on a WebSocket (openai.types.realtime says so).
    elsewhere = {name for name in official if name.startswith("output_audio_buffer.")}
    assert len(official) > 40
    assert official - elsewhere - set(EVENTS) == set()


# --- turns ---


def test_speech_of_the_caller_is_told_with_its_place_in_the_audio() -> None:
    conversation = configured()
    started = {"type": "input_audio_buffer.speech_started", "item_id": "item_9", "audio_start_ms": 1200}
    stopped = {"type": "input_audio_buffer.speech_stopped", "item_id": "item_9", "audio_end_ms": 2400}
    assert conversation.tell(started, stopped) == [SpeechStarted("item_9", 1200), SpeechStopped("item_9", 2400)]


def test_servers_that_say_little_of_speech_are_understood() -> None:
    conversation = configured()
    started: Event = {"type": "input_audio_buffer.speech_started"}
    assert conversation.tell(started) == [SpeechStarted("", None)]


@pytest.mark.parametrize("family", ["response.output_audio_transcript", "response.audio_transcript"])
def test_words_of_the_agent(family: str) -> None:
    conversation = configured()
    ids = {"response_id": "resp_1", "item_id": "item_1"}
    assert conversation.tell(
        {"type": f"{family}.delta", "delta": "Good ", **ids},
        {"type": f"{family}.done", "transcript": "Good day", **ids},
    ) == [AgentTranscript("item_1", "Good ", False), AgentTranscript("item_1", "Good day", True)]


def test_words_of_the_caller() -> None:
    conversation = configured()
    kind = "conversation.item.input_audio_transcription"
    assert conversation.tell(
        {"type": f"{kind}.delta", "item_id": "item_2", "delta": "My"},
        {"type": f"{kind}.completed", "item_id": "item_2", "transcript": "My order", "usage": {}},
        {"type": f"{kind}.failed", "item_id": "item_2", "error": {"message": "too short"}},
    ) == [
        CallerTranscript("item_2", "My", False),
        CallerTranscript("item_2", "My order", True),
        BackendError("transcription_failed", "too short"),
    ]


# --- one response at a time ---


def test_requests_wait_for_the_end_of_the_active_response() -> None:
    conversation = configured()
    conversation.protocol.create_response("Greet.")
    conversation.protocol.create_response("Ask.")
    assert [event["response"] for event in conversation.said()] == [{"instructions": "Greet."}]
    conversation.tell(response_created("resp_1"))
    assert conversation.said() == []
    conversation.tell(response_done("resp_1"))
    assert [event["response"] for event in conversation.said()] == [{"instructions": "Ask."}]


def test_bare_requests_that_wait_are_one() -> None:
    conversation = configured()
    conversation.tell(response_created())
    for _ in range(3):
        conversation.protocol.create_response(None)
    conversation.tell(response_done())
    assert conversation.said_types() == ["response.create"]
    conversation.tell(response_created("resp_2"), response_done("resp_2"))
    assert conversation.said() == []


def test_lost_race_is_retried_when_the_other_response_is_done_and_nobody_is_told() -> None:
    conversation = configured()
    conversation.protocol.create_response("Ask.")
    request = conversation.said()[0]
    told = conversation.tell(
        response_created("resp_vad"),
        error("conversation_already_has_active_response", "busy", str(request["event_id"])),
    )
    assert told == [ResponseStarted("resp_vad")]
    assert conversation.said() == []
    conversation.tell(response_done("resp_vad"))
    again = conversation.said()
    assert [event["response"] for event in again] == [{"instructions": "Ask."}]
    assert again[0]["event_id"] != request["event_id"]


def test_request_that_is_rejected_frees_the_queue() -> None:
    conversation = configured()
    conversation.protocol.create_response("One.")
    conversation.protocol.create_response("Two.")
    request = conversation.said()[0]
    told = conversation.tell(error("invalid_value", "no", str(request["event_id"])))
    assert told == [BackendError("invalid_value", "no")]
    assert [event["response"] for event in conversation.said()] == [{"instructions": "Two."}]


def test_request_that_nobody_answers_frees_the_queue_after_three_seconds() -> None:
    conversation = configured()
    conversation.protocol.create_response("One.")
    conversation.protocol.create_response("Two.")
    conversation.said()
    assert conversation.protocol.awaits
    for now in (100.0, 101.5, 102.9):
        conversation.protocol.handle_timer(now)
        assert conversation.said() == []
    conversation.protocol.handle_timer(110.0)
    assert [event["response"] for event in conversation.said()] == [{"instructions": "Two."}]


def test_response_that_the_service_failed_to_make_is_asked_for_once_more() -> None:
    conversation = configured()
    conversation.protocol.create_response("Greet.")
    conversation.said()
    failure: Event = {"type": "failed", "error": {"type": "server_error", "code": "server_error"}}
    conversation.tell(response_created("resp_1"), response_done("resp_1", "failed", details=failure))
    assert [event["response"] for event in conversation.said()] == [{"instructions": "Greet."}]
    told = conversation.tell(response_created("resp_2"), response_done("resp_2", "failed", details=failure))
    assert told[-1] == ResponseDone("resp_2", ResponseStatus.FAILED, "server_error", None)
    assert conversation.said() == []


# --- cancelling and truncating ---


def test_cancel_names_the_response_and_drops_its_late_audio() -> None:
    conversation = configured()
    conversation.tell(response_created(), audio_delta(b"early"))
    conversation.protocol.cancel_response()
    cancel = conversation.said()
    assert [(event["type"], event["response_id"]) for event in cancel] == [("response.cancel", "resp_1")]
    details: Event = {"type": "cancelled", "reason": "client_cancelled"}
    assert conversation.tell(
        audio_delta(b"late"),
        audio_delta(b"late", item_id="item_2"),
        audio_done(),
        response_done("resp_1", "cancelled", details=details),
    ) == [ResponseDone("resp_1", ResponseStatus.CANCELLED, "client_cancelled", None)]


def test_cancel_before_the_response_has_begun_cancels_it_when_it_begins() -> None:
    conversation = configured()
    conversation.protocol.create_response(None)
    conversation.protocol.cancel_response()
    conversation.said()
    conversation.tell(response_created())
    assert conversation.said_types() == ["response.cancel"]
    assert conversation.tell(audio_delta(b"late")) == []


def test_cancel_without_a_response_says_nothing() -> None:
    conversation = configured()
    conversation.protocol.cancel_response()
    assert conversation.said() == []


@pytest.mark.parametrize("code", ["response_cancel_not_active", "input_audio_buffer_commit_empty"])
def test_races_that_change_nothing_are_not_told(code: str) -> None:
    assert configured().tell(error(code, "too late")) == []


def test_truncation_that_came_too_late_is_not_told() -> None:
    assert configured().tell(error("invalid_value", "Audio content of 900ms is already shorter than 1200ms")) == []


@pytest.mark.parametrize(("asked_ms", "sent_ms"), [(40, 40), (0, 0), (-5, 0), (100, 100), (5000, 100)])
def test_truncation_is_clamped_to_what_was_received(asked_ms: int, sent_ms: int) -> None:
    conversation = configured()
    conversation.tell(response_created(), audio_delta(bytes(400)), audio_delta(bytes(407)))
    conversation.protocol.truncate("item_1", asked_ms)
    [truncation] = conversation.said()
    assert (truncation["item_id"], truncation["content_index"], truncation["audio_end_ms"]) == ("item_1", 0, sent_ms)
    assert conversation.tell(
        {"type": "conversation.item.truncated", "item_id": "item_1", "content_index": 0, "audio_end_ms": sent_ms}
    ) == [Truncated("item_1", sent_ms)]


def test_late_audio_of_a_truncated_item_and_of_its_response_is_dropped() -> None:
    conversation = configured()
    conversation.tell(response_created(), audio_delta(bytes(800)))
    conversation.protocol.truncate("item_1", 50)
    conversation.said()
    assert conversation.tell(audio_delta(bytes(800)), audio_delta(bytes(800), item_id="item_2")) == []
    assert conversation.tell(audio_delta(b"new", response_id="resp_2", item_id="item_3")) == [
        AudioDelta("resp_2", "item_3", b"new")
    ]


def test_item_that_was_heard_to_its_end_is_not_truncated() -> None:
    conversation = configured()
    conversation.tell(response_created(), audio_delta(bytes(800)), audio_done(), response_done())
    conversation.protocol.truncate("item_1", 100)
    assert conversation.said() == []
    conversation.protocol.truncate("item_1", 99)  # done, but still queued when the caller spoke
    assert conversation.said_types() == ["conversation.item.truncate"]


def test_truncation_of_an_unknown_item_says_nothing() -> None:
    conversation = configured()
    conversation.protocol.truncate("item_of_yesterday", 100)
    assert conversation.said() == []


def test_caller_who_interrupts_ends_the_audio_of_the_active_response() -> None:
    conversation = configured()
    conversation.tell(response_created(), audio_delta(b"early"))
    speech: Event = {"type": "input_audio_buffer.speech_started", "item_id": "item_9", "audio_start_ms": 5}
    assert conversation.tell(speech, audio_delta(b"late"), audio_delta(b"late", item_id="item_2")) == [
        SpeechStarted("item_9", 5)
    ]


# --- tools ---


def test_tool_calls_come_from_a_completed_response_alone() -> None:
    conversation = configured()
    half: Event = {
        "type": "response.function_call_arguments.done",
        "response_id": "resp_1",
        "item_id": "i",
        "call_id": "call_1",
        "name": "pay",
        "arguments": '{"amount": 1',
    }
    told = conversation.tell(
        response_created(), half, response_done("resp_1", "cancelled", function_call("call_1", "pay", '{"am'))
    )
    assert not any(isinstance(event, ToolCall) for event in told)
    whole = function_call("call_2", "pay", '{"amount": 100}')
    told = conversation.tell(response_created("resp_2"), response_done("resp_2", "completed", whole))
    assert told[1:] == [
        ToolCall("resp_2", "call_2", "pay", '{"amount": 100}'),
        ResponseDone("resp_2", ResponseStatus.COMPLETED, "", None),
    ]


def test_a_call_that_is_told_twice_is_made_once() -> None:
    conversation = configured()
    done = response_done("resp_1", "completed", function_call("call_1", "pay"))
    told = conversation.tell(response_created(), done, done)
    assert [event for event in told if isinstance(event, ToolCall)] == [ToolCall("resp_1", "call_1", "pay", "{}")]
    conversation.protocol.send_tool_result("call_1", '"paid"')
    assert conversation.said_types() == ["conversation.item.create", "response.create"]


def test_calls_are_found_where_the_end_of_the_response_lists_none() -> None:
    conversation = configured()
    item: Event = {"type": "response.output_item.done", "response_id": "resp_1", "item": function_call("call_1")}
    arguments: Event = {
        "type": "response.function_call_arguments.done",
        "response_id": "resp_1",
        "item_id": "i",
        "call_id": "call_2",
        "name": "other",
        "arguments": '{"a":1}',
    }
    told = conversation.tell(response_created(), item, arguments, response_done())
    assert [event for event in told if isinstance(event, ToolCall)] == [
        ToolCall("resp_1", "call_1", "look_up", "{}"),
        ToolCall("resp_1", "call_2", "other", '{"a":1}'),
    ]


def test_parallel_calls_are_answered_together_with_one_response() -> None:
    conversation = configured()
    conversation.tell(
        response_created(), response_done("resp_1", "completed", function_call("call_1"), function_call("call_2"))
    )
    conversation.protocol.send_tool_result("call_2", '{"b":2}')
    [second] = conversation.said()
    assert second["item"] == {"type": "function_call_output", "call_id": "call_2", "output": '{"b":2}'}
    conversation.protocol.send_tool_result("call_1", '{"a":1}')
    assert conversation.said_types() == ["conversation.item.create", "response.create"]
    conversation.protocol.send_tool_result("call_1", '{"a":1}')  # a webhook that answers twice
    assert conversation.said_types() == ["conversation.item.create"]


def tool_output_added(call_id: str) -> Event:
    item = {"type": "function_call_output", "id": "item_o", "call_id": call_id, "output": "{}"}
    return {"type": "conversation.item.added", "item": item, "previous_item_id": None}


def conversation_with_late_result() -> Conversation:
    """A tool was called, the caller went on talking and the model answers that; now the result arrives."""
    conversation = configured()
    conversation.tell(response_created(), response_done("resp_1", "completed", function_call("call_1")))
    conversation.tell(response_created("resp_2"))
    conversation.protocol.send_tool_result("call_1", '"done"')
    assert conversation.said_types() == ["conversation.item.create"]
    return conversation


def test_late_result_waits_for_the_active_response_and_is_then_spoken_about() -> None:
    conversation = conversation_with_late_result()
    conversation.tell(tool_output_added("call_1"), response_done("resp_2"))
    assert conversation.said_types() == ["response.create"]


def test_result_that_a_later_response_has_seen_asks_for_no_other() -> None:
    conversation = conversation_with_late_result()
    speech: Event = {"type": "input_audio_buffer.speech_started", "item_id": "item_9", "audio_start_ms": 5}
    silence: Event = {"type": "input_audio_buffer.speech_stopped", "item_id": "item_9", "audio_end_ms": 9}
    conversation.tell(tool_output_added("call_1"), speech, response_done("resp_2", "cancelled"))
    assert conversation.said() == []  # the caller speaks, and the server will answer
    conversation.tell(silence)
    [request] = conversation.said()
    conversation.tell(
        response_created("resp_3"),
        error("conversation_already_has_active_response", "busy", str(request["event_id"])),
        response_done("resp_3"),
    )
    assert conversation.said() == []


# --- faults ---


def test_quota_that_ends_a_response_ends_the_session() -> None:
    conversation = configured()
    details: Event = {"type": "failed", "error": {"type": "insufficient_quota", "code": "insufficient_quota"}}
    told = conversation.tell(response_created(), response_done("resp_1", "failed", details=details))
    assert told[1] == ResponseDone("resp_1", ResponseStatus.FAILED, "insufficient_quota", None)
    assert told[2] == SessionFailed(FailureReason.QUOTA, "insufficient_quota", retryable=False)


def test_session_expired_ends_the_session() -> None:
    told = configured().tell(error("session_expired", "maximum duration of 60 minutes"))
    assert told == [SessionFailed(FailureReason.EXPIRED, "maximum duration of 60 minutes", retryable=True)]


def test_other_errors_are_told_and_the_session_goes_on() -> None:
    assert configured().tell(error("weird", "strange")) == [BackendError("weird", "strange")]


def test_usage_is_read_by_kind() -> None:
    conversation = configured()
    done = response_done()
    response = done["response"]
    assert isinstance(response, dict)
    response["usage"] = {
        "total_tokens": 100,
        "input_tokens": 60,
        "output_tokens": 40,
        "input_token_details": {
            "text_tokens": 20,
            "audio_tokens": 40,
            "cached_tokens": 7,
            "cached_tokens_details": {"text_tokens": 5, "audio_tokens": 2},
        },
        "output_token_details": {"text_tokens": 10, "audio_tokens": 30},
    }
    told = conversation.tell(response_created(), done)
    assert isinstance(told[-1], ResponseDone)
    assert told[-1].usage == Usage(20, 40, 5, 2, 10, 30, 100)


# --- what else is said ---


def test_text_and_turns_are_said_as_the_api_takes_them() -> None:
    conversation = configured()
    conversation.protocol.send_text("The caller pressed 5.", TextRole.SYSTEM)
    conversation.protocol.send_text("a lone surrogate \ud800 breaks nothing", TextRole.USER)
    conversation.protocol.end_turn()
    assert conversation.said_types() == [
        "conversation.item.create",
        "conversation.item.create",
        "input_audio_buffer.commit",
        "response.create",
    ]


@pytest.mark.parametrize("dialect", [OPENAI, AZURE, XAI, BETA])
def test_every_dialect_holds_a_conversation(dialect: Dialect) -> None:
    conversation = configured(dialect)
    conversation.protocol.create_response(None)
    assert conversation.said_types() == ["response.create"]
    told = conversation.tell(response_created(), audio_delta(b"abc", beta=dialect is BETA), response_done())
    assert [type(event) for event in told] == [ResponseStarted, AudioDelta, ResponseDone]


def test_words_that_come_again_and_again_are_told_once__xai() -> None:
    conversation = configured(XAI)
    kind = "conversation.item.input_audio_transcription"
    told: list[RealtimeEvent] = []
    for words in ("a table", "a table for", "a table for", "a cable for", "a cable for two"):
        told += conversation.tell({"type": f"{kind}.updated", "item_id": "item_1", "transcript": words})
    assert told == [
        CallerTranscript("item_1", "a table", final=False),
        CallerTranscript("item_1", " for", final=False),
        CallerTranscript("item_1", " two", final=False),
    ]
    [final] = conversation.tell({"type": f"{kind}.completed", "item_id": "item_1", "transcript": "a table for two"})
    assert final == CallerTranscript("item_1", "a table for two", final=True)


def test_caller_who_begins_a_turn_silences_the_model() -> None:
    conversation = configured(settings=SessionSettings(turn_detection=None))
    conversation.tell({"type": "response.created", "response": {"id": "resp_1"}})
    conversation.protocol.start_turn()
    assert conversation.said_types() == ["response.cancel"]
    conversation.protocol.end_turn()
    assert conversation.said_types() == ["input_audio_buffer.commit"]
    conversation.tell({"type": "response.done", "response": {"id": "resp_1", "status": "cancelled"}})
    assert conversation.said_types() == ["response.create"]


def aside_created(request_id: str, response_id: str) -> Event:
    created = response_created(response_id)
    response = created["response"]
    assert isinstance(response, dict)
    return {**created, "response": {**response, "conversation_id": None, "metadata": {"trunkline_request": request_id}}}


def aside_done(response_id: str, status: str, *words: str) -> Event:
    content = [{"type": "output_text", "text": text} for text in words]
    message: Event = {"id": "item_aside", "type": "message", "role": "assistant", "content": content}
    return response_done(response_id, status, message)


def test_words_beside_the_conversation_are_told_and_touch_nothing_of_it() -> None:
    """Facts A8: the same event types, told apart by the response's id, while another response is spoken."""
    conversation = configured()
    conversation.protocol.create_response("Greet.")
    conversation.tell(response_created("resp_1"))
    conversation.said()
    conversation.protocol.ask_aside("a1", "Summarise.")
    (request,) = conversation.said()
    assert request["response"] == {
        "conversation": "none",
        "output_modalities": ["text"],
        "metadata": {"trunkline_request": "a1"},
        "instructions": "Summarise.",
        "tool_choice": "none",
    }
    told = conversation.tell(
        aside_created("a1", "resp_2"),
        audio_delta(b"never heard", response_id="resp_2", item_id="item_aside"),
        audio_delta(b"heard", response_id="resp_1"),
        aside_done("resp_2", "completed", "They booked a table."),
    )
    assert told == [AudioDelta("resp_1", "item_1", b"heard"), TextAnswer("a1", "They booked a table.")]
    conversation.protocol.create_response("Next.")
    assert conversation.said() == []  # the spoken response still runs
    assert conversation.tell(response_done("resp_1"))[-1].__class__ is ResponseDone
    assert conversation.said_types() == ["response.create"]


@pytest.mark.parametrize("status", ["failed", "cancelled", "completed"])
def test_a_model_that_gives_no_words_beside_the_conversation_says_so(status: str) -> None:
    conversation = configured()
    conversation.protocol.ask_aside("a1", "Summarise.")
    assert conversation.tell(aside_created("a1", "resp_2"), aside_done("resp_2", status)) == [TextAnswer("a1", None)]


def test_an_error_about_words_beside_the_conversation_leaves_the_spoken_request_alone() -> None:
    conversation = configured()
    conversation.protocol.create_response("Greet.")
    conversation.said()
    conversation.protocol.ask_aside("a1", "Summarise.")
    (request,) = conversation.said()
    told = conversation.tell(error("invalid_value", event_id=str(request["event_id"])))
    assert told == [TextAnswer("a1", None)]
    assert conversation.protocol.responses.requested is not None


def test_a_dialect_that_knows_nothing_beside_the_conversation_is_not_asked() -> None:
    conversation = configured(XAI)
    conversation.said()
    conversation.protocol.ask_aside("a1", "Summarise.")
    assert (conversation.said(), conversation.heard()) == ([], [TextAnswer("a1", None)])


def test_of_many_requests_beside_the_conversation_the_oldest_is_given_up() -> None:
    conversation = configured()
    for number in range(MAX_AWAITED + 1):
        conversation.protocol.ask_aside(f"a{number}", "Summarise.")
    assert conversation.heard() == [TextAnswer("a0", None)]
