"""The spool: which recordings wait to be brought to the store, as one small file each, so that a restart knows.

Several processes may share a folder, on one machine, in containers of it, or over a network. Each brings what is its
own. A process holds a lock for as long as it lives, so that others know when what it has left is theirs to take: its
number would not tell, since the first process of every container has the same.
"""

import fcntl
import json
import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from enum import Enum, unique
from pathlib import Path
from typing import Final

from gateway.call.record import RecordedPart

FOLDER: Final = ".upload"
FIRST_DELAY_S: Final = 5.0
MAX_DELAY_S: Final = 900.0
"""A store that is away for a night is found again within a quarter of an hour of its return."""
_OWNER_OCTETS: Final = 8
_ADOPTION: Final = "adoption.lock"

_log = logging.getLogger(__name__)


@unique
class JobState(Enum):
    """How far a recording is on its way."""

    RECORDING = "recording"
    """Its call runs; or has ended with its process, which another finds out."""
    WAITING = "waiting"
    STORED = "stored"
    """The store has it; the call's record is still to be told."""


@dataclass(frozen=True, slots=True)
class Job:
    """One recording on its way. `not_before` is a time of day, in seconds since 1970: it outlives the process."""

    call_id: str
    file: str
    state: JobState
    pid: int
    attempts: int = 0
    not_before: float = 0.0
    fault: str | None = None
    url: str | None = None
    part: RecordedPart = RecordedPart.RECORDING
    """Jobs of before there were others have none."""
    owner: str | None = None
    """The spool of the process that brings it; None where a process left it that knew of no owners."""

    def failed(self, fault: str, wall_time: float) -> "Job":
        """The job after one more attempt in vain: each waits twice as long as the one before."""
        delay_s = min(FIRST_DELAY_S * 2.0 ** min(self.attempts, 20), MAX_DELAY_S)
        return replace(self, attempts=self.attempts + 1, not_before=wall_time + delay_s, fault=fault)


class Spool:
    """The jobs of one folder of recordings, as one process sees them.

    Args:
        recordings: the folder; the jobs stand in a hidden one within it.

    Raises:
        OSError: the folder cannot be made.
    """

    def __init__(self, recordings: Path) -> None:
        self.recordings = recordings
        self.owner = secrets.token_hex(_OWNER_OCTETS)
        self._folder = recordings / FOLDER
        self._folder.mkdir(parents=True, exist_ok=True)
        self._life: int | None = None
        self._unwritten: dict[Path, Job] = {}

    # The life of the process, as others see it.

    def claim(self) -> None:
        """Says that this spool's owner lives, until `release` or the end of the process. Idempotent."""
        if self._life is not None:
            return
        try:
            self._life = os.open(self._life_of(self.owner), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            _lock(self._life)
        except OSError as error:
            # Whoever is alone in the folder needs no lock, and a full disk is emptied by what goes on from here.
            _log.warning("another process could take over uploads of this one", extra={"fault": str(error)})

    def release(self) -> None:
        """What is left is for others. Idempotent."""
        if self._life is not None:
            self._life_of(self.owner).unlink(missing_ok=True)
            os.close(self._life)
            self._life = None

    # The jobs.

    def put(self, job: Job) -> None:
        """Keeps a job, in one step. What the disk refuses is still known to this process.

        Raises:
            OSError: the disk refuses.
        """
        path = self._path(job)
        partial = path.with_suffix(".partial")
        values = asdict(job) | {"state": job.state.value, "part": job.part.value}
        self._unwritten[path] = job
        partial.write_text(json.dumps(values), encoding="utf-8")
        partial.replace(path)
        del self._unwritten[path]

    def drop(self, job: Job) -> None:
        """The job is done."""
        path = self._path(job)
        self._unwritten.pop(path, None)
        path.unlink(missing_ok=True)

    def jobs(self) -> list[Job]:
        """All jobs, oldest call first. What cannot be read is said and left where it is."""
        found = []
        unwritten = dict(self._unwritten)
        for path in sorted(self._folder.glob("*.json"), key=_age):
            if path in unwritten:
                continue
            try:
                values = json.loads(path.read_text(encoding="utf-8"))
                part = RecordedPart(values.get("part", RecordedPart.RECORDING.value))
                found.append(Job(**values | {"state": JobState(values["state"]), "part": part}))
            except FileNotFoundError:
                continue  # another process has done it meanwhile
            except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
                _log.error("upload job cannot be read", extra={"path": str(path), "fault": str(error)})
        return [*found, *unwritten.values()]

    def own_jobs(self) -> list[Job]:
        """Those that this process is to bring, oldest call first."""
        return [job for job in self.jobs() if job.owner == self.owner]

    def adopt_orphans(self) -> int:
        """Takes over what a process has left that lives no more; how many recordings it had not finished.

        Only one process does so at a time; another finds what is left another time.
        """
        with self._adopting() as is_mine:
            return self._adopt() if is_mine else 0

    def _adopt(self) -> int:
        unfinished = 0
        for job in self.jobs():
            if job.owner == self.owner or self._lives(job):
                continue
            was_recording = job.state is JobState.RECORDING
            if was_recording and not (self.recordings / job.file).exists():
                self.drop(job)  # it died before there was any sound
                continue
            unfinished += was_recording
            with suppress(OSError):  # known to this process all the same
                self.put(replace(job, owner=self.owner, state=JobState.WAITING if was_recording else job.state))
        for path in self._folder.glob("*.owner"):
            with suppress(OSError):
                if not _is_held(path):
                    path.unlink(missing_ok=True)
        return unfinished

    @contextmanager
    def _adopting(self) -> Iterator[bool]:
        try:
            descriptor = os.open(self._folder / _ADOPTION, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            yield True  # a disk too full for the lock keeps nobody from making room on it
            return
        try:
            try:
                is_mine = _lock(descriptor)
            except OSError:
                is_mine = True
            yield is_mine
        finally:
            os.close(descriptor)

    def _lives(self, job: Job) -> bool:
        """Whether the process runs that the job is of."""
        if job.owner is None:
            # Of a process that knew of no owners: whoever saw a finished recording could bring it.
            return job.state is JobState.RECORDING and _runs(job.pid)
        try:
            return _is_held(self._life_of(job.owner))
        except OSError:
            return _runs(job.pid)  # a file system without locks

    def _life_of(self, owner: str) -> Path:
        return self._folder / f"{owner}.owner"

    def _path(self, job: Job) -> Path:
        name = job.call_id if job.part is RecordedPart.RECORDING else f"{job.call_id}-{job.part.value}"
        return self._folder / f"{name}.json"


def _lock(descriptor: int) -> bool:
    """Takes a lock that goes with the descriptor; False where somebody else holds it.

    Raises:
        OSError: this file system has no locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_held(path: Path) -> bool:
    """Whether a process holds the lock of this file. Raises OSError."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _lock(descriptor)
    finally:
        os.close(descriptor)


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _runs(pid: int) -> bool:
    """Whether another process of that number runs. Our own number was another's before, if it is in a job already."""
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
