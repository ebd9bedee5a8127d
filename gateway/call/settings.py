"""From an agent's configuration to what a call asks of a model session."""

from gateway.config.agent import AgentSettings, SemanticVadSettings, TurnDetectionSettings
from gateway.realtime.settings import (
    Eagerness,
    SemanticVad,
    ServerVad,
    SessionSettings,
    ToolDefinition,
    Transcription,
    TurnDetection,
)


def settings_of(
    agent: AgentSettings, context: str | None = None, tools: tuple[ToolDefinition, ...] = ()
) -> SessionSettings:
    """The session that an agent wants on a telephone line: G.711 μ-law both ways, undecoded.

    `context` is what this call adds to the agent's instructions.
    """
    language = None if agent.language is None else agent.language.partition("-")[0]
    transcription = None
    if agent.transcription.enabled:
        transcription = Transcription(agent.transcription.model, language, agent.transcription.prompt)
    return SessionSettings(
        instructions=agent.instructions if context is None else f"{agent.instructions.rstrip()}\n\n{context}",
        voice=agent.voice,
        language=agent.language,
        turn_detection=_turn_detection(agent.turn_detection),
        transcription=transcription,
        tools=tools,
    )


def _turn_detection(settings: TurnDetectionSettings) -> TurnDetection:
    if isinstance(settings, SemanticVadSettings):
        return SemanticVad(Eagerness(settings.eagerness.value), interrupt_response=settings.interrupt_response)
    return ServerVad(
        settings.threshold,
        settings.prefix_padding_ms,
        settings.silence_duration_ms,
        interrupt_response=settings.interrupt_response,
    )


def say_exactly(words: str) -> str:
    """The instructions of one response that is words of ours."""
    quoted = words.replace('"', "'")
    return f'Say exactly these words to the caller, and nothing else: "{quoted}"'
