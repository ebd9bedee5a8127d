"""The recording: both channels in step, playable at any moment, and never the end of a call."""

import random
import resource
import signal
import wave
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from gateway.audio_file import read_wav
from gateway.realtime.capability import AudioFormat
from gateway.recording import EARLY_MS, LEAP_MS, PENDING_CHUNKS, CallRecording
from rtp.codec.format import OPUS_PLAYOUT, PCMA
from rtp.codec.g711 import decode_ulaw, encode_ulaw

SILENCE = b"\xff" * 160


def frame(level: int) -> bytes:
    return bytes(encode_ulaw(np.full(160, level, np.int16)))


async def test_the_caller_is_left_and_the_agent_right(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    recording = CallRecording(tmp_path / "call.wav", executor)
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
    recording = CallRecording(tmp_path / "call.wav", executor)
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
    recording = CallRecording(tmp_path / "call.wav", executor)
    recording.add_caller(frame(1000) * 50)
    recording.add_caller(frame(4000))
    for _ in range(LEAP_MS // 20):
        recording.add_agent(SILENCE)
    await recording.aclose()
    samples, _ = read_wav(recording.path)
    assert samples[-1, 0] == int(decode_ulaw(frame(4000))[0])


async def test_a_file_is_playable_before_it_is_closed(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    recording = CallRecording(tmp_path / "call.wav", executor)
    for _ in range(2 * 50 + 10):
        recording.add_agent(SILENCE)
    executor.submit(lambda: None).result()
    with wave.open(str(recording.path)) as so_far:
        assert so_far.getnframes() >= 8000 * 1.1  # of 2.2 s, the last second may wait
    await recording.aclose()


async def test_a_disk_that_refuses_ends_the_recording_and_says_so(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    recording = CallRecording(tmp_path / "no-such-folder" / "call.wav", executor)
    for _ in range(100):
        recording.add_agent(SILENCE)
    await recording.aclose()
    assert recording.fault is not None
    assert "No such file" in recording.fault


async def test_closing_twice_is_no_fault(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    recording = CallRecording(tmp_path / "call.wav", executor)
    recording.add_agent(SILENCE)
    await recording.aclose()
    await recording.aclose()
    assert read_wav(recording.path)[0].shape == (160, 2)


async def test_a_call_without_sound_leaves_no_file(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    recording = CallRecording(tmp_path / "call.wav", executor)
    await recording.aclose()
    assert not recording.path.exists()


class Inline(Executor):
    """A worker that is never behind."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


async def test_the_channels_stay_in_step_though_the_clocks_drift_and_packets_jitter(tmp_path: Path) -> None:
    """A caller's clock that is 1,000 parts in a million fast: 180 ms in three minutes, as 50 ppm are in an hour."""
    recording, randomness = CallRecording(tmp_path / "call.wav", Inline()), random.Random(7)
    seconds, speed = 180, 1.001
    marks = {round(second * 50) for second in range(1, seconds)}

    def caller_frame(number: int) -> bytes:
        began_s = number * 0.02 / speed
        return frame(8000) if int(began_s + 0.02 / speed) > int(began_s) else SILENCE

    arrivals = [(number + 1) * 0.02 / speed + randomness.uniform(0, 0.04) for number in range(seconds * 50)]
    arrivals = list(np.maximum.accumulate(arrivals))
    heard = 0
    for number in range(seconds * 50):
        while heard < len(arrivals) and arrivals[heard] <= number * 0.02:
            recording.add_caller(caller_frame(heard))
            heard += 1
        recording.add_agent(frame(8000) if number in marks else SILENCE)
    await recording.aclose()
    samples, _ = read_wav(recording.path)
    assert recording.duration_ms == seconds * 1000
    distances = []
    for channel in (0, 1):
        loud = np.flatnonzero(samples[:, channel] > 4000)
        distances.append(loud[np.flatnonzero(np.diff(loud, prepend=-8000) > 4000)])
    caller, agent = distances
    count = min(len(caller), len(agent)) - 2
    apart_ms = (caller[:count] - agent[:count]) / 8
    assert abs(apart_ms[10:30].mean() - apart_ms[-20:].mean()) < 15
    assert np.abs(apart_ms).max() < 80


async def test_late_audio_goes_to_its_place_and_shifts_nothing(tmp_path: Path) -> None:
    recording = CallRecording(tmp_path / "call.wav", Inline())
    recording.add_caller(frame(1000))
    recording.add_agent(SILENCE)
    for _ in range(5):  # 100 ms of nothing, then all at once
        recording.add_agent(SILENCE)
    for level in (2000, 3000, 4000, 5000, 6000):
        recording.add_caller(frame(level))
    await recording.aclose()
    samples, _ = read_wav(recording.path)
    assert [int(level) for level in samples[80::160, 0]] == [
        int(decode_ulaw(frame(level))[0]) for level in (1000, 2000, 3000, 4000, 5000, 6000)
    ]


async def test_while_paused_nothing_is_kept_and_time_goes_on(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    recording = CallRecording(tmp_path / "call.wav", executor)
    for number in range(30):
        if number == 10:
            recording.pause()
        if number == 20:
            recording.resume()
        recording.add_caller(frame(1000))
        recording.add_agent(frame(2000))
    await recording.aclose()
    samples, _ = read_wav(recording.path)
    assert samples.shape == (4800, 2)
    assert not samples[1600:3200].any()
    assert samples[:1600].all()
    assert samples[3200:].all()
    assert recording.paused_ms == 200


async def test_wideband_channels_make_a_wideband_file(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    recording = CallRecording(tmp_path / "call.wav", executor)
    recording.take_formats(AudioFormat.PCM16_24K, OPUS_PLAYOUT)
    for _ in range(50):
        recording.add_caller(np.full(480, 1000, np.int16).tobytes())
        recording.add_agent(np.full(480, -1000, np.int16).tobytes())
    await recording.aclose()
    samples, rate_hz = read_wav(recording.path)
    assert rate_hz == 24_000
    assert (samples[:, 0] == 1000).all()
    assert (samples[:, 1] == -1000).all()


async def test_a_codec_that_changes_in_mid_call_goes_on_in_the_same_file(
    tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    recording = CallRecording(tmp_path / "call.wav", executor)
    for _ in range(10):
        recording.add_caller(frame(1000))
        recording.add_agent(frame(2000))
    recording.take_formats(AudioFormat.PCMU, PCMA)
    for _ in range(10):
        recording.add_caller(frame(1000))
        recording.add_agent(b"\xd5" * 160)
    await recording.aclose()
    samples, _ = read_wav(recording.path)
    assert samples.shape == (3200, 2)
    assert np.abs(samples[1600:, 1]).max() <= 8
    assert (samples[:, 0] > 900).all()


@pytest.mark.parametrize("finished", [True, False])
async def test_an_opus_recording_is_playable_finished_or_not(
    tmp_path: Path, executor: ThreadPoolExecutor, finished: bool
) -> None:
    recording = CallRecording(tmp_path / "call.ogg", executor)
    tone = (8000 * np.sin(np.arange(8000) * 2 * np.pi * 440 / 8000)).astype(np.int16)
    audio = encode_ulaw(tone)
    for second in range(5):
        for start in range(0, 8000, 160):
            recording.add_caller(audio[start : start + 160])
            recording.add_agent(SILENCE if second else audio[start : start + 160])
    if finished:
        await recording.aclose()
    executor.submit(lambda: None).result()
    copy = tmp_path / "copy.ogg"
    copy.write_bytes(recording.path.read_bytes())  # as it stood when the process died
    with av.open(str(copy)) as container:
        frames = [part.to_ndarray() for part in container.decode(audio=0)]
        channels = container.streams.audio[0].channels
    heard_ms = sum(part.shape[-1] // (1 if part.shape[0] == channels else channels) for part in frames) / 48
    assert channels == 2
    assert heard_ms == pytest.approx(5000, abs=60 if finished else 1600)
    await recording.aclose()


@pytest.mark.parametrize("suffix", ["wav", "ogg"])
async def test_a_full_disk_ends_the_recording_and_leaves_what_was_written(
    tmp_path: Path, executor: ThreadPoolExecutor, suffix: str
) -> None:
    """A limit on the size of files stands for the full disk."""
    recording = CallRecording(tmp_path / f"call.{suffix}", executor)
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, before[1]))
    noise = random.Random(3)
    try:
        for _ in range(1500):
            recording.add_caller(noise.randbytes(160))
            recording.add_agent(noise.randbytes(160))
            executor.submit(lambda: None).result()
        await recording.aclose()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert recording.fault is not None
    assert 0 < recording.path.stat().st_size <= 40_000
    with av.open(str(recording.path)) as container:
        kept_ms = sum(part.samples / part.sample_rate for part in container.decode(audio=0)) * 1000
    assert kept_ms <= recording.duration_ms + 20, "more than is said is not there"
    assert kept_ms >= recording.duration_ms - (0 if suffix == "wav" else 1200), "an Ogg page and more was on its way"


async def test_both_sides_in_one_channel_are_not_cut_where_they_speak_at_once(
    tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    """Barge-in: the caller speaks over the agent, both as loud as can be."""
    recording = CallRecording(tmp_path / "call.wav", executor, is_mixed=True)
    time_s = np.arange(8000) / 8000
    caller, agent = (
        encode_ulaw((30_000 * np.sin(2 * np.pi * hertz * time_s)).astype(np.int16)) for hertz in (400, 900)
    )
    for number in range(0, 8000, 160):
        recording.add_caller(caller[number : number + 160] if number >= 4000 else SILENCE)
        recording.add_agent(agent[number : number + 160] if number < 6400 else SILENCE)
    await recording.aclose()
    samples, rate_hz = read_wav(recording.path)
    assert (rate_hz, samples.shape) == (8000, (8000, 1))
    mixed = samples[:, 0].astype(np.int32)
    # Alone each is what it was but for its tips; together the tips are round: no two neighbours stand at the rail.
    assert np.abs(mixed[6400:] - decode_ulaw(caller)[6400:]).max() < 4000
    assert np.abs(mixed).max() < 32_767
    spectrum = np.abs(np.fft.rfft(mixed[4000:6400] * np.hanning(2400)))
    loudest = {
        round(float(np.argmax(spectrum[low:high]) + low) * 8000 / 2400, -1) for low, high in ((60, 180), (200, 340))
    }
    assert loudest == {400, 900}


async def test_a_pause_is_silence_in_the_one_channel_too(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    recording = CallRecording(tmp_path / "call.wav", executor, is_mixed=True)
    for number in range(30):
        if number == 10:
            recording.pause()
        if number == 20:
            recording.resume()
        recording.add_caller(frame(1000))
        recording.add_agent(frame(2000))
    await recording.aclose()
    samples, _ = read_wav(recording.path)
    assert len(samples) == 30 * 160
    assert recording.paused_ms == 200
    assert not samples[1600:3200].any()
    assert (samples[:1600] > 2900).all()
    assert (samples[3200:] > 2900).all()


class Line:
    """A line whose time is told: packets of the caller and turns of the clock, or neither."""

    def __init__(self, path: Path, executor: Executor) -> None:
        self.now = 1000.0
        self.recording = CallRecording(path, executor, clock=lambda: self.now)

    def turn(self, caller: int | None, agent: int | None) -> None:
        """20 ms in which a side says so much; None: it is not there."""
        if caller is not None:
            self.recording.add_caller(frame(caller))
        if agent is not None:
            self.recording.add_agent(frame(agent))
        self.now += 0.02

    async def ended(self) -> Any:
        """The samples, one row a channel."""
        await self.recording.aclose()
        samples, _ = read_wav(self.recording.path)
        return samples.T


def said(channel: Any) -> list[tuple[int, int]]:
    """When somebody begins and ends to speak, in milliseconds."""
    loud = np.concatenate(([False], np.abs(channel.astype(np.int32)) > 500, [False]))
    edges = np.flatnonzero(np.diff(loud.astype(np.int8)))
    return [(round(start / 8), round(end / 8)) for start, end in edges.reshape(-1, 2)]


async def test_a_line_on_which_nothing_is_sent_goes_on_being_heard_and_keeps_its_time(tmp_path: Path) -> None:
    """The far end holds it (sendonly): it speaks on, and no frame leaves."""
    line = Line(tmp_path / "call.wav", Inline())
    for _ in range(50):
        line.turn(0, 2000)
    for number in range(300):
        line.turn(3000 if number == 100 else 0, None)
    for _ in range(50):
        line.turn(0, 2000)
    caller, agent = await line.ended()
    assert len(caller) == 8000 * 8
    assert said(caller) == [(3000, 3020)]
    assert said(agent) == [(0, 1000), (7000, 8000)]


async def test_what_neither_hears_nor_sends_is_silence_of_its_length(tmp_path: Path) -> None:
    line = Line(tmp_path / "call.wav", Inline())
    for _ in range(50):
        line.turn(3000, 2000)
    for second in range(3600):
        line.now += 1
        line.recording.advance()
        assert len(line.recording._agent) < 8 * 11_000, f"memory does not grow with the hold: {second} s"
    for _ in range(50):
        line.turn(3000, 2000)
    caller, agent = await line.ended()
    assert line.recording.fault is None
    assert said(caller) == said(agent) == [(0, 1000), (3_601_000, 3_602_000)]


async def test_a_process_that_stood_still_lays_what_waited_meanwhile_where_it_was_said(
    tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    line = Line(tmp_path / "call.wav", executor)
    for _ in range(50):
        line.turn(0, 2000)
    line.now += 2.0
    for number in range(100):  # the socket's queue, all at once
        line.recording.add_caller(frame(3000 if number == 50 else 0))
    for _ in range(50):
        line.turn(0, 2000)
    caller, agent = await line.ended()
    assert said(agent) == [(0, 1000), (3000, 4000)]
    ((start, end),) = said(caller)
    assert abs(start - 2000) <= 60
    assert end - start == 20


async def test_a_stall_of_any_length_is_no_slow_disk(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    line = Line(tmp_path / "call.wav", executor)
    line.turn(3000, 2000)
    line.now += PENDING_CHUNKS * 2.0
    line.turn(3000, 2000)
    await line.ended()
    assert line.recording.fault is None
    assert line.recording.duration_ms == 40 + PENDING_CHUNKS * 2000


async def test_keys_that_are_sent_cost_nothing_of_what_the_caller_says(tmp_path: Path) -> None:
    """A telephone-event of 100 ms is no frame, and the pause behind it is 80 ms of silence."""
    line = Line(tmp_path / "call.wav", Inline())
    for _ in range(50):
        line.turn(3000, 2000)
    for number in range(10 * 9):
        line.turn(3000, None if number % 9 < 5 else 0)
    for _ in range(50):
        line.turn(3000, 2000)
    caller, agent = await line.ended()
    assert said(caller) == [(0, 3800)]
    assert said(agent) == [(0, 1000), (2800, 3800)]


async def test_turns_that_are_a_little_late_or_come_in_another_phase_change_nothing(tmp_path: Path) -> None:
    """The clock moves a line to where its far end is heard: 15 ms later, here after 5 s."""
    line, randomness = Line(tmp_path / "call.wav", Inline()), random.Random(5)
    for number in range(1000):
        phase_s = 0.015 if number >= 250 else 0.0
        latest_s = 0.003 if number % 250 < 60 else 0.018
        line.now = 1000.0 + number * 0.02 + phase_s + randomness.uniform(-0.001, latest_s)
        line.recording.add_agent(frame(2000))
    _, agent = await line.ended()
    assert said(agent) == [(0, 20_000)]


async def test_single_turns_that_were_missed_are_silence_where_they_were_missed(tmp_path: Path) -> None:
    """As the clock counts them: a turn is missed when the next one is due (rtp.clock.MediaClock).

    It moves the line to a phase that is 15 ms later, too.
    """
    line, randomness = Line(tmp_path / "call.wav", Inline()), random.Random(6)
    turn, missed = 0, 0
    while turn < 1000:
        late_s = randomness.uniform(0, 0.004) + (randomness.uniform(0.016, 0.075) if turn % 90 == 89 else 0.0)
        skipped = int((late_s + EARLY_MS / 1000) / 0.02)
        line.now = 1000.0 + turn * 0.02 + late_s + (0.015 if turn > 180 else 0.0)
        line.recording.add_agent(frame(2000))
        turn += 1 + skipped
        missed += skipped
    _, agent = await line.ended()
    assert missed > 10
    assert len(agent) == turn * 160
    assert sum(end - start for start, end in said(agent)) == (turn - missed) * 20


async def test_what_is_not_sent_while_paused_counts_as_paused(tmp_path: Path) -> None:
    line = Line(tmp_path / "call.wav", Inline())
    for _ in range(50):
        line.turn(3000, 2000)
    line.recording.pause()
    for _ in range(100):
        line.turn(3000, None)
    line.turn(3000, 2000)
    line.recording.resume()
    line.turn(3000, 2000)
    caller, agent = await line.ended()
    assert line.recording.paused_ms == 2020
    assert said(caller) == said(agent) == [(0, 1000), (3020, 3040)]
