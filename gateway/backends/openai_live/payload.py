"""The client's messages of GPT-Live."""

from collections.abc import Sequence
from typing import Final

from gateway.backends.json_message import JsonObject
from gateway.realtime.capability import AudioFormat
from gateway.realtime.conversation import AgentTurn, CallerTurn, ConversationTurn, SystemNote, ToolExchange
from gateway.realtime.settings import SessionSettings, ToolDefinition

# The service takes no more text messages of an earlier conversation.
MAX_HISTORY_MESSAGES: Final = 128

# `rate` is required here, and one format holds both ways.
_FORMATS: Final[dict[AudioFormat, JsonObject]] = {
    AudioFormat.PCMU: {"type": "audio/pcmu", "rate": 8000},
    AudioFormat.PCMA: {"type": "audio/pcma", "rate": 8000},
    AudioFormat.PCM16_16K: {"type": "audio/pcm", "rate": 16000},
    AudioFormat.PCM16_24K: {"type": "audio/pcm", "rate": 24000},
}


def session_start(
    model: str, delegate_model: str, settings: SessionSettings, history: Sequence[ConversationTurn]
) -> JsonObject:
    """The first message. Model, voice, format and instructions hold for the whole session."""
    audio: JsonObject = {"format": _FORMATS[settings.input_format]}
    if settings.voice is not None:
        audio["output"] = {"voice": settings.voice}
    session: JsonObject = {"model": model, "instructions": settings.instructions, "audio": audio}
    if settings.tools:
        session["delegation"] = {"type": "responses", "responses": _delegate(delegate_model, settings)}
    if history:
        session["input"] = [_message(turn) for turn in history[-MAX_HISTORY_MESSAGES:]]
    return {"type": "session.start", "session": session}


def _delegate(model: str, settings: SessionSettings) -> JsonObject:
    """GPT-Live calls no tools: it hands the work to another model, and that one calls them."""
    responses: JsonObject = {
        "model": model,
        "instructions": settings.instructions,
        "tools": [_tool(tool) for tool in settings.tools],
        "tool_choice": settings.tool_choice.value,
    }
    if settings.parallel_tool_calls is not None:
        responses["parallel_tool_calls"] = settings.parallel_tool_calls
    return responses


def _tool(tool: ToolDefinition) -> JsonObject:
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": dict(tool.parameters),
        "strict": False,  # a tool's schema need not be of the subset that strict mode takes
    }


def _message(turn: ConversationTurn) -> JsonObject:
    match turn:
        case CallerTurn(text):
            role, kind = "user", "input_text"
        case AgentTurn(text):
            role, kind = "assistant", "output_text"
        case SystemNote(text):
            role, kind = "developer", "input_text"
        case ToolExchange(_, name, arguments, output):  # there are no tool items here
            role, kind = "developer", "input_text"
            text = f"The tool {name} was called with {arguments} and answered: {output or 'nothing yet'}"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}
