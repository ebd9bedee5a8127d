"""From an agent's configuration to what a session is asked for, and who decides about turns."""

from typing import Any

import pytest

from gateway.call.dead_air import DeadAir
from gateway.call.settings import dead_air_policy, guard_policy, pause_ms, settings_of, voice_policy
from gateway.config.agent import AgentSettings
from gateway.realtime.settings import (
    Eagerness,
    NoiseReduction,
    SemanticVad,
    ServerVad,
    ToolDefinition,
    Transcription,
)


def agent(**settings: Any) -> AgentSettings:
    return AgentSettings.model_validate({"backends": ["model"], "instructions": "Be brief.", **settings})


def test_what_an_agent_says_reaches_the_session() -> None:
    tool = ToolDefinition("look_up", "Looks up.", {"type": "object"})
    settings = settings_of(
        agent(
            voice="marin",
            language="pt-BR",
            speed=1.2,
            noise_reduction="near_field",
            reasoning_effort="low",
            max_output_tokens=800,
            transcription={"model": "gpt-transcribe", "prompt": "bacalhau"},
        ),
        "Filled in.",
        (tool,),
    )
    assert (settings.instructions, settings.voice, settings.language, settings.speed) == (
        "Filled in.",
        "marin",
        "pt-BR",
        1.2,
    )
    assert settings.noise_reduction is NoiseReduction.NEAR_FIELD
    assert (settings.reasoning_effort, settings.max_output_tokens, settings.tools) == ("low", 800, (tool,))
    assert settings.transcription == Transcription("gpt-transcribe", "pt", "bacalhau")


def test_what_an_agent_leaves_open_is_left_to_the_service() -> None:
    settings = settings_of(agent(transcription={"enabled": False}), "Be brief.")
    assert settings.turn_detection == ServerVad()
    assert settings.transcription is None
    assert (settings.speed, settings.noise_reduction, settings.reasoning_effort) == (None, None, None)


def test_all_settings_of_server_vad_reach_the_session() -> None:
    detection = {
        "type": "server_vad",
        "threshold": 0.7,
        "prefix_padding_ms": 200,
        "silence_duration_ms": 400,
        "idle_timeout_ms": 8000,
        "interrupt_response": False,
    }
    settings = settings_of(agent(turn_detection=detection), "Be brief.")
    assert settings.turn_detection == ServerVad(
        0.7, 200, 400, create_response=True, interrupt_response=False, idle_timeout_ms=8000
    )


def test_semantic_vad_reaches_the_session() -> None:
    settings = settings_of(agent(turn_detection={"type": "semantic_vad", "eagerness": "high"}), "Be brief.")
    assert settings.turn_detection == SemanticVad(Eagerness.HIGH)


def test_where_the_gateway_decides_the_service_neither_interrupts_nor_answers() -> None:
    careful = agent(interruption={"minimum_speech_ms": 400})
    detection = settings_of(careful, "Be brief.").turn_detection
    assert isinstance(detection, ServerVad)
    assert (detection.create_response, detection.interrupt_response) == (False, False)
    policy = guard_policy(careful)
    assert (policy.decides, policy.pauses, policy.detects) == (True, True, False)
    assert not guard_policy(agent(interruption={"minimum_speech_ms": 400, "while_undecided": "speak_on"})).pauses


def test_where_the_gateway_detects_turns_the_service_is_asked_for_none() -> None:
    own = agent(turn_detection={"type": "client_vad", "threshold_dbfs": -38, "start_ms": 80})
    assert settings_of(own, "Be brief.").turn_detection is None
    assert guard_policy(own).decides
    voice = voice_policy(own)
    assert voice is not None
    assert (voice.threshold_dbfs, voice.start_ms, voice.silence_ms) == (-38, 80, 500)
    assert voice_policy(agent()) is None


@pytest.mark.parametrize(
    ("detection", "pause"),
    [
        ({"type": "server_vad", "silence_duration_ms": 700}, 700),
        ({"type": "client_vad", "silence_duration_ms": 300}, 300),
        ({"type": "semantic_vad"}, 0),  # as long as the model thinks right
    ],
)
def test_the_pause_before_a_turn_ends_is_known_where_it_is_set(detection: dict[str, object], pause: int) -> None:
    assert pause_ms(agent(turn_detection=detection)) == pause


def test_dead_air_can_be_left_alone() -> None:
    never = {"nudge_after_seconds": 0, "filler_after_seconds": 0, "replace_after_seconds": 0}
    assert DeadAir(dead_air_policy(agent())).watches
    assert not DeadAir(dead_air_policy(agent(dead_air=never))).watches


def test_the_acts_about_dead_air_come_in_their_order() -> None:
    with pytest.raises(ValueError, match="the nudge comes before the filler"):
        agent(dead_air={"nudge_after_seconds": 6, "filler_after_seconds": 5})
