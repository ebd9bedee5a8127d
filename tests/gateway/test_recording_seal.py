"""Sealed recordings: what was sealed comes back, up to the last whole chunk, and nothing else does."""

import os
import random
import resource
import signal
import wave
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from gateway.audio_file import read_audio, read_wav
from gateway.cli.app import app
from gateway.recording import CallRecording
from gateway.recording_file import WholeFile
from gateway.recording_seal import (
    HEADER_OCTETS,
    MAX_CHUNK_OCTETS,
    RecordingKey,
    Seal,
    SealedFile,
    SealError,
)
from rtp.codec.g711 import encode_ulaw

KEY = RecordingKey(bytes(range(32)))
SALT = bytes(32)


class Container:
    """A file in memory."""

    def __init__(self) -> None:
        self.octets = bytearray()

    def write(self, octets: bytes, /) -> int:
        self.octets += octets
        return len(octets)

    def close(self) -> None:
        """Nothing to close."""


def sealed(*pieces: bytes, close: bool = True, salt: bytes = SALT, key: RecordingKey = KEY) -> bytes:
    container = Container()
    seal = Seal(container, key, salt)
    for piece in pieces:
        seal.write(piece)
        seal.flush()
    if close:
        seal.close()
    return bytes(container.octets)


def test_what_was_sealed_comes_back() -> None:
    pieces = [os.urandom(size) for size in (1, 100, MAX_CHUNK_OCTETS, 3 * MAX_CHUNK_OCTETS + 7)]
    octets = sealed(*pieces)
    file = SealedFile(octets, KEY)
    chunks = list(file.chunks())
    assert b"".join(chunks) == b"".join(pieces)
    assert max(map(len, chunks)) <= MAX_CHUNK_OCTETS
    assert file.is_complete
    assert all(piece not in octets for piece in pieces if len(piece) > 1)


def test_a_crash_costs_the_chunk_that_was_being_written_and_no_more() -> None:
    pieces = [bytes([number]) * 1000 for number in range(5)]
    octets = sealed(*pieces, close=False)
    for cut in (0, 1, 500, 1019):
        file = SealedFile(octets[: len(octets) - cut], KEY)
        assert b"".join(file.chunks()) == b"".join(pieces if cut == 0 else pieces[:-1])
        assert not file.is_complete


@pytest.mark.parametrize("suffix", ["wav", "ogg"])
async def test_a_disk_that_is_full_for_a_while_costs_what_was_not_written_and_no_more(
    tmp_path: Path, executor: ThreadPoolExecutor, suffix: str
) -> None:
    """A limit on the size of files stands for the full disk: a chunk is torn, and there is room again at the end."""
    recording = CallRecording(tmp_path / f"call.{suffix}.sealed", executor, key=KEY)
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, before[1]))
    noise = random.Random(3)
    try:
        while recording.fault is None and recording.duration_ms < 60_000:
            recording.add_caller(noise.randbytes(160))
            recording.add_agent(noise.randbytes(160))
            executor.submit(lambda: None).result()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    await recording.aclose()
    assert recording.fault is not None
    file = SealedFile(recording.path.read_bytes(), KEY)
    plain = b"".join(file.chunks())
    assert not file.is_complete
    (tmp_path / f"plain.{suffix}").write_bytes(plain)
    assert len(plain) > 20_000
    assert len(read_audio(tmp_path / f"plain.{suffix}", 8000)) > 8000 // 2


def test_what_a_disk_takes_in_parts_is_written_whole_or_not_for_good(tmp_path: Path) -> None:
    handler, before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    with WholeFile(tmp_path / "file", "wb") as file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1500, before[1]))
        try:
            assert file.write(bytes(1000)) == 1000
            with pytest.raises(OSError, match="too large"):
                file.write(bytes(1000))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, handler)


def test_nothing_that_was_changed_is_played() -> None:
    pieces = [os.urandom(1000) for _ in range(3)]
    octets = bytearray(sealed(*pieces))
    chunk = 4 + 1000 + 16
    first, second = HEADER_OCTETS, HEADER_OCTETS + chunk
    swapped = octets[:first] + octets[second : second + chunk] + octets[first:second] + octets[second + chunk :]
    left_out = octets[:first] + octets[second:]
    other_salt = bytearray(octets)
    other_salt[HEADER_OCTETS - 1] ^= 1
    flipped = bytearray(octets)
    flipped[first + 10] ^= 1
    huge = bytearray(octets)
    huge[first] = 0xFF
    for damaged in (swapped, left_out, other_salt, flipped, huge):
        with pytest.raises(SealError, match="Chunk 0"):
            list(SealedFile(bytes(damaged), KEY).chunks())


def test_an_end_that_was_cut_off_is_told_from_one_that_was_written() -> None:
    octets = sealed(b"a" * 100, b"b" * 100)
    file = SealedFile(octets[: -(4 + 16)], KEY)
    assert b"".join(file.chunks()) == b"a" * 100 + b"b" * 100
    assert not file.is_complete


def test_another_key_is_refused_by_its_name_and_nothing_of_either_is_said() -> None:
    other = RecordingKey(os.urandom(32))
    with pytest.raises(SealError, match=other.key_id.hex()) as refused:
        SealedFile(sealed(b"x"), other)
    assert KEY.key_id.hex() in str(refused.value)
    assert bytes(range(32)).hex() not in str(refused.value)
    assert bytes(range(32)).hex() not in repr(KEY)


def test_two_files_under_one_key_share_nothing() -> None:
    one, two = sealed(b"the same words", salt=os.urandom(32)), sealed(b"the same words", salt=os.urandom(32))
    assert one[HEADER_OCTETS:] != two[HEADER_OCTETS:]


@pytest.mark.parametrize("text", ["", "abc", "00" * 31, "zz" * 32, "AAAA"])
def test_what_is_no_key_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(SealError) as refused:
        RecordingKey.parse(text)
    assert not text or text not in str(refused.value)


def test_a_key_is_read_as_it_is_generated_or_in_hexadecimal(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(RecordingKey.generate() + "\n")
    assert RecordingKey.load(file).key_id != KEY.key_id
    file.write_text(bytes(range(32)).hex())
    assert RecordingKey.load(file).key_id == KEY.key_id
    with pytest.raises(SealError, match="cannot be read"):
        RecordingKey.load(tmp_path / "no-such-file")


@pytest.mark.parametrize("suffix", ["wav", "ogg"])
@pytest.mark.parametrize("is_mixed", [False, True])
async def test_a_sealed_call_is_decrypted_into_what_a_player_plays(
    tmp_path: Path, executor: ThreadPoolExecutor, suffix: str, is_mixed: bool
) -> None:
    recording = CallRecording(tmp_path / f"call.{suffix}.sealed", executor, is_mixed=is_mixed, key=KEY)
    tone = encode_ulaw((8000 * np.sin(np.arange(24_000) * 2 * np.pi * 440 / 8000)).astype(np.int16))
    for start in range(0, 24_000, 160):
        recording.add_caller(tone[start : start + 160])
        recording.add_agent(b"\xff" * 160)
    await recording.aclose()
    assert recording.fault is None
    key = tmp_path / "key"
    key.write_text(bytes(range(32)).hex())
    outcome = CliRunner().invoke(app, ["recording", "decrypt", str(recording.path), "--key-file", str(key)])
    assert outcome.exit_code == 0, outcome.output
    clear = tmp_path / f"call.{suffix}"
    assert len(read_audio(clear, 8000)) == pytest.approx(24_000, abs=400)
    with av.open(str(clear)) as container:
        assert container.streams.audio[0].channels == (1 if is_mixed else 2)
    if suffix == "wav":
        samples, rate_hz = read_wav(clear)
        assert (rate_hz, len(samples)) == (8000, 24_000)
        with wave.open(str(clear)) as file:
            assert file.getnframes() == 24_000


def test_the_command_says_what_a_crash_left_and_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "call.ogg.sealed"
    path.write_bytes(sealed(b"words" * 100, close=False) + b"\x00\x00")
    arguments = ["recording", "decrypt", str(path)]
    runner = CliRunner()
    missing = runner.invoke(app, arguments, env={"TRUNKLINE_RECORDING_KEY": ""})
    assert missing.exit_code == 1
    found = runner.invoke(app, arguments, env={"TRUNKLINE_RECORDING_KEY": bytes(range(32)).hex()})
    assert found.exit_code == 2
    assert "process that wrote it died" in found.output
    assert (tmp_path / "call.ogg").read_bytes() == b"words" * 100
    refused = runner.invoke(app, ["recording", "decrypt", str(tmp_path / "none"), "--key-file", str(path)])
    assert refused.exit_code == 1


def test_the_command_makes_keys() -> None:
    outcome = CliRunner().invoke(app, ["recording", "key"])
    assert outcome.exit_code == 0
    assert RecordingKey.parse(outcome.output).key_id
