"""What one `m=audio` section of the peer's means: where media goes, which way, in which formats and packets."""

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from sip.sdp import grammar
from sip.sdp.codec import PayloadFormat, payload_formats
from sip.sdp.crypto import CryptoLine, parse_crypto_lines
from sip.sdp.description import MAXIMUM_PORT, Connection, Direction, MediaDescription, SessionDescription
from sip.sdp.errors import AddressFamilyMismatch, UnsupportedProfile, UnusableAddress
from sip.sdp.excerpt import excerpt

RemoteAddress = tuple[str, int]

_LIMITED_BROADCAST: Final = IPv4Address("255.255.255.255")
_ADDRESS_TYPES: Final = {4: "IP4", 6: "IP6"}


class Profile(Enum):
    """The RTP profiles that we speak; an answer always carries the offer's (RFC 3264 §6.1, RFC 4568 §7.1.2)."""

    AVP = "RTP/AVP"
    AVPF = "RTP/AVPF"
    SAVP = "RTP/SAVP"
    SAVPF = "RTP/SAVPF"

    @property
    def is_secure(self) -> bool:
        """Whether packets are SRTP."""
        return self is Profile.SAVP or self is Profile.SAVPF


_PROFILES: Final = {profile.value: profile for profile in Profile}


@dataclass(frozen=True, slots=True)
class RemoteStream:
    """One open audio stream of the peer's description.

    `address` is None where the peer must not be sent to: RFC 2543's way of holding, c=0.0.0.0 (RFC 3264 §8.4).
    `direction` is the peer's, already without receiving in that case.
    """

    index: int
    profile: Profile
    address: RemoteAddress | None
    rtcp_address: RemoteAddress | None
    rtcp_mux: bool
    direction: Direction
    formats: tuple[PayloadFormat, ...]
    crypto: tuple[CryptoLine, ...]
    ptime_ms: int | None
    maxptime_ms: int | None


def profile_of(media: MediaDescription) -> Profile:
    """Raises UnsupportedProfile for anything but plain RTP and SRTP with SDES keys."""
    profile = _PROFILES.get(media.protocol.upper())
    if profile is None:
        raise UnsupportedProfile(f"Media protocol {excerpt(media.protocol)} is not supported")
    return profile


def is_secure(media: MediaDescription) -> bool:
    """Whether the stream is SRTP, by a profile that we speak."""
    profile = _PROFILES.get(media.protocol.upper())
    return profile is not None and profile.is_secure


def is_open_audio(media: MediaDescription) -> bool:
    """Whether the section is an audio stream that is neither refused nor removed."""
    return media.media.lower() == "audio" and media.port != 0


def read_stream(
    description: SessionDescription,
    index: int,
    address_type: str,
    *,
    rtcp_mux: bool,
    known: Iterable[PayloadFormat] = (),
) -> RemoteStream:
    """Reads the stream at that index of `description.media`.

    Args:
        description: the peer's description.
        index: which m-line, counted from 0.
        address_type: "IP4" or "IP6", the family of our own media address.
        rtcp_mux: whether we take part in it; where we don't, RTCP has a port of its own (RFC 5761 §5.1.1).
        known: the formats of our own offer where the description is its answer.

    Raises:
        UnsupportedProfile, UnusableAddress, AddressFamilyMismatch: media can't flow.
    """
    media = description.media[index]
    profile = profile_of(media)
    host = _media_host(media.connection or description.connection, address_type)
    direction = media.direction or description.direction or Direction.SENDRECV
    if host is None:
        direction = direction.limited_to(Direction.SENDONLY)
    mux = rtcp_mux and media.attribute("rtcp-mux") is not None
    return RemoteStream(
        index=index,
        profile=profile,
        address=None if host is None else (host, media.port),
        rtcp_address=None if host is None else _rtcp_address(media, host, address_type, mux=mux),
        rtcp_mux=mux,
        direction=direction,
        formats=payload_formats(media, known),
        crypto=parse_crypto_lines(media.values("crypto")) if profile.is_secure else (),
        ptime_ms=_packet_time_ms(media.attribute("ptime")),
        maxptime_ms=_packet_time_ms(media.attribute("maxptime")),
    )


# Far ends whose address was judged lately: carriers send from a few dozen.
_JUDGED_HOSTS: Final = 1024


@functools.lru_cache(maxsize=_JUDGED_HOSTS)
def _media_host(connection: Connection | None, address_type: str) -> str | None:
    """The address to send to; None where the peer asks that nothing be sent."""
    if connection is None:
        raise UnusableAddress("Media has no connection address")
    # On IPv6 a name under .invalid stands where 0.0.0.0 stood on IPv4. Who holds names nowhere, of whatever family.
    if connection.address.lower().rstrip(".").endswith(".invalid"):
        return None
    address = _literal(connection.address)
    if address is not None and address.is_unspecified:
        return None
    if connection.address_type != address_type and connection.address_type in _ADDRESS_TYPES.values():
        # RFC 6157 (updating RFC 3264): the answer "MUST use the same network type" as the offer.
        raise AddressFamilyMismatch(
            f"Media address {excerpt(connection.address)} is {connection.address_type} and ours is {address_type}"
        )
    if address is None:
        # A host name would need DNS in the path of an incoming message. No carrier writes one.
        raise UnusableAddress(f"Media address {excerpt(connection.address)!r} is not an IP address")
    if address.is_multicast or address == _LIMITED_BROADCAST:
        raise UnusableAddress(f"Media address {address} is not a unicast address")
    if connection.address_type != _ADDRESS_TYPES[address.version]:
        raise UnusableAddress(f"Media address {address} is not of type {excerpt(connection.address_type)}")
    return str(address)


def _literal(text: str) -> IPv4Address | IPv6Address | None:
    """An IP address without zone; "/127" after a multicast group is left to fail as not unicast."""
    try:
        address = ip_address(text.partition("/")[0])
    except ValueError:
        return None
    return None if isinstance(address, IPv6Address) and address.scope_id is not None else address


def _rtcp_address(media: MediaDescription, host: str, address_type: str, *, mux: bool) -> RemoteAddress | None:
    """Where RTCP goes: a=rtcp (RFC 3605), or the next port (RFC 3550 §11); with rtcp-mux as if it were not there.

    None where the attribute names no port and address that we could send to.
    """
    if mux:
        return host, media.port
    value = media.attribute("rtcp")
    if value is None:
        return (host, media.port + 1) if media.port < MAXIMUM_PORT else None
    match = grammar.RTCP.fullmatch(value)
    if match is None or not 0 < int(match[1]) <= MAXIMUM_PORT:
        return None
    if match[3] is None:
        return host, int(match[1])
    try:
        rtcp_host = _media_host(Connection(match[3], match[2]), address_type)
    except (UnusableAddress, AddressFamilyMismatch):
        return None
    return None if rtcp_host is None else (rtcp_host, int(match[1]))


def _packet_time_ms(value: str | None) -> int | None:
    """A packet time in milliseconds; what is not a positive number is as good as absent."""
    match = None if value is None else grammar.PACKET_TIME.fullmatch(value)
    return int(match[1]) or None if match is not None else None
