"""What of a peer's description may stand in an error, and so in a log line and a call record."""

import re
from typing import Final

# More of a line helps nobody to find it.
_LONGEST: Final = 80
_HIDDEN: Final = "<hidden>"
# Whatever follows is a key, or what a device or a middle box has made of one: folded, cut, or run into another line.
_KEYED: Final = re.compile(r"\b(crypto|inline|base64)\b.*", re.IGNORECASE | re.DOTALL)
# The shortest key has 40 characters, of which a line break may have left half. Words of telephony that are as long have
# no capitals (`telephone-event/8000`) or nothing else (`UDP/TLS/RTP/SAVPF`).
_KEY_LIKE: Final = re.compile(r"[A-Za-z0-9+/=_-]{16,}")


def excerpt(text: str) -> str:
    """The beginning of what a peer wrote, without what may be keying material."""
    text = _KEYED.sub(rf"\1 {_HIDDEN}", text[: 4 * _LONGEST])
    return _KEY_LIKE.sub(_without_key, text)[:_LONGEST]


def _without_key(run: re.Match[str]) -> str:
    return run[0] if run[0].islower() or run[0].isupper() else _HIDDEN
