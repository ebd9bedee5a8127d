"""Audio files in and out: whatever `av` can read becomes mono 16-bit samples, and samples become WAV files."""

import wave
from pathlib import Path
from typing import Final

import av
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from gateway.errors import GatewayError

Samples = NDArray[np.int16]

# Longer files are a mistake (a film, a day's log), not a prompt: an hour at 8 kHz is 57 MB of samples.
LONGEST_FILE_SECONDS: Final = 3600


class AudioFileError(GatewayError):
    """A file that cannot be read as audio; the message names it and says why."""

    label = "audio_file"


def read_audio(path: Path, rate_hz: int) -> Samples:
    """Reads a file as mono samples.

    Args:
        path: any container and codec that FFmpeg knows.
        rate_hz: the sample rate of the result; the file's own is converted.

    Raises:
        AudioFileError: there is no such file, it holds no audio, or more than an hour of it.
    """
    resampler = av.AudioResampler(format="s16", layout="mono", rate=rate_hz)
    chunks: list[Samples] = []
    total = 0
    if path.is_fifo():
        raise AudioFileError(f"{path} is a pipe, which has no end")
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise AudioFileError(f"{path} holds no audio")
            for frame in container.decode(audio=0):
                for converted in resampler.resample(frame):
                    chunks.append(converted.to_ndarray()[0])
                    total += converted.samples
                if total > LONGEST_FILE_SECONDS * rate_hz:
                    raise AudioFileError(f"{path} is longer than {LONGEST_FILE_SECONDS // 60} minutes")
            chunks += [converted.to_ndarray()[0] for converted in resampler.resample(None)]
    except (FFmpegError, OSError) as error:
        raise AudioFileError(f"{path} cannot be read as audio: {error.strerror or error}") from error
    return np.concatenate(chunks).astype(np.int16) if chunks else np.zeros(0, np.int16)


def write_wav(path: Path, samples: Samples, rate_hz: int) -> None:
    """Writes samples of shape (n,) or (n, channels) as a 16-bit WAV file."""
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        out.setsampwidth(2)
        out.setframerate(rate_hz)
        out.writeframes(samples.astype("<i2").tobytes())


def read_wav(path: Path) -> tuple[Samples, int]:
    """Reads a 16-bit WAV file as samples of shape (n, channels), and its sample rate."""
    with wave.open(str(path), "rb") as source:
        samples = np.frombuffer(source.readframes(source.getnframes()), dtype="<i2")
        return samples.reshape(-1, source.getnchannels()), source.getframerate()
