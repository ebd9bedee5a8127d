"""Log lines leave the event loop here: a thread puts them into their form and writes them, many at a time.

A line that is written where it is said costs the event loop its form, a system call, and the wait for whoever reads the
other end; a reader that has stopped would stop the calls. So lines wait in a queue with a bound, and what comes when it
is full is counted and told in a line of its own.
"""

import logging
import os
import threading
from collections import deque
from typing import Final, Protocol

# How long the first line of a batch waits for others: shorter than an operator notices.
BATCH_SECONDS: Final = 0.05
# How long a process that ends waits for a reader that has stopped. What it has not taken by then is lost.
CLOSING_SECONDS: Final = 2.0
# Lines that wait while nobody reads: four seconds of 250 calls a second at level `debug`, about 1 kB each.
WAITING_LIMIT: Final = 20_000


class Stream(Protocol):
    """What lines are written to."""

    def write(self, text: str, /) -> object:
        """Takes whole lines; it may wait for its reader."""

    def flush(self) -> None:
        """Keeps nothing back."""


class DescriptorStream:
    """A descriptor without Python's buffers: the interpreter wants their locks when it ends, and aborts where a thread
    that waits for a reader holds one.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, text: str, /) -> None:
        """See `Stream`."""
        data = text.encode("utf-8", "replace")
        while data:
            data = data[os.write(self._descriptor, data) :]

    def flush(self) -> None:
        """Nothing is kept back."""


class LogThread(logging.Handler):
    """Writes lines to a stream from a thread of its own, in the order in which they came.

    Args:
        stream: where they go. A stream that cannot be written any more loses them, and nothing else.
        waiting_limit: how many lines may wait.
        closing_seconds: how long `flush` and `close` wait for the stream.
    """

    def __init__(
        self, stream: Stream, *, waiting_limit: int = WAITING_LIMIT, closing_seconds: float = CLOSING_SECONDS
    ) -> None:
        super().__init__()
        self.dropped = 0
        """Lines that came when too many waited."""
        self._stream = stream
        self._waiting_limit = waiting_limit
        self._closing_seconds = closing_seconds
        self._waiting: deque[logging.LogRecord | threading.Event] = deque()
        self._told_of = 0
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def createLock(self) -> None:  # noqa: N802 - the name that logging asks for
        """None is wanted: to append to a deque is atomic, and one thread alone writes."""
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
        """Returns when all that was taken is written, or too much time has gone. `logging.shutdown` calls it.

        The thread alone ever writes: whoever else did might wait for a reader for ever, and no process would end then.
        """
        written = threading.Event()
        self._waiting.append(written)
        self._wake.set()
        if self._thread.is_alive():
            written.wait(self._closing_seconds)

    def close(self) -> None:
        """Ends the thread after its last line, unless the stream takes none any more. Idempotent."""
        self._closing.set()
        self._wake.set()
        self._thread.join(self._closing_seconds)
        super().close()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wake.wait()
            self._closing.wait(BATCH_SECONDS)
            self._wake.clear()
            self._write_waiting()
        self._write_waiting()

    def _write_waiting(self) -> None:
        lines: list[str] = []
        flushes: list[threading.Event] = []
        while self._waiting:
            record = self._waiting.popleft()
            if isinstance(record, threading.Event):
                flushes.append(record)
                continue
            try:
                lines.append(self.format(record))
            except Exception:  # noqa: BLE001 - a line that cannot be put into its form must not take others with it
                self.handleError(record)
        said, dropped = len(lines), self.dropped
        if dropped > self._told_of:
            lines.append(self.format(_loss(dropped - self._told_of)))
        if lines and not self._write(lines):
            self.dropped += said
        else:
            self._told_of = dropped
        for flush in flushes:
            flush.set()

    def _write(self, lines: list[str]) -> bool:
        """False where nobody reads any more, and there is nobody else to tell."""
        try:
            self._stream.write("\n".join([*lines, ""]))
            self._stream.flush()
        except (OSError, ValueError):
            return False
        return True


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
