"""Audio codecs as session descriptions name them: payload types, `rtpmap` and `fmtp` (RFC 3551, RFC 8866 §6.6)."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from sip.sdp import grammar
from sip.sdp.description import Attribute, MediaDescription

FIRST_DYNAMIC_PAYLOAD_TYPE: Final = 96
LAST_DYNAMIC_PAYLOAD_TYPE: Final = 127
MAXIMUM_PAYLOAD_TYPE: Final = 127


@dataclass(frozen=True, slots=True)
class CodecSpec:
    """A codec that we can send and receive.

    `clock_rate_hz` is the RTP clock, which for G.722 is not the sampling rate. `fmtp` is what we say of our receiver
    ("" for nothing); the peer's own parameters are in `NegotiatedAudio.remote_fmtp`. `ptimes_ms` are the packet times
    that the codec knows, where it does not know all.
    """

    name: str
    clock_rate_hz: int
    channels: int = 1
    static_payload_type: int | None = None
    fmtp: str = ""
    ptimes_ms: tuple[int, ...] = ()

    @property
    def rtpmap(self) -> str:
        """The value after the payload type, such as `opus/48000/2`."""
        channels = f"/{self.channels}" if self.channels > 1 else ""
        return f"{self.name}/{self.clock_rate_hz}{channels}"

    def matches(self, payload: "PayloadFormat") -> bool:
        """Whether the peer's format is this codec; encoding names are compared without case (RFC 4855 §3)."""
        if payload.name.lower() != self.name.lower():
            return False
        if self.name == "G722":
            # RFC 3551 §4.5.2: the RTP clock is 8000 though the sampling rate is 16000, an error kept for
            # compatibility. Phones that "correct" it write 16000, and still count timestamps at 8000.
            return payload.clock_rate_hz in {8000, 16000} and payload.channels == 1
        if self.name == "opus":
            # RFC 7587 §7: "the number of channels MUST be 2". Snom phones up to 2014 wrote opus/48000.
            return payload.clock_rate_hz == self.clock_rate_hz and payload.channels in {1, 2}
        return payload.clock_rate_hz == self.clock_rate_hz and payload.channels == self.channels


PCMU: Final = CodecSpec("PCMU", 8000, static_payload_type=0)
PCMA: Final = CodecSpec("PCMA", 8000, static_payload_type=8)
G722: Final = CodecSpec("G722", 8000, static_payload_type=9)
# RFC 6716 §2.1.4 knows no frames of 30 and 50 ms.
OPUS: Final = CodecSpec("opus", 48000, channels=2, fmtp="useinbandfec=1", ptimes_ms=(10, 20, 40, 60))
L16_8K: Final = CodecSpec("L16", 8000)
L16_16K: Final = CodecSpec("L16", 16000)
COMFORT_NOISE: Final = CodecSpec("CN", 8000, static_payload_type=13)


def telephone_event(clock_rate_hz: int) -> CodecSpec:
    """RFC 4733 §2.4.1. Events 0-15 are the sixteen DTMF digits, 16 is the hook flash, which trunks add (Twilio)."""
    return CodecSpec("telephone-event", clock_rate_hz, fmtp="0-16")


@dataclass(frozen=True, slots=True)
class PayloadFormat:
    """One entry of an m-line's format list with its `rtpmap` and `fmtp`, as one side declared it."""

    payload_type: int
    name: str
    clock_rate_hz: int
    channels: int = 1
    fmtp: str = ""

    def __str__(self) -> str:
        return f"{self.name}/{self.clock_rate_hz}" + (f"/{self.channels}" if self.channels > 1 else "")


# RFC 3551 table 4: the static types that peers offer without an rtpmap (RFC 3264 §5.1 only recommends one).
_STATIC: Final = {
    payload.payload_type: payload
    for payload in (
        PayloadFormat(0, "PCMU", 8000),
        PayloadFormat(3, "GSM", 8000),
        PayloadFormat(4, "G723", 8000),
        PayloadFormat(8, "PCMA", 8000),
        PayloadFormat(9, "G722", 8000),
        PayloadFormat(10, "L16", 44100, 2),
        PayloadFormat(11, "L16", 44100),
        PayloadFormat(13, "CN", 8000),
        PayloadFormat(15, "G728", 8000),
        PayloadFormat(18, "G729", 8000),
    )
}


def payload_formats(media: MediaDescription, known: Iterable[PayloadFormat] = ()) -> tuple[PayloadFormat, ...]:
    """The formats of an m-line in its order of preference; what has no meaning is left out.

    An rtpmap comes before the static table, and `known` (our own offer, when this is its answer) after both: some
    answerers list a dynamic payload type without repeating its rtpmap.
    """
    table = {payload.payload_type: payload for payload in known} | _STATIC | _rtpmaps(media)
    parameters = _format_parameters(media)
    formats: dict[int, PayloadFormat] = {}
    for text in media.formats:
        if grammar.PAYLOAD_TYPE.fullmatch(text) and (payload := table.get(int(text))) is not None:
            formats.setdefault(payload.payload_type, replace(payload, fmtp=parameters.get(text, "")))
    return tuple(formats.values())


def _rtpmaps(media: MediaDescription) -> dict[int, PayloadFormat]:
    """Malformed rtpmap lines are passed over: they cost the peer that payload type, not the call."""
    table: dict[int, PayloadFormat] = {}
    for value in media.values("rtpmap"):
        match = grammar.RTPMAP.fullmatch(value)
        if match is None or (number := int(match[1])) > MAXIMUM_PAYLOAD_TYPE:
            continue
        if number not in table:
            table[number] = PayloadFormat(number, match[2], int(match[3]), int(match[4] or 1))
    return table


def _format_parameters(media: MediaDescription) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for value in media.values("fmtp"):
        match = grammar.FMTP.fullmatch(value)
        if match is not None:
            parameters.setdefault(match[1], match[2])
    return parameters


def format_attributes(payload_type: int, codec: CodecSpec) -> tuple[Attribute, ...]:
    """The rtpmap and, where there is something to say, the fmtp of one of our formats."""
    lines = [Attribute("rtpmap", f"{payload_type} {codec.rtpmap}")]
    if codec.fmtp:
        lines.append(Attribute("fmtp", f"{payload_type} {codec.fmtp}"))
    return tuple(lines)
