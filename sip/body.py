"""What a body holds for offer and answer: a session description, alone or as a part of a multipart (RFC 5621).

Carriers put ISUP beside the description (RFC 3204, SIP-I), location beside an emergency call's (RFC 6442). What each
part is for stands in its Content-Disposition: a part that we do not know is left aside where its handling is optional,
and makes the whole body one that we cannot take (415) where it is required, which is the default (RFC 3261 §20.11).
"""

import itertools
import re
from collections import Counter
from dataclasses import dataclass
from typing import Final

from sip.errors import SipError, SipParseError
from sip.fields import Message
from sip.grammar import BARE_CONTROL, FOLD, TOKEN
from sip.header import MediaType, ParameterValue
from sip.headers import Headers

SDP: Final = "application/sdp"
MIXED: Final = "multipart/mixed"
ALTERNATIVE: Final = "multipart/alternative"
# RFC 5621 §3.1: who takes multipart bodies says so. "application/sdp" comes first: that is what is wanted.
ACCEPTED_TYPES: Final = (SDP, MIXED, ALTERNATIVE)

PART_LIMIT: Final = 16  # SIP-I has two; an emergency call with location and ISUP three or four
DEPTH_LIMIT: Final = 3  # multiparts within multiparts
PART_HEADER_LIMIT: Final = 16  # fields of one part: MIME knows five
BOUNDARY_LIMIT: Final = 70  # characters: RFC 2046 §5.1.1
# RFC 3261 §20.11: what a session description without Content-Disposition is for. Others (early-session, RFC 3959; by
# render a user is to read it) are no offer or answer of the session.
SESSION: Final = "session"
# Fields without which a plain session description needs no second look.
_DESCRIBING: Final = frozenset({"Content-Disposition", "content-transfer-encoding", "Content-Encoding"})

# boundary := 0*69<bchars> bcharsnospace ;  transport-padding := *LWSP-char (RFC 2046 §5.1.1)
_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]*[0-9A-Za-z'()+_,\-./:=?]")


class UnsupportedBodyError(SipError):
    """A body that holds what we cannot take, or cannot do without."""

    status = 415
    label = "content_type"


@dataclass(frozen=True, slots=True)
class _Part:
    headers: Headers
    data: bytes

    @property
    def media_type(self) -> MediaType:
        text = self.headers.get("Content-Type")
        return MediaType("text", "plain") if text is None else MediaType.parse(text)  # RFC 2046 §5.1

    @property
    def is_session(self) -> bool:
        """Whether it is a session description for the session, in an encoding that we read."""
        if self.media_type.essence != SDP or not _is_plain(self.headers):
            return False
        disposition = _disposition(self.headers)
        return disposition is None or disposition.value.lower() == SESSION

    @property
    def is_optional(self) -> bool:
        disposition = _disposition(self.headers)
        return disposition is not None and (disposition.params.get("handling") or "").lower() == "optional"


def session_description(message: Message) -> bytes:
    """The session description in the body of a message; empty where there is none.

    Raises:
        SipParseError: it has no Content-Type, is a malformed multipart, or holds two descriptions for one session.
        UnsupportedBodyError: it holds what we would have to understand and do not.
    """
    if not message.body:
        return b""
    if message.content_type is None:  # §20.15: it "MUST be present if the body is not empty"
        raise SipParseError("A body without Content-Type", label="content_type_missing")
    if message.content_type.essence == SDP and not message.headers.names() & _DESCRIBING:
        return message.body
    found = _descriptions(_Part(message.headers, message.body), DEPTH_LIMIT)
    if len(found) > 1:
        raise SipParseError("Two session descriptions for one session", label="multipart")
    return found[0] if found else b""


def take_description(message: Message, counters: Counter[str]) -> None:
    """Leaves nothing but the session description of a message that cannot be refused: a response, an ACK."""
    if not message.body:
        return
    try:
        message.body = session_description(message)
    except SipError as error:
        counters[f"body_{error.label}"] += 1
        message.body = b""


def typed(body: bytes) -> list[tuple[str, str]]:
    """The Content-Type of a session description that we send, where there is one."""
    return [("Content-Type", SDP)] if body else []


def _descriptions(part: _Part, depth: int) -> list[bytes]:
    try:
        return _understand(part, depth)
    except UnsupportedBodyError:
        if part.is_optional:
            return []
        raise


def _understand(part: _Part, depth: int) -> list[bytes]:
    if part.is_session:
        return [part.data]
    media_type = part.media_type
    if media_type.type.lower() != "multipart":
        raise UnsupportedBodyError(f"{media_type.essence} is not understood")
    if depth == 0:
        raise SipParseError(f"Multiparts are nested deeper than {DEPTH_LIMIT}", label="multipart")
    parts = _split(part)
    if media_type.essence == ALTERNATIVE:
        return _best_alternative(parts, depth)
    # RFC 2046 §5.1.3: a multipart of a kind that is not known is taken as mixed.
    return [found for inner in parts for found in _descriptions(inner, depth - 1)]


def _best_alternative(parts: list[_Part], depth: int) -> list[bytes]:
    """RFC 2046 §5.1.4: the last part that we understand; the alternatives are in order of increasing faithfulness."""
    for inner in reversed(parts):
        try:
            return _understand(inner, depth - 1)
        except UnsupportedBodyError:
            continue
    raise UnsupportedBodyError("No alternative is understood")


def _split(part: _Part) -> list[_Part]:
    boundary = part.media_type.params.get("boundary") or ""
    if len(boundary) > BOUNDARY_LIMIT or not _BOUNDARY.fullmatch(boundary):
        raise SipParseError("A multipart without usable boundary", label="multipart")
    # "The CRLF preceding the boundary delimiter line is conceptually attached to the boundary."
    delimiter = re.compile(rb"(?:\A|\r\n)--" + re.escape(boundary.encode()) + rb"(--)?[ \t]*(?=\r\n|\Z)")
    marks = []
    for mark in delimiter.finditer(part.data):
        marks.append(mark)
        if mark[1] or len(marks) > PART_LIMIT:
            break
    if not marks or not marks[-1][1] or len(marks) == 1:
        raise SipParseError("A multipart whose parts are not delimited, or too many", label="multipart")
    spans = itertools.pairwise(marks)
    return [_parse_part(part.data[begin.end() + 2 : end.start()]) for begin, end in spans]


def _parse_part(data: bytes) -> _Part:
    """MIME's header fields, which may be absent altogether, a blank line, and the data."""
    if data.startswith(b"\r\n"):
        return _Part(Headers(), data[2:])
    section, blank, rest = data.partition(b"\r\n\r\n")
    text = FOLD.sub(" ", section.decode("utf-8", "replace"))
    lines = text.split("\r\n", PART_HEADER_LIMIT)
    if not blank or len(lines) > PART_HEADER_LIMIT or BARE_CONTROL.search(text):
        raise SipParseError("A part of a multipart has malformed header fields", label="multipart")
    headers = Headers()
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not TOKEN.fullmatch(name.rstrip(" \t")) or "\n" in value or "\r" in value:
            raise SipParseError("A part of a multipart has a malformed header field", label="multipart")
        headers.add(name.rstrip(" \t"), value.strip(" \t"))
    return _Part(headers, rest)


def _disposition(headers: Headers) -> ParameterValue | None:
    """None also where it is malformed: the defaults then say what the part is for."""
    text = headers.get("Content-Disposition")
    try:
        return None if text is None else ParameterValue.parse(text)
    except SipParseError:
        return None


def _is_plain(headers: Headers) -> bool:
    """Whether the data stands as it is: SIP is eight bits wide, so nobody needs base64 (RFC 3261 §7.4.2)."""
    transfer = (headers.get("Content-Transfer-Encoding") or "binary").lower()
    encodings = [encoding.strip().lower() for encoding in headers.values("Content-Encoding")]
    return transfer in {"7bit", "8bit", "binary"} and all(encoding == "identity" for encoding in encodings)
