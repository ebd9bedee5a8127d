"""The RTP packet, RFC 3550 section 5.1 and the header extension of section 5.3.1.

`RtpPacket` is the whole value, for tests and for whoever is not in a hurry. The receive path reads the fixed header
with `HEADER` and asks `payload_bounds` only when the first octet says that there is more than a fixed header.
"""

import struct
from dataclasses import dataclass
from typing import Final

from rtp.errors import Malformation, RtpParseError

HEADER: Final = struct.Struct("!BBHII")
HEADER_OCTETS: Final = HEADER.size
PLAIN_FIRST_OCTET: Final = 0x80
"""Version 2, no padding, no extension, no CSRC: what every telephone carrier sends."""

_EXTENSION_HEADER: Final = struct.Struct("!HH")
_VERSION: Final = 2
_PADDING: Final = 0x20
_EXTENSION: Final = 0x10
_CSRC_COUNT: Final = 0x0F
_MAX_CSRCS: Final = 15


@dataclass(frozen=True, slots=True)
class HeaderExtension:
    """The header extension: 16 bits that the profile defines, and whole 32-bit words."""

    profile: int
    data: bytes


@dataclass(frozen=True, slots=True)
class RtpPacket:
    """One RTP packet. `payload` is without padding; `padding_octets` counts the trailing octets, the count included."""

    payload_type: int
    sequence_number: int
    timestamp: int
    ssrc: int
    payload: bytes
    marker: bool = False
    csrcs: tuple[int, ...] = ()
    extension: HeaderExtension | None = None
    padding_octets: int = 0

    @classmethod
    def parse(cls, data: bytes) -> "RtpPacket":
        """Reads one datagram. Raises `RtpParseError` when a field contradicts the length or the version."""
        start, end = payload_bounds(data)
        first, second, sequence_number, timestamp, ssrc = HEADER.unpack_from(data)
        csrc_count = first & _CSRC_COUNT
        extension = None
        if first & _EXTENSION:
            offset = HEADER_OCTETS + 4 * csrc_count
            profile, _ = _EXTENSION_HEADER.unpack_from(data, offset)
            extension = HeaderExtension(profile, data[offset + 4 : start])
        return cls(
            payload_type=second & 0x7F,
            sequence_number=sequence_number,
            timestamp=timestamp,
            ssrc=ssrc,
            payload=data[start:end],
            marker=bool(second & 0x80),
            csrcs=struct.unpack_from(f"!{csrc_count}I", data, HEADER_OCTETS),
            extension=extension,
            padding_octets=len(data) - end,
        )

    def __bytes__(self) -> bytes:
        if len(self.csrcs) > _MAX_CSRCS:
            raise ValueError(f"An RTP packet carries at most 15 CSRCs, not {len(self.csrcs)}")
        if not 0 <= self.padding_octets <= 0xFF:
            raise ValueError(f"RTP padding is 0 to 255 octets, not {self.padding_octets}")
        first = _VERSION << 6 | len(self.csrcs)
        parts = [b"", struct.pack(f"!{len(self.csrcs)}I", *self.csrcs)]
        if self.extension is not None:
            words, rest = divmod(len(self.extension.data), 4)
            if rest:
                raise ValueError(f"A header extension is whole 32-bit words, not {len(self.extension.data)} octets")
            first |= _EXTENSION
            parts += [_EXTENSION_HEADER.pack(self.extension.profile, words), self.extension.data]
        parts.append(self.payload)
        if self.padding_octets:
            first |= _PADDING
            parts.append(bytes(self.padding_octets - 1) + bytes((self.padding_octets,)))
        second = self.payload_type | (0x80 if self.marker else 0)
        parts[0] = HEADER.pack(first, second, self.sequence_number, self.timestamp, self.ssrc)
        return b"".join(parts)


def payload_bounds(data: bytes) -> tuple[int, int]:
    """Where the payload begins and ends: CSRCs, header extension and padding lie outside.

    Raises `RtpParseError` when CC, X or P claim more than the datagram holds. An empty payload is valid (keep-alives).
    """
    size = len(data)
    if size < HEADER_OCTETS:
        raise RtpParseError(f"RTP packet has {size} octets, fewer than its fixed header of {HEADER_OCTETS}")
    first = data[0]
    if first >> 6 != _VERSION:
        raise RtpParseError(f"RTP packet has version {first >> 6}, not 2", Malformation.VERSION)
    start = HEADER_OCTETS + 4 * (first & _CSRC_COUNT)
    if start > size:
        raise RtpParseError(f"RTP packet has truncated CSRC: {first & _CSRC_COUNT} claimed", Malformation.CSRC)
    if first & _EXTENSION:
        if start + 4 > size:
            raise RtpParseError("RTP packet has truncated extension header", Malformation.EXTENSION)
        _, words = _EXTENSION_HEADER.unpack_from(data, start)
        start += 4 + 4 * words
        if start > size:
            raise RtpParseError(f"RTP packet has truncated extension: {words} words claimed", Malformation.EXTENSION)
    if not first & _PADDING:
        return start, size
    # RFC 3550 section 5.1: "The last octet of the padding contains a count of how many padding octets should be
    # ignored, including itself."
    padding = data[-1] if size > start else 0
    if not 0 < padding <= size - start:
        raise RtpParseError(f"RTP packet has {padding} octets of padding in {size - start}", Malformation.PADDING)
    return start, size - padding
