"""The values that header fields hold (RFC 3261 §20)."""

import pytest

from sip.errors import SipParseError
from sip.grammar import PARAMETER_LIMIT, quote, unquote
from sip.header import CSEQ_LIMIT, LIST_LIMIT, CSeq, MediaType, NameAddr, ParameterValue, Via, parse_params, split_list
from sip.uri import Params, Uri


@pytest.mark.parametrize(
    ("text", "name", "uri", "params"),
    [
        ("<sip:a@b.c>", None, "sip:a@b.c", ""),
        ("sip:a@b.c", None, "sip:a@b.c", ""),
        ("sip:a@b.c;tag=x", None, "sip:a@b.c", ";tag=x"),
        ("sip:a@b.c ; tag = x", None, "sip:a@b.c", ";tag=x"),
        ("<sip:a@b.c;lr>;q=0.7", None, "sip:a@b.c;lr", ";q=0.7"),
        ('"A. G. Bell" <sip:a@b.c>;tag=x', "A. G. Bell", "sip:a@b.c", ";tag=x"),
        ('"" <sip:a@b.c>', "", "sip:a@b.c", ""),
        ("Anonymous <sip:c8oqz84zk7z@privacy.org>;tag=hyh8", "Anonymous", "sip:c8oqz84zk7z@privacy.org", ";tag=hyh8"),
        ("The Operator<sip:a@b.c>", "The Operator", "sip:a@b.c", ""),
        ('"a \\" \\\\ > < b" <sip:a@b.c>', 'a " \\ > < b', "sip:a@b.c", ""),
        ('<sip:a@b.c>;+sip.instance="<urn:uuid:0>";ob', None, "sip:a@b.c", ';+sip.instance="<urn:uuid:0>";ob'),
        ("<tel:+15551234>;tag=1", None, "tel:+15551234", ";tag=1"),
    ],
)  # fmt: skip
def test_addresses__rfc3261_20_10(text: str, name: str | None, uri: str, params: str) -> None:
    address = NameAddr.parse(text)
    assert (address.display_name, str(address.uri), str(address.params)) == (name, uri, params)
    assert NameAddr.parse(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        "<>",
        "<sip:a@b.c",
        "sip:a@b.c>",
        '"A <sip:a@b.c>',
        'A" <sip:a@b.c>',
        '"A" x <sip:a@b.c>',
        "A, B <sip:a@b.c>",
        "< sip:a@b.c >",
        "<sip:a@b.c> tag=x",
        "<sip:a@b.c>;",
        "<sip:a@b.c>;;tag=x",
        "<sip:a@b.c>;tag=",
        "<sip:a@b.c>;=x",
        "<sip:a@b.c>;tag=a;tag=b",
        "<sip:a@b.c>;tag=a b",
        '<sip:a@b.c>;tag="a',
        "<sip:a@b.c>, <sip:d@e.f>",
        "sip:a@b.c?x=y",
        "<<sip:a@b.c>>",
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(SipParseError):
        NameAddr.parse(text)


def test_address_is_tagged_by_a_copy() -> None:
    address = NameAddr.parse('"B" <sip:b@c.d>')
    assert address.tag is None
    assert str(address.with_tag("xyz")) == "B <sip:b@c.d>;tag=xyz"
    assert address.with_tag("xyz").tag == "xyz"
    assert str(NameAddr("A B", Uri.parse("sip:a@b.c"))) == '"A B" <sip:a@b.c>'


def test_list_of_addresses_is_cut_only_at_commas_between_them__rfc3261_7_3_1() -> None:
    text = '"Smith, J" <sip:a,b@c.d;x=1>;q=0.1 , <sip:e@f.g>;p="1,2",sip:h@i.j'
    assert [str(address.uri) for address in NameAddr.parse_list(text)] == ["sip:a,b@c.d;x=1", "sip:e@f.g", "sip:h@i.j"]


@pytest.mark.parametrize("text", [",", "a,", ",a", "a,,b", 'a,"b', '"a" , <b', '"a, b'])
def test_malformed_lists(text: str) -> None:
    with pytest.raises(SipParseError):
        split_list(text)


@pytest.mark.parametrize("element", ["a", '"a"', "<sip:a>"])
def test_list_is_bounded(element: str) -> None:
    assert len(split_list(",".join([element] * LIST_LIMIT))) == LIST_LIMIT
    for count in (LIST_LIMIT + 1, LIST_LIMIT + 9):
        with pytest.raises(SipParseError) as caught:
            split_list(",".join([element] * count))
        assert (caught.value.status, caught.value.label) == (513, "limit")


def test_parameters_are_bounded() -> None:
    parse_params("".join(f";p{i}" for i in range(PARAMETER_LIMIT)))
    with pytest.raises(SipParseError) as caught:
        parse_params("".join(f";p{i}" for i in range(PARAMETER_LIMIT + 1)))
    assert caught.value.label == "limit"


def test_via__rfc3261_20_42() -> None:
    via = Via.parse("SIP / 2.0 / UDP first.example.com: 4000;ttl=16 ;maddr=224.2.0.1 ;branch=z9hG4bKa7c6a8dlze.1")
    assert (via.transport, via.host, via.port, via.branch) == ("UDP", "first.example.com", 4000, "z9hG4bKa7c6a8dlze.1")
    assert str(via) == "SIP/2.0/UDP first.example.com:4000;ttl=16;maddr=224.2.0.1;branch=z9hG4bKa7c6a8dlze.1"
    assert (via.received, via.rport) == (None, None)
    assert Via.parse(str(via)) == via


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SIP/2.0/UDP",
        "SIP/2.0/UDP ",
        "SIP/2.0 UDP h",
        "SIP/2.0/UDP h h",
        "SIP/2.0/UDP h:x",
        "SIP/2.0/UDP h:0",
        "SIP/2.0/UDP h:70000",
        "SIP/2.0/UDP 1.2.3.4.5",
        "SIP/2.0/UDP ::1",
        "SIP/2.0/UDP h;;branch=x",
        "SIP/2.0/UDP h;branch=x;branch=y",
        "SIP/2.0/UDP h;branch=",
    ],
)
def test_what_is_no_via(text: str) -> None:
    with pytest.raises(SipParseError):
        Via.parse(text)


@pytest.mark.parametrize(
    ("params", "rport"), [("", None), (";rport", ""), (";rport=5062", 5062), (";rport=0", ""), (";rport=99999", "")]
)
def test_rport_tells_absent_from_flag_from_port__rfc3581_3(params: str, rport: int | str | None) -> None:
    assert Via.parse(f"SIP/2.0/UDP h{params}").rport == rport


def test_source_is_noted_in_the_via__rfc3581_4() -> None:
    via = Via.parse("SIP/2.0/UDP 10.1.1.1:4540;rport;branch=z9hG4bKkjshdyff")
    noted = via.with_received("192.0.2.1", 9988)
    assert str(noted) == "SIP/2.0/UDP 10.1.1.1:4540;rport=9988;branch=z9hG4bKkjshdyff;received=192.0.2.1"
    assert (noted.received, noted.rport) == ("192.0.2.1", 9988)
    assert str(via.with_received("2001:db8::1")).endswith(";rport;branch=z9hG4bKkjshdyff;received=2001:db8::1")


def test_via_list() -> None:
    assert [via.host for via in Via.parse_list("SIP/2.0/UDP a;branch=1, SIP/2.0/TCP b")] == ["a", "b"]


def test_cseq_is_below_two_to_the_thirty_first__rfc3261_8_1_1_5() -> None:
    assert CSeq.parse(f"{CSEQ_LIMIT} INVITE") == CSeq(2**31 - 1, "INVITE")
    assert CSeq.parse("0009\tACK") == CSeq(9, "ACK")
    assert str(CSeq(4, "BYE")) == "4 BYE"
    with pytest.raises(SipParseError) as caught:
        CSeq.parse(f"{CSEQ_LIMIT + 1} INVITE")
    assert caught.value.label == "cseq_overflow"


@pytest.mark.parametrize(
    "text", ["", "1", "INVITE", "1 INVITE x", "-1 INVITE", "+1 INVITE", "² INVITE", "1 IN(VITE", "1INVITE"]
)
def test_what_is_no_cseq(text: str) -> None:
    with pytest.raises(SipParseError):
        CSeq.parse(text)


def test_media_type() -> None:
    media_type = MediaType.parse('Multipart / Mixed ; boundary="a;b"')
    assert (media_type.essence, media_type.params.get("boundary")) == ("multipart/mixed", "a;b")
    assert str(media_type) == 'Multipart/Mixed;boundary="a;b"'
    with pytest.raises(SipParseError):
        MediaType.parse("application")


def test_parameter_value() -> None:
    reason = ParameterValue.parse('Q.850 ;cause=16 ;text="Normal call clearing"')
    assert (reason.value, reason.params.get("cause")) == ("Q.850", "16")
    assert reason.params.get("text") == "Normal call clearing"
    assert str(reason) == 'Q.850;cause=16;text="Normal call clearing"'
    assert ParameterValue.parse("1800").params == Params()
    for text in ("", " ;a", '"a"', "a;"):
        with pytest.raises(SipParseError):
            ParameterValue.parse(text)


@pytest.mark.parametrize("text", ["", "a", '"', "\\", "\\\\", '\\"', '"\\', "a\\b\\\\c", '\\\\"', "\\\\\\"])
def test_quoting_and_unquoting_are_inverse(text: str) -> None:
    assert unquote(quote(text)) == text


def test_quoted_pair_may_escape_anything__rfc3261_25_1() -> None:
    assert unquote(r'"\a\"\\\"\\c"') == r'a"\"\c'
    assert (unquote('a\\"'), unquote('"'), unquote('"a')) == ('a\\"', '"', '"a')
