"""The files that recordings are written to: 16-bit WAV, and Opus in Ogg. All of it runs in the recordings' worker.

Either file is playable up to its last second whatever happens to the process: the WAV header is true after every write,
Ogg pages stand for themselves, and what is sealed is sealed with every write.
"""

import io
import os
import struct
import wave
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import av
import numpy as np
from av.audio.stream import AudioStream
from numpy.typing import NDArray

from gateway.recording_seal import SALT_OCTETS, RecordingKey, Seal

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

Samples = NDArray[np.int16]

# RFC 7845 §6: short pages lose less when a process dies. Half a second is about 3 kB of stereo speech.
OGG_PAGE_US: Final = 500_000
OPUS_BIT_RATE: Final = 32_000  # two channels of telephone speech, of which mostly one speaks
OPUS_MONO_BIT_RATE: Final = 24_000
# What a WAV header says of a length that is not known yet. Readers take it for "to the end of the file".
_UNKNOWN_OCTETS: Final = 0xFFFF_FFFF
_WAV_HEADER: Final = struct.Struct("<4sI4s4sIHHIIHH4sI")


class RecordingFile(Protocol):
    """A file that grows."""

    def write(self, frames: Samples) -> None:
        """Appends frames, of shape (length, channels).

        Raises:
            OSError: the disk refuses.
        """

    def close(self) -> None:
        """Ends the file.

        Raises:
            OSError: the disk refuses.
        """


class WholeFile(io.FileIO):
    """A file without a buffer, for what was written must survive the process, whose writes are whole or fail.

    A disk that fills takes the first part of a write and says so by its length alone; what came after it, once there
    is room again, would stand in the wrong place.
    """

    def write(self, octets: "ReadableBuffer", /) -> int:
        """Writes all of the octets. Raises OSError."""
        rest = memoryview(octets).cast("B")
        size = len(rest)
        while rest:
            rest = rest[super().write(rest) :]
        return size


class WavFile:
    """Uncompressed."""

    def __init__(self, path: Path, rate_hz: int, channels: int) -> None:
        self._file = WholeFile(path, "wb")
        self._wave = wave.open(self._file, "wb")  # noqa: SIM115 - open for the length of the call
        self._wave.setnchannels(channels)
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


class SealedWavFile:
    """Uncompressed, for what cannot be written again: the header's lengths are filled in when it is read."""

    def __init__(self, seal: Seal, rate_hz: int, channels: int) -> None:
        self._seal = seal
        seal.write(wav_header(rate_hz, channels, _UNKNOWN_OCTETS))

    def write(self, frames: Samples) -> None:
        """See `RecordingFile`."""
        self._seal.write(frames.astype("<i2", copy=False).tobytes())
        self._seal.flush()

    def close(self) -> None:
        """See `RecordingFile`."""
        self._seal.close()


class OggFile:
    """Opus, a fortieth of the size.

    Args:
        out: the path, or what encrypts.
    """

    def __init__(self, out: Path | Seal, rate_hz: int, channels: int) -> None:
        options = {"page_duration": str(OGG_PAGE_US), "flush_packets": "1"}
        self._seal = out if isinstance(out, Seal) else None
        self._layout = "mono" if channels == 1 else "stereo"
        self._container = av.open(out if isinstance(out, Seal) else str(out), "w", format="ogg", options=options)
        stream = self._container.add_stream("libopus", rate=rate_hz, layout=self._layout)
        if not isinstance(stream, AudioStream):
            raise TypeError("libopus is no audio codec")
        stream.bit_rate = OPUS_MONO_BIT_RATE if channels == 1 else OPUS_BIT_RATE
        self._stream = stream
        self._rate_hz = rate_hz
        self._written = 0

    def write(self, frames: Samples) -> None:
        """See `RecordingFile`."""
        packed = np.ascontiguousarray(frames).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(packed, format="s16", layout=self._layout)
        frame.sample_rate = self._rate_hz
        frame.pts = self._written
        frame.time_base = Fraction(1, self._rate_hz)
        self._written += len(frames)
        self._container.mux(self._stream.encode(frame))
        if self._seal is not None:
            self._seal.flush()

    def close(self) -> None:
        """See `RecordingFile`."""
        try:
            self._container.mux(self._stream.encode(None))
        finally:
            try:
                self._container.close()
            finally:
                if self._seal is not None:
                    self._seal.close()


def create_recording_file(
    path: Path, rate_hz: int, channels: int = 2, key: RecordingKey | None = None
) -> RecordingFile:
    """The file that the path's suffix asks for: `.ogg`, else WAV.

    Args:
        path: ends in `.sealed` too where the file is to be encrypted.
        rate_hz: samples in a second.
        channels: 1 or 2.
        key: encrypts.

    Raises:
        OSError: it cannot be made.
    """
    if key is None:
        return OggFile(path, rate_hz, channels) if path.suffix == ".ogg" else WavFile(path, rate_hz, channels)
    seal = Seal(WholeFile(path, "wb"), key, os.urandom(SALT_OCTETS))
    is_ogg = path.with_suffix("").suffix == ".ogg"
    return OggFile(seal, rate_hz, channels) if is_ogg else SealedWavFile(seal, rate_hz, channels)


def wav_header(rate_hz: int, channels: int, octets: int) -> bytes:
    """The header of 16-bit WAV with so many octets of sound."""
    block = 2 * channels
    whole = min(octets + _WAV_HEADER.size - 8, _UNKNOWN_OCTETS)
    return _WAV_HEADER.pack(
        b"RIFF", whole, b"WAVE", b"fmt ", 16, 1, channels, rate_hz, rate_hz * block, block, 16, b"data", octets
    )


def completed_wav_header(header: bytes, size: int) -> bytes:
    """The header of a sealed WAV file of `size` octets, with its true lengths."""
    fields = _WAV_HEADER.unpack(header)
    return wav_header(fields[7], fields[6], size - _WAV_HEADER.size)


WAV_HEADER_OCTETS: Final = _WAV_HEADER.size
