"""What OpenAI's error codes and close frames mean to a call."""

from typing import Final

from gateway.realtime.event import FailureReason, SessionFailed

SESSION_EXPIRED: Final = "session_expired"
ALREADY_ACTIVE: Final = "conversation_already_has_active_response"
QUOTA_CODES: Final = frozenset(("insufficient_quota", "credit_balance_exhausted", "rate_limit_exceeded"))
# Races that a telephone call meets every day. They change nothing, so nobody is told.
_HARMLESS_CODES: Final = frozenset(
    ("response_cancel_not_active", "input_audio_buffer_commit_empty", "item_truncate_invalid_item_id")
)
# The error for a truncation beyond the end of an item has no code of its own.
_TRUNCATED_TOO_LATE: Final = "already shorter than"
# RFC 6455 §7.4.1: 1002, 1003, 1007, 1008 and 1009 blame what we sent; IANA's 1011, 1012 and 1013 blame the server.
_CODES_THAT_BLAME_US: Final = frozenset((1002, 1003, 1007, 1008, 1009))
_CODES_THAT_BLAME_THE_SERVER: Final = frozenset((1011, 1012, 1013))


def is_harmless(code: str, message: str) -> bool:
    """Whether an error event tells of nothing but a race that was lost."""
    return code in _HARMLESS_CODES or _TRUNCATED_TOO_LATE in message


def describe_closure(code: int | None, reason: str) -> SessionFailed:
    """What a close frame means. 1001 with the words of `session_expired` is the limit of 60 minutes."""
    words = reason.lower()
    detail = f"the service closed the session with {code}: {reason or 'no reason'}"
    if SESSION_EXPIRED in words or "maximum duration" in words:
        return SessionFailed(FailureReason.EXPIRED, detail, retryable=True)
    if any(quota in words for quota in QUOTA_CODES):
        return SessionFailed(FailureReason.QUOTA, detail, retryable=False)
    if code in _CODES_THAT_BLAME_THE_SERVER:
        return SessionFailed(FailureReason.SERVER_FAULT, detail, retryable=True)
    if code in _CODES_THAT_BLAME_US:
        return SessionFailed(FailureReason.PROTOCOL, detail, retryable=False)
    return SessionFailed(FailureReason.CLOSED, detail, retryable=True)
