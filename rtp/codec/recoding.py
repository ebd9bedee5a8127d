"""From one playout format to another: what waits to be sent when a new agreement changes the codec in mid-call."""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rtp.codec.audio import decoder_of, encoder_of
from rtp.codec.format import G722_PLAYOUT, OPUS_PLAYOUT, PayloadFormat
from rtp.codec.g711 import LAW_TABLES
from rtp.codec.resampling import Resampler

Signal = NDArray[np.int16]

_SAMPLES: Final = (OPUS_PLAYOUT, G722_PLAYOUT)


def recoding(before: PayloadFormat, after: PayloadFormat) -> Callable[[bytes], bytes]:
    """Turns successive pieces of the one into the other. Raises `KeyError` where there is no codec for either."""
    table = LAW_TABLES.get((before, after))
    if table is not None:
        return lambda octets: octets.translate(table)
    decode, rate_in_hz = _decoding(before)
    encode, rate_out_hz = _encoding(after)
    resample = Resampler(rate_in_hz, rate_out_hz).process
    return lambda octets: encode(resample(decode(octets))) if octets else b""


def _decoding(payload_format: PayloadFormat) -> tuple[Callable[[bytes], Signal], int]:
    if payload_format in _SAMPLES:
        return lambda octets: np.frombuffer(octets, dtype=np.int16), payload_format.clock_rate_hz
    decoder = decoder_of(payload_format)
    return decoder.decode, decoder.sample_rate_hz


def _encoding(payload_format: PayloadFormat) -> tuple[Callable[[Signal], bytes], int]:
    if payload_format in _SAMPLES:
        return lambda samples: samples.tobytes(), payload_format.clock_rate_hz
    encoder = encoder_of(payload_format)
    return encoder.encode, encoder.sample_rate_hz
