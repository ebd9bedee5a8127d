"""From an agent's configuration to what a call asks of a model session."""

from gateway.call.dead_air import DeadAirPolicy
from gateway.call.turn_detector import VoicePolicy
from gateway.call.turn_guard import GuardPolicy
from gateway.config.agent import AgentSettings, ClientVadSettings, SemanticVadSettings, Undecided
from gateway.realtime.settings import (
    Eagerness,
    SemanticVad,
    ServerVad,
    SessionSettings,
    ToolDefinition,
    Transcription,
    TurnDetection,
)


def settings_of(agent: AgentSettings, instructions: str, tools: tuple[ToolDefinition, ...] = ()) -> SessionSettings:
    """The session that an agent wants on a telephone line: G.711 μ-law both ways, undecoded.

    Args:
        agent: its settings.
        instructions: the agent's, filled in for this call.
        tools: what the model may call.
    """
    language = None if agent.language is None else agent.language.partition("-")[0]
    transcription = None
    if agent.transcription.enabled:
        transcription = Transcription(agent.transcription.model, language, agent.transcription.prompt)
    return SessionSettings(
        instructions=instructions,
        voice=agent.voice,
        language=agent.language,
        speed=agent.speed,
        turn_detection=_turn_detection(agent),
        transcription=transcription,
        noise_reduction=agent.noise_reduction,
        reasoning_effort=agent.reasoning_effort,
        max_output_tokens=agent.max_output_tokens,
        tools=tools,
    )


def guard_policy(agent: AgentSettings) -> GuardPolicy:
    """Who decides what interrupts the agent."""
    return GuardPolicy(
        interruptible=agent.turn_detection.interrupt_response,
        protects_greeting=agent.interruption.protect_greeting and agent.greeting is not None,
        minimum_speech_ms=agent.interruption.minimum_speech_ms,
        pauses=agent.interruption.while_undecided is Undecided.PAUSE,
        detects=isinstance(agent.turn_detection, ClientVadSettings),
    )


def dead_air_policy(agent: AgentSettings) -> DeadAirPolicy:
    """What is done about a model that does not answer."""
    settings = agent.dead_air
    return DeadAirPolicy(
        settings.nudge_after_seconds or None,
        settings.filler_after_seconds or None,
        settings.replace_after_seconds or None,
    )


def voice_policy(agent: AgentSettings) -> VoicePolicy | None:
    """What the gateway takes for speech; None where the model's service detects turns."""
    settings = agent.turn_detection
    if not isinstance(settings, ClientVadSettings):
        return None
    return VoicePolicy(settings.threshold_dbfs, settings.start_ms, settings.silence_duration_ms)


def pause_ms(agent: AgentSettings) -> int:
    """How much of the silence after the caller's last word passes before a turn counts as over, where that is known."""
    settings = agent.turn_detection
    return 0 if isinstance(settings, SemanticVadSettings) else settings.silence_duration_ms


def _turn_detection(agent: AgentSettings) -> TurnDetection | None:
    settings, decides = agent.turn_detection, guard_policy(agent).decides
    if isinstance(settings, ClientVadSettings):
        return None
    interrupts = settings.interrupt_response and not decides
    if isinstance(settings, SemanticVadSettings):
        return SemanticVad(
            Eagerness(settings.eagerness.value), create_response=not decides, interrupt_response=interrupts
        )
    return ServerVad(
        settings.threshold,
        settings.prefix_padding_ms,
        settings.silence_duration_ms,
        create_response=not decides,
        interrupt_response=interrupts,
        idle_timeout_ms=settings.idle_timeout_ms,
    )


def say_exactly(words: str) -> str:
    """The instructions of one response that is words of ours."""
    quoted = words.replace('"', "'")
    return f'Say exactly these words to the caller, and nothing else: "{quoted}"'
