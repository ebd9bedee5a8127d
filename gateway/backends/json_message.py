"""JSON messages of model services: decoded without trust, read by field, encoded compactly.

Only `MalformedMessageError` leaves this module when a peer's message is not what it should be.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Final

JsonObject = dict[str, object]

# One for all messages: `json.dumps` makes a new one for each whenever a parameter is not its default.
_ENCODE: Final = json.JSONEncoder(separators=(",", ":")).encode


class MalformedMessageError(Exception):
    """A message is not a JSON object, or a field that is needed is missing or of another type."""


def decode(message: bytes) -> JsonObject:
    """Decodes one message, which must be a JSON object."""
    try:
        value: object = json.loads(message)
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, an endless number, brackets nested without end
        raise MalformedMessageError(f"message of {len(message)} bytes is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise MalformedMessageError(f"message is a JSON {type(value).__name__}, not an object")
    return value


def encode(message: Mapping[str, object]) -> bytes:
    """Encodes one message in ASCII: a lone surrogate in a tool's output stays an escape and breaks no frame."""
    return _ENCODE(message).encode("ascii")


def text(message: Mapping[str, object], field: str) -> str:
    """A string that must be there."""
    value = message.get(field)
    if not isinstance(value, str):
        raise MalformedMessageError(f"field {field!r} is {type(value).__name__}, not a string")
    return value


def optional_text(message: Mapping[str, object], field: str) -> str:
    """A string, or the empty string where it is missing, null or something else."""
    value = message.get(field)
    return value if isinstance(value, str) else ""


def optional_integer(message: Mapping[str, object], field: str) -> int | None:
    """A whole number, or None where it is missing or something else. JSON does not tell 5 from 5.0, nor do we."""
    value = message.get(field)
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) else None


def optional_object(message: Mapping[str, object], field: str) -> JsonObject:
    """An object, or an empty one where it is missing, null or something else."""
    value = message.get(field)
    return value if isinstance(value, dict) else {}


def objects(message: Mapping[str, object], field: str) -> Sequence[JsonObject]:
    """The objects of an array; empty where it is missing, null or something else."""
    value = message.get(field)
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
