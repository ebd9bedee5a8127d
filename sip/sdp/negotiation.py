"""Offer and answer about one audio stream (RFC 3264, with RFC 4568 for keys).

    answer, audio = answer_offer(offer, capabilities, local)            an offer came in an INVITE
    offer = create_offer(capabilities, local)                           we call, or the INVITE had no offer
    audio = accept_answer(offer, answer, capabilities)                  its answer came (200, or ACK)

For a later round in the same call the agreement so far goes in as `previous=`. All functions are pure: when one raises,
the previous agreement still holds and the call goes on with it (RFC 3261 §14.1).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from sip.sdp.agreement import NegotiatedAudio
from sip.sdp.capability import AudioCapabilities, CodecPreference, LocalMedia, SrtpMode, SrtpPolicy
from sip.sdp.codec import COMFORT_NOISE, CodecSpec, PayloadFormat, payload_formats, telephone_event
from sip.sdp.crypto import CryptoLine, SrtpKeys, parse_crypto_lines
from sip.sdp.description import Direction, MediaDescription, SessionDescription
from sip.sdp.errors import (
    AnswerMismatch,
    NegotiationError,
    NoAudioStream,
    NoCommonCodec,
    NoUsableCrypto,
    SecureMediaRequired,
    SecureMediaUnavailable,
    StreamCountShrank,
    StreamRejected,
    TooManyStreams,
)
from sip.sdp.section import NumberedFormat, audio_section, describe, number_formats, refused_section
from sip.sdp.stream import Profile, RemoteStream, is_open_audio, is_secure, profile_of, read_stream

# An answer has as many m-lines as the offer (RFC 3264 §6), so more of them cannot be answered in part.
MAXIMUM_ANSWERED_STREAMS: Final = 16
_FORMATS_IN_ERROR: Final = 8


@dataclass(frozen=True, slots=True)
class _Choice:
    """What we take of one stream of the offer, all numbers as offered."""

    stream: RemoteStream
    codec: CodecSpec
    payload: PayloadFormat
    event: PayloadFormat | None
    noise: PayloadFormat | None
    crypto: CryptoLine | None


def answer_offer(
    offer: SessionDescription,
    capabilities: AudioCapabilities,
    local: LocalMedia,
    *,
    direction: Direction = Direction.SENDRECV,
    previous: NegotiatedAudio | None = None,
) -> tuple[SessionDescription, NegotiatedAudio]:
    """Answers an offer: one audio stream with one codec and telephone-event, every other m-line refused in its place.

    Args:
        offer: what the peer sent.
        capabilities: what we can do.
        local: our address and port; the peer's media shall come there.
        direction: what we would like; the answer is no wider than the offer allows (RFC 3264 §6.1).
        previous: the agreement so far, where the offer is not the call's first.

    Raises:
        NegotiationError: no agreement is possible; its class says why. Answer with its `status` (488).
    """
    if len(offer.media) > MAXIMUM_ANSWERED_STREAMS:
        raise TooManyStreams(f"Offer has {len(offer.media)} media streams; {MAXIMUM_ANSWERED_STREAMS} are answered")
    if previous is not None and len(offer.media) < len(previous.description.media):
        raise StreamCountShrank(
            f"Offer has {len(offer.media)} media streams and had {len(previous.description.media)} before"
        )
    if previous is not None and not any(media.port for media in offer.media):
        return _answer_removal(offer, local, previous)
    choice = _choose_stream(offer, capabilities, local, previous)
    stream = choice.stream
    keys = _answer_keys(choice.crypto, local, previous)
    ours = stream.direction.mirrored.limited_to(direction)
    ptime_ms = capabilities.choose_ptime_ms(stream.ptime_ms, stream.maxptime_ms)
    section = audio_section(
        local,
        offer.media[stream.index].protocol,
        _answer_formats(choice),
        ptime_ms=ptime_ms,
        direction=ours,
        crypto=() if keys is None else (CryptoLine(keys.tag, keys.suite, keys.tx),),
        rtcp_mux=stream.rtcp_mux,
    )
    answer = describe(
        local,
        (section if index == stream.index else refused_section(media) for index, media in enumerate(offer.media)),
        None if previous is None else previous.description,
        offer.timings,
    )
    return answer, NegotiatedAudio(
        codec=choice.codec,
        payload_type_tx=choice.payload.payload_type,
        payload_type_rx=choice.payload.payload_type,
        telephone_event_payload_type_tx=_number(choice.event),
        telephone_event_payload_type_rx=_number(choice.event),
        comfort_noise_payload_type_tx=_number(choice.noise),
        comfort_noise_payload_type_rx=_number(choice.noise),
        remote_address=stream.address,
        remote_rtcp=stream.rtcp_address,
        rtcp_mux=stream.rtcp_mux,
        direction=ours,
        ptime_ms=ptime_ms,
        maxptime_ms=stream.maxptime_ms,
        remote_fmtp=choice.payload.fmtp,
        secure=keys,
        on_hold=not stream.direction.receives,
        media_index=stream.index,
        description=answer,
    )


def create_offer(
    capabilities: AudioCapabilities,
    local: LocalMedia,
    *,
    direction: Direction = Direction.SENDRECV,
    previous: NegotiatedAudio | None = None,
) -> SessionDescription:
    """Offers one audio stream with all our codecs: for a call of ours, or in answer to an INVITE without an offer.

    With `previous` the m-lines, profile, running key and payload types so far are kept (RFC 3264 §8), the codec in use
    comes first, and the other m-lines stay refused.
    """
    if previous is None:
        before: MediaDescription | None = None
        protocol = Profile.SAVP if capabilities.srtp.mode is SrtpMode.REQUIRED else Profile.AVP
    else:
        before = previous.description.media[previous.media_index]
        protocol = profile_of(before)
        capabilities = replace(capabilities, codecs=_in_use_first(capabilities.codecs, previous.codec))
    section = audio_section(
        local,
        protocol.value,
        number_formats(capabilities, () if before is None else payload_formats(before)),
        ptime_ms=capabilities.ptime_ms,
        direction=direction,
        crypto=_offer_crypto(capabilities.srtp, local, previous) if protocol.is_secure else (),
        rtcp_mux=capabilities.rtcp_mux,
    )
    if previous is None:
        return describe(local, (section,), None)
    sections = list(map(refused_section, previous.description.media))
    sections[previous.media_index] = section
    return describe(local, sections, previous.description, previous.description.timings)


def accept_answer(
    offer: SessionDescription, answer: SessionDescription, capabilities: AudioCapabilities
) -> NegotiatedAudio:
    """Reads the answer to our offer, which `create_offer` made with the same capabilities.

    Of several codecs in the answer its first is taken. Call it again when a later answer comes (183, then 200).

    Raises:
        StreamRejected: the peer refuses audio.
        AnswerMismatch: the answer has other m-lines or another profile than the offer.
        NegotiationError: its other classes, as for an offer.
    """
    if len(answer.media) != len(offer.media):
        raise AnswerMismatch(f"Answer has {len(answer.media)} media streams where the offer has {len(offer.media)}")
    index = next((index for index, media in enumerate(offer.media) if is_open_audio(media)), None)
    if index is None or answer.media[index].media.lower() != "audio":
        raise AnswerMismatch("Answer has no audio stream in the place of the offered one")
    ours, theirs = offer.media[index], answer.media[index]
    if theirs.port == 0:
        raise StreamRejected("Answer refuses the audio stream")
    if profile_of(theirs) is not profile_of(ours):
        raise AnswerMismatch(f"Answer has profile {theirs.protocol[:40]} where the offer has {ours.protocol}")
    connection = ours.connection or offer.connection
    offered_formats = payload_formats(ours)
    stream = read_stream(
        answer,
        index,
        "IP4" if connection is None else connection.address_type,
        rtcp_mux=ours.attribute("rtcp-mux") is not None,
        known=offered_formats,
    )
    codec, payload, offered = _answered_codec(stream, offered_formats, capabilities)
    event = _same_clock(stream.formats, codec, "telephone-event")
    noise = _same_clock(stream.formats, codec, "CN")
    event_rx = _same_clock(offered_formats, codec, "telephone-event") if event is not None else None
    noise_rx = _same_clock(offered_formats, codec, "CN") if noise is not None else None
    offered_direction = ours.direction or offer.direction or Direction.SENDRECV
    return NegotiatedAudio(
        codec=codec,
        payload_type_tx=payload.payload_type,
        payload_type_rx=offered.payload_type,
        telephone_event_payload_type_tx=_number(event) if event_rx is not None else None,
        telephone_event_payload_type_rx=_number(event_rx),
        comfort_noise_payload_type_tx=_number(noise) if noise_rx is not None else None,
        comfort_noise_payload_type_rx=_number(noise_rx),
        remote_address=stream.address,
        remote_rtcp=stream.rtcp_address,
        rtcp_mux=stream.rtcp_mux,
        direction=stream.direction.mirrored.limited_to(offered_direction),
        ptime_ms=capabilities.choose_ptime_ms(stream.ptime_ms, stream.maxptime_ms),
        maxptime_ms=stream.maxptime_ms,
        remote_fmtp=payload.fmtp,
        secure=_answered_keys(stream, ours) if stream.profile.is_secure else None,
        on_hold=offered_direction.sends and not stream.direction.receives,
        media_index=index,
        description=offer,
    )


def _choose_stream(
    offer: SessionDescription, capabilities: AudioCapabilities, local: LocalMedia, previous: NegotiatedAudio | None
) -> _Choice:
    """The first stream that suits. When none does, the reason of the one that we would have liked best is told."""
    reason: NegotiationError | None = None
    for index in _candidates(offer, capabilities.srtp, previous):
        try:
            return _choose(offer, index, capabilities, local, previous)
        except NegotiationError as error:
            reason = reason or error
    raise reason or NoAudioStream("Offer has no audio stream")


def _candidates(offer: SessionDescription, policy: SrtpPolicy, previous: NegotiatedAudio | None) -> list[int]:
    """Open audio streams: the one in use first, then secure ones where we may choose (Asterisk's and Snom's
    best-effort SRTP is two m=audio lines), then in the order of the offer.
    """
    indexes = [index for index, media in enumerate(offer.media) if is_open_audio(media)]
    in_use = None if previous is None else previous.media_index
    prefers_secure = policy.mode is not SrtpMode.FORBIDDEN
    return sorted(
        indexes, key=lambda index: (index != in_use, is_secure(offer.media[index]) is not prefers_secure, index)
    )


def _choose(
    offer: SessionDescription,
    index: int,
    capabilities: AudioCapabilities,
    local: LocalMedia,
    previous: NegotiatedAudio | None,
) -> _Choice:
    profile = profile_of(offer.media[index])
    mode = capabilities.srtp.mode
    if profile.is_secure and mode is SrtpMode.FORBIDDEN:
        raise SecureMediaUnavailable(f"Media profile {profile.value} is not taken here")
    if not profile.is_secure and mode is SrtpMode.REQUIRED:
        raise SecureMediaRequired(f"Media profile {profile.value} is not secure; RTP/SAVP is required")
    stream = read_stream(offer, index, local.address_type, rtcp_mux=capabilities.rtcp_mux)
    codec, payload = _choose_codec(stream, capabilities, None if previous is None else previous.codec)
    return _Choice(
        stream=stream,
        codec=codec,
        payload=payload,
        event=_same_clock(stream.formats, codec, "telephone-event") if capabilities.telephone_event else None,
        noise=_same_clock(stream.formats, codec, "CN") if capabilities.comfort_noise else None,
        crypto=_choose_crypto(stream, capabilities.srtp) if profile.is_secure else None,
    )


def _choose_codec(
    stream: RemoteStream, capabilities: AudioCapabilities, in_use: CodecSpec | None
) -> tuple[CodecSpec, PayloadFormat]:
    """By our order or theirs. By ours, the codec in use stays while it is offered, so a hold changes nothing else."""
    common = [(codec, payload) for payload in stream.formats for codec in capabilities.codecs if codec.matches(payload)]
    if not common:
        raise _no_common_codec(stream, capabilities)
    if capabilities.preference is CodecPreference.THEIRS:
        return common[0]
    order = capabilities.codecs if in_use is None else _in_use_first(capabilities.codecs, in_use)
    return min(common, key=lambda pair: order.index(pair[0]))


def _answered_codec(
    stream: RemoteStream, offered_formats: Sequence[PayloadFormat], capabilities: AudioCapabilities
) -> tuple[CodecSpec, PayloadFormat, PayloadFormat]:
    """Our codec, the answer's format and the offer's: the two may differ in payload type (RFC 3264 §6.1)."""
    for payload in stream.formats:
        for codec in capabilities.codecs:
            offered = next((candidate for candidate in offered_formats if codec.matches(candidate)), None)
            if offered is not None and codec.matches(payload):
                return codec, payload, offered
    raise _no_common_codec(stream, capabilities)


def _no_common_codec(stream: RemoteStream, capabilities: AudioCapabilities) -> NoCommonCodec:
    theirs = ", ".join(str(payload)[:32] for payload in stream.formats[:_FORMATS_IN_ERROR]) or "nothing known"
    ours = ", ".join(codec.rtpmap for codec in capabilities.codecs)
    return NoCommonCodec(f"No common codec: the peer has {theirs}; here are {ours}")


def _in_use_first(codecs: Sequence[CodecSpec], in_use: CodecSpec) -> tuple[CodecSpec, ...]:
    return tuple(sorted(codecs, key=lambda codec: codec != in_use))


def _same_clock(formats: Sequence[PayloadFormat], codec: CodecSpec, name: str) -> PayloadFormat | None:
    """RFC 4733 §2.1 puts events and speech on one timestamp clock, so an event format on another one is of no use."""
    return next(
        (item for item in formats if item.name.lower() == name.lower() and item.clock_rate_hz == codec.clock_rate_hz),
        None,
    )


def _number(payload: PayloadFormat | None) -> int | None:
    return None if payload is None else payload.payload_type


def _answer_formats(choice: _Choice) -> tuple[NumberedFormat, ...]:
    """RFC 3264 §6.1 lets us mirror the offer's payload types, and some peers count on it."""
    formats = [(choice.payload.payload_type, choice.codec)]
    if choice.event is not None:
        formats.append((choice.event.payload_type, telephone_event(choice.event.clock_rate_hz)))
    if choice.noise is not None:
        formats.append((choice.noise.payload_type, COMFORT_NOISE))
    return tuple(formats)


def _answer_removal(
    offer: SessionDescription, local: LocalMedia, previous: NegotiatedAudio
) -> tuple[SessionDescription, NegotiatedAudio]:
    """RFC 3264 §8.2: a re-offer with port zero removes the stream, and its answer must say so too. The call stays up
    and may get its stream back by a later offer.
    """
    answer = describe(local, map(refused_section, offer.media), previous.description, offer.timings)
    return answer, replace(
        previous,
        remote_address=None,
        remote_rtcp=None,
        direction=Direction.INACTIVE,
        secure=None,
        on_hold=True,
        description=answer,
    )


def _choose_crypto(stream: RemoteStream, policy: SrtpPolicy) -> CryptoLine:
    """RFC 4568 §7.1.2: the first offered line that we can honour; none is a refusal, never plain RTP."""
    for line in stream.crypto:
        if line.suite in policy.suites:
            return line
    raise NoUsableCrypto("Offer has no a=crypto line that can be used")


def _answer_keys(line: CryptoLine | None, local: LocalMedia, previous: NegotiatedAudio | None) -> SrtpKeys | None:
    """Our key for an answer. While the peer keeps its key we keep ours, so a hold does not restart the encryption."""
    if line is None:
        return None
    running = None if previous is None else previous.secure
    if running is not None and running.suite is line.suite and running.rx == line.key_and_salt:
        return replace(running, tag=line.tag)
    return SrtpKeys(line.suite, line.tag, tx=local.key_source(line.suite.key_and_salt_bytes), rx=line.key_and_salt)


def _offer_crypto(policy: SrtpPolicy, local: LocalMedia, previous: NegotiatedAudio | None) -> list[CryptoLine]:
    """The running key where there is one, else a line with a key of its own for each suite (RFC 4568 §7.1.1)."""
    if previous is not None and previous.secure is not None:
        keys = previous.secure
        return [CryptoLine(keys.tag, keys.suite, keys.tx)]
    return [
        CryptoLine(tag, suite, local.key_source(suite.key_and_salt_bytes)) for tag, suite in enumerate(policy.suites, 1)
    ]


def _answered_keys(stream: RemoteStream, ours: MediaDescription) -> SrtpKeys:
    """RFC 4568 §7.1.3: the answer's line must have the tag and the suite of one that we offered."""
    offered = {(line.tag, line.suite): line for line in parse_crypto_lines(ours.values("crypto"))}
    for line in stream.crypto:
        mine = offered.get((line.tag, line.suite))
        if mine is not None:
            return SrtpKeys(line.suite, line.tag, tx=mine.key_and_salt, rx=line.key_and_salt)
    raise NoUsableCrypto("Answer has no a=crypto line that belongs to the offer")
