"""Cutting a byte stream into messages by Content-Length, and telling keep-alives apart (RFC 3261 §18.3, RFC 5626
§3.5.1).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import Final

from sip.errors import SipParseError
from sip.grammar import parse_number
from sip.message import answerable
from sip.wire import BODY_LIMIT, HEADER_SECTION_LIMIT

_END_OF_HEADERS: Final = b"\r\n\r\n"
# "Content-Length" and its compact form at the head of a line, with what is folded behind it.
_CONTENT_LENGTH: Final = re.compile(rb"\r\n(?:Content-Length|l)[ \t]*+:((?:[^\r\n]++|\r\n[ \t])*+)", re.IGNORECASE)


class KeepAlive(Enum):
    """What stands between messages on a stream and means only "are you there"."""

    PING = "ping"  # CRLF CRLF: the peer asks; answer with one CRLF
    PONG = "pong"  # one CRLF: the peer answers


PING_BYTES: Final = b"\r\n\r\n"
PONG_BYTES: Final = b"\r\n"


class StreamFramer:
    """Takes a connection's bytes in any fragments and gives back whole messages, each fit for `parse_message`.

    It holds at most one unfinished message: HEADER_SECTION_LIMIT + BODY_LIMIT bytes. On SipParseError the connection
    has lost its place and must be closed, after the answer that `error.partial` may allow; the framer takes nothing
    more. How long a message may stay unfinished is the transport's to say: see `unfinished`.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0  # how far the buffer is known to hold no blank line
        self._needed = 0  # length of the message at the head, 0 until its header section is complete
        self._after_pong = False
        self._failed = False

    @property
    def unfinished(self) -> bool:
        """Whether part of a message has come and the rest has not."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> Iterator[bytes | KeepAlive]:
        """Takes what came and yields each message and keep-alive that is now complete. Drain it before feeding again.

        Raises SipParseError: 400 when Content-Length is missing, malformed or disagrees with another, 413 and 513
        beyond the limits.
        """
        if self._failed:
            return
        self._buffer += data
        while self._buffer:
            try:
                item = self._next()
            except SipParseError:
                self._failed = True
                self._buffer.clear()
                raise
            if item is None:
                return
            yield item

    def _next(self) -> bytes | KeepAlive | None:
        if not self._needed:
            if self._buffer[0] in b"\r\n":
                return self._keep_alive()
            self._after_pong = False
            if not self._find_length():
                return None
        if len(self._buffer) < self._needed:
            return None
        message = bytes(self._buffer[: self._needed])
        del self._buffer[: self._needed]
        self._needed = self._searched = 0
        return message

    def _keep_alive(self) -> KeepAlive | None:
        if self._buffer.startswith(PING_BYTES):
            del self._buffer[: len(PING_BYTES)]
            self._after_pong = False
            return KeepAlive.PING
        if self._buffer.startswith(PONG_BYTES):
            del self._buffer[: len(PONG_BYTES)]
            self._after_pong = not self._after_pong  # the second half of a ping that TCP cut in two
            return KeepAlive.PONG if self._after_pong else KeepAlive.PING
        if self._buffer == b"\r":
            return None
        raise SipParseError("A message on a stream begins with a CR or LF alone", label="line_end")

    def _find_length(self) -> bool:
        """Looks for the blank line and sets `_needed`. False when it has not come yet."""
        end = self._buffer.find(_END_OF_HEADERS, self._searched, HEADER_SECTION_LIMIT + len(_END_OF_HEADERS))
        if end < 0:
            self._searched = max(0, len(self._buffer) - len(_END_OF_HEADERS) + 1)
            if len(self._buffer) >= HEADER_SECTION_LIMIT + len(_END_OF_HEADERS):
                raise self._error(f"The header section passes {HEADER_SECTION_LIMIT} bytes", 513, "too_large")
            return False
        end += len(_END_OF_HEADERS)
        lengths = {value.strip(b" \t\r\n") for value in _CONTENT_LENGTH.findall(self._buffer, 0, end)}
        if len(lengths) != 1:
            fault = "disagrees with itself" if lengths else "is missing, which a stream cannot do without"
            raise self._error(f"Content-Length {fault}", 400, "content_length")
        text = lengths.pop().decode("latin-1")
        length = parse_number(text, 2**31)
        if length is None:
            raise self._error(f"Content-Length {text[:30]!r} is not a length", 400, "content_length")
        if length > BODY_LIMIT:
            raise self._error(f"The body has {length} bytes, more than {BODY_LIMIT}", 413, "too_large")
        self._needed = end + length
        return True

    def _error(self, message: str, status: int, label: str) -> SipParseError:
        return SipParseError(message, status=status, label=label, partial=answerable(bytes(self._buffer)))
