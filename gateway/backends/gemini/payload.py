"""The client's messages of Gemini Live: one JSON object with one key each, in camelCase."""

from collections.abc import Iterator, Sequence
from typing import Final

from gateway.backends.json_message import JsonObject, MalformedMessageError, decode
from gateway.realtime.conversation import AgentTurn, CallerTurn, ConversationTurn, SystemNote, ToolExchange
from gateway.realtime.settings import Eagerness, SemanticVad, SessionSettings, ToolDefinition

# The service knows two sensitivities where others know a threshold from 0 to 1.
DEAF_THRESHOLD: Final = 0.6
KEEN_THRESHOLD: Final = 0.4


def setup(model: str, settings: SessionSettings, *, with_history: bool, resumption_handle: str | None) -> JsonObject:
    """The first message. It cannot be sent again in the same session."""
    generation: JsonObject = {"responseModalities": ["AUDIO"]}
    speech: JsonObject = {}
    if settings.voice is not None:
        speech["voiceConfig"] = {"prebuiltVoiceConfig": {"voiceName": settings.voice}}
    if settings.language is not None:
        speech["languageCode"] = settings.language
    if speech:
        generation["speechConfig"] = speech
    if settings.temperature is not None:
        generation["temperature"] = settings.temperature
    if settings.max_output_tokens is not None:
        generation["maxOutputTokens"] = settings.max_output_tokens
    message: JsonObject = {
        "model": model if model.startswith("models/") or "/" in model else f"models/{model}",
        "generationConfig": generation,
        "realtimeInputConfig": _realtime_input(settings),
        "outputAudioTranscription": {},
        # Without compression an audio session ends after 15 minutes.
        "contextWindowCompression": {"slidingWindow": {}},
        "sessionResumption": {} if resumption_handle is None else {"handle": resumption_handle},
    }
    if settings.instructions:
        message["systemInstruction"] = {"parts": [{"text": settings.instructions}]}
    if settings.transcription is not None:
        message["inputAudioTranscription"] = {}
    if settings.tools:
        message["tools"] = [{"functionDeclarations": [_function(tool) for tool in settings.tools]}]
    if with_history:
        message["historyConfig"] = {"initialHistoryInClientContent": True}
    return {"setup": message}


def _realtime_input(settings: SessionSettings) -> JsonObject:
    turns = settings.turn_detection
    if turns is None:
        return {"automaticActivityDetection": {"disabled": True}}
    detection: JsonObject = {"disabled": False}
    if isinstance(turns, SemanticVad):
        if turns.eagerness is not Eagerness.AUTO:
            patient = turns.eagerness is Eagerness.LOW
            detection["endOfSpeechSensitivity"] = "END_SENSITIVITY_LOW" if patient else "END_SENSITIVITY_HIGH"
    else:
        # prefix_padding_ms is not passed on: here it means how much speech there must be before it counts.
        detection["silenceDurationMs"] = turns.silence_duration_ms
        if turns.threshold >= DEAF_THRESHOLD:
            detection["startOfSpeechSensitivity"] = "START_SENSITIVITY_LOW"
        elif turns.threshold <= KEEN_THRESHOLD:
            detection["startOfSpeechSensitivity"] = "START_SENSITIVITY_HIGH"
    handling = "START_OF_ACTIVITY_INTERRUPTS" if turns.interrupt_response else "NO_INTERRUPTION"
    return {"automaticActivityDetection": detection, "activityHandling": handling}


def _function(tool: ToolDefinition) -> JsonObject:
    return {"name": tool.name, "description": tool.description, "parametersJsonSchema": dict(tool.parameters)}


def history(turns: Sequence[ConversationTurn]) -> JsonObject:
    """What was said in an earlier session. It triggers no answer where `historyConfig` announced it."""
    return {"clientContent": {"turns": list(_contents(turns)), "turnComplete": True}}


def _contents(turns: Sequence[ConversationTurn]) -> Iterator[JsonObject]:
    for turn in turns:
        match turn:
            case CallerTurn(text):
                yield content("user", text)
            case SystemNote(text):
                yield content("user", f"[{text}]")  # there is no system role inside a conversation
            case AgentTurn(text):
                yield content("model", text)
            case ToolExchange(call_id, name, arguments, output):
                call = {"id": call_id, "name": name, "args": _object_of(arguments)}
                yield {"role": "model", "parts": [{"functionCall": call}]}
                answer = {"id": call_id, "name": name, "response": _tool_response(output)}
                yield {"role": "user", "parts": [{"functionResponse": answer}]}


def content(role: str, text: str) -> JsonObject:
    """One turn of text."""
    return {"role": role, "parts": [{"text": text}]}


def tool_response(call_id: str, name: str, output: str) -> JsonObject:
    """A tool's result. The service goes on by itself."""
    response = {"id": call_id, "name": name, "response": _tool_response(output)}
    return {"toolResponse": {"functionResponses": [response]}}


def _tool_response(output: str | None) -> JsonObject:
    return {"error": "the tool has not answered yet"} if output is None else {"output": output}


def _object_of(arguments: str) -> JsonObject:
    try:
        return decode(arguments.encode("utf-8", "replace"))
    except MalformedMessageError:
        return {}
