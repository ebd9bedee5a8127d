"""What far ends may have us dial (RFC 3515 §5.1 leaves it to policy): made of the list, never of the wire."""

import pytest
from pydantic import ValidationError

from gateway.config.outbound import OutboundSettings, ReferSettings
from sip.uri import Uri

OUTBOUND = OutboundSettings(proxy="192.0.2.9:5080", sip_host="pbx.example.net")
LIST = ReferSettings(
    allow=("+4989*", "+15550001111", "sip:night@pbx.example.net;transport=tls", "sip:*@phones.example.net:5070")
)


@pytest.mark.parametrize(
    ("wish", "uri"),
    [
        ("tel:+49-89-12345", "sip:+498912345@pbx.example.net"),
        ("sip:+15550001111@premium.example", "sip:+15550001111@pbx.example.net"),
        ("sip:%2B15550001111@pbx.example.net;maddr=203.0.113.1", "sip:+15550001111@pbx.example.net"),
        ("sip:101@phones.example.net:5070;maddr=203.0.113.1?Replaces=x", "sip:101@phones.example.net:5070"),
        ("sip:a%20b@PHONES.example.net:5070", "sip:a%20b@phones.example.net:5070"),
        ("sip:101@phones.example.net:5070;method=INVITE", "sip:101@phones.example.net:5070"),
    ],
)
def test_what_is_listed_is_dialled_as_the_list_says(wish: str, uri: str) -> None:
    assert str(LIST.resolve(Uri.parse(wish), OUTBOUND)) == uri


@pytest.mark.parametrize(
    "wish",
    ["tel:+15550001112", "tel:+4930123456", "sip:night@pbx.example.net", "sip:101@phones.example.net", "sip:911@x",
     "sip:phones.example.net:5070", "sips:101@phones.example.net:5070", "sip:101@203.0.113.1:5070", "tel:911",
     "sip:101@phones.example.net:5070;method=BYE", "mailto:+15550001111", "http://phones.example.net:5070"],
)  # fmt: skip
def test_what_is_not_listed_is_not_dialled(wish: str) -> None:
    assert LIST.resolve(Uri.parse(wish), OUTBOUND) is None


def test_by_default_nothing_is_dialled() -> None:
    assert ReferSettings().resolve(Uri.parse("tel:+15550001111"), OUTBOUND) is None


def test_numbers_go_to_the_proxy_where_no_host_is_named() -> None:
    outbound = OutboundSettings(proxy="sip:192.0.2.9:5080;transport=tcp")
    assert str(outbound.uri_of("+15550001111")) == "sip:+15550001111@192.0.2.9:5080;transport=tcp"
    assert outbound.route == ("<sip:192.0.2.9:5080;transport=tcp;lr>",)
    assert OutboundSettings().uri_of("+15550001111") is None


@pytest.mark.parametrize("entry", ["*", "sip:*", "sip:*@*", "+*", "911", "sip:a@b>", "sip:x@b?Replaces=c", "sip:a@-"])
def test_an_entry_that_says_too_much_is_refused(entry: str) -> None:
    with pytest.raises(ValidationError):
        ReferSettings(allow=(entry,))
