"""Session descriptions as values: `SessionDescription.parse` and `bytes()` (RFC 8866).

The parser takes what phones and carriers really write, and only that: each leniency below names its reason. It keeps
every attribute in order, so a description can be written again; lines that no telephone uses (i=, u=, e=, p=, r=, z=,
k=, b=) are checked for shape and position where that is cheap, and dropped, except bandwidths, which are kept.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Self

from sip.sdp import grammar
from sip.sdp.errors import SdpLimitExceeded, SdpParseError
from sip.sdp.excerpt import excerpt

# 64 kB is the largest UDP datagram, so no larger body reaches us over UDP; a stream transport stops it earlier (513).
MAXIMUM_DESCRIPTION_BYTES: Final = 65_536
# A telephone's offer has 15 to 40 lines, a browser's with ICE some hundreds.
MAXIMUM_LINES: Final = 1_000
# Telephones offer one to four streams. More are parsed, so that the refusal can say what is wrong.
MAXIMUM_MEDIA: Final = 64
# RTP payload types are seven bits wide, so an m-line has no use for more formats than that.
MAXIMUM_FORMATS: Final = 128
MAXIMUM_PORT: Final = 65_535

# RFC 8866 §5 names these and no others: a description with any other letter is not one that we understand.
_SESSION_LINES: Final = frozenset("vosiuepcbtrzka")
_MEDIA_LINES: Final = frozenset("micbka")
_SECRET_ATTRIBUTES: Final = frozenset({"crypto"})


class Direction(Enum):
    """The direction of a stream as its owner sees it (RFC 8866 §6.7)."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"

    @property
    def sends(self) -> bool:
        """Whether the owner sends media."""
        return self is Direction.SENDRECV or self is Direction.SENDONLY

    @property
    def receives(self) -> bool:
        """Whether the owner takes media."""
        return self is Direction.SENDRECV or self is Direction.RECVONLY

    @property
    def mirrored(self) -> "Direction":
        """The same stream as the other side sees it."""
        return Direction.of(sends=self.receives, receives=self.sends)

    def limited_to(self, other: "Direction") -> "Direction":
        """What both this direction and the other one allow."""
        return Direction.of(sends=self.sends and other.sends, receives=self.receives and other.receives)

    @classmethod
    def of(cls, *, sends: bool, receives: bool) -> "Direction":
        """The direction with these two properties."""
        if sends:
            return cls.SENDRECV if receives else cls.SENDONLY
        return cls.RECVONLY if receives else cls.INACTIVE


_DIRECTIONS: Final = {direction.value: direction for direction in Direction}


@dataclass(frozen=True, slots=True, repr=False)
class Attribute:
    """One `a=` line. `value` is None for a property attribute such as `sendrecv`."""

    name: str
    value: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `<name>[:<value>]`; raises SdpParseError."""
        name, colon, value = text.partition(":")
        if grammar.ATTRIBUTE_NAME.fullmatch(name) is None:
            raise SdpParseError(f"SDP attribute line is malformed: {excerpt(text)!r}")
        return cls(name, value if colon else None)

    def __str__(self) -> str:
        return self.name if self.value is None else f"{self.name}:{self.value}"

    def __repr__(self) -> str:
        """Hides keying material, so that a description may be logged."""
        if self.name in _SECRET_ATTRIBUTES and self.value is not None:
            return f"Attribute({self.name!r}, <hidden>)"
        return f"Attribute({self.name!r}, {self.value!r})"


@dataclass(frozen=True, slots=True)
class Origin:
    """The `o=` line. It identifies the session and its version and is never used as a media address."""

    username: str
    session_id: int
    session_version: int
    address: str
    address_type: str = "IP4"
    network_type: str = "IN"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads the value of an o= line; raises SdpParseError."""
        match = grammar.ORIGIN.fullmatch(text)
        if match is None:
            raise SdpParseError(f"SDP origin line is malformed: {excerpt(text)!r}")
        username, session_id, session_version, network_type, address_type, address = match.groups()
        return cls(username, int(session_id), int(session_version), address, address_type, network_type)

    def __str__(self) -> str:
        return (
            f"{self.username} {self.session_id} {self.session_version} "
            f"{self.network_type} {self.address_type} {self.address}"
        )


@dataclass(frozen=True, slots=True)
class Connection:
    """A `c=` line. `address` is kept as it was written; whether media can go there is the negotiation's question."""

    address: str
    address_type: str = "IP4"
    network_type: str = "IN"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads the value of a c= line; raises SdpParseError."""
        match = grammar.CONNECTION.fullmatch(text)
        if match is None:
            raise SdpParseError(f"SDP connection line is malformed: {excerpt(text)!r}")
        return cls(match[3], match[2], match[1])

    def __str__(self) -> str:
        return f"{self.network_type} {self.address_type} {self.address}"


@dataclass(frozen=True, slots=True)
class Timing:
    """A `t=` line, in NTP seconds; 0 0 is a permanent session, which is what calls are."""

    start: int = 0
    stop: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads the value of a t= line; raises SdpParseError."""
        match = grammar.TIMING.fullmatch(text)
        if match is None:
            raise SdpParseError(f"SDP timing line is malformed: {excerpt(text)!r}")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.start} {self.stop}"


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """A `b=` line; the unit depends on the type (kbit/s for AS and CT)."""

    type: str
    value: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads the value of a b= line; raises SdpParseError."""
        match = grammar.BANDWIDTH.fullmatch(text)
        if match is None:
            raise SdpParseError(f"SDP bandwidth line is malformed: {excerpt(text)!r}")
        return cls(match[1], int(match[2]))

    def __str__(self) -> str:
        return f"{self.type}:{self.value}"


def _attribute(attributes: Sequence[Attribute], name: str) -> Attribute | None:
    return next((attribute for attribute in attributes if attribute.name == name), None)


def _direction(attributes: Sequence[Attribute]) -> Direction | None:
    return next((_DIRECTIONS[attribute.name] for attribute in attributes if attribute.name in _DIRECTIONS), None)


@dataclass(frozen=True, slots=True)
class MediaDescription:
    """One `m=` section. `port` 0 means that the stream is refused or removed (RFC 3264 §6, §8.2)."""

    media: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    connection: Connection | None = None
    bandwidths: tuple[Bandwidth, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    port_count: int = 1

    def attribute(self, name: str) -> str | None:
        """The value of the first attribute of that name; "" where it has none, None where it is absent."""
        found = _attribute(self.attributes, name)
        return None if found is None else found.value or ""

    def values(self, name: str) -> Iterator[str]:
        """The values of all attributes of that name, in order."""
        return (attribute.value or "" for attribute in self.attributes if attribute.name == name)

    @property
    def direction(self) -> Direction | None:
        """The direction written in this section, None where the session's applies."""
        return _direction(self.attributes)

    def lines(self) -> Iterator[str]:
        """The section as it is written, without line ends."""
        count = f"/{self.port_count}" if self.port_count != 1 else ""
        yield f"m={self.media} {self.port}{count} {self.protocol} {' '.join(self.formats)}"
        if self.connection is not None:
            yield f"c={self.connection}"
        yield from (f"b={bandwidth}" for bandwidth in self.bandwidths)
        yield from (f"a={attribute}" for attribute in self.attributes)


@dataclass(frozen=True, slots=True)
class SessionDescription:
    """A whole description. `parse` raises SdpParseError and nothing else, whatever the bytes."""

    origin: Origin
    connection: Connection | None = None
    media: tuple[MediaDescription, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    name: str = "-"
    bandwidths: tuple[Bandwidth, ...] = ()
    timings: tuple[Timing, ...] = field(default=(Timing(),))

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Reads a body of type application/sdp.

        Raises:
            SdpParseError: the body is not a session description, or is larger than the limits above.
        """
        session, *media = _sections(_split(body))
        if not session or session[0] != ("v", "0"):
            raise SdpParseError("SDP does not begin with v=0")
        values = _values(session, _SESSION_LINES)
        if "o" not in values:
            raise SdpParseError("SDP has no origin line")
        return cls(
            origin=Origin.parse(values["o"][0]),
            connection=Connection.parse(values["c"][0]) if "c" in values else None,
            media=tuple(_parse_media(section) for section in media),
            attributes=tuple(Attribute.parse(text) for text in values.get("a", ())),
            # RFC 8866 §5.3 asks for s= and §5.9 for t=. Scripted peers (SIPp) and door stations leave them out,
            # and nothing depends on them.
            name=values.get("s", ["-"])[0] or "-",
            bandwidths=tuple(Bandwidth.parse(text) for text in values.get("b", ())),
            timings=tuple(Timing.parse(text) for text in values.get("t", ())) or (Timing(),),
        )

    def attribute(self, name: str) -> str | None:
        """The value of the first session-level attribute of that name; "" where it has none, None where absent."""
        found = _attribute(self.attributes, name)
        return None if found is None else found.value or ""

    @property
    def direction(self) -> Direction | None:
        """The default direction of all streams that state none (RFC 8866 §6.7)."""
        return _direction(self.attributes)

    def lines(self) -> Iterator[str]:
        """The description as it is written, in the order of RFC 8866 §5, without line ends."""
        yield "v=0"
        yield f"o={self.origin}"
        yield f"s={self.name}"
        if self.connection is not None:
            yield f"c={self.connection}"
        yield from (f"b={bandwidth}" for bandwidth in self.bandwidths)
        yield from (f"t={timing}" for timing in self.timings)
        yield from (f"a={attribute}" for attribute in self.attributes)
        for media in self.media:
            yield from media.lines()

    def __bytes__(self) -> bytes:
        return "".join(f"{line}\r\n" for line in self.lines()).encode()


def _split(body: bytes) -> list[tuple[str, str]]:
    """The lines as (type, value), whatever ends them.

    RFC 8866 §5 SHOULD: parsers take a lone LF as the end of a line. Trailing blanks are dropped (old ATAs write them
    and they mean nothing), as are empty lines after the last one (bodies cut from a multipart keep one).
    """
    if len(body) > MAXIMUM_DESCRIPTION_BYTES:
        raise SdpLimitExceeded(f"SDP of {len(body)} bytes is larger than {MAXIMUM_DESCRIPTION_BYTES}")
    try:
        text = body.decode()
    except UnicodeDecodeError:
        # RFC 8866 §5: text is UTF-8 unless a=charset says otherwise. Session names in ISO 8859-1 exist.
        text = body.decode("latin-1")
    text = text.rstrip("\r\n").replace("\r\n", "\n")
    # byte-string = 1*(%x01-09/%x0B-0C/%x0E-FF): neither NUL nor CR may stand inside a line.
    if "\0" in text or "\r" in text:
        raise SdpParseError("SDP line contains NUL or a bare carriage return")
    rows = text.split("\n", MAXIMUM_LINES)
    if len(rows) > MAXIMUM_LINES:
        raise SdpLimitExceeded(f"SDP has more than {MAXIMUM_LINES} lines")
    return [_line(row) for row in rows]


def _line(row: str) -> tuple[str, str]:
    """One line, cut by position: a thousand of them may come in one body, and a pattern costs twice as much."""
    if row[1:2] != "=" or not "a" <= row[0] <= "z":
        raise SdpParseError(f"SDP line is not <type>=<value>: {excerpt(row)!r}")
    return row[0], row[2:].rstrip(" \t")


def _sections(lines: list[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    """The session's lines, then each media section's, its m= line first."""
    sections: list[list[tuple[str, str]]] = [[]]
    for line in lines:
        if line[0] == "m":
            if len(sections) > MAXIMUM_MEDIA:
                raise SdpLimitExceeded(f"SDP has more than {MAXIMUM_MEDIA} media descriptions")
            sections.append([])
        sections[-1].append(line)
    return sections


def _values(section: list[tuple[str, str]], allowed: frozenset[str]) -> dict[str, list[str]]:
    """The values by line type. Order within a section is not enforced: Cisco gateways write b= before c=."""
    values: dict[str, list[str]] = {}
    for letter, value in section:
        if letter not in allowed:
            raise SdpParseError(f"SDP line of type {letter!r} is not allowed here")
        values.setdefault(letter, []).append(value)
    if len(values.get("v", ())) > 1 or len(values.get("o", ())) > 1:
        raise SdpParseError("SDP has more than one v= or o= line")
    return values


def _parse_media(section: list[tuple[str, str]]) -> MediaDescription:
    values = _values(section, _MEDIA_LINES)
    text = values["m"][0]
    match = grammar.MEDIA.fullmatch(text)
    if match is None:
        raise SdpParseError(f"SDP media line is malformed: {excerpt(text)!r}")
    media, port, port_count, protocol, formats = match.groups()
    if int(port) > MAXIMUM_PORT:
        raise SdpParseError(f"SDP media port {port} is larger than {MAXIMUM_PORT}")
    numbers = tuple(formats.split())
    if len(numbers) > MAXIMUM_FORMATS:
        raise SdpLimitExceeded(f"SDP media line has more than {MAXIMUM_FORMATS} formats")
    return MediaDescription(
        media=media,
        port=int(port),
        protocol=protocol,
        formats=numbers,
        # Several c= lines are layered multicast (RFC 8866 §5.7); calls are unicast, so the first one counts.
        connection=Connection.parse(values["c"][0]) if "c" in values else None,
        bandwidths=tuple(Bandwidth.parse(line) for line in values.get("b", ())),
        attributes=tuple(Attribute.parse(line) for line in values.get("a", ())),
        port_count=int(port_count or 1),
    )
