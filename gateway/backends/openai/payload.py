"""The client's messages of OpenAI Realtime: `session.update` from the seam's settings, items from its conversation."""

from collections.abc import Iterator
from typing import Final

from gateway.backends.json_message import JsonObject
from gateway.backends.openai.dialect import Dialect, SessionShape
from gateway.realtime.capability import AudioFormat
from gateway.realtime.conversation import AgentTurn, CallerTurn, ConversationTurn, SystemNote, ToolExchange
from gateway.realtime.session import TextRole
from gateway.realtime.settings import SemanticVad, ServerVad, SessionSettings, ToolDefinition, Transcription

# What the API transcribes with when the agent does not say.
DEFAULT_TRANSCRIPTION_MODEL: Final = "gpt-transcribe"
BETA_TRANSCRIPTION_MODEL: Final = "whisper-1"
# A tool that had not answered when its session was lost is answered with this in the next one.
UNANSWERED_TOOL_OUTPUT: Final = '{"error":"the tool has not answered yet"}'

_GA_FORMATS: Final[dict[AudioFormat, JsonObject]] = {
    AudioFormat.PCMU: {"type": "audio/pcmu"},
    AudioFormat.PCMA: {"type": "audio/pcma"},
    AudioFormat.PCM16_24K: {"type": "audio/pcm", "rate": 24000},
    AudioFormat.PCM16_16K: {"type": "audio/pcm", "rate": 16000},  # xAI; OpenAI takes 24000 alone
}
_BETA_FORMATS: Final = {
    AudioFormat.PCMU: "g711_ulaw",
    AudioFormat.PCMA: "g711_alaw",
    AudioFormat.PCM16_24K: "pcm16",
    AudioFormat.PCM16_16K: "pcm16",
}


def session_payload(settings: SessionSettings, dialect: Dialect) -> JsonObject:
    """The `session` object of `session.update`. What the settings leave open is left out, so the default holds."""
    session = _beta_session(settings, dialect) if dialect.shape is SessionShape.BETA else _ga_session(settings, dialect)
    session["instructions"] = settings.instructions
    if settings.tools:
        session["tools"] = [_tool(tool) for tool in settings.tools]
        session["tool_choice"] = settings.tool_choice.value
    return session


def _ga_session(settings: SessionSettings, dialect: Dialect) -> JsonObject:
    audio_input: JsonObject = {
        "format": _GA_FORMATS[settings.input_format],
        "turn_detection": _turn_detection(settings, dialect),
    }
    if settings.noise_reduction is not None:
        audio_input["noise_reduction"] = {"type": settings.noise_reduction.value}
    if settings.transcription is not None:
        audio_input["transcription"] = _transcription(settings.transcription, settings, DEFAULT_TRANSCRIPTION_MODEL)
    audio_output: JsonObject = {"format": _GA_FORMATS[settings.output_format]}
    if settings.voice is not None:
        audio_output["voice"] = settings.voice
    if settings.speed is not None:
        audio_output["speed"] = settings.speed
    session: JsonObject = {
        "type": "realtime",
        "output_modalities": ["audio"],
        "audio": {"input": audio_input, "output": audio_output},
    }
    if settings.parallel_tool_calls is not None:
        session["parallel_tool_calls"] = settings.parallel_tool_calls
    if settings.reasoning_effort is not None:
        session["reasoning"] = {"effort": settings.reasoning_effort}
    if settings.max_output_tokens is not None:
        session["max_output_tokens"] = settings.max_output_tokens
    if settings.retention_ratio is not None and dialect.takes_truncation:
        session["truncation"] = {"type": "retention_ratio", "retention_ratio": settings.retention_ratio}
    return session


def _beta_session(settings: SessionSettings, dialect: Dialect) -> JsonObject:
    session: JsonObject = {
        "modalities": ["text", "audio"],  # the beta knew no audio without text
        "input_audio_format": _BETA_FORMATS[settings.input_format],
        "output_audio_format": _BETA_FORMATS[settings.output_format],
        "turn_detection": _turn_detection(settings, dialect),
    }
    if settings.voice is not None:
        session["voice"] = settings.voice
    if settings.speed is not None:
        session["speed"] = settings.speed
    if settings.transcription is not None:
        session["input_audio_transcription"] = _transcription(
            settings.transcription, settings, BETA_TRANSCRIPTION_MODEL
        )
    if settings.max_output_tokens is not None:
        session["max_response_output_tokens"] = settings.max_output_tokens
    if settings.temperature is not None:
        session["temperature"] = settings.temperature  # the GA session has none
    return session


def _turn_detection(settings: SessionSettings, dialect: Dialect) -> JsonObject | None:
    turns = settings.turn_detection
    if isinstance(turns, SemanticVad):
        if dialect.takes_semantic_vad:
            return {
                "type": "semantic_vad",
                "eagerness": turns.eagerness.value,
                "create_response": turns.create_response,
                "interrupt_response": turns.interrupt_response,
            }
        turns = ServerVad(create_response=turns.create_response, interrupt_response=turns.interrupt_response)
    if turns is None:
        return None
    detection: JsonObject = {
        "type": "server_vad",
        "threshold": turns.threshold,
        "prefix_padding_ms": turns.prefix_padding_ms,
        "silence_duration_ms": turns.silence_duration_ms,
        "create_response": turns.create_response,
        "interrupt_response": turns.interrupt_response,
    }
    if turns.idle_timeout_ms is not None and dialect.shape is SessionShape.GA:
        detection["idle_timeout_ms"] = turns.idle_timeout_ms
    return detection


def _transcription(transcription: Transcription, settings: SessionSettings, default_model: str) -> JsonObject:
    value: JsonObject = {"model": transcription.model or default_model}
    language = transcription.language or settings.language
    if language is not None:
        value["language"] = language
    if transcription.prompt is not None:
        value["prompt"] = transcription.prompt
    return value


def _tool(tool: ToolDefinition) -> JsonObject:
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": dict(tool.parameters),
    }


def text_item(text: str, role: TextRole) -> JsonObject:
    """A message of the user or the system."""
    return {"type": "message", "role": role.value, "content": [{"type": "input_text", "text": text}]}


def tool_output_item(call_id: str, output: str) -> JsonObject:
    """A tool's result."""
    return {"type": "function_call_output", "call_id": call_id, "output": output}


def history_items(turn: ConversationTurn, shape: SessionShape) -> Iterator[JsonObject]:
    """What a turn of an earlier session becomes in a new one. Assistant audio cannot be populated: it becomes text."""
    match turn:
        case CallerTurn(text):
            yield text_item(text, TextRole.USER)
        case SystemNote(text):
            yield text_item(text, TextRole.SYSTEM)
        case AgentTurn(text):
            kind = "output_text" if shape is SessionShape.GA else "text"
            yield {"type": "message", "role": "assistant", "content": [{"type": kind, "text": text}]}
        case ToolExchange(call_id, name, arguments, output):
            yield {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}
            yield tool_output_item(call_id, UNANSWERED_TOOL_OUTPUT if output is None else output)
