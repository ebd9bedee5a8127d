"""The header fields of a message: an ordered multimap that knows the names SIP gives them (RFC 3261 §7.3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from typing import Any, Final

from sip.errors import SipParseError
from sip.header import split_list

# Canonical names, with the compact form where one is registered (RFC 3261 §7.3.3 and the RFCs named).
_COMPACT: Final = {
    "a": "Accept-Contact",  # RFC 3841
    "b": "Referred-By",  # RFC 3892
    "c": "Content-Type",
    "d": "Request-Disposition",  # RFC 3841
    "e": "Content-Encoding",
    "f": "From",
    "i": "Call-ID",
    "j": "Reject-Contact",  # RFC 3841
    "k": "Supported",
    "l": "Content-Length",
    "m": "Contact",
    "n": "Identity-Info",  # RFC 4474
    "o": "Event",  # RFC 6665
    "r": "Refer-To",  # RFC 3515
    "s": "Subject",
    "t": "To",
    "u": "Allow-Events",  # RFC 6665
    "v": "Via",
    "x": "Session-Expires",  # RFC 4028
    "y": "Identity",  # RFC 8224
}
_KNOWN: Final = (
    "Accept", "Accept-Encoding", "Accept-Language", "Alert-Info", "Allow", "Authentication-Info", "Authorization",
    "Call-Info", "Content-Disposition", "Content-Language", "CSeq", "Date", "Diversion", "Error-Info", "Expires",
    "History-Info", "In-Reply-To", "Max-Forwards", "MIME-Version", "Min-Expires", "Min-SE", "Organization",
    "P-Asserted-Identity", "P-Early-Media", "P-Preferred-Identity", "Path", "Priority", "Privacy", "Proxy-Authenticate",
    "Proxy-Authorization", "Proxy-Require", "RAck", "Reason", "Record-Route", "Remote-Party-ID", "Replaces", "Reply-To",
    "Require", "Retry-After", "Route", "RSeq", "Server", "Service-Route", "Session-ID", "SIP-ETag", "SIP-If-Match",
    "Subscription-State", "Timestamp", "Unsupported", "User-Agent", "User-to-User", "Warning", "WWW-Authenticate",
    "X-Twilio-AccountSid", "X-Twilio-CallSid", "X-Twilio-CallToken", "X-Twilio-VerStat",
)  # fmt: skip
# Every spelling seen in practice → canonical name, so that the usual name costs one look-up.
CANONICAL_NAMES: Final[dict[str, str]] = {
    spelling: name
    for pairs in (((name, name) for name in (*_KNOWN, *_COMPACT.values())), _COMPACT.items())
    for short, name in pairs
    for spelling in (short, short.lower(), short.upper())
}
# Fields whose grammar is a comma-separated list, so that one line with commas equals several lines (§7.3.1). All
# others are taken as they stand: Date, Subject and the digest fields have commas of their own.
LIST_FIELDS: Final = frozenset({
    "Accept", "Accept-Encoding", "Accept-Language", "Alert-Info", "Allow", "Allow-Events", "Call-Info", "Contact",
    "Content-Encoding", "Content-Language", "Diversion", "Error-Info", "History-Info", "In-Reply-To",
    "P-Asserted-Identity", "P-Early-Media", "P-Preferred-Identity", "Path", "Proxy-Require", "Reason", "Record-Route",
    "Require", "Route", "Service-Route", "Supported", "Unsupported", "User-to-User", "Via", "Warning",
})  # fmt: skip
_TOKEN_LIST_LIMIT: Final = 256  # values of a list that is not one of addresses


def canonical_name(name: str) -> str:
    """The full name as RFCs write it; a name that we do not know is returned as it came (X-Twilio-CallSid)."""
    return CANONICAL_NAMES.get(name) or CANONICAL_NAMES.get(name.lower()) or name


def _key(name: str) -> str:
    return CANONICAL_NAMES.get(name) or CANONICAL_NAMES.get(name.lower()) or name.lower()


class Headers:
    """The header fields in the order received. Names are compared without case, compact forms are their full names.

    `typed` is where a message keeps what it has parsed of these fields, by canonical name. A change of a field drops
    its entry.
    """

    __slots__ = ("_fields", "_index", "typed")

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        self._fields: list[tuple[str, str]] = []
        self._index: dict[str, list[str]] | None = None
        self.typed: dict[str, Any] = {}
        for name, value in fields:
            self.add(name, value)

    @classmethod
    def from_wire(cls, fields: list[tuple[str, str]]) -> Headers:
        """Takes over a list whose names are canonical and whose values the parser has checked."""
        headers = cls()
        headers._fields = fields
        return headers

    def _indexed(self) -> dict[str, list[str]]:
        index = self._index
        if index is None:
            index = self._index = {}
            for field, value in self._fields:
                key = field if field in CANONICAL_NAMES else field.lower()
                if key in index:
                    index[key].append(value)
                else:
                    index[key] = [value]
        return index

    def _lookup(self, name: str) -> list[str]:
        index = self._indexed()
        return index.get(name) or index.get(_key(name)) or []

    def names(self) -> Set[str]:
        """Every name that is present: canonical where we know it, else in lower case."""
        return self._indexed().keys()

    def _changed(self, name: str) -> None:
        self._index = None
        self.typed.pop(_key(name), None)

    def get(self, name: str) -> str | None:
        """The first value of `name` as it stands, or None."""
        values = self._lookup(name)
        return values[0] if values else None

    def get_all(self, name: str) -> list[str]:
        """The value of each line of `name`, in order, unsplit."""
        return list(self._lookup(name))

    def values(self, name: str) -> list[str]:
        """Every value of `name`: lines cut at their commas where the grammar of that field makes it a list.

        Never raises: a line that is no well-formed list, or one of more than 256 values, is one value, and whoever
        parses that sees the fault.
        """
        lines = self._lookup(name)
        if not lines or _key(name) not in LIST_FIELDS:
            return list(lines)
        # An empty Supported, Allow or Accept is legal and says "none" (§20.1, §20.5, §20.37).
        return [value for line in lines if line for value in _split_or_whole(line)]

    def first_repeated(self, names: Set[str]) -> str | None:
        """The first of these canonical names that has more than one line, or None."""
        if len(self._indexed()) == len(self._fields):
            return None
        return next((name for name, lines in self._indexed().items() if len(lines) > 1 and name in names), None)

    def add(self, name: str, value: str) -> None:
        """Appends a line. Raises ValueError for line breaks, which would write another header field."""
        self._fields.append(_checked(name, value))
        self._changed(name)

    def insert_first(self, name: str, value: str) -> None:
        """Puts a line above all others: a Via that we add, a Record-Route."""
        self._fields.insert(0, _checked(name, value))
        self._changed(name)

    def set(self, name: str, value: str) -> None:
        """Makes this the only line of `name`, in the place of the first one or at the end."""
        field = _checked(name, value)
        key = _key(name)
        place = next((i for i, (old, _) in enumerate(self._fields) if _key(old) == key), None)
        if place is None:
            self._fields.append(field)
        else:
            rest = [item for item in self._fields[place + 1 :] if _key(item[0]) != key]
            self._fields[place:] = [field, *rest]
        self._changed(name)

    def replace_first(self, name: str, value: str) -> None:
        """Replaces the first line of `name` and leaves the others alone. Raises KeyError when there is none."""
        field = _checked(name, value)
        key = _key(name)
        for place, (old, _) in enumerate(self._fields):
            if _key(old) == key:
                self._fields[place] = field
                self._changed(name)
                return
        raise KeyError(name)

    def remove(self, name: str) -> None:
        """Takes out every line of `name`; does nothing when there is none."""
        key = _key(name)
        self._fields = [item for item in self._fields if _key(item[0]) != key]
        self._changed(name)

    def items(self) -> Iterator[tuple[str, str]]:
        """Every line as (name, value), in order, names in their canonical form."""
        return iter(self._fields)

    def copy(self) -> Headers:
        """An independent copy."""
        return Headers.from_wire(list(self._fields))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self._lookup(name))

    def __len__(self) -> int:
        return len(self._fields)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self._fields == other._fields

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"Headers({self._fields!r})"


def _split_or_whole(line: str) -> list[str]:
    try:
        return split_list(line, _TOKEN_LIST_LIMIT)
    except SipParseError:
        return [line]


def _checked(name: str, value: str) -> tuple[str, str]:
    if "\n" in value or "\r" in value or "\n" in name or "\r" in name or not name:
        raise ValueError(f"Header field {name!r} with value {value!r} would break its line")
    return canonical_name(name), value
