"""Keys in SIP INFO requests: the two forms that PBXes send, and what is neither."""

import pytest

from gateway.call.keypad import KeyPress, key_press


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        ("application/dtmf-relay", b"Signal=5\r\nDuration=250\r\n", KeyPress("5", 250)),
        ("Application/DTMF-Relay; charset=utf-8", b"Signal= *\nDuration = 100", KeyPress("*", 100)),
        ("application/dtmf-relay", b"Signal=11\r\n", KeyPress("#", 160)),
        ("application/dtmf-relay", b"Signal=d\r\nDuration=99999\r\n", KeyPress("D", 10_000)),
        ("application/dtmf", b"7", KeyPress("7", 160)),
        ("application/dtmf", b" 10\r\n", KeyPress("*", 160)),
    ],
)
def test_a_key_is_read(content_type: str, body: bytes, expected: KeyPress) -> None:
    assert key_press(content_type, body) == expected


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/dtmf-relay", b"Signal=12\r\n"),
        ("application/dtmf-relay", b"Duration=100\r\n"),
        ("application/dtmf-relay", b"Signal=5" + b" " * 300),
        ("application/dtmf", b"hello"),
        ("application/media_control+xml", b"5"),
        (None, b"5"),
        ("application/dtmf-relay", b"\xff\x00"),
    ],
)
def test_what_is_no_key_is_none(content_type: str | None, body: bytes) -> None:
    assert key_press(content_type, body) is None
