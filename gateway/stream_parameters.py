"""From what two session descriptions agree on to what a stream runs with."""

import re
from collections.abc import Mapping
from typing import Final

from gateway.media_policy import MediaPolicy
from rtp.codec.format import G722, L16_8K, L16_16K, OPUS, PCMA, PCMU, PayloadFormat
from rtp.parameters import StreamParameters
from rtp.srtp import SrtpKey, SrtpKeys, SrtpSuite
from sip.sdp import codec as spec
from sip.sdp.agreement import NegotiatedAudio
from sip.sdp.codec import CodecSpec
from sip.sdp.crypto import SrtpKeys as AgreedKeys

_MAX_AVERAGE_BIT_RATE: Final = re.compile(r"(?:^|;)\s*maxaveragebitrate\s*=\s*([0-9]{1,9})\s*(?:;|$)", re.IGNORECASE)
_OPUS_BIT_RATES: Final = range(6000, 510_001)

_FORMATS: Final[Mapping[CodecSpec, PayloadFormat]] = {
    spec.PCMU: PCMU,
    spec.PCMA: PCMA,
    spec.G722: G722,
    spec.OPUS: OPUS,
    spec.L16_8K: L16_8K,
    spec.L16_16K: L16_16K,
}
# Peers that offered both laws change between them in mid-call without a word (RFC 3264 §8.3.2 lets them). Both have
# static numbers, so each is understood on a stream of the other.
_OTHER_LAW: Final = {spec.PCMU: (spec.PCMA, 8), spec.PCMA: (spec.PCMU, 0)}


def formats_of(policy: MediaPolicy) -> frozenset[PayloadFormat]:
    """What streams under this policy may carry."""
    return frozenset(_FORMATS[codec] for codec in policy.capabilities.codecs)


def stream_parameters(audio: NegotiatedAudio, policy: MediaPolicy) -> StreamParameters:
    """The parameters of a negotiated stream.

    Raises:
        AddressRefusedError: nothing may be sent to the address that was named.
        SrtpKeyError: a key does not fit its suite.
    """
    return StreamParameters(
        payload_format=_FORMATS[audio.codec],
        payload_type_tx=audio.payload_type_tx,
        payload_type_rx=audio.payload_type_rx,
        telephone_event_payload_type_tx=audio.telephone_event_payload_type_tx,
        telephone_event_payload_type_rx=audio.telephone_event_payload_type_rx,
        telephone_event_clock_rate_hz=audio.telephone_event_clock_rate_hz,
        comfort_noise_payload_type=audio.comfort_noise_payload_type_rx,
        ptime_ms=audio.ptime_ms,
        remote=audio.remote_address,
        sends=audio.direction.sends,
        receives=audio.direction.receives,
        source_policy=policy.source,
        source_allowed=policy.source_allowed,
        secure=_keys(audio.secure),
        further_formats=_further_formats(audio, policy),
        further_telephone_events=audio.further_telephone_events,
        max_bit_rate=_max_bit_rate(audio.remote_fmtp) if audio.codec == spec.OPUS else None,
    )


def _max_bit_rate(fmtp: str) -> int | None:
    """RFC 7587 §6.1: "values outside the range of 6000 to 510000 SHOULD be ignored"."""
    match = _MAX_AVERAGE_BIT_RATE.search(fmtp)
    return int(match[1]) if match is not None and int(match[1]) in _OPUS_BIT_RATES else None


def _keys(agreed: AgreedKeys | None) -> SrtpKeys | None:
    if agreed is None:
        return None
    suite = SrtpSuite(agreed.suite.value)
    return SrtpKeys(SrtpKey(suite, agreed.tx), SrtpKey(suite, agreed.rx, agreed.rx_mki))


def _further_formats(audio: NegotiatedAudio, policy: MediaPolicy) -> Mapping[int, PayloadFormat]:
    further = {number: _FORMATS[codec] for number, codec in audio.further_codecs.items()}
    other = _OTHER_LAW.get(audio.codec)
    if other is None or not policy.allows(other[0]):
        return further
    # An rtpmap may give even a static number another meaning (RFC 8866 §6.6).
    taken = {
        audio.telephone_event_payload_type_rx,
        audio.comfort_noise_payload_type_rx,
        *audio.further_telephone_events,
        *further,
    }
    return further if other[1] in taken else {**further, other[1]: _FORMATS[other[0]]}
