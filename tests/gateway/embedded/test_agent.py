"""The agent mode as a client sees it. The peer holds every event against the types of the `openai` package."""

import base64
import json
from typing import Any

import numpy as np
import pytest

from gateway.embedded.agent import Pace
from gateway.embedded.audio import WireFormat
from tests.gateway.embedded.realtime_peer import Peer, agent_session, silence, tone, types
from tests.gateway.embedded.scripts import BOOK_TABLE, END_CALL, script

SERVER_VAD = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500}
SPOKEN_TURN = [
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.committed",
    "conversation.item.added",
    "conversation.item.done",
    "response.created",
    "rate_limits.updated",
]
MESSAGE = [
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "response.output_item.done",
    "conversation.item.done",
]
FUNCTION_CALL = [
    "response.output_item.added",
    "conversation.item.added",
    "response.function_call_arguments.done",
    "response.output_item.done",
    "conversation.item.done",
]


def connected(*, pace: Pace | None = None, wire_format: WireFormat = WireFormat.PCMU, **session: Any) -> Peer:
    peer = Peer(agent_session(script(), pace=pace), wire_format=wire_format)
    peer.configure(**session)
    return peer


def error_code(events: list[dict[str, Any]]) -> str:
    assert types(events) == ["error"]
    return str(events[0]["error"]["code"])


def text_item(text: str, role: str = "user") -> dict[str, Any]:
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}


def test_session_is_created_with_defaults_and_updated_with_the_whole_object() -> None:
    peer = Peer(agent_session(script()))
    created = peer.events[0]
    assert created["type"] == "session.created"
    assert created["session"]["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 24000}
    assert created["session"]["expires_at"] == 1_800_003_600
    peer.configure(instructions="Be kind.", input={"turn_detection": SERVER_VAD | {"silence_duration_ms": 300}})
    session = peer.last("session.updated")["session"]
    assert session["instructions"] == "Be kind."
    assert session["audio"]["input"]["format"] == {"type": "audio/pcmu"}
    assert session["audio"]["input"]["turn_detection"]["create_response"] is True
    assert session["audio"]["output"]["voice"] == "marin"
    assert session["id"] == created["session"]["id"]


def test_null_clears_and_what_is_absent_stays() -> None:
    peer = connected(tools=[BOOK_TABLE], input={"transcription": {"model": "gpt-transcribe"}})
    audio = {"input": {"turn_detection": None, "transcription": None}}
    events = peer.send("session.update", session={"type": "realtime", "audio": audio})
    session = events[0]["session"]
    assert session["audio"]["input"]["turn_detection"] is None
    assert session["audio"]["input"]["transcription"] is None
    assert session["audio"]["input"]["format"] == {"type": "audio/pcmu"}
    assert [tool["name"] for tool in session["tools"]] == ["book_table"]


@pytest.mark.parametrize("wire_format", list(WireFormat))
def test_a_spoken_turn_is_answered_in_the_service_s_order(wire_format: WireFormat) -> None:
    peer = connected(wire_format=wire_format, input={"transcription": {"model": "gpt-transcribe"}})
    events = peer.speak("When are you open?")
    events += peer.run(5)
    assert types(events) == [
        *SPOKEN_TURN,
        "conversation.item.input_audio_transcription.completed",
        *MESSAGE,
        "response.done",
    ]
    done = peer.last("response.done")["response"]
    assert done["status"] == "completed"
    assert done["output"][0]["content"] == [
        {"type": "output_audio", "transcript": "We are open every day from noon until ten in the evening."}
    ]
    audio = b"".join(base64.b64decode(event["delta"]) for event in peer.of_type("response.output_audio.delta"))
    assert len(audio) == 1200 * wire_format.bytes_per_ms
    words = "".join(event["delta"] for event in peer.of_type("response.output_audio_transcript.delta"))
    assert words == "We are open every day from noon until ten in the evening."


def test_usage_counts_audio_both_ways() -> None:
    peer = connected()
    peer.speak("When are you open?")
    peer.run(5)
    usage = peer.last("response.done")["response"]["usage"]
    assert usage["output_token_details"]["audio_tokens"] == 1200 // 50
    assert usage["input_token_details"]["audio_tokens"] > 10
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert peer.of_type("response.created")[-1]["response"]["usage"] is None


def test_speech_offsets_count_appended_audio_with_padding_before_and_silence_after() -> None:
    peer = connected()
    peer.run(60)
    peer.append(silence(1000))
    peer.hears.append(None)
    peer.append(np.concatenate([tone(800), silence(700)]))
    started = peer.last("input_audio_buffer.speech_started")
    stopped = peer.last("input_audio_buffer.speech_stopped")
    assert started["audio_start_ms"] == pytest.approx(1000 - 300, abs=64)
    assert stopped["audio_end_ms"] == pytest.approx(1800 + 500, abs=64)
    assert started["item_id"] == stopped["item_id"] == peer.last("input_audio_buffer.committed")["item_id"]


def test_offsets_go_on_in_appended_time_when_the_format_changes() -> None:
    peer = connected(wire_format=WireFormat.PCM)
    peer.append(silence(1000, 24_000))
    peer.format = WireFormat.PCMU
    peer.configure()
    peer.append(silence(1000))
    peer.append(tone(200))
    assert peer.last("input_audio_buffer.speech_started")["audio_start_ms"] == pytest.approx(1700, abs=64)


def test_a_click_is_no_speech() -> None:
    peer = connected()
    assert types(peer.append(np.concatenate([silence(500), tone(10), silence(800)]))) == []


def test_threshold_and_silence_duration_are_honoured() -> None:
    deaf = connected(input={"turn_detection": SERVER_VAD | {"threshold": 0.95}})
    assert deaf.append(np.concatenate([tone(800), silence(900)])) == []
    patient = connected(input={"turn_detection": SERVER_VAD | {"silence_duration_ms": 2000}})
    assert types(patient.append(np.concatenate([tone(800), silence(1500)]))) == ["input_audio_buffer.speech_started"]


def test_without_create_response_the_client_asks() -> None:
    peer = connected(input={"turn_detection": SERVER_VAD | {"create_response": False}})
    assert types(peer.speak("When are you open?")) == SPOKEN_TURN[:5]
    events = peer.send("response.create") + peer.run(3)
    assert types(events) == [*SPOKEN_TURN[5:], *MESSAGE, "response.done"]
    assert peer.said() == ["We are open every day from noon until ten in the evening."]


def test_speech_that_is_not_understood_is_answered_with_a_plea() -> None:
    peer = connected()
    for _ in range(3):
        peer.speak(None)
        peer.run(3)
    assert peer.said() == ["Pardon me?", "Once more please?", "Pardon me?"]


def test_barge_in_cancels_the_response_with_turn_detected() -> None:
    peer = connected(pace=Pace(speed=1))
    peer.send("response.create", response={"instructions": 'Say "one two three four five six seven eight nine ten"'})
    peer.run(0.25)
    peer.hears.append("When are you open?")
    events = peer.append(tone(300))
    assert types(events) == [
        "input_audio_buffer.speech_started",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "response.output_item.done",
        "conversation.item.done",
        "response.done",
    ]
    response = peer.last("response.done")["response"]
    assert response["status"] == "cancelled"
    assert response["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert response["output"][0]["status"] == "incomplete"
    assert peer.append(silence(700))[-1]["type"] != "error"


def test_without_interrupt_response_the_agent_goes_on() -> None:
    peer = connected(pace=Pace(speed=1), input={"turn_detection": SERVER_VAD | {"interrupt_response": False}})
    peer.send("response.create", response={"instructions": 'Say "one two three four five six seven eight nine ten"'})
    peer.run(0.25)
    peer.speak(None, duration_ms=200)
    peer.run(3)
    assert [event["response"]["status"] for event in peer.of_type("response.done")] == ["completed"]


def test_speech_comes_faster_than_real_time() -> None:
    peer = connected(pace=Pace(delta_ms=100, speed=10))
    peer.send("response.create", response={"instructions": 'Say "a b c d e f g h i j"'})
    peer.run(0.055)
    assert len(peer.of_type("response.output_audio.delta")) == 6
    peer.run(0.05)
    assert peer.last("response.done")["response"]["status"] == "completed"


def test_thinking_time_passes_before_the_first_word() -> None:
    peer = connected(pace=Pace(thinking_ms=400))
    peer.send("response.create")
    assert types(peer.run(0.39)) == []
    assert "response.output_audio.delta" in types(peer.run(0.02), without_deltas=False)


def test_greeting_is_the_script_s_or_the_words_quoted_in_the_instructions() -> None:
    peer = connected()
    peer.send("response.create")
    peer.run(1)
    peer.send("response.create", response={"instructions": "Greet the caller with these words: “Hello you.”"})
    peer.run(1)
    peer.send("response.create")
    peer.run(1)
    assert peer.said() == ["Good morning.", "Hello you.", "Are you there?"]


def test_tool_call_is_streamed_and_its_result_is_spoken() -> None:
    peer = connected(tools=[BOOK_TABLE])
    events = peer.speak("A table for two please") + peer.run(3)
    assert types(events) == [*SPOKEN_TURN, *MESSAGE, *FUNCTION_CALL, "response.done"]
    done = peer.last("response.function_call_arguments.done")
    assert done["name"] == "book_table"
    assert json.loads(done["arguments"]) == {"guests": "two"}
    deltas = "".join(event["delta"] for event in peer.of_type("response.function_call_arguments.delta"))
    assert deltas == done["arguments"]
    output = peer.last("response.done")["response"]["output"]
    assert [item["type"] for item in output] == ["message", "function_call"]
    result = {"type": "function_call_output", "call_id": done["call_id"], "output": '{"ok": true}'}
    assert types(peer.send("conversation.item.create", item=result)) == [
        "conversation.item.added",
        "conversation.item.done",
    ]
    peer.send("response.create")
    peer.run(2)
    assert peer.said()[-1] == "Your table for two is booked."


def test_first_reply_that_fits_the_tool_result_is_spoken() -> None:
    peer = connected(tools=[BOOK_TABLE])
    peer.speak("A table for three please")
    peer.run(3)
    call_id = peer.last("response.function_call_arguments.done")["call_id"]
    result = {"type": "function_call_output", "call_id": call_id, "output": '{"error": "full"}'}
    peer.send("conversation.item.create", item=result)
    peer.send("response.create")
    peer.run(2)
    assert peer.said()[-1] == "No table."


def test_a_tool_that_the_session_does_not_offer_is_not_called() -> None:
    peer = connected()
    peer.speak("A table for two please")
    peer.run(3)
    assert peer.said() == ["I cannot book."]
    assert peer.of_type("response.function_call_arguments.done") == []


def test_goodbye_is_said_before_the_call_is_ended() -> None:
    peer = connected(tools=[END_CALL])
    peer.speak("Goodbye")
    peer.run(3)
    output = peer.last("response.done")["response"]["output"]
    assert [item["type"] for item in output] == ["message", "function_call"]
    assert output[1]["name"] == "end_call"


def test_tool_call_cut_by_a_cancel_ends_with_partial_arguments() -> None:
    peer = connected(tools=[BOOK_TABLE], pace=Pace(speed=1))
    peer.speak("A table for two please")
    while not peer.of_type("response.function_call_arguments.delta"):
        peer.run(0.05)
    peer.send("response.cancel")
    done = peer.last("response.function_call_arguments.done")
    with pytest.raises(json.JSONDecodeError):
        json.loads(done["arguments"])
    assert peer.last("response.done")["response"]["status_details"]["reason"] == "client_cancelled"


def test_second_response_is_refused_while_one_is_active() -> None:
    peer = connected(pace=Pace(speed=1))
    peer.send("response.create")
    events = peer.send("response.create", event_id="second")
    assert error_code(events) == "conversation_already_has_active_response"
    assert events[0]["error"]["event_id"] == "second"
    peer.run(5)
    assert len(peer.of_type("response.done")) == 1


def test_cancel_without_a_response_is_a_harmless_error() -> None:
    assert error_code(connected().send("response.cancel")) == "response_cancel_not_active"


def test_cancel_names_a_response() -> None:
    peer = connected(pace=Pace(speed=1))
    created = peer.send("response.create")[0]["response"]
    assert error_code(peer.send("response.cancel", response_id="resp_other")) == "response_cancel_not_active"
    peer.send("response.cancel", response_id=created["id"])
    assert peer.last("response.done")["response"]["id"] == created["id"]


def test_response_outside_the_conversation_runs_beside_it_and_leaves_no_item() -> None:
    peer = connected(pace=Pace(speed=1))
    peer.send("response.create")
    outside = {
        "conversation": "none",
        "output_modalities": ["text"],
        "metadata": {"topic": "x"},
        "input": [text_item("When are you open?")],
    }
    events = peer.send("response.create", response=outside)
    response = next(event["response"] for event in events if event["type"] == "response.done")
    assert response["conversation_id"] is None
    assert response["metadata"] == {"topic": "x"}
    assert response["output"][0]["content"][0]["text"].startswith("We are open")
    assert "conversation.item.added" not in types(events)


def test_text_of_the_caller_is_answered_like_speech() -> None:
    peer = connected()
    peer.send("conversation.item.create", item=text_item("when are you open"))
    peer.send("response.create")
    peer.run(3)
    assert peer.said() == ["We are open every day from noon until ten in the evening."]


def test_truncate_forgets_the_transcript_and_refuses_more_than_there_is() -> None:
    peer = connected()
    peer.send("response.create", response={"instructions": 'Say "a b c d e f g h i j"'})
    peer.run(2)
    item_id = peer.last("response.done")["response"]["output"][0]["id"]
    cut = {"item_id": item_id, "content_index": 0}
    too_long = peer.send("conversation.item.truncate", audio_end_ms=1001, **cut)
    assert error_code(too_long) == "invalid_value"
    assert too_long[0]["error"]["message"] == "Audio content of 1000ms is already shorter than 1001ms"
    assert peer.send("conversation.item.truncate", audio_end_ms=400, **cut)[0] | {"event_id": ""} == {
        "type": "conversation.item.truncated",
        "event_id": "",
        "item_id": item_id,
        "content_index": 0,
        "audio_end_ms": 400,
    }
    item = peer.send("conversation.item.retrieve", item_id=item_id)[0]["item"]
    assert item["content"][0]["transcript"] == ""
    assert len(base64.b64decode(item["content"][0]["audio"])) == 400 * 8
    assert error_code(peer.send("conversation.item.truncate", audio_end_ms=401, **cut)) == "invalid_value"


def test_only_audio_of_the_assistant_can_be_truncated() -> None:
    peer = connected()
    item_id = peer.send("conversation.item.create", item=text_item("hello"))[0]["item"]["id"]
    events = peer.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=0)
    assert error_code(events) == "item_truncate_invalid_item_id"


def test_items_are_created_in_place_retrieved_and_deleted() -> None:
    peer = connected()
    second = peer.send("conversation.item.create", item=text_item("second") | {"id": "item_2"})
    assert second[0]["previous_item_id"] is None
    first = peer.send("conversation.item.create", item=text_item("first", "system"), previous_item_id="root")
    assert first[0]["previous_item_id"] is None
    first_id = first[0]["item"]["id"]
    between = peer.send("conversation.item.create", item=text_item("x", "assistant"), previous_item_id=first_id)
    assert between[0]["previous_item_id"] == first_id
    assert peer.send("conversation.item.retrieve", item_id="item_2")[0]["item"]["content"][0]["text"] == "second"
    assert types(peer.send("conversation.item.delete", item_id="item_2")) == ["conversation.item.deleted"]
    assert error_code(peer.send("conversation.item.retrieve", item_id="item_2")) == "item_not_found"


@pytest.mark.parametrize(
    ("event", "code", "param"),
    [
        ({"type": "response.dance"}, "invalid_value", "type"),
        ({"session": {}}, "missing_required_parameter", "type"),
        ({"type": "session.update"}, "missing_required_parameter", "session"),
        (
            {"type": "session.update", "session": {"type": "realtime", "voice": "x"}},
            "unknown_parameter",
            "session.voice",
        ),
        (
            {
                "type": "session.update",
                "session": {"type": "realtime", "audio": {"input": {"format": {"type": "opus"}}}},
            },
            "invalid_value",
            "session.audio.input.format",
        ),
        (
            {
                "type": "session.update",
                "session": {
                    "type": "realtime",
                    "audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 2}}},
                },
            },
            "invalid_value",
            "session.audio.input.turn_detection.threshold",
        ),
        (
            {"type": "session.update", "session": {"type": "realtime", "model": "other"}},
            "invalid_value",
            "session.model",
        ),
        (
            {"type": "conversation.item.create", "item": text_item("x"), "previous_item_id": "item_no"},
            "item_create_invalid_previous_item_id",
            "previous_item_id",
        ),
        (
            {
                "type": "conversation.item.create",
                "item": {"type": "message", "role": "assistant", "content": [{"type": "output_audio"}]},
            },
            "missing_required_parameter",
            "item.content[0].text",
        ),
        (
            {"type": "conversation.item.create", "item": {"type": "function_call_output", "output": "x"}},
            "missing_required_parameter",
            "item.call_id",
        ),
        ({"type": "input_audio_buffer.append", "audio": "not base64!"}, "invalid_value", "audio"),
        ({"type": "input_audio_buffer.commit"}, "input_audio_buffer_commit_empty", None),
        ({"type": "output_audio_buffer.clear"}, "invalid_value", "type"),
    ],
)
def test_what_cannot_be_taken_is_answered_with_an_error_that_says_where(
    event: dict[str, Any], code: str, param: str | None
) -> None:
    peer = connected()
    events = peer.send_raw(json.dumps(event | {"event_id": "mine"}).encode())
    assert error_code(events) == code
    assert events[0]["error"]["param"] == param
    if event["type" if "type" in event else "session"] != "input_audio_buffer.append":
        assert events[0]["error"]["event_id"] == "mine"


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"[]", b"{", b"[" * 100_000, b'{"type": 5}'])
def test_hostile_bytes_are_answered_with_an_error(data: bytes) -> None:
    assert types(connected().send_raw(data)) == ["error"]


def test_without_turn_detection_the_client_commits() -> None:
    peer = connected(input={"turn_detection": None, "transcription": {"model": "gpt-transcribe"}})
    assert types(peer.append(np.concatenate([tone(800), silence(700)]))) == []
    peer.hears.append("When are you open?")
    assert types(peer.send("input_audio_buffer.commit")) == [
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "conversation.item.input_audio_transcription.completed",
    ]
    peer.send("response.create")
    peer.run(3)
    assert peer.said() == ["We are open every day from noon until ten in the evening."]


def test_clear_forgets_what_was_not_committed() -> None:
    peer = connected(input={"turn_detection": None})
    peer.append(tone(500))
    assert types(peer.send("input_audio_buffer.clear")) == ["input_audio_buffer.cleared"]
    assert error_code(peer.send("input_audio_buffer.commit")) == "input_audio_buffer_commit_empty"


def test_interruption_before_the_words_are_heard_leaves_an_empty_cancelled_response() -> None:
    peer = connected()
    peer.holds_work = True
    peer.append(np.concatenate([tone(800), silence(700)]))
    peer.append(tone(300))
    response = peer.last("response.done")["response"]
    assert response["status"] == "cancelled"
    assert response["output"] == []


def test_silence_of_the_caller_triggers_the_idle_timeout_after_playback() -> None:
    peer = connected(input={"turn_detection": SERVER_VAD | {"idle_timeout_ms": 6000}})
    peer.send("response.create")
    peer.run(6.1)
    assert peer.of_type("input_audio_buffer.timeout_triggered") == []
    peer.run(0.3)
    assert len(peer.of_type("input_audio_buffer.timeout_triggered")) == 1
    peer.run(1)
    assert peer.said() == ["Good morning.", "Are you there?"]


def test_voice_is_frozen_once_the_agent_has_spoken() -> None:
    peer = connected()
    peer.send("response.create")
    peer.run(2)
    events = peer.send("session.update", session={"type": "realtime", "audio": {"output": {"voice": "cedar"}}})
    assert error_code(events) == "cannot_update_voice"


def test_session_expires_with_an_error_and_close_1001() -> None:
    peer = Peer(agent_session(script(), limit_s=60))
    events = peer.run(61)
    assert error_code(events) == "session_expired"
    assert peer.session.closure is not None
    assert peer.session.closure.code == 1001
