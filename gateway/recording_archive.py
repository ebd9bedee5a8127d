"""The archive: makes the recordings of a process's calls, and brings them to the store where there is one.

Whatever the store does, no call waits for it. A file is deleted here only after the store has named its size and its
checksum; what cannot be brought waits in the spool and is tried again, each time after twice the time.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from gateway.call.record import RecordedPart, UploadRecord, UploadState, note_upload
from gateway.recording import CallRecording
from gateway.recording_seal import SUFFIX, RecordingKey
from gateway.recording_spool import Job, JobState, Spool
from gateway.recording_store import Store, StoreError

POLL_S: Final = 1.0
"""How often the archive looks for a job that has become due."""
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

    def begin(self, call_id: str) -> CallRecording:
        """The recording of a call that begins. Its file is made with its first second."""
        style = self._style
        name = f"{call_id}.{style.suffix}{SUFFIX if style.key is not None else ''}"
        recording = CallRecording(style.directory / name, self._executor, is_mixed=style.is_mixed, key=style.key)
        if self._deliveries is not None:
            self._executor.submit(self._deliveries.announce, call_id, recording.path)
        return recording

    async def finish(self, call_id: str, recording: CallRecording) -> UploadRecord | None:
        """Closes a recording, and says what is to become of it: None where it stays here."""
        await recording.aclose()
        if self._deliveries is None:
            return None
        return await asyncio.to_thread(self._deliveries.release, call_id, recording.path)


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
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="upload")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Brings what is due from now on, beginning with what an earlier process has left."""
        self._task = asyncio.create_task(self._run(), name="recording-deliveries")

    async def aclose(self) -> None:
        """Brings no more; what is left waits for the next process. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        self._worker.shutdown(wait=False, cancel_futures=True)

    # What calls say, in worker threads.

    def announce(self, call_id: str, path: Path, part: RecordedPart = RecordedPart.RECORDING) -> None:
        """A recording begins: should the process die, the next one knows of the file."""
        try:
            self._spool.put(Job(call_id, path.name, JobState.RECORDING, os.getpid(), part=part))
        except OSError as error:
            _log.error("upload job not kept", extra={"call_id": call_id, "fault": str(error)})

    def release(self, call_id: str, path: Path, part: RecordedPart = RecordedPart.RECORDING) -> UploadRecord | None:
        """A recording has ended: it may go. None where nothing was recorded."""
        job = Job(call_id, path.name, JobState.WAITING, os.getpid(), part=part)
        if not path.exists():
            self._spool.drop(job)
            return None
        try:
            self._spool.put(job)
        except OSError as error:
            _log.error("upload job not kept", extra={"call_id": call_id, "fault": str(error)})
            return UploadRecord(state=UploadState.FAILED, fault=str(error))
        self._loop.call_soon_threadsafe(self._due.set)
        return UploadRecord(state=UploadState.WAITING)

    # The deliveries.

    async def _run(self) -> None:
        adopted = await self._in_worker(self._spool.adopt_orphans)
        if adopted:
            _log.warning("recordings of a process that died are brought", extra={"count": adopted})
        while True:
            self._due.clear()
            await self._in_worker(self._deliver_due)
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._due.wait()

    async def _in_worker(self, work: Callable[[], int]) -> int:
        return await self._loop.run_in_executor(self._worker, work)

    def _deliver_due(self) -> int:
        """Tries every job whose time has come; how many were tried. Runs in the worker."""
        now = self._wall_time()
        due = [job for job in self._spool.jobs() if job.state is not JobState.RECORDING and job.not_before <= now]
        for job in due:
            try:
                self._deliver(job)
            except OSError as error:
                _log.error("upload job not kept", extra={"call_id": job.call_id, "fault": str(error)})
        return len(due)

    def _deliver(self, job: Job) -> None:
        path = self._spool.recordings / job.file
        if job.state is JobState.WAITING:
            if not path.exists():
                self._spool.drop(job)
                _log.error("recording is gone before it was brought", extra={"call_id": job.call_id, "path": str(path)})
                return
            try:
                stored = self._store.bring(path)
            except (StoreError, OSError) as error:
                self._put_off(job, str(error))
                return
            job = replace(job, state=JobState.STORED, url=stored.url, attempts=0, fault=None)
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
