"""MixingPort: where one leg's codec meets the mixer.

Inside, sound waits in a playout buffer as a coding that can be cut anywhere: G.711 as it came, everything else as
samples at 8 or 16 kHz.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rtp.codec.audio import decoder_of, encoder_of
from rtp.codec.format import G722_PLAYOUT, OPUS_PLAYOUT, PCMA, PCMU, PayloadFormat, playout_format_of
from rtp.codec.resampling import Resampler
from rtp.coding import ALAW, LINEAR, ULAW, Coding
from rtp.playout_buffer import PlayoutBuffer

Samples = NDArray[np.int16]

PCM_8K: Final = PayloadFormat("PCM", 8000, 16, b"\x00\x00")
"""Samples in the machine's own order, for who has decoded already."""
PCM_16K: Final = G722_PLAYOUT
PCM_24K: Final = OPUS_PLAYOUT

_NATIVE: Final = {PCM_8K: 8000, PCM_16K: 16000, PCM_24K: 24000}
_LAWS: Final = {PCMU: ULAW, PCMA: ALAW}
_WIDE_HZ: Final = 16000


class MixingPort:
    """One leg in a conference.

    Args:
        payload_format: what `receive` takes. What `deliver` is given is the same, but samples for Opus and G.722
            (rtp.codec.format.playout_format_of), since their frames are encoded when they are sent.
        deliver: takes what the leg is to hear, 20 ms at a time.
        hurry: is called where a frame of the leg is due and not there; see PlayoutBuffer.

    Raises:
        KeyError: there is no codec for the format.
    """

    def __init__(
        self,
        name: str,
        payload_format: PayloadFormat,
        ptime_ms: int,
        frame_ms: int,
        deliver: Callable[[bytes], None],
        hurry: Callable[[], None] | None = None,
    ) -> None:
        self.name = name
        self.payload_format = payload_format
        self.deliver = deliver
        self.gain = 1.0
        self.is_muted = False
        self.is_listening = True
        self.audience: frozenset[str] | None = None
        law = _LAWS.get(payload_format)
        self.coding: Coding = law or LINEAR
        rate_in_hz, self._decode, self._conceal = _decoding(payload_format, ptime_ms)
        self.rate_hz = 8000 if rate_in_hz == 8000 else _WIDE_HZ
        self._resample_in = Resampler(rate_in_hz, self.rate_hz).process if rate_in_hz != self.rate_hz else None
        self._encode = self.coding.encode if law is not None else _encoding(payload_format, self.rate_hz)
        self._lost_samples = rate_in_hz * ptime_ms // 1000
        self.buffer = PlayoutBuffer(self.coding, self.rate_hz, frame_ms=frame_ms, hurry=hurry)

    def receive(self, payload: bytes, concealed: bool, now: float) -> None:
        """The next audio from the leg; an empty payload that is concealed is a lost frame."""
        if self._decode is None:
            self.buffer.put(payload, now, concealed)
            return
        samples = self._decode(payload) if payload else self._conceal(self._lost_samples)
        if self._resample_in is not None:
            samples = self._resample_in(samples)
        self.buffer.put(LINEAR.encode(samples), now, concealed)

    def hear(self, samples: Samples) -> None:
        """One mixed frame, at the port's rate."""
        self.deliver(self._encode(samples))


def _no_samples(count: int) -> Samples:
    return np.zeros(count, dtype=np.int16)


def _decoding(
    payload_format: PayloadFormat, ptime_ms: int
) -> tuple[int, Callable[[bytes], Samples] | None, Callable[[int], Samples]]:
    """The rate of the samples, how they are decoded (None: not here), and how lost ones are replaced."""
    if payload_format in _LAWS:
        return 8000, None, _no_samples
    if (rate_hz := _NATIVE.get(payload_format)) is not None:
        return rate_hz, LINEAR.decode, _no_samples
    decoder = decoder_of(payload_format, ptime_ms)
    return decoder.sample_rate_hz, decoder.decode, decoder.conceal


def _encoding(payload_format: PayloadFormat, rate_hz: int) -> Callable[[Samples], bytes]:
    payload_format = playout_format_of(payload_format)
    if (rate_out_hz := _NATIVE.get(payload_format)) is not None:
        return LINEAR.encode if rate_out_hz == rate_hz else _Resampled(rate_hz, rate_out_hz).encode
    return encoder_of(payload_format).encode


class _Resampled:
    """Samples at another rate, whole frames for whole frames: what the resampler holds back is silence at first."""

    def __init__(self, rate_in_hz: int, rate_out_hz: int) -> None:
        self._resample = Resampler(rate_in_hz, rate_out_hz).process
        self._ratio = rate_out_hz / rate_in_hz
        self._held: Samples = np.empty(0, dtype=np.int16)

    def encode(self, samples: Samples) -> bytes:
        wanted = round(len(samples) * self._ratio)
        ready = np.concatenate((self._held, self._resample(samples)))
        if len(ready) < wanted:
            ready = np.concatenate((np.zeros(wanted - len(ready), dtype=np.int16), ready))
        self._held = ready[wanted:]
        return LINEAR.encode(ready[:wanted])
