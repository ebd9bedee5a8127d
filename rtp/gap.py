"""GapFiller: what the sink hears in place of audio that was lost, or that was never sent."""

from collections.abc import Iterable
from typing import Final

from rtp.codec import g711
from rtp.codec.format import PCMA, PCMU, PayloadFormat, playout_format_of
from rtp.comfort_noise import ComfortNoise
from rtp.concealment import PayloadConcealer
from rtp.sink import StreamSink

HISTORY_PACKETS: Final = 5
"""Payloads that a receiver keeps for concealment: 50 ms of the shortest, more of the others."""


class GapFiller:
    """Fills gaps frame by frame. In a format that it cannot invent, each frame is an empty payload for the decoder."""

    def __init__(self, payload_format: PayloadFormat, ptime_ms: int, sink: StreamSink) -> None:
        self._format = payload_format
        self._on_audio = sink.on_audio
        self._frame_samples = payload_format.frame_samples(ptime_ms)
        laws = _LAWS.get(payload_format)
        self._concealer = PayloadConcealer(payload_format.clock_rate_hz, *laws) if laws is not None else None
        self._noise = ComfortNoise(laws[1]) if laws is not None else None
        # Octets that the far end's encoder never made would lead a decoder that follows it astray.
        self._has_silence = playout_format_of(payload_format) == payload_format
        self._owed_samples = 0
        self.noise_level_dbov: int | None = None
        """How loud the far end's silence is; None while it has not said so."""
        self.concealed_samples = 0
        """In place of lost packets."""
        self.filled_samples = 0
        """In place of packets that were not sent, or did not come for long."""

    def refresh_sink(self, sink: StreamSink) -> None:
        """Another one hears from now on."""
        self._on_audio = sink.on_audio

    def conceal(self, samples: int, history: Iterable[bytes]) -> None:
        """Stands in for lost audio: the sound goes on and fades."""
        self.concealed_samples += samples
        self._emit(samples, history)

    def fade(self, samples: int, history: Iterable[bytes]) -> None:
        """The source has fallen silent without a word: fades what was heard last, then silence."""
        self.filled_samples += samples
        self._emit(samples, history)

    def silence(self, samples: int) -> None:
        """Silence that the far end chose not to send, or the comfort noise that it asked for instead."""
        self.filled_samples += samples
        if not self._has_silence:
            self._emit_empty(samples)
            return
        for count in self._frames(samples):
            if self._noise is not None and self.noise_level_dbov is not None:
                self._on_audio(self._noise.frame(count, self.noise_level_dbov), True)
            else:
                self._on_audio(self._format.silence_of(self._octets(count)), True)

    def recover(self, payload: bytes) -> bytes:
        """The first real payload after a gap, blended with what was made up; any other unchanged."""
        return payload if self._concealer is None else self._concealer.recover(payload)

    def _emit(self, samples: int, history: Iterable[bytes]) -> None:
        concealer = self._concealer
        if concealer is None:
            self._emit_empty(samples)
            return
        for count in self._frames(samples):
            octets = self._octets(count)
            if concealer.is_faded:
                self._on_audio(self._format.silence_of(octets), True)
            else:
                self._on_audio(concealer.conceal(history, octets), True)

    def _emit_empty(self, samples: int) -> None:
        """Whole frames, as many as come nearest: gaps are no multiples of ours where the far end's packets are not."""
        self._owed_samples += samples
        while self._owed_samples * 2 >= self._frame_samples:
            self._owed_samples -= self._frame_samples
            self._on_audio(b"", True)

    def _frames(self, samples: int) -> Iterable[int]:
        while samples > 0:
            yield min(samples, self._frame_samples)
            samples -= self._frame_samples

    def _octets(self, samples: int) -> int:
        return samples << self._format.octet_shift


_LAWS: Final = {
    PCMU: (g711.decode_ulaw, g711.encode_ulaw),
    PCMA: (g711.decode_alaw, g711.encode_alaw),
}
