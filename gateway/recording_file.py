"""The files that recordings are written to: 16-bit WAV, and Opus in Ogg. All of it runs in the recordings' worker.

Either file is playable up to its last second whatever happens to the process: the WAV header is true after every write,
and Ogg pages stand for themselves.
"""

import wave
from fractions import Fraction
from pathlib import Path
from typing import Final, Protocol

import av
import numpy as np
from av.audio.stream import AudioStream
from numpy.typing import NDArray

Samples = NDArray[np.int16]

# RFC 7845 §6: short pages lose less when a process dies. Half a second is about 3 kB of stereo speech.
OGG_PAGE_US: Final = 500_000
OPUS_BIT_RATE: Final = 32_000  # two channels of telephone speech, of which mostly one speaks


class RecordingFile(Protocol):
    """A two-channel file that grows."""

    def write(self, frames: Samples) -> None:
        """Appends frames, of shape (length, 2).

        Raises:
            OSError: the disk refuses.
        """

    def close(self) -> None:
        """Ends the file.

        Raises:
            OSError: the disk refuses.
        """


class WavFile:
    """Uncompressed."""

    def __init__(self, path: Path, rate_hz: int) -> None:
        # Unbuffered: what was written, and the header that says how much it is, must survive the process.
        self._file = path.open("wb", buffering=0)
        self._wave = wave.open(self._file, "wb")  # noqa: SIM115 - open for the length of the call
        self._wave.setnchannels(2)
        self._wave.setsampwidth(2)
        self._wave.setframerate(rate_hz)

    def write(self, frames: Samples) -> None:
        """See `RecordingFile`."""
        self._wave.writeframes(frames.astype("<i2", copy=False).tobytes())

    def close(self) -> None:
        """See `RecordingFile`."""
        try:
            self._wave.close()
        finally:
            self._file.close()


class OggFile:
    """Opus, a fortieth of the size."""

    def __init__(self, path: Path, rate_hz: int) -> None:
        options = {"page_duration": str(OGG_PAGE_US), "flush_packets": "1"}
        self._container = av.open(str(path), "w", format="ogg", options=options)
        stream = self._container.add_stream("libopus", rate=rate_hz, layout="stereo")
        if not isinstance(stream, AudioStream):
            raise TypeError("libopus is no audio codec")
        stream.bit_rate = OPUS_BIT_RATE
        self._stream = stream
        self._rate_hz = rate_hz
        self._written = 0

    def write(self, frames: Samples) -> None:
        """See `RecordingFile`."""
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(frames).reshape(1, -1), format="s16", layout="stereo")
        frame.sample_rate = self._rate_hz
        frame.pts = self._written
        frame.time_base = Fraction(1, self._rate_hz)
        self._written += len(frames)
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """See `RecordingFile`."""
        try:
            self._container.mux(self._stream.encode(None))
        finally:
            self._container.close()


def create_recording_file(path: Path, rate_hz: int) -> RecordingFile:
    """The file that the path's suffix asks for: `.ogg`, else WAV.

    Raises:
        OSError: it cannot be made.
    """
    return OggFile(path, rate_hz) if path.suffix == ".ogg" else WavFile(path, rate_hz)
