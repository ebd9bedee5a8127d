"""Messages: read, answered, written, refused (RFC 3261 §7, §8.1.1, §8.2.6). Torture has a file of its own."""

import pytest

from sip.errors import SipError, SipParseError
from sip.fields import Message
from sip.grammar import PARAMETER_LIMIT
from sip.header import ADDRESS_LIMIT, CSeq, MediaType, NameAddr, Via
from sip.headers import Headers
from sip.message import REASON_PHRASES, SINGLE_FIELDS, PartialRequest, Request, Response, parse_message
from sip.uri import Uri
from sip.wire import BODY_LIMIT, HEADER_COUNT_LIMIT, HEADER_SECTION_LIMIT
from tests.helpers.vector import load_vectors

LINES = [
    "Via: SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bK1",
    "Via: SIP/2.0/TCP 10.0.0.1;branch=z9hG4bK0",
    "Record-Route: <sip:192.0.2.1;lr>",
    "From: <sip:a@example.com>;tag=f",
    "To: <sip:b@example.com>",
    "Call-ID: c@example.com",
    "CSeq: 7 INVITE",
    "Contact: <sip:a@192.0.2.9>",
    "Timestamp: 54",
    "Max-Forwards: 70",
]


def wire(start: str = "INVITE sip:b@example.com SIP/2.0", lines: list[str] = LINES, body: bytes = b"") -> bytes:
    return "\r\n".join([start, *lines, "", ""]).encode() + body


def request(*extra: str, without: str = "") -> Request:
    lines = [line for line in LINES if not without or without not in line]
    message = parse_message(wire(lines=[*lines, *extra]))
    assert isinstance(message, Request)
    return message


def refusal(data: bytes) -> SipParseError:
    with pytest.raises(SipParseError) as caught:
        parse_message(data)
    assert isinstance(caught.value, SipError)
    return caught.value


def names(message: Message) -> list[str]:
    return [name for name, _ in message.headers.items()]


def test_accessors_give_typed_values() -> None:
    message = request("Supported: 100rel, Timer", "k: path", "Allow: INVITE, ACK", "Expires: 120", "Require: Foo")
    assert message.top_via == Via.parse("SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bK1")
    assert [via.host for via in message.vias] == ["192.0.2.1", "10.0.0.1"]
    assert (message.from_.tag, message.to.tag, message.call_id) == ("f", None, "c@example.com")
    assert (message.cseq, message.max_forwards) == (CSeq(7, "INVITE"), 70)
    assert message.contacts == (NameAddr.parse("<sip:a@192.0.2.9>"),)
    assert message.record_routes[0].uri.lr
    assert (message.routes, message.content_type, message.proxy_require) == ((), None, ())
    assert (message.supported, message.allow, message.require) == (
        ("100rel", "timer", "path"),
        ("INVITE", "ACK"),
        ("foo",),
    )
    assert message.expires == 120


@pytest.mark.parametrize(
    ("text", "expires"), [("0", 0), ("abc", None), ("-1", None), ("²", None), ("9" * 30, 2**32 - 1)]
)
def test_malformed_expires_is_as_good_as_none__rfc3261_20_19(text: str, expires: int | None) -> None:
    assert request(f"Expires: {text}").expires == expires


def test_malformed_tokens_in_supported_are_passed_over() -> None:
    message = request("Supported: 100rel, ;;, (x), timer", "Allow: INVITE,,AC K")
    assert (message.supported, message.allow) == (("100rel", "timer"), ("INVITE",))
    assert (message.supported, request().allow) == (("100rel", "timer"), ())


def test_values_are_parsed_once_until_their_field_changes() -> None:
    message = request()
    first, to = message.from_, message.to
    assert message.from_ is first
    message.headers.set("From", "<sip:z@example.com>;tag=z")
    assert message.from_.tag == "z"
    assert message.to is to


def test_star_contact_of_a_register_is_no_address__rfc3261_10_2_2() -> None:
    lines = [line for line in LINES if not line.startswith(("Contact", "CSeq"))]
    parsed = parse_message(wire("REGISTER sip:example.com SIP/2.0", [*lines, "CSeq: 1 REGISTER", "Contact: *"]))
    assert parsed.contacts == ()


def test_top_via_is_replaced_and_the_others_keep_their_text__rfc3581_4() -> None:
    lines = ["Via: SIP/2.0/UDP a;rport ,  SIP/2.0/UDP   b;x=1", "Via: SIP / 2.0 / UDP c", *LINES[2:]]
    message = parse_message(wire(lines=lines))
    message.replace_top_via(message.top_via.with_received("192.0.2.7", 9))
    assert message.headers.get_all("Via") == [
        "SIP/2.0/UDP a;rport=9;received=192.0.2.7, SIP/2.0/UDP   b;x=1",
        "SIP / 2.0 / UDP c",
    ]
    assert (message.top_via.rport, len(message.vias)) == (9, 3)


def test_source_can_be_noted_in_a_via_that_is_full() -> None:
    full = "".join(f";p{i}" for i in range(PARAMETER_LIMIT - 1))
    message = parse_message(wire(lines=[f"Via: SIP/2.0/UDP a;rport{full}", *LINES[1:]]))
    assert isinstance(message, Request)
    message.replace_top_via(message.top_via.with_received("192.0.2.7", 9))
    assert (message.top_via.received, len(message.top_via.params)) == ("192.0.2.7", PARAMETER_LIMIT + 1)
    assert message.create_response(200).top_via.received == "192.0.2.7"
    partial = refusal(wire("INVITE sip:b@example.com SIP/9.0", [f"Via: SIP/2.0/UDP a;rport{full}", *LINES[1:]])).partial
    assert partial is not None
    partial.replace_top_via(partial.top_via.with_received("192.0.2.7", 9))
    assert partial.create_response(505).top_via.received == "192.0.2.7"


def test_response_shares_what_it_copies_and_parses_its_own_to() -> None:
    message = request()
    response = message.create_response(200, to_tag="t")
    assert response.from_ is message.from_
    assert (response.to.tag, message.to.tag) == ("t", None)


def test_response_copies_what_it_must__rfc3261_8_2_6_2() -> None:
    response = request().create_response(180, to_tag="t", headers=[("Contact", "<sip:gw>")])
    assert bytes(response).decode().split("\r\n") == [
        "SIP/2.0 180 Ringing",
        "Via: SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bK1",
        "Via: SIP/2.0/TCP 10.0.0.1;branch=z9hG4bK0",
        "Record-Route: <sip:192.0.2.1;lr>",
        "From: <sip:a@example.com>;tag=f",
        "To: <sip:b@example.com>;tag=t",
        "Call-ID: c@example.com",
        "CSeq: 7 INVITE",
        "Contact: <sip:gw>",
        "Content-Length: 0",
        "",
        "",
    ]


@pytest.mark.parametrize(
    ("status", "copied"),
    [(100, "Timestamp"), (101, "Record-Route"), (183, "Record-Route"), (200, "Record-Route"), (299, "Record-Route")],
)
def test_timestamp_goes_into_a_100_and_record_route_where_a_dialog_may_form(status: int, copied: str) -> None:
    response = request().create_response(status)
    assert {"Timestamp", "Record-Route"} & set(names(response)) == {copied}


@pytest.mark.parametrize("status", [300, 400, 486, 603])
def test_final_failure_copies_no_record_route(status: int) -> None:
    assert "Record-Route" not in names(request().create_response(status))


def test_method_that_forms_no_dialog_gets_no_record_route_copied() -> None:
    lines = [line.replace("INVITE", "BYE") for line in LINES]
    message = parse_message(wire("BYE sip:b@example.com SIP/2.0", lines))
    assert isinstance(message, Request)
    assert "Record-Route" not in names(message.create_response(200))


def test_to_that_has_a_tag_keeps_it() -> None:
    message = request("To: <sip:b@example.com>;tag=old", without="To: ")
    assert message.create_response(200, to_tag="new").to.tag == "old"


def test_reason_and_body_are_ours_to_choose() -> None:
    response = request().create_response(488, "No common codec", body=b"abc", headers=[("Content-Type", "text/plain")])
    assert bytes(response).startswith(b"SIP/2.0 488 No common codec\r\n")
    assert bytes(response).endswith(b"Content-Type: text/plain\r\nContent-Length: 3\r\n\r\nabc")
    assert Response(999 - 300).reason == "Unknown"
    assert (Response(486).reason, REASON_PHRASES[486], Response(200, "").reason) == ("Busy Here", "Busy Here", "")


def test_request_of_our_own_is_written_and_read_back() -> None:
    ours = Request("OPTIONS", Uri.parse("sip:b@example.com"), [("v", "SIP/2.0/UDP h;branch=z9hG4bK1")], b"hello")
    ours.headers.add("From", "<sip:a@h>;tag=1")
    ours.headers.add("To", "<sip:b@h>")
    ours.headers.add("Call-ID", "x")
    ours.headers.add("CSeq", "1 OPTIONS")
    ours.headers.add("Content-Length", "999")
    again = parse_message(bytes(ours))
    assert isinstance(again, Request)
    assert (again.body, again.headers.get("Content-Length"), str(again.uri)) == (b"hello", "5", "sip:b@example.com")
    assert repr(again) == "<Request OPTIONS sip:b@example.com Call-ID 'x'>"
    assert repr(again.create_response(200)) == "<Response 200 OK Call-ID 'x'>"


def test_start_line_that_would_break_is_refused() -> None:
    with pytest.raises(ValueError, match="break the start line"):
        bytes(request().create_response(200, "OK\r\nX: y"))
    with pytest.raises(ValueError, match="break the start line"):
        bytes(Request("A\nB", Uri.parse("sip:h")))
    with pytest.raises(TypeError):
        bytes(Message())


def test_latin_1_comes_back_in_the_bytes_it_came_in() -> None:
    data = wire(lines=[*LINES[:3], 'From: "Jürgen" <sip:a@h>;tag=f', *LINES[4:]]).decode().encode("latin-1")
    message = parse_message(data)
    assert isinstance(message, Request)
    assert message.from_.display_name == "Jürgen"
    assert b'From: "J\xfcrgen" <sip:a@h>;tag=f\r\n' in bytes(message.create_response(200))
    response = message.create_response(200, headers=[("Subject", "大停電")])
    assert 'From: "Jürgen"'.encode() in bytes(response)
    assert "大停電".encode() in bytes(response)


def test_body_is_what_content_length_says_and_the_rest_is_dropped__rfc3261_18_3() -> None:
    lines = [*LINES, "Content-Type: text/plain"]
    assert parse_message(wire(lines=[*lines, "Content-Length: 3"], body=b"abcdef")).body == b"abc"
    assert parse_message(wire(lines=lines, body=b"abcdef")).body == b"abcdef"
    assert parse_message(wire(lines=[*lines, "l: 0006"], body=b"abcdef")).body == b"abcdef"


@pytest.mark.parametrize("length", ["7", "-1", "+1", "0x1", "1 2", "1,1", "", "²", "1" * 5000])
def test_content_length_that_is_wrong_is_a_400(length: str) -> None:
    error = refusal(wire(lines=[*LINES, f"Content-Length: {length}"], body=b"abcdef"))
    assert (error.status, error.label) == (400, "content_length")


@pytest.mark.parametrize("name", sorted(SINGLE_FIELDS))
def test_second_line_of_a_single_field_is_a_400(name: str) -> None:
    values = {"Via": "", "From": "<sip:a@h>;tag=f", "To": "<sip:b@h>", "CSeq": "7 INVITE"}
    error = refusal(
        wire(lines=[*LINES, f"{name}: {values.get(name, '1')}", f"{name.upper()}: {values.get(name, '1')}"])
    )
    assert (error.status, error.label) == (400, "duplicate_field")


@pytest.mark.parametrize("name", ["User-Agent", "Date", "Subject", "Server", "Organization", "X-Any"])
def test_second_line_of_an_informational_field_does_no_harm__rfc3261_8_2(name: str) -> None:
    assert request(f"{name}: 1", f"{name}: 2").headers.get(name) == "1"


@pytest.mark.parametrize("name", ["Via", "From", "To", "Call-ID", "CSeq"])
def test_request_without_a_mandatory_field_is_refused_and_not_answered(name: str) -> None:
    error = refusal(wire(lines=[line for line in LINES if not line.startswith(f"{name}:")]))
    assert (error.status, error.label, error.partial) == (400, "missing_field", None)


@pytest.mark.parametrize(
    "line",
    [
        "Contact: <sip:[::bad>",
        "Contact: tel:+1555",
        "Contact: *",
        "Contact: ",
        "Contact: <sip:a@h>, <sip:b@h>",
    ],
)
def test_invite_needs_one_contact_with_a_sip_uri__rfc3261_8_1_1_8(line: str) -> None:
    error = refusal(wire(lines=[*[old for old in LINES if not old.startswith("Contact")], line]))
    assert error.status == 400
    assert error.partial is not None


@pytest.mark.parametrize(
    "line",
    [
        "Record-Route: <tel:+1555>",
        "Record-Route: <sip:h",
        "Require: a,,b",
        "Require: (a)",
        "Require:",
        "Content-Type: text",
        "Call-ID: a b",
        "Call-ID: a, b",
        "Call-ID: ä",
        "Max-Forwards: 256",
        "Max-Forwards: -1",
        "Max-Forwards: x",
    ],
)
def test_field_that_an_invite_needs_and_that_is_malformed_is_a_400(line: str) -> None:
    lines = [old for old in LINES if not old.startswith(line.partition(":")[0])]
    error = refusal(wire(lines=[*lines, line]))
    assert error.status == 400
    assert error.partial is not None


@pytest.mark.parametrize("line", ["Route: nonsense", "Proxy-Require: a,,b", "Date: x", "Allow: (", "Expires: never"])
def test_field_that_nothing_needs_and_that_is_malformed_is_passed_over__rfc3261_8_2(line: str) -> None:
    message = request(line)
    assert (message.routes, message.proxy_require, message.expires) == ((), (), None)


def test_accessors_of_a_message_of_our_own_say_what_is_missing() -> None:
    message = Request("OPTIONS", Uri.parse("sip:h"))
    for name in ("top_via", "from_", "to", "call_id", "cseq"):
        with pytest.raises(SipParseError, match="has no"):
            getattr(message, name)
    assert (message.max_forwards, message.vias, message.contacts) == (None, (), ())


def test_too_many_values_over_several_lines_are_refused() -> None:
    routes = ["Record-Route: <sip:a;lr>, <sip:b;lr>"]
    lines = [line for line in LINES if "Record-Route" not in line]
    message = parse_message(wire(lines=[*lines, *routes * (ADDRESS_LIMIT // 2)]))
    assert len(message.record_routes) == ADDRESS_LIMIT
    assert refusal(wire(lines=[*lines, *routes * (ADDRESS_LIMIT // 2 + 1)])).status == 513


def test_response_that_is_malformed_is_refused_without_a_partial__rfc3261_8_1_3_1() -> None:
    response = request().create_response(200)
    response.headers.set("CSeq", "nonsense")
    assert refusal(bytes(response)).partial is None


@pytest.mark.parametrize(
    ("start", "status", "label"),
    [
        ("SIP/2.0 99 Low", 400, "malformed"),
        ("SIP/2.0 700 High", 400, "malformed"),
        ("SIP/2.0 200", 400, "malformed"),
        ("SIP/3.0 200 OK", 505, "version"),
        ("INVITE sip:b@example.com SIP/2.1", 505, "version"),
        ("INVITE sip:b@example.com SIP/02.0", 505, "version"),
        ("INVITE sip:b@example.com SIP/3.0", 505, "version"),
        ("INVITE sip:b@example.com SIP/2", 400, "malformed"),
        ("INVITE sip:b@example.com", 400, "not_sip"),
        ("INVITE", 400, "not_sip"),
        ("", 400, "not_sip"),
        ("IN(VITE sip:b@example.com SIP/2.0", 400, "malformed"),
        ("INVITE\tsip:b@example.com SIP/2.0", 400, "malformed"),
        ("\x00" * 20, 400, "control_character"),
    ],
)
def test_start_lines_that_are_refused(start: str, status: int, label: str) -> None:
    error = refusal(wire(f"{start}" if start else " ", LINES))
    assert (error.status, error.label) == (status, label)


@pytest.mark.parametrize("data", [b"", b"\r\n\r\n", b"\0", b"\xff" * 100, b"\r\n" * 30000, b"x" * 65535, b":\r\n\r\n"])
def test_noise_is_refused_and_not_answered(data: bytes) -> None:
    assert refusal(data).partial is None


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS", "NEW-METHOD"])
def test_partial_request_names_its_method(method: str) -> None:
    lines = [line.replace("INVITE", method) for line in LINES]
    partial = refusal(wire(f"{method} sip:b@example.com SIP/9.0", lines)).partial
    assert isinstance(partial, PartialRequest)
    assert (partial.method, partial.top_via.branch) == (method, "z9hG4bK1")
    response = parse_message(bytes(partial.create_response(505, to_tag="x")))
    assert (response.to.tag, len(response.vias)) == ("x", 2)


def test_answer_to_a_request_with_a_malformed_to_quotes_it_as_it_came() -> None:
    partial = refusal(wire(lines=[*[line for line in LINES if not line.startswith("To")], 'To: "x <sip:b@h>'])).partial
    assert partial is not None
    assert partial.create_response(400, to_tag="x").headers.get("To") == '"x <sip:b@h>'


def test_malformed_cancel_can_be_answered_and_ack_cannot() -> None:
    for method, answered in (("CANCEL", True), ("ACK", False)):
        lines = [line.replace("INVITE", "OTHER") for line in LINES]
        assert (refusal(wire(f"{method} sip:b@example.com SIP/2.0", lines)).partial is not None) == answered


def test_limits_are_those_that_the_project_promises() -> None:
    assert (HEADER_SECTION_LIMIT, HEADER_COUNT_LIMIT, BODY_LIMIT) == (32 * 1024, 256, 64 * 1024)


def test_header_section_of_exactly_the_limit_is_taken() -> None:
    fill = HEADER_SECTION_LIMIT - (len(wire()) - 4) - len("\r\nQ: ")
    assert request(f"Q: {'x' * fill}").headers.get("Q") == "x" * fill
    assert refusal(wire(lines=[*LINES, f"Q: {'x' * (fill + 1)}"])).status == 513


def test_header_count_of_exactly_the_limit_is_taken() -> None:
    fill = ["Q: y"] * (HEADER_COUNT_LIMIT - len(LINES))
    assert len(request(*fill).headers) == HEADER_COUNT_LIMIT
    assert refusal(wire(lines=[*LINES, *fill, "Q: y"])).status == 513


def test_every_vector_of_twilio_keeps_both_record_routes_in_our_200() -> None:
    invite = parse_message(next(v.message for v in load_vectors("field") if v.name == "twilio-invite"))
    assert isinstance(invite, Request)
    answer = invite.create_response(200, to_tag="ours")
    assert answer.headers.get_all("Record-Route") == invite.headers.get_all("Record-Route")
    assert answer.headers.get_all("Via") == invite.headers.get_all("Via")
    assert invite.content_type == MediaType("application", "sdp")


def test_headers_of_a_message_may_be_given_as_pairs_or_as_headers() -> None:
    headers = Headers([("To", "<sip:b@h>")])
    assert Message(headers).headers is headers
    assert Message([("t", "<sip:b@h>")]).to.uri.host == "h"
