"""Telephone numbers as STIR compares them: digits only (RFC 8224 §8.3)."""

import re
from typing import Final
from urllib.parse import unquote

from sip.uri import Uri

# RFC 3966 `visual-separator`, with the blank that some PBXes put in.
_SEPARATORS: Final = re.compile(r"[ \-.()]")
_DIGITS: Final = re.compile(r"[0-9*#]{1,32}")


def canonical_number(text: str) -> str | None:
    """A number without plus sign and separators; None for what is no number (a name, "anonymous")."""
    number = _SEPARATORS.sub("", text.partition(";")[0]).removeprefix("+")
    return number if _DIGITS.fullmatch(number) else None


def number_of(uri: Uri) -> str | None:
    """The number in a sip:, sips: or tel: URI; None where there is none."""
    return canonical_number(unquote(uri.user or ""))
