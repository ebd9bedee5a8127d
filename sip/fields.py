"""What requests and responses share: header fields, and the values in them, parsed when asked for and kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from sip.errors import SipParseError
from sip.grammar import CALL_ID, TOKEN, parse_number
from sip.header import ADDRESS_LIMIT, LIST_LIMIT, CSeq, MediaType, NameAddr, Via, split_list
from sip.headers import Headers

_T = TypeVar("_T")

MAX_FORWARDS_LIMIT: Final = 255  # §20.22
_EXPIRES_LIMIT: Final = 2**32 - 1  # §20.19


class Message:
    """What requests and responses share: header fields, a body, and the fields' values, parsed when asked for and kept.

    Accessors of fields that must be there raise SipParseError when they are not, and all do when the field is
    malformed; but on what `parse_message` returned none ever raises. A change of a field drops what was kept of it.
    `charset` is that of the header section: "utf-8", or "latin-1" from old peers. `wire_size` is how many bytes came, 0
    for what we compose.
    """

    __slots__ = ("body", "charset", "headers", "wire_size")

    def __init__(self, headers: Headers | Iterable[tuple[str, str]] = (), body: bytes = b"") -> None:
        self.headers = headers if isinstance(headers, Headers) else Headers(headers)
        self.body = body
        self.charset = "utf-8"
        self.wire_size = 0

    def _one(self, name: str, parse: Callable[[str], _T]) -> _T:
        typed = self.headers.typed
        if name in typed:
            value: _T = typed[name]
            return value
        text = self.headers.get(name)
        if text is None:
            raise SipParseError(f"The message has no {name}", label="missing_field")
        value = typed[name] = parse(text)
        return value

    def _optional(self, name: str, parse: Callable[[str], _T]) -> _T | None:
        return self._one(name, parse) if name in self.headers.typed or name in self.headers else None

    def _list(self, name: str, parse: Callable[[str], _T], limit: int = LIST_LIMIT) -> tuple[_T, ...]:
        typed = self.headers.typed
        if name in typed:
            values: tuple[_T, ...] = typed[name]
            return values
        lines = self.headers.get_all(name)
        if len(lines) == 1 and "," not in lines[0]:
            texts = lines
        else:
            texts = [text for line in lines for text in split_list(line)]
        if len(texts) > limit:
            raise SipParseError(f"{name} has more than {limit} values", status=513, label="limit")
        values = typed[name] = tuple([parse(text) for text in texts])
        return values

    @property
    def vias(self) -> tuple[Via, ...]:
        """Every Via, topmost first, whatever lines they stood on."""
        return self._list("Via", Via.parse)

    @property
    def top_via(self) -> Via:
        """The topmost Via."""
        vias = self.vias
        if not vias:
            raise SipParseError("The message has no Via", label="missing_field")
        return vias[0]

    @property
    def from_(self) -> NameAddr:
        """From: who began the dialog, with their tag (RFC 2543 peers may send none)."""
        return self._one("From", NameAddr.parse)

    @property
    def to(self) -> NameAddr:
        """To: the far end, with its tag once there is a dialog."""
        return self._one("To", NameAddr.parse)

    @property
    def call_id(self) -> str:
        """Call-ID, opaque, compared byte for byte."""
        return self._one("Call-ID", _parse_call_id)

    @property
    def cseq(self) -> CSeq:
        """CSeq: number and method."""
        return self._one("CSeq", CSeq.parse)

    @property
    def max_forwards(self) -> int | None:
        """Max-Forwards, 0 to 255, or None: RFC 2543 peers send none (§16.3 item 3)."""
        return self._optional("Max-Forwards", _parse_max_forwards)

    @property
    def contacts(self) -> tuple[NameAddr, ...]:
        """Every Contact. The "*" of a REGISTER is no address: then this is empty."""
        return () if self.headers.get("Contact") == "*" else self._list("Contact", NameAddr.parse, ADDRESS_LIMIT)

    @property
    def routes(self) -> tuple[NameAddr, ...]:
        """Every Route, next hop first."""
        return self._list("Route", NameAddr.parse, ADDRESS_LIMIT)

    @property
    def record_routes(self) -> tuple[NameAddr, ...]:
        """Every Record-Route, in the order received."""
        return self._list("Record-Route", NameAddr.parse, ADDRESS_LIMIT)

    @property
    def content_type(self) -> MediaType | None:
        """Content-Type, or None."""
        return self._optional("Content-Type", MediaType.parse)

    @property
    def require(self) -> tuple[str, ...]:
        """The option tags in Require, in lower case."""
        return self._list("Require", _parse_token)

    @property
    def proxy_require(self) -> tuple[str, ...]:
        """The option tags in Proxy-Require, in lower case."""
        return self._list("Proxy-Require", _parse_token)

    @property
    def supported(self) -> tuple[str, ...]:
        """The option tags in Supported, in lower case. Malformed ones are passed over: nothing depends on them."""
        return tuple(tag.lower() for tag in self._tokens("Supported"))

    @property
    def allow(self) -> tuple[str, ...]:
        """The methods in Allow. Malformed ones are passed over."""
        return self._tokens("Allow")

    @property
    def expires(self) -> int | None:
        """Expires in seconds, at most 2**32-1. None when absent or malformed, which §20.19 lets us treat alike."""
        text = self.headers.get("Expires")
        if text is None or not (text.isascii() and text.isdigit()):
            return None
        number = parse_number(text, _EXPIRES_LIMIT)
        return _EXPIRES_LIMIT if number is None else number

    def _tokens(self, name: str) -> tuple[str, ...]:
        typed = self.headers.typed
        if name in typed:
            kept: tuple[str, ...] = typed[name]
            return kept
        parts = [part.strip(" \t") for line in self.headers.get_all(name) for part in line.split(",", LIST_LIMIT)]
        tokens = typed[name] = tuple([part for part in parts[:LIST_LIMIT] if TOKEN.fullmatch(part)])
        return tokens

    def ignore(self, name: str) -> None:
        """From now on the accessor of this malformed field says what it would say if the field were absent."""
        self.headers.typed[name] = None if name == "Content-Type" else ()

    def replace_top_via(self, via: Via) -> None:
        """Puts `via` in the place of the topmost value and leaves all others, and their text, as they are."""
        vias = (via, *self.vias[1:])
        _, *others = split_list(self.headers.get_all("Via")[0])
        self.headers.replace_first("Via", ", ".join([str(via), *others]))
        # Not parsed again: what we add may pass the limit on parameters, which is for what comes from the wire.
        self.headers.typed["Via"] = vias

    def _start_line(self) -> str:
        raise TypeError("A message is a Request or a Response")

    def __bytes__(self) -> bytes:
        lines = [self._start_line()]
        lines += [f"{name}: {value}" for name, value in self.headers.items() if name != "Content-Length"]
        lines.append(f"Content-Length: {len(self.body)}\r\n\r\n")
        text = "\r\n".join(lines)
        try:
            return text.encode(self.charset) + self.body
        except UnicodeEncodeError:  # something was added to a Latin-1 message that only UTF-8 can say
            return text.encode("utf-8", errors="replace") + self.body


def _parse_call_id(text: str) -> str:
    if not CALL_ID.fullmatch(text):
        raise SipParseError(f"{text[:200]!r} is not a Call-ID")
    return text


def _parse_token(text: str) -> str:
    if not TOKEN.fullmatch(text):
        raise SipParseError(f"{text[:200]!r} is not a token")
    return text.lower()


def _parse_max_forwards(text: str) -> int:
    hops = parse_number(text, MAX_FORWARDS_LIMIT)
    if hops is None:
        raise SipParseError(f"Max-Forwards {text[:30]!r} is not between 0 and {MAX_FORWARDS_LIMIT}")
    return hops
