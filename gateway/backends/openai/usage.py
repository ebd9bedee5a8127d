"""What a response cost, as `response.done` tells it."""

from gateway.backends.json_message import JsonObject, optional_integer, optional_object
from gateway.realtime.event import Usage


def read_usage(response: JsonObject) -> Usage | None:
    """The tokens of a response, or None where the server does not count them."""
    usage = optional_object(response, "usage")
    if not usage:
        return None
    details = optional_object(usage, "input_token_details")
    cached = optional_object(details, "cached_tokens_details")
    output = optional_object(usage, "output_token_details")
    return Usage(
        input_text_tokens=optional_integer(details, "text_tokens") or 0,
        input_audio_tokens=optional_integer(details, "audio_tokens") or 0,
        cached_text_tokens=optional_integer(cached, "text_tokens") or 0,
        cached_audio_tokens=optional_integer(cached, "audio_tokens") or 0,
        output_text_tokens=optional_integer(output, "text_tokens") or 0,
        output_audio_tokens=optional_integer(output, "audio_tokens") or 0,
        total_tokens=optional_integer(usage, "total_tokens") or 0,
    )
