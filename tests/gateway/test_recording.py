"""The recording: both channels in step, playable at any moment, and never the end of a call."""

import wave
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from gateway.audio_file import read_wav
from gateway.recording import CALLER_AHEAD_BYTES, StereoRecording
from rtp.codec.g711 import decode_ulaw, encode_ulaw

SILENCE = b"\xff" * 160


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


def frame(level: int) -> bytes:
    return bytes(encode_ulaw(np.full(160, level, np.int16)))


async def test_the_caller_is_left_and_the_agent_right(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    recording = StereoRecording(tmp_path / "call.wav", executor)
    for _ in range(5):
        recording.add_caller(frame(1000))
        recording.add_agent(frame(-2000))
    await recording.aclose()
    samples, rate_hz = read_wav(recording.path)
    assert rate_hz == 8000
    assert samples.shape == (800, 2)
    assert set(samples[:, 0]) == {int(decode_ulaw(frame(1000))[0])}
    assert set(samples[:, 1]) == {int(decode_ulaw(frame(-2000))[0])}
    assert recording.duration_ms == 100


async def test_where_the_caller_is_silent_the_channels_stay_in_step(
    tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    recording = StereoRecording(tmp_path / "call.wav", executor)
    recording.add_agent(SILENCE)
    recording.add_agent(SILENCE)
    recording.add_caller(frame(1000))
    recording.add_agent(frame(3000))
    await recording.aclose()
    samples, _ = read_wav(recording.path)
    assert not samples[:320].any()
    assert samples[320:].all()


async def test_a_burst_of_the_caller_drops_its_oldest_rather_than_lag_behind(
    tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    recording = StereoRecording(tmp_path / "call.wav", executor)
    recording.add_caller(frame(1000) * 50)
    recording.add_caller(frame(4000))
    for _ in range(CALLER_AHEAD_BYTES // 160):
        recording.add_agent(SILENCE)
    await recording.aclose()
    samples, _ = read_wav(recording.path)
    assert samples[-1, 0] == int(decode_ulaw(frame(4000))[0])


async def test_a_file_is_playable_before_it_is_closed(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    recording = StereoRecording(tmp_path / "call.wav", executor)
    for _ in range(2 * 50 + 10):
        recording.add_agent(SILENCE)
    executor.submit(lambda: None).result()
    with wave.open(str(recording.path)) as so_far:
        assert so_far.getnframes() == 16_000
    await recording.aclose()


async def test_a_disk_that_refuses_ends_the_recording_and_says_so(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    recording = StereoRecording(tmp_path / "no-such-folder" / "call.wav", executor)
    for _ in range(100):
        recording.add_agent(SILENCE)
    await recording.aclose()
    assert recording.fault is not None
    assert "No such file" in recording.fault


async def test_closing_twice_is_no_fault(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    recording = StereoRecording(tmp_path / "call.wav", executor)
    recording.add_agent(SILENCE)
    await recording.aclose()
    await recording.aclose()
    assert read_wav(recording.path)[0].shape == (160, 2)


async def test_a_call_without_sound_leaves_no_file(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    recording = StereoRecording(tmp_path / "call.wav", executor)
    await recording.aclose()
    assert not recording.path.exists()
