"""What a payload is made of: clock, octets and the octets of silence."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

MAX_VARIABLE_OCTETS_PER_MS: Final = 64
"""RFC 6716: Opus at its highest rate of 510 kbit/s."""


@dataclass(frozen=True, slots=True)
class PayloadFormat:
    """One audio encoding as RTP carries it.

    `clock_rate_hz` counts RTP timestamps, not samples: G.722 samples at 16 kHz and says 8000 (RFC 3551 section 4.5.2).
    `octets_per_ms` is 0 where it varies (Opus), and `measure` then tells the timestamp units of a payload. `silence` is
    the smallest run of octets that decodes to silence.
    """

    name: str
    clock_rate_hz: int
    octets_per_ms: int
    silence: bytes
    measure: Callable[[bytes], int] | None = None

    @property
    def is_constant_rate(self) -> bool:
        """Whether octets tell milliseconds."""
        return self.octets_per_ms > 0

    def frame_octets(self, ptime_ms: int) -> int:
        """Octets of one packet of `ptime_ms`."""
        return self.octets_per_ms * ptime_ms

    def frame_samples(self, ptime_ms: int) -> int:
        """RTP timestamp units of one packet of `ptime_ms`."""
        return self.clock_rate_hz * ptime_ms // 1000

    @property
    def octet_shift(self) -> int:
        """Shift from octets to RTP timestamp units, a power of two in all constant formats."""
        return max(0, (1000 * self.octets_per_ms // self.clock_rate_hz).bit_length() - 1)

    def largest_octets(self, packet_ms: int) -> int:
        """The most octets that a packet of `packet_ms` can have."""
        return (self.octets_per_ms or MAX_VARIABLE_OCTETS_PER_MS) * packet_ms

    def silence_of(self, octets: int) -> bytes:
        """`octets` octets of silence, cut to that length; nothing where silence has no fixed octets."""
        return (self.silence * (octets // len(self.silence) + 1))[:octets] if self.silence else b""

    def milliseconds(self, octets: int) -> int:
        """How long `octets` of this format last, rounded down."""
        return octets // self.octets_per_ms

    def samples(self, payload: bytes) -> int:
        """RTP timestamp units that a payload lasts; 0 where it does not tell."""
        if self.octets_per_ms:
            return len(payload) * self.clock_rate_hz // (1000 * self.octets_per_ms)
        return self.measure(payload) if self.measure is not None else 0


def opus_samples(payload: bytes) -> int:
    """Duration of an Opus packet at 48 kHz, from its table of contents (RFC 6716 section 3.1); 0 for nonsense."""
    if not payload:
        return 0
    configuration, code = payload[0] >> 3, payload[0] & 3
    if configuration < 12:
        frame = (480, 960, 1920, 2880)[configuration & 3]
    elif configuration < 16:
        frame = (480, 960)[configuration & 1]
    else:
        frame = (120, 240, 480, 960)[configuration & 3]
    frames = 1 if code == 0 else 2
    if code == 3:
        frames = payload[1] & 0x3F if len(payload) > 1 else 0
    # Section 3.2.5: "MUST NOT be more than 120 ms".
    return frame * frames if frame * frames <= 5760 else 0


PCMU: Final = PayloadFormat("PCMU", 8000, 8, b"\xff")
PCMA: Final = PayloadFormat("PCMA", 8000, 8, b"\xd5")
L16_8K: Final = PayloadFormat("L16", 8000, 16, b"\x00\x00")
L16_16K: Final = PayloadFormat("L16", 16000, 32, b"\x00\x00")
G722: Final = PayloadFormat("G722", 8000, 8, b"\xff")
"""These octets stand for silence where a frame is missing; a stream's own silence is encoded as all else is."""
OPUS: Final = PayloadFormat("opus", 48000, 0, b"", opus_samples)
OPUS_PLAYOUT: Final = PayloadFormat("PCM", 24000, 48, b"\x00\x00")
"""What waits to be sent as Opus: native int16 samples at the rate that speech models speak; encoded when sent."""
G722_PLAYOUT: Final = PayloadFormat("PCM", 16000, 32, b"\x00\x00")
"""The same for G.722, whose decoder follows the encoder's state from octet to octet: silence of fixed octets between
two pieces of speech leads it astray, and the next word comes as a bang or fades in."""

_PLAYOUT: Final = {OPUS: OPUS_PLAYOUT, G722: G722_PLAYOUT}


def playout_format_of(payload_format: PayloadFormat) -> PayloadFormat:
    """What waits to be sent: the payload itself, or samples where each frame is encoded when it is sent."""
    return _PLAYOUT.get(payload_format, payload_format)
