"""RTCP packets, RFC 3550 section 6."""

import pytest
from aiortc.rtp import RtcpByePacket, RtcpPacket, RtcpSdesPacket, RtcpSrPacket
from hypothesis import given
from hypothesis import strategies as st

from rtp.errors import RtpParseError
from rtp.rtcp import MAX_COMPOUND_PACKETS, Bye, Report, ReportBlock, SenderInfo, SourceDescription, parse_compound

WORD = st.integers(0, 0xFFFFFFFF)
BLOCKS = st.builds(ReportBlock, WORD, st.integers(0, 255), st.integers(-(2**23), 2**23 - 1), WORD, WORD, WORD, WORD)
REPORTS = st.builds(
    Report,
    WORD,
    st.none() | st.builds(SenderInfo, st.integers(0, 2**64 - 1), WORD, WORD, WORD),
    st.lists(BLOCKS, max_size=31).map(tuple),
)


@given(REPORTS)
def test_every_report_survives_the_wire(report: Report) -> None:
    assert parse_compound(bytes(report)) == [report]


def test_another_implementation_reads_a_compound_the_same() -> None:
    block = ReportBlock(7, 64, -3, 65_541, 40, 0x12345678, 65_536)
    report = Report(5, SenderInfo(0xE1234567_80000000, 160, 10, 1600), (block,))
    sr, sdes, bye = RtcpPacket.parse(bytes(report) + bytes(SourceDescription(5, "gw@example")) + bytes(Bye((5,))))
    assert isinstance(sr, RtcpSrPacket)
    assert (sr.ssrc, sr.sender_info.packet_count, sr.sender_info.octet_count) == (5, 10, 1600)
    assert (sr.reports[0].packets_lost, sr.reports[0].fraction_lost, sr.reports[0].jitter) == (-3, 64, 40)
    assert isinstance(sdes, RtcpSdesPacket)
    assert sdes.chunks[0].items == [(1, b"gw@example")]
    assert isinstance(bye, RtcpByePacket)
    assert bye.sources == [5]


def test_names_and_unknown_types_are_stepped_over() -> None:
    feedback = bytes([0x81, 205, 0, 2]) + bytes(8)
    compound = bytes(SourceDescription(1, "x")) + feedback + bytes(Bye((1, 2)))
    assert parse_compound(compound) == [Bye((1, 2))]


def test_padding_is_no_block() -> None:
    padded = bytes([0xA0, 201, 0, 2]) + (9).to_bytes(4) + bytes([0, 0, 0, 4])
    assert parse_compound(padded) == [Report(9, None)]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "RTCP packet has truncated header at octet 0 of 0"),
        (bytes([0x40, 200, 0, 0]), "RTCP packet has version 1, not 2"),
        (bytes([0x80, 201, 0, 9]), "RTCP packet of 40 octets is truncated to 4"),
        (bytes([0xA0, 201, 0, 0]), "RTCP packet has 0 octets of padding in 0"),
        (bytes([0x80, 200, 0, 1]) + bytes(4), "RTCP sender report has 4 octets, fewer than 24"),
        (bytes([0x80, 201, 0, 0]), "RTCP receiver report has no SSRC"),
        (bytes([0x9F, 201, 0, 1]) + bytes(4), "RTCP report claims 31 blocks in 0 octets"),
        (bytes([0x9F, 203, 0, 1]) + bytes(4), "RTCP BYE names 31 sources in 4 octets"),
        (bytes([0x80, 205, 0, 0]) * 65, f"RTCP datagram holds more than {MAX_COMPOUND_PACKETS} packets"),
    ],
)
def test_contradictions_are_told_apart(data: bytes, message: str) -> None:
    with pytest.raises(RtpParseError) as caught:
        parse_compound(data)
    assert str(caught.value) == message


@given(st.binary(max_size=300) | st.binary(max_size=100).map(lambda data: b"\x81\xc8\x00\x06" + data))
def test_any_octets_are_reports_or_a_parse_error(data: bytes) -> None:
    try:
        parse_compound(data)
    except RtpParseError:
        return


def test_cumulative_loss_is_clamped_to_24_bits() -> None:
    (report,) = parse_compound(bytes(Report(1, None, (ReportBlock(1, 0, 2**30, 0, 0, 0, 0),))))
    assert isinstance(report, Report)
    assert report.blocks[0].cumulative_lost == 2**23 - 1
