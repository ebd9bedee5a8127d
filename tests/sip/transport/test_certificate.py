"""Names in certificates: RFC 5922, and RFC 6125 for the wildcards that carriers have."""

import pytest

from sip.transport.certificate import belongs_to, is_certified, names_of

SUBJECT = ((("countryName", "US"),), (("commonName", "old.example.net"),))


def test_identities_are_uris_then_names_then_addresses__rfc5922_7_1() -> None:
    certificate = {
        "subject": SUBJECT,
        "subjectAltName": (
            ("URI", "sip:Example.NET"),
            ("URI", "sip:alice@example.net"),
            ("URI", "https://example.net"),
            ("DNS", "GW.example.net"),
            ("DNS", "gw.example.net"),
            ("IP Address", "2001:DB8:0:0:0:0:0:1"),
        ),
    }
    assert names_of(certificate) == ("example.net", "gw.example.net", "2001:db8::1")


def test_common_name_counts_only_without_alternative_names__rfc5922_7_1() -> None:
    assert names_of({"subject": SUBJECT}) == ("old.example.net",)
    assert names_of({"subject": SUBJECT, "subjectAltName": (("URI", "https://example.net"),)}) == ("old.example.net",)
    assert names_of({}) == ()


@pytest.mark.parametrize(
    ("name", "host", "is_good"),
    [
        ("gw.example.net", "GW.Example.Net.", True),
        ("gw.example.net", "other.example.net", False),
        ("*.pstn.twilio.com", "mytrunk.pstn.twilio.com", True),
        ("*.pstn.twilio.com", "a.b.pstn.twilio.com", False),  # one label
        ("*.pstn.twilio.com", "pstn.twilio.com", False),
        ("*.pstn.twilio.com", ".pstn.twilio.com", False),
        ("my*.pstn.twilio.com", "mytrunk.pstn.twilio.com", False),  # only a whole label
        ("sip.*.twilio.com", "sip.us.twilio.com", False),  # only the left-most
        ("*.com", "twilio.com", False),
        ("*", "localhost", False),
        ("*.0.2.1", "192.0.2.1", False),  # an address is no name
        ("192.0.2.1", "192.0.2.1", True),
        ("2001:db8::1", "[2001:db8:0::1]", True),
    ],
)
def test_one_wildcard_label_at_the_left_and_nothing_looser__rfc6125_6_4_3(name: str, host: str, is_good: bool) -> None:
    assert is_certified([name], host) is is_good


@pytest.mark.parametrize(
    ("name", "is_good"),
    [("*.pstn.twilio.com", True), ("twilio.com", True), ("*.twilio.com", True), ("eviltwilio.com", False),
     ("twilio.com.evil.net", False), ("54.172.60.0", False)],
)  # fmt: skip
def test_a_peer_reached_by_address_shows_a_name_of_its_carrier(name: str, is_good: bool) -> None:
    assert belongs_to([name], ["twilio.com"]) is is_good
