"""What a server's events about the session lead to: its settings, the caller's turns and words, errors."""

from gateway.backends.json_message import JsonObject, optional_integer, optional_object, optional_text, text
from gateway.backends.openai.fault import ALREADY_ACTIVE, QUOTA_CODES, SESSION_EXPIRED, is_harmless
from gateway.backends.openai.state import OpenAiState, Phase
from gateway.realtime.errors import ModelSettingsError
from gateway.realtime.event import (
    BackendError,
    CallerTranscript,
    FailureReason,
    SpeechStarted,
    SpeechStopped,
    TextAnswer,
    Truncated,
)


def receive_session_created(state: OpenAiState, event: JsonObject) -> None:
    """The server's greeting: now it can be told the settings."""
    state.session_id = optional_text(optional_object(event, "session"), "id") or state.session_id
    if state.phase is Phase.AWAITING_SESSION:
        state.send_settings()


def receive_session_updated(state: OpenAiState, _event: JsonObject) -> None:
    """The settings are confirmed."""
    if state.phase is Phase.AWAITING_SETTINGS:
        state.become_configured()


def receive_speech_started(state: OpenAiState, event: JsonObject) -> None:
    """The caller speaks."""
    state.responses.caller_speaks = True
    turns = state.settings.turn_detection
    active = state.responses.active_response_id
    if active is not None and turns is not None and turns.interrupt_response:
        # The server has cancelled it, and the caller has stopped listening: late deltas are not wanted.
        state.output.cut_response(active)
    state.events.append(SpeechStarted(optional_text(event, "item_id"), optional_integer(event, "audio_start_ms")))


def receive_speech_stopped(state: OpenAiState, event: JsonObject) -> None:
    """The caller has stopped speaking."""
    state.responses.caller_speaks = False
    state.events.append(SpeechStopped(optional_text(event, "item_id"), optional_integer(event, "audio_end_ms")))
    state.send_next_request()


def receive_committed(state: OpenAiState, _event: JsonObject) -> None:
    """A turn of the caller is in the conversation."""
    state.responses.caller_speaks = False  # for servers that commit a turn without speech_stopped


def receive_caller_transcript_delta(state: OpenAiState, event: JsonObject) -> None:
    """A fragment of the caller's words."""
    state.events.append(CallerTranscript(optional_text(event, "item_id"), text(event, "delta"), final=False))


def receive_caller_transcript_done(state: OpenAiState, event: JsonObject) -> None:
    """The caller's words of one item, whole."""
    state.events.append(CallerTranscript(optional_text(event, "item_id"), text(event, "transcript"), final=True))


def receive_caller_transcript_so_far(state: OpenAiState, event: JsonObject) -> None:
    """All words so far come again and again, as xAI tells them; where they change, the final text puts it right."""
    item_id, words = optional_text(event, "item_id"), text(event, "transcript")
    told_id, told = state.caller_words_so_far
    told = told if told_id == item_id else ""
    if words.startswith(told) and words != told:
        state.events.append(CallerTranscript(item_id, words[len(told) :], final=False))
    state.caller_words_so_far = (item_id, words)


def receive_transcription_failed(state: OpenAiState, event: JsonObject) -> None:
    """The caller's words of one item will not come."""
    error = optional_object(event, "error")
    state.events.append(BackendError("transcription_failed", optional_text(error, "message")))


def receive_item(state: OpenAiState, event: JsonObject) -> None:
    """An item is in the conversation; a tool's result among them is acknowledged by it."""
    item = optional_object(event, "item")
    if optional_text(item, "type") == "function_call_output":
        state.responses.acknowledged(optional_text(item, "call_id"))


def receive_truncated(state: OpenAiState, event: JsonObject) -> None:
    """The model has forgotten what was not heard."""
    end_ms = optional_integer(event, "audio_end_ms")
    state.events.append(Truncated(text(event, "item_id"), end_ms if end_ms is not None else 0))


def receive_error(state: OpenAiState, event: JsonObject) -> None:
    """An error, which most often leaves the session as it was."""
    error = optional_object(event, "error")
    code = optional_text(error, "code") or optional_text(error, "type")
    message = optional_text(error, "message")
    event_id = optional_text(error, "event_id")
    about = state.awaited.pop(event_id, "")
    refused = state.asides.refused(event_id)
    if refused is not None:
        state.events.append(TextAnswer(refused, None))
    elif code == ALREADY_ACTIVE:
        state.counters["response_race"] += 1
        state.responses.lost_race()
    elif code == SESSION_EXPIRED:
        state.fail(FailureReason.EXPIRED, message, retryable=True)
    elif code in QUOTA_CODES:
        state.fail(FailureReason.QUOTA, message, retryable=False)
    elif is_harmless(code, message):
        state.counters["harmless_error"] += 1
    elif state.phase is not Phase.CONFIGURED and about in ("", "session.update"):
        state.rejection = ModelSettingsError(f"the service did not take the settings: {code}: {message}")
    else:
        if about == "response.create":
            state.responses.rejected()
        state.events.append(BackendError(code, message))
        state.send_next_request()
