"""Recordings of real calls by the real gateway process: after a crash, on a full disk, sealed, and in a store."""

import asyncio
import os
import resource
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.audio_file import Samples, read_audio
from gateway.caller import Caller, PlacedCall
from gateway.cli.recording import run_decrypt
from gateway.recording_seal import RecordingKey
from tests.helpers.gateway_process import ECHO, GatewayProcess, Record
from tests.helpers.s3_server import BUCKET, KEY_ID, SECRET, S3Server
from tests.helpers.sipp import LOOPBACK

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]

RATE_HZ = 8000
TONE_HZ = 1000.0
LAST_SECOND_MS = 1000
PAGE_MS = 500
"""An Ogg page: half a second of sound is on its way to the file together."""
SLACK_MS = 600
"""What a busy machine owes to the thread that writes."""


def recording_to(folder: Path, **values: Any) -> Callable[[Record], None]:
    def adapt(configuration: Record) -> None:
        configuration["recording"] = {"enabled": True, "directory": str(folder / "recordings"), **values}

    return adapt


def tone(seconds: float) -> Samples:
    return (8000 * np.sin(2 * np.pi * TONE_HZ * np.arange(int(seconds * RATE_HZ)) / RATE_HZ)).astype(np.int16)


def loud_ms(samples: Samples) -> int:
    windows = samples[: len(samples) // 160 * 160].reshape(-1, 160).astype(np.int32)
    return 20 * int((np.abs(windows).max(axis=1) > 2000).sum())


@asynccontextmanager
async def a_call(gateway: GatewayProcess) -> AsyncIterator[PlacedCall]:
    host, port = gateway.sip_address
    async with Caller(LOOPBACK) as caller:
        call = caller.place(f"sip:{ECHO}@{host}:{port}")
        await call.answered()
        yield call


async def only_record(gateway: GatewayProcess) -> Record:
    async with asyncio.timeout(10):
        while not (records := gateway.records()):
            await asyncio.sleep(0.05)
    (record,) = records
    return record


@pytest.mark.parametrize(
    ("suffix", "is_sealed", "on_its_way_ms"),
    [("wav", False, 0), ("ogg", False, PAGE_MS), ("wav", True, 0), ("ogg", True, PAGE_MS)],
)
async def test_a_recording_is_playable_up_to_its_last_second_when_the_process_is_killed(
    tmp_path: Path, suffix: str, is_sealed: bool, on_its_way_ms: int
) -> None:
    key = tmp_path / "key"
    key.write_text(RecordingKey.generate())
    sealing = {"encryption": {"key_file": str(key)}} if is_sealed else {}
    with GatewayProcess(tmp_path, adapt=recording_to(tmp_path, format=suffix, **sealing)) as gateway:
        async with a_call(gateway) as call:
            await call.say(tone(4.0))
            heard_ms = len(call.captured) // 8
            gateway.crash()
    (path,) = (tmp_path / "recordings").glob("*")
    if is_sealed:
        assert path.suffix == ".sealed"
        assert run_decrypt(path, None, key_file=key, key_variable="") == 2, "it says that the end is missing"
        path = path.with_suffix("")
    samples = read_audio(path, RATE_HZ)
    assert len(samples) / 8 >= heard_ms - LAST_SECOND_MS - on_its_way_ms - SLACK_MS
    assert loud_ms(samples) >= 1500, "both sides are in it: what was said, and its echo"


async def test_a_process_that_stood_still_leaves_a_recording_as_long_as_the_call(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path, adapt=recording_to(tmp_path)) as gateway:
        async with a_call(gateway) as call:
            await call.say(tone(1.0))
            os.kill(gateway.pid, signal.SIGSTOP)
            await asyncio.sleep(2.0)
            os.kill(gateway.pid, signal.SIGCONT)
            await call.say(tone(1.0))
        record = await only_record(gateway)
    assert record["duration_ms"] > 3500
    assert record["recording"]["duration_ms"] == pytest.approx(record["duration_ms"], abs=500)


async def test_a_full_disk_ends_the_recording_and_not_the_call(tmp_path: Path) -> None:
    """A limit on the size of the process's files stands for the full disk; what it has written stays."""
    with GatewayProcess(tmp_path, adapt=recording_to(tmp_path)) as gateway:
        resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))
        async with a_call(gateway) as call:
            await call.say(tone(4.0))
            before = len(call.captured)
            await call.say(tone(1.0))
            assert len(call.captured) - before >= 6000, "the call goes on"
            call.hang_up()
            await call.ended()
        record = await only_record(gateway)
        assert record["end"]["reason"] == "caller_hung_up"
        assert "File too large" in record["recording"]["fault"]
        assert any(line.get("message") == "recording stopped" for line in gateway.log_events)
        samples = read_audio(Path(record["recording"]["path"]), RATE_HZ)
        assert 0 < len(samples) * 4 <= 60_000


async def test_a_recording_is_in_the_store_after_the_call_and_after_a_crash(tmp_path: Path) -> None:
    with S3Server(tmp_path / "s3.log") as store:
        upload = {
            "bucket": BUCKET, "prefix": "calls/", "endpoint": store.url,
            "access_key_id": KEY_ID, "secret_access_key": SECRET,
        }  # fmt: skip
        adapt = recording_to(tmp_path, upload=upload, layout="mixed")
        with GatewayProcess(tmp_path, adapt=adapt) as gateway:
            async with a_call(gateway) as call:
                await call.say(tone(1.5))
            stored = await stored_record(gateway)
            name = stored["upload"]["url"].rpartition("/")[2]
            assert store.names() == [f"calls/{name}"]
            assert list((tmp_path / "recordings").glob("*.wav")) == []
            assert SECRET not in gateway.log

            async with a_call(gateway) as call:
                await call.say(tone(3.0))
                gateway.crash()
        assert len(store.names()) == 1
        with GatewayProcess(tmp_path, adapt=adapt) as gateway:
            async with asyncio.timeout(20):
                while len(store.names()) < 2:
                    await asyncio.sleep(0.1)
            (torn,) = (one for one in store.names() if one != f"calls/{name}")
        (tmp_path / "torn.wav").write_bytes(store.content(torn))
    assert loud_ms(read_audio(tmp_path / "torn.wav", RATE_HZ)) >= 1000


async def test_a_store_that_hangs_holds_neither_the_end_of_the_process_nor_loses_anything(tmp_path: Path) -> None:
    """The kernel takes the connection and the upload, and nobody answers: until then the store has 30 s."""
    upload = {"bucket": BUCKET, "access_key_id": KEY_ID, "secret_access_key": SECRET}
    with socket.create_server((LOOPBACK, 0)) as silent:
        url = f"http://{LOOPBACK}:{silent.getsockname()[1]}"
        with GatewayProcess(tmp_path, adapt=recording_to(tmp_path, upload={**upload, "endpoint": url})) as gateway:
            async with a_call(gateway) as call:
                await call.say(tone(1.5))
            record = await only_record(gateway)
            asked, _ = await asyncio.to_thread(silent.accept)
            gateway.stop()  # within 20 s, or it fails
            asked.close()
    name = Path(record["recording"]["path"]).name
    assert (tmp_path / "recordings" / name).exists()
    with S3Server(tmp_path / "s3.log") as store:
        adapt = recording_to(tmp_path, upload={**upload, "endpoint": store.url})
        with GatewayProcess(tmp_path, adapt=adapt) as gateway:
            assert (await stored_record(gateway))["upload"]["url"] == f"s3://{BUCKET}/{name}"
            assert store.names() == [name]
    assert not (tmp_path / "recordings" / name).exists()


async def stored_record(gateway: GatewayProcess) -> Record:
    """The recording's part of the only record, once the store has it."""
    async with asyncio.timeout(20):
        while True:
            record = await only_record(gateway)
            if record["recording"]["upload"]["state"] == "stored":
                found: Record = record["recording"]
                return found
            await asyncio.sleep(0.1)
