"""Numbers as they are compared: RFC 8224 §8.3, RFC 3966 §5.1.5."""

import pytest

from gateway.identity.number import canonical_number, dialled_text, is_national, number_of
from sip.uri import Uri


@pytest.mark.parametrize(
    ("text", "country", "canonical"),
    [
        ("+1 (555) 222-3333", None, "15552223333"),
        ("+15552223333", "GB", "15552223333"),  # the plus sign says all
        ("5552223333", "US", "15552223333"),
        ("15552223333", "US", "15552223333"),
        ("555.222.3333", "US", "15552223333"),
        ("01144 1632 960123", "US", "441632960123"),
        ("0015552223333", "US", "15552223333"),  # the rest of the world's prefix, from a carrier that knows no other
        ("441632960123", "US", "441632960123"),  # E.164 without its plus sign
        ("01632960123", "GB", "441632960123"),
        ("00441632960123", "GB", "441632960123"),
        ("0114 496 0123", "GB", "441144960123"),  # Sheffield, not North America's prefix
        ("030123456", "DE", "4930123456"),
        ("0612345678", "IT", "390612345678"),  # Italy keeps its 0
        ("2223333", "US", "2223333"),  # within an area only: nobody knows which
        ("911", "US", "911"),
        ("*98", "US", "*98"),
        ("5552223333", None, "5552223333"),
        ("2223333;phone-context=+1-555", None, "15552223333"),
        ("2223333;phone-context=example.net", None, "2223333"),
        ("anonymous", "US", None),
        ("", "US", None),
        ("+", "US", None),
    ],
)
def test_numbers_are_compared_in_international_form__rfc8224_8_3(
    text: str, country: str | None, canonical: str | None
) -> None:
    assert canonical_number(text, country) == canonical


@pytest.mark.parametrize(
    ("uri", "number"),
    [
        ("sip:5552223333@192.0.2.1;user=phone", "15552223333"),
        ("sip:%2B15552223333@192.0.2.1", "15552223333"),
        ("sip:2223333;phone-context=+1555@192.0.2.1;user=phone", "15552223333"),
        ("tel:+1-555-222-3333", "15552223333"),
        ("tel:222-3333;phone-context=+1555", "15552223333"),
        ("sip:reception@192.0.2.1", None),
        ("sip:192.0.2.1", None),
    ],
)
def test_numbers_of_uris__rfc3966_5_1_5(uri: str, number: str | None) -> None:
    assert number_of(Uri.parse(uri), "US") == number


@pytest.mark.parametrize(
    ("text", "national"),
    [
        ("5552223333", True),
        ("0015552223333", True),
        ("15552223333", False),
        ("+15552223333", False),
        ("reception", False),
        (dialled_text(Uri.parse("tel:222-3333;phone-context=+1555")), False),
    ],
)
def test_what_only_a_country_can_explain(text: str, national: bool) -> None:
    assert is_national(text) is national
