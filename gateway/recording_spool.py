"""The spool: which recordings wait to be brought to the store, as one small file each, so that a restart knows."""

import json
import logging
import os
from dataclasses import asdict, dataclass, replace
from enum import Enum, unique
from pathlib import Path
from typing import Final

from gateway.call.record import RecordedPart

FOLDER: Final = ".upload"
FIRST_DELAY_S: Final = 5.0
MAX_DELAY_S: Final = 900.0
"""A store that is away for a night is found again within a quarter of an hour of its return."""

_log = logging.getLogger(__name__)


@unique
class JobState(Enum):
    """How far a recording is on its way."""

    RECORDING = "recording"
    """Its call runs; or has ended with its process, which the next one finds out."""
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

    def failed(self, fault: str, wall_time: float) -> "Job":
        """The job after one more attempt in vain: each waits twice as long as the one before."""
        delay_s = min(FIRST_DELAY_S * 2.0 ** min(self.attempts, 20), MAX_DELAY_S)
        return replace(self, attempts=self.attempts + 1, not_before=wall_time + delay_s, fault=fault)


class Spool:
    """The jobs of one folder of recordings.

    Args:
        recordings: the folder; the jobs stand in a hidden one within it.

    Raises:
        OSError: the folder cannot be made.
    """

    def __init__(self, recordings: Path) -> None:
        self.recordings = recordings
        self._folder = recordings / FOLDER
        self._folder.mkdir(parents=True, exist_ok=True)

    def put(self, job: Job) -> None:
        """Keeps a job, in one step.

        Raises:
            OSError: the disk refuses.
        """
        path = self._path(job)
        partial = path.with_suffix(".partial")
        values = asdict(job) | {"state": job.state.value, "part": job.part.value}
        partial.write_text(json.dumps(values), encoding="utf-8")
        partial.replace(path)

    def drop(self, job: Job) -> None:
        """The job is done."""
        self._path(job).unlink(missing_ok=True)

    def jobs(self) -> list[Job]:
        """All jobs, oldest call first. What cannot be read is said and left where it is."""
        found = []
        for path in sorted(self._folder.glob("*.json"), key=_age):
            try:
                values = json.loads(path.read_text(encoding="utf-8"))
                part = RecordedPart(values.get("part", RecordedPart.RECORDING.value))
                found.append(Job(**values | {"state": JobState(values["state"]), "part": part}))
            except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
                _log.error("upload job cannot be read", extra={"path": str(path), "fault": str(error)})
        return found

    def adopt_orphans(self) -> int:
        """Takes over what a process has left that died while it recorded; how many."""
        orphans = [job for job in self.jobs() if job.state is JobState.RECORDING and not _lives(job.pid)]
        for job in orphans:
            if (self.recordings / job.file).exists():
                self.put(replace(job, state=JobState.WAITING))
            else:
                self.drop(job)  # it died before there was any sound
        return len(orphans)

    def _path(self, job: Job) -> Path:
        name = job.call_id if job.part is RecordedPart.RECORDING else f"{job.call_id}-{job.part.value}"
        return self._folder / f"{name}.json"


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _lives(pid: int) -> bool:
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
