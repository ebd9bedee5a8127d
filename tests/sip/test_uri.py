"""URIs (RFC 3261 §19.1, RFC 3966)."""

from dataclasses import replace

import pytest

from sip.errors import SipParseError
from sip.grammar import PARAMETER_LIMIT
from sip.uri import Params, Uri, is_host

# RFC 3261 §19.1.3 and the forms that carriers send.
ROUND_TRIPS = [
    "sip:alice@atlanta.com",
    "sip:alice:secretword@atlanta.com;transport=tcp",
    "sips:alice@atlanta.com?subject=project%20x&priority=urgent",
    "sip:+1-212-555-1212:1234@gateway.com;user=phone",
    "sips:1212@gateway.com",
    "sip:alice@192.0.2.4",
    "sip:atlanta.com;method=REGISTER?to=alice%40atlanta.com",
    "sip:alice;day=tuesday@atlanta.com",
    "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com",
    "SIP:user:@Example.COM:05060;LR",
    "sip:[2001:db8::1]:5061;transport=tls",
    "sip:user@host.;x=[::1];y=a/b:c&d+e$f",
    "sip:54.172.60.0;r2=on;lr",
    "sip:my_proxy:5060;lr=on;vsf=AAAA==",
    "tel:+1-201-555-0123",
    "tel:7042;phone-context=example.com",
    "tel:*72#;phone-context=+1",
    "http://example.com/a?b#c",
    "isbn:2983792873",
    "urn:service:sos",
]


@pytest.mark.parametrize("text", ROUND_TRIPS)
def test_text_of_a_parsed_uri_is_given_back_exactly(text: str) -> None:
    assert str(Uri.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sip:",
        "sip",
        "alice@atlanta.com",
        "sip:@atlanta.com",
        "sip:alice@",
        "sip:alice@@atlanta.com",
        "sip:a lice@atlanta.com",
        "sip:alice@atlanta.com ",
        "<sip:alice@atlanta.com>",
        "sip:%zz@atlanta.com",
        "sip:alice@atlanta.com:",
        "sip:alice@atlanta.com:0",
        "sip:alice@atlanta.com:65536",
        "sip:alice@atlanta.com:99999999999",
        "sip:alice@atlanta.com;",
        "sip:alice@atlanta.com;;lr",
        "sip:alice@atlanta.com;lr=",
        "sip:alice@atlanta.com;lr;LR",
        "sip:alice@atlanta.com;a=b?",
        "sip:alice@atlanta.com?noequals",
        "sip:alice@2001:db8::1",
        "sip:alice@[2001:db8::1",
        "sip:alice@[zz]",
        "sip:alice@[::1%eth0]",
        "sip:alice@256.1.1.1",
        "sip:alice@1.2.3",
        "sip:alice@-a.com",
        "sip:alice@a-.com",
        "sip:alice@a..com",
        "sip:alice@münchen.de",
        "sips:",
        "tel:",
        "tel:anna",
        "tel:+1@example.com",
        "1abc:x",
        "abc:",
        "abc:ä",
        "sip:alice@atlanta.com\r\nVia: x",
        "sip:alice@atlanta.com\n",
    ],
)
def test_what_is_no_uri_raises_sip_parse_error(text: str) -> None:
    with pytest.raises(SipParseError) as caught:
        Uri.parse(text)
    assert caught.value.status == 400


def test_parts_are_named__rfc3261_19_1_1() -> None:
    uri = Uri.parse("SIPS:al%69ce:pw@Atlanta.com:5061;transport=TLS;lr;maddr=192.0.2.1?Subject=a%20b&X=")
    assert (uri.scheme, uri.user, uri.decoded_user, uri.password) == ("sips", "al%69ce", "alice", "pw")
    assert (uri.host, uri.port, uri.transport, uri.lr, uri.maddr) == ("Atlanta.com", 5061, "tls", True, "192.0.2.1")
    assert uri.headers == (("Subject", "a%20b"), ("X", ""))
    assert (uri.header("subject"), uri.header("x"), uri.header("to")) == ("a b", "", None)
    assert uri.is_sip


def test_absent_parts_are_none() -> None:
    uri = Uri.parse("sip:atlanta.com")
    assert (uri.user, uri.decoded_user, uri.password, uri.port, uri.transport) == (None,) * 5
    assert (uri.params, uri.headers, uri.lr) == (Params(), (), False)


def test_tel_number_is_the_user_and_there_is_no_host__rfc3966() -> None:
    uri = Uri.parse("tel:+1-201-555-0123;phone-context=example.com")
    assert (uri.scheme, uri.user, uri.host, uri.is_sip) == ("tel", "+1-201-555-0123", "", False)
    assert uri.params.get("phone-context") == "example.com"


def test_unknown_scheme_keeps_everything_behind_the_colon() -> None:
    uri = Uri.parse("Soap.Beep://192.0.2.103:3002")
    assert (uri.scheme, uri.user, uri.is_sip) == ("soap.beep", "//192.0.2.103:3002", False)


def test_changed_copy_is_written_anew() -> None:
    uri = Uri.parse("SIP:Alice:pw@Atlanta.com:05060;lr?a=b")
    assert str(replace(uri, port=5080)) == "sip:Alice:pw@Atlanta.com:5080;lr?a=b"
    assert str(Uri("sip", host="192.0.2.1")) == "sip:192.0.2.1"
    assert str(Uri("tel", "+15551234")) == "tel:+15551234"


@pytest.mark.parametrize("user", ["a b", "a\r\nVia: x", "ä"])
def test_uri_of_our_own_that_would_break_its_line_is_refused(user: str) -> None:
    with pytest.raises(ValueError, match="no URI may hold"):
        str(Uri("sip", user, host="example.com"))


# RFC 3261 §19.1.4 gives these examples.
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
        (
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
        ),
        (
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
        ),
        ("tel:+15551234", "TEL:+15551234"),
    ],
)
def test_equivalent_uris__rfc3261_19_1_4(one: str, other: str) -> None:
    assert Uri.parse(one).equivalent(Uri.parse(other))
    assert Uri.parse(other).equivalent(Uri.parse(one))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
        ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
        ("sip:carol@chicago.com;newparam=5;security=on", "sip:carol@chicago.com;security=off"),
        ("sip:bob@biloxi.com", "sips:bob@biloxi.com"),
        ("sip:bob@biloxi.com", "sip:biloxi.com"),
        ("sip:bob:a@biloxi.com", "sip:bob:b@biloxi.com"),
        ("tel:+15551234", "tel:+15551235"),
        ("tel:5551234;phone-context=a", "tel:5551234;phone-context=b"),
        ("sip:bob@biloxi.com", "tel:+15551234"),
    ],
)
def test_uris_that_differ__rfc3261_19_1_4(one: str, other: str) -> None:
    assert not Uri.parse(one).equivalent(Uri.parse(other))
    assert not Uri.parse(other).equivalent(Uri.parse(one))


def test_parameters_and_headers_are_bounded() -> None:
    params = "".join(f";p{i}" for i in range(PARAMETER_LIMIT))
    headers = "&".join(f"h{i}=" for i in range(PARAMETER_LIMIT))
    assert len(Uri.parse(f"sip:a{params}?{headers}").params) == PARAMETER_LIMIT
    for text in (f"sip:a{params};x", f"sip:a?{headers}&x=&y=", f"tel:+1{params};x"):
        with pytest.raises(SipParseError):
            Uri.parse(text)


def test_params_are_read_without_case_and_tell_a_flag_from_an_absent_one() -> None:
    params = Params([("LR", None), ("Tag", '"a \\"b\\""')])
    assert (params.has("lr"), params.get("lr"), params.has("x"), params.get("x")) == (True, None, False, None)
    assert params.get("TAG") == 'a "b"'
    assert str(params) == ';LR;Tag="a \\"b\\""'


def test_params_are_changed_by_copies() -> None:
    params = Params([("a", "1"), ("b", None)])
    assert str(params.with_("A", "2")) == ";a=2;b"
    assert str(params.with_("c", "x y")) == ';a=1;b;c="x y"'
    assert str(params.with_("a")) == ";a;b"
    assert str(params.without("B")) == ";a=1"
    assert str(params) == ";a=1;b"


@pytest.mark.parametrize("text", ["", "a" * 256, "[::1", "[]", "1.2.3.4.", "a.1"])
def test_what_is_no_host(text: str) -> None:
    assert not is_host(text)


@pytest.mark.parametrize("text", ["a", "a.b-c.d.", "my_proxy", "192.0.2.1", "[::1]", "[::ffff:192.0.2.1]", "3com.com"])
def test_what_is_a_host(text: str) -> None:
    assert is_host(text)
