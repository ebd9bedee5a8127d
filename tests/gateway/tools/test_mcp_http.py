"""What a server says in events, cut to a bounded length."""

import json

import pytest

from gateway.tools.mcp_http import BoundedEvents

LIMIT = 2_000
LONG = "x" * (2 * LIMIT)
ERROR = b'{"id": 7}'


def fed(data: bytes, piece: int) -> tuple[bytes, int]:
    """What is handed on of a stream, and how often something was too long."""
    told: list[None] = []
    events = BoundedEvents(LIMIT, lambda: told.append(None), ERROR)
    said = b"".join(part for at in range(0, len(data), piece) for part in events.feed(data[at : at + piece]))
    return said + events.flush(), len(told)


def event(message: object, end: bytes) -> bytes:
    return b"event: message" + end + b"data: " + json.dumps(message).encode() + end + end


@pytest.mark.parametrize("piece", [1, 7, 1_999, 65_536])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_events_are_handed_on_as_they_are_however_they_come(piece: int, end: bytes) -> None:
    stream = b": ping" + end + end + event({"id": 1, "result": "y" * (LIMIT - 100)}, end) * 5 + b"data: not yet"
    assert fed(stream, piece) == (stream, 0)


@pytest.mark.parametrize("piece", [1, 999, 65_536])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize(
    ("message", "instead"),
    [
        ({"jsonrpc": "2.0", "id": 7, "result": {"text": LONG, "method": 5}}, b"data: " + ERROR + b"\n\n"),
        ({"result": LONG, "id": 7}, b"data: " + ERROR + b"\n\n"),
        ([LONG], b"data: " + ERROR + b"\n\n"),
        ({"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": LONG}}, b""),
        ({"jsonrpc": "2.0", "id": "a", "method": "sampling/createMessage", "params": {"x": LONG}}, b""),
    ],
)
def test_what_is_too_long_is_an_error_for_who_asked_or_is_passed_over(
    piece: int, end: bytes, message: object, instead: bytes
) -> None:
    short = event({"id": 1}, end)
    said, told = fed(short + event(message, end) + short, piece)
    assert told == 1
    assert said.replace(b"\r", b"").replace(b"\n", b"") == (short + instead + short).replace(b"\r", b"").replace(
        b"\n", b""
    )


def test_the_beginning_of_what_is_too_long_is_not_held() -> None:
    assert fed(b"data: " + LONG.encode(), 100) == (b"data: " + ERROR + b"\n\n", 1)
