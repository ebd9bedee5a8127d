"""Log lines leave the event loop here: a thread puts them into their form and writes them, many at a time.

A line that is written where it is said costs the event loop its form, a system call, and the wait for whoever reads the
other end; a reader that has stopped would stop the calls. So lines wait in a queue with a bound, and what comes when it
is full is counted and told in a line of its own.
"""

import logging
import threading
from collections import deque
from typing import Final, TextIO

# How long the first line of a batch waits for others: shorter than an operator notices.
BATCH_SECONDS: Final = 0.05
# Lines that wait while nobody reads: four seconds of 250 calls a second at level `debug`, about 1 kB each.
WAITING_LIMIT: Final = 20_000


class LogThread(logging.Handler):
    """Writes lines to a stream from a thread of its own, in the order in which they came.

    Args:
        stream: where they go. A stream that cannot be written any more loses them, and nothing else.
        waiting_limit: how many lines may wait.
    """

    def __init__(self, stream: TextIO, *, waiting_limit: int = WAITING_LIMIT) -> None:
        super().__init__()
        self.dropped = 0
        """Lines that came when too many waited."""
        self._stream = stream
        self._waiting_limit = waiting_limit
        self._waiting: deque[logging.LogRecord] = deque()
        self._told_of = 0
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._writing = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def createLock(self) -> None:  # noqa: N802 - the name that logging asks for
        """None is wanted: to append to a deque is atomic, and the writing has a lock of its own."""
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        """Takes a line; never waits. What may change or holds frames is put into words at once."""
        if len(self._waiting) >= self._waiting_limit:
            self.dropped += 1
            return
        if record.args:
            record.msg, record.args = record.getMessage(), None
        if record.exc_info:
            record.exc_text = _EXCEPTIONS.formatException(record.exc_info)
            record.exc_info = None
        self._waiting.append(record)
        if not self._wake.is_set():
            self._wake.set()

    def flush(self) -> None:
        """Returns when all that was taken is written. `logging.shutdown` calls it when the process ends."""
        with self._writing:
            self._write_waiting()

    def close(self) -> None:
        """Ends the thread after its last line. Idempotent."""
        self._closing.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        self.flush()
        super().close()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wake.wait()
            self._closing.wait(BATCH_SECONDS)
            self._wake.clear()
            self.flush()

    def _write_waiting(self) -> None:
        lines = []
        while self._waiting:
            record = self._waiting.popleft()
            try:
                lines.append(self.format(record))
            except Exception:  # noqa: BLE001 - a line that cannot be put into its form must not take others with it
                self.handleError(record)
        said, dropped = len(lines), self.dropped
        if dropped > self._told_of:
            lines.append(self.format(_loss(dropped - self._told_of)))
        if not lines:
            return
        lines.append("")
        try:
            self._stream.write("\n".join(lines))
            self._stream.flush()
        except (OSError, ValueError):  # nobody reads any more, and there is nobody else to tell
            self.dropped += said
        else:
            self._told_of = dropped


_EXCEPTIONS: Final = logging.Formatter()


def _loss(count: int) -> logging.LogRecord:
    return logging.makeLogRecord(
        {
            "name": __name__,
            "levelno": logging.ERROR,
            "levelname": "ERROR",
            "msg": "log lines dropped",
            "event": "lines_dropped",
            "count": count,
        }
    )
