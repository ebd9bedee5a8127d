"""URIs: sip:, sips:, tel:, and any other absolute URI taken as it stands (RFC 3261 §19.1, RFC 3966)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address
from typing import Final
from urllib.parse import unquote as unescape

from sip.errors import SipParseError
from sip.grammar import (
    ABSOLUTE_URI,
    GEN_VALUE,
    HOSTNAME,
    IPV4_ADDRESS,
    SIP_URI,
    TEL_URI,
    URI_PARAM,
    parse_number,
    quote,
    unquote,
)

PORT_LIMIT: Final = 65535
HOST_LIMIT: Final = 255  # octets, RFC 1035 §2.3.4
# RFC 3261 §19.1.4: these, when in one URI only, make two URIs differ. Transport is not in the rule's text but in its
# examples.
_NEVER_IGNORED: Final = ("user", "ttl", "method", "maddr", "transport")
_VISIBLE: Final = re.compile(r"[!-~]++")


class Params(tuple[tuple[str, str | None], ...]):
    """The parameters of a URI or a header value, in their order: (name, value), value None for a flag such as `;lr`.

    Names are compared without case. Values stand as on the wire; `get` takes the quotation marks off.
    """

    __slots__ = ()

    def get(self, name: str) -> str | None:
        """The value of `name`, unquoted. None when it is absent or a flag; `has` tells these apart."""
        name = name.lower()
        for key, value in self:
            if key.lower() == name:
                return unquote(value) if value is not None else None
        return None

    def has(self, name: str) -> bool:
        """Whether `name` is present, with a value or without."""
        name = name.lower()
        return any(key.lower() == name for key, _ in self)

    def with_(self, name: str, value: str | None = None) -> Params:
        """A copy where `name` has this value (None: is a flag), in its old place or at the end, quoted if need be."""
        if value is not None and not GEN_VALUE.fullmatch(value):
            value = quote(value)
        lowered = name.lower()
        if not self.has(lowered):
            return Params((*self, (name, value)))
        return Params((key, value if key.lower() == lowered else old) for key, old in self)

    def without(self, name: str) -> Params:
        """A copy that lacks `name`."""
        name = name.lower()
        return Params(item for item in self if item[0].lower() != name)

    def __str__(self) -> str:
        return "".join([f";{name}" if value is None else f";{name}={value}" for name, value in self])


NO_PARAMS: Final = Params()


def collect_params(found: Iterable[tuple[str, str]], text: str) -> Params:
    """Makes Params of what a regex found: ("name", "") is a flag. A name that comes twice is an error (§7.3.1)."""
    params = Params([(name, value or None) for name, value in found])
    if len(params) > 1 and len({name.lower() for name, _ in params}) != len(params):
        raise SipParseError(f"A parameter comes twice in {text[:200]!r}")
    return params


def parse_port(text: str) -> int:
    """Reads a port, 1 to 65535. The range is checked here because `sendto` raises on what lies outside."""
    port = parse_number(text, PORT_LIMIT)
    if not port:
        raise SipParseError(f"Port {text[:20]!r} is not between 1 and {PORT_LIMIT}")
    return port


def is_host(text: str) -> bool:
    """Whether `text` is a host of RFC 3261: a host name, an IPv4 address, or an IPv6 address in brackets."""
    if IPV4_ADDRESS.fullmatch(text):
        return True
    if text[:1] == "[":
        return text[-1] == "]" and _is_ipv6(text[1:-1])
    if len(text) > HOST_LIMIT or HOSTNAME.fullmatch(text) is None:
        return False
    # "toplabel = ALPHA ...": what ends in a number can only be an address.
    return text[-1].isalpha() or not text.removesuffix(".").rpartition(".")[2].isdigit()


@lru_cache(maxsize=256)  # reading one takes 5 µs, and peers are few
def _is_ipv6(text: str) -> bool:
    try:
        # RFC 3261's ABNF generates three colons before an embedded IPv4 address. RFC 5118 §4.10: "an implementation
        # must tolerate" it.
        IPv6Address(text.replace(":::", "::", 1))
    except AddressValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Uri:
    """One URI. `str` of a parsed one gives back the very text that came.

    `user`, `password` and the `headers` pairs stand as on the wire, with their %-escapes; see `decoded_user`. `host`
    of an IPv6 address keeps its brackets. For tel: the number is `user` and `host` is empty; for a scheme that we do
    not know (the UA layer answers 416 to it) `user` is everything behind the colon.
    """

    scheme: str
    user: str | None = None
    password: str | None = None
    host: str = ""
    port: int | None = None
    params: Params = NO_PARAMS
    headers: tuple[tuple[str, str], ...] = ()
    _text: str = field(default="", init=False, repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> Uri:
        """Reads one URI, without brackets or white space around it. Raises SipParseError."""
        return _known_uri(text) if len(text) <= REMEMBERED_LENGTH else _read_uri(text)

    @classmethod
    def _from_sip(cls, match: re.Match[str]) -> Uri:
        scheme, user, password, host, port, params, headers = match.groups()
        if not is_host(host):
            raise SipParseError(f"{host[:200]!r} in a URI is not a host")
        return cls(
            scheme.lower(),
            user,
            password,
            host,
            parse_port(port) if port else None,
            collect_params(URI_PARAM.findall(params), params) if params else NO_PARAMS,
            tuple([_pair(header) for header in headers.split("&")]) if headers else (),
        )

    @property
    def is_sip(self) -> bool:
        """Whether the scheme is sip or sips: what a Request-URI, Contact or Route can be sent to."""
        return self.scheme in {"sip", "sips"}

    @property
    def decoded_user(self) -> str | None:
        """`user` with its escapes resolved: "%2B15551234" is "+15551234"."""
        return unescape(self.user, errors="replace") if self.user and "%" in self.user else self.user

    @property
    def transport(self) -> str | None:
        """The `transport` parameter in lower case."""
        value = self.params.get("transport")
        return value.lower() if value else None

    @property
    def lr(self) -> bool:
        """Whether the loose-routing flag is there (RFC 3261 §19.1.1), as `;lr` or, from older proxies, `;lr=on`."""
        return self.params.has("lr")

    @property
    def maddr(self) -> str | None:
        """The `maddr` parameter. Never a destination of ours when it comes from the wire."""
        return self.params.get("maddr")

    def header(self, name: str) -> str | None:
        """The value, with its escapes resolved, of one header in the "?" part."""
        return next((unescape(value) for key, value in self.headers if unescape(key).lower() == name.lower()), None)

    def equivalent(self, other: Uri) -> bool:
        """Compares as RFC 3261 §19.1.4 does. An absent port and an explicit default differ, as the RFC wants."""
        if not (self.is_sip and other.is_sip):
            return (
                self.scheme == other.scheme and _folded(self.user) == _folded(other.user) and self._params_match(other)
            )
        return (
            self.scheme == other.scheme
            and _decoded(self.user) == _decoded(other.user)
            and _decoded(self.password) == _decoded(other.password)
            and self.host.lower() == other.host.lower()
            and self.port == other.port
            and self._params_match(other)
            and _comparable(self.headers) == _comparable(other.headers)
        )

    def _params_match(self, other: Uri) -> bool:
        mine = {name.lower(): _folded(value) for name, value in self.params}
        theirs = {name.lower(): _folded(value) for name, value in other.params}
        if any((name in mine) != (name in theirs) for name in _NEVER_IGNORED):
            return False
        return all(theirs[name] == value for name, value in mine.items() if name in theirs)

    def __str__(self) -> str:
        return self._text or self._compose()

    def _compose(self) -> str:
        parts = [self.scheme, ":"]
        if self.user is not None:
            parts += [self.user, f":{self.password}" if self.password is not None else "", "@" if self.host else ""]
        parts += [self.host, f":{self.port}" if self.port is not None else "", str(self.params)]
        if self.headers:
            parts += ["?", "&".join(f"{name}={value}" for name, value in self.headers)]
        text = "".join(parts)
        if not _VISIBLE.fullmatch(text):
            raise ValueError(f"{text!r} holds characters that no URI may hold")
        return text


def _read_uri(text: str) -> Uri:
    if match := SIP_URI.fullmatch(text):
        uri = Uri._from_sip(match)
    elif match := TEL_URI.fullmatch(text):
        scheme, number, params = match.groups()
        uri = Uri(scheme.lower(), number, params=collect_params(URI_PARAM.findall(params), text))
    elif (match := ABSOLUTE_URI.fullmatch(text)) and match[1].lower() not in {"sip", "sips", "tel"}:
        uri = Uri(match[1].lower(), match[2])
    else:
        raise SipParseError(f"{text[:200]!r} is not a URI")
    object.__setattr__(uri, "_text", text)
    return uri


# The numbers that a trunk dials and the Contacts of its far ends come again and again; a value never changes.
REMEMBERED_URIS: Final = 1024
REMEMBERED_LENGTH: Final = 256
_known_uri: Final = lru_cache(maxsize=REMEMBERED_URIS)(_read_uri)


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def _decoded(text: str | None) -> str | None:
    return unescape(text, errors="surrogateescape") if text is not None else None


def _folded(text: str | None) -> str | None:
    return unescape(text, errors="surrogateescape").lower() if text is not None else None


def _comparable(headers: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    return sorted((unescape(name).lower(), unescape(value)) for name, value in headers)
