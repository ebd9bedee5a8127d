"""What a trunk says of its media: whose packets are heard, which codecs are spoken, and whether they are encrypted."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.config.trunk import Codec, InbandDigits, MediaSource, Srtp, TrunkSettings
from rtp.source_lock import SourcePolicy
from sip.sdp.capability import AudioCapabilities, SrtpMode, SrtpPolicy
from sip.sdp.codec import G722, L16_8K, L16_16K, OPUS, PCMA, PCMU, CodecSpec
from sip.sdp.crypto import CryptoSuite

# What the media clock can serve beside 20 ms. The far end's wish is kept (RFC 8866 §6.4).
FURTHER_PTIMES_MS: Final = (10, 30, 40, 50, 60)

# All that libsrtp has. What every carrier takes comes first, and the shortened authentication last.
SRTP_SUITES: Final = (
    CryptoSuite.AES_CM_128_HMAC_SHA1_80,
    CryptoSuite.AEAD_AES_256_GCM,
    CryptoSuite.AEAD_AES_128_GCM,
    CryptoSuite.AES_CM_128_HMAC_SHA1_32,
)

_SPECS: Final[dict[Codec, tuple[CodecSpec, ...]]] = {
    Codec.PCMU: (PCMU,),
    Codec.PCMA: (PCMA,),
    Codec.G722: (G722,),
    Codec.OPUS: (OPUS,),
    Codec.L16: (L16_16K, L16_8K),
}
_SRTP_MODES: Final = {
    Srtp.FORBIDDEN: SrtpMode.FORBIDDEN,
    Srtp.ALLOWED: SrtpMode.ALLOWED,
    Srtp.REQUIRED: SrtpMode.REQUIRED,
}


def _capabilities(codecs: tuple[CodecSpec, ...], srtp: SrtpMode = SrtpMode.ALLOWED) -> AudioCapabilities:
    return AudioCapabilities(
        codecs,
        srtp=SrtpPolicy(srtp, SRTP_SUITES),
        further_ptimes_ms=FURTHER_PTIMES_MS,
        comfort_noise=True,
        rtcp_mux=True,
    )


# Where no trunk says otherwise: what every telephone network speaks.
TELEPHONE: Final = _capabilities((PCMU, PCMA))


@dataclass(frozen=True, slots=True)
class MediaPolicy:
    """How a leg negotiates, and whom it hears, as rtp.source_lock takes it."""

    source: SourcePolicy = SourcePolicy.SAME_HOST
    source_allowed: Callable[[str], bool] | None = None
    capabilities: AudioCapabilities = TELEPHONE
    inband_digits: InbandDigits = InbandDigits.OFF

    @classmethod
    def of(cls, trunk: TrunkSettings) -> "MediaPolicy":
        """The policy of a trunk."""
        capabilities = _capabilities(
            tuple(spec for codec in trunk.codecs for spec in _SPECS[codec]), _SRTP_MODES[trunk.srtp]
        )
        match trunk.media_source:
            case MediaSource.NEGOTIATED:
                return cls(SourcePolicy.NEGOTIATED, None, capabilities, trunk.inband_digits)
            case MediaSource.SAME_HOST:
                return cls(SourcePolicy.SAME_HOST, None, capabilities, trunk.inband_digits)
            case MediaSource.CARRIER:
                return cls(SourcePolicy.LATCH, trunk.admits_media, capabilities, trunk.inband_digits)
            case MediaSource.ANY:
                return cls(SourcePolicy.LATCH, None, capabilities, trunk.inband_digits)

    def listens_for_digits(self, has_events: bool) -> bool:
        """Whether digits are looked for in the sound of a leg that has, or has not, agreed on telephone-events."""
        match self.inband_digits:
            case InbandDigits.AUTO:
                return not has_events
            case InbandDigits.ON:
                return True
            case InbandDigits.OFF:
                return False

    def allows(self, spec: CodecSpec) -> bool:
        """Whether the codec is among those of the trunk."""
        return spec in self.capabilities.codecs
