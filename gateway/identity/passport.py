"""Identity headers (RFC 8224 §4) and the PASSporTs in them (RFC 8225), with the shaken and div extensions.

Everything here comes from the wire: sizes are bounded before anything is decoded, and only PassportError is raised.
"""

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import Any, Final

from gateway.identity.errors import PassportError
from gateway.identity.number import canonical_number
from gateway.identity.verdict import Attestation

# A shaken PASSporT with its header takes about 700 characters; div adds a claim.
HEADER_LIMIT: Final = 8_192
# Numbers in `dest`: a call has one, a conference invitation some.
DESTINATION_LIMIT: Final = 16
# RFC 7518 §3.4: r and s of P-256, 32 octets each.
SIGNATURE_BYTES: Final = 64
# 2**53 seconds: up to here a float holds every whole number.
LATEST_SECONDS: Final = 2**53

# Identity = signed-identity-digest SEMI ident-info *( SEMI ident-info-params )   (RFC 8224 §4)
# signed-identity-digest = 1*(base64-char / "."); ident-info = "info" EQUAL ident-info-uri; uri = LAQUOT ... RAQUOT
_IDENTITY: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)((?:[ \t]*;.*)?)", re.DOTALL)
_PARAMETER: Final = re.compile(
    r"[ \t]*+;[ \t]*+([A-Za-z0-9\-.!%*_+`'~]++)[ \t]*+=[ \t]*+(?:<([^<>\s]*+)>|\"([^\"\\]*+)\"|([^\s\";<>]++))"
)
_SHAKEN: Final = "shaken"
_DIV: Final = "div"
EXTENSIONS: Final = frozenset({_SHAKEN, _DIV})


@dataclass(frozen=True, slots=True)
class Passport:
    """One signed statement: `orig` calls `dest`, said at `issued_at` (seconds since 1970).

    Numbers are canonical: digits without plus sign. `diverted_from` is set in those of type div (RFC 8946 §4), and
    `attestation` in those of type shaken.
    """

    signing_input: bytes
    signature: bytes
    certificate_url: str
    orig: str
    dest: tuple[str, ...]
    issued_at: float
    attestation: Attestation | None = None
    diverted_from: str | None = None

    @property
    def is_diversion(self) -> bool:
        """Whether it hands an earlier one on to a new destination."""
        return self.diverted_from is not None

    @classmethod
    def parse(cls, value: str) -> "Passport | None":
        """Reads one Identity header value.

        Returns:
            None for an extension that we don't know: RFC 8224 §6.2.1 has the verifier pass over it.

        Raises:
            PassportError: the header, or what it holds, is malformed.
        """
        if len(value) > HEADER_LIMIT:
            raise PassportError(f"Identity header has {len(value)} characters; {HEADER_LIMIT} is the limit")
        match = _IDENTITY.fullmatch(value.strip())
        if match is None:
            raise PassportError("Identity header is no PASSporT in full form")
        header, claims = _decode_json(match[1], "header"), _decode_json(match[2], "claims")
        parameters = _parse_parameters(match[4])
        extension = header.get("ppt")
        if extension is not None and not isinstance(extension, str):
            raise PassportError("PASSporT has a ppt that is no word")
        if extension != parameters.get("ppt", extension):
            raise PassportError("ppt of the Identity header and of its PASSporT disagree")
        if extension not in EXTENSIONS:
            return None
        _check_header(header, parameters)
        return cls(
            signing_input=f"{match[1]}.{match[2]}".encode(),
            signature=_decode_signature(match[3]),
            certificate_url=header["x5u"],
            orig=_number(_member(claims, "orig").get("tn"), "orig"),
            dest=_destinations(_member(claims, "dest")),
            issued_at=_issued_at(claims),
            attestation=_attestation(claims) if extension == _SHAKEN else None,
            diverted_from=_number(_member(claims, "div").get("tn"), "div") if extension == _DIV else None,
        )


def _parse_parameters(text: str) -> dict[str, str]:
    parameters: dict[str, str] = {}
    position = 0
    while position < len(text.rstrip()):
        match = _PARAMETER.match(text, position)
        if match is None or match[1].lower() in parameters:
            raise PassportError("Identity header has malformed parameters")
        parameters[match[1].lower()] = next(value for value in match.groups()[1:] if value is not None)
        position = match.end()
    return parameters


def _check_header(header: dict[str, Any], parameters: dict[str, str]) -> None:
    """RFC 8225 §4 and §8: typ, alg, x5u, and the parameters that repeat them (RFC 8224 §4)."""
    if header.get("typ") != "passport":
        raise PassportError("PASSporT has a typ other than passport")
    if header.get("alg") != "ES256" or parameters.get("alg", "ES256") != "ES256":
        raise PassportError("PASSporT is not signed with ES256")
    if "crit" in header:
        raise PassportError("PASSporT asks for extensions of JWS that are not known here")  # RFC 7515 §4.1.11
    x5u = header.get("x5u")
    if not isinstance(x5u, str) or not x5u:
        raise PassportError("PASSporT names no certificate")
    if "info" not in parameters:
        raise PassportError("Identity header has no info")
    if parameters["info"] != x5u:
        raise PassportError("info of the Identity header and x5u of its PASSporT disagree")


def _decode(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise PassportError(f"PASSporT {what} is not base64url") from None


def _decode_signature(text: str) -> bytes:
    signature = _decode(text, "signature")
    if len(signature) != SIGNATURE_BYTES:
        raise PassportError(f"PASSporT signature has {len(signature)} bytes; ES256 has {SIGNATURE_BYTES}")
    return signature


def _decode_json(text: str, what: str) -> dict[str, Any]:
    try:
        value = json.loads(_decode(text, what), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):  # bad UTF-8 and JSON are ValueErrors
        raise PassportError(f"PASSporT {what} is not JSON") from None
    if not isinstance(value, dict):
        raise PassportError(f"PASSporT {what} is no JSON object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """RFC 7515 §4 and RFC 7519 §4: names must be unique, since two readers could disagree about which one counts."""
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name stands twice")
    return value


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _member(claims: dict[str, Any], name: str) -> dict[str, Any]:
    value = claims.get(name)
    if not isinstance(value, dict):
        raise PassportError(f"PASSporT has no {name}")
    return value


def _number(value: object, name: str) -> str:
    number = canonical_number(value) if isinstance(value, str) else None
    if number is None:
        raise PassportError(f"PASSporT has no telephone number in {name}")
    return number


def _destinations(dest: dict[str, Any]) -> tuple[str, ...]:
    """RFC 8225 §5.2.1: an array, even of one."""
    numbers = dest.get("tn")
    if not isinstance(numbers, list) or not 0 < len(numbers) <= DESTINATION_LIMIT:
        raise PassportError("PASSporT has no list of telephone numbers in dest")
    return tuple(_number(number, "dest") for number in numbers)


def _issued_at(claims: dict[str, Any]) -> float:
    issued_at = claims.get("iat")
    if isinstance(issued_at, bool) or not isinstance(issued_at, int | float):
        raise PassportError("PASSporT has no time of issue")
    if not abs(issued_at) < LATEST_SECONDS:  # written so that NaN is refused, and 10**400 is not turned into a float
        raise PassportError("PASSporT has a time of issue beyond all reason")
    return float(issued_at)


def _attestation(claims: dict[str, Any]) -> Attestation:
    """RFC 8588 §4 and §5: attest and origid are both required."""
    attest = claims.get("attest")
    if not isinstance(attest, str) or attest not in Attestation.__members__:
        raise PassportError("PASSporT has no attestation A, B or C")
    if not isinstance(claims.get("origid"), str):
        raise PassportError("PASSporT has no origid")
    return Attestation(attest)
