"""From one playout format to another: what waits to be sent when a new agreement changes the codec in mid-call."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from rtp.codec import g711
from rtp.codec.audio import decoder_of, encoder_of
from rtp.codec.format import G722, OPUS_PLAYOUT, PCMA, PCMU, PayloadFormat
from rtp.codec.resampling import Resampler

Samples = NDArray[np.int16]

_TABLES = {(PCMU, PCMA): g711.ULAW_TO_ALAW, (PCMA, PCMU): g711.ALAW_TO_ULAW}
_G722_SAMPLES = 2
"""To an octet."""


def recoding(before: PayloadFormat, after: PayloadFormat) -> Callable[[bytes], bytes]:
    """Turns successive pieces of the one into the other. Raises `KeyError` where there is no codec for either."""
    table = _TABLES.get((before, after))
    if table is not None:
        return lambda octets: octets.translate(table)
    decode, rate_in_hz = _decoding(before)
    encode, rate_out_hz = _encoding(after)
    resample = Resampler(rate_in_hz, rate_out_hz).process
    whole = _G722_SAMPLES if after == G722 else 1

    def recode(octets: bytes) -> bytes:
        samples = resample(decode(octets)) if octets else np.empty(0, dtype=np.int16)
        samples = samples[: len(samples) - len(samples) % whole]
        return encode(samples) if len(samples) else b""

    return recode


def _decoding(payload_format: PayloadFormat) -> tuple[Callable[[bytes], Samples], int]:
    if payload_format == OPUS_PLAYOUT:
        return lambda octets: np.frombuffer(octets, dtype=np.int16), OPUS_PLAYOUT.clock_rate_hz
    decoder = decoder_of(payload_format)
    return decoder.decode, decoder.sample_rate_hz


def _encoding(payload_format: PayloadFormat) -> tuple[Callable[[Samples], bytes], int]:
    if payload_format == OPUS_PLAYOUT:
        return lambda samples: samples.tobytes(), OPUS_PLAYOUT.clock_rate_hz
    encoder = encoder_of(payload_format)
    return encoder.encode, encoder.sample_rate_hz
