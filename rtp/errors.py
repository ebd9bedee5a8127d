"""The errors of the RTP room.

    RtpError
     ├── RtpParseError       a datagram that is not a valid packet (counted by the stream, never raised through it)
     ├── AddressRefusedError      an address that must never be sent to
     ├── EventRefusedError        a telephone-event that cannot be sent
     └── PortsExhaustedError      no media port is free

`status` is the SIP status that answers a call which fails for this reason; `label` names it in metrics.
"""

from enum import Enum
from typing import ClassVar


class RtpError(Exception):
    """Base of all errors raised by this package."""

    status: ClassVar[int] = 500
    label: ClassVar[str] = "rtp_error"


class Malformation(Enum):
    """The part of an RTP packet that contradicts its length or RFC 3550 section 5.1."""

    HEADER = "header"
    VERSION = "version"
    CSRC = "csrc"
    EXTENSION = "extension"
    PADDING = "padding"


class RtpParseError(RtpError):
    """The datagram is not a valid RTP packet or payload."""

    status = 400
    label = "rtp_malformed"

    def __init__(self, message: str, malformation: Malformation = Malformation.HEADER) -> None:
        super().__init__(message)
        self.malformation = malformation


class AddressRefusedError(RtpError):
    """The address cannot be a media destination: not an IP literal, a wildcard, a group, or a port out of range."""

    status = 488
    label = "media_address_refused"


class EventRefusedError(RtpError):
    """The digits or their duration cannot be sent as telephone-events on this stream."""

    status = 400
    label = "telephone_event_refused"


class PortsExhaustedError(RtpError):
    """Every port of the media range is in use, in quarantine or taken by another process."""

    status = 503
    label = "rtp_ports_exhausted"
