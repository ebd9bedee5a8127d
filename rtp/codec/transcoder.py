"""Transcoder: successive payloads of one format as payloads of another, within one stream."""

from typing import Final

import numpy as np

from rtp.codec.audio import decoder_of, encoder_of
from rtp.codec.format import G722, OPUS, PayloadFormat
from rtp.codec.g711 import LAW_TABLES
from rtp.codec.resampling import Resampler, Samples

_G722_BLOCK_MS: Final = 10
"""What its encoder takes at once (`rtp.codec.audio`)."""


class Transcoder:
    """Keeps what both codecs and the filter between them know of the sound before.

    Opus comes in whole packets of `ptime_ms` and G.722 in blocks of 10 ms: what does not fill one waits for the next.
    """

    def __init__(self, before: PayloadFormat, after: PayloadFormat, ptime_ms: int) -> None:
        self._table = LAW_TABLES.get((before, after))
        if self._table is not None:
            return
        decoder = decoder_of(before, ptime_ms)
        self._decode = decoder.decode
        self._encoder = encoder_of(after, ptime_ms)
        rate_hz = self._encoder.sample_rate_hz
        self._resample = Resampler(decoder.sample_rate_hz, rate_hz).process
        self._waiting: Samples = np.empty(0, dtype=np.int16)
        self._block = {OPUS: ptime_ms, G722: _G722_BLOCK_MS}.get(after, 0) * rate_hz // 1000
        self._is_packet = after == OPUS

    def convert(self, payload: bytes) -> list[bytes]:
        """The payloads that are ready after this one: usually one, none or several where packet times differ."""
        if self._table is not None:
            return [payload.translate(self._table)]
        samples = self._resample(self._decode(payload))
        if self._block:
            samples = np.concatenate((self._waiting, samples))
            ready = len(samples) - len(samples) % self._block
            samples, self._waiting = samples[:ready], samples[ready:]
        if not len(samples):
            return []
        if not self._is_packet:
            return [self._encoder.encode(samples)]
        return [self._encoder.encode(samples[at : at + self._block]) for at in range(0, len(samples), self._block)]
