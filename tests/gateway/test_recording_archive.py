"""The way of recordings to a store that speaks S3: nothing is deleted that the store does not have."""

import asyncio
import hashlib
import json
import logging
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gateway.recording
import gateway.recording_archive
from gateway.call.record import CallRecord, EndRecord, RecordedPart, RecordingRecord, UploadRecord, VoicemailRecord
from gateway.config.recording import UploadSettings
from gateway.message_archive import MessageArchive
from gateway.recording_archive import Deliveries, RecordingArchive, RecordingStyle
from gateway.recording_seal import RecordingKey, SealedFile
from gateway.recording_spool import FIRST_DELAY_S, MAX_DELAY_S, Job, JobState, Spool
from gateway.recording_store import S3Store, Store, Stored, StoreError
from rtp.codec.g711 import encode_ulaw
from tests.helpers.s3_server import BUCKET, HOST, KEY_ID, SECRET, S3Server

pytestmark = pytest.mark.timeout(90)
WITHIN_S = 20.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server(tmp_path_factory.mktemp("s3") / "log") as server:
        yield server


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


@pytest.fixture
def records(tmp_path: Path) -> Path:
    return tmp_path / "records"


@asynccontextmanager
async def deliveries_of(
    folder: Path, store: Store, *, spool: Spool | None = None, **values: Any
) -> AsyncIterator[Deliveries]:
    """The way from a folder to a store, not begun. It is closed at the end at the latest."""
    deliveries = Deliveries(spool or Spool(folder), store, folder / "records", **values)
    try:
        yield deliveries
    finally:
        await deliveries.aclose()


def settings(url: str, **values: Any) -> UploadSettings:
    return UploadSettings(
        bucket=BUCKET, endpoint=url, prefix="calls/", access_key_id=KEY_ID, secret_access_key=SECRET, **values
    )


class Time:
    """The time of day, as a test says it is."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def write_sound(folder: Path, name: str, content: bytes = b"sound") -> Path:
    path = folder / f"{name}.wav"
    path.write_bytes(content)
    return path


def write_record(folder: Path, call_id: str, path: Path) -> None:
    now = datetime.now(UTC)
    CallRecord(
        call_id=call_id, sip_call_id="x", trunk="t", caller="a", dialled="b", started_at=now, ended_at=now,
        end=EndRecord(reason="caller_hung_up", by="caller"),
        recording=RecordingRecord(path=str(path), duration_ms=1000, upload=UploadRecord(state="waiting")),
    ).write(folder)  # fmt: skip


def upload_of(folder: Path, call_id: str, part: str = "recording") -> dict[str, Any]:
    upload: dict[str, Any] = json.loads((folder / f"{call_id}.json").read_text())[part]["upload"]
    return upload


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not condition():
            await asyncio.sleep(0.05)


async def record_a_call(archive: RecordingArchive, records: Path, call_id: str) -> Path:
    recording = archive.begin(call_id)
    tone = encode_ulaw((8000 * np.sin(np.arange(16_000) / 5)).astype(np.int16))
    for start in range(0, 16_000, 160):
        recording.add_caller(tone[start : start + 160])
        recording.add_agent(b"\xff" * 160)
    upload = await archive.finish(call_id, recording)
    assert upload is not None
    assert upload.state.value == "waiting"
    write_record(records, call_id, recording.path)
    return recording.path


def number_of_a_dead_process() -> int:
    pid = os.spawnlp(os.P_NOWAIT, "true", "true")
    os.waitpid(pid, 0)
    return pid


async def test_a_recording_is_brought_verified_deleted_and_told_in_the_call_record(
    tmp_path: Path, records: Path, server: S3Server, executor: ThreadPoolExecutor
) -> None:
    async with deliveries_of(tmp_path, S3Store(settings(server.url))) as deliveries:
        archive = RecordingArchive(RecordingStyle(tmp_path), executor, deliveries)
        path = await record_a_call(archive, records, "call-1")
        content = path.read_bytes()
        deliveries.start()
        await until(lambda: upload_of(records, "call-1")["state"] == "stored")
    assert not path.exists()
    assert server.content("calls/call-1.wav") == content
    assert upload_of(records, "call-1")["url"] == f"s3://{BUCKET}/calls/call-1.wav"
    assert Spool(tmp_path).jobs() == []


async def test_a_caller_s_message_goes_to_the_store_sealed_beside_the_recording_of_its_call(
    tmp_path: Path, records: Path, server: S3Server, executor: ThreadPoolExecutor
) -> None:
    key = RecordingKey(bytes(range(32)))
    async with deliveries_of(tmp_path, S3Store(settings(server.url))) as deliveries:
        archive = RecordingArchive(RecordingStyle(tmp_path), executor, deliveries)
        messages = MessageArchive(tmp_path, "wav", executor, key, deliveries)
        message = messages.begin("call-m")
        for _ in range(100):
            message.add_caller(b"\x10" * 160)
            message.add_agent(b"\xff" * 160)
        executor.submit(int).result()
        (job,) = Spool(tmp_path).jobs()
        assert (job.state, job.part) == (JobState.RECORDING, RecordedPart.VOICEMAIL), "should the process die now"
        path = await record_a_call(archive, records, "call-m")
        upload = await messages.finish("call-m", message)
        record = CallRecord.model_validate_json((records / "call-m.json").read_text())
        voicemail = VoicemailRecord(path=str(message.path), duration_ms=2000, ended_by="silence", upload=upload)
        record.model_copy(update={"voicemail": voicemail}).write(records)
        sealed = message.path.read_bytes()
        deliveries.start()
        for part in ("recording", "voicemail"):
            await until(lambda part=part: upload_of(records, "call-m", part)["state"] == "stored")  # type: ignore[misc]
    assert not path.exists()
    assert not message.path.exists()
    assert server.content("calls/call-m-voicemail.wav.sealed") == sealed
    assert b"".join(SealedFile(sealed, key).chunks()).startswith(b"RIFF")
    url = f"s3://{BUCKET}/calls/call-m-voicemail.wav.sealed"
    assert upload_of(records, "call-m", "voicemail")["url"] == url
    assert upload_of(records, "call-m")["url"] == f"s3://{BUCKET}/calls/call-m.wav"
    assert Spool(tmp_path).jobs() == []


async def test_a_file_may_stay_when_it_was_brought(
    tmp_path: Path, records: Path, server: S3Server, executor: ThreadPoolExecutor
) -> None:
    async with deliveries_of(tmp_path, S3Store(settings(server.url)), keep_local=True) as deliveries:
        archive = RecordingArchive(RecordingStyle(tmp_path), executor, deliveries)
        path = await record_a_call(archive, records, "call-2")
        deliveries.start()
        await until(lambda: upload_of(records, "call-2")["state"] == "stored")
    assert server.content("calls/call-2.wav") == path.read_bytes()


async def test_what_cannot_be_brought_waits_and_goes_after_a_restart(
    tmp_path: Path, records: Path, executor: ThreadPoolExecutor
) -> None:
    now = Time()
    with S3Server(tmp_path / "log") as server:
        server.stop()
        async with deliveries_of(tmp_path, S3Store(settings(server.url)), wall_time=now) as deliveries:
            archive = RecordingArchive(RecordingStyle(tmp_path), executor, deliveries)
            path = await record_a_call(archive, records, "call-3")
            deliveries.start()
            assert archive.uploads_waiting == 1
            await until(lambda: bool(upload_of(records, "call-3")["fault"]))
            assert archive.uploads_waiting == 1
            assert archive.counters == {"upload_fault": 1}
        # The gateway is stopped with the job in its spool.
        assert path.exists()
        (job,) = Spool(tmp_path).jobs()
        assert job.attempts == 1
        assert job.not_before == now.now + FIRST_DELAY_S

        server.start()
        async with deliveries_of(tmp_path, S3Store(settings(server.url)), wall_time=now) as again:
            again.start()
            await asyncio.sleep(0.5)
            assert path.exists(), "its time has not come"
            assert (again.waiting_count, again.counters) == (1, {})
            now.now += FIRST_DELAY_S
            await until(lambda: upload_of(records, "call-3")["state"] == "stored")
            assert (again.waiting_count, again.counters) == (0, {"upload_stored": 1})
        assert not path.exists()
        assert server.names() == ["calls/call-3.wav"]


async def test_what_a_dead_process_was_recording_is_brought_by_the_next(
    tmp_path: Path, records: Path, server: S3Server
) -> None:
    dead = number_of_a_dead_process()
    path = write_sound(tmp_path, "torn", b"RIFF and some sound")
    spool = Spool(tmp_path)
    spool.put(Job("torn", "torn.wav", JobState.RECORDING, dead))
    spool.put(Job("unheard", "unheard.wav", JobState.RECORDING, dead))
    spool.put(Job("running", "running.wav", JobState.RECORDING, os.getppid()))
    write_record(records, "torn", path)
    async with deliveries_of(tmp_path, S3Store(settings(server.url))) as deliveries:
        deliveries.start()
        await until(lambda: [job.call_id for job in spool.jobs()] == ["running"])
    assert server.content("calls/torn.wav") == b"RIFF and some sound"


def test_every_attempt_waits_twice_as_long_as_the_one_before_and_none_for_ever() -> None:
    job, waits = Job("c", "c.wav", JobState.WAITING, 1), []
    for _ in range(40):
        job = job.failed("away", 0.0)
        waits.append(job.not_before)
    assert waits[:4] == [FIRST_DELAY_S, 2 * FIRST_DELAY_S, 4 * FIRST_DELAY_S, 8 * FIRST_DELAY_S]
    assert max(waits) == waits[-1] == MAX_DELAY_S


@contextmanager
def store_that_says(headers_of: Callable[[bytes], Mapping[str, str]]) -> Iterator[str]:
    """A server that takes everything, and says of it what it likes."""

    class Handler(BaseHTTPRequestHandler):
        taken = b""

        def do_PUT(self) -> None:
            type(self).taken = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_HEAD(self) -> None:
            self.send_response(200)
            for name, value in headers_of(self.taken).items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, format: str, *values: object) -> None:  # noqa: A002 - the name in the standard library
            """Quiet."""

    server = HTTPServer((HOST, 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    ("etag", "size", "says"), [("0" * 32, None, "checksum"), (None, 3, "3 octets of 11"), (None, None, "")]
)
async def test_a_file_is_kept_where_the_store_has_something_else(
    tmp_path: Path, records: Path, etag: str | None, size: int | None, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_sound(tmp_path, "call", b"eleven here")
    write_record(records, "call", path)

    def claims(taken: bytes) -> Mapping[str, str]:
        own = hashlib.md5(taken, usedforsecurity=False).hexdigest()
        return {"ETag": f'"{etag or own}"', "Content-Length": str(len(taken) if size is None else size)}

    with store_that_says(claims) as url, caplog.at_level(logging.WARNING):
        async with deliveries_of(tmp_path, S3Store(settings(url))) as deliveries:
            deliveries.release("call", path)
            deliveries.start()
            if says:
                await until(
                    lambda: any(getattr(entry, "event", "") == "recording_not_stored" for entry in caplog.records)
                )
                assert path.exists()
                assert says in str(upload_of(records, "call")["fault"])
            else:
                await until(lambda: not path.exists())


def test_a_wrong_bucket_or_a_wrong_file_is_an_error_that_says_so(tmp_path: Path, server: S3Server) -> None:
    path = write_sound(tmp_path, "call")
    wrong = UploadSettings(bucket="elsewhere", endpoint=server.url, access_key_id=KEY_ID, secret_access_key=SECRET)
    with pytest.raises(StoreError, match="elsewhere"):
        S3Store(wrong).bring(path)
    with pytest.raises(FileNotFoundError):
        S3Store(wrong).bring(tmp_path / "none")


def test_a_job_that_cannot_be_read_stops_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    (tmp_path / ".upload" / "bad.json").write_text("{")
    (tmp_path / ".upload" / "worse.json").write_text('{"state": "flying"}')
    (tmp_path / ".upload" / "worst.json").write_text("[]")
    good = Job("good", "good.wav", JobState.WAITING, 1)
    spool.put(good)
    assert spool.jobs() == [good]


def test_a_job_of_before_there_were_messages_is_that_of_a_recording(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    old = {"call_id": "old", "file": "old.wav", "state": "waiting", "pid": 1, "attempts": 2, "not_before": 0.0}
    (tmp_path / ".upload" / "old.json").write_text(json.dumps({**old, "fault": "away", "url": None}))
    (job,) = spool.jobs()
    assert (job.part, job.attempts) == (RecordedPart.RECORDING, 2)


@pytest.mark.parametrize(
    "headers", [{"ETag": '"e"'}, {"Content-Length": "many"}, {"Content-Length": "5", "Last-Modified": "never"}]
)
async def test_an_answer_that_cannot_be_read_is_a_fault_and_no_end_of_the_deliveries(
    tmp_path: Path, records: Path, headers: dict[str, str]
) -> None:
    now, path, spool = Time(), write_sound(tmp_path, "call"), Spool(tmp_path)
    write_record(records, "call", path)
    with store_that_says(lambda _: headers) as url:
        async with deliveries_of(tmp_path, S3Store(settings(url)), wall_time=now) as deliveries:
            deliveries.release("call", path)
            deliveries.start()
            await until(lambda: bool(upload_of(records, "call")["fault"]))
            now.now += FIRST_DELAY_S
            await until(lambda: spool.jobs()[0].attempts == 2)
    assert path.exists()


@pytest.mark.parametrize(
    "values", [{"region": "nowhere at all"}, {"endpoint": "http://-bad-:80"}], ids=["region", "endpoint"]
)
def test_settings_that_name_no_store_are_an_error_that_says_so(values: dict[str, str]) -> None:
    with pytest.raises(StoreError, match=r"recording\.upload"):
        S3Store(settings("http://127.0.0.1:9").model_copy(update=values))


class Shelf:
    """A store that takes everything at once, when it is let."""

    def __init__(self) -> None:
        self.brought: list[str] = []
        self.is_open = threading.Event()
        self.is_asked = threading.Event()

    def bring(self, path: Path) -> Stored:
        self.is_asked.set()
        assert self.is_open.wait(WITHIN_S)
        self.brought.append(path.name)
        return Stored(f"shelf:{path.name}", path.stat().st_size, "")


async def test_an_upload_that_hangs_does_not_hold_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway.recording_archive, "CLOSING_PATIENCE_S", 0.1)
    shelf = Shelf()
    async with deliveries_of(tmp_path, shelf) as deliveries:
        deliveries.release("call", write_sound(tmp_path, "call"))
        deliveries.start()
        await until(shelf.is_asked.is_set)
        (hanging,) = (one for one in threading.enumerate() if one.name == "upload-0")
        assert hanging.daemon, "the interpreter does not wait for it"
    assert not shelf.brought
    assert [job.state for job in Spool(tmp_path).jobs()] == [JobState.WAITING]
    shelf.is_open.set()
    hanging.join(WITHIN_S)


async def test_two_processes_in_one_folder_bring_each_its_own_and_what_the_other_leaves(tmp_path: Path) -> None:
    """Both have the same number, as in two containers: only the lock tells that the other one lives."""
    shelves = Shelf(), Shelf()
    paths = {name: write_sound(tmp_path, name) for name in ("running", "first", "second", "running-too")}
    # The first never starts: a call is running, and another waits.
    async with deliveries_of(tmp_path, shelves[0]) as one, deliveries_of(tmp_path, shelves[1]) as other:
        one.announce("running", paths["running"])
        one.release("first", paths["first"])
        other.release("second", paths["second"])
        shelves[1].is_open.set()
        other.start()
        await until(lambda: not paths["second"].exists())
        assert shelves[1].brought == ["second.wav"]
    async with deliveries_of(tmp_path, shelves[1]) as heir:
        heir.announce("running-too", paths["running-too"])
        heir.start()
        await until(lambda: sorted(shelves[1].brought) == ["first.wav", "running.wav", "second.wav"])
    assert paths["running-too"].exists()


async def test_what_a_living_process_sees_another_leave_it_brings_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway.recording_archive, "ADOPTION_S", 0.0)
    monkeypatch.setattr(gateway.recording_archive, "POLL_S", 0.05)
    shelf, dying = Shelf(), Spool(tmp_path)
    dying.claim()
    write_sound(tmp_path, "torn")
    dying.put(Job("torn", "torn.wav", JobState.RECORDING, os.getpid(), owner=dying.owner))
    shelf.is_open.set()
    async with deliveries_of(tmp_path, shelf) as deliveries:
        deliveries.start()
        await asyncio.sleep(0.3)
        assert shelf.brought == []
        dying.release()
        await until(lambda: shelf.brought == ["torn.wav"])


async def test_a_disk_too_full_for_jobs_is_emptied_by_the_uploads(tmp_path: Path, records: Path) -> None:
    """A folder in the place of the file that a job is written to stands for the full disk."""
    shelf, spool = Shelf(), Spool(tmp_path)
    paths = {name: write_sound(tmp_path, name) for name in ("one", "two")}
    for name, path in paths.items():
        (tmp_path / ".upload" / f"{name}.partial").mkdir()
        write_record(records, name, path)
    async with deliveries_of(tmp_path, shelf, spool=spool, wall_time=Time()) as deliveries:
        upload = deliveries.release("one", paths["one"])
        assert upload is not None
        assert upload.fault is not None
        assert "Is a directory" in upload.fault
        deliveries.release("two", paths["two"])
        shelf.is_open.set()
        deliveries.start()
        await until(lambda: spool.jobs() == [])
        assert not any(path.exists() for path in paths.values())
        assert {upload_of(records, name)["state"] for name in paths} == {"stored"}
        assert shelf.brought == ["one.wav", "two.wav"], "each of them once"


async def test_the_recordings_of_a_process_are_told_that_time_goes_on(
    tmp_path: Path, executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway.recording, "LONGEST_GAP_MS", 100)
    monkeypatch.setattr(gateway.recording_archive, "ADVANCE_S", 0.05)
    archive = RecordingArchive(RecordingStyle(tmp_path), executor)
    recording = archive.begin("held")
    recording.add_agent(b"\xff" * 160)
    await until(lambda: recording.duration_ms > 0)
    await archive.finish("held", recording)


async def test_recordings_and_messages_that_the_disk_refuses_are_counted(
    tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    folder = tmp_path / "recordings"
    folder.write_text("no folder")
    archive = RecordingArchive(RecordingStyle(folder), executor)
    recording = archive.begin("refused")
    for _ in range(100):
        recording.add_agent(b"\x33" * 160)
    await archive.finish("refused", recording)
    assert recording.fault is not None
    assert archive.counters == {"recording_fault": 1}

    messages = MessageArchive(tmp_path / "messages", "wav", executor)
    message = messages.begin("refused")
    (tmp_path / "messages").rmdir()
    for _ in range(100):
        message.add_agent(b"\x33" * 160)
    await messages.finish("refused", message)
    assert message.fault is not None
    assert messages.counters == {"voicemail_fault": 1}


async def test_a_recording_that_is_gone_before_it_was_brought_is_counted(
    tmp_path: Path, records: Path, executor: ThreadPoolExecutor
) -> None:
    async with deliveries_of(tmp_path, S3Store(settings("http://127.0.0.1:9"))) as deliveries:
        archive = RecordingArchive(RecordingStyle(tmp_path), executor, deliveries)
        (await record_a_call(archive, records, "gone")).unlink()
        deliveries.start()
        await until(lambda: archive.counters == {"upload_lost": 1})
        assert archive.uploads_waiting == 0
