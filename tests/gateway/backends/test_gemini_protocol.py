"""Gemini Live without a socket: what is said, and what the tests let the service say, fits google-genai's own types."""

import base64
import json
from collections.abc import Mapping

import pytest
from google.genai import types

from gateway.backends.gemini.fault import read_duration_s
from gateway.backends.gemini.protocol import GeminiProtocol
from gateway.realtime.capability import AudioFormat
from gateway.realtime.conversation import AgentTurn, CallerTurn, SystemNote, ToolExchange
from gateway.realtime.event import (
    AgentTranscript,
    AudioDelta,
    AudioDone,
    CallerTranscript,
    FailureReason,
    RealtimeEvent,
    ResponseDone,
    ResponseStarted,
    ResponseStatus,
    SessionExpiring,
    SpeechStarted,
    SpeechStopped,
    ToolCall,
    ToolCallCancelled,
    Usage,
)
from gateway.realtime.session import TextRole
from gateway.realtime.settings import (
    Eagerness,
    SemanticVad,
    ServerVad,
    SessionSettings,
    ToolDefinition,
    Transcription,
    TurnDetection,
)
from tests.helpers.model_message import append_message

SETTINGS = SessionSettings(
    instructions="Be brief.",
    voice="Kore",
    language="de-DE",
    input_format=AudioFormat.PCM16_16K,
    output_format=AudioFormat.PCM16_24K,
    transcription=Transcription(),
    temperature=0.5,
    max_output_tokens=400,
    tools=(ToolDefinition("look_up", "Looks up.", {"type": "object", "properties": {"q": {"type": "string"}}}),),
)

Message = dict[str, object]


def check_client_message(message: Message) -> None:
    """Strict: an unknown field is an error. The type for the setup lacks one part, which has a type of its own."""
    message = json.loads(json.dumps(message))
    setup = message.get("setup")
    if isinstance(setup, dict):
        types.RealtimeInputConfig.model_validate(setup.pop("realtimeInputConfig"))
    tool_response = message.get("toolResponse")
    if isinstance(tool_response, dict):
        for response in tool_response["functionResponses"]:
            types.FunctionResponse.model_validate(response)
    types.LiveClientMessage.model_validate(message)


class Conversation:
    """A protocol core; the test plays the service."""

    def __init__(self, settings: SessionSettings = SETTINGS, resumption_handle: str | None = None) -> None:
        self.protocol = GeminiProtocol("gemini-3.8-live", resumption_handle)
        self.protocol.start(settings, ())
        self.setup = self.said()[0]["setup"]
        self.tell({"setupComplete": {}})
        assert self.protocol.configured

    def tell(self, *messages: Mapping[str, object]) -> list[RealtimeEvent]:
        for message in messages:
            types.LiveServerMessage.model_validate(message)
            self.protocol.receive_message(json.dumps(message).encode())
        events = list(self.protocol.events)
        self.protocol.events.clear()
        return events

    def said(self) -> list[Message]:
        messages: list[Message] = [json.loads(message) for message in self.protocol.transmits]
        self.protocol.transmits.clear()
        for message in messages:
            assert len(message) == 1
            check_client_message(message)
        return messages


def content(**fields: object) -> Message:
    return {"serverContent": fields}


def audio(*pieces: bytes) -> Message:
    parts = [
        {"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": base64.b64encode(piece).decode()}}
        for piece in pieces
    ]
    return {"parts": parts, "role": "model"}


def test_setup_says_everything_once() -> None:
    setup = Conversation().setup
    assert setup == {
        "model": "models/gemini-3.8-live",
        "generationConfig": {
            "responseModalities": ["AUDIO"],
            "speechConfig": {
                "voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}},
                "languageCode": "de-DE",
            },
            "temperature": 0.5,
            "maxOutputTokens": 400,
        },
        "realtimeInputConfig": {
            "automaticActivityDetection": {"disabled": False, "silenceDurationMs": 500},
            "activityHandling": "START_OF_ACTIVITY_INTERRUPTS",
        },
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "inputAudioTranscription": {},
        "outputAudioTranscription": {},
        "contextWindowCompression": {"slidingWindow": {}},
        "sessionResumption": {},
        "tools": [
            {
                "functionDeclarations": [
                    {
                        "name": "look_up",
                        "description": "Looks up.",
                        "parametersJsonSchema": {"type": "object", "properties": {"q": {"type": "string"}}},
                    }
                ]
            }
        ],
    }


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        (None, {"automaticActivityDetection": {"disabled": True}}),
        (
            SemanticVad(Eagerness.LOW, interrupt_response=False),
            {
                "automaticActivityDetection": {"disabled": False, "endOfSpeechSensitivity": "END_SENSITIVITY_LOW"},
                "activityHandling": "NO_INTERRUPTION",
            },
        ),
        (
            ServerVad(threshold=0.8, silence_duration_ms=700),
            {
                "automaticActivityDetection": {
                    "disabled": False,
                    "silenceDurationMs": 700,
                    "startOfSpeechSensitivity": "START_SENSITIVITY_LOW",
                },
                "activityHandling": "START_OF_ACTIVITY_INTERRUPTS",
            },
        ),
    ],
)
def test_turn_settings_become_the_service_s(turns: TurnDetection | None, expected: Message) -> None:
    setup = Conversation(SessionSettings(input_format=AudioFormat.PCM16_16K, turn_detection=turns)).setup
    assert isinstance(setup, dict)
    assert setup["realtimeInputConfig"] == expected


def test_history_follows_the_setup_and_is_announced_in_it() -> None:
    protocol = GeminiProtocol("gemini-3.8-live")
    history = (
        CallerTurn("hello"),
        AgentTurn("good day"),
        SystemNote("The caller pressed 5."),
        ToolExchange("call_1", "look_up", '{"q":"x"}', "found"),
        ToolExchange("call_2", "look_up", "{broken", None),
    )
    protocol.start(SETTINGS, history)
    assert json.loads(protocol.transmits[0])["setup"]["historyConfig"] == {"initialHistoryInClientContent": True}
    protocol.receive_message(b'{"setupComplete":{}}')
    said = json.loads(protocol.transmits[1])
    check_client_message(said)
    assert said["clientContent"]["turnComplete"] is True
    assert [turn["role"] for turn in said["clientContent"]["turns"]] == [
        "user",
        "model",
        "user",
        "model",
        "user",
        "model",
        "user",
    ]


def test_result_of_a_tool_that_an_earlier_session_asked_for_is_told_in_words() -> None:
    protocol = GeminiProtocol("gemini-3.8-live")
    protocol.start(
        SETTINGS, (ToolExchange("call_1", "look_up", "{}", "found"), ToolExchange("call_2", "pay", "{}", None))
    )
    protocol.receive_message(b'{"setupComplete":{}}')
    protocol.transmits.clear()
    protocol.send_tool_result("call_1", "found")  # the history has told it
    for _ in range(2):
        protocol.send_tool_result("call_2", "paid")
    (said,) = protocol.transmits
    check_client_message(json.loads(said))
    assert json.loads(said) == {"realtimeInput": {"text": "[The tool pay has answered: paid]"}}


def test_resumed_session_sends_the_handle_and_no_history() -> None:
    protocol = GeminiProtocol("gemini-3.8-live", "handle-1")
    protocol.start(SETTINGS, (CallerTurn("hello"),))
    assert json.loads(protocol.transmits[0])["setup"]["sessionResumption"] == {"handle": "handle-1"}
    protocol.receive_message(b'{"setupComplete":{}}')
    assert len(protocol.transmits) == 1


def test_latest_handle_that_can_be_resumed_is_kept() -> None:
    conversation = Conversation()
    conversation.tell({"sessionResumptionUpdate": {"newHandle": "one", "resumable": True}})
    conversation.tell({"sessionResumptionUpdate": {"newHandle": "", "resumable": False}})
    assert conversation.protocol.resumption_handle == "one"
    conversation.tell({"sessionResumptionUpdate": {"newHandle": "two", "resumable": True}})
    assert conversation.protocol.resumption_handle == "two"


def test_audio_is_appended_at_sixteen_kilohertz() -> None:
    message = append_message(Conversation().protocol, bytes(range(64)))
    check_client_message(json.loads(message))
    appended = json.loads(message)["realtimeInput"]["audio"]
    assert appended["mimeType"] == "audio/pcm;rate=16000"
    assert base64.b64decode(appended["data"]) == bytes(range(64))


def test_turn_from_first_audio_to_its_end() -> None:
    conversation = Conversation()
    usage = {
        "promptTokenCount": 50,
        "responseTokenCount": 20,
        "totalTokenCount": 70,
        "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 40}, {"modality": "TEXT", "tokenCount": 10}],
        "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 20}],
    }
    told = conversation.tell(
        content(inputTranscription={"text": "What is "}),
        content(inputTranscription={"text": "my balance?"}),
        content(modelTurn=audio(b"aa", b"bb")),
        content(modelTurn=audio(b"cc"), outputTranscription={"text": "It is "}),
        content(outputTranscription={"text": "five."}),
        content(generationComplete=True),
        {"serverContent": {"turnComplete": True}, "usageMetadata": usage},
    )
    response, item, caller = "gemini_response_1", "gemini_item_1", "gemini_caller_1"
    assert told == [
        CallerTranscript(caller, "What is ", False),
        CallerTranscript(caller, "my balance?", False),
        CallerTranscript(caller, "What is my balance?", True),
        ResponseStarted(response),
        AudioDelta(response, item, b"aa"),
        AudioDelta(response, item, b"bb"),
        AudioDelta(response, item, b"cc"),
        AgentTranscript(item, "It is ", False),
        AgentTranscript(item, "five.", False),
        AudioDone(response, item),
        AgentTranscript(item, "It is five.", True),
        ResponseDone(response, ResponseStatus.COMPLETED, "", Usage(10, 40, 0, 0, 0, 20, 70)),
    ]
    assert conversation.tell(content(modelTurn=audio(b"dd")))[0] == ResponseStarted("gemini_response_2")


def test_interruption_is_told_as_speech_and_drops_late_audio() -> None:
    conversation = Conversation()
    conversation.tell(content(modelTurn=audio(b"aa")))
    assert conversation.tell(content(interrupted=True), content(modelTurn=audio(b"late"))) == [
        SpeechStarted("gemini_caller_1", None)
    ]
    assert conversation.tell(content(turnComplete=True)) == [
        ResponseDone("gemini_response_1", ResponseStatus.CANCELLED, "turn_detected", None)
    ]
    assert AudioDelta("gemini_response_2", "gemini_item_2", b"new") in conversation.tell(
        content(modelTurn=audio(b"new"))
    )


def test_truncation_drops_what_follows_and_says_nothing() -> None:
    conversation = Conversation()
    conversation.tell(content(modelTurn=audio(b"aa")))
    conversation.protocol.truncate("gemini_item_0", 10)
    assert conversation.tell(content(modelTurn=audio(b"bb"))) != []
    conversation.protocol.truncate("gemini_item_1", 10)
    assert conversation.tell(content(modelTurn=audio(b"cc"))) == []
    assert conversation.said() == []


def test_tools_are_answered_by_name_and_cancelled_ones_not_at_all() -> None:
    conversation = Conversation()
    calls = [{"id": "fc1", "name": "look_up", "args": {"q": "x"}}, {"id": "fc2", "name": "look_up"}]
    assert conversation.tell({"toolCall": {"functionCalls": calls}}) == [
        ResponseStarted("gemini_response_1"),
        ToolCall("gemini_response_1", "fc1", "look_up", '{"q":"x"}'),
        ToolCall("gemini_response_1", "fc2", "look_up", "{}"),
    ]
    assert conversation.tell({"toolCall": {"functionCalls": calls}}) == []  # told twice, made once
    assert conversation.tell({"toolCallCancellation": {"ids": ["fc2", "fc9"]}}) == [ToolCallCancelled("fc2")]
    conversation.protocol.send_tool_result("fc2", "late")
    conversation.protocol.send_tool_result("fc1", "found")
    conversation.protocol.send_tool_result("fc1", "found again")
    assert conversation.said() == [
        {"toolResponse": {"functionResponses": [{"id": "fc1", "name": "look_up", "response": {"output": "found"}}]}}
    ]


def test_words_for_the_model_are_said_as_the_api_takes_them() -> None:
    conversation = Conversation()
    conversation.protocol.create_response("Greet the caller.")
    conversation.protocol.create_response(None)
    conversation.protocol.send_text("The caller pressed 5.", TextRole.SYSTEM)
    conversation.protocol.end_turn()
    said = conversation.said()
    assert said[0] == {"realtimeInput": {"text": "[Greet the caller.]"}}
    assert said[2]["clientContent"] == {
        "turns": [{"role": "user", "parts": [{"text": "[The caller pressed 5.]"}]}],
        "turnComplete": False,
    }


def test_end_of_the_connection_is_announced() -> None:
    assert Conversation().tell({"goAway": {"timeLeft": "9.5s"}}) == [SessionExpiring(9.5)]


def test_voice_activity_of_the_enterprise_platform() -> None:
    conversation = Conversation()
    assert conversation.tell(
        {"voiceActivity": {"voiceActivityType": "ACTIVITY_START", "audioOffset": "1.5s"}},
        {"voiceActivity": {"voiceActivityType": "ACTIVITY_END", "audioOffset": "2.25s"}},
    ) == [SpeechStarted("gemini_caller_1", 1500), SpeechStopped("gemini_caller_1", 2250)]


@pytest.mark.parametrize(
    ("code", "text", "reason"),
    [
        (1011, "Deadline expired before operation could complete.", FailureReason.EXPIRED),
        (1011, "Internal error", FailureReason.SERVER_FAULT),
        (1007, "Request contains an invalid argument.", FailureReason.PROTOCOL),
        (1011, "You exceeded your current quota", FailureReason.QUOTA),
        (1000, "", FailureReason.CLOSED),
    ],
)
def test_close_frames_mean_what_they_say(code: int, text: str, reason: FailureReason) -> None:
    assert GeminiProtocol("m").describe_closure(code, text).reason is reason


@pytest.mark.parametrize("message", [b"", b"[]", b"\xff", b"[" * 100_000, b'{"setupComplete":'])
def test_malformed_message_is_counted(message: bytes) -> None:
    conversation = Conversation()
    conversation.protocol.receive_message(message)
    assert conversation.protocol.counters == {"malformed_message": 1}


def test_unknown_message_is_counted_and_fields_of_any_type_raise_nothing() -> None:
    conversation = Conversation()
    conversation.protocol.receive_message(b'{"hologram":{}}')
    assert conversation.protocol.counters == {"unknown_event": 1}
    for value in (None, 5, "text", [], [5], {}, {"parts": 5}, {"parts": [{"inlineData": {"mimeType": "audio/pcm"}}]}):
        for name in ("serverContent", "toolCall", "toolCallCancellation", "goAway", "usageMetadata", "voiceActivity"):
            conversation.protocol.receive_message(json.dumps({name: value}).encode())
        for name in ("modelTurn", "inputTranscription", "outputTranscription", "interrupted", "turnComplete"):
            conversation.protocol.receive_message(json.dumps({"serverContent": {name: value}}).encode())


@pytest.mark.parametrize(
    ("value", "seconds"), [("10s", 10.0), ("0.5s", 0.5), ("", None), ("soon", None), ("-1s", None)]
)
def test_durations(value: str, seconds: float | None) -> None:
    assert read_duration_s(value) == seconds
