"""What of a peer's description may be quoted."""

import base64

import pytest

from sip.sdp.excerpt import excerpt

KEY = base64.b64encode(bytes(range(7, 247, 8))).decode()


@pytest.mark.parametrize(
    "line",
    [
        f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}",
        f"crypto 1 AES_CM_128_HMAC_SHA1_80 {KEY[:9]} {KEY[9:]}",
        f" inline:{KEY}|2^31|1:1",
        f" INLINE:{KEY[:7]} {KEY[7:]}",
        f"base64:{KEY}",
        KEY,
        KEY[:20],
        KEY[20:],
        f"audio 4000 RTP/SAVP 0 {KEY}",
        "x" * 79 + KEY,
    ],
)
def test_no_piece_of_a_key_is_quoted(line: str) -> None:
    quoted = excerpt(line)
    assert not any(KEY[at : at + 6] in quoted for at in range(len(KEY) - 5))
    assert len(quoted) <= 80


@pytest.mark.parametrize(
    "line",
    [
        "audio 4000 UDP/TLS/RTP/SAVPF 0 101",
        "telephone-event/8000",
        "IN IP6 2001:db8:85a3:1234:5678:8a2e:370:7334",
        "- 3890844516 3890844516 IN IP4 media.frankfurt.carrier.example",
    ],
)
def test_what_is_no_key_is_quoted_as_it_was_written(line: str) -> None:
    assert excerpt(line) == line


def test_what_is_quoted_says_where_the_key_stood() -> None:
    assert excerpt(f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}") == "a=crypto <hidden>"
