"""Session descriptions alone and in multiparts: RFC 5621, RFC 2046 §5.1, RFC 3204 (ISUP beside SDP)."""

import random
from collections import Counter

import pytest

from sip.body import DEPTH_LIMIT, PART_LIMIT, UnsupportedBodyError, session_description, take_description
from sip.errors import SipParseError
from sip.message import Request, Response
from sip.uri import Uri

DESCRIPTION = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\n"
ISUP = bytes(range(256))  # binary, with line breaks and NULs in it
BOUNDARY = "unique-boundary-1"

DESCRIBED = b"Content-Type: application/sdp\r\n\r\n" + DESCRIPTION
OPTIONAL_ISUP = (
    b"Content-Type: application/ISUP;version=itu-t92+\r\nContent-Disposition: signal;handling=optional\r\n\r\n" + ISUP
)
OPTIONAL_EARLY = b"Content-Type: application/sdp\r\nContent-Disposition: early-session;handling=optional\r\n\r\nv=0"
REQUIRED_ISUP = OPTIONAL_ISUP.replace(b"optional", b"required")


def joined(*parts: bytes, boundary: str = BOUNDARY, before: bytes = b"", behind: bytes = b"\r\n") -> bytes:
    mark = b"--" + boundary.encode()
    inner = b"".join(mark + b"\r\n" + part + b"\r\n" for part in parts)
    return before + inner + mark + b"--" + behind


def message(body: bytes, content_type: str | None = f"multipart/mixed;boundary={BOUNDARY}", **fields: str) -> Request:
    headers = [] if content_type is None else [("Content-Type", content_type)]
    headers += [(name.replace("_", "-"), value) for name, value in fields.items()]
    return Request("INVITE", Uri.parse("sip:a@example.com"), headers, body)


@pytest.mark.parametrize(
    "body",
    [
        joined(DESCRIBED),
        joined(DESCRIBED, OPTIONAL_ISUP),
        joined(OPTIONAL_ISUP, DESCRIBED),
        joined(DESCRIBED, OPTIONAL_ISUP, before=b"a preamble\r\n", behind=b"\r\nepilogue\r\n"),
        joined(DESCRIBED, behind=b""),
        joined(DESCRIBED).replace(BOUNDARY.encode() + b"\r\n", BOUNDARY.encode() + b"  \t\r\n"),  # transport padding
        joined(b"content-type : application/SDP ;charset=utf-8\r\nContent-Disposition: Session\r\n\r\n" + DESCRIPTION),
        joined(b"Content-Type:\r\n application/sdp\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + DESCRIPTION),
        joined(DESCRIBED, joined(OPTIONAL_ISUP, boundary="inner").join([
            b"Content-Type: multipart/mixed;boundary=inner\r\n\r\n", b"",
        ])),
        joined(DESCRIBED, b"Content-Disposition: render;handling=optional\r\n\r\nHello"),
        joined(DESCRIBED, OPTIONAL_EARLY),
    ],
)  # fmt: skip
def test_the_description_is_found_among_what_may_be_left_aside__rfc5621_3_1(body: bytes) -> None:
    assert session_description(message(body)) == DESCRIPTION


@pytest.mark.parametrize("boundary", ['"a b:=/?c"', "simple", '"' + "b" * 70 + '"'])
def test_boundaries_may_be_quoted__rfc2046_5_1_1(boundary: str) -> None:
    body = joined(DESCRIBED, OPTIONAL_ISUP, boundary=boundary.strip('"'))
    assert session_description(message(body, f"multipart/mixed; boundary={boundary}")) == DESCRIPTION


@pytest.mark.parametrize(
    "part",
    [
        REQUIRED_ISUP,
        b"Content-Type: application/ISUP\r\n\r\n" + ISUP,  # §20.11: handling is required where nothing is said
        b"Content-Type: application/ISUP\r\nContent-Disposition: <<;;\r\n\r\n" + ISUP,
        b"\r\nplain text, to be read",
        b"Content-Type: application/sdp\r\nContent-Disposition: early-session\r\n\r\nv=0",
        b"Content-Type: application/sdp\r\nContent-Transfer-Encoding: base64\r\n\r\ndj0w",
        b"Content-Type: application/sdp\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b",
    ],
)
def test_a_part_that_must_be_understood_and_is_not_is_unsupported__rfc5621_8_2(part: bytes) -> None:
    with pytest.raises(UnsupportedBodyError):
        session_description(message(joined(DESCRIBED, part)))


def test_a_multipart_that_may_be_left_aside_takes_its_parts_with_it__rfc5621_8_2() -> None:
    body = joined(DESCRIBED, REQUIRED_ISUP)
    assert session_description(message(body, Content_Disposition="session;handling=optional")) == b""


@pytest.mark.parametrize(
    ("parts", "found"),
    [
        ((b"\r\nwords", DESCRIBED), DESCRIPTION),
        ((DESCRIBED, b"Content-Type: application/x-better\r\n\r\nx"), DESCRIPTION),
        ((b"Content-Type: application/sdp\r\n\r\nv=worse\r\n", DESCRIBED), DESCRIPTION),
    ],
)
def test_the_last_alternative_that_is_understood_counts__rfc2046_5_1_4(parts: tuple[bytes, ...], found: bytes) -> None:
    assert session_description(message(joined(*parts), f"multipart/alternative;boundary={BOUNDARY}")) == found


def test_no_alternative_that_is_understood_is_unsupported__rfc2046_5_1_4() -> None:
    with pytest.raises(UnsupportedBodyError):
        session_description(message(joined(OPTIONAL_ISUP), f"multipart/alternative;boundary={BOUNDARY}"))


def test_an_unknown_multipart_is_taken_as_mixed__rfc2046_5_1_3() -> None:
    body = joined(DESCRIBED, OPTIONAL_ISUP)
    assert session_description(message(body, f"multipart/related;boundary={BOUNDARY}")) == DESCRIPTION


def test_a_multipart_without_description_has_none() -> None:
    assert session_description(message(joined(OPTIONAL_ISUP))) == b""


def nested(levels: int) -> tuple[bytes, str]:
    body, content_type = DESCRIPTION, "application/sdp"
    for level in range(levels):
        boundary = f"level{level}x"
        body = joined(f"Content-Type: {content_type}\r\n\r\n".encode() + body, boundary=boundary)
        content_type = f"multipart/mixed;boundary={boundary}"
    return body, content_type


def test_multiparts_are_nested_within_a_limit() -> None:
    assert session_description(message(*nested(DEPTH_LIMIT))) == DESCRIPTION
    with pytest.raises(SipParseError, match="nested deeper"):
        session_description(message(*nested(DEPTH_LIMIT + 1)))


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (DESCRIPTION, None),
        (joined(DESCRIBED), "multipart/mixed"),
        (joined(DESCRIBED), "multipart/mixed;boundary=other"),
        (joined(DESCRIBED), "multipart/mixed;boundary=" + "b" * 71),
        (joined(DESCRIBED), 'multipart/mixed;boundary="b\u00e9"'),
        (joined(DESCRIBED).removesuffix(b"--\r\n"), f"multipart/mixed;boundary={BOUNDARY}"),
        (joined(), f"multipart/mixed;boundary={BOUNDARY}"),
        (joined(b"no header field"), f"multipart/mixed;boundary={BOUNDARY}"),
        (joined(b"no header field\r\n\r\nx"), f"multipart/mixed;boundary={BOUNDARY}"),
        (joined(b"A: \x00\r\n\r\nx"), f"multipart/mixed;boundary={BOUNDARY}"),
        (joined(b"A: b\nC: d\r\n\r\nx"), f"multipart/mixed;boundary={BOUNDARY}"),
        (joined(b"Content-Type: nonsense\r\n\r\nx"), f"multipart/mixed;boundary={BOUNDARY}"),
        (joined(b"A: b\r\n" * 17 + b"\r\nx"), f"multipart/mixed;boundary={BOUNDARY}"),
        (joined(DESCRIBED, DESCRIBED), f"multipart/mixed;boundary={BOUNDARY}"),
        (joined(*[OPTIONAL_ISUP] * (PART_LIMIT + 1)), f"multipart/mixed;boundary={BOUNDARY}"),
    ],
)
def test_malformed_multiparts_are_faults(body: bytes, content_type: str | None) -> None:
    with pytest.raises(SipParseError):
        session_description(message(body, content_type))


def test_what_cannot_be_refused_is_left_without_body_and_counted() -> None:
    counters: Counter[str] = Counter()
    good, bad = (
        Response(200, headers=message(b"").headers, body=joined(DESCRIBED, p)) for p in (OPTIONAL_ISUP, REQUIRED_ISUP)
    )
    empty = Response(200)
    for response in (good, bad, empty):
        take_description(response, counters)
    assert (good.body, bad.body, empty.body) == (DESCRIPTION, b"", b"")
    assert counters == {"body_content_type": 1}


def test_mutated_multiparts_raise_nothing_else_and_are_cheap() -> None:
    source = random.Random(5621)
    sample = joined(OPTIONAL_ISUP, joined(DESCRIBED, boundary="inner"), DESCRIBED)
    morsels = [
        b"--" + BOUNDARY.encode(),
        b"\r\n",
        b"--",
        b"\r\n\r\n",
        b"Content-Type: ",
        b"multipart/mixed;boundary=inner",
        b":",
    ]
    for _ in range(3_000):
        body = bytearray(sample)
        for _ in range(source.randrange(1, 5)):
            at = source.randrange(len(body))
            body[at : at + source.randrange(12)] = source.choice(morsels)
        try:
            found = session_description(message(bytes(body)))
        except (SipParseError, UnsupportedBodyError):
            continue
        assert found in bytes(body)
