"""The values that header fields hold: addresses, Via, CSeq, media types, and lists of them (RFC 3261 §20 and §25).

All are frozen; `parse` takes unfolded text and raises SipParseError and nothing else; `str` writes what `parse` takes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from sip.errors import SipParseError
from sip.grammar import (
    ADDR_SPEC,
    CSEQ,
    GENERIC_PARAM,
    GENERIC_PARAMS,
    LIST_PART,
    MEDIA_TYPE,
    NAME_ADDR,
    PARAMETER_LIMIT,
    PARAMETER_VALUE,
    TOKEN,
    VIA,
    parse_number,
    quote,
    unquote,
)
from sip.uri import NO_PARAMS, PORT_LIMIT, Params, Uri, collect_params, is_host, parse_port

CSEQ_LIMIT: Final = 2**31 - 1  # §8.1.1.5: "less than 2**31"
# As many Vias as a message can gather that starts with the usual Max-Forwards.
LIST_LIMIT: Final = 70
# Contacts and routes. A call crosses a handful of proxies that record themselves, most of them twice.
ADDRESS_LIMIT: Final = 32


def parse_params(text: str) -> Params:
    """Reads the parameters behind a header value: "" or text that starts with ";"."""
    if not text:
        return NO_PARAMS
    if not GENERIC_PARAMS.fullmatch(text):
        if text.count(";") > PARAMETER_LIMIT:
            raise SipParseError(f"A value has more than {PARAMETER_LIMIT} parameters", label="limit")
        raise SipParseError(f"{text[:200]!r} is not a list of parameters")
    return collect_params(GENERIC_PARAM.findall(text), text)


def split_list(text: str, limit: int = LIST_LIMIT) -> list[str]:
    """Cuts a comma-separated list; a comma within quotation marks or angle brackets is no separator.

    Empty parts are errors: `1#element` of RFC 2616 would let them pass, RFC 3261's `element *(COMMA element)` does not.
    """
    if "," not in text:
        parts = [text.strip(" \t")]
    elif '"' in text or "<" in text:
        parts = _split_quoted(text, limit)
    else:
        parts = [part.strip(" \t") for part in text.split(",", limit + 1)]
    if len(parts) > limit:
        raise SipParseError(f"A list has more than {limit} values", status=513, label="limit")
    if not all(parts):
        raise SipParseError(f"A list has an empty value: {text[:200]!r}")
    return parts


def _split_quoted(text: str, limit: int) -> list[str]:
    parts, start, position = [], 0, 0
    while position < len(text):
        match = LIST_PART.match(text, position)
        if match is None:
            raise SipParseError(f"A quotation or an address is left open in {text[position : position + 200]!r}")
        position = match.end()
        if match[1]:
            parts.append(text[start : match.start()].strip(" \t"))
            start = position
            if len(parts) > limit:
                return parts
    parts.append(text[start:].strip(" \t"))
    return parts


@dataclass(frozen=True, slots=True)
class NameAddr:
    """An address with its display name and the parameters of the header field: From, To, Contact, Route, Diversion…

    `display_name` is what the name says, without quotation marks and escapes. None when there is none.
    """

    display_name: str | None
    uri: Uri
    params: Params = NO_PARAMS

    @classmethod
    def parse(cls, text: str) -> NameAddr:
        """Reads one name-addr or addr-spec with the parameters behind it. Raises SipParseError."""
        return _known_address(text) if len(text) <= REMEMBERED_LENGTH else _read_address(text)

    @classmethod
    def parse_list(cls, text: str) -> list[NameAddr]:
        """Reads a comma-separated list of addresses. Raises SipParseError."""
        return [cls.parse(part) for part in split_list(text)]

    @property
    def tag(self) -> str | None:
        """The dialog tag, or None."""
        return self.params.get("tag")

    def with_tag(self, tag: str) -> NameAddr:
        """A copy that carries this tag."""
        return replace(self, params=self.params.with_("tag", tag))

    def __str__(self) -> str:
        if self.display_name is None:
            return f"<{self.uri}>{self.params}"
        name = self.display_name
        return f"{name if TOKEN.fullmatch(name) else quote(name)} <{self.uri}>{self.params}"


def _read_address(text: str) -> NameAddr:
    if match := NAME_ADDR.fullmatch(text):
        quoted, plain, uri, params = match.groups()
        name = unquote(quoted) if quoted is not None else plain.strip(" \t") or None
        return NameAddr(name, Uri.parse(uri), parse_params(params))
    if match := ADDR_SPEC.fullmatch(text):
        return NameAddr(None, Uri.parse(match[1]), parse_params(match[2]))
    raise SipParseError(f"{text[:200]!r} is not an address")


# From and To come with each request of a dialog, and a peer's Contact in each of its calls; none of the values changes.
REMEMBERED_ADDRESSES: Final = 1024
REMEMBERED_LENGTH: Final = 256
_known_address: Final = lru_cache(maxsize=REMEMBERED_ADDRESSES)(_read_address)


@dataclass(frozen=True, slots=True)
class Via:
    """One hop: the transport, who sent it, and the parameters (RFC 3261 §20.42)."""

    transport: str
    host: str
    port: int | None = None
    params: Params = NO_PARAMS
    protocol: str = "SIP/2.0"

    @classmethod
    def parse(cls, text: str) -> Via:
        """Reads one via-parm. Raises SipParseError."""
        match = VIA.fullmatch(text)
        if match is None:
            raise SipParseError(f"{text[:200]!r} is not a Via value")
        name, version, transport, host, port, params = match.groups()
        if not is_host(host):
            raise SipParseError(f"{host[:200]!r} in a Via is not a host")
        return cls(transport, host, parse_port(port) if port else None, parse_params(params), f"{name}/{version}")

    @classmethod
    def parse_list(cls, text: str) -> list[Via]:
        """Reads a comma-separated list of via-parms. Raises SipParseError."""
        return [cls.parse(part) for part in split_list(text)]

    @property
    def branch(self) -> str | None:
        """The transaction's identifier; RFC 2543 peers send none."""
        return self.params.get("branch")

    @property
    def received(self) -> str | None:
        """The source address that some hop noted (§18.2.1). From the wire it is information, never a destination."""
        return self.params.get("received")

    @property
    def rport(self) -> int | str | None:
        """RFC 3581: None when absent, "" for the flag that asks (or a value that is no port), else the port noted."""
        value = self.params.get("rport")
        if value is None:
            return "" if self.params.has("rport") else None
        return parse_number(value, PORT_LIMIT) or ""

    def with_received(self, host: str, port: int | None = None) -> Via:
        """A copy with the source address noted (§18.2.1), and the port in `rport` (RFC 3581 §4) when one is given."""
        params = self.params.with_("received", host)
        return replace(self, params=params if port is None else params.with_("rport", str(port)))

    def __str__(self) -> str:
        port = "" if self.port is None else f":{self.port}"
        return f"{self.protocol}/{self.transport} {self.host}{port}{self.params}"


@dataclass(frozen=True, slots=True)
class CSeq:
    """Command sequence: `number` below 2**31, and the method that it counts."""

    number: int
    method: str

    @classmethod
    def parse(cls, text: str) -> CSeq:
        """Reads "number method". Raises SipParseError, also for 2**31 and more (§8.1.1.5)."""
        match = CSEQ.fullmatch(text)
        if match is None:
            raise SipParseError(f"{text[:200]!r} is not a CSeq")
        number = parse_number(match[1], CSEQ_LIMIT)
        if number is None:
            raise SipParseError(f"CSeq {match[1][:30]} is not below 2**31", label="cseq_overflow")
        return cls(number, match[2])

    def __str__(self) -> str:
        return f"{self.number} {self.method}"


@dataclass(frozen=True, slots=True)
class MediaType:
    """The type of a body, as Content-Type and Accept name it."""

    type: str
    subtype: str
    params: Params = NO_PARAMS

    @classmethod
    def parse(cls, text: str) -> MediaType:
        """Reads "type/subtype;parameters". Raises SipParseError."""
        match = MEDIA_TYPE.fullmatch(text)
        if match is None:
            raise SipParseError(f"{text[:200]!r} is not a media type")
        return cls(match[1], match[2], parse_params(match[3]))

    @property
    def essence(self) -> str:
        """The type without its parameters, in lower case: "application/sdp"."""
        return f"{self.type}/{self.subtype}".lower()

    def __str__(self) -> str:
        return f"{self.type}/{self.subtype}{self.params}"


@dataclass(frozen=True, slots=True)
class ParameterValue:
    """A value with parameters, the shape of Reason, Event, Session-Expires, Subscription-State, Replaces and many
    more.
    """

    value: str
    params: Params = NO_PARAMS

    @classmethod
    def parse(cls, text: str) -> ParameterValue:
        """Reads "value;parameters". Raises SipParseError."""
        match = PARAMETER_VALUE.fullmatch(text)
        if match is None or not (value := match[1].strip(" \t")):
            raise SipParseError(f"{text[:200]!r} is not a value with parameters")
        return cls(value, parse_params(match[2]))

    def __str__(self) -> str:
        return f"{self.value}{self.params}"
