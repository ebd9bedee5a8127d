"""What Gemini Live's close frames, durations and token counts mean."""

import re
from collections.abc import Mapping
from typing import Final

from gateway.backends.json_message import JsonObject, objects, optional_integer, optional_text
from gateway.realtime.event import FailureReason, SessionFailed, Usage

# protobuf's JSON form of a Duration: seconds with up to nine digits after the point.
_DURATION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)s")


def describe_closure(code: int | None, reason: str) -> SessionFailed:
    """1011 with "Deadline expired" is the end of the connection's time; 1007 and 1008 blame what we sent."""
    words = reason.lower()
    detail = f"the service closed the session with {code}: {reason or 'no reason'}"
    if "deadline expired" in words or "session expired" in words:
        return SessionFailed(FailureReason.EXPIRED, detail, retryable=True)
    if "quota" in words or "resource_exhausted" in words:
        return SessionFailed(FailureReason.QUOTA, detail, retryable=False)
    if code in (1002, 1003, 1007, 1008, 1009):
        return SessionFailed(FailureReason.PROTOCOL, detail, retryable=False)
    if code in (1011, 1012, 1013):
        return SessionFailed(FailureReason.SERVER_FAULT, detail, retryable=True)
    return SessionFailed(FailureReason.CLOSED, detail, retryable=True)


def read_duration_s(value: str) -> float | None:
    """Seconds of a duration such as "12.5s", or None."""
    match = _DURATION.fullmatch(value)
    return float(match[1]) if match else None


def read_usage(metadata: JsonObject) -> Usage:
    """The tokens of a turn, by modality."""
    prompt, cached = _by_modality(metadata, "promptTokensDetails"), _by_modality(metadata, "cacheTokensDetails")
    response = _by_modality(metadata, "responseTokensDetails")
    return Usage(
        input_text_tokens=prompt.get("TEXT", 0),
        input_audio_tokens=prompt.get("AUDIO", 0),
        cached_text_tokens=cached.get("TEXT", 0),
        cached_audio_tokens=cached.get("AUDIO", 0),
        output_text_tokens=response.get("TEXT", 0) + (optional_integer(metadata, "thoughtsTokenCount") or 0),
        output_audio_tokens=response.get("AUDIO", 0),
        total_tokens=optional_integer(metadata, "totalTokenCount") or 0,
    )


def _by_modality(metadata: JsonObject, field: str) -> Mapping[str, int]:
    counts = objects(metadata, field)
    return {optional_text(count, "modality"): optional_integer(count, "tokenCount") or 0 for count in counts}
