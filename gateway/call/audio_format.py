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


# The nearest first, for a session that cannot have the formats of its call: the same bandwidth before less work.
_NEAREST: Final[Mapping[AudioFormat, Sequence[AudioFormat]]] = {
    AudioFormat.PCMU: (AudioFormat.PCMU, AudioFormat.PCMA, AudioFormat.PCM16_16K, AudioFormat.PCM16_24K),
    AudioFormat.PCMA: (AudioFormat.PCMA, AudioFormat.PCMU, AudioFormat.PCM16_16K, AudioFormat.PCM16_24K),
    AudioFormat.PCM16_16K: (AudioFormat.PCM16_16K, AudioFormat.PCM16_24K, *_LAWS),
    AudioFormat.PCM16_24K: (AudioFormat.PCM16_24K, AudioFormat.PCM16_16K, *_LAWS),
}


def with_formats(
    settings: SessionSettings, capabilities: RealtimeCapabilities, payload_format: PayloadFormat
) -> SessionSettings:
    """The settings with the formats, of those that the backend takes and gives, that suit a leg's codec best."""
    preference = _PREFERENCE[payload_format]
    return _with(settings, preference, preference, capabilities)


def with_nearest_formats(settings: SessionSettings, capabilities: RealtimeCapabilities) -> SessionSettings:
    """The settings with formats that this backend speaks: the call's own where it can, else the nearest."""
    return _with(settings, _NEAREST[settings.input_format], _NEAREST[settings.output_format], capabilities)


def _with(
    settings: SessionSettings,
    input_preference: Sequence[AudioFormat],
    output_preference: Sequence[AudioFormat],
    capabilities: RealtimeCapabilities,
) -> SessionSettings:
    output_format = _first(output_preference, capabilities.output_formats)
    if capabilities.one_format:
        return replace(settings, input_format=output_format, output_format=output_format)
    return replace(
        settings, input_format=_first(input_preference, capabilities.input_formats), output_format=output_format
    )


def _first(preference: Sequence[AudioFormat], formats: Sequence[AudioFormat]) -> AudioFormat:
    return next((wanted for wanted in preference if wanted in formats), formats[0])
