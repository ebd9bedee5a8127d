"""RTCP packets, RFC 3550 section 6: sender and receiver reports, source description, BYE; compound in and out.

Only what an audio gateway says and understands has a value of its own. Other packet types (RFC 4585 feedback, XR) are
stepped over by their length.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from rtp.errors import RtpParseError

_HEADER: Final = struct.Struct("!BBH")
_SENDER: Final = struct.Struct("!IIIIII")
_BLOCK: Final = struct.Struct("!IIIIII")
_VERSION: Final = 2
_PADDING: Final = 0x20
_COUNT: Final = 0x1F
_CNAME: Final = 1
RTCP_TYPES: Final = range(192, 224)
"""RFC 5761 section 4: the second octet of RTCP packets, by which they are told from RTP."""
MAX_COMPOUND_PACKETS: Final = 64
"""More than any report carries; bounds what a hostile datagram of empty packets can cost."""


class RtcpType(IntEnum):
    """Packet types of section 12.1."""

    SENDER_REPORT = 200
    RECEIVER_REPORT = 201
    SOURCE_DESCRIPTION = 202
    BYE = 203


@dataclass(frozen=True, slots=True)
class ReportBlock:
    """What one side hears of a source (section 6.4.1). `fraction_lost` is a share of 256."""

    ssrc: int
    fraction_lost: int
    cumulative_lost: int
    extended_highest_sequence: int
    jitter: int
    """In RTP timestamp units."""
    last_sender_report: int
    """The middle 32 bits of the NTP timestamp of the last sender report; 0 before the first."""
    delay_since_last: int
    """In 1/65536 seconds."""

    def __bytes__(self) -> bytes:
        lost = max(-0x800000, min(self.cumulative_lost, 0x7FFFFF)) & 0xFFFFFF
        return _BLOCK.pack(
            self.ssrc,
            self.fraction_lost << 24 | lost,
            self.extended_highest_sequence & 0xFFFFFFFF,
            self.jitter & 0xFFFFFFFF,
            self.last_sender_report,
            self.delay_since_last & 0xFFFFFFFF,
        )


@dataclass(frozen=True, slots=True)
class SenderInfo:
    """What a sender says of itself (section 6.4.1)."""

    ntp: int
    """64 bits: seconds since 1900 and their fraction."""
    rtp_timestamp: int
    packets: int
    octets: int


@dataclass(frozen=True, slots=True)
class Report:
    """A sender report, or a receiver report when `sender` is None."""

    ssrc: int
    sender: SenderInfo | None
    blocks: tuple[ReportBlock, ...] = ()

    def __bytes__(self) -> bytes:
        body = struct.pack("!I", self.ssrc)
        packet_type = RtcpType.RECEIVER_REPORT
        if self.sender is not None:
            packet_type = RtcpType.SENDER_REPORT
            info = self.sender
            body = _SENDER.pack(
                self.ssrc,
                info.ntp >> 32 & 0xFFFFFFFF,
                info.ntp & 0xFFFFFFFF,
                info.rtp_timestamp & 0xFFFFFFFF,
                info.packets & 0xFFFFFFFF,
                info.octets & 0xFFFFFFFF,
            )
        return _packet(len(self.blocks), packet_type, body + b"".join(map(bytes, self.blocks)))


@dataclass(frozen=True, slots=True)
class SourceDescription:
    """The canonical name of one source (section 6.5.1), which every compound packet carries."""

    ssrc: int
    cname: str

    def __bytes__(self) -> bytes:
        name = self.cname.encode()[:255]
        chunk = struct.pack("!IBB", self.ssrc, _CNAME, len(name)) + name + b"\0"
        return _packet(1, RtcpType.SOURCE_DESCRIPTION, chunk + bytes(-len(chunk) % 4))


@dataclass(frozen=True, slots=True)
class Bye:
    """Sources that leave (section 6.6)."""

    ssrcs: tuple[int, ...]

    def __bytes__(self) -> bytes:
        return _packet(len(self.ssrcs), RtcpType.BYE, struct.pack(f"!{len(self.ssrcs)}I", *self.ssrcs))


RtcpPacket = Report | SourceDescription | Bye


def parse_compound(data: bytes) -> list[RtcpPacket]:
    """The packets of one datagram that are understood.

    Raises `RtpParseError` where lengths or the version contradict.
    """
    packets: list[RtcpPacket] = []
    offset = 0
    for _ in range(MAX_COMPOUND_PACKETS):
        if len(data) - offset < _HEADER.size:
            raise RtpParseError(f"RTCP packet has truncated header at octet {offset} of {len(data)}")
        first, packet_type, words = _HEADER.unpack_from(data, offset)
        if first >> 6 != _VERSION:
            raise RtpParseError(f"RTCP packet has version {first >> 6}, not 2")
        end = offset + 4 + 4 * words
        if end > len(data):
            raise RtpParseError(f"RTCP packet of {4 + 4 * words} octets is truncated to {len(data) - offset}")
        body = data[offset + 4 : end]
        if first & _PADDING:
            padding = body[-1] if body else 0
            if not 0 < padding <= len(body):
                raise RtpParseError(f"RTCP packet has {padding} octets of padding in {len(body)}")
            body = body[:-padding]
        packet = _parse_body(packet_type, first & _COUNT, body)
        if packet is not None:
            packets.append(packet)
        offset = end
        if offset == len(data):
            return packets
    raise RtpParseError(f"RTCP datagram holds more than {MAX_COMPOUND_PACKETS} packets")


def _parse_body(packet_type: int, count: int, body: bytes) -> RtcpPacket | None:
    if packet_type == RtcpType.SENDER_REPORT:
        if len(body) < _SENDER.size:
            raise RtpParseError(f"RTCP sender report has {len(body)} octets, fewer than {_SENDER.size}")
        ssrc, seconds, fraction, timestamp, packets, octets = _SENDER.unpack_from(body)
        info = SenderInfo(seconds << 32 | fraction, timestamp, packets, octets)
        return Report(ssrc, info, _parse_blocks(body, _SENDER.size, count))
    if packet_type == RtcpType.RECEIVER_REPORT:
        if len(body) < 4:
            raise RtpParseError("RTCP receiver report has no SSRC")
        return Report(int.from_bytes(body[:4]), None, _parse_blocks(body, 4, count))
    if packet_type == RtcpType.BYE:
        if len(body) < 4 * count:
            raise RtpParseError(f"RTCP BYE names {count} sources in {len(body)} octets")
        return Bye(struct.unpack_from(f"!{count}I", body))
    # Nobody's name is needed here: who sends is known from the address, and names are private.
    return None


def _parse_blocks(body: bytes, offset: int, count: int) -> tuple[ReportBlock, ...]:
    if len(body) < offset + count * _BLOCK.size:
        raise RtpParseError(f"RTCP report claims {count} blocks in {len(body) - offset} octets")
    blocks = []
    for index in range(count):
        ssrc, loss, highest, jitter, last, delay = _BLOCK.unpack_from(body, offset + index * _BLOCK.size)
        cumulative = (loss & 0xFFFFFF ^ 0x800000) - 0x800000
        blocks.append(ReportBlock(ssrc, loss >> 24, cumulative, highest, jitter, last, delay))
    return tuple(blocks)


def _packet(count: int, packet_type: RtcpType, body: bytes) -> bytes:
    return _HEADER.pack(_VERSION << 6 | count, packet_type, len(body) // 4) + body
