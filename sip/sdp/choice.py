"""Which stream, codec and key of the peer's description we take."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sip.sdp.agreement import NegotiatedAudio
from sip.sdp.capability import AudioCapabilities, CodecPreference, SrtpMode, SrtpPolicy
from sip.sdp.codec import CodecSpec, PayloadFormat
from sip.sdp.crypto import CryptoLine
from sip.sdp.description import MediaDescription, SessionDescription
from sip.sdp.errors import (
    NegotiationError,
    NoAudioStream,
    NoCommonCodec,
    NoUsableCrypto,
    SecureMediaRequired,
    SecureMediaUnavailable,
)
from sip.sdp.excerpt import excerpt
from sip.sdp.stream import RemoteStream, is_open_audio, is_secure, profile_of, read_stream

_FORMATS_IN_ERROR: Final = 8
_EVENT: Final = "telephone-event"
_USUAL_EVENT_CLOCK_HZ: Final = 8000


@dataclass(frozen=True, slots=True)
class FormatPair:
    """One format under the two numbers that it may have: theirs is what we send, ours what we receive."""

    theirs: PayloadFormat
    ours: PayloadFormat


@dataclass(frozen=True, slots=True)
class AgreedFormats:
    """The codec of a stream, with what goes beside it; and what else the peer may send, under our numbers."""

    codec: CodecSpec
    speech: FormatPair
    telephone_event: FormatPair | None
    comfort_noise: FormatPair | None
    further_codecs: Mapping[int, CodecSpec] = field(default_factory=dict)
    further_telephone_events: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Choice:
    """What we take of one stream of an offer."""

    stream: RemoteStream
    formats: AgreedFormats
    crypto: CryptoLine | None


def choose_stream(
    offer: SessionDescription, capabilities: AudioCapabilities, address_type: str, previous: NegotiatedAudio | None
) -> Choice:
    """The stream that suits best. When none does, the fault of the one that we would have liked best is raised."""
    fault: NegotiationError | None = None
    for index in _candidates(offer, capabilities.srtp, previous):
        try:
            return _choose(offer, index, capabilities, address_type, previous)
        except NegotiationError as error:
            fault = fault or error
    raise fault or NoAudioStream("Offer has no audio stream")


def _candidates(offer: SessionDescription, policy: SrtpPolicy, previous: NegotiatedAudio | None) -> list[int]:
    """Open audio streams: the one in use first, then those as secure as we like (best-effort SRTP, as Snom and
    Asterisk have it, is the same stream twice), then in the order of the offer.
    """
    indexes = [index for index, media in enumerate(offer.media) if is_open_audio(media)]
    in_use = None if previous is None else previous.media_index
    prefers_secure = policy.mode is not SrtpMode.FORBIDDEN
    return sorted(indexes, key=lambda at: (at != in_use, is_secure(offer.media[at]) is not prefers_secure, at))


def _choose(
    offer: SessionDescription,
    index: int,
    capabilities: AudioCapabilities,
    address_type: str,
    previous: NegotiatedAudio | None,
) -> Choice:
    check_policy(offer.media[index], capabilities.srtp)
    stream = read_stream(offer, index, address_type, rtcp_mux=capabilities.rtcp_mux)
    formats = formats_of_offer(stream, capabilities, None if previous is None else previous.codec)
    crypto = _choose_crypto(stream, capabilities.srtp) if stream.profile.is_secure else None
    return Choice(stream, formats, crypto)


def check_policy(media: MediaDescription, policy: SrtpPolicy) -> None:
    """Raises SecureMediaRequired or SecureMediaUnavailable where the stream's profile is against the policy."""
    profile = profile_of(media)
    if profile.is_secure and policy.mode is SrtpMode.FORBIDDEN:
        raise SecureMediaUnavailable(f"Media profile {profile.value} is not taken here")
    if not profile.is_secure and policy.mode is SrtpMode.REQUIRED:
        raise SecureMediaRequired(f"Media profile {profile.value} is not secure; RTP/SAVP is required")


def formats_of_offer(stream: RemoteStream, capabilities: AudioCapabilities, in_use: CodecSpec | None) -> AgreedFormats:
    """One codec by our order or theirs, every format under the offered number (RFC 3264 §6.1).

    By our order the codec in use stays while it is offered, so a hold changes nothing else.
    """
    common = [(codec, payload) for payload in stream.formats for codec in capabilities.codecs if codec.matches(payload)]
    if not common:
        raise _no_common_codec(stream, capabilities)
    if capabilities.preference is CodecPreference.THEIRS:
        codec, payload = common[0]
    else:
        order = capabilities.codecs if in_use is None else in_use_first(capabilities.codecs, in_use)
        codec, payload = min(common, key=lambda pair: order.index(pair[0]))
    event = _events_for(stream.formats, codec) if capabilities.telephone_event else None
    noise = _on_clock(stream.formats, codec.clock_rate_hz, "CN") if capabilities.comfort_noise else None
    return AgreedFormats(
        codec=codec,
        speech=FormatPair(payload, payload),
        telephone_event=None if event is None else FormatPair(event, event),
        comfort_noise=None if noise is None else FormatPair(noise, noise),
    )


def formats_of_answer(
    stream: RemoteStream, offered: Sequence[PayloadFormat], capabilities: AudioCapabilities
) -> AgreedFormats:
    """All codecs of the answer that we offered. We speak the first of them (RFC 3264 §7: it "SHOULD use the first media
    format listed in the answer"), and the peer any. The two sides may number a codec differently (§6.1).
    """
    agreed = _answered_codecs(stream.formats, offered, capabilities)
    if not agreed:
        raise _no_common_codec(stream, capabilities)
    codec, speech = next(iter(agreed.items()))
    events = _answered_events(stream.formats, offered, codec)
    rates_hz = dict.fromkeys(spoken.clock_rate_hz for spoken in agreed)
    return AgreedFormats(
        codec=codec,
        speech=speech,
        telephone_event=events,
        comfort_noise=_first(_answered_pair(stream.formats, offered, rate_hz, "CN") for rate_hz in rates_hz),
        further_codecs={pair.ours.payload_type: spoken for spoken, pair in agreed.items() if spoken != codec},
        further_telephone_events={
            pair.ours.payload_type: rate_hz
            for rate_hz in rates_hz
            if (pair := _answered_pair(stream.formats, offered, rate_hz, _EVENT)) is not None and pair != events
        },
    )


def _answered_codecs(
    answered: Sequence[PayloadFormat], offered: Sequence[PayloadFormat], capabilities: AudioCapabilities
) -> dict[CodecSpec, FormatPair]:
    """In the answer's order, each codec once."""
    agreed: dict[CodecSpec, FormatPair] = {}
    for payload in answered:
        for codec in capabilities.codecs:
            ours = next((candidate for candidate in offered if codec.matches(candidate)), None)
            if ours is not None and codec.matches(payload):
                agreed.setdefault(codec, FormatPair(payload, ours))
    return agreed


def _answered_events(
    answered: Sequence[PayloadFormat], offered: Sequence[PayloadFormat], codec: CodecSpec
) -> FormatPair | None:
    return _first(_answered_pair(answered, offered, rate, _EVENT) for rate in _event_clocks(codec))


def _first(pairs: Iterable[FormatPair | None]) -> FormatPair | None:
    return next((pair for pair in pairs if pair is not None), None)


def _answered_pair(
    answered: Sequence[PayloadFormat], offered: Sequence[PayloadFormat], clock_rate_hz: int, name: str
) -> FormatPair | None:
    theirs, ours = _on_clock(answered, clock_rate_hz, name), _on_clock(offered, clock_rate_hz, name)
    return None if theirs is None or ours is None else FormatPair(theirs, ours)


def _events_for(formats: Sequence[PayloadFormat], codec: CodecSpec) -> PayloadFormat | None:
    found = (_on_clock(formats, rate, _EVENT) for rate in _event_clocks(codec))
    return next((item for item in found if item is not None), None)


def _event_clocks(codec: CodecSpec) -> tuple[int, ...]:
    """RFC 4733 §2.1 puts events and speech on one timestamp clock. Twilio, and Asterisk up to 20.8, have events of
    8000 Hz alone, also beside Opus: their durations count on that clock, their timestamps are those of the speech.
    """
    return (codec.clock_rate_hz, _USUAL_EVENT_CLOCK_HZ)


def _on_clock(formats: Sequence[PayloadFormat], clock_rate_hz: int, name: str) -> PayloadFormat | None:
    return next(
        (item for item in formats if item.name.lower() == name.lower() and item.clock_rate_hz == clock_rate_hz),
        None,
    )


def in_use_first(codecs: Sequence[CodecSpec], in_use: CodecSpec) -> tuple[CodecSpec, ...]:
    """The same codecs, the one in use before the others."""
    return tuple(sorted(codecs, key=lambda codec: codec != in_use))


def _no_common_codec(stream: RemoteStream, capabilities: AudioCapabilities) -> NoCommonCodec:
    theirs = ", ".join(excerpt(str(payload)) for payload in stream.formats[:_FORMATS_IN_ERROR]) or "nothing known"
    ours = ", ".join(codec.rtpmap for codec in capabilities.codecs)
    return NoCommonCodec(f"No common codec: the peer has {theirs}; here are {ours}")


def _choose_crypto(stream: RemoteStream, policy: SrtpPolicy) -> CryptoLine:
    """RFC 4568 §7.1.2: the first offered line that we can honour; none is a refusal, never plain RTP."""
    for line in stream.crypto:
        if line.suite in policy.suites:
            return line
    raise NoUsableCrypto("Offer has no a=crypto line that can be used")
