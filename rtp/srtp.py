"""SRTP and SRTCP, RFC 3711, with keys agreed in the description (SDES, RFC 4568), over libsrtp.

Keys live in `SrtpKey` values whose text form hides them. A direction whose key stays keeps its session. A new key
(re-INVITE) is a new session. Whether its rollover counter goes on (RFC 3711 section 3.3.1) or begins at zero (as RFC
4568 section 7.1.4 has it for a new address), far ends do not agree: both are heard, and we begin at zero until we hear
that a far end goes on (docs/decisions/srtp-rekeying.md).
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from pylibsrtp import ERRORS, Error, Policy, Session
from pylibsrtp._binding import ffi

from rtp.errors import RtpError
from rtp.packet import HEADER, HEADER_OCTETS
from rtp.srtp_rollover import rollover_of, set_rollover
from rtp.statistics import Discard

MAX_PACKET_OCTETS: Final = 8192
"""As long as any datagram that is read: 200 ms of L16 are 6412 octets."""
FORMER_KEY_PACKETS: Final = 50
"""One second at 20 ms: a far end goes on with its old key until our answer has reached it."""
_HALF_OF_NUMBERS: Final = 0x8000
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
    """Turns packets into SRTP packets of one key.

    `rollover` is the counter that its first packet would have, had no key before it begun at zero.
    """

    def __init__(self, key: SrtpKey, rollover: int = 0) -> None:
        self._key = key
        self._session = _session(key, Policy.SSRC_ANY_OUTBOUND)
        self._held_back = rollover
        self._resumed = 0
        self.protect = self._session.protect
        """RTP to SRTP."""
        self.protect_rtcp = self._session.protect_rtcp
        """RTCP to SRTCP."""

    def continued_rollover(self, ssrc: int, sequence_number: int) -> int:
        """The rollover counter of this packet, the next, had no key ever begun at zero."""
        rollover = rollover_of(self._session, ssrc)
        if rollover is None:
            return self._held_back
        if rollover < self._resumed:
            return self._resumed  # nothing was sent since
        return self._held_back + rollover + (sequence_number == 0)

    def continue_rollover(self, ssrc: int, sequence_number: int) -> None:
        """From this packet on, the next, the rollover counter is what it would be had no key begun at zero.

        It only grows, so no index is used twice with this key.
        """
        if self._held_back:
            resumed = self.continued_rollover(ssrc, sequence_number)
            if _place(self._session, self._key, ssrc, resumed):
                self._held_back, self._resumed = 0, resumed


class SrtpUnprotector:
    """Authenticates and decrypts packets of one key. Raises `SrtpError` and nothing else.

    `former` has the key of before: what is under way still comes with it, so it serves until the first packet of the
    new key, and not for long.
    """

    def __init__(self, key: SrtpKey, former: "SrtpUnprotector | None" = None) -> None:
        self._key = key
        self._session = session = _session(key, Policy.SSRC_ANY_INBOUND)
        self._unprotect: Callable[[bytes], bytes] = session.unprotect
        self._unprotect_rtcp: Callable[[bytes], bytes] = session.unprotect_rtcp
        if key.mki:
            rtp_tag, rtcp_tag = _TAG_OCTETS.get(key.suite, (0, 0))
            self._unprotect = _without_mki(key.mki, rtp_tag, session.unprotect)
            self._unprotect_rtcp = _without_mki(key.mki, rtcp_tag, session.unprotect_rtcp)
        self._key_change: _KeyChange | None = None
        if former is not None:
            unused, former._key_change = former._key_change, None
            self._key_change = _KeyChange(former, former._session if unused is None else unused.last_heard)
        self.on_rollover_continued: Callable[[], None] | None = None
        """Told once, where the far end's first packet of this key shows that its rollover counter was not reset."""

    def unprotect(self, data: bytes) -> bytes:
        """SRTP to RTP."""
        try:
            plain = self._unprotect(data)
        except (Error, ValueError) as error:
            if self._key_change is None:
                raise _refusal(error) from error
            return self._unprotect_between_keys(data, self._key_change, error)
        self._key_change = None
        return plain

    def unprotect_rtcp(self, data: bytes) -> bytes:
        """SRTCP to RTCP. Its index stands in the packet: nothing is guessed."""
        try:
            return self._unprotect_rtcp(data)
        except (Error, ValueError) as error:
            if self._key_change is None or not self._key_change.packets_left:
                raise _refusal(error) from error
            return self._key_change.former.unprotect_rtcp(data)

    def _unprotect_between_keys(self, data: bytes, key_change: "_KeyChange", error: Exception) -> bytes:
        """What is not of the new key with a counter of zero: of the new key counted on, or of the old one."""
        plain = self._unprotect_continued(data, key_change.last_heard)
        if plain is not None:
            self._key_change = None
            return plain
        if not key_change.packets_left:
            raise _refusal(error) from error
        key_change.packets_left -= 1
        return key_change.former.unprotect(data)

    def _unprotect_continued(self, data: bytes, last_heard: Session) -> bytes | None:
        """With the rollover counter that the SSRC had in another session, or one more where it may have wrapped since.

        Only an SSRC that was authentic there is tried, at most twice, and the tag decides.
        """
        if len(data) < HEADER_OCTETS:
            return None
        _, _, sequence_number, _, ssrc = HEADER.unpack_from(data)
        last = rollover_of(last_heard, ssrc)
        if last is None:
            return None
        for rollover in (last, last + 1) if sequence_number < _HALF_OF_NUMBERS else (last,):
            try:
                if not rollover or not _place(self._session, self._key, ssrc, rollover):
                    continue
                plain = self._unprotect(data)
            except (Error, ValueError):
                set_rollover(self._session, ssrc, 0)
                continue
            if last and self.on_rollover_continued is not None:
                self.on_rollover_continued()
            return plain
        return None


@dataclass(slots=True)
class _KeyChange:
    """Until the first packet of a new key."""

    former: SrtpUnprotector
    last_heard: Session
    """The last one that had packets: `former`'s, unless its key was replaced unused."""
    packets_left: int = FORMER_KEY_PACKETS


def _place(session: Session, key: SrtpKey, ssrc: int, rollover: int) -> bool:
    """Puts the next packet of an SSRC at this rollover counter, whether the session has met the SSRC or not."""
    if set_rollover(session, ssrc, rollover):
        return True
    session.add_stream(Policy(key.material, Policy.SSRC_SPECIFIC, ssrc, _PROFILES[key.suite]))
    return set_rollover(session, ssrc, rollover)


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
