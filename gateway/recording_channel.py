"""One channel of a recording: what its octets are, and the way from them to the file's samples."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gateway.realtime.capability import AudioFormat
from rtp.codec import g711
from rtp.codec.audio import decoder_of
from rtp.codec.format import G722_PLAYOUT, OPUS_PLAYOUT, PCMA, PCMU, PayloadFormat
from rtp.codec.resampling import Resampler

Samples = NDArray[np.int16]

TELEPHONE_RATE_HZ: Final = 8000


@dataclass(frozen=True, slots=True)
class ChannelFormat:
    """Octets of one channel. `sample_octets` is the least that can be left out or said twice without harm."""

    rate_hz: int
    octets_per_ms: int
    sample_octets: int
    silence: bytes
    decoder: Callable[[], Callable[[bytes], Samples]]

    def silence_of(self, octets: int) -> bytes:
        """So many octets of silence."""
        return (self.silence * (octets // len(self.silence) + 1))[:octets]

    @classmethod
    def of_model(cls, audio_format: AudioFormat) -> "ChannelFormat":
        """What a bridge carries to a model."""
        return _OF_MODEL[audio_format]

    @classmethod
    def of_playout(cls, payload_format: PayloadFormat) -> "ChannelFormat":
        """What a playout hands to the socket, before it is encoded where each frame is."""
        known = _OF_PLAYOUT.get(payload_format)
        if known is not None:
            return known
        rate_hz = decoder_of(payload_format).sample_rate_hz
        octets_per_ms = payload_format.octets_per_ms
        sample_octets = max(1, octets_per_ms * 1000 // rate_hz)
        return cls(
            rate_hz, octets_per_ms, sample_octets, payload_format.silence, lambda: decoder_of(payload_format).decode
        )


class ChannelReader:
    """Turns one channel's octets into samples at the file's rate, piece by piece. Runs in the recordings' worker."""

    def __init__(self, channel: ChannelFormat, rate_hz: int) -> None:
        self._decode = channel.decoder()
        self._resample = Resampler(channel.rate_hz, rate_hz).process

    def read(self, octets: bytes) -> Samples:
        """The samples; a few are held back where the rates differ."""
        return self._resample(self._decode(octets)) if octets else np.empty(0, dtype=np.int16)


def _little_endian(octets: bytes) -> Samples:
    return np.frombuffer(octets, dtype="<i2", count=len(octets) // 2).astype(np.int16, copy=False)


_PCMU: Final = ChannelFormat(TELEPHONE_RATE_HZ, 8, 1, PCMU.silence, lambda: g711.decode_ulaw)
_PCMA: Final = ChannelFormat(TELEPHONE_RATE_HZ, 8, 1, PCMA.silence, lambda: g711.decode_alaw)
_OF_MODEL: Final = {
    AudioFormat.PCMU: _PCMU,
    AudioFormat.PCMA: _PCMA,
    AudioFormat.PCM16_16K: ChannelFormat(16_000, 32, 2, bytes(2), lambda: _little_endian),
    AudioFormat.PCM16_24K: ChannelFormat(24_000, 48, 2, bytes(2), lambda: _little_endian),
}
_OF_PLAYOUT: Final = {
    PCMU: _PCMU,
    PCMA: _PCMA,
    G722_PLAYOUT: _OF_MODEL[AudioFormat.PCM16_16K],
    OPUS_PLAYOUT: _OF_MODEL[AudioFormat.PCM16_24K],
}
