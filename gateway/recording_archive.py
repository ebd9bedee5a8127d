"""The archive: makes the recordings of a process's calls, and brings them to the store where there is one.

Whatever the store does, no call waits for it, nor does the end of the process. A file is deleted here only after the
store has named its size and its checksum; what cannot be brought waits in the spool and is tried again, each time after
twice the time.
"""

import asyncio
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from gateway.call.record import RecordedPart, UploadRecord, UploadState, note_upload
from gateway.daemon_pool import DaemonPool
from gateway.recording import CallRecording
from gateway.recording_seal import SUFFIX, RecordingKey
from gateway.recording_spool import Job, JobState, Spool
from gateway.recording_store import Store, StoreError

ADVANCE_S: Final = 1.0
"""How often the recordings are told that time goes on."""
POLL_S: Final = 1.0
"""How often the archive looks for a job that has become due."""
ADOPTION_S: Final = 60.0
"""How often it looks for what a process has left that shared the folder and died."""
CLOSING_PATIENCE_S: Final = 5.0
"""How long the end of the process waits for an upload that is under way; one that is cut short begins anew."""
RECORD_ATTEMPTS: Final = 8
"""A call's record is written right after its end; one that is missing after minutes was deleted."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RecordingStyle:
    """What the recordings of a process are like."""

    directory: Path
    suffix: str = "wav"
    is_mixed: bool = False
    key: RecordingKey | None = None


class RecordingArchive:
    """All recordings of a process.

    Args:
        style: of the files.
        executor: decodes and writes.
        deliveries: brings finished files to a store, or None.
    """

    def __init__(self, style: RecordingStyle, executor: Executor, deliveries: "Deliveries | None" = None) -> None:
        self._style = style
        self._executor = executor
        self._deliveries = deliveries
        self._counters: Counter[str] = Counter()
        self._running: set[CallRecording] = set()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def counters(self) -> Counter[str]:
        """Recordings that ended with a fault, and what became of uploads."""
        return self._counters if self._deliveries is None else self._counters + self._deliveries.counters

    @property
    def uploads_waiting(self) -> int:
        """Files on their way to the store."""
        return 0 if self._deliveries is None else self._deliveries.waiting_count

    def begin(self, call_id: str) -> CallRecording:
        """The recording of a call that begins. Its file is made with its first second."""
        style = self._style
        name = f"{call_id}.{style.suffix}{SUFFIX if style.key is not None else ''}"
        recording = CallRecording(style.directory / name, self._executor, is_mixed=style.is_mixed, key=style.key)
        if self._deliveries is not None:
            self._executor.submit(self._deliveries.announce, call_id, recording.path)
        self._running.add(recording)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(ADVANCE_S, self._advance)
        return recording

    async def finish(self, call_id: str, recording: CallRecording) -> UploadRecord | None:
        """Closes a recording, and says what is to become of it: None where it stays here."""
        self._running.discard(recording)
        await recording.aclose()
        if recording.fault is not None:
            self._counters["recording_fault"] += 1
        if self._deliveries is None:
            return None
        return await asyncio.to_thread(self._deliveries.release, call_id, recording.path)

    def _advance(self) -> None:
        """A line that is held sends nothing and hears nothing; its recording goes on all the same."""
        for recording in self._running:
            recording.advance()
        self._timer = asyncio.get_running_loop().call_later(ADVANCE_S, self._advance) if self._running else None


class Deliveries:
    """The way of finished recordings to a store.

    Args:
        spool: keeps what is on its way.
        store: takes the files.
        records: the folder of the call records, which are told.
        keep_local: whether files stay here when the store has them.
        wall_time: seconds since 1970.
    """

    def __init__(
        self,
        spool: Spool,
        store: Store,
        records: Path,
        *,
        keep_local: bool = False,
        wall_time: Callable[[], float] = time.time,
    ) -> None:
        self._spool = spool
        self._store = store
        self._records = records
        self._keep_local = keep_local
        self._wall_time = wall_time
        self._due = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        # One thread: a recording and a message of one call are noted in one record, read, changed and written anew.
        self._uploads = DaemonPool(1, "upload")
        self._is_closing = threading.Event()
        self._task: asyncio.Task[None] | None = None
        self._counters: Counter[str] = Counter()
        self._counting = threading.Lock()  # several threads count
        self._waiting: set[str] = set()
        spool.claim()

    @property
    def counters(self) -> Counter[str]:
        """Files that were stored or lost, attempts that failed, and jobs that the disk refused."""
        with self._counting:
            return self._counters.copy()

    @property
    def waiting_count(self) -> int:
        """Files of this process that have ended and that the store does not have yet."""
        return len(self._waiting)

    def start(self) -> None:
        """Brings what is due from now on, beginning with what an earlier process has left."""
        self._task = asyncio.create_task(self._run(), name="recording-deliveries")

    async def aclose(self) -> None:
        """Brings no more; what is left waits for the next process. Idempotent."""
        self._is_closing.set()
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        if not await asyncio.to_thread(self._uploads.close, CLOSING_PATIENCE_S):
            _log.warning("an upload was cut short, it begins anew after the next start")
        self._spool.release()

    # What calls say, in worker threads.

    def announce(self, call_id: str, path: Path, part: RecordedPart = RecordedPart.RECORDING) -> None:
        """A recording begins: should the process die, the next one knows of the file."""
        try:
            self._spool.put(self._job(call_id, path, JobState.RECORDING, part))
        except OSError as error:
            self._say_not_kept(call_id, error)

    def release(self, call_id: str, path: Path, part: RecordedPart = RecordedPart.RECORDING) -> UploadRecord | None:
        """A recording has ended: it may go. None where nothing was recorded."""
        job, fault = self._job(call_id, path, JobState.WAITING, part), None
        if not path.exists():
            self._spool.drop(job)
            return None
        self._waiting.add(job.file)
        try:
            self._spool.put(job)
        except OSError as error:
            self._say_not_kept(call_id, error)
            fault = str(error)
        self._loop.call_soon_threadsafe(self._due.set)
        return UploadRecord(state=UploadState.WAITING, fault=fault)

    def _job(self, call_id: str, path: Path, state: JobState, part: RecordedPart) -> Job:
        return Job(call_id, path.name, state, os.getpid(), part=part, owner=self._spool.owner)

    def _count(self, what: str) -> None:
        with self._counting:
            self._counters[what] += 1

    def _say_not_kept(self, call_id: str, error: OSError) -> None:
        self._count("upload_job_fault")
        _log.error("upload job not kept", extra={"call_id": call_id, "fault": str(error)})

    # The deliveries.

    async def _run(self) -> None:
        adopt_at = self._loop.time()
        while True:
            self._due.clear()
            if self._loop.time() >= adopt_at:
                adopt_at = self._loop.time() + ADOPTION_S
                if adopted := await self._in_thread(self._spool.adopt_orphans):
                    _log.warning("recordings of a process that died are brought", extra={"count": adopted})
            await self._in_thread(self._deliver_due)
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._due.wait()

    async def _in_thread(self, work: Callable[[], int]) -> int:
        try:
            return await self._loop.run_in_executor(self._uploads, work)
        except OSError as error:
            _log.error("uploads are tried again", extra={"fault": str(error)})
            return 0

    def _deliver_due(self) -> int:
        """Tries every job whose time has come; how many were tried. Runs in the upload thread."""
        now = self._wall_time()
        jobs = self._spool.own_jobs()
        self._waiting.update(job.file for job in jobs if job.state is JobState.WAITING)
        due = [job for job in jobs if job.state is not JobState.RECORDING and job.not_before <= now]
        for job in due:
            if self._is_closing.is_set():
                break
            try:
                self._deliver(job)
            except OSError as error:
                self._say_not_kept(job.call_id, error)
        return len(due)

    def _deliver(self, job: Job) -> None:
        path = self._spool.recordings / job.file
        if job.state is JobState.WAITING:
            if not path.exists():
                self._spool.drop(job)
                self._waiting.discard(job.file)
                self._count("upload_lost")
                _log.error("recording is gone before it was brought", extra={"call_id": job.call_id, "path": str(path)})
                return
            try:
                stored = self._store.bring(path)
            except Exception as error:  # noqa: BLE001 - the store's client is not ours; nothing of it ends the deliveries
                self._put_off(job, str(error) if isinstance(error, StoreError | OSError) else repr(error))
                return
            self._waiting.discard(job.file)
            self._count("upload_stored")
            job = replace(job, state=JobState.STORED, url=stored.url, attempts=0, fault=None)
            with suppress(OSError):  # a full disk, on which the file's own end makes room
                self._spool.put(job)
            _log.info(
                "recording stored",
                extra={"event": "recording_stored", "call_id": job.call_id, "url": stored.url, "size": stored.size},
            )
        if not self._keep_local:
            path.unlink(missing_ok=True)
        told = note_upload(self._records, job.call_id, UploadRecord(state=UploadState.STORED, url=job.url), job.part)
        if told or job.attempts >= RECORD_ATTEMPTS:
            self._spool.drop(job)
        else:
            self._spool.put(job.failed("the call's record is not there yet", self._wall_time()))

    def _put_off(self, job: Job, fault: str) -> None:
        self._count("upload_fault")
        later = job.failed(fault, self._wall_time())
        self._spool.put(later)
        note_upload(self._records, job.call_id, UploadRecord(state=UploadState.WAITING, fault=fault), job.part)
        _log.warning(
            "recording not stored, it is tried again",
            extra={
                "event": "recording_not_stored",
                "call_id": job.call_id,
                "attempt": later.attempts,
                "seconds": round(later.not_before - self._wall_time()),
                "fault": fault,
            },
        )
