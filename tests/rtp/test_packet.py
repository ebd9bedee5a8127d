"""RTP packets, RFC 3550 section 5.1."""

import struct

import pytest
from aiortc.rtp import RtpPacket as AiortcPacket
from hypothesis import given
from hypothesis import strategies as st

from rtp.errors import Malformation, RtpParseError
from rtp.packet import HeaderExtension, RtpPacket, payload_bounds

PLAIN = bytes.fromhex("8000 3039 00000140 deadbeef") + b"\xff" * 160


def test_plain_packet_is_read_and_written_back() -> None:
    packet = RtpPacket.parse(PLAIN)
    assert packet == RtpPacket(0, 12345, 320, 0xDEADBEEF, b"\xff" * 160)
    assert bytes(packet) == PLAIN


@given(
    st.builds(
        RtpPacket,
        payload_type=st.integers(0, 127),
        sequence_number=st.integers(0, 0xFFFF),
        timestamp=st.integers(0, 0xFFFFFFFF),
        ssrc=st.integers(0, 0xFFFFFFFF),
        payload=st.binary(max_size=400),
        marker=st.booleans(),
        csrcs=st.lists(st.integers(0, 0xFFFFFFFF), max_size=15).map(tuple),
        extension=st.none()
        | st.builds(HeaderExtension, st.integers(0, 0xFFFF), st.binary(max_size=10).map(lambda data: data * 4)),
        padding_octets=st.integers(0, 255),
    )
)
def test_every_packet_survives_the_wire(packet: RtpPacket) -> None:
    assert RtpPacket.parse(bytes(packet)) == packet


def test_another_implementation_reads_the_same() -> None:
    packet = RtpPacket(8, 65535, 2**32 - 1, 1, b"sound", marker=True, csrcs=(7, 8), padding_octets=3)
    theirs = AiortcPacket.parse(bytes(packet))
    assert (theirs.payload_type, theirs.sequence_number, theirs.timestamp) == (8, 65535, 2**32 - 1)
    assert (theirs.csrc, theirs.marker, theirs.payload, theirs.padding_size) == ([7, 8], 1, b"sound", 3)


@pytest.mark.parametrize(
    ("data", "malformation", "message"),
    [
        (b"", Malformation.HEADER, "RTP packet has 0 octets, fewer than its fixed header of 12"),
        (PLAIN[:11], Malformation.HEADER, "RTP packet has 11 octets, fewer than its fixed header of 12"),
        (b"\x40" + PLAIN[1:], Malformation.VERSION, "RTP packet has version 1, not 2"),
        (b"\x8f" + PLAIN[1:40], Malformation.CSRC, "RTP packet has truncated CSRC: 15 claimed"),
        (b"\x90" + PLAIN[1:14], Malformation.EXTENSION, "RTP packet has truncated extension header"),
        (b"\x90" + PLAIN[1:], Malformation.EXTENSION, "RTP packet has truncated extension: 65535 words claimed"),
        (b"\xa0" + PLAIN[1:], Malformation.PADDING, "RTP packet has 255 octets of padding in 160"),
        (b"\xa0" + PLAIN[1:-1] + b"\x00", Malformation.PADDING, "RTP packet has 0 octets of padding in 160"),
        (b"\xa0" + PLAIN[1:12], Malformation.PADDING, "RTP packet has 0 octets of padding in 0"),
    ],
)
def test_lies_in_cc_x_and_p_are_told_apart(data: bytes, malformation: Malformation, message: str) -> None:
    with pytest.raises(RtpParseError) as caught:
        RtpPacket.parse(data)
    assert (caught.value.malformation, str(caught.value)) == (malformation, message)


@given(st.binary(max_size=200))
def test_any_octets_are_a_packet_or_a_parse_error(data: bytes) -> None:
    try:
        start, end = payload_bounds(data)
    except RtpParseError:
        return
    assert 12 <= start <= end <= len(data)


def test_the_whole_payload_may_be_padding() -> None:
    data = b"\xa0" + PLAIN[1:12] + b"\x00\x00\x03"
    assert RtpPacket.parse(data).payload == b""


def test_sixty_kilobytes_are_a_packet() -> None:
    data = PLAIN[:12] + bytes(60_000)
    assert len(RtpPacket.parse(data).payload) == 60_000


@pytest.mark.parametrize(
    "packet",
    [
        RtpPacket(0, 0, 0, 0, b"", csrcs=(0,) * 16),
        RtpPacket(0, 0, 0, 0, b"", padding_octets=256),
        RtpPacket(0, 0, 0, 0, b"", extension=HeaderExtension(1, b"abc")),
    ],
)
def test_what_the_header_cannot_say_is_not_written(packet: RtpPacket) -> None:
    with pytest.raises(ValueError, match="not"):
        bytes(packet)


def test_the_extension_lies_between_csrcs_and_payload() -> None:
    header = struct.pack("!BBHIII", 0x91, 0, 1, 2, 3, 4)
    packet = RtpPacket.parse(header + struct.pack("!HHI", 0xBEDE, 1, 5) + b"voice")
    assert packet.csrcs == (4,)
    assert packet.extension == HeaderExtension(0xBEDE, b"\0\0\0\x05")
    assert packet.payload == b"voice"
