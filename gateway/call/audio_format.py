"""Which of a model's audio formats a leg is given: undecoded where that can be."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from gateway.realtime.capability import AudioFormat, RealtimeCapabilities
from gateway.realtime.settings import SessionSettings
from rtp.codec.format import G722, L16_8K, L16_16K, OPUS, PCMA, PCMU, PayloadFormat

_LAWS: Final = (AudioFormat.PCMU, AudioFormat.PCMA)
# The best first: the same law, then what keeps the sound's bandwidth and needs no second resampling. A law is better
# than nothing for a wideband leg, so it is last.
_PREFERENCE: Final[Mapping[PayloadFormat, Sequence[AudioFormat]]] = {
    PCMU: (*_LAWS, AudioFormat.PCM16_16K, AudioFormat.PCM16_24K),
    PCMA: (AudioFormat.PCMA, AudioFormat.PCMU, AudioFormat.PCM16_16K, AudioFormat.PCM16_24K),
    L16_8K: (AudioFormat.PCM16_16K, AudioFormat.PCM16_24K, *_LAWS),
    L16_16K: (AudioFormat.PCM16_16K, AudioFormat.PCM16_24K, *_LAWS),
    G722: (AudioFormat.PCM16_16K, AudioFormat.PCM16_24K, *_LAWS),
    OPUS: (AudioFormat.PCM16_24K, AudioFormat.PCM16_16K, *_LAWS),
}


def with_formats(
    settings: SessionSettings, capabilities: RealtimeCapabilities, payload_format: PayloadFormat
) -> SessionSettings:
    """The settings with the formats, of those that the backend takes and gives, that suit a leg's codec best."""
    preference = _PREFERENCE[payload_format]
    return replace(
        settings,
        input_format=_first(preference, capabilities.input_formats),
        output_format=_first(preference, capabilities.output_formats),
    )


def _first(preference: Sequence[AudioFormat], formats: Sequence[AudioFormat]) -> AudioFormat:
    return next((wanted for wanted in preference if wanted in formats), formats[0])
