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
MAX_FILL_MS: Final = 1000
"""A jump of the timestamp beyond this is a new clock and not a pause."""


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
        self._most_samples = MAX_FILL_MS * payload_format.clock_rate_hz // 1000
        self._made_up = 0
        self._noise_level_dbov: int | None = None
        self.is_disturbed = False
        """Silence is made up, or will be at once: what comes next ends it (`settle`)."""
        self.concealed_samples = 0
        """In place of lost packets."""
        self.filled_samples = 0
        """In place of packets that were not sent, or did not come for long."""

    def refresh_sink(self, sink: StreamSink) -> None:
        """Another one hears from now on."""
        self._on_audio = sink.on_audio

    def take_over(self, other: "GapFiller", rate_hz: int) -> None:
        """Goes on where another has been, whose clock had this rate."""
        scale = self._format.clock_rate_hz
        self.concealed_samples = other.concealed_samples * scale // rate_hz
        self.filled_samples = other.filled_samples * scale // rate_hz
        self._made_up = other._made_up
        self.is_disturbed = self._made_up > 0

    def bridge(self, samples: int, history: Iterable[bytes], *, is_lost: bool) -> None:
        """Fills what is missing before the next payload: lost, or not sent. What was made up meanwhile counts."""
        samples -= self._made_up
        if not 0 < samples <= self._most_samples:
            return
        if is_lost:
            self.concealed_samples += samples
            self._conceal(samples, history)
        else:
            self._silence(samples)

    def sustain(self, samples: int, history: Iterable[bytes]) -> None:
        """The source has been silent for so long: whole frames stand in for it, faded out unless it chose a noise."""
        frame = self._frame_samples
        owed = min((samples - self._made_up) // frame, self._most_samples // frame) * frame
        if owed <= 0:
            return
        if self._noise_level_dbov is not None:
            self._silence(owed)
        else:
            self.filled_samples += owed
            self._conceal(owed, history)
        self._made_up += owed
        self.is_disturbed = True

    def begin_noise(self, level_dbov: int) -> None:
        """The far end says how loud its silence is, until it speaks again."""
        self._noise_level_dbov = level_dbov
        self.is_disturbed = True

    def settle(self) -> None:
        """The far end is heard again."""
        self._noise_level_dbov = None
        self._made_up = 0
        self.is_disturbed = False

    def recover(self, payload: bytes) -> bytes:
        """The first real payload after a gap, blended with what was made up; any other unchanged."""
        return payload if self._concealer is None else self._concealer.recover(payload)

    def _silence(self, samples: int) -> None:
        """Silence that the far end chose not to send, or the comfort noise that it asked for instead."""
        self.filled_samples += samples
        if not self._has_silence:
            self._emit_empty(samples)
            return
        for count in self._frames(samples):
            if self._noise is not None and self._noise_level_dbov is not None:
                self._on_audio(self._noise.frame(count, self._noise_level_dbov), True)
            else:
                self._on_audio(self._format.silence_of(self._octets(count)), True)

    def _conceal(self, samples: int, history: Iterable[bytes]) -> None:
        """The sound goes on and fades."""
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
