"""Telephone numbers as STIR compares them: digits, in international form where that can be told (RFC 8224 §8.3)."""

import re
from typing import Final
from urllib.parse import unquote

import phonenumbers

from sip.uri import Uri

# RFC 3966 `visual-separator`, with the blank that some PBXes put in.
_SEPARATORS: Final = re.compile(r"[ \-.()]")
_DIGITS: Final = re.compile(r"[0-9*#]{1,32}")
# RFC 3966 §5.1.5: the context of a local number is a prefix to dial before it, or the name of a domain.
_CONTEXT: Final = re.compile(r";phone-context=(\+[0-9][0-9\-.()]*)", re.IGNORECASE)
# Prefixes for calls abroad, of most of the world and of North America. They are looked at only where the country's own
# reading of the number gives none that could be dialled.
_ABROAD: Final = ("00", "011")
# What is shorter, or begins with a prefix, is no number in international form: country codes never begin with 0, and
# North American numbers without country code have ten digits.
_SHORTEST_INTERNATIONAL: Final = 11


def canonical_number(text: str, country: str | None = None) -> str | None:
    """A number in international form without plus sign and separators; None for what is no number ("anonymous").

    Args:
        text: as it stands in the user part of a URI, escapes resolved.
        country: where a number without plus sign was dialled, as ISO 3166 names it ("US"). Without it such a number
            keeps its digits as they are.
    """
    number = _SEPARATORS.sub("", text.partition(";")[0])
    if (context := _CONTEXT.search(text)) is not None and not number.startswith("+"):
        number = _SEPARATORS.sub("", context[1]) + number
    digits = number.removeprefix("+")
    if not _DIGITS.fullmatch(digits):
        return None
    if number.startswith("+") or country is None or not digits.isdigit():
        return digits
    candidates = [(digits, country), *((f"+{digits.removeprefix(prefix)}", None) for prefix in ("", *_ABROAD))]
    return next((found for candidate in candidates if (found := _international(*candidate)) is not None), digits)


def is_national(text: str) -> bool:
    """Whether it depends on a country which number this is: no plus sign, and too short or with a prefix."""
    number = _SEPARATORS.sub("", text.partition(";")[0])
    if not number.isdigit() or _CONTEXT.search(text) is not None:
        return False
    return number.startswith("0") or len(number) < _SHORTEST_INTERNATIONAL


def number_of(uri: Uri, country: str | None = None) -> str | None:
    """The number in a sip:, sips: or tel: URI; None where there is none."""
    return canonical_number(dialled_text(uri), country)


def dialled_text(uri: Uri) -> str:
    """The user part of a URI without escapes; of a tel: URI with its context."""
    context = uri.params.get("phone-context") if uri.scheme == "tel" else None
    return unquote(uri.user or "") + (f";phone-context={context}" if context else "")


def _international(number: str, country: str | None) -> str | None:
    """A number as digits in international form, if it has a length that can be dialled there."""
    try:
        parsed = phonenumbers.parse(number, country)
    except phonenumbers.NumberParseException:
        return None
    if phonenumbers.is_possible_number_with_reason(parsed) != phonenumbers.ValidationResult.IS_POSSIBLE:
        return None  # also one that is possible within its area only
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164).removeprefix("+")
