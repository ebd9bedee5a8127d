"""SDP security descriptions: the values of `a=crypto` lines (RFC 4568, RFC 7714). No cipher work is done here.

A line that we can't honour to the letter (unknown suite, wrong key length, several keys, unencrypted streams, a
mandatory parameter that we don't know) is passed over as RFC 4568 §7.1.2 asks; when no line is left the stream is
refused.
Keys are hidden from every repr and never stand in an error's text.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice
from typing import Final

# Gives that many random bytes: os.urandom in production, seeded in tests.
KeySource = Callable[[int], bytes]

# crypto-attribute = tag 1*WSP crypto-suite 1*WSP key-params *(1*WSP session-param); tag = 1*9DIGIT
_CRYPTO: Final = re.compile(r"([0-9]{1,9})[ \t]+([A-Za-z0-9_]+)[ \t]+(\S+)((?:[ \t]+\S+)*)")

# srtp-key-info = key-salt ["|" lifetime] ["|" mki]; lifetime = ["2^"] 1*(DIGIT); mki = mki-value ":" mki-length
_INLINE: Final = re.compile(
    r"inline:([A-Za-z0-9+/]+)={0,2}(?:\|(2\^)?([0-9]{1,20}))?(?:\|([0-9]{1,20}):([0-9]{1,3}))?", re.IGNORECASE
)

# RFC 4568 §6.1: the default lifetime of a key is 2^48 SRTP packets, which is also the most that SRTP allows.
MAXIMUM_LIFETIME_PACKETS: Final = 2**48
# We don't change keys in mid-call on our own, so a key must last. Thirty minutes at 50 packets a second is the least
# that we take; phones that state a lifetime say 2^20 (six hours) or 2^31.
MINIMUM_LIFETIME_PACKETS: Final = 90_000


# RFC 4568 §6.1: "mki-length … is the size of the MKI field in bytes", 1 to 128.
MAXIMUM_MKI_BYTES: Final = 128

# A peer offers one line for each suite that it has, and no more than a dozen suites exist.
MAXIMUM_CRYPTO_LINES: Final = 16


class CryptoSuite(Enum):
    """Crypto-suites that libsrtp serves, by their names in RFC 4568 §6.2 and RFC 7714 §14.2."""

    AES_CM_128_HMAC_SHA1_80 = "AES_CM_128_HMAC_SHA1_80"
    AES_CM_128_HMAC_SHA1_32 = "AES_CM_128_HMAC_SHA1_32"
    AEAD_AES_128_GCM = "AEAD_AES_128_GCM"
    AEAD_AES_256_GCM = "AEAD_AES_256_GCM"

    @property
    def key_and_salt_bytes(self) -> int:
        """The length of master key and master salt together, which is what `inline:` carries."""
        return _KEY_AND_SALT_BYTES[self]


_KEY_AND_SALT_BYTES: Final = {
    CryptoSuite.AES_CM_128_HMAC_SHA1_80: 16 + 14,
    CryptoSuite.AES_CM_128_HMAC_SHA1_32: 16 + 14,
    CryptoSuite.AEAD_AES_128_GCM: 16 + 12,
    CryptoSuite.AEAD_AES_256_GCM: 32 + 12,
}

# What every carrier takes comes first: Twilio offers AES_CM_128_HMAC_SHA1_80 alone.
DEFAULT_SUITES: Final = (CryptoSuite.AES_CM_128_HMAC_SHA1_80, CryptoSuite.AES_CM_128_HMAC_SHA1_32)


@dataclass(frozen=True, slots=True)
class SrtpKeys:
    """The keys of one negotiated stream, each master key followed by its master salt.

    `tx` is the key that we advertised and encrypt with, `rx` the one that the peer advertised. `rx_mki` stands in each
    packet of the peer's, before the tag; ours have none.
    """

    suite: CryptoSuite
    tag: int
    tx: bytes = field(repr=False)
    rx: bytes = field(repr=False)
    rx_mki: bytes = b""


@dataclass(frozen=True, slots=True)
class CryptoLine:
    """One `a=crypto` line that can be honoured. `mki` is what its owner's packets carry to name the key."""

    tag: int
    suite: CryptoSuite
    key_and_salt: bytes = field(repr=False)
    mki: bytes = b""

    @classmethod
    def parse(cls, value: str) -> "CryptoLine | None":
        """Reads the value after `crypto:`. None means that this line must not be chosen."""
        match = _CRYPTO.fullmatch(value)
        if match is None or match[2] not in CryptoSuite.__members__:
            return None
        suite = CryptoSuite[match[2]]
        key = _key(match[3])
        if key is None or len(key[0]) != suite.key_and_salt_bytes:
            return None
        if not all(_may_be_ignored(parameter) for parameter in match[4].split()):
            return None
        return cls(int(match[1]), suite, *key)

    def __str__(self) -> str:
        return f"{self.tag} {self.suite.value} inline:{base64.b64encode(self.key_and_salt).decode()}"


def _key(key_params: str) -> tuple[bytes, bytes] | None:
    """The key of `inline:` with its salt, and its MKI or nothing. Several keys (";") don't match."""
    match = _INLINE.fullmatch(key_params)
    if match is None:
        return None
    if match[3] is not None and not _lasts(is_power=match[2] is not None, number=int(match[3])):
        return None
    try:
        # rtpengine leaves the padding out by default, which shows with the keys of the GCM suites.
        key_and_salt = base64.b64decode(match[1] + "=" * (-len(match[1]) % 4), validate=True)
        return key_and_salt, b"" if match[4] is None else _mki(int(match[4]), int(match[5]))
    except (binascii.Error, ValueError):
        return None


def _mki(value: int, length: int) -> bytes:
    """As it stands in a packet. Raises ValueError where the value does not fit its length."""
    if not 1 <= length <= MAXIMUM_MKI_BYTES or value >= 1 << 8 * length:
        raise ValueError(f"MKI {value} has no room in {length} bytes")
    return value.to_bytes(length)


def _lasts(*, is_power: bool, number: int) -> bool:
    if is_power:
        return number <= MAXIMUM_LIFETIME_PACKETS.bit_length() - 1 and 2**number >= MINIMUM_LIFETIME_PACKETS
    return MINIMUM_LIFETIME_PACKETS <= number <= MAXIMUM_LIFETIME_PACKETS


def _may_be_ignored(parameter: str) -> bool:
    """RFC 4568 §6.3.7: only parameters that begin with "-" may be ignored. WSH is a hint on the replay window,
    KDR=0 the default; all others change how packets are made, UNENCRYPTED_SRTP above all.
    """
    return parameter.startswith("-") or parameter.upper().startswith("WSH=") or parameter.upper() == "KDR=0"


def parse_crypto_lines(values: Iterable[str]) -> tuple[CryptoLine, ...]:
    """The usable lines in the peer's order, of the first MAXIMUM_CRYPTO_LINES.

    A tag is unique in its stream (RFC 4568 §4.1), so of two alike the first one counts.
    """
    lines: dict[int, CryptoLine] = {}
    for value in islice(values, MAXIMUM_CRYPTO_LINES):
        line = CryptoLine.parse(value)
        if line is not None:
            lines.setdefault(line.tag, line)
    return tuple(lines.values())
