"""From a datagram to a start line, header fields and a body: what comes before any meaning, and the limits on it."""

from __future__ import annotations

from typing import Final

from sip.errors import SipParseError
from sip.grammar import BARE_CONTROL, FOLD, TOKEN
from sip.headers import CANONICAL_NAMES, canonical_name

HEADER_SECTION_LIMIT: Final = (
    32 * 1024
)  # bytes; Twilio's largest INVITEs (Identity and CallToken in them) stay below 6 kB
HEADER_COUNT_LIMIT: Final = 256  # lines
BODY_LIMIT: Final = 64 * 1024  # bytes; a session description is one or two kilobytes

_END_OF_HEADERS: Final = b"\r\n\r\n"
_CONTROLS: Final = bytes(c for c in (*range(0x20), 0x7F) if c not in b"\t\r\n")


def cut_message(data: bytes) -> tuple[bytes, bytes]:
    """Cuts a message at its blank line into header section (without the last CRLF) and all that follows.

    Line breaks before the start line are passed over, which §7.5 asks for on streams and which keep-alives cause on
    UDP.
    """
    if data[:1] in {b"\r", b"\n"}:
        data = data.lstrip(b"\r\n")
    end = data.find(_END_OF_HEADERS, 0, HEADER_SECTION_LIMIT + len(_END_OF_HEADERS))
    if end < 0:
        if len(data) > HEADER_SECTION_LIMIT:
            raise SipParseError(
                f"The header section passes {HEADER_SECTION_LIMIT} bytes", status=513, label="too_large"
            )
        raise SipParseError("The message has no blank line behind its header fields", label="truncated")
    return data[:end], data[end + 4 :]


def decode_section(section: bytes) -> tuple[str, str]:
    """The header section as text, and the charset that it was written in.

    SIP is UTF-8 (§7). Older PBXes (Asterisk with a Latin-1 directory, CNAM data passed on by carriers) send Latin-1
    display names; they are read as such and written back in the same bytes, since From and To must be returned as
    they came.
    """
    try:
        return section.decode(), "utf-8"
    except UnicodeDecodeError:
        return section.decode("latin-1"), "latin-1"


def check_lines(section: bytes, text: str) -> None:
    """Refuses bare CR, bare LF and control characters.

    A line ends in CRLF and in nothing else (§7). Stacks that also take a bare LF disagree with those that do not
    about where a header field begins, and that is how one is smuggled past the other. No carrier or PBX needs it.
    """
    breaks = section.count(b"\r\n")
    if section.count(b"\n") != breaks or section.count(b"\r") != breaks:
        raise SipParseError("A line ends in CR or LF alone", label="line_end")
    if len(section.translate(None, _CONTROLS)) != len(section) and BARE_CONTROL.search(text):
        raise SipParseError("The header section has control characters in it", label="control_character")


def split_section(text: str) -> tuple[str, list[tuple[str, str]]]:
    """Unfolds the header section and cuts it into the start line and the header fields, with canonical names."""
    if "\r\n " in text or "\r\n\t" in text:
        text = FOLD.sub(" ", text)
    start_line, *lines = text.split("\r\n", HEADER_COUNT_LIMIT + 1)
    if len(lines) > HEADER_COUNT_LIMIT:
        raise SipParseError(f"The message has more than {HEADER_COUNT_LIMIT} header fields", status=513, label="limit")
    fields = []
    for line in lines:
        name, colon, value = line.partition(":")
        fields.append((CANONICAL_NAMES.get(name) or _checked_name(name, colon), value.strip(" \t")))
    return start_line, fields


def _checked_name(name: str, colon: str) -> str:
    name = name.rstrip(" \t")  # HCOLON = *( SP / HTAB ) ":" SWS
    if not colon or not TOKEN.fullmatch(name):
        raise SipParseError(f"{name[:100]!r} does not begin a header field")
    return canonical_name(name)
