"""Keys that a caller's PBX sends in SIP INFO requests, the way of before RFC 4733."""

import re
from dataclasses import dataclass
from typing import Final

# Cisco's form, which nobody standardised: "Signal=5" and "Duration=160" on lines of their own.
RELAY_TYPE: Final = "application/dtmf-relay"
# The other form: the key alone, with 10 and 11 for the star and the square in some phones.
PLAIN_TYPE: Final = "application/dtmf"
# What a telephone's key lasts where the request does not say it.
DEFAULT_DURATION_MS: Final = 160
# Longer is no key press but a fault; the body of such a request has two short lines.
MAX_DURATION_MS: Final = 10_000
MAX_BODY_BYTES: Final = 256

_SIGNAL: Final = re.compile(rb"^[ \t]*signal[ \t]*=[ \t]*([0-9A-Da-d*#]|1[01])[ \t]*$", re.IGNORECASE | re.MULTILINE)
_DURATION: Final = re.compile(rb"^[ \t]*duration[ \t]*=[ \t]*([0-9]{1,5})[ \t]*$", re.IGNORECASE | re.MULTILINE)
_PLAIN: Final = re.compile(rb"\s*([0-9A-Da-d*#]|1[01])\s*")
_NUMBERED: Final = {"10": "*", "11": "#"}


@dataclass(frozen=True, slots=True)
class KeyPress:
    """One key of sixteen, and how long it was held."""

    digit: str
    duration_ms: int


def key_press(content_type: str | None, body: bytes) -> KeyPress | None:
    """The key that an INFO reports; None where it is about something else or cannot be read."""
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if len(body) > MAX_BODY_BYTES:
        return None
    lines = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if media_type == RELAY_TYPE:
        signal, duration = _SIGNAL.search(lines), _DURATION.search(lines)
    elif media_type == PLAIN_TYPE:
        signal, duration = _PLAIN.fullmatch(lines) or _SIGNAL.search(lines), _DURATION.search(lines)
    else:
        return None
    if signal is None:
        return None
    text = signal[1].decode("ascii").upper()
    duration_ms = DEFAULT_DURATION_MS if duration is None else min(int(duration[1]), MAX_DURATION_MS)
    return KeyPress(_NUMBERED.get(text, text), duration_ms)
