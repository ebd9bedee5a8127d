"""What can go wrong in SIP, with the status that answers it and the label that counts it.

SipError
└── SipParseError       bytes from the wire that the grammar or a limit refuses
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sip.message import PartialRequest


class SipError(Exception):
    """Base of every error of this room.

    `status` is the response that tells the peer of it, `label` its name in metrics: short, lower case, one of few.
    """

    status: int = 500
    label: str = "sip_error"


class SipParseError(SipError):
    """A message, or a value in one, that cannot be taken. Nothing else leaves the parser, whatever the bytes were.

    `partial` is there when the fault lies in a request that can still be answered (it is not an ACK, and Via, From, To,
    Call-ID and CSeq are present): `error.partial.create_response(error.status)` is the answer. A response that is
    malformed is dropped (RFC 3261 §8.1.3), and so has no `partial`.
    """

    def __init__(
        self, message: str, *, status: int = 400, label: str = "malformed", partial: PartialRequest | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.label = label
        self.partial = partial
