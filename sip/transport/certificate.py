"""Whose certificate this is, and whether it is good enough for the host that we wanted: RFC 5922, sans-I/O.

A strict reading of RFC 5922 §7.2 refuses wildcard names ("*.pstn.twilio.com"), which is what Twilio presents; this
module takes them as RFC 6125 §6.4.3 does: one "*" that is the whole left-most label, and stands for exactly one label.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Final

# What SSLObject.getpeercert() gives, as far as it is read here.
PeerCertificate = Mapping[str, object]

_SIP_URI: Final = re.compile(r"sips?:(?://)?([^@;?]+)", re.IGNORECASE)
WILDCARD: Final = "*."
# A wildcard directly below a top-level domain would be somebody's mistake; "*.twilio.com" has two labels behind it.
LEAST_LABELS_BEHIND_WILDCARD: Final = 2


def names_of(certificate: PeerCertificate) -> tuple[str, ...]:
    """The SIP domain identities of a certificate: URIs, DNS names, IP addresses (RFC 5922 §7.1).

    The common name counts only where there is no subjectAltName of any such kind.
    """
    names: list[str] = []
    for kind, value in _pairs(certificate.get("subjectAltName")):
        if kind == "URI":
            # "A URI with a userpart MUST NOT be accepted as an identity" of a domain, so "@" ends the match.
            if (found := _SIP_URI.fullmatch(value)) is not None:
                names.append(_normal(found[1]))
        elif kind in {"DNS", "IP Address"}:
            names.append(_normal(value))
    if not names:
        subject = certificate.get("subject")
        relative_names = subject if isinstance(subject, tuple) else ()
        names = [_normal(value) for rdn in relative_names for kind, value in _pairs(rdn) if kind == "commonName"]
    return tuple(dict.fromkeys(names))


def is_certified(names: Iterable[str], host: str) -> bool:
    """Whether one of the names of a certificate is the host's. An IP address needs its own entry, never a wildcard."""
    wanted = _normal(host)
    is_address = _is_address(wanted)
    return any(name == wanted or (not is_address and _covers(name, wanted)) for name in names)


def belongs_to(names: Iterable[str], domains: Iterable[str]) -> bool:
    """Whether one of the names is a domain of these or lies below one.

    For peers that are reached by address: the Record-Route of Twilio says 54.172.60.0, its certificate *.twilio.com.
    """
    plain = [name.removeprefix(WILDCARD) for name in names]
    return any(name == domain or name.endswith(f".{domain}") for name in plain for domain in map(_normal, domains))


def _covers(name: str, wanted: str) -> bool:
    if not name.startswith(WILDCARD) or name.count(".") < LEAST_LABELS_BEHIND_WILDCARD:
        return False
    first, dot, rest = wanted.partition(".")
    return bool(first and dot) and rest == name.removeprefix(WILDCARD)


def _normal(name: str) -> str:
    name = name.strip("[]").rstrip(".").lower()
    return str(ipaddress.ip_address(name)) if _is_address(name) else name


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _pairs(value: object) -> Iterable[tuple[str, str]]:
    return [pair for pair in value if isinstance(pair, tuple) and len(pair) == 2] if isinstance(value, tuple) else []
