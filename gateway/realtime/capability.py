"""What a backend can do, as a value that a call reads before it opens a session."""

from dataclasses import dataclass
from enum import Enum


class AudioFormat(Enum):
    """Audio as it crosses the seam: mono, PCM as 16-bit little-endian samples."""

    PCMU = "pcmu"
    PCMA = "pcma"
    PCM16_16K = "pcm16-16k"
    PCM16_24K = "pcm16-24k"

    @property
    def bytes_per_ms(self) -> int:
        """Bytes of one millisecond."""
        return _BYTES_PER_MS[self]

    @property
    def sample_rate_hz(self) -> int:
        """Samples in a second."""
        return _SAMPLE_RATE_HZ[self]


_BYTES_PER_MS = {AudioFormat.PCMU: 8, AudioFormat.PCMA: 8, AudioFormat.PCM16_16K: 32, AudioFormat.PCM16_24K: 48}
_SAMPLE_RATE_HZ = {
    AudioFormat.PCMU: 8000,
    AudioFormat.PCMA: 8000,
    AudioFormat.PCM16_16K: 16000,
    AudioFormat.PCM16_24K: 24000,
}


@dataclass(frozen=True, slots=True)
class RealtimeCapabilities:
    """What a backend can do.

    `input_formats` and `output_formats` stand in the order of preference for a telephone call; `one_format` says that a
    session has the same one both ways. `can_truncate`: the model forgets what was not played when it is told so.
    `detects_turns`: the backend hears by itself when the caller starts and stops speaking. `takes_turns`: it decides by
    itself when to speak, so `create_response` is a request and not a command. `calls_tools`, `resumes` (a lost session
    can be taken up again by a handle), `answers_aside` (it gives words beside the conversation), `session_limit_s` (the
    service ends a session after this time; None: it does not say), `rest_s` (how long a socket may wait, opened and not
    yet told anything, for a call; None: not at all, since that costs or the service ends it).
    """

    input_formats: tuple[AudioFormat, ...]
    output_formats: tuple[AudioFormat, ...]
    one_format: bool = False
    can_truncate: bool = True
    detects_turns: bool = True
    takes_turns: bool = False
    calls_tools: bool = True
    resumes: bool = False
    answers_aside: bool = False
    session_limit_s: float | None = None
    rest_s: float | None = None
