"""The server's side of digest access authentication (RFC 7616, RFC 3261 §22, RFC 8760).

    values = verifier.challenges(now)                                                   for a 401 or 407
    verdict, name = verifier.verify(values, method=…, request_uri=…, now=…)             for the next try

There is no random source and no clock here: the secret and `now` are passed in. Nothing that it says or does tells a
known name from an unknown one.
"""

import hashlib
import hmac
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from sip.digest import (
    ALGORITHMS,
    DigestAlgorithm,
    DigestChallenge,
    DigestCredentials,
    digest_response,
    parse_digest,
    password_hash,
)

# How long a nonce serves. Long enough that a busy peer is not challenged for every call, short enough to bound replay.
NONCE_LIFETIME_SECONDS: Final = 300.0
# Nonces that were answered correctly and may come again. Only who knows a password gets in here.
MAXIMUM_TRACKED_NONCES: Final = 4_096
# RFC 7616 §3.4: the nonce count lets the server detect replays. UDP reorders requests, so a count may come this late.
NONCE_COUNT_WINDOW: Final = 64

_SIGNATURE_BYTES: Final = 16
_SECRET_BYTES: Final = 16
# nc-value = 8LHEX; upper case is taken too, since the hash is over what was written.
# The first request with a nonce counts 1 (§3.4.1), so 0 is nobody's.
_NONCE_COUNT: Final = re.compile(r"(?!0{8})[0-9a-fA-F]{8}")
# Sixteen digits of milliseconds, eight of a serial number, then the signature over both.
_NONCE: Final = re.compile(rf"([0-9a-f]{{24}})([0-9a-f]{{{2 * _SIGNATURE_BYTES}}})")


class DigestVerdict(Enum):
    """What became of a request's credentials. Only ACCEPTED lets it pass; all others get a new challenge."""

    ACCEPTED = auto()
    MISSING = auto()  # no credentials for our realm
    MALFORMED = auto()  # they lack something, or ask for an algorithm that was not in the challenge
    REFUSED = auto()  # unknown name or wrong password: nothing tells which
    WRONG_URI = auto()  # made for another request
    STALE = auto()  # right, but the nonce is not ours any more, or is too old: challenge with stale=true
    REPLAYED = auto()  # right, but the nonce count was used before: challenge with stale=true

    @property
    def is_stale(self) -> bool:
        """Whether the peer knows the password, so that the next challenge says stale=true (RFC 7616 §3.3)."""
        return self in {DigestVerdict.STALE, DigestVerdict.REPLAYED}


@dataclass(slots=True)
class _NonceUse:
    """Which nonce counts were seen: the highest, and a bit for each of the ones just below it."""

    highest: int = 0
    seen: int = 0

    def take(self, count: int) -> bool:
        """Marks the count; False where it was seen, or is too far back to know."""
        if count > self.highest:
            self.seen = (self.seen << min(count - self.highest, NONCE_COUNT_WINDOW) | 1) & (1 << NONCE_COUNT_WINDOW) - 1
            self.highest = count
            return True
        bit = 1 << self.highest - count
        if self.highest - count >= NONCE_COUNT_WINDOW or self.seen & bit:
            return False
        self.seen |= bit
        return True


class DigestVerifier:
    """The server's side for one realm.

    Challenges cost no memory: a nonce is its time of issue and a serial number, signed with the secret. Only nonces
    that came back with a right answer are remembered, at most MAXIMUM_TRACKED_NONCES of them.

    Args:
        realm: what the peers' credentials are for.
        secret: at least 16 random bytes, known to this process only, since `now` is of this process only.
        password_of: the password of a name, None where there is no such name. Called for every verification.
        algorithms: those that are offered, the preferred one first (RFC 8760 §2.3).
    """

    def __init__(
        self,
        realm: str,
        secret: bytes,
        password_of: Callable[[str], str | None],
        *,
        algorithms: tuple[DigestAlgorithm, ...] = (DigestAlgorithm.SHA_256, DigestAlgorithm.MD5),
        nonce_lifetime_seconds: float = NONCE_LIFETIME_SECONDS,
    ) -> None:
        if len(secret) < _SECRET_BYTES:
            raise ValueError(f"The secret has {len(secret)} bytes; it needs at least {_SECRET_BYTES}")
        self._realm = realm
        self._secret = secret
        self._password_of = password_of
        self._algorithms = algorithms
        self._nonce_lifetime_seconds = nonce_lifetime_seconds
        self._serial = 0
        self._uses: OrderedDict[str, _NonceUse] = OrderedDict()
        self._forgotten_until = -1

    def challenges(self, now: float, *, stale: bool = False) -> tuple[str, ...]:
        """One header value for each algorithm, in order of preference, all with one nonce."""
        nonce = self._make_nonce(now)
        return tuple(
            str(DigestChallenge(self._realm, nonce, algorithm, qop="auth", stale=stale))
            for algorithm in self._algorithms
        )

    def verify(
        self, values: Iterable[str], *, method: str, request_uri: str | None, now: float
    ) -> tuple[DigestVerdict, str | None]:
        """Judges the Authorization (or Proxy-Authorization) values of a request.

        Args:
            values: the header's values; those for other realms are passed over (RFC 3261 §22.3).
            method: of the request.
            request_uri: as it stands in the request line; None where a proxy before us rewrites it.
            now: monotonic seconds.

        Returns:
            The verdict, and the name that was proved (for ACCEPTED, STALE and REPLAYED) or None.
        """
        parameters = self._ours(values)
        if parameters is None:
            return DigestVerdict.MISSING, None
        credentials = self._read(parameters)
        if credentials is None:
            return DigestVerdict.MALFORMED, None
        challenge, count, cnonce = credentials
        name, uri = parameters["username"], parameters["uri"]
        if not self._is_right(challenge, parameters, method, (count, cnonce)):
            return DigestVerdict.REFUSED, None
        if request_uri is not None and uri != request_uri:
            return DigestVerdict.WRONG_URI, None
        return self._use(challenge.nonce, int(count, 16), now), name

    def _ours(self, values: Iterable[str]) -> dict[str, str] | None:
        for value in values:
            parameters = parse_digest(value)
            if parameters is not None and parameters.get("realm") == self._realm:
                return parameters
        return None

    def _read(self, parameters: dict[str, str]) -> tuple[DigestChallenge, str, str] | None:
        """The challenge that is answered, with nonce count and cnonce. We always ask for qop, so it must be there."""
        algorithm = ALGORITHMS.get(parameters.get("algorithm", "MD5").lower())
        names = {"username", "nonce", "uri", "response", "cnonce", "nc", "qop"}
        if algorithm not in self._algorithms or not names <= parameters.keys():
            return None
        if parameters["qop"].lower() != "auth" or _NONCE_COUNT.fullmatch(parameters["nc"]) is None:
            return None
        challenge = DigestChallenge(self._realm, parameters["nonce"], algorithm, qop="auth")
        return challenge, parameters["nc"], parameters["cnonce"]

    def _is_right(
        self, challenge: DigestChallenge, parameters: dict[str, str], method: str, counted: tuple[str, str]
    ) -> bool:
        """Does the same work for names that don't exist, and compares in constant time."""
        password = self._password_of(parameters["username"])
        credentials = DigestCredentials(self._realm, parameters["username"], password or "")
        secret_hash = password_hash(challenge.algorithm, credentials)
        expected = digest_response(challenge, secret_hash, method, parameters["uri"], counted)
        given = parameters["response"].lower().encode("utf-8", "surrogateescape")
        return hmac.compare_digest(expected.encode(), given) and password is not None

    def _make_nonce(self, now: float) -> str:
        self._serial = (self._serial + 1) % 2**32
        issued = f"{int(now * 1000):016x}{self._serial:08x}"
        return issued + self._sign(issued)

    def _sign(self, issued: str) -> str:
        message = f"{issued}:{self._realm}".encode("utf-8", "surrogateescape")
        return hmac.new(self._secret, message, hashlib.sha256).hexdigest()[: 2 * _SIGNATURE_BYTES]

    def _use(self, nonce: str, count: int, now: float) -> DigestVerdict:
        """Takes the nonce count of a right answer, once."""
        match = _NONCE.fullmatch(nonce)
        if match is None or not hmac.compare_digest(self._sign(match[1]), match[2]):
            return DigestVerdict.STALE
        if now - _issued_seconds(nonce) > self._nonce_lifetime_seconds:
            return DigestVerdict.STALE
        use = self._uses.get(nonce)
        if use is None:
            if _issue_order(nonce) <= self._forgotten_until:
                return DigestVerdict.STALE
            use = self._uses[nonce] = _NonceUse()
            self._forget(now)
        return DigestVerdict.ACCEPTED if use.take(count) else DigestVerdict.REPLAYED

    def _forget(self, now: float) -> None:
        """Lets go of nonces that are too old, and of the earliest remembered beyond the limit.

        What is let go while it could still be used must not count as new: nothing issued up to then is accepted again
        unless it is still remembered.
        """
        while self._uses:
            nonce = next(iter(self._uses))
            if now - _issued_seconds(nonce) <= self._nonce_lifetime_seconds:
                if len(self._uses) <= MAXIMUM_TRACKED_NONCES:
                    break
                self._forgotten_until = max(self._forgotten_until, _issue_order(nonce))
            del self._uses[nonce]


def _issued_seconds(nonce: str) -> float:
    return int(nonce[:16], 16) / 1000


def _issue_order(nonce: str) -> int:
    """Time and serial together; serials tell nonces of one millisecond apart."""
    return int(nonce[:24], 16)
