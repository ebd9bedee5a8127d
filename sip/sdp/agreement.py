"""What two descriptions agree on about audio: the value that the media side is built from."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sip.sdp.codec import CodecSpec
from sip.sdp.crypto import SrtpKeys
from sip.sdp.description import Direction, SessionDescription
from sip.sdp.stream import RemoteAddress


@dataclass(frozen=True, slots=True)
class NegotiatedAudio:
    """One agreed audio stream, and the round of offer and answer that it came from.

    `payload_type_tx` is the number that we send with (the peer's), `payload_type_rx` the one that we receive (ours);
    the telephone-event and comfort noise numbers likewise, None where not agreed. `telephone_event_clock_rate_hz`
    counts the durations of events. `remote_address` is None while nothing may be sent to the peer; `remote_rtcp`
    likewise, or where the peer named no usable RTCP port. `direction` is ours. `ptime_ms` is what we send,
    `maxptime_ms` what the peer stated. `on_hold`: the peer does not want to hear us, or removed the stream.

    `further_codecs` are those that an answer to our offer lists after `codec`, by the numbers of ours that the peer may
    send them with at any time (RFC 3264 §6.1); nothing is sent in them. `further_telephone_events` are its events on
    other clocks than the codec's: our numbers, each with its clock rate in Hz.

    `description` is the last one that we wrote and `media_index` the m-line of the stream in it. Both serve the next
    offer or answer of this call, which takes this value as `previous`.
    """

    codec: CodecSpec
    payload_type_tx: int
    payload_type_rx: int
    telephone_event_payload_type_tx: int | None
    telephone_event_payload_type_rx: int | None
    comfort_noise_payload_type_tx: int | None
    comfort_noise_payload_type_rx: int | None
    remote_address: RemoteAddress | None
    remote_rtcp: RemoteAddress | None
    rtcp_mux: bool
    direction: Direction
    ptime_ms: int
    maxptime_ms: int | None
    remote_fmtp: str
    secure: SrtpKeys | None
    on_hold: bool
    media_index: int
    description: SessionDescription = field(repr=False)
    telephone_event_clock_rate_hz: int | None = None
    further_codecs: Mapping[int, CodecSpec] = field(default_factory=dict)
    further_telephone_events: Mapping[int, int] = field(default_factory=dict)
