"""Between a leg's codec and a model's audio, where the two differ.

Each direction of a leg has one converter for as long as its codec lasts. Where both sides speak the same law there is
none, and bytes pass as they are; between the laws it is a table; for the rest samples are decoded, resampled (2 ms are
held back) and encoded.
"""

from collections.abc import Callable
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from gateway.realtime.capability import AudioFormat
from rtp.codec import g711
from rtp.codec.audio import decoder_of, encoder_of
from rtp.codec.format import PCMA, PCMU, PayloadFormat, playout_format_of
from rtp.codec.resampling import Resampler

Samples = NDArray[np.int16]

PREPARED_MS: Final = 20  # of sound, for each way from and to each format
_LAW_OF: Final = {AudioFormat.PCMU: PCMU, AudioFormat.PCMA: PCMA}


class Ear(Protocol):
    """Turns what a stream hears into a model's audio."""

    def __call__(self, payload: bytes) -> bytes:
        """The next payload, in order; an empty one stands for a lost frame."""


class Mouth(Protocol):
    """Turns a model's audio into what a playout takes."""

    def speak(self, audio: bytes) -> bytes:
        """The next piece of an item, of any size."""

    def reset(self) -> None:
        """Forgets what is held back: the item has ended or was dropped."""


def ear_for(payload_format: PayloadFormat, ptime_ms: int, audio_format: AudioFormat) -> Ear | None:
    """The converter of one stream; None where the payload is the model's audio already."""
    law = _LAW_OF.get(audio_format)
    if law == payload_format:
        return None
    if law is not None and (table := g711.LAW_TABLES.get((payload_format, law))) is not None:
        return lambda payload: payload.translate(table)
    return _SampleEar(payload_format, ptime_ms, audio_format)


def mouth_for(payload_format: PayloadFormat, ptime_ms: int, audio_format: AudioFormat) -> Mouth | None:
    """The converter of one stream; None where the model's audio is the payload already."""
    law = _LAW_OF.get(audio_format)
    if law == payload_format:
        return None
    if law is not None and (table := g711.LAW_TABLES.get((law, payload_format))) is not None:
        return _TableMouth(table)
    return _SampleMouth(payload_format, ptime_ms, audio_format)


def samples_of(audio: bytes, audio_format: AudioFormat) -> Samples:
    """A model's audio as samples at its own rate."""
    return _SAMPLES_FROM_MODEL[audio_format](audio)


def audio_of(samples: Samples, audio_format: AudioFormat) -> bytes:
    """Samples at a model's own rate as its audio."""
    return _SAMPLES_TO_MODEL[audio_format](samples)


def silence_of(audio_format: AudioFormat, octets: int) -> bytes:
    """So many octets of silence."""
    law = _LAW_OF.get(audio_format)
    return bytes(octets) if law is None else law.silence * octets


def prepare(payload_format: PayloadFormat) -> None:
    """Does once what the first call of a format would do on the loop, where every other call would hear it as a gap.

    FFmpeg's tables and the filters between rates are made with the first sound that passes; later calls find them.
    """
    encoder = encoder_of(payload_format, PREPARED_MS)
    payload = encoder.encode(np.zeros(encoder.sample_rate_hz * PREPARED_MS // 1000, dtype=np.int16))
    for audio_format in AudioFormat:
        if (mouth := mouth_for(payload_format, PREPARED_MS, audio_format)) is not None:
            mouth.speak(silence_of(audio_format, audio_format.bytes_per_ms * PREPARED_MS))
        if (ear := ear_for(payload_format, PREPARED_MS, audio_format)) is not None:
            ear(payload)
            ear(b"")


class _SampleEar:
    def __init__(self, payload_format: PayloadFormat, ptime_ms: int, audio_format: AudioFormat) -> None:
        self._decoder = decoder_of(payload_format, ptime_ms)
        self._lost_samples = self._decoder.sample_rate_hz * ptime_ms // 1000
        self._resample = Resampler(self._decoder.sample_rate_hz, audio_format.sample_rate_hz).process
        self._encode = _SAMPLES_TO_MODEL[audio_format]

    def __call__(self, payload: bytes) -> bytes:
        decoder = self._decoder
        samples = decoder.decode(payload) if payload else decoder.conceal(self._lost_samples)
        return self._encode(self._resample(samples))


class _TableMouth:
    def __init__(self, table: bytes) -> None:
        self._table = table

    def speak(self, audio: bytes) -> bytes:
        return audio.translate(self._table)

    def reset(self) -> None:
        """Nothing is held back."""


class _SampleMouth:
    def __init__(self, payload_format: PayloadFormat, ptime_ms: int, audio_format: AudioFormat) -> None:
        self._decode = _SAMPLES_FROM_MODEL[audio_format]
        self._rate_in_hz = audio_format.sample_rate_hz
        self._octets_per_sample = 1 if audio_format in _LAW_OF else 2
        playout_format = playout_format_of(payload_format)
        if playout_format != payload_format:
            # Each frame is encoded when it is sent; until then speech waits as samples.
            self._rate_out_hz, self._encode = playout_format.clock_rate_hz, _native_octets
        else:
            encoder = encoder_of(payload_format, ptime_ms)
            self._rate_out_hz, self._encode = encoder.sample_rate_hz, encoder.encode
        self._half_sample = b""
        self._resample = Resampler(self._rate_in_hz, self._rate_out_hz).process

    def speak(self, audio: bytes) -> bytes:
        audio = self._half_sample + audio
        whole = len(audio) - len(audio) % self._octets_per_sample
        self._half_sample = audio[whole:]
        return self._encode(self._resample(self._decode(audio[:whole]))) if whole else b""

    def reset(self) -> None:
        self._half_sample = b""
        self._resample = Resampler(self._rate_in_hz, self._rate_out_hz).process


def _little_endian_octets(samples: Samples) -> bytes:
    return samples.astype("<i2", copy=False).tobytes()


def _little_endian_samples(octets: bytes) -> Samples:
    return np.frombuffer(octets, dtype="<i2").astype(np.int16, copy=False)


def _native_octets(samples: Samples) -> bytes:
    return samples.tobytes()


_SAMPLES_TO_MODEL: Final[dict[AudioFormat, Callable[[Samples], bytes]]] = {
    AudioFormat.PCMU: g711.encode_ulaw,
    AudioFormat.PCMA: g711.encode_alaw,
    AudioFormat.PCM16_16K: _little_endian_octets,
    AudioFormat.PCM16_24K: _little_endian_octets,
}
_SAMPLES_FROM_MODEL: Final[dict[AudioFormat, Callable[[bytes], Samples]]] = {
    AudioFormat.PCMU: g711.decode_ulaw,
    AudioFormat.PCMA: g711.decode_alaw,
    AudioFormat.PCM16_16K: _little_endian_samples,
    AudioFormat.PCM16_24K: _little_endian_samples,
}
