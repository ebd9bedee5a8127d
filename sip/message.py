"""Requests and responses: parsed, read, answered and written (RFC 3261 §7, §8.1.1 and §8.2.6)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Final

from sip.errors import SipParseError
from sip.fields import Message
from sip.grammar import BARE_CONTROL, FOLD, REQUEST_LINE, STATUS_LINE, TOKEN, VIA, parse_number
from sip.header import LIST_LIMIT, NameAddr, Via
from sip.headers import Headers, canonical_name
from sip.status import REASON_PHRASES
from sip.uri import Uri
from sip.wire import (
    BODY_LIMIT,
    HEADER_COUNT_LIMIT,
    HEADER_SECTION_LIMIT,
    check_lines,
    cut_message,
    decode_section,
    split_section,
)

__all__ = [
    "DIALOG_FORMING",
    "REASON_PHRASES",
    "SINGLE_FIELDS",
    "Message",
    "PartialRequest",
    "Request",
    "Response",
    "parse_message",
]

# Fields of which a message has at most one, and on which processing depends. A second one is a 400: to take either
# would be to guess, and a peer that guesses otherwise sees another message (RFC 4475 §3.3.8). Informational ones
# (User-Agent, Date) are left out, since "a UAS SHOULD ignore any malformed header fields that are not necessary for
# processing" (§8.2).
SINGLE_FIELDS: Final = frozenset({
    "Call-ID", "Content-Disposition", "Content-Length", "Content-Type", "CSeq", "Event", "Expires", "From",
    "Max-Forwards", "Min-SE", "RAck", "Refer-To", "Referred-By", "Replaces", "RSeq", "Session-Expires",
    "Subscription-State", "To",
})  # fmt: skip
# Methods whose 2xx and tagged 1xx responses create a dialog and so carry the Record-Route on (§12.1.1, RFC 6665, RFC
# 3515).
DIALOG_FORMING: Final = frozenset({"INVITE", "SUBSCRIBE", "REFER"})


class Request(Message):
    """A request. `method` is case-sensitive, as SIP's methods are."""

    __slots__ = ("method", "uri")

    def __init__(
        self, method: str, uri: Uri, headers: Headers | Iterable[tuple[str, str]] = (), body: bytes = b""
    ) -> None:
        super().__init__(headers, body)
        self.method = method
        self.uri = uri

    def create_response(
        self,
        status: int,
        reason: str | None = None,
        *,
        to_tag: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
    ) -> Response:
        """The response to this request with the fields that RFC 3261 §8.2.6 wants: every Via, From, To, Call-ID and
        CSeq as they came, Timestamp in a 100, Record-Route where a dialog may form (§12.1.1). `to_tag` is put on a To
        that has none. `headers` follow in their order.
        """
        response = _respond(self, status, reason, to_tag, headers)
        response.body = body
        return response

    def _start_line(self) -> str:
        return f"{_one_line(self.method)} {self.uri} SIP/2.0"

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.uri} Call-ID {self.headers.get('Call-ID')!r}>"


class Response(Message):
    """A response. `reason` is a phrase for people; UTF-8, possibly empty."""

    __slots__ = ("reason", "status")

    def __init__(
        self,
        status: int,
        reason: str | None = None,
        headers: Headers | Iterable[tuple[str, str]] = (),
        body: bytes = b"",
    ) -> None:
        super().__init__(headers, body)
        self.status = status
        self.reason = REASON_PHRASES.get(status, "Unknown") if reason is None else reason

    def _start_line(self) -> str:
        return f"SIP/2.0 {self.status} {_one_line(self.reason)}"

    def __repr__(self) -> str:
        return f"<Response {self.status} {self.reason} Call-ID {self.headers.get('Call-ID')!r}>"


class PartialRequest(Message):
    """What could be read of a malformed request: enough to answer it, and no more.

    It has a Via whose protocol and sender can be read, and From, To, Call-ID and CSeq as text. Only `has_sound_via`,
    `create_response`, and with a sound Via `top_via` are safe to use.
    """

    __slots__ = ("method",)

    def __init__(self, method: str, headers: Headers) -> None:
        super().__init__(headers)
        self.method = method

    @property
    def has_sound_via(self) -> bool:
        """Whether every Via parses, so that the source can be noted in the topmost."""
        try:
            return bool(self.top_via)
        except SipParseError:
            return False

    def create_response(
        self,
        status: int,
        reason: str | None = None,
        *,
        to_tag: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
    ) -> Response:
        """The answer that the sender can match to its request."""
        return _respond(self, status, reason, to_tag, headers)


def _respond(
    request: Message, status: int, reason: str | None, to_tag: str | None, headers: Iterable[tuple[str, str]]
) -> Response:
    copied = _COPIED_TO_100 if status == 100 else _COPIED
    if 100 < status < 300 and isinstance(request, Request) and request.method in DIALOG_FORMING:
        copied = _COPIED_IN_DIALOG
    fields = [field for field in request.headers.items() if field[0] in copied]
    if to_tag is not None:
        fields = [(name, _tagged(value, to_tag) if name == "To" else value) for name, value in fields]
    response = Response(status, reason, Headers.from_wire(fields))
    response.charset = request.charset
    response.headers.typed = {name: value for name, value in request.headers.typed.items() if name in _SHARED}
    for name, value in headers:
        response.headers.add(name, value)
    return response


_COPIED: Final = frozenset({"Via", "From", "To", "Call-ID", "CSeq"})
_SHARED: Final = _COPIED - {"To"}  # what a response need not parse anew
_COPIED_TO_100: Final = _COPIED | {"Timestamp"}
_COPIED_IN_DIALOG: Final = _COPIED | {"Record-Route"}


def _tagged(to: str, tag: str) -> str:
    """To with a tag, unless it has one. The text itself stays as it came."""
    try:
        tagged = NameAddr.parse(to).params.has("tag")
    except SipParseError:
        return to  # a 400 quotes the fault back; where a parameter would go in it nobody can say
    return to if tagged else f"{to};tag={tag}"


def _one_line(text: str) -> str:
    if "\n" in text or "\r" in text:
        raise ValueError(f"{text!r} would break the start line")
    return text


def parse_message(data: bytes) -> Request | Response:
    """Reads one complete message: a datagram, or what a StreamFramer cut out.

    Raises SipParseError and nothing else, for whatever bytes. All checks that end in a 400, 413, 505 or 513 are made
    here, so what it returns has a well-formed start line, Via, From, To, Call-ID and CSeq (whose method is the
    request's), no more than one of each of SINGLE_FIELDS, one SIP Contact in an INVITE, and accessors that never
    raise. A body is what Content-Length says; octets behind it are dropped (§18.3), and without a Content-Length it is
    all that is left. What needs knowledge of the UA is the UA's to check: 416 (a Request-URI whose `uri.is_sip` is
    false parses), 420 (`require`), 415 and 483.
    """
    try:
        return _parse(data)
    except SipParseError as error:
        if error.label != "not_sip":
            error.partial = answerable(data)
        raise


def _parse(data: bytes) -> Request | Response:
    section, rest = cut_message(data)
    text, charset = decode_section(section)
    check_lines(section, text)
    start_line, fields = split_section(text)
    message = _parse_start_line(start_line, Headers.from_wire(fields))
    message.charset = charset
    message.wire_size = len(data)
    headers = message.headers
    if (doubled := headers.first_repeated(SINGLE_FIELDS)) is not None:
        raise SipParseError(f"{doubled} comes more than once", label="duplicate_field")
    message.body = _cut_body(headers.get("Content-Length"), rest)
    cseq = message.cseq
    if isinstance(message, Request) and cseq.method != message.method:
        raise SipParseError(f"CSeq counts {cseq.method} in a {message.method}", label="cseq_mismatch")
    _ = message.top_via, message.from_, message.to, message.call_id, message.max_forwards
    _check_fields(message)
    return message


def _check_fields(message: Request | Response) -> None:
    """Reads what else has a typed accessor. A fault in a field that the method does not need is passed over (§8.2): the
    accessor then says what it says of an absent field. So none of them raises later, in the middle of a call.
    """
    method = message.cseq.method
    present = message.headers.names()
    for name, read, methods in _CHECKED:
        if name not in present:
            continue
        try:
            read(message)
        except SipParseError:
            if method in methods:
                raise
            message.ignore(name)
    if method in _NEED_CONTACT and isinstance(message, Request):
        contacts = message.contacts
        if len(contacts) != 1 or not contacts[0].uri.is_sip:
            raise SipParseError(f"{method} needs one Contact with a SIP URI", label="contact")


def _routable(message: Message) -> None:
    if not all(route.uri.is_sip for route in message.record_routes):
        raise SipParseError("A Record-Route is not a SIP URI")


# §8.1.1.8: Contact "MUST be present and contain exactly one SIP or SIPS URI in any request that can result in the
# establishment of a dialog". RFC 2543 did without it; we would then have nowhere to send our BYE.
_NEED_CONTACT: Final = frozenset({"INVITE", "SUBSCRIBE"})
# Field, how it is read, and the methods that cannot be processed when it is malformed.
_CHECKED: Final[tuple[tuple[str, Callable[[Message], object], frozenset[str]], ...]] = (
    ("Contact", attrgetter("contacts"), _NEED_CONTACT | {"UPDATE", "REFER", "NOTIFY", "REGISTER"}),
    ("Record-Route", _routable, DIALOG_FORMING),
    ("Route", attrgetter("routes"), frozenset()),  # a UAS is the end of every route
    ("Content-Type", attrgetter("content_type"), frozenset({"INVITE", "UPDATE", "PRACK", "INFO", "MESSAGE", "NOTIFY"})),
    # Not ACK and CANCEL, to which §8.2.2.3 forbids to apply it.
    ("Require", attrgetter("require"), frozenset({
        "INVITE", "BYE", "OPTIONS", "UPDATE", "PRACK", "INFO", "MESSAGE", "NOTIFY", "REFER", "SUBSCRIBE", "REGISTER",
    })),
    ("Proxy-Require", attrgetter("proxy_require"), frozenset()),
)  # fmt: skip


def _parse_start_line(line: str, headers: Headers) -> Request | Response:
    if match := REQUEST_LINE.fullmatch(line):
        method, uri, major, minor = match.groups()
        _check_version(major, minor)
        request_uri = Uri.parse(uri)
        if request_uri.headers:
            raise SipParseError("The Request-URI has header fields in it")  # §19.1.1 table 1
        return Request(method, request_uri, headers)
    if match := STATUS_LINE.fullmatch(line):
        major, minor, status, reason = match.groups()
        _check_version(major, minor)
        return Response(int(status), reason, headers)
    known = "SIP/" in line.upper()
    raise SipParseError(f"{line[:200]!r} begins no SIP message", label="malformed" if known else "not_sip")


def _check_version(major: str, minor: str) -> None:
    if (major, minor) != ("2", "0"):
        raise SipParseError(f"Version {major[:10]}.{minor[:10]} is not 2.0", status=505, label="version")


def _cut_body(content_length: str | None, rest: bytes) -> bytes:
    length = len(rest)
    if content_length is not None:
        declared = parse_number(content_length, 2**31)
        if declared is None:
            raise SipParseError(f"Content-Length {content_length[:30]!r} is not a length", label="content_length")
        if declared > length:
            raise SipParseError(f"Content-Length is {declared}, and {length} bytes came", label="content_length")
        length = declared
    if length > BODY_LIMIT:
        raise SipParseError(f"The body has {length} bytes, more than {BODY_LIMIT}", status=413, label="too_large")
    return rest[:length]


def answerable(data: bytes) -> PartialRequest | None:
    """What a malformed message still gives to answer it with, or None: a response, an ACK, or too little."""
    section = data.lstrip(b"\r\n")[:HEADER_SECTION_LIMIT].partition(b"\r\n\r\n")[0]
    text, charset = decode_section(section)
    start_line, *lines = FOLD.sub(" ", text).split("\r\n", HEADER_COUNT_LIMIT)
    method = start_line.partition(" ")[0]
    if method == "ACK" or not TOKEN.fullmatch(method):  # "SIP/2.0" is no token: a response is never answered
        return None
    headers = Headers()
    for line in lines:
        name, colon, value = line.partition(":")
        name = canonical_name(name.rstrip(" \t"))
        value = value.strip(" \t")
        if name not in _COPIED or not colon or not value or (name != "Via" and name in headers):
            continue
        if "\n" in value or "\r" in value or BARE_CONTROL.search(value):
            return None  # what would be echoed could be read as another header field
        headers.add(name, value)
    partial = PartialRequest(method, headers)
    partial.charset = charset
    if not all(name in headers for name in _COPIED):
        return None
    # A Via that is sound up to its parameters goes back as it came: RFC 4475 §3.1.2.1 wants a 400 for it.
    return partial if partial.has_sound_via or _name_sender(headers.get_all("Via")) else None


def _name_sender(vias: list[str]) -> bool:
    match = VIA.fullmatch(vias[0])
    if match is None or sum(1 + line.count(",") for line in vias) > LIST_LIMIT:
        return False
    try:
        return bool(Via.parse(match[0][: match.start(6)]))
    except SipParseError:
        return False
