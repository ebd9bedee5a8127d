"""What we can do and where we are: the caller's half of a negotiation."""

import functools
from dataclasses import dataclass, field
from enum import Enum, auto
from ipaddress import ip_address
from typing import Final

from sip.sdp.codec import CodecSpec
from sip.sdp.crypto import DEFAULT_SUITES, CryptoSuite, KeySource
from sip.sdp.description import Connection, Origin

# Far more than any peer offers, and few enough that dynamic payload types (32 of them) never run out.
MAXIMUM_CODECS: Final = 16

# RFC 8866 §5.2: "-" where the concept of user IDs does not exist. It also tells strangers nothing.
ORIGIN_USERNAME: Final = "-"

# Addresses that a process gives its far ends: one for each of its listeners at most.
_OWN_ADDRESSES: Final = 64


class SrtpMode(Enum):
    """What a trunk wants of its media."""

    FORBIDDEN = auto()  # plain RTP only
    ALLOWED = auto()  # as offered; secure where both are offered; our own offers are plain
    REQUIRED = auto()  # SRTP only, plain is refused


@dataclass(frozen=True, slots=True)
class SrtpPolicy:
    """Whether media is encrypted, and the crypto-suites that we take or offer, in our order of preference."""

    mode: SrtpMode = SrtpMode.FORBIDDEN
    suites: tuple[CryptoSuite, ...] = DEFAULT_SUITES


class CodecPreference(Enum):
    """Whose order decides when an offer has several codecs that we take."""

    OURS = auto()
    THEIRS = auto()


@dataclass(frozen=True, slots=True)
class AudioCapabilities:
    """What our media side can do on one audio stream; `codecs` is in order of preference and never empty.

    `ptime_ms` is what we send unless the peer asks otherwise, `further_ptimes_ms` what else we could send.
    `comfort_noise` and `rtcp_mux` say that the media side handles them, so they are accepted and offered.
    """

    codecs: tuple[CodecSpec, ...]
    telephone_event: bool = True
    ptime_ms: int = 20
    srtp: SrtpPolicy = field(default_factory=SrtpPolicy)
    further_ptimes_ms: tuple[int, ...] = ()
    preference: CodecPreference = CodecPreference.OURS
    comfort_noise: bool = False
    rtcp_mux: bool = False

    def __post_init__(self) -> None:
        if not 1 <= len(self.codecs) <= MAXIMUM_CODECS:
            raise ValueError(f"Between 1 and {MAXIMUM_CODECS} codecs are needed, not {len(self.codecs)}")

    def choose_ptime_ms(self, codec: CodecSpec, wanted_ms: int | None, maximum_ms: int | None) -> int:
        """The packet time that we send at: the peer's wish where we can, never above its maximum where we can help it.

        Falls back to the shortest that we have, since RFC 8866 §6.4 makes both attributes advice, not law.
        """
        possible = [
            ptime
            for ptime in (self.ptime_ms, *self.further_ptimes_ms)
            if not codec.ptimes_ms or ptime in codec.ptimes_ms
        ] or [self.ptime_ms]
        allowed = [ptime for ptime in possible if maximum_ms is None or ptime <= maximum_ms]
        if wanted_ms in allowed:
            return wanted_ms
        return allowed[0] if allowed else min(possible)


@functools.lru_cache(maxsize=_OWN_ADDRESSES)
def _address_type(address: str) -> str:
    return f"IP{ip_address(address).version}"


@dataclass(frozen=True, slots=True)
class LocalMedia:
    """Where the peer's media shall come to, and the identity of our description.

    `address` is the address to advertise (the public one behind 1:1 NAT), `port` the RTP port with RTCP on the next.
    `session_id` should be random and stays the same for the whole call; `version` is the least session version to
    write: a description that follows an earlier one in the same call always gets a higher one.
    `key_source` is called with a number of bytes when a stream needs a new SRTP key: os.urandom in production.
    """

    address: str
    port: int
    session_id: int
    key_source: KeySource = field(repr=False)
    version: int = 1

    @property
    def address_type(self) -> str:
        """The family of our address: "IP4" or "IP6"."""
        return _address_type(self.address)

    @property
    def connection(self) -> Connection:
        """Our `c=` line."""
        return Connection(self.address, self.address_type)

    def origin(self, session_version: int) -> Origin:
        """Our `o=` line in the call's first description."""
        return Origin(ORIGIN_USERNAME, self.session_id, session_version, self.address, self.address_type)
