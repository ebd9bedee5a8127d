"""Audio files in and out."""

import os
from pathlib import Path

import numpy as np
import pytest

from gateway import audio_file
from gateway.audio_file import AudioFileError, read_audio, read_wav, write_wav


def tone(seconds: float, rate_hz: int, hz: float = 440.0) -> np.ndarray:
    return (8000 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate_hz)) / rate_hz)).astype(np.int16)


def test_a_wav_comes_back_as_it_was_written(tmp_path: Path) -> None:
    samples = np.column_stack((tone(0.1, 8000), tone(0.1, 8000, 880)))
    write_wav(tmp_path / "two.wav", samples, 8000)
    back, rate_hz = read_wav(tmp_path / "two.wav")
    assert rate_hz == 8000
    assert np.array_equal(back, samples)


def test_another_rate_and_two_channels_become_mono_at_the_rate_that_is_asked_for(tmp_path: Path) -> None:
    wide = tone(1.0, 48_000)
    write_wav(tmp_path / "wide.wav", np.column_stack((wide, wide)), 48_000)
    samples = read_audio(tmp_path / "wide.wav", 8000)
    assert abs(len(samples) - 8000) <= 40
    spectrum = np.abs(np.fft.rfft(samples[:8000].astype(float)))
    assert abs(int(np.argmax(spectrum)) * 8000 / min(8000, len(samples)) - 440) < 3


@pytest.mark.parametrize("content", [None, b"", b"this is no audio" * 100])
def test_what_is_no_audio_is_refused_by_name(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "speech.mp3"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AudioFileError, match=r"speech\.mp3"):
        read_audio(path, 8000)


def test_a_file_that_is_too_long_to_be_a_prompt_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio_file, "LONGEST_FILE_SECONDS", 1)
    write_wav(tmp_path / "long.wav", tone(2.0, 8000), 8000)
    with pytest.raises(AudioFileError, match="longer than"):
        read_audio(tmp_path / "long.wav", 8000)


def test_a_pipe_is_no_file_to_wait_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(AudioFileError, match="pipe"):
        read_audio(tmp_path / "pipe.wav", 8000)
