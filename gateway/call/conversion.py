"""Between the audio of a call's leg and that of a session which speaks another format.

The leg's converters are made once, for the formats of the agent's first backend. A session of a backend that does not
speak these, such as one that takes over in mid-call, is converted to and from them here.
"""

import numpy as np

from gateway.realtime.capability import AudioFormat
from gateway.transcoding import audio_of, samples_of
from rtp.codec.resampling import Resampler


class Conversion:
    """A stream of audio from one format to another, piece by piece. Resampling holds back 2 ms.

    Args:
        given: the format of what comes.
        wanted: the format of what goes.
    """

    def __init__(self, given: AudioFormat, wanted: AudioFormat) -> None:
        self._given = given
        self._wanted = wanted
        self._octets_per_sample = given.bytes_per_ms * 1000 // given.sample_rate_hz
        self._half_sample = b""
        self._resample = Resampler(given.sample_rate_hz, wanted.sample_rate_hz).process

    def convert(self, audio: bytes) -> bytes:
        """The next piece, of any size; half a sample waits for its other half."""
        audio = self._half_sample + audio
        whole = len(audio) - len(audio) % self._octets_per_sample
        self._half_sample = audio[whole:]
        if not whole:
            return b""
        samples = self._resample(samples_of(audio[:whole], self._given))
        return audio_of(samples.astype(np.int16, copy=False), self._wanted)


def conversion_between(given: AudioFormat, wanted: AudioFormat) -> Conversion | None:
    """The conversion that is needed; None where both are the same."""
    return None if given is wanted else Conversion(given, wanted)
