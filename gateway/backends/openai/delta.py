"""Audio deltas, the messages that come most often: read without decoding JSON where their form is known.

All deltas of an item differ in `event_id` and `delta` alone. The first one is decoded as JSON; when it is written as
OpenAI writes it (event_id before the ids, delta last, no escapes), its constant parts become a template for the rest.
A message that does not fit its template, byte for byte, takes the long way.
"""

import base64
import binascii
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

# An event_id is about 30 characters long; a template's second part must begin within this.
MAX_EVENT_ID_BYTES: Final = 128
_END: Final = b'"}'


@dataclass(frozen=True, slots=True)
class DeltaTemplate:
    """The bytes before the event_id, and those between it and the audio, of one item's deltas."""

    head: bytes
    middle: bytes
    response_id: str
    item_id: str

    def read(self, message: bytes) -> bytes | None:
        """The audio of a message of this item; None when the message may be anything else."""
        return fast_read_audio(message, self.head, self.middle, MAX_EVENT_ID_BYTES)


def read_audio(message: bytes, head: bytes, middle: bytes, longest: int) -> bytes | None:
    """The audio of a message that fits a template, with `longest` bytes at most between head and middle; or None."""
    if not message.startswith(head) or not message.endswith(_END):
        return None
    begin, end = len(head), len(message) - len(_END)
    found = message.find(middle, begin, min(end, begin + longest + len(middle)))
    if found < 0 or message.find(b'"', begin, found) >= 0 or message.find(b"\\", begin, found) >= 0:
        return None
    try:
        # Strict decoding refuses everything that is not base64, so nothing can hide behind the audio.
        return binascii.a2b_base64(message[found + len(middle) : end], strict_mode=True)
    except binascii.Error:
        return None


def learn(message: bytes, event_id: str, delta: str, response_id: str, item_id: str) -> DeltaTemplate | None:
    """The template of a delta that was decoded as JSON; None when it is not written as a template needs it."""
    if not event_id or not delta or not message.endswith(_END):
        return None
    needle = b'"' + event_id.encode() + b'"'
    begin = message.find(needle) + 1
    end = begin + len(event_id.encode())
    stop = len(message) - len(delta) - len(_END)
    if begin == 0 or stop <= end or message[stop:-2] != delta.encode("ascii", "replace"):
        return None
    head, middle = message[:begin], message[end:stop]
    template = DeltaTemplate(head, middle, response_id, item_id)
    in_order = head.rstrip().endswith(b'"') and middle.startswith(b'"') and middle.endswith(b'"')
    named = b'"event_id"' in head and b'"item_id"' in middle and b'"response_id"' in middle and b'"delta"' in middle
    return template if in_order and named and b"\\" not in head + middle else None


def decode_audio(delta: str) -> bytes | None:
    """The audio of a delta, or None when it is not base64."""
    try:
        return base64.b64decode(delta, validate=True)
    except ValueError:
        return None


# Compiled where it could be; `TRUNKLINE_FAST=off` turns that off, as in `rtp.fast`.
fast_read_audio: Callable[[bytes, bytes, bytes, int], bytes | None] = read_audio
if not TYPE_CHECKING and os.environ.get("TRUNKLINE_FAST", "on") != "off":
    with suppress(ImportError):
        from gateway.backends._fast import read_audio as fast_read_audio
