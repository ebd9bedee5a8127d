"""G.711 as tables (ITU-T G.711, tables 1a and 2a): one array look-up a frame, whatever its length.

Samples are int16 numpy arrays, 16-bit full scale (the 14 and 13-bit values of the law shifted to the left).
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rtp.codec.format import PCMA, PCMU, PayloadFormat

_ULAW_BIAS: Final = 0x84
_ULAW_CLIP: Final = 32635
_UNCHECKED: Final = "wrap"
"""Every uint16 has its place in a table of 65,536: looking for those that have none would take as long again."""


def _ulaw_decode_table() -> NDArray[np.int16]:
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    exponent = code >> 4 & 7
    magnitude = ((code & 0x0F) << 3) + _ULAW_BIAS
    value = (magnitude << exponent) - _ULAW_BIAS
    return np.where(code & 0x80, -value, value).astype(np.int16)


def _alaw_decode_table() -> NDArray[np.int16]:
    code = np.arange(256, dtype=np.int32) ^ 0x55
    exponent = code >> 4 & 7
    mantissa = (code & 0x0F) << 4
    value = np.where(exponent == 0, mantissa + 8, (mantissa + 0x108) << np.maximum(exponent - 1, 0))
    return np.where(code & 0x80, value, -value).astype(np.int16)


def _ulaw_encode_table() -> NDArray[np.uint8]:
    """Index: the sample as uint16. The decision values are those of G.711, so silence (0) encodes to 0xFF."""
    sample = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32)
    magnitude = np.minimum(np.abs(sample), _ULAW_CLIP) + _ULAW_BIAS
    exponent = np.floor(np.log2(magnitude)).astype(np.int32) - 7
    mantissa = magnitude >> (exponent + 3) & 0x0F
    sign = np.where(sample < 0, 0x80, 0)
    code: NDArray[np.int32] = ~(sign | exponent << 4 | mantissa) & 0xFF
    return code.astype(np.uint8)


def _alaw_encode_table() -> NDArray[np.uint8]:
    sample = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32)
    # One's complement for the negative half: -1 falls into the first negative interval, as G.711 wants it.
    magnitude = np.where(sample < 0, ~sample, sample) >> 4
    exponent = np.where(magnitude < 16, 0, np.floor(np.log2(np.maximum(magnitude, 1))).astype(np.int32) - 3)
    mantissa = np.where(exponent == 0, magnitude & 0x0F, magnitude >> np.maximum(exponent - 1, 0) & 0x0F)
    sign = np.where(sample < 0, 0, 0x80)
    code: NDArray[np.int32] = (sign | exponent << 4 | mantissa) ^ 0x55
    return code.astype(np.uint8)


_ULAW_TO_LINEAR: Final = _ulaw_decode_table()
_ALAW_TO_LINEAR: Final = _alaw_decode_table()
_LINEAR_TO_ULAW: Final = _ulaw_encode_table()
_LINEAR_TO_ALAW: Final = _alaw_encode_table()

ALAW_TO_ULAW: Final[bytes] = _LINEAR_TO_ULAW[_ALAW_TO_LINEAR.view(np.uint16)].tobytes()
"""For `bytes.translate`: PCMA payload to PCMU payload without samples in between."""
ULAW_TO_ALAW: Final[bytes] = _LINEAR_TO_ALAW[_ULAW_TO_LINEAR.view(np.uint16)].tobytes()
"""For `bytes.translate`: PCMU payload to PCMA payload."""
LAW_TABLES: Final[Mapping[tuple[PayloadFormat, PayloadFormat], bytes]] = {
    (PCMA, PCMU): ALAW_TO_ULAW,
    (PCMU, PCMA): ULAW_TO_ALAW,
}
"""From one law of ITU-T G.711 to the other, by (before, after): tables of 256 octets for `bytes.translate`, an octet of
payload for an octet. Each becomes the one in whose interval its value lies. Nothing else than the two laws is in here,
and neither law to itself."""


def decode_ulaw(payload: bytes) -> NDArray[np.int16]:
    """Samples of a PCMU payload, one an octet."""
    return _ULAW_TO_LINEAR.take(np.frombuffer(payload, dtype=np.uint8))


def encode_ulaw(samples: NDArray[np.int16]) -> bytes:
    """The PCMU payload of int16 samples; louder than ±32635 is clipped as G.711 does."""
    return _LINEAR_TO_ULAW.take(samples.view(np.uint16), mode=_UNCHECKED).tobytes()


def decode_alaw(payload: bytes) -> NDArray[np.int16]:
    """Samples of a PCMA payload, one an octet."""
    return _ALAW_TO_LINEAR.take(np.frombuffer(payload, dtype=np.uint8))


def encode_alaw(samples: NDArray[np.int16]) -> bytes:
    """The PCMA payload of int16 samples."""
    return _LINEAR_TO_ALAW.take(samples.view(np.uint16), mode=_UNCHECKED).tobytes()
