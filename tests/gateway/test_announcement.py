"""Announcements: files of many formats, in the codec of a leg."""

import os
import wave
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from gateway.announcement import (
    AnnouncementError,
    AnnouncementFeed,
    AnnouncementLibrary,
    SampleLoop,
    read_samples,
)
from rtp.codec.audio import decoder_of
from rtp.codec.format import G722, L16_16K, OPUS, PCMA, PCMU, PayloadFormat
from rtp.mixer import Mixer
from rtp.mixing_port import PCM_8K, PCM_16K

RATES = {PCMU: 8000, PCMA: 8000, G722: 16000, L16_16K: 16000, OPUS: 24000, PCM_8K: 8000, PCM_16K: 16000}


def tone(rate_hz: int, seconds: float = 1.0, hertz: float = 1000) -> NDArray[np.int16]:
    return (8000 * np.sin(2 * np.pi * hertz * np.arange(int(rate_hz * seconds)) / rate_hz)).astype(np.int16)


def wav(path: Path, rate_hz: int = 44100, channels: int = 1, seconds: float = 1.0) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(np.repeat(tone(rate_hz, seconds), channels).tobytes())
    return path


def compressed(path: Path, codec: str, rate_hz: int) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate_hz)
        assert isinstance(stream, av.AudioStream)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(tone(rate_hz).reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = rate_hz
        resampler = av.AudioResampler(format=stream.format.name, layout="mono", rate=rate_hz, frame_size=960)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return path


def level(samples: NDArray[np.int16], rate_hz: int, hertz: float = 1000) -> float:
    middle = samples[rate_hz // 5 : rate_hz * 4 // 5].astype(np.float64)
    window = np.hanning(len(middle))
    turn = np.exp(-2j * np.pi * hertz * np.arange(len(middle)) / rate_hz)
    return float(2 * abs(np.sum(middle * window * turn)) / np.sum(window))


def heard(payload: bytes, payload_format: PayloadFormat) -> NDArray[np.int16]:
    if payload_format in {OPUS, PCM_8K, PCM_16K}:
        return np.frombuffer(payload, dtype=np.int16)
    return decoder_of(payload_format, 1000).decode(payload)


@pytest.mark.parametrize("payload_format", list(RATES), ids=lambda one: f"{one.name}-{one.clock_rate_hz}")
def test_a_file_is_heard_at_its_pitch_and_level_in_every_codec(tmp_path: Path, payload_format: PayloadFormat) -> None:
    payload = AnnouncementLibrary().payload(wav(tmp_path / "tone.wav"), payload_format)
    rate_hz = RATES[payload_format]
    samples = heard(payload, payload_format)
    assert len(samples) == pytest.approx(rate_hz, abs=rate_hz // 50)
    assert level(samples, rate_hz) == pytest.approx(8000, rel=0.05)


@pytest.mark.parametrize(
    ("name", "codec", "rate_hz"), [("a.mp3", "mp3", 44100), ("a.ogg", "libopus", 48000), ("a.flac", "flac", 22050)]
)
def test_compressed_formats_are_read(tmp_path: Path, name: str, codec: str, rate_hz: int) -> None:
    samples = read_samples(compressed(tmp_path / name, codec, rate_hz), 8000)
    assert level(samples, 8000) == pytest.approx(8000, rel=0.1)


def test_stereo_becomes_mono_at_the_same_level(tmp_path: Path) -> None:
    samples = read_samples(wav(tmp_path / "stereo.wav", 48000, channels=2), 8000)
    assert level(samples, 8000) == pytest.approx(8000, rel=0.05)


@pytest.mark.parametrize("channels", [6, 8, 16])
def test_surround_sound_becomes_mono_at_the_same_level(tmp_path: Path, channels: int) -> None:
    """Of eight channels and more PyAV reads planes that are not there, which ended the process."""
    samples = read_samples(wav(tmp_path / "surround.wav", 48000, channels), 8000)
    assert level(samples, 8000) == pytest.approx(8000, rel=0.05)


def test_a_pipe_is_no_file_to_wait_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(AnnouncementError, match="pipe"):
        AnnouncementLibrary().payload(tmp_path / "pipe.wav", PCMU)


def test_a_sound_that_is_shorter_than_a_sample_of_the_leg_is_none(tmp_path: Path) -> None:
    with pytest.raises(AnnouncementError, match="empty"):
        AnnouncementLibrary().payload(wav(tmp_path / "click.wav", 44100, seconds=1.1 / 44100), PCMU)


def test_gain_is_applied_and_clips_nothing_over(tmp_path: Path) -> None:
    path = wav(tmp_path / "tone.wav")
    library = AnnouncementLibrary()
    quiet = heard(library.payload(path, PCM_8K, gain_db=-6), PCM_8K)
    assert level(quiet, 8000) == pytest.approx(4010, rel=0.05)
    loud = heard(library.payload(path, PCM_8K, gain_db=20), PCM_8K)
    assert loud.max() == 32767
    assert loud.min() == -32768


def test_it_is_read_once_and_again_when_it_changes(tmp_path: Path) -> None:
    path = wav(tmp_path / "tone.wav")
    library = AnnouncementLibrary()
    first = library.payload(path, PCMU)
    assert library.payload(path, PCMU) is first
    wav(path, seconds=0.5)
    assert len(library.payload(path, PCMU)) == 4000


def test_the_cache_is_bounded(tmp_path: Path) -> None:
    library = AnnouncementLibrary(max_cached_octets=20_000)
    for number in range(5):
        library.payload(wav(tmp_path / f"{number}.wav"), PCMU)
    assert library.cached_octets <= 20_000


def test_what_cannot_be_played_says_why(tmp_path: Path) -> None:
    library = AnnouncementLibrary()
    with pytest.raises(AnnouncementError, match=r"no\.wav' cannot be played: No such file"):
        library.payload(tmp_path / "no.wav", PCMU)
    (tmp_path / "text.wav").write_text("This is no sound.")
    with pytest.raises(AnnouncementError, match=r"text\.wav' cannot be played: Invalid data"):
        library.payload(tmp_path / "text.wav", PCMU)
    with pytest.raises(AnnouncementError, match="cannot be played"):
        library.payload(tmp_path, PCMU)
    with pytest.raises(AnnouncementError, match="empty"):
        library.payload(wav(tmp_path / "empty.wav", seconds=0), PCMU)
    with pytest.raises(AnnouncementError, match="at most 20 dB"):
        library.payload(wav(tmp_path / "tone.wav"), PCMU, gain_db=40)


class Leg:
    """Plays 20 ms when it is told."""

    def __init__(self) -> None:
        self.waiting = self.played = b""
        self.finished: list[str] = []

    @property
    def queued_ms(self) -> int:
        return len(self.waiting) // 8

    def enqueue(self, item_id: str, audio: bytes) -> None:
        self.waiting += audio

    def finish(self, item_id: str) -> None:
        self.finished.append(item_id)

    def play(self, milliseconds: int) -> None:
        self.played += self.waiting[: milliseconds * 8]
        self.waiting = self.waiting[milliseconds * 8 :]


def test_an_announcement_is_fed_to_its_end_a_second_at_a_time() -> None:
    octets = bytes(range(250)) * 96  # three seconds
    leg = Leg()
    feed = AnnouncementFeed(leg, "closed", octets, 8)
    while feed.top_up():
        assert leg.queued_ms <= 1000
        leg.play(240)
    leg.play(2000)
    assert leg.played == octets
    assert leg.finished == ["closed"]


def test_music_goes_on_without_a_gap_until_it_is_stopped() -> None:
    octets = bytes(range(160)) * 7
    leg = Leg()
    feed = AnnouncementFeed(leg, "music", octets, 8, is_endless=True)
    for _ in range(40):
        assert feed.top_up()
        leg.play(240)
    feed.stop()
    feed.stop()
    assert not feed.top_up()
    assert leg.played == (octets * 100)[: len(leg.played)]
    assert len(leg.played) == 40 * 240 * 8
    assert leg.finished == ["music"]


def test_a_mixer_plays_it_once_or_without_end(tmp_path: Path) -> None:
    path = wav(tmp_path / "tone.wav", 8000)
    octets = AnnouncementLibrary().payload(path, PCM_8K)
    for is_endless, still_playing in ((False, []), (True, ["music"])):
        mixer = Mixer()
        ear: list[bytes] = []
        mixer.join("a", PCM_8K, ear.append)
        mixer.play("music", SampleLoop(octets, 8000, is_endless=is_endless))
        for turn in range(75):
            mixer.tick(turn * 0.02)
        assert mixer.playing == still_playing
        sound = np.frombuffer(b"".join(ear), dtype=np.int16)
        assert np.array_equal(sound[:8000], np.frombuffer(octets, dtype=np.int16))
        assert bool(sound[8000:].any()) is is_endless


def test_a_loop_of_odd_length_is_joined_within_a_frame() -> None:
    samples = np.arange(100, dtype=np.int16)
    loop = SampleLoop(samples.tobytes(), 8000, is_endless=True)
    taken = [loop.take(160) for _ in range(5)]
    assert np.array_equal(np.concatenate([one for one in taken if one is not None]), np.tile(samples, 8))
    once = SampleLoop(samples.tobytes(), 8000)
    first = once.take(160)
    assert first is not None
    assert np.array_equal(first, np.concatenate((samples, np.zeros(60, dtype=np.int16))))
    assert once.take(160) is None
    assert SampleLoop(b"", 8000, is_endless=True).take(160) is None
