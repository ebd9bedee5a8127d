"""SRTP and SRTCP, RFC 3711, with keys agreed in the description (SDES, RFC 4568), over libsrtp.

Keys live in `SrtpKey` values whose text form hides them. A new key (re-INVITE) is a new session: its rollover counter
and replay window start afresh, as RFC 4568 section 6.4 wants it. A direction whose key stays keeps its session.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from pylibsrtp import ERRORS, Error, Policy, Session
from pylibsrtp._binding import ffi

from rtp.errors import RtpError
from rtp.statistics import Discard

MAX_PACKET_OCTETS: Final = 8192
"""As long as any datagram that is read: 200 ms of L16 are 6412 octets."""
FORMER_KEY_PACKETS: Final = 50
"""One second at 20 ms: a far end goes on with its old key until our answer has reached it."""
_REPLAYS: Final = frozenset((ERRORS[9], ERRORS[10], ERRORS[26]))


class SrtpSuite(Enum):
    """Crypto suites by their name in `a=crypto` (RFC 4568 section 6.2, RFC 7714 section 14)."""

    AES_CM_128_HMAC_SHA1_80 = "AES_CM_128_HMAC_SHA1_80"
    AES_CM_128_HMAC_SHA1_32 = "AES_CM_128_HMAC_SHA1_32"
    AEAD_AES_128_GCM = "AEAD_AES_128_GCM"
    AEAD_AES_256_GCM = "AEAD_AES_256_GCM"

    @property
    def material_octets(self) -> int:
        """Master key and master salt together, as `inline:` carries them."""
        return _MATERIAL_OCTETS[self]


_MATERIAL_OCTETS: Final = {
    SrtpSuite.AES_CM_128_HMAC_SHA1_80: 30,
    SrtpSuite.AES_CM_128_HMAC_SHA1_32: 30,
    SrtpSuite.AEAD_AES_128_GCM: 28,
    SrtpSuite.AEAD_AES_256_GCM: 44,
}
_TAG_OCTETS: Final = {SrtpSuite.AES_CM_128_HMAC_SHA1_80: (10, 10), SrtpSuite.AES_CM_128_HMAC_SHA1_32: (4, 10)}
"""Of SRTP and SRTCP: what stands behind the MKI. RFC 7714 section 8.2 has the tag of the others before it."""
_PROFILES: Final = {
    SrtpSuite.AES_CM_128_HMAC_SHA1_80: Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    SrtpSuite.AES_CM_128_HMAC_SHA1_32: Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
    SrtpSuite.AEAD_AES_128_GCM: Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    SrtpSuite.AEAD_AES_256_GCM: Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
}


class SrtpKeyError(RtpError):
    """The key material does not fit the suite, or libsrtp lacks the suite."""

    status = 488
    label = "srtp_key"


class SrtpError(RtpError):
    """A packet that is not authentic, was seen before, or cannot be processed. `discard` is its cause."""

    status = 400
    label = "srtp_packet"

    def __init__(self, message: str, discard: Discard) -> None:
        super().__init__(message)
        self.discard = discard


@dataclass(frozen=True, slots=True, repr=False)
class SrtpKey:
    """One direction's suite and key material. Its text form never shows the key.

    `mki` is the master key identifier that the far end's packets carry (RFC 3711 section 3.1), where it named one.
    """

    suite: SrtpSuite
    material: bytes
    mki: bytes = b""

    def __post_init__(self) -> None:
        wanted = self.suite.material_octets
        if len(self.material) != wanted:
            raise SrtpKeyError(f"{self.suite.value} takes {wanted} octets of key and salt, not {len(self.material)}")

    def __repr__(self) -> str:
        return f"SrtpKey({self.suite.value}, hidden)"


@dataclass(frozen=True, slots=True)
class SrtpKeys:
    """Both directions: each side sends with the key that it announced itself."""

    tx: SrtpKey
    rx: SrtpKey


def _session(key: SrtpKey, ssrc_type: int) -> Session:
    try:
        session = Session(Policy(key.material, ssrc_type, srtp_profile=_PROFILES[key.suite]))
    except Error as error:
        raise SrtpKeyError(f"libsrtp does not take {key.suite.value}: {error}") from error
    # pylibsrtp works in a buffer of 1500 octets, trailer included: too few for 50 ms of L16 at 16 kHz.
    session._cdata = ffi.new("char[]", MAX_PACKET_OCTETS)
    session._buffer = ffi.buffer(session._cdata)
    return session


class SrtpProtector:
    """Turns packets into SRTP packets of one key."""

    def __init__(self, key: SrtpKey) -> None:
        self._session = _session(key, Policy.SSRC_ANY_OUTBOUND)
        self.protect = self._session.protect
        """RTP to SRTP."""
        self.protect_rtcp = self._session.protect_rtcp
        """RTCP to SRTCP."""


class SrtpUnprotector:
    """Authenticates and decrypts packets of one key. Raises `SrtpError` and nothing else.

    `former` has the key of before: what is under way still comes with it, so it serves until the first packet of the
    new key, and not for long.
    """

    def __init__(self, key: SrtpKey, former: "SrtpUnprotector | None" = None) -> None:
        session = _session(key, Policy.SSRC_ANY_INBOUND)
        self._unprotect: Callable[[bytes], bytes] = session.unprotect
        self._unprotect_rtcp: Callable[[bytes], bytes] = session.unprotect_rtcp
        if key.mki:
            rtp_tag, rtcp_tag = _TAG_OCTETS.get(key.suite, (0, 0))
            self._unprotect = _without_mki(key.mki, rtp_tag, session.unprotect)
            self._unprotect_rtcp = _without_mki(key.mki, rtcp_tag, session.unprotect_rtcp)
        self._former = former
        self._former_left = FORMER_KEY_PACKETS
        if former is not None:
            former._former = None

    def unprotect(self, data: bytes) -> bytes:
        """SRTP to RTP."""
        try:
            plain = self._unprotect(data)
        except (Error, ValueError) as error:
            former = self._former
            if former is None:
                raise _refusal(error) from error
            self._former_left -= 1
            if not self._former_left:
                self._former = None
            return former.unprotect(data)
        self._former = None
        return plain

    def unprotect_rtcp(self, data: bytes) -> bytes:
        """SRTCP to RTCP."""
        try:
            return self._unprotect_rtcp(data)
        except (Error, ValueError) as error:
            if self._former is None:
                raise _refusal(error) from error
            return self._former.unprotect_rtcp(data)


def _without_mki(mki: bytes, tag_octets: int, unprotect: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Takes the MKI out first: it is not authenticated, and pylibsrtp knows nothing of it.

    Test tools copy the MKI of RFC 4568's examples into their lines and leave it out of their packets; since the tag
    decides in any case, such packets pass as they are.
    """

    def unprotect_named(data: bytes) -> bytes:
        end = len(data) - tag_octets
        start = end - len(mki)
        return unprotect(data[:start] + data[end:] if start > 0 and data[start:end] == mki else data)

    return unprotect_named


def _refusal(error: Exception) -> SrtpError:
    message = str(error)
    if isinstance(error, ValueError):
        return SrtpError("SRTP packet is longer than any audio packet", Discard.OVERSIZED)
    cause = Discard.REPLAY if message in _REPLAYS else Discard.AUTHENTICATION
    return SrtpError(f"SRTP packet was refused: {message}", cause)
