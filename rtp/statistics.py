"""What a stream counts: RFC 3550 section 6.4 and appendix A, and every packet that was not used, by cause."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from rtp.errors import Malformation
from rtp.ordering import Arrival


class Discard(IntEnum):
    """Why a received datagram was not played. The lower-case name is the metric label."""

    HEADER = 0
    """Shorter than an RTP header."""
    VERSION = 1
    CSRC = 2
    EXTENSION = 3
    PADDING = 4
    OVERSIZED = 5
    """Longer than any audio packet that could have been negotiated."""
    STRANGER = 6
    """From an address that is neither negotiated nor latched."""
    RTCP = 7
    """RTCP on the RTP port where it was not negotiated (RFC 5761)."""
    PAYLOAD_TYPE = 8
    """A payload type that was not negotiated."""
    EVENT = 9
    """A telephone-event payload that contradicts RFC 4733."""
    EMPTY = 10
    """No payload: a keep-alive."""
    DUPLICATE = 11
    LATE = 12
    """Arrived after its place had been declared lost."""
    STRAY = 13
    """Its sequence number is far from everything (RFC 3550 appendix A.1)."""
    FOREIGN_SSRC = 14
    """Another SSRC while the stream's own still speaks."""
    ON_HOLD = 15
    """Arrived while this side does not receive."""
    AUTHENTICATION = 16
    """SRTP: the tag is wrong."""
    REPLAY = 17
    """SRTP: seen before, or older than the window."""

    @property
    def label(self) -> str:
        """The name in metrics."""
        return self.name.lower()


DISCARDS: Final = tuple(Discard)
"""An enumeration makes its members anew each time that it is gone through."""
DISCARD_OF: Mapping[Malformation, Discard] = {
    Malformation.HEADER: Discard.HEADER,
    Malformation.VERSION: Discard.VERSION,
    Malformation.CSRC: Discard.CSRC,
    Malformation.EXTENSION: Discard.EXTENSION,
    Malformation.PADDING: Discard.PADDING,
}
DISCARD_OF_ARRIVAL: Mapping[Arrival, Discard] = {
    Arrival.DUPLICATE: Discard.DUPLICATE,
    Arrival.LATE: Discard.LATE,
    Arrival.STRAY: Discard.STRAY,
}


@dataclass(frozen=True, slots=True)
class ReceiverStatistics:
    """The inbound half."""

    packets: int
    """Taken in time and in order, telephone-events included."""
    lost: int
    """Declared lost, those that came late included."""
    late: int
    jitter_ms: float
    """Interarrival jitter, RFC 3550 section 6.4.1."""
    peak_jitter_ms: float
    concealed_ms: int
    """Invented audio in place of lost packets."""
    filled_ms: int
    """Silence in place of audio that the far end did not send (events, silence suppression, a dead network)."""
    played_ms: int
    """Audio handed to the sink in all, concealed and filled included."""
    restarts: int
    """New SSRC or far jump of the sequence that was followed."""
    codec_changes: int
    """Steps of the far end from one agreed codec to another in what was heard. The first codec is none, nor is another
    one that a new agreement brings."""
    extended_highest_sequence: int
    expected: int
    """Packets that the source which is followed has sent since, by its sequence numbers (RFC 3550 appendix A.3)."""
    cumulative_lost: int
    """Of these, less those that came, late or twice as they may have come: what reports say, and may be negative."""
    ssrc: int | None
    discards: Mapping[Discard, int]
    """Causes that occurred, with their counts."""

    @property
    def loss_ratio(self) -> float:
        """Share of the packets that should have come and did not come in time: 0 … 1."""
        expected = self.packets + self.lost
        return self.lost / expected if expected > 0 else 0.0


@dataclass(frozen=True, slots=True)
class SenderStatistics:
    """The outbound half, counted when a datagram is handed out."""

    packets: int
    octets: int
    """Payload octets, as the sender report wants them."""
    speech_packets: int
    silence_packets: int
    event_packets: int
    skipped_frames: int
    """Turns that the clock could not keep; the timestamp moved on without them."""
    ssrc: int
    timestamp: int
    """RTP timestamp of the next frame."""


@dataclass(frozen=True, slots=True)
class StreamStatistics:
    """One stream, both ways, at one moment."""

    rx: ReceiverStatistics
    tx: SenderStatistics
