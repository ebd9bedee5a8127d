"""Every server event of OpenAI Realtime that is understood, each with what receives it.

An event that does not stand here is counted and ignored, as the API asks: new ones appear without notice.
"""

from collections.abc import Callable, Mapping
from typing import Final

from gateway.backends.json_message import JsonObject
from gateway.backends.openai import response_event, session_event
from gateway.backends.openai.state import OpenAiState


def _ignore(state: OpenAiState, _event: JsonObject) -> None:
    """Known, and of no use to a call."""


# Each under its GA name and under the beta's where that differs.
EVENTS: Final[Mapping[str, Callable[[OpenAiState, JsonObject], None]]] = {
    "error": session_event.receive_error,
    "session.created": session_event.receive_session_created,
    "conversation.created": session_event.receive_session_created,  # xAI may greet with this one
    "session.updated": session_event.receive_session_updated,
    "transcription_session.updated": session_event.receive_session_updated,  # beta
    "input_audio_buffer.speech_started": session_event.receive_speech_started,
    "input_audio_buffer.speech_stopped": session_event.receive_speech_stopped,
    "input_audio_buffer.committed": session_event.receive_committed,
    "conversation.item.input_audio_transcription.delta": session_event.receive_caller_transcript_delta,
    "conversation.item.input_audio_transcription.updated": session_event.receive_caller_transcript_so_far,  # xAI
    "conversation.item.input_audio_transcription.completed": session_event.receive_caller_transcript_done,
    "conversation.item.input_audio_transcription.failed": session_event.receive_transcription_failed,
    "conversation.item.added": session_event.receive_item,
    "conversation.item.created": session_event.receive_item,  # beta
    "conversation.item.done": session_event.receive_item,
    "conversation.item.truncated": session_event.receive_truncated,
    "response.created": response_event.receive_response_created,
    "response.output_audio.delta": response_event.receive_audio_delta,
    "response.audio.delta": response_event.receive_audio_delta,  # beta
    "response.output_audio.done": response_event.receive_audio_done,
    "response.audio.done": response_event.receive_audio_done,  # beta
    "response.output_audio_transcript.delta": response_event.receive_agent_transcript_delta,
    "response.audio_transcript.delta": response_event.receive_agent_transcript_delta,  # beta
    "response.output_audio_transcript.done": response_event.receive_agent_transcript_done,
    "response.audio_transcript.done": response_event.receive_agent_transcript_done,  # beta
    "response.output_item.done": response_event.receive_output_item_done,
    "response.function_call_arguments.done": response_event.receive_arguments_done,
    "response.done": response_event.receive_response_done,
} | dict.fromkeys(
    (
        "conversation.item.deleted",
        "conversation.item.input_audio_transcription.segment",
        "conversation.item.retrieved",
        "input_audio_buffer.cleared",
        "input_audio_buffer.timeout_triggered",
        "mcp_list_tools.completed",
        "mcp_list_tools.failed",
        "mcp_list_tools.in_progress",
        "rate_limits.updated",
        "response.content_part.added",
        "response.content_part.done",
        "response.function_call_arguments.delta",
        "response.mcp_call.completed",
        "response.mcp_call.failed",
        "response.mcp_call.in_progress",
        "response.mcp_call_arguments.delta",
        "response.mcp_call_arguments.done",
        "response.output_item.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.text.delta",  # beta
        "response.text.done",  # beta
    ),
    _ignore,
)
