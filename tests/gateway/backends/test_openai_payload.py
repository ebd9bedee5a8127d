"""session.update from the seam's settings, against OpenAI's own types."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.realtime import SessionUpdateEvent

from gateway.backends.json_message import JsonObject
from gateway.backends.openai.dialect import AZURE, BETA, OPENAI, XAI, Dialect
from gateway.backends.openai.payload import session_payload
from gateway.realtime.capability import AudioFormat
from gateway.realtime.settings import (
    Eagerness,
    NoiseReduction,
    SemanticVad,
    ServerVad,
    SessionSettings,
    ToolChoice,
    ToolDefinition,
    Transcription,
)

FULL = SessionSettings(
    instructions="Be brief.",
    voice="marin",
    language="de",
    speed=1.1,
    transcription=Transcription(prompt="names of dishes"),
    noise_reduction=NoiseReduction.NEAR_FIELD,
    tools=(ToolDefinition("transfer_call", "Transfers the call.", {"type": "object", "properties": {}}),),
    tool_choice=ToolChoice.REQUIRED,
    parallel_tool_calls=True,
    reasoning_effort="low",
    max_output_tokens=500,
    temperature=0.7,
    retention_ratio=0.8,
)


def validate(session: JsonObject) -> None:
    """Strict, for the SDK's own objects take whatever comes."""
    event = SessionUpdateEvent.model_validate({"type": "session.update", "session": session}, extra="forbid")
    assert event.session.type == "realtime"


def test_full_settings_make_the_nested_session() -> None:
    session = session_payload(FULL, OPENAI)
    validate(session)
    assert session == {
        "type": "realtime",
        "output_modalities": ["audio"],
        "instructions": "Be brief.",
        "audio": {
            "input": {
                "format": {"type": "audio/pcmu"},
                "noise_reduction": {"type": "near_field"},
                "transcription": {"model": "gpt-transcribe", "language": "de", "prompt": "names of dishes"},
                "turn_detection": {
                    "type": "server_vad",
                    "threshold": 0.5,
                    "prefix_padding_ms": 300,
                    "silence_duration_ms": 500,
                    "create_response": True,
                    "interrupt_response": True,
                },
            },
            "output": {"format": {"type": "audio/pcmu"}, "voice": "marin", "speed": 1.1},
        },
        "tools": [
            {
                "type": "function",
                "name": "transfer_call",
                "description": "Transfers the call.",
                "parameters": {"type": "object", "properties": {}},
            }
        ],
        "tool_choice": "required",
        "parallel_tool_calls": True,
        "reasoning": {"effort": "low"},
        "max_output_tokens": 500,
        "truncation": {"type": "retention_ratio", "retention_ratio": 0.8},
    }


def test_what_the_settings_leave_open_is_left_out() -> None:
    session = session_payload(SessionSettings(), OPENAI)
    validate(session)
    assert set(session) == {"type", "output_modalities", "instructions", "audio"}


def test_azure_is_not_told_how_to_truncate() -> None:
    assert "truncation" not in session_payload(FULL, AZURE)


def test_xai_hears_server_vad_where_semantic_was_asked_for() -> None:
    settings = SessionSettings(turn_detection=SemanticVad(Eagerness.HIGH, interrupt_response=False))
    detection = session_payload(settings, XAI)["audio"]["input"]["turn_detection"]  # type: ignore[index]
    assert (detection["type"], detection["interrupt_response"]) == ("server_vad", False)


def test_beta_session_is_flat() -> None:
    session = session_payload(FULL, BETA)
    assert session["input_audio_format"] == session["output_audio_format"] == "g711_ulaw"
    assert session["modalities"] == ["text", "audio"]
    assert session["voice"] == "marin"
    assert session["temperature"] == 0.7
    assert session["max_response_output_tokens"] == 500
    assert "audio" not in session
    assert "type" not in session


@pytest.mark.parametrize("audio_format", [AudioFormat.PCMU, AudioFormat.PCMA, AudioFormat.PCM16_24K])
@pytest.mark.parametrize("dialect", [OPENAI, AZURE])
def test_formats_are_the_api_s(audio_format: AudioFormat, dialect: Dialect) -> None:
    validate(session_payload(SessionSettings(input_format=audio_format, output_format=audio_format), dialect))


server_vad = st.builds(
    ServerVad,
    threshold=st.floats(0, 1),
    prefix_padding_ms=st.integers(0, 2000),
    silence_duration_ms=st.integers(0, 5000),
    create_response=st.booleans(),
    interrupt_response=st.booleans(),
    idle_timeout_ms=st.none() | st.integers(5000, 30000),
)
semantic_vad = st.builds(
    SemanticVad,
    eagerness=st.sampled_from(Eagerness),
    create_response=st.booleans(),
    interrupt_response=st.booleans(),
)


@given(
    st.builds(
        SessionSettings,
        instructions=st.text(),
        voice=st.none() | st.just("cedar"),
        speed=st.none() | st.floats(0.25, 1.5),
        turn_detection=st.none() | server_vad | semantic_vad,
        transcription=st.none() | st.builds(Transcription, language=st.none() | st.just("en")),
        noise_reduction=st.none() | st.sampled_from(NoiseReduction),
        parallel_tool_calls=st.none() | st.booleans(),
    )
)
def test_any_settings_make_a_session_that_the_official_types_take(settings: SessionSettings) -> None:
    validate(session_payload(settings, OPENAI))
