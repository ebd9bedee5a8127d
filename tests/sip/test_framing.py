"""Cutting streams into messages (RFC 3261 §18.3, RFC 5626 §3.5.1)."""

import random

import pytest

from sip.errors import SipParseError
from sip.framing import PING_BYTES, PONG_BYTES, KeepAlive, StreamFramer
from sip.message import parse_message
from sip.wire import BODY_LIMIT, HEADER_SECTION_LIMIT
from tests.helpers.vector import to_wire

HEAD = """OPTIONS sip:gw.example.net SIP/2.0
Via: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK1
From: <sip:j@192.0.2.1>;tag=1
To: <sip:gw.example.net>
Call-ID: stream
CSeq: 1 OPTIONS
"""
ONE = to_wire(HEAD + "Content-Length: <length>\n\nabc")
TWO = to_wire(HEAD + "X: y\nl :\n  0005\n\n\nabc")
NONE = to_wire(HEAD + "CONTENT-LENGTH:0\n\n")


def drain(framer: StreamFramer, *pieces: bytes) -> list[bytes | KeepAlive]:
    return [item for piece in pieces for item in framer.feed(piece)]


def test_pipelined_messages_come_out_one_by_one() -> None:
    framer = StreamFramer()
    assert drain(framer, ONE + TWO + NONE + ONE) == [ONE, TWO, NONE, ONE]
    assert not framer.unfinished
    assert [parse_message(message).body for message in (ONE, TWO, NONE)] == [b"abc", b"\r\nabc", b""]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_any_fragmentation_gives_the_same_messages(size: int) -> None:
    stream = ONE + NONE + TWO + ONE
    pieces = [stream[i : i + size] for i in range(0, len(stream), size)]
    assert drain(StreamFramer(), *pieces) == [ONE, NONE, TWO, ONE]


def test_random_fragmentation_gives_the_same_messages() -> None:
    source = random.Random(18_3)
    for _ in range(200):
        stream, expected = b"", list[bytes]()
        for _ in range(source.randrange(1, 6)):
            message = source.choice([ONE, TWO, NONE])
            stream, expected = stream + message, [*expected, message]
        framer = StreamFramer()
        items: list[bytes | KeepAlive] = []
        while stream:
            cut = source.randrange(1, 120)
            items += drain(framer, stream[:cut])
            stream = stream[cut:]
        assert items == expected


def test_unfinished_tells_a_half_message_from_an_idle_connection() -> None:
    framer = StreamFramer()
    seen = [framer.unfinished]
    for piece in (ONE[:20], ONE[20:-1], ONE[-1:]):
        drain(framer, piece)
        seen.append(framer.unfinished)
    assert seen == [False, True, True, False]


@pytest.mark.parametrize(
    ("pieces", "items"),
    [
        ([b"\r\n\r\n"], [KeepAlive.PING]),
        ([b"\r\n"], [KeepAlive.PONG]),
        ([b"\r\n", b"\r\n"], [KeepAlive.PONG, KeepAlive.PING]),
        ([b"\r", b"\n\r", b"\n"], [KeepAlive.PONG, KeepAlive.PING]),
        ([b"\r\n\r\n\r\n"], [KeepAlive.PING, KeepAlive.PONG]),
        ([b"\r\n\r\n" + ONE], [KeepAlive.PING, ONE]),
        ([ONE + b"\r\n", ONE, b"\r\n"], [ONE, KeepAlive.PONG, ONE, KeepAlive.PONG]),
    ],
)
def test_keep_alives_between_messages__rfc5626_3_5_1(pieces: list[bytes], items: list[bytes | KeepAlive]) -> None:
    framer = StreamFramer()
    assert drain(framer, *pieces) == items
    assert not framer.unfinished
    assert (PING_BYTES, PONG_BYTES) == (b"\r\n\r\n", b"\r\n")


@pytest.mark.parametrize(
    ("text", "status", "label", "answered"),
    [
        (HEAD + "\n", 400, "content_length", True),
        (HEAD + "Content-Length: 3\nContent-Length: 4\n\n", 400, "content_length", True),
        (HEAD + "Content-Length: 3\nl: 4\n\n", 400, "content_length", True),
        (HEAD + "Content-Length: -3\n\n", 400, "content_length", True),
        (HEAD + "Content-Length: 3, 3\n\n", 400, "content_length", True),
        (HEAD + "Content-Length: <repeat 6000 9>\n\n", 400, "content_length", True),
        (HEAD + f"Content-Length: {BODY_LIMIT + 1}\n\n", 413, "too_large", True),
        (HEAD + f"X: <repeat {HEADER_SECTION_LIMIT} x>", 513, "too_large", True),
        (f"<repeat {HEADER_SECTION_LIMIT + 4} x>", 513, "too_large", False),
        ("<lf>" + HEAD, 400, "line_end", False),
    ],
)
def test_stream_that_has_lost_its_place_ends(text: str, status: int, label: str, answered: bool) -> None:
    framer = StreamFramer()
    with pytest.raises(SipParseError) as caught:
        drain(framer, ONE + to_wire(text))
    assert (caught.value.status, caught.value.label) == (status, label)
    assert (caught.value.partial is not None) == answered
    assert not framer.unfinished
    assert drain(framer, ONE) == []


def test_equal_content_lengths_are_left_to_the_parser_to_refuse() -> None:
    twice = to_wire(HEAD + "Content-Length: 3\nl: 3\n\nabc")
    assert drain(StreamFramer(), twice) == [twice]
    with pytest.raises(SipParseError):
        parse_message(twice)


def test_content_length_in_the_body_or_within_a_value_is_no_field() -> None:
    message = to_wire(HEAD + "Subject: Content-Length: 9\nContent-Length: <length>\n\n\nContent-Length: 7\n")
    assert drain(StreamFramer(), message) == [message]


def test_body_of_exactly_the_limit_is_taken() -> None:
    message = to_wire(HEAD + f"Content-Length: <length>\n\n<repeat {BODY_LIMIT} x>")
    assert drain(StreamFramer(), message) == [message]
