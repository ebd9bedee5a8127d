"""Where call records go: a thread that writes them in batches, so that no call and no packet waits for a disk."""

import logging
import threading
from collections import Counter, deque
from pathlib import Path
from typing import Final

from gateway.call.record import CallRecord

# How long the first record of a batch waits for others. A thread that wakes for each record takes the interpreter from
# the event loop each time: 0.5 ms of processor time a call, half of it for nothing but waking.
BATCH_SECONDS: Final = 0.05
# Records that wait while the disk stands still: about a minute of 250 calls a second, 5 kB each.
WAITING_LIMIT: Final = 15_000

_log = logging.getLogger(__name__)


class RecordArchive:
    """Writes records into a folder, one file each, in the order in which they came.

    A record that cannot be written, or that comes when `waiting_limit` others wait already, goes into the log whole, so
    that it is not lost. Both are counted.

    Args:
        directory: the folder; it is made when the first record is written.
        waiting_limit: how many records may wait.
    """

    def __init__(self, directory: Path, *, waiting_limit: int = WAITING_LIMIT) -> None:
        self.counters: Counter[str] = Counter()
        self._directory = directory
        self._waiting_limit = waiting_limit
        self._waiting: deque[CallRecord] = deque()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="records", daemon=True)

    def start(self) -> None:
        """Writes from now on."""
        self._thread.start()

    def keep(self, record: CallRecord) -> None:
        """Takes a record; never waits."""
        if len(self._waiting) >= self._waiting_limit:
            self.counters["record_overflow"] += 1
            _tell(record, f"{self._waiting_limit} records wait for the disk already")
            return
        self._waiting.append(record)
        if not self._wake.is_set():
            self._wake.set()

    def close(self) -> None:
        """Returns when all that was taken is written. Blocks; nothing may be given any more. Idempotent."""
        self._closing.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wake.wait()
            self._closing.wait(BATCH_SECONDS)
            self._wake.clear()
            self._write_waiting()
        self._write_waiting()

    def _write_waiting(self) -> None:
        while self._waiting:
            record = self._waiting.popleft()
            try:
                record.write(self._directory)
            except OSError as error:
                self.counters["record_fault"] += 1
                _tell(record, str(error))
            else:
                self.counters["record_written"] += 1


def _tell(record: CallRecord, fault: str) -> None:
    _log.error("call record not written", extra={"fault": fault, "record": record.model_dump_json()})
