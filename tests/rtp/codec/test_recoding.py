"""What waits to be sent when the codec changes: between the laws octet by octet."""

import pytest

from rtp.codec.format import PCMA, PCMU, PayloadFormat
from rtp.codec.g711 import decode_alaw, decode_ulaw, encode_alaw, encode_ulaw
from rtp.codec.recoding import recoding

EVERY_CODE = bytes(range(256))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (PCMA, PCMU, encode_ulaw(decode_alaw(EVERY_CODE))),
        (PCMU, PCMA, encode_alaw(decode_ulaw(EVERY_CODE))),
    ],
    ids=["PCMA-PCMU", "PCMU-PCMA"],
)
def test_every_octet_of_a_law_becomes_that_of_the_other(
    before: PayloadFormat, after: PayloadFormat, expected: bytes
) -> None:
    convert = recoding(before, after)
    assert convert(EVERY_CODE) == expected
    assert b"".join(convert(bytes([code])) for code in EVERY_CODE) == expected
