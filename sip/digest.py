"""Digest access authentication: RFC 7616 as RFC 3261 §22 and RFC 8760 use it, with RFC 2617's challenges understood.

    challenge = choose_challenge(values, credentials)                        client: a 401 or 407 came
    value = authorize(challenge, credentials, method=…, uri=…, cnonce=…)

The server's side stands in `sip.digest_verifier`. There is no random source here: client nonces are passed in. The
algorithms are MD5, SHA-256 and SHA-512-256 with qop "auth", or "auth-int" where a challenge offers nothing else;
challenges with others (-sess) are passed over.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from sip.errors import SipError

# Real challenges and credentials have ten parameters at most.
MAXIMUM_PARAMETERS: Final = 32

# The text is one unfolded header value. Control characters are refused, so that none is ever echoed into a request.
# auth-scheme SP auth-param *(COMMA auth-param); auth-param = token EQUAL (token / quoted-string)  (RFC 3261 §25.1)
_SCHEME: Final = re.compile(r"[ \t]*([A-Za-z0-9\-.!%*_+`'~]+)[ \t]+")
_PARAMETER: Final = re.compile(
    r"[ \t]*+([A-Za-z0-9\-.!%*_+`'~]++)[ \t]*+=[ \t]*+"
    r"(?:\"((?:[^\"\\\x00-\x08\x0a-\x1f\x7f]|\\[^\x00-\x08\x0a-\x1f\x7f])*+)\"|([^\s\",\x00-\x1f\x7f]++))[ \t]*+(,|\Z)"
)
_ESCAPED: Final = re.compile(r"\\(.)")


class DigestAlgorithm(Enum):
    """By the names of RFC 7616 §6.1, the strongest first, which is our order of preference."""

    SHA_512_256 = "SHA-512-256"
    SHA_256 = "SHA-256"
    MD5 = "MD5"

    def digest(self, text: str) -> str:
        """The hash of the text's UTF-8 bytes in lower-case hexadecimal."""
        return self.digest_octets(text.encode("utf-8", "surrogateescape"))

    def digest_octets(self, octets: bytes) -> str:
        """The hash in lower-case hexadecimal."""
        return hashlib.new(_HASHES[self], octets, usedforsecurity=False).hexdigest()


_HASHES: Final = {
    DigestAlgorithm.SHA_512_256: "sha512_256",
    DigestAlgorithm.SHA_256: "sha256",
    DigestAlgorithm.MD5: "md5",
}
# By lower-case name: tokens are compared without case (RFC 3261 §7.3.1).
ALGORITHMS: Final = {algorithm.value.lower(): algorithm for algorithm in DigestAlgorithm}
_PREFERENCE: Final = list(DigestAlgorithm)
# The preferred one first.
_QOPS: Final = ("auth", "auth-int")


class ForeignRealm(SipError):  # noqa: N818 -- the class name is the reason itself
    """A challenge for another realm than the one that the credentials were configured for."""

    label = "digest_foreign_realm"


@dataclass(frozen=True, slots=True)
class DigestCredentials:
    """A name and a password, and the one realm that they are for."""

    realm: str
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class DigestChallenge:
    """One WWW-Authenticate or Proxy-Authenticate value that we can answer.

    `qop` is "auth", "auth-int" where that is all that is offered, or None for a challenge of the old kind (RFC 2617
    §3.2.1 left it out for RFC 2069's sake). "auth" first: back-to-back agents on the way change bodies.
    """

    realm: str
    nonce: str
    algorithm: DigestAlgorithm = DigestAlgorithm.MD5
    opaque: str | None = None
    qop: str | None = None
    stale: bool = False

    @classmethod
    def parse(cls, value: str) -> "DigestChallenge | None":
        """Reads one header value. None: not Digest, malformed, or with an algorithm or qop that we don't have.

        RFC 7616 §3.3: "If the algorithm is not understood, the challenge should be ignored".
        """
        parameters = parse_digest(value)
        if parameters is None or "realm" not in parameters or "nonce" not in parameters:
            return None
        algorithm = ALGORITHMS.get(parameters.get("algorithm", "MD5").lower())
        if algorithm is None:
            return None
        qop = None
        if "qop" in parameters:
            offered = {option.strip().lower() for option in parameters["qop"].split(",")}
            qop = next((option for option in _QOPS if option in offered), None)
            if qop is None:
                return None
        return cls(
            realm=parameters["realm"],
            nonce=parameters["nonce"],
            algorithm=algorithm,
            opaque=parameters.get("opaque"),
            qop=qop,
            stale=parameters.get("stale", "").lower() == "true",
        )

    def __str__(self) -> str:
        """As a server writes it; realm, nonce, opaque and qop quoted, algorithm and stale not (RFC 7616 §3.3)."""
        parts = [f"realm={_quoted(self.realm)}", f"nonce={_quoted(self.nonce)}"]
        if self.opaque is not None:
            parts.append(f"opaque={_quoted(self.opaque)}")
        parts.append(f"algorithm={self.algorithm.value}")
        if self.qop is not None:
            parts.append(f"qop={_quoted(self.qop)}")
        if self.stale:
            parts.append("stale=true")
        return f"Digest {', '.join(parts)}"


def choose_challenge(values: Iterable[str], credentials: DigestCredentials) -> DigestChallenge | None:
    """The challenge to answer among the header's values: of the credentials' realm, with the strongest algorithm.

    None means that there is none: credentials never go to another realm, whoever asks.
    """
    challenges = [challenge for challenge in map(DigestChallenge.parse, values) if challenge is not None]
    return min(
        (challenge for challenge in challenges if challenge.realm == credentials.realm),
        key=lambda challenge: (_PREFERENCE.index(challenge.algorithm), challenge.qop == "auth-int"),
        default=None,
    )


def is_worth_answering(challenge: DigestChallenge, answered: DigestChallenge | None) -> bool:
    """Whether another try makes sense after `answered` was refused with this challenge.

    RFC 7616 §3.3: without stale=true the name or the password is wrong, and so it will be the next time.
    """
    return answered is None or (challenge.stale and challenge.nonce != answered.nonce)


def authorize(
    challenge: DigestChallenge,
    credentials: DigestCredentials,
    *,
    method: str,
    uri: str,
    cnonce: str,
    nonce_count: int = 1,
    body: bytes = b"",
) -> str:
    """The value of the Authorization or Proxy-Authorization header.

    Args:
        challenge: from `choose_challenge`.
        credentials: must be for the challenge's realm.
        method: of the request that carries the header.
        uri: its Request-URI, as it is written in the request line.
        cnonce: 16 or more random characters of the client's own, new for each challenge.
        nonce_count: how many requests have been sent with this nonce, this one included.
        body: of the request, as it is sent; auth-int covers it.

    Raises:
        ForeignRealm: the credentials are not for this realm.
    """
    if challenge.realm != credentials.realm:
        raise ForeignRealm(f"Credentials for realm {credentials.realm!r} are not given to {challenge.realm[:80]!r}")
    count = f"{nonce_count:08x}"
    secret_hash = password_hash(challenge.algorithm, credentials)
    response = digest_response(challenge, secret_hash, method, uri, (count, cnonce), body)
    parts = [
        f"username={_quoted(credentials.username)}",
        f"realm={_quoted(challenge.realm)}",
        f"nonce={_quoted(challenge.nonce)}",
        f"uri={_quoted(uri)}",
        f'response="{response}"',
        f"algorithm={challenge.algorithm.value}",
    ]
    if challenge.opaque is not None:
        parts.append(f"opaque={_quoted(challenge.opaque)}")
    if challenge.qop is not None:
        parts += [f"qop={challenge.qop}", f"nc={count}", f"cnonce={_quoted(cnonce)}"]
    return f"Digest {', '.join(parts)}"


def password_hash(algorithm: DigestAlgorithm, credentials: DigestCredentials) -> str:
    """H(A1) of RFC 7616 §3.4.2."""
    return algorithm.digest(f"{credentials.username}:{credentials.realm}:{credentials.password}")


def digest_response(
    challenge: DigestChallenge,
    secret_hash: str,
    method: str,
    uri: str,
    counted: tuple[str, str],
    body: bytes = b"",
) -> str:
    """RFC 7616 §3.4.1; without qop as in RFC 2617 §3.2.2.1. `counted` is nc-value and cnonce."""
    digest = challenge.algorithm.digest
    # §3.4.3: A2 = Method ":" request-uri, and with auth-int ":" H(entity-body) after that.
    covered = f":{challenge.algorithm.digest_octets(body)}" if challenge.qop == "auth-int" else ""
    request_hash = digest(f"{method}:{uri}{covered}")
    if challenge.qop is None:
        return digest(f"{secret_hash}:{challenge.nonce}:{request_hash}")
    count, cnonce = counted
    return digest(f"{secret_hash}:{challenge.nonce}:{count}:{cnonce}:{challenge.qop}:{request_hash}")


def parse_digest(value: str) -> dict[str, str] | None:
    """The parameters of a Digest value by lower-case name; None for other schemes and for what is malformed.

    Any parameter may be quoted or not: deployed servers quote algorithm and stale, and leave qop bare. One that stands
    twice is malformed, since the two readers of such a header could disagree.
    """
    scheme = _SCHEME.match(value)
    if scheme is None or scheme[1].lower() != "digest":
        return None
    parameters: dict[str, str] = {}
    position, separator = scheme.end(), ","
    while separator == ",":
        match = _PARAMETER.match(value, position)
        if match is None or match[1].lower() in parameters or len(parameters) == MAXIMUM_PARAMETERS:
            return None
        parameters[match[1].lower()] = _ESCAPED.sub(r"\1", match[2]) if match[2] is not None else match[3]
        position, separator = match.end(), match[4]
    return parameters


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
