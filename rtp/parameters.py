"""What was negotiated for one stream. A new offer/answer makes a new value; nothing here is changed in place."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from rtp.codec.format import PCMU, PayloadFormat, playout_format_of
from rtp.source_lock import Address, SourcePolicy, validated_address
from rtp.srtp import SrtpKeys

PTIMES_MS = (10, 20, 30, 40, 50, 60)
"""Packet times that the media clock can serve."""


@dataclass(frozen=True, slots=True)
class StreamParameters:
    """One audio stream, both ways.

    `remote` is None while no address is known or the description says 0.0.0.0: nothing is sent or heard then.
    `sends` and `receives` are this side's halves of the direction attribute. `source_allowed` narrows the latch to a
    trunk's media range (it is asked with the host). With `secure` only SRTP is sent and heard, never plain RTP.

    `telephone_event_clock_rate_hz` counts the durations of telephone-events; where it is None the payload's clock does.

    `further_formats` are codecs that the far end may change to in mid-call, by the payload types that it sends them
    with; the stream's sink hears them as `payload_format`. `further_telephone_events` are its digits on other clocks,
    each payload type with the clock's rate in Hz.

    `max_bit_rate` is the most that the far end wants of a codec whose rate can be chosen (Opus), in bit/s.

    Raises `AddressRefusedError` for a `remote` that must never be sent to, so a refused description touches no stream.
    """

    payload_format: PayloadFormat = PCMU
    payload_type_tx: int = 0
    payload_type_rx: int = 0
    telephone_event_payload_type_tx: int | None = None
    telephone_event_payload_type_rx: int | None = None
    telephone_event_clock_rate_hz: int | None = None
    comfort_noise_payload_type: int | None = None
    ptime_ms: int = 20
    remote: Address | None = None
    sends: bool = True
    receives: bool = True
    source_policy: SourcePolicy = SourcePolicy.LATCH
    source_allowed: Callable[[str], bool] | None = None
    secure: SrtpKeys | None = None
    further_formats: Mapping[int, PayloadFormat] = field(default_factory=dict)
    further_telephone_events: Mapping[int, int] = field(default_factory=dict)
    max_bit_rate: int | None = None

    def __post_init__(self) -> None:
        if self.ptime_ms not in PTIMES_MS:
            raise ValueError(f"A packet time of {self.ptime_ms} ms is not one of {PTIMES_MS}")
        if self.remote is not None:
            validated_address(*self.remote)

    @property
    def playout_format(self) -> PayloadFormat:
        """What `Playout` takes: the payload's own format, or samples where each frame is encoded when it is sent."""
        return playout_format_of(self.payload_format)

    @property
    def event_clock_rate_hz(self) -> int:
        """What counts the durations of telephone-events."""
        return self.telephone_event_clock_rate_hz or self.payload_format.clock_rate_hz

    @property
    def telephone_event_clocks(self) -> Mapping[int, int]:
        """What counts the durations of the far end's digits, in Hz, by their payload type."""
        if self.telephone_event_payload_type_rx is None:
            return self.further_telephone_events
        return {**self.further_telephone_events, self.telephone_event_payload_type_rx: self.event_clock_rate_hz}

    def knows(self, payload_type: int) -> bool:
        """Whether packets of this type may come. A far end may well begin with a digit, or with its silence's noise."""
        return (
            payload_type
            in (self.payload_type_rx, self.telephone_event_payload_type_rx, self.comfort_noise_payload_type)
            or payload_type in self.further_formats
            or payload_type in self.further_telephone_events
        )

    @property
    def frame_octets(self) -> int:
        """Octets of one packet's payload; 0 where they vary."""
        return self.payload_format.frame_octets(self.ptime_ms)

    @property
    def frame_samples(self) -> int:
        """RTP timestamp units of one packet."""
        return self.payload_format.frame_samples(self.ptime_ms)
