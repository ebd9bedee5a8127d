"""Offer and answer about one audio stream (RFC 3264, with RFC 4568 for keys).

    answer, audio = answer_offer(offer, capabilities, local)            an offer came in an INVITE
    offer = create_offer(capabilities, local)                           we call, or the INVITE had no offer
    audio = accept_answer(offer, answer, capabilities)                  its answer came (200, or ACK)

For a later round in the same call the agreement so far goes in as `previous=`. All functions are pure: when one raises,
the previous agreement still holds and the call goes on with it (RFC 3261 §14.1).
"""

from dataclasses import replace
from typing import Final

from sip.sdp.agreement import NegotiatedAudio
from sip.sdp.capability import AudioCapabilities, LocalMedia, SrtpMode, SrtpPolicy
from sip.sdp.choice import (
    AgreedFormats,
    FormatPair,
    choose_stream,
    formats_of_answer,
    in_use_first,
)
from sip.sdp.codec import COMFORT_NOISE, payload_formats, telephone_event
from sip.sdp.crypto import CryptoLine, SrtpKeys, parse_crypto_lines
from sip.sdp.description import Direction, MediaDescription, SessionDescription
from sip.sdp.errors import AnswerMismatch, NoUsableCrypto, StreamCountShrank, StreamRejected, TooManyStreams
from sip.sdp.excerpt import excerpt
from sip.sdp.section import NumberedFormat, audio_section, describe, number_formats, refused_section
from sip.sdp.stream import Profile, RemoteStream, is_open_audio, profile_of, read_stream

# An answer has as many m-lines as the offer (RFC 3264 §6), so more of them cannot be answered in part.
MAXIMUM_ANSWERED_STREAMS: Final = 16


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
    _check_stream_count(offer, previous)
    if previous is not None and not any(media.port for media in offer.media):
        return _answer_removal(offer, local, previous)
    choice = choose_stream(offer, capabilities, local.address_type, previous)
    stream = choice.stream
    keys = _answer_keys(choice.crypto, local, previous)
    ours = stream.direction.mirrored.limited_to(direction)
    ptime_ms = capabilities.choose_ptime_ms(choice.formats.codec, stream.ptime_ms, stream.maxptime_ms)
    section = audio_section(
        local,
        offer.media[stream.index].protocol,
        _answer_formats(choice.formats),
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
    on_hold = not stream.direction.receives
    return answer, _agreement(
        stream, choice.formats, answer, direction=ours, ptime_ms=ptime_ms, keys=keys, on_hold=on_hold
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
    before: MediaDescription | None = None
    protocol = Profile.SAVP.value if capabilities.srtp.mode is SrtpMode.REQUIRED else Profile.AVP.value
    if previous is not None:
        before = previous.description.media[previous.media_index]
        protocol = profile_of(before).value
        capabilities = replace(capabilities, codecs=in_use_first(capabilities.codecs, previous.codec))
    section = audio_section(
        local,
        protocol,
        number_formats(capabilities, () if before is None else payload_formats(before)),
        ptime_ms=capabilities.ptime_ms,
        direction=direction,
        crypto=_offer_crypto(capabilities.srtp, local, previous) if Profile(protocol).is_secure else (),
        rtcp_mux=capabilities.rtcp_mux,
    )
    if previous is None:
        return describe(local, (section,), None)
    sections = [refused_section(media) for media in previous.description.media]
    sections[previous.media_index] = section
    return describe(local, sections, previous.description, previous.description.timings)


def accept_answer(
    offer: SessionDescription, answer: SessionDescription, capabilities: AudioCapabilities
) -> NegotiatedAudio:
    """Reads the answer to our offer, which `create_offer` made with the same capabilities.

    Of several codecs in the answer the first is what we send; the peer may send any. Call it again when a later answer
    comes (183, then 200).

    Raises:
        StreamRejected: the peer refuses audio.
        AnswerMismatch: the answer has other m-lines or another profile than the offer.
        NegotiationError: its other classes, as for an offer.
    """
    index = _answered_index(offer, answer)
    ours = offer.media[index]
    offered = payload_formats(ours)
    connection = ours.connection or offer.connection
    stream = read_stream(
        answer,
        index,
        "IP4" if connection is None else connection.address_type,
        rtcp_mux=ours.attribute("rtcp-mux") is not None,
        known=offered,
    )
    formats = formats_of_answer(stream, offered, capabilities)
    wanted = ours.direction or offer.direction or Direction.SENDRECV
    return _agreement(
        stream,
        formats,
        offer,
        direction=stream.direction.mirrored.limited_to(wanted),
        ptime_ms=capabilities.choose_ptime_ms(formats.codec, stream.ptime_ms, stream.maxptime_ms),
        keys=_answered_keys(stream, ours) if stream.profile.is_secure else None,
        on_hold=wanted.sends and not stream.direction.receives,
    )


def _check_stream_count(offer: SessionDescription, previous: NegotiatedAudio | None) -> None:
    count = len(offer.media)
    if count > MAXIMUM_ANSWERED_STREAMS:
        raise TooManyStreams(f"Offer has {count} media streams; {MAXIMUM_ANSWERED_STREAMS} are answered")
    if previous is not None and count < len(previous.description.media):
        raise StreamCountShrank(f"Offer has {count} media streams and had {len(previous.description.media)} before")


def _answered_index(offer: SessionDescription, answer: SessionDescription) -> int:
    """The m-line of the stream that we offered, after a look at whether the answer belongs to the offer at all."""
    if len(answer.media) != len(offer.media):
        raise AnswerMismatch(f"Answer has {len(answer.media)} media streams where the offer has {len(offer.media)}")
    index = next((index for index, media in enumerate(offer.media) if is_open_audio(media)), None)
    if index is None or answer.media[index].media.lower() != "audio":
        raise AnswerMismatch("Answer has no audio stream in the place of the offered one")
    ours, theirs = offer.media[index], answer.media[index]
    if theirs.port == 0:
        raise StreamRejected("Answer refuses the audio stream")
    if profile_of(theirs) is not profile_of(ours):
        raise AnswerMismatch(f"Answer has profile {excerpt(theirs.protocol)} where the offer has {ours.protocol}")
    return index


def _agreement(
    stream: RemoteStream,
    formats: AgreedFormats,
    description: SessionDescription,
    *,
    direction: Direction,
    ptime_ms: int,
    keys: SrtpKeys | None,
    on_hold: bool,
) -> NegotiatedAudio:
    event_tx, event_rx = _numbers(formats.telephone_event)
    noise_tx, noise_rx = _numbers(formats.comfort_noise)
    return NegotiatedAudio(
        codec=formats.codec,
        payload_type_tx=formats.speech.theirs.payload_type,
        payload_type_rx=formats.speech.ours.payload_type,
        telephone_event_payload_type_tx=event_tx,
        telephone_event_payload_type_rx=event_rx,
        comfort_noise_payload_type_tx=noise_tx,
        comfort_noise_payload_type_rx=noise_rx,
        remote_address=stream.address,
        remote_rtcp=stream.rtcp_address,
        rtcp_mux=stream.rtcp_mux,
        direction=direction,
        ptime_ms=ptime_ms,
        maxptime_ms=stream.maxptime_ms,
        remote_fmtp=formats.speech.theirs.fmtp,
        secure=keys,
        on_hold=on_hold,
        media_index=stream.index,
        description=description,
        telephone_event_clock_rate_hz=(
            None if formats.telephone_event is None else formats.telephone_event.theirs.clock_rate_hz
        ),
        further_codecs=formats.further_codecs,
        further_telephone_events=formats.further_telephone_events,
    )


def _numbers(pair: FormatPair | None) -> tuple[int | None, int | None]:
    return (None, None) if pair is None else (pair.theirs.payload_type, pair.ours.payload_type)


def _answer_formats(formats: AgreedFormats) -> tuple[NumberedFormat, ...]:
    """RFC 3264 §6.1 lets us mirror the offer's payload types, and some peers count on it."""
    numbered = [(formats.speech.ours.payload_type, formats.codec)]
    if formats.telephone_event is not None:
        event = formats.telephone_event.ours
        numbered.append((event.payload_type, telephone_event(event.clock_rate_hz)))
    if formats.comfort_noise is not None:
        noise = formats.comfort_noise.ours
        numbered.append((noise.payload_type, replace(COMFORT_NOISE, clock_rate_hz=noise.clock_rate_hz)))
    return tuple(numbered)


def _answer_removal(
    offer: SessionDescription, local: LocalMedia, previous: NegotiatedAudio
) -> tuple[SessionDescription, NegotiatedAudio]:
    """RFC 3264 §8.2: a re-offer with port zero removes the stream, and its answer must say so too. The call stays up
    and may get its stream back by a later offer.
    """
    sections = (refused_section(media) for media in offer.media)
    answer = describe(local, sections, previous.description, offer.timings)
    return answer, replace(
        previous,
        remote_address=None,
        remote_rtcp=None,
        direction=Direction.INACTIVE,
        secure=None,
        on_hold=True,
        description=answer,
    )


def _answer_keys(line: CryptoLine | None, local: LocalMedia, previous: NegotiatedAudio | None) -> SrtpKeys | None:
    """Our key for an answer. While the peer keeps its key we keep ours, so a hold does not restart the encryption."""
    if line is None:
        return None
    running = None if previous is None else previous.secure
    if running is not None and running.suite is line.suite and running.rx == line.key_and_salt:
        return replace(running, tag=line.tag, rx_mki=line.mki)
    ours = local.key_source(line.suite.key_and_salt_bytes)
    return SrtpKeys(line.suite, line.tag, tx=ours, rx=line.key_and_salt, rx_mki=line.mki)


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
            return SrtpKeys(line.suite, line.tag, tx=mine.key_and_salt, rx=line.key_and_salt, rx_mki=line.mki)
    raise NoUsableCrypto("Answer has no a=crypto line that belongs to the offer")
