"""What we write: our own `m=audio` section, refused sections, and the description around them."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from sip.sdp.capability import AudioCapabilities, LocalMedia
from sip.sdp.codec import (
    COMFORT_NOISE,
    FIRST_DYNAMIC_PAYLOAD_TYPE,
    LAST_DYNAMIC_PAYLOAD_TYPE,
    CodecSpec,
    PayloadFormat,
    format_attributes,
    telephone_event,
)
from sip.sdp.crypto import CryptoLine
from sip.sdp.description import Attribute, Direction, MediaDescription, SessionDescription, Timing

# The number that Twilio and most carriers use for telephone-event/8000, so it is kept free for that.
_USUAL_EVENT_PAYLOAD_TYPE: Final = 101
_DYNAMIC_PAYLOAD_TYPES: Final = range(FIRST_DYNAMIC_PAYLOAD_TYPE, LAST_DYNAMIC_PAYLOAD_TYPE + 1)

NumberedFormat = tuple[int, CodecSpec]


def audio_section(
    local: LocalMedia,
    protocol: str,
    formats: Sequence[NumberedFormat],
    *,
    ptime_ms: int,
    direction: Direction,
    crypto: Iterable[CryptoLine] = (),
    rtcp_mux: bool = False,
) -> MediaDescription:
    """Our audio stream, its formats in order of preference."""
    attributes = [line for number, codec in formats for line in format_attributes(number, codec)]
    attributes.append(Attribute("ptime", str(ptime_ms)))
    attributes.extend(Attribute("crypto", str(line)) for line in crypto)
    if rtcp_mux:
        attributes.append(Attribute("rtcp-mux"))
    attributes.append(Attribute(direction.value))
    return MediaDescription(
        media="audio",
        port=local.port,
        protocol=protocol,
        formats=tuple(str(number) for number, _ in formats),
        attributes=tuple(attributes),
    )


def refused_section(media: MediaDescription) -> MediaDescription:
    """RFC 3264 §6: port zero in the same place. At least one format must stand there and none of them means anything,
    so one is enough, which also keeps an answer smaller than its offer.
    """
    return MediaDescription(media.media, 0, media.protocol, media.formats[:1])


def describe(
    local: LocalMedia,
    media: Iterable[MediaDescription],
    previous: SessionDescription | None,
    timings: tuple[Timing, ...] = (Timing(),),
) -> SessionDescription:
    """RFC 3264 §8: within a call the origin stays the same but for its version, which goes up with every description.

    `timings` are the offer's in an answer (RFC 3264 §6: the t= line "MUST equal that of the offer").
    """
    if previous is None:
        origin = local.origin(local.version)
    else:
        version = max(local.version, previous.origin.session_version + 1)
        origin = replace(previous.origin, session_version=version)
    return SessionDescription(origin=origin, connection=local.connection, media=tuple(media), timings=timings)


def number_formats(capabilities: AudioCapabilities, before: Sequence[PayloadFormat]) -> tuple[NumberedFormat, ...]:
    """Payload types for everything that we offer: all codecs, then telephone-event on each of their clocks.

    RFC 3264 §8.3.2: a number keeps its meaning for the whole session, so `before` (the formats of our last
    description) is asked first and its numbers are not given to anything else.
    """
    codecs = list(capabilities.codecs)
    if capabilities.telephone_event:
        codecs += [telephone_event(rate) for rate in dict.fromkeys(codec.clock_rate_hz for codec in codecs)]
    if capabilities.comfort_noise and any(codec.clock_rate_hz == 8000 for codec in capabilities.codecs):
        codecs.append(COMFORT_NOISE)
    taken = {payload.payload_type for payload in before}
    numbered: list[NumberedFormat] = []
    for codec in codecs:
        number = next((payload.payload_type for payload in before if codec.matches(payload)), None)
        if number is None:
            number = _new_number(codec, taken)
        taken.add(number)
        numbered.append((number, codec))
    return tuple(numbered)


def _new_number(codec: CodecSpec, taken: set[int]) -> int:
    if codec.static_payload_type is not None and codec.static_payload_type not in taken:
        return codec.static_payload_type
    if codec == telephone_event(8000) and _USUAL_EVENT_PAYLOAD_TYPE not in taken:
        return _USUAL_EVENT_PAYLOAD_TYPE
    return next(
        number for number in _DYNAMIC_PAYLOAD_TYPES if number not in taken and number != _USUAL_EVENT_PAYLOAD_TYPE
    )
