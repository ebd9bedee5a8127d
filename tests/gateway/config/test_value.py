"""Single values: addresses, ranges, numbers, names."""

import re

import pytest

from gateway.config.value import (
    parse_address,
    parse_language,
    parse_name,
    parse_network,
    parse_number,
    suggestion,
)


@pytest.mark.parametrize("text", ["+15550001111", "+4930123456", "*", "reception", "100", "15550001111", "a.b-c_d"])
def test_number_is_e164_or_a_user_part_or_any(text: str) -> None:
    assert parse_number(text) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("+1 555 000 1111", "'+1 555 000 1111' is not an E.164 number; write it as +15550001111"),
        ("+1 (555) 000-1111", "'+1 (555) 000-1111' is not an E.164 number; write it as +15550001111"),
        ("1-555-000-1111", "'1-555-000-1111' is not an E.164 number; write it as +15550001111"),
        ("+0555", "'+0555' is not an E.164 number"),
        ("+1234567890123456", "'+1234567890123456' is not an E.164 number"),
        ("a@b", "'a@b' cannot be the user part of a SIP URI"),
        ("two words", "'two words' cannot be the user part of a SIP URI"),
        ("", "'' cannot be the user part of a SIP URI"),
    ],
)
def test_number_that_is_none_of_these_is_refused_with_a_hint(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}$"):
        parse_number(text)


@pytest.mark.parametrize(
    ("text", "network"),
    [("192.0.2.7", "192.0.2.7/32"), ("192.0.2.0/24", "192.0.2.0/24"), ("2001:db8::/32", "2001:db8::/32")],
)
def test_range_may_be_an_address(text: str, network: str) -> None:
    assert str(parse_network(text)) == network
    assert parse_network(parse_network(text)) == parse_network(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("192.0.2.1/24", "'192.0.2.1/24' has bits set beyond its prefix; the range is 192.0.2.0/24"),
        ("carrier.example", "'carrier.example' is not an address range such as 203.0.113.0/24"),
        ("::ffff:192.0.2.0/120", "'::ffff:192.0.2.0/120' is an IPv4 range in IPv6 clothes; write it as IPv4"),
    ],
)
def test_range_that_means_something_else_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}$"):
        parse_network(text)


def test_address_is_never_a_name() -> None:
    assert str(parse_address("2001:DB8::1")) == "2001:db8::1"
    assert parse_address(parse_address("192.0.2.1")) == parse_address("192.0.2.1")
    with pytest.raises(ValueError, match=r"^'gw.example.net' is not an IPv4 or IPv6 address$"):
        parse_address("gw.example.net")


@pytest.mark.parametrize("text", ["", "two words", "-a", "ä", "a" * 65, "a\n"])
def test_name_is_short_and_plain(text: str) -> None:
    with pytest.raises(ValueError, match="is not a name"):
        parse_name(text)


def test_language_is_a_tag() -> None:
    assert parse_language("pt-BR") == "pt-BR"
    with pytest.raises(ValueError, match="'english' is not a language tag such as en or pt-BR"):
        parse_language("english")


def test_suggestion_names_the_closest_or_all() -> None:
    assert suggestion("receptoin", ["sales", "reception"]) == "; did you mean 'reception'?"
    assert suggestion("xyz", ["sales", "reception"]) == "; there is reception, sales"
    assert suggestion("xyz", []) == "; there is none"
