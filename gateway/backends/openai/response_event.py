"""What a server's events about its responses lead to: speech, the agent's words, tool calls, the response's end."""

from typing import Final

from gateway.backends.json_message import (
    JsonObject,
    MalformedMessageError,
    objects,
    optional_object,
    optional_text,
    text,
)
from gateway.backends.openai.fault import QUOTA_CODES
from gateway.backends.openai.response import ResponseRequest
from gateway.backends.openai.state import OpenAiState
from gateway.backends.openai.usage import read_usage
from gateway.fast import decode_base64
from gateway.realtime.event import (
    AgentTranscript,
    AudioDelta,
    AudioDone,
    FailureReason,
    ResponseDone,
    ResponseStarted,
    ResponseStatus,
    ToolCall,
)

_STATUSES: Final = {status.value: status for status in ResponseStatus}


def receive_response_created(state: OpenAiState, event: JsonObject) -> None:
    """A response begins."""
    response_id = optional_text(optional_object(event, "response"), "id") or optional_text(event, "response_id")
    if not response_id:
        raise MalformedMessageError("response.created names no response")
    cancelled = state.responses.started(response_id)
    state.events.append(ResponseStarted(response_id))
    if cancelled:
        state.cancel(response_id)


def receive_audio_delta(state: OpenAiState, event: JsonObject) -> None:
    """A piece of speech."""
    response_id, item_id = optional_text(event, "response_id"), optional_text(event, "item_id")
    audio = decode_base64(text(event, "delta"))
    if audio is None:
        raise MalformedMessageError("audio delta is not base64")
    if state.output.receive(response_id, item_id, len(audio)):
        state.events.append(AudioDelta(response_id, item_id, audio))


def receive_audio_done(state: OpenAiState, event: JsonObject) -> None:
    """An item's speech is complete."""
    response_id, item_id = optional_text(event, "response_id"), optional_text(event, "item_id")
    state.output.finish(item_id)
    if not state.output.is_cut(response_id):
        state.events.append(AudioDone(response_id, item_id))


def receive_agent_transcript_delta(state: OpenAiState, event: JsonObject) -> None:
    """A fragment of the agent's words."""
    if not state.output.is_cut(optional_text(event, "response_id")):
        state.events.append(AgentTranscript(optional_text(event, "item_id"), text(event, "delta"), final=False))


def receive_agent_transcript_done(state: OpenAiState, event: JsonObject) -> None:
    """The agent's words of one item, whole."""
    state.events.append(AgentTranscript(optional_text(event, "item_id"), text(event, "transcript"), final=True))


def receive_output_item_done(state: OpenAiState, event: JsonObject) -> None:
    """An item of a response is complete; a function call is kept until the response is."""
    state.tools.collect(optional_text(event, "response_id"), optional_object(event, "item"))


def receive_arguments_done(state: OpenAiState, event: JsonObject) -> None:
    """A function call's arguments, complete or cut off: `response.done` tells which."""
    state.tools.collect(optional_text(event, "response_id"), {**event, "type": "function_call"})


def receive_response_done(state: OpenAiState, event: JsonObject) -> None:
    """A response is over: its tool calls are told, and the next request is sent."""
    response = optional_object(event, "response")
    response_id = optional_text(response, "id") or state.responses.active_response_id or ""
    status = _STATUSES.get(optional_text(response, "status"), ResponseStatus.FAILED)
    details = optional_object(response, "status_details")
    error = optional_object(details, "error")
    reason = optional_text(details, "reason") or optional_text(error, "code") or optional_text(error, "type")
    completed = status is ResponseStatus.COMPLETED
    # Arguments of a response that was cut short may be half a JSON text: such calls are never told.
    calls = state.tools.complete(response_id, objects(response, "output")) if completed else ()
    if not completed:
        state.tools.discard(response_id)
    request = state.responses.requested
    state.responses.ended(completed=completed)
    state.reader.account = None
    state.events.extend(ToolCall(response_id, call.call_id, call.name, call.arguments) for call in calls)
    if status is ResponseStatus.FAILED:
        _consider_failure(state, response_id, reason, request or ResponseRequest())
    state.events.append(ResponseDone(response_id, status, reason, read_usage(response)))
    if reason in QUOTA_CODES:
        state.fail(FailureReason.QUOTA, optional_text(error, "message") or reason, retryable=False)
    state.send_next_request()


def _consider_failure(state: OpenAiState, response_id: str, reason: str, request: ResponseRequest) -> None:
    if reason == "server_error" and not request.is_retry and not state.output.has_audio(response_id):
        state.counters["response_retried"] += 1
        state.responses.retry(request)
