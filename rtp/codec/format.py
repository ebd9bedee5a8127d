"""What a payload is made of: clock, octets and the octets of silence."""

from dataclasses import dataclass
from typing import Final

MAX_VARIABLE_OCTETS_PER_MS: Final = 64
"""RFC 6716: Opus at its highest rate of 510 kbit/s."""


@dataclass(frozen=True, slots=True)
class PayloadFormat:
    """One audio encoding as RTP carries it.

    `clock_rate_hz` counts RTP timestamps, not samples: G.722 samples at 16 kHz and says 8000 (RFC 3551 section 4.5.2).
    `octets_per_ms` is 0 where it varies (Opus). `silence` is the smallest run of octets that decodes to silence.
    """

    name: str
    clock_rate_hz: int
    octets_per_ms: int
    silence: bytes

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

    def samples(self, octets: int) -> int:
        """RTP timestamp units that `octets` of this format last; 0 where octets do not tell."""
        return octets * self.clock_rate_hz // (1000 * self.octets_per_ms) if self.octets_per_ms else 0


PCMU: Final = PayloadFormat("PCMU", 8000, 8, b"\xff")
PCMA: Final = PayloadFormat("PCMA", 8000, 8, b"\xd5")
L16_8K: Final = PayloadFormat("L16", 8000, 16, b"\x00\x00")
L16_16K: Final = PayloadFormat("L16", 16000, 32, b"\x00\x00")
